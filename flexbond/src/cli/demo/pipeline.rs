//! PUSH → PULL: as much as goes through.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::payload::{Payload, Tally};
use super::stage::{Outcome, Stage, Watch, both, receive, send, socket};
use crate::session::socket::SocketType;

pub(super) fn run(stage: Stage, time: Duration, watch: &Watch) -> Result<Outcome, String> {
    let (tell, endpoint) = oneshot::channel();
    let receiver = || async move {
        let pull = socket(SocketType::Pull, stage.options())?;
        let endpoint = pull
            .bind(stage.address())
            .await
            .map_err(|error| error.to_string())?;
        // The other end is gone only when it has failed, and then says so itself.
        let _ = tell.send(endpoint);
        let payload = Payload::new(b"", stage.size);
        let mut tally = Tally::default();
        while !tally.note(&payload, receive(&pull).await?.as_ref()) {
            watch.messages.fetch_add(1, Ordering::Relaxed);
        }
        let end = Instant::now();
        pull.close().await;
        Ok((tally, end))
    };
    let sender = || async move {
        let push = socket(SocketType::Push, stage.options())?;
        let endpoint = endpoint.await.map_err(|_| "there is no receiver".to_owned())?;
        push.connect(endpoint).map_err(|error| error.to_string())?;
        let mut payload = Payload::new(b"", stage.size);
        let begin = Instant::now();
        let mut number = 0;
        while !watch.is_over(number, begin, time) {
            send(&push, payload.message(number)).await?;
            number += 1;
        }
        send(&push, payload.end(number)).await?;
        push.close().await;
        Ok(begin)
    };
    let ((tally, end), begin) = both(receiver, sender)?;
    Ok(Outcome::of([tally], end.duration_since(begin)))
}
