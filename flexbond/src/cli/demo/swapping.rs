//! Two parties that reach nothing but a message server, and swap values by name.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::latency::Latency;
use super::payload::{Payload, Tally};
use super::stage::{Outcome, STALL, Stage, Watch, both, moves};
use crate::collectives::federation::{Config, Federation, Server, ServerConfig, VariableChannel};
use crate::transport::{Frame, Message};

const PARTIES: [&str; 2] = ["ada", "bob"];

pub(super) fn run(stage: Stage, time: Duration, watch: &Watch) -> Result<Outcome, String> {
    let (tell, address) = oneshot::channel();
    let (leave, left) = oneshot::channel();
    let bob = || async move {
        let mut config = ServerConfig::new();
        let listen = stage.address().parse();
        config.listen = vec![listen.map_err(|error| format!("{error}"))?];
        let mut server = moves(Server::bind(config)).await?;
        let address = server.endpoints()[0].to_string();
        // The other end is gone only when it has failed, and then says so itself.
        let _ = tell.send(address.clone());
        let (federation, channel) = join(&address, PARTIES[1], PARTIES[0]).await?;
        let (mut mine, payload) = (Payload::new(b"", stage.size), Payload::new(b"", stage.size));
        let mut tally = Tally::default();
        loop {
            let theirs = swap(&channel, &mine.message(tally.messages)).await?;
            if tally.note(&payload, Some(&theirs)) || tally.fault.is_some() {
                break;
            }
        }
        federation.close().await;
        // A server that ends has not heard perhaps that the other one has received all; who leaves then waits for the next.
        let _ = left.await;
        moves(server.shutdown(STALL)).await?;
        Ok(tally)
    };
    let ada = || async move {
        let address = address.await.map_err(|_| "there is no server".to_owned())?;
        let (federation, channel) = join(&address, PARTIES[0], PARTIES[1]).await?;
        let (mut mine, payload) = (Payload::new(b"", stage.size), Payload::new(b"", stage.size));
        let (mut tally, mut latency) = (Tally::default(), Latency::default());
        let begin = Instant::now();
        loop {
            let number = tally.messages;
            let last = watch.is_over(number, begin, time);
            let value = if last {
                mine.end(number)
            } else {
                mine.message(number)
            };
            let asked = Instant::now();
            let theirs = swap(&channel, &value).await?;
            latency.note(asked.elapsed());
            tally.note(&payload, Some(&theirs));
            watch.messages.store(tally.messages, Ordering::Relaxed);
            if last || tally.fault.is_some() {
                break;
            }
        }
        let elapsed = begin.elapsed();
        federation.close().await;
        let _ = leave.send(());
        Ok((tally, latency, elapsed))
    };
    let (bob, (ada, latency, elapsed)) = both(bob, ada)?;
    Ok(Outcome {
        messages: ada.messages,
        bytes: ada.bytes + bob.bytes,
        elapsed,
        round_trip: latency.percentiles(),
        fault: ada.fault.or(bob.fault),
    })
}

/// A party of the job, and its channel to the other one.
async fn join(server: &str, local: &str, other: &str) -> Result<(Federation, VariableChannel), String> {
    let config = serde_json::json!({
        "server": server,
        "session": {"local_id": local, "job_id": "demo"},
        "federation": {"guest": [PARTIES[0]], "host": [PARTIES[1]]},
    });
    let config = Config::from_json(&config.to_string()).map_err(|error| error.to_string())?;
    let federation = moves(Federation::connect(config)).await?;
    let channel = federation
        .variable("values", other)
        .map_err(|error| error.to_string())?;
    Ok((federation, channel))
}

/// Sends a value and receives the other's, which is read as a message of the demo.
async fn swap(channel: &VariableChannel, value: &Message) -> Result<Message, String> {
    let theirs: Vec<u8> = moves(channel.swap(&value[0].to_vec())).await?;
    Ok(Message::from(Frame::from(theirs)))
}
