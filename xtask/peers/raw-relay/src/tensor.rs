//! A large value from party 0 to party 1, by the server and without it.

use std::future::pending;
use std::time::Instant;

use peer_harness::federation::Args;
use peer_harness::{Go, Meter, Result, Usage, print};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// What the receiver says when it has the value.
const SHORT: usize = 8;
/// How often the value goes each way at least, besides once before it is timed.
const ROUNDS: usize = 2;

pub(crate) async fn take_part(
    mut by_server: TcpStream,
    args: &Args,
    meter: &Meter,
    mut go: Go,
) -> Result<()> {
    print(&json!({ "ready": true }));
    go.wait().await;
    let mut direct = meet(&mut by_server, args).await?;
    let mut block = vec![0xA5_u8; args.size];
    if args.process == 0 {
        let before = Usage::now();
        let at = Instant::now();
        let relayed = send(&mut by_server, &block, args).await?;
        let straight = send(&mut direct, &block, args).await?;
        let mut result = meter.result(2 * ROUNDS as u64, 0, Some(at.elapsed()), before);
        result["mean_us"] = json!(straight);
        result["relayed_mean_us"] = json!(relayed);
        print(&result);
    } else {
        for stream in [&mut by_server, &mut direct] {
            receive(stream, &mut block).await?;
        }
        print(&meter.result(0, 0, Some(args.window), Usage::now()));
    }
    pending().await
}

/// A connection from party to party. Its port is told by the server.
async fn meet(by_server: &mut TcpStream, args: &Args) -> Result<TcpStream> {
    let stream = match args.process {
        0 => {
            let port = by_server.read_u16().await?;
            TcpStream::connect(("127.0.0.1", port)).await?
        }
        _ => {
            let listener = TcpListener::bind("127.0.0.1:0").await?;
            by_server.write_u16(listener.local_addr()?.port()).await?;
            listener.accept().await?.0
        }
    };
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// The mean time in microseconds until the other party has all.
async fn send(stream: &mut TcpStream, block: &[u8], args: &Args) -> Result<f64> {
    let mut short = [0; SHORT];
    let (mut at, mut rounds) = (Instant::now(), 0_u32);
    loop {
        // Whether this is the last one.
        let is_over = rounds as usize >= ROUNDS && at.elapsed() >= args.window / 2;
        stream.write_u8(u8::from(is_over)).await?;
        if is_over {
            return Ok(at.elapsed().as_secs_f64() * 1e6 / f64::from(rounds));
        }
        stream.write_all(block).await?;
        stream.read_exact(&mut short).await?;
        match rounds {
            0 if at.elapsed() < args.warmup => at = Instant::now(),
            _ => rounds += 1,
        }
    }
}

async fn receive(stream: &mut TcpStream, block: &mut [u8]) -> Result<()> {
    while stream.read_u8().await? == 0 {
        stream.read_exact(block).await?;
        stream.write_all(&block[..SHORT]).await?;
    }
    Ok(())
}
