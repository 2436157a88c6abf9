//! The limit of two parties that talk by a server: bytes that it passes on over plain tokio streams.
//!
//! There are no channels, nothing is kept, nothing is acknowledged. Values have no length before them: both sides know
//! it. One at a time, a value is read into memory that is there already; with many under way, for all values that came at
//! once as many go at once. A large value passes the server, and then goes directly from party to party.

mod relay;
mod tensor;

use std::future::pending;
use std::sync::Arc;
use std::thread;
use std::time::Instant;

use peer_harness::federation::{Args, Role, Traffic};
use peer_harness::rpc::block_on;
use peer_harness::{Control, Go, Latencies, Meter, Result, Threads, Usage, fail, print};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

fn main() {
    std::panic::set_hook(Box::new(|panic| fail(&panic.to_string())));
    if let Err(error) = run() {
        fail(&error.to_string());
    }
}

fn run() -> Result<()> {
    let args = Args::read()?;
    let is_known = matches!(args.traffic, Traffic::Swap | Traffic::Tensor);
    if !is_known || args.parties > 2 || args.jobs > 1 || args.is_durable || args.next.is_some() {
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
    let meter = Meter::new(1);
    let go = Control::start(&meter);
    block_on(threads, false, async move {
        // As a task among the others: see the harness.
        match args.role {
            Role::Serve => tokio::spawn(relay::serve(args)).await?,
            _ => tokio::spawn(take_part(args, meter, go)).await?,
        }
    })
}

async fn take_part(args: Args, meter: Arc<Meter>, go: Go) -> Result<()> {
    let stream = TcpStream::connect(args.address()).await?;
    stream.set_nodelay(true)?;
    match args.traffic {
        Traffic::Tensor => tensor::take_part(stream, &args, &meter, go).await,
        _ if args.in_flight == 1 => one(stream, &args, &meter, go).await,
        _ => many(stream, &args, &meter, go).await,
    }
}

/// Swaps one value after the other.
async fn one(mut stream: TcpStream, args: &Args, meter: &Meter, mut go: Go) -> Result<()> {
    print(&json!({ "ready": true }));
    go.wait().await;
    let block = vec![0xA5_u8; args.size];
    let mut answer = vec![0; args.size];
    let mut latencies = Some(Latencies::start(args.warmup, args.window));
    loop {
        let at = Instant::now();
        let sent = stream.write_all(&block).await;
        if sent.is_err() || stream.read_exact(&mut answer).await.is_err() {
            return over().await;
        }
        meter.counter(0).add(1);
        if let Some(mut times) = latencies.take() {
            match times.add(at) {
                true => latencies = Some(times),
                false => times.print(meter),
            }
        }
    }
}

/// Keeps a number of values under way in each direction.
async fn many(mut stream: TcpStream, args: &Args, meter: &Arc<Meter>, mut go: Go) -> Result<()> {
    print(&json!({ "ready": true }));
    go.wait().await;
    measure(args, meter);
    let block = vec![0xA5_u8; args.size * args.in_flight];
    let mut answers = vec![0; args.size * args.in_flight];
    let mut left_over = 0;
    stream.write_all(&block).await?;
    loop {
        let read = stream.read(&mut answers[left_over..]).await.unwrap_or(0);
        if read == 0 {
            return over().await;
        }
        let values = (left_over + read) / args.size;
        left_over = (left_over + read) % args.size;
        meter.counter(0).add(values as u64);
        if stream.write_all(&block[..values * args.size]).await.is_err() {
            return over().await;
        }
    }
}

/// The other party has been measured and is gone. This one still says what it has measured.
async fn over() -> Result<()> {
    pending().await
}

fn measure(args: &Args, meter: &Arc<Meter>) {
    let (args, meter) = (args.clone(), Arc::clone(meter));
    thread::spawn(move || {
        thread::sleep(args.warmup);
        let (before, at, first) = (Usage::now(), Instant::now(), meter.totals().0);
        thread::sleep(args.window);
        let (span, last) = (at.elapsed(), meter.totals().0);
        print(&meter.result(last - first, 0, Some(span), before));
    });
}
