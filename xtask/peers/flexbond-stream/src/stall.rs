//! A receiver that stops to receive, and stays.

use std::io;
use std::time::{Duration, Instant};

use flexbond_stream::{ConnectOptions, Mode, Stream};
use peer_harness::{Result, Words, print};
use serde_json::json;

/// Receives for so long from the first message on, and then nothing until the standard input ends.
#[tokio::main(flavor = "current_thread")]
pub(super) async fn run(mut words: Words) -> Result<()> {
    let address: String = words.take("address")?.ok_or("address= is missing")?;
    let seconds: f64 = words.get("seconds", 0.0)?;
    words.finish()?;
    // Little waits here as well.
    let options = ConnectOptions::new().mode(Mode::Pull).queue_size(10_usize);
    let mut stream = Stream::connect(address.as_str(), options).await?;
    stream.receive_raw().await?;
    let begin = Instant::now();
    let mut messages = 1_u64;
    let over = tokio::time::sleep(Duration::from_secs_f64(seconds));
    tokio::pin!(over);
    loop {
        tokio::select! {
            biased;
            () = &mut over => break,
            received = stream.receive_raw() => {
                received?;
                messages += 1;
            }
        }
    }
    print(&json!({ "stalled": true, "messages": messages, "seconds": begin.elapsed().as_secs_f64() }));
    // The connection lives meanwhile: only this task stands still.
    tokio::task::spawn_blocking(|| io::copy(&mut io::stdin(), &mut io::sink())).await??;
    drop(stream);
    Ok(())
}
