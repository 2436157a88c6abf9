//! PUB → SUB: one publisher, four subscribers, two topics, and nothing dropped because the publisher waits.

use std::cell::Cell;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::payload::{Payload, Tally};
use super::stage::{Outcome, Stage, Watch, both, receive, send, socket};
use crate::session::socket::{SlowPeer, SocketType};
use crate::transport::Message;

const SUBSCRIBERS: usize = 4;
/// What everybody subscribes to, and what nobody does.
const NEWS: &[u8] = b"news.";
const NOISE: &[u8] = b"noise.";
/// Sent until every subscriber is there: a publisher cannot know when a subscription arrives.
const HELLO: &[u8] = b"news.hello";
const ARRIVAL: Duration = Duration::from_secs(10);

pub(super) fn run(stage: Stage, time: Duration, watch: &Watch) -> Result<Outcome, String> {
    let (tell, endpoint) = oneshot::channel();
    let arrived = &AtomicUsize::new(0);
    let publisher = || async move {
        let publisher = socket(SocketType::Pub, stage.options().slow_peer(SlowPeer::Wait))?;
        let endpoint = publisher
            .bind(stage.address())
            .await
            .map_err(|error| error.to_string())?;
        // The other end is gone only when it has failed, and then says so itself.
        let _ = tell.send(endpoint);
        let patience = Instant::now();
        while arrived.load(Ordering::Acquire) < SUBSCRIBERS {
            if patience.elapsed() > ARRIVAL {
                return Err("the subscriptions did not arrive".to_owned());
            }
            send(&publisher, HELLO.into()).await?;
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let mut news = Payload::new(NEWS, stage.size);
        let mut noise = Payload::new(NOISE, stage.size);
        let begin = Instant::now();
        let mut number = 0;
        while !watch.is_over(number, begin, time) {
            send(&publisher, news.message(number)).await?;
            if number.is_multiple_of(4) {
                send(&publisher, noise.message(number)).await?;
            }
            number += 1;
        }
        send(&publisher, news.end(number)).await?;
        publisher.close().await;
        Ok(begin)
    };
    let subscribers = || async move {
        let endpoint = endpoint.await.map_err(|_| "there is no publisher".to_owned())?;
        let payload = &Payload::new(NEWS, stage.size);
        let messages = &Cell::new(0);
        let one = |_| {
            let endpoint = endpoint.clone();
            async move {
                let subscriber = socket(SocketType::Sub, stage.options())?;
                subscriber.subscribe(NEWS).map_err(|error| error.to_string())?;
                subscriber.connect(endpoint).map_err(|error| error.to_string())?;
                let mut tally = Tally::default();
                let mut greeted = false;
                loop {
                    let message = receive(&subscriber).await?;
                    if message.as_ref().is_some_and(is_hello) {
                        if !std::mem::replace(&mut greeted, true) {
                            arrived.fetch_add(1, Ordering::Release);
                        }
                        continue;
                    }
                    if tally.note(payload, message.as_ref()) {
                        break;
                    }
                    messages.set(messages.get() + 1);
                    watch.messages.store(messages.get(), Ordering::Relaxed);
                }
                subscriber.close().await;
                Ok::<_, String>(tally)
            }
        };
        let (a, b, c, d) = tokio::try_join!(one(0), one(1), one(2), one(3))?;
        Ok(([a, b, c, d], Instant::now()))
    };
    let (begin, (tallies, end)) = both(publisher, subscribers)?;
    Ok(Outcome::of(tallies, end.duration_since(begin)))
}

fn is_hello(message: &Message) -> bool {
    message.len() == 1 && message[0] == *HELLO
}
