//! REQ ↔ REP: one question at a time, and how long each answer takes.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::latency::Latency;
use super::payload::{Payload, Said, Tally};
use super::stage::{Outcome, Stage, Watch, both, receive, send, socket};
use crate::session::socket::SocketType;

pub(super) fn run(stage: Stage, time: Duration, watch: &Watch) -> Result<Outcome, String> {
    let (tell, endpoint) = oneshot::channel();
    let server = || async move {
        let rep = socket(SocketType::Rep, stage.options())?;
        let endpoint = rep
            .bind(stage.address())
            .await
            .map_err(|error| error.to_string())?;
        // The other end is gone only when it has failed, and then says so itself.
        let _ = tell.send(endpoint);
        let payload = Payload::new(b"", stage.size);
        while let Some(request) = receive(&rep).await? {
            let last = matches!(payload.check(&request), Ok(Said::End(_)));
            send(&rep, request).await?;
            if last {
                break;
            }
        }
        rep.close().await;
        Ok(())
    };
    let client = || async move {
        let req = socket(SocketType::Req, stage.options())?;
        let endpoint = endpoint.await.map_err(|_| "there is no server".to_owned())?;
        req.connect(endpoint).map_err(|error| error.to_string())?;
        let mut payload = Payload::new(b"", stage.size);
        let (mut tally, mut latency) = (Tally::default(), Latency::default());
        let begin = Instant::now();
        while !watch.is_over(tally.messages, begin, time) {
            let asked = Instant::now();
            send(&req, payload.message(tally.messages)).await?;
            let reply = receive(&req).await?;
            latency.note(asked.elapsed());
            if tally.note(&payload, reply.as_ref()) || tally.fault.is_some() {
                break;
            }
            watch.messages.store(tally.messages, Ordering::Relaxed);
        }
        let elapsed = begin.elapsed();
        if tally.fault.is_none() {
            send(&req, payload.end(tally.messages)).await?;
            tally.note(&payload, receive(&req).await?.as_ref());
        }
        req.close().await;
        Ok((tally, latency, elapsed))
    };
    let ((), (tally, latency, elapsed)) = both(server, client)?;
    Ok(Outcome::of([tally], elapsed).with_round_trips(latency))
}
