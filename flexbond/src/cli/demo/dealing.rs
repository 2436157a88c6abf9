//! DEALER ↔ ROUTER: many questions in flight.

use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::latency::Latency;
use super::payload::{Payload, Said, Tally};
use super::stage::{Outcome, Stage, Watch, both, receive, send, socket};
use crate::session::socket::SocketType;

/// Questions not yet answered at any time.
const WINDOW: usize = 64;

pub(super) fn run(stage: Stage, time: Duration, watch: &Watch) -> Result<Outcome, String> {
    let (tell, endpoint) = oneshot::channel();
    let server = || async move {
        let router = socket(SocketType::Router, stage.options())?;
        let endpoint = router
            .bind(stage.address())
            .await
            .map_err(|error| error.to_string())?;
        // The other end is gone only when it has failed, and then says so itself.
        let _ = tell.send(endpoint);
        let payload = Payload::new(b"", stage.size);
        while let Some(request) = receive(&router).await? {
            let body = request.iter().skip(1).cloned().collect();
            let last = matches!(payload.check(&body), Ok(Said::End(_)));
            send(&router, request).await?;
            if last {
                break;
            }
        }
        router.close().await;
        Ok(())
    };
    let client = || async move {
        let dealer = socket(SocketType::Dealer, stage.options())?;
        let endpoint = endpoint.await.map_err(|_| "there is no server".to_owned())?;
        dealer.connect(endpoint).map_err(|error| error.to_string())?;
        let mut payload = Payload::new(b"", stage.size);
        let (mut tally, mut latency) = (Tally::default(), Latency::default());
        let mut asked = VecDeque::with_capacity(WINDOW);
        let begin = Instant::now();
        let mut number = 0;
        loop {
            while asked.len() < WINDOW && !watch.is_over(number, begin, time) {
                send(&dealer, payload.message(number)).await?;
                asked.push_back(Instant::now());
                number += 1;
            }
            let Some(time) = asked.pop_front() else { break };
            let reply = receive(&dealer).await?;
            latency.note(time.elapsed());
            if tally.note(&payload, reply.as_ref()) || tally.fault.is_some() {
                break;
            }
            watch.messages.store(tally.messages, Ordering::Relaxed);
        }
        let elapsed = begin.elapsed();
        if tally.fault.is_none() {
            send(&dealer, payload.end(number)).await?;
            tally.note(&payload, receive(&dealer).await?.as_ref());
        }
        dealer.close().await;
        Ok((tally, latency, elapsed))
    };
    let ((), (tally, latency, elapsed)) = both(server, client)?;
    Ok(Outcome::of([tally], elapsed).with_round_trips(latency))
}
