//! The program of a library of remote calls.

use std::future::{Future, pending};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use serde_json::json;
use tokio::runtime::Builder;
use tokio::sync::mpsc;
use tokio::task::LocalSet;

use super::calls::Until;
use super::slow::Phases;
use super::{Args, Call, Calls, Contender, Traffic};
use crate::control::{Control, Go};
use crate::latency::Latencies;
use crate::meter::Meter;
use crate::program::{allow_connections, chosen, fail, print, tell_failures};
use crate::usage::Usage;
use crate::{Result, Role, Setting, Threads, Transport};

/// Connections that are being made at once.
const AT_ONCE: usize = 100;

/// The whole program of a peer.
pub fn main<C: Contender>() {
    tell_failures(run::<C>);
}

/// Runs a side to its end on the runtime of a setting.
///
/// # Errors
/// Those of the side, and when there is no runtime.
pub fn block_on<T>(threads: Threads, is_local: bool, side: impl Future<Output = Result<T>>) -> Result<T> {
    let mut builder = match threads {
        Threads::Multi(workers) => {
            let mut builder = Builder::new_multi_thread();
            builder.worker_threads(workers);
            builder
        }
        Threads::Current | Threads::Blocking => Builder::new_current_thread(),
    };
    let runtime = builder.enable_all().build()?;
    match is_local {
        true => LocalSet::new().block_on(&runtime, side),
        false => runtime.block_on(side),
    }
}

fn run<C: Contender>() -> Result<()> {
    let args = Args::read()?;
    let Some(setting) = chosen(args.role == Role::List, C::support(&args), &args.setting)? else {
        return Ok(());
    };
    allow_connections();
    let meter = Meter::new(args.in_flight.max(1));
    let go = Control::start(&meter);
    match args.role {
        Role::List => Ok(()),
        Role::Bind => {
            if args.traffic == Traffic::Idle {
                let (args, meter, go) = (args.clone(), Arc::clone(&meter), go);
                thread::spawn(move || rest(&args, &meter, go));
            }
            serve::<C>(setting, args, |endpoint| print(&json!({ "bound": endpoint })))
        }
        Role::Connect => connect::<C>(setting, args, &meter, go),
        Role::Inproc => inproc::<C>(setting, args, &meter, go),
    }
}

fn serve<C: Contender>(setting: Setting, args: Args, bound: impl FnOnce(String)) -> Result<()> {
    block_on(setting.threads, C::LOCAL, C::serve(args, bound))
}

fn connect<C: Contender>(setting: Setting, args: Args, meter: &Arc<Meter>, go: Go) -> Result<()> {
    block_on(setting.threads, C::LOCAL, calling::<C>(args, meter, go))
}

/// Each side on a runtime of its own.
fn inproc<C: Contender>(setting: Setting, mut args: Args, meter: &Arc<Meter>, go: Go) -> Result<()> {
    let (tx, rx) = std::sync::mpsc::channel();
    let server = args.clone();
    thread::spawn(move || {
        let bound = |endpoint| {
            // The other side waits for it.
            let _ = tx.send(endpoint);
        };
        if let Err(error) = serve::<C>(setting, server, bound) {
            fail(&error.to_string());
        }
    });
    args.endpoint = rx.recv()?;
    connect::<C>(setting, args, meter, go)
}

/// The side that calls.
async fn calling<C: Contender>(args: Args, meter: &Arc<Meter>, mut go: Go) -> Result<()> {
    let block = Bytes::from(vec![0xA5; args.size]);
    let call = match args.traffic {
        Traffic::Take => Call::Take(block),
        Traffic::Give => Call::Give(args.size),
        _ => Call::Echo(block),
    };
    let calls = |index, until| Calls {
        call: call.clone(),
        meter: Arc::clone(meter),
        index,
        until,
    };
    if args.traffic == Traffic::Idle {
        let (tx, mut rx) = mpsc::unbounded_channel();
        let mut clients = Vec::with_capacity(args.peers);
        for begun in 0..args.peers {
            let client = C::connect(&args).await?;
            C::spawn(client.clone(), calls(0, Until::Once(tx.clone())));
            clients.push(client);
            if begun >= AT_ONCE {
                rx.recv().await;
            }
        }
        for _ in 0..AT_ONCE.min(args.peers) {
            rx.recv().await;
        }
        print(&json!({ "ready": true }));
        return pending().await;
    }
    let client = C::connect(&args).await?;
    let (tx, mut rx) = mpsc::unbounded_channel();
    // Whoever connects in the background has done so when this is answered.
    C::spawn(client.clone(), calls(0, Until::Once(tx)));
    rx.recv().await;
    print(&json!({ "ready": true }));
    go.wait().await;
    match args.traffic {
        Traffic::Sequential | Traffic::Take | Traffic::Give | Traffic::Both => {
            let until = Until::Timed(Latencies::start(args.warmup, args.window));
            C::spawn(client.clone(), calls(0, until));
        }
        Traffic::Slow => {
            let phases = Phases::start(&args, meter);
            for index in 0..args.in_flight {
                C::spawn(client.clone(), calls(index, Until::Phases(Arc::clone(&phases))));
            }
        }
        _ => {
            measure(&args, meter);
            for index in 0..args.in_flight {
                C::spawn(client.clone(), calls(index, Until::Stopped));
            }
        }
    }
    pending().await
}

/// Counts the calls of a window, from a thread of its own, and prints the result.
pub fn measure(args: &Args, meter: &Arc<Meter>) {
    let (args, meter) = (args.clone(), Arc::clone(meter));
    thread::spawn(move || {
        thread::sleep(args.warmup);
        // Each call may take longer than the window.
        let patience = Instant::now() + Duration::from_secs(8);
        while meter.totals().0 == 0 && Instant::now() < patience {
            thread::sleep(Duration::from_millis(1));
        }
        let (before, at, first) = (Usage::now(), Instant::now(), meter.totals().0);
        let mut last;
        loop {
            thread::sleep(args.window);
            last = meter.totals().0;
            if last > first {
                break;
            }
            if Instant::now() > patience {
                fail(match args.transport {
                    Transport::Inproc => "stalled in one process",
                    _ => "stalled",
                });
            }
        }
        let mut result = meter.result(last - first, 0, Some(at.elapsed()), before);
        result["all_messages"] = json!(last);
        print(&result);
    });
}

/// What the side that listens needs while nobody calls.
fn rest(args: &Args, meter: &Meter, mut go: Go) {
    go.wait_blocking();
    thread::sleep(args.warmup);
    let (before, at) = (Usage::now(), Instant::now());
    thread::sleep(args.window);
    print(&meter.result(0, 0, Some(at.elapsed()), before));
}
