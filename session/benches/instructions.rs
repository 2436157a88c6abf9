//! What a message costs on the hot paths of sockets, to be counted in instructions by `cargo xtask budget`.
//!
//! A run carries the messages of one case, as many rounds of them as it is told, and prints nothing. It measures no
//! time: run under callgrind with one round and with two, the difference is what the messages of one round cost,
//! without what it takes to set up. Everything is on one thread, so that the same run counts the same.
//!
//! `instructions.toml` beside this file holds what each case may cost.

use std::collections::VecDeque;
use std::error::Error;
use std::io::IoSlice;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use flexbond_session::Message;
use flexbond_session::socket::{Options, RecvError, SendError, SlowPeer, Socket, SocketType};
use flexbond_wire::zmtp::{Batch, Config, Connection};
use tokio::runtime::Builder;

type Outcome = Result<(), Box<dyn Error>>;

/// What is measured, and how many messages (or round trips) make a round.
///
/// Enough that a read or a write more does not show, and few enough that callgrind, fifty times slower than the
/// processor, takes about a second.
const CASES: [(&str, usize); 6] = [
    ("wire-16", 64 * 1_000),
    ("push-pull-inproc-16", 50_000),
    ("push-pull-tcp-16", 50_000),
    ("push-pull-tcp-1024", 32 * 1_000),
    ("pub-4-sub-tcp-128", 10_000),
    ("req-rep-tcp-16", 4_000),
];

/// How many messages a receiver takes at once, if so many are there.
const BATCH: usize = 256;
/// What tells a subscriber that its subscription has arrived.
const PROBE: &[u8] = b"probe";
/// The last one of these.
const START: &[u8] = b"start";
const LOOPBACK: &str = "tcp://127.0.0.1:0";

fn main() -> Outcome {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match args[..] {
        ["--list"] => {
            for (name, messages) in CASES {
                println!("{name} {messages}");
            }
            Ok(())
        }
        [name, rounds] if !name.starts_with('-') => {
            let (_, messages) = CASES
                .into_iter()
                .find(|(case, _)| *case == name)
                .ok_or_else(|| format!("no case is called {name}"))?;
            run(name, messages * rounds.parse::<usize>()?)
        }
        // As `cargo bench` calls it, for one.
        _ => {
            println!(
                "usage: instructions CASE ROUNDS, or --list; `cargo xtask budget` counts the instructions"
            );
            Ok(())
        }
    }
}

fn run(case: &str, count: usize) -> Outcome {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        match case {
            "wire-16" => wire(payload(16), count),
            "push-pull-inproc-16" => push_pull("inproc://pipeline", payload(16), count).await,
            "push-pull-tcp-16" => push_pull(LOOPBACK, payload(16), count).await,
            "push-pull-tcp-1024" => push_pull_bursts(LOOPBACK, payload(1024), count).await,
            "pub-4-sub-tcp-128" => publish(4, payload(128), count).await,
            "req-rep-tcp-16" => request(payload(16), count).await,
            other => Err(format!("nothing is written for {other}").into()),
        }
    })
}

/// Made once: what a message costs is not what its content costs.
fn payload(size: usize) -> Bytes {
    Bytes::from(vec![b'x'; size])
}

/// One sender that never pauses by itself, one receiver.
async fn push_pull(endpoint: &str, payload: Bytes, count: usize) -> Outcome {
    let pull = Socket::new(SocketType::Pull);
    let endpoint = pull.bind(endpoint).await?;
    let push = Socket::new(SocketType::Push);
    push.connect(&endpoint)?;
    let sender = tokio::spawn(async move {
        for _ in 0..count {
            push.send(payload.clone()).await?;
        }
        Ok::<_, SendError>(push)
    });
    drain(&pull, count).await?;
    sender.await??;
    Ok(())
}

