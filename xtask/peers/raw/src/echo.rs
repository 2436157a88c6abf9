//! Ping-pong: over blocking streams, tokio streams and tokio channels.

use std::io::{Read, Write};
use std::sync::Arc;
use std::thread;
use std::time::Instant;

use peer_harness::{Args, Go, Latencies, Meter, Result, print};
use serde_json::json;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::mpsc;

use crate::stream;

fn ready() {
    print(&json!({ "ready": true }));
}

/// Sends back whatever comes, message by message.
pub(crate) fn serve_blocking(args: &Args) -> Result<()> {
    let mut message = vec![0; args.size];
    for mut stream in stream::accept(args)? {
        while stream.read_exact(&mut message).is_ok() && stream.write_all(&message).is_ok() {}
    }
    thread::park();
    Ok(())
}

/// Measures round trips over a blocking stream.
pub(crate) fn ask_blocking(args: &Args, meter: &Meter, mut go: Go) -> Result<()> {
    let mut stream = stream::dial(args)?;
    ready();
    go.wait_blocking();
    let part = vec![0xA5_u8; args.size];
    let mut reply = vec![0; args.size];
    let mut latencies = Latencies::start(args.warmup, args.window);
    loop {
        let at = Instant::now();
        stream.write_all(&part.clone())?;
        stream.read_exact(&mut reply)?;
        if !latencies.add(at) {
            break;
        }
    }
    latencies.print(meter);
    Ok(())
}

fn runtime(args: &Args) -> Result<Runtime> {
    Ok(if args.setting == "tokio-multi-thread" {
        Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()?
    } else {
        Builder::new_current_thread().enable_all().build()?
    })
}

/// Sends back whatever comes, on tokio.
pub(crate) fn serve(args: &Args) -> Result<()> {
    let args = args.clone();
    runtime(&args)?.block_on(async move {
        let announce = |endpoint: &str| print(&json!({ "bound": endpoint }));
        let serving = if let Some(path) = args.endpoint.strip_prefix("ipc://") {
            let listener = UnixListener::bind(path)?;
            announce(&args.endpoint);
            tokio::spawn(echo(listener.accept().await?.0, args.size))
        } else {
            let listener = TcpListener::bind(args.endpoint.trim_start_matches("tcp://")).await?;
            announce(&format!("tcp://{}", listener.local_addr()?));
            let stream = listener.accept().await?.0;
            stream.set_nodelay(true)?;
            tokio::spawn(echo(stream, args.size))
        };
        serving.await?;
        // The end of standard input ends the program.
        std::future::pending().await
    })
}

async fn echo(mut stream: impl AsyncRead + AsyncWrite + Unpin, size: usize) {
    let mut message = vec![0; size];
    while stream.read_exact(&mut message).await.is_ok() && stream.write_all(&message).await.is_ok() {}
}

/// Measures round trips over a tokio stream.
pub(crate) fn ask(args: &Args, meter: &Arc<Meter>, go: Go) -> Result<()> {
    let (args, meter) = (args.clone(), Arc::clone(meter));
    let runtime = runtime(&args)?;
    runtime.block_on(async move {
        let asking = if let Some(path) = args.endpoint.strip_prefix("ipc://") {
            tokio::spawn(ping(UnixStream::connect(path).await?, args, meter, go))
        } else {
            let stream = TcpStream::connect(args.endpoint.trim_start_matches("tcp://")).await?;
            stream.set_nodelay(true)?;
            tokio::spawn(ping(stream, args, meter, go))
        };
        asking.await?
    })
}

async fn ping(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    args: Args,
    meter: Arc<Meter>,
    mut go: Go,
) -> Result<()> {
    ready();
    go.wait().await;
    let part = vec![0xA5_u8; args.size];
    let mut reply = vec![0; args.size];
    let mut latencies = Latencies::start(args.warmup, args.window);
    loop {
        let at = Instant::now();
        stream.write_all(&part.clone()).await?;
        stream.read_exact(&mut reply).await?;
        if !latencies.add(at) {
            break;
        }
    }
    latencies.print(&meter);
    Ok(())
}

/// Measures round trips between two tasks: on one runtime of one thread, or each on its own.
pub(crate) fn channels(args: &Args, meter: &Arc<Meter>, mut go: Go) -> Result<()> {
    let (there, mut requests) = mpsc::channel::<Vec<u8>>(args.hwm);
    let (back, mut replies) = mpsc::channel::<Vec<u8>>(args.hwm);
    let serve = async move {
        while let Some(request) = requests.recv().await {
            if back.send(request).await.is_err() {
                break;
            }
        }
    };
    let (args, meter) = (args.clone(), Arc::clone(meter));
    let threads = args.threads;
    let ask = async move {
        ready();
        go.wait().await;
        let part = vec![0xA5_u8; args.size];
        let mut latencies = Latencies::start(args.warmup, args.window);
        loop {
            let at = Instant::now();
            there.send(part.clone()).await?;
            replies.recv().await.ok_or("no reply")?;
            if !latencies.add(at) {
                break;
            }
        }
        latencies.print(&meter);
        Ok(())
    };
    if threads == 1 {
        return Builder::new_current_thread()
            .enable_all()
            .build()?
            .block_on(async move {
                tokio::spawn(serve);
                tokio::spawn(ask).await?
            });
    }
    let other = Builder::new_current_thread().enable_all().build()?;
    thread::spawn(move || other.block_on(serve));
    Builder::new_current_thread().enable_all().build()?.block_on(ask)
}
