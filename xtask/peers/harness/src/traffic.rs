//! The traffic of every case: who sends, who receives, who counts.

use std::future::pending;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::contender::{Contender, Kind, Result, Threads};
use crate::control::Go;
use crate::latency::Latencies;
use crate::meter::Meter;
use crate::program::{print, spawn};
use crate::{Args, Case};

/// Where the number of a message stands in its last part, after the topic.
const NUMBER_AT: usize = 4;

/// PULL, REP, PUB or ROUTER.
pub(crate) async fn bind_side<C: Contender>(
    contender: C,
    args: Args,
    threads: Threads,
    meter: Arc<Meter>,
    mut go: Go,
    bound: impl FnOnce(String) + Send + 'static,
) -> Result<()> {
    let kind = match args.case {
        Case::PushPull | Case::Idle | Case::Reconnect => Kind::Pull,
        Case::ReqRep | Case::Connect => Kind::Rep,
        Case::PubSub => Kind::Pub,
        Case::DealerRouter => Kind::Router,
    };
    let mut socket = contender.socket(kind).await?;
    let endpoint = contender.bind(&mut socket, &args.endpoint).await?;
    bound(endpoint);
    match args.case {
        Case::PushPull | Case::Idle | Case::Reconnect => {
            meter.measure(&args);
            receive_all(&contender, &mut socket, &args, &meter, 0).await
        }
        Case::ReqRep | Case::DealerRouter | Case::Connect => loop {
            contender.echo(&mut socket).await?;
            meter.counter(0).add(1);
        },
        Case::PubSub => {
            go.wait().await;
            source(&contender, &mut socket, &args, threads, &meter, 0).await
        }
    }
}

/// PUSH, REQ, SUB or DEALER.
pub(crate) async fn connect_side<C: Contender>(
    contender: C,
    args: Args,
    threads: Threads,
    meter: Arc<Meter>,
    mut go: Go,
) -> Result<()> {
    match args.case {
        Case::PushPull | Case::Reconnect => {
            let sources = Meter::new(args.peers);
            for index in 0..args.peers {
                let mut socket = connected(&contender, Kind::Push, &args).await?;
                let (contender, args, mut go) = (contender.clone(), args.clone(), go.clone());
                let meter = Arc::clone(if args.peers == 1 { &meter } else { &sources });
                spawn(threads, async move {
                    go.wait().await;
                    source(&contender, &mut socket, &args, threads, &meter, index).await
                });
            }
            ready();
            pending().await
        }
        Case::PubSub => {
            for index in 0..args.peers {
                let mut socket = connected(&contender, Kind::Sub, &args).await?;
                let (contender, args, meter) = (contender.clone(), args.clone(), Arc::clone(&meter));
                spawn(threads, async move {
                    receive_all(&contender, &mut socket, &args, &meter, index).await
                });
            }
            ready();
            meter.measure(&args);
            pending().await
        }
        Case::Idle => {
            let mut sockets = Vec::new();
            for _ in 0..args.peers {
                sockets.push(connected(&contender, Kind::Push, &args).await?);
            }
            ready();
            go.wait().await;
            let part = vec![0xA5; args.size];
            loop {
                for socket in &mut sockets {
                    contender.send(socket, &part, 1).await?;
                    meter.counter(0).add(1);
                    nap(threads, Duration::from_secs_f64(1.0 / args.rate.max(1) as f64)).await;
                }
            }
        }
        Case::ReqRep => {
            let mut socket = connected(&contender, Kind::Req, &args).await?;
            ready();
            go.wait().await;
            let part = vec![0xA5; args.size];
            let mut latencies = Latencies::start(args.warmup, args.window);
            loop {
                let at = Instant::now();
                contender.send(&mut socket, &part, 1).await?;
                let size = contender.receive_one(&mut socket).await?;
                check(size, args.size)?;
                if !latencies.add(at) {
                    break;
                }
            }
            latencies.print(&meter);
            pending().await
        }
        Case::Connect => {
            ready();
            go.wait().await;
            let part = vec![0xA5; args.size];
            let mut latencies = Latencies::start(args.warmup, args.window);
            loop {
                let at = Instant::now();
                let mut socket = connected(&contender, Kind::Req, &args).await?;
                contender.send(&mut socket, &part, 1).await?;
                contender.receive_one(&mut socket).await?;
                let more = latencies.add(at);
                contender.close(socket).await;
                if !more {
                    break;
                }
            }
            latencies.print(&meter);
            pending().await
        }
        Case::DealerRouter => {
            let mut socket = connected(&contender, Kind::Dealer, &args).await?;
            ready();
            go.wait().await;
            meter.measure(&args);
            let part = vec![0xA5; args.size];
            for _ in 0..args.in_flight {
                contender.send(&mut socket, &part, 1).await?;
            }
            loop {
                let mut back = 0;
                contender.receive(&mut socket, &mut |_, _| back += 1).await?;
                meter.counter(0).add(back);
                for _ in 0..back {
                    contender.send(&mut socket, &part, 1).await?;
                }
            }
        }
    }
}