/// As [`push_pull`], but so few at once that the system takes and gives all of them in one piece.
///
/// Offered more, it takes as much as its buffers have grown to meanwhile, which depends on the time that passes; and
/// with that the number of reads and writes differs by a third from run to run.
async fn push_pull_bursts(endpoint: &str, payload: Bytes, count: usize) -> Outcome {
    const BURST: usize = 32;
    let pull = Socket::new(SocketType::Pull);
    let endpoint = pull.bind(endpoint).await?;
    let push = Socket::new(SocketType::Push);
    push.connect(&endpoint)?;
    for _ in 0..count / BURST {
        for _ in 0..BURST {
            push.send(payload.clone()).await?;
        }
        drain(&pull, BURST).await?;
    }
    Ok(())
}

async fn drain(socket: &Socket, count: usize) -> Result<(), RecvError> {
    let mut messages = Vec::with_capacity(BATCH);
    let mut received = 0;
    while received < count {
        received += socket.recv_many(&mut messages, BATCH).await?;
        messages.clear();
    }
    Ok(())
}

/// One publisher that waits for the slowest of its subscribers. A message counts once, however many receive it.
async fn publish(subscribers: usize, payload: Bytes, count: usize) -> Outcome {
    let publisher = Socket::with_options(SocketType::Pub, Options::new().slow_peer(SlowPeer::Wait))?;
    let endpoint = publisher.bind(LOOPBACK).await?;
    let mut tasks = Vec::new();
    let (heard, mut hears) = tokio::sync::mpsc::channel(subscribers);
    for _ in 0..subscribers {
        let subscriber = Socket::new(SocketType::Sub);
        subscriber.subscribe("")?;
        subscriber.connect(&endpoint)?;
        let heard = heard.clone();
        tasks.push(tokio::spawn(async move {
            subscriber.recv().await?;
            let _ = heard.send(()).await;
            while subscriber.recv().await?[0] != *START {}
            drain(&subscriber, count).await
        }));
    }
    for _ in 0..subscribers {
        while hears.try_recv().is_err() {
            publisher.send(PROBE).await?;
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
    publisher.send(START).await?;
    for _ in 0..count {
        publisher.send(payload.clone()).await?;
    }
    for task in tasks {
        task.await??;
    }
    Ok(())
}

/// One client that waits for each answer, one server that sends back what it gets.
async fn request(payload: Bytes, count: usize) -> Outcome {
    let server = Socket::new(SocketType::Rep);
    let endpoint = server.bind(LOOPBACK).await?;
    tokio::spawn(async move {
        while let Ok(request) = server.recv().await {
            if server.send(request).await.is_err() {
                return;
            }
        }
    });
    let client = Socket::new(SocketType::Req);
    client.connect(&endpoint)?;
    for _ in 0..count {
        client.send(payload.clone()).await?;
        client.recv().await?;
    }
    Ok(())
}

/// ZMTP alone: messages are encoded, handed over in one piece and decoded, 64 at a time.
fn wire(payload: Bytes, count: usize) -> Outcome {
    const TURN: usize = 64;
    let now = Instant::now();
    let [mut push, mut pull] =
        [SocketType::Push, SocketType::Pull].map(|kind| Connection::new(Arc::new(Config::new(kind)), now));
    while !(push.is_ready() && pull.is_ready()) {
        carry(&mut push, &mut pull, now);
        while pull.poll_event(now)?.is_some() {}
        carry(&mut pull, &mut push, now);
        while push.poll_event(now)?.is_some() {}
    }
    let message = Message::from(payload);
    let mut batch = Batch::default();
    let mut received = VecDeque::with_capacity(TURN);
    for _ in 0..count / TURN {
        for _ in 0..TURN {
            batch.push(&mut message.clone());
        }
        push.send_batch(&mut batch);
        carry(&mut push, &mut pull, now);
        if push.take_written() != TURN {
            return Err("not all messages were written".into());
        }
        pull.poll_messages(now, &mut received, TURN)?;
        if received.len() != TURN {
            return Err("not all messages arrived".into());
        }
        received.clear();
    }
    Ok(())
}

fn carry(from: &mut Connection, to: &mut Connection, now: Instant) {
    let mut slices = [IoSlice::new(&[]); 16];
    let filled = from.transmit().slices(&mut slices);
    let mut carried = 0;
    for slice in &slices[..filled] {
        to.read_buffer().extend_from_slice(slice);
        to.handle_read(now);
        carried += slice.len();
    }
    from.transmit().advance(carried);
}
