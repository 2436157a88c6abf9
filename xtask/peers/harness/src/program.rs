//! The program: reads its command line, picks the threads, runs a role.

use std::io::Write;
use std::process;
use std::sync::Arc;
use std::thread;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use serde_json::{Value, json};
use tokio::runtime::{Builder, Runtime};

use crate::contender::{Contender, Result, Setting, Support, Threads};
use crate::control::{Control, Go};
use crate::meter::Meter;
use crate::{Args, Case, Role, Transport, traffic};

/// Most address space that a program may use.
const MEMORY: u64 = 12 << 30;

/// Prints one line for the bench.
pub fn print(value: &Value) {
    let mut out = std::io::stdout().lock();
    // Nobody left to tell: the bench went away.
    let _ = writeln!(out, "{value}");
    let _ = out.flush();
}

/// Tells the bench why this cannot go on, and exits.
pub fn fail(why: &str) -> ! {
    print(&json!({ "error": why }));
    process::exit(1);
}

/// The whole program of a peer.
pub fn main<C: Contender>() {
    tell_failures(run::<C>);
}

/// Runs a program to its end; the bench is told why when it fails.
pub(crate) fn tell_failures(run: impl FnOnce() -> Result<()>) {
    std::panic::set_hook(Box::new(|panic| fail(&panic.to_string())));
    if let Err(error) = run() {
        fail(&error.to_string());
    }
}

/// The setting of this name; none when the bench was told all that it asked for.
pub(crate) fn chosen(is_list: bool, support: Support, name: &str) -> Result<Option<Setting>> {
    let settings = match support {
        Support::Settings(settings) => settings,
        Support::Missing(why) => {
            print(&json!({ "missing": why }));
            return Ok(None);
        }
    };
    if is_list {
        let list: Vec<Value> = settings
            .iter()
            .map(|setting| json!({ "name": setting.name, "about": setting.about }))
            .collect();
        print(&json!({ "settings": list }));
        return Ok(None);
    }
    let mut settings = settings.into_iter();
    let setting = settings.find(|setting| setting.name == name);
    Ok(Some(setting.ok_or_else(|| format!("unknown setting `{name}`"))?))
}

/// Makes room for the thousands of connections that some cases have.
pub(crate) fn allow_connections() {
    if let Ok((_, most)) = getrlimit(Resource::RLIMIT_NOFILE) {
        let _ = setrlimit(Resource::RLIMIT_NOFILE, most, most);
    }
}

fn run<C: Contender>() -> Result<()> {
    let args = Args::read()?;
    let mut support = C::support(&args);
    // A runtime with several workers is not one thread.
    let alone = args.transport == Transport::Inproc && args.threads == 1;
    if let Support::Settings(settings) = &mut support {
        settings.retain(|setting| !(alone && matches!(setting.threads, Threads::Multi(_))));
    }
    let Some(setting) = chosen(args.role == Role::List, support, &args.setting)? else {
        return Ok(());
    };
    // A queue without bound must not take the machine down.
    let _ = setrlimit(Resource::RLIMIT_AS, MEMORY, MEMORY);
    allow_connections();
    let loops = match (args.case, args.role) {
        (Case::PubSub, Role::Connect | Role::Inproc) => args.peers,
        _ => 1,
    };
    let meter = Meter::new(loops);
    let go = Control::start(&meter);
    let contender = C::open(&args)?;
    match args.role {
        Role::List => {}
        Role::Bind => {
            let bound = |endpoint: String| print(&json!({ "bound": endpoint }));
            block_on(
                setting,
                traffic::bind_side(contender, args, setting.threads, meter, go, bound),
            )?;
        }
        Role::Connect => {
            block_on(
                setting,
                traffic::connect_side(contender, args, setting.threads, meter, go),
            )?;
        }
        Role::Inproc => inproc(&contender, &args, setting, &meter, &go)?,
    }
    Ok(())
}

/// Both sides in this process: each on a thread (or runtime) of its own, or both on one.
fn inproc<C: Contender>(
    contender: &C,
    args: &Args,
    setting: Setting,
    meter: &Arc<Meter>,
    go: &Go,
) -> Result<()> {
    // The sources of an inproc case count for nobody.
    let other = Meter::new(args.peers.max(1));
    let (bind_meter, connect_meter) = match args.case {
        Case::PushPull | Case::Idle | Case::Reconnect => (meter, &other),
        _ => (&other, meter),
    };
    let (tx, rx) = tokio::sync::oneshot::channel();
    let bound = move |endpoint: String| {
        // The other side waits for it.
        let _ = tx.send(endpoint);
    };
    let binds = traffic::bind_side(
        contender.clone(),
        args.clone(),
        setting.threads,
        Arc::clone(bind_meter),
        go.clone(),
        bound,
    );
    let connects = {
        let (contender, mut args, meter, go) = (
            contender.clone(),
            args.clone(),
            Arc::clone(connect_meter),
            go.clone(),
        );
        async move {
            args.endpoint = rx.await?;
            traffic::connect_side(contender, args, setting.threads, meter, go).await
        }
    };
    match (setting.threads, args.threads) {
        (Threads::Blocking, 1) => block_on(
            setting,
            traffic::alternate(contender.clone(), args.clone(), Arc::clone(meter), go.clone()),
        ),
        (Threads::Current, 1) => block_on(setting, async move {
            let one = tokio::spawn(binds);
            tokio::spawn(connects).await??;
            one.await?
        }),
        // One side on the workers, the other on the thread that waits: never both on one.
        (Threads::Multi(workers), _) => multi(workers)?.block_on(async move {
            let one = tokio::spawn(binds);
            connects.await?;
            one.await?
        }),
        _ => {
            let one = thread::spawn(move || block_on(setting, binds));
            block_on(setting, connects)?;
            one.join().map_err(|_| "a thread panicked")?
        }
    }
}

fn multi(workers: usize) -> Result<Runtime> {
    Ok(Builder::new_multi_thread()
        .worker_threads(workers)
        .enable_all()
        .build()?)
}

fn block_on(setting: Setting, task: impl Future<Output = Result<()>> + Send + 'static) -> Result<()> {
    match setting.threads {
        // As a task among the others: the future of `block_on` itself costs tokio a look at epoll each time it is
        // woken, which every contender and the raw limit would pay for alike, but users need not.
        Threads::Current => Builder::new_current_thread()
            .enable_all()
            .build()?
            .block_on(async move { tokio::spawn(task).await? }),
        // On a worker, not on the thread that waits for it.
        Threads::Multi(workers) => multi(workers)?.block_on(async move { tokio::spawn(task).await? }),
        Threads::Blocking => pollster::block_on(task),
    }
}

/// Runs a task beside the others: on the runtime, or on a thread of its own.
pub(crate) fn spawn(threads: Threads, task: impl Future<Output = Result<()>> + Send + 'static) {
    let task = async move {
        if let Err(error) = task.await {
            fail(&error.to_string());
        }
    };
    match threads {
        Threads::Blocking => {
            thread::spawn(move || pollster::block_on(task));
        }
        Threads::Current | Threads::Multi(_) => {
            tokio::spawn(task);
        }
    }
}