/// REQ and REP in turn on one thread, for libraries whose calls block it.
pub(crate) async fn alternate<C: Contender>(
    contender: C,
    args: Args,
    meter: Arc<Meter>,
    mut go: Go,
) -> Result<()> {
    let mut rep = contender.socket(Kind::Rep).await?;
    let endpoint = contender.bind(&mut rep, &args.endpoint).await?;
    let args = Args { endpoint, ..args };
    let mut req = connected(&contender, Kind::Req, &args).await?;
    ready();
    go.wait().await;
    let part = vec![0xA5; args.size];
    let mut latencies = Latencies::start(args.warmup, args.window);
    loop {
        let at = Instant::now();
        contender.send(&mut req, &part, 1).await?;
        contender.echo(&mut rep).await?;
        check(contender.receive_one(&mut req).await?, args.size)?;
        if !latencies.add(at) {
            break;
        }
    }
    latencies.print(&meter);
    pending().await
}

async fn connected<C: Contender>(contender: &C, kind: Kind, args: &Args) -> Result<C::Socket> {
    let mut socket = contender.socket(kind).await?;
    if kind == Kind::Sub {
        contender.subscribe(&mut socket, &args.subscription()).await?;
    }
    contender.connect(&mut socket, &args.endpoint).await?;
    Ok(socket)
}

fn ready() {
    print(&json!({ "ready": true }));
}

fn check(got: usize, wanted: usize) -> Result<()> {
    if got == wanted {
        return Ok(());
    }
    Err(format!("a message of {got} bytes came instead of one of {wanted}").into())
}

/// Sends until the program ends. Each message is made for its own send, and numbered.
async fn source<C: Contender>(
    contender: &C,
    socket: &mut C::Socket,
    args: &Args,
    threads: Threads,
    meter: &Meter,
    index: usize,
) -> Result<()> {
    const TICK: Duration = Duration::from_millis(1);
    let topics: Vec<String> = (0..args.topics).map(Args::topic).collect();
    let mut part = vec![0xA5; args.size];
    let counter = meter.counter(index);
    let begun = Instant::now();
    let mut number: u64 = 0;
    loop {
        if args.rate > 0 && begun.elapsed().as_secs_f64() * (args.rate as f64) < number as f64 {
            nap(threads, TICK).await;
            continue;
        }
        let topic = &topics[number as usize % topics.len()];
        part[..NUMBER_AT].copy_from_slice(topic.as_bytes());
        part[NUMBER_AT..NUMBER_AT + 8].copy_from_slice(&number.to_le_bytes());
        contender.send(socket, &part, args.parts).await?;
        number += 1;
        counter.add(1);
    }
}

/// Receives and counts until the program ends. Gaps in the numbers of one source are losses.
async fn receive_all<C: Contender>(
    contender: &C,
    socket: &mut C::Socket,
    args: &Args,
    meter: &Meter,
    index: usize,
) -> Result<()> {
    let counter = meter.counter(index);
    let wanted = args.size * args.parts;
    // With several sources in one stream numbers say nothing.
    let numbered = args.case == Case::PubSub;
    let step = args.topics as u64;
    let mut next = None;
    let mut wrong = None;
    loop {
        contender
            .receive(socket, &mut |part, size| {
                if size != wanted {
                    wrong = Some(size);
                }
                if numbered && let Some(bytes) = part.get(NUMBER_AT..NUMBER_AT + 8) {
                    let number = u64::from_le_bytes(bytes.try_into().unwrap_or_default());
                    if let Some(next) = next
                        && number > next
                    {
                        counter.lose((number - next) / step);
                    }
                    next = Some(number + step);
                }
                counter.add(1);
            })
            .await?;
        if let Some(size) = wrong {
            check(size, wanted)?;
        }
    }
}

async fn nap(threads: Threads, time: Duration) {
    match threads {
        Threads::Blocking => thread::sleep(time),
        Threads::Current | Threads::Multi(_) => tokio::time::sleep(time).await,
    }
}
