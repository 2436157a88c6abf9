//! The limit of remote calls: what goes and comes back over plain tokio streams.
//!
//! There are no methods and no values: one at a time, bytes are read into memory that is there already and written
//! back; with many under way, each has its length before it, and all that came at once goes back at once.

mod frames;

use std::sync::Arc;
use std::thread;
use std::time::Instant;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use peer_harness::rpc::{Args, Traffic, block_on};
use peer_harness::{Control, Go, Latencies, Meter, Result, Role, Threads, Transport, Usage, fail, print};
use serde_json::json;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};

/// What is answered where only the other direction counts.
const SHORT: usize = 8;

fn main() {
    std::panic::set_hook(Box::new(|panic| fail(&panic.to_string())));
    if let Err(error) = run() {
        fail(&error.to_string());
    }
}

fn run() -> Result<()> {
    let args = Args::read()?;
    if args.transport == Transport::Inproc || args.traffic == Traffic::Slow {
        print(&json!({ "missing": "no raw counterpart" }));
        return Ok(());
    }
    if args.role == Role::List {
        print(&json!({ "settings": [
            { "name": "tokio-current-thread", "about": "tokio streams on current_thread" },
            { "name": "tokio-multi-thread", "about": "tokio streams on multi_thread with 2 workers" },
        ] }));
        return Ok(());
    }
    let threads = match args.setting.as_str() {
        "tokio-current-thread" => Threads::Current,
        "tokio-multi-thread" => Threads::Multi(2),
        other => return Err(format!("unknown setting `{other}`").into()),
    };
    if let Ok((_, most)) = getrlimit(Resource::RLIMIT_NOFILE) {
        // Thousands of connections in one case.
        let _ = setrlimit(Resource::RLIMIT_NOFILE, most, most);
    }
    let meter = Meter::new(1);
    let go = Control::start(&meter);
    if args.role == Role::Bind {
        if args.traffic == Traffic::Idle {
            let (args, meter, go) = (args.clone(), Arc::clone(&meter), go);
            thread::spawn(move || rest(&args, &meter, go));
        }
        return block_on(threads, false, serve(args));
    }
    block_on(threads, false, async move {
        // As a task among the others: see the harness.
        match args.endpoint.strip_prefix("ipc://") {
            Some(path) => {
                let stream = UnixStream::connect(path).await?;
                tokio::spawn(ask(stream, args, meter, go)).await?
            }
            None => {
                let mut idle = Vec::new();
                for _ in 1..args.peers {
                    let mut stream = TcpStream::connect(args.address()).await?;
                    // As everybody has it; and whoever only connects is too quick for who accepts.
                    let mut block = vec![0xA5; args.size];
                    stream.write_all(&block).await?;
                    stream.read_exact(&mut block).await?;
                    idle.push(stream);
                }
                let stream = TcpStream::connect(args.address()).await?;
                stream.set_nodelay(true)?;
                let asked = tokio::spawn(ask(stream, args, meter, go)).await?;
                drop(idle);
                asked
            }
        }
    })
}

/// What the side that listens needs while nothing comes.
fn rest(args: &Args, meter: &Meter, mut go: Go) {
    go.wait_blocking();
    thread::sleep(args.warmup);
    let (before, at) = (Usage::now(), Instant::now());
    thread::sleep(args.window);
    print(&meter.result(0, 0, Some(at.elapsed()), before));
}

/// Bytes that go, and bytes that come back.
fn sizes(args: &Args) -> (usize, usize) {
    match args.traffic {
        Traffic::Take => (args.size, SHORT),
        Traffic::Give => (SHORT, args.size),
        _ => (args.size, args.size),
    }
}

async fn serve(args: Args) -> Result<()> {
    let announce = |endpoint: &str| print(&json!({ "bound": endpoint }));
    if let Some(path) = args.endpoint.strip_prefix("ipc://") {
        let listener = UnixListener::bind(path)?;
        announce(&args.endpoint);
        loop {
            answer(listener.accept().await?.0, &args);
        }
    }
    let listener = TcpListener::bind(args.address()).await?;
    announce(&format!("tcp://{}", listener.local_addr()?));
    loop {
        let stream = listener.accept().await?.0;
        stream.set_nodelay(true)?;
        answer(stream, &args);
    }
}

/// Answers one connection, in a task of its own.
fn answer(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, args: &Args) {
    if args.traffic == Traffic::Echo {
        tokio::spawn(frames::answer(stream));
    } else {
        tokio::spawn(echo(stream, sizes(args)));
    }
}

async fn echo(mut stream: impl AsyncRead + AsyncWrite + Unpin, (there, back): (usize, usize)) {
    let mut block = vec![0x5A; there.max(back)];
    while stream.read_exact(&mut block[..there]).await.is_ok()
        && stream.write_all(&block[..back]).await.is_ok()
    {}
}

async fn ask(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    args: Args,
    meter: Arc<Meter>,
    mut go: Go,
) -> Result<()> {
    print(&json!({ "ready": true }));
    go.wait().await;
    if args.traffic == Traffic::Idle {
        return std::future::pending().await;
    }
    if args.traffic == Traffic::Echo {
        return frames::ask(stream, &args, &meter).await;
    }
    let (there, back) = sizes(&args);
    let block = vec![0xA5_u8; there];
    let mut answer = vec![0; back];
    let mut latencies = Latencies::start(args.warmup, args.window);
    loop {
        let at = Instant::now();
        stream.write_all(&block).await?;
        stream.read_exact(&mut answer).await?;
        meter.counter(0).add(1);
        if !latencies.add(at) {
            break;
        }
    }
    latencies.print(&meter);
    std::future::pending().await
}
