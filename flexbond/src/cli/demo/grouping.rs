//! A group session: one holds it, three are members, and every message reaches all of them whole and in order, over UDP.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::payload::{Payload, Tally};
use super::stage::{Outcome, Stage, Watch, both, moves};
use crate::group::{Coordinator, Member, Options};
use crate::transport::{Endpoint, Frame, Message};

const MEMBERS: usize = 3;
/// The barrier group by which the one who sends sees that all have come.
const ARRIVAL: u16 = 0;

pub(super) fn run(stage: Stage, time: Duration, watch: &Watch) -> Result<Outcome, String> {
    let (tell, endpoint) = oneshot::channel();
    let sender = || async move {
        let coordinator = Coordinator::bind(stage.address(), Options::new())
            .await
            .map_err(|error| error.to_string())?;
        let mut arrival = coordinator
            .create_barrier(ARRIVAL)
            .map_err(|error| error.to_string())?;
        // The other end is gone only when it has failed, and then says so itself.
        let _ = tell.send(coordinator.endpoint().clone());
        for _ in 0..MEMBERS {
            moves(coordinator.accept(ARRIVAL)).await?;
        }
        moves(arrival.wait()).await?;
        let mut payload = Payload::new(b"", stage.size);
        let begin = Instant::now();
        let mut number = 0;
        while !watch.is_over(number, begin, time) {
            moves(coordinator.send(payload.message(number)[0].to_vec())).await?;
            number += 1;
        }
        let last = moves(coordinator.send(payload.end(number)[0].to_vec())).await?;
        moves(last.delivered()).await?;
        coordinator.close().await;
        Ok(begin)
    };
    let members = || async move {
        let endpoint = endpoint.await.map_err(|_| "there is no session".to_owned())?;
        let (a, b, c) = tokio::try_join!(
            member(&endpoint, stage, watch),
            member(&endpoint, stage, watch),
            member(&endpoint, stage, watch),
        )?;
        Ok(([a, b, c], Instant::now()))
    };
    let (begin, (tallies, end)) = both(sender, members)?;
    Ok(Outcome::of(tallies, end.duration_since(begin)))
}

async fn member(endpoint: &Endpoint, stage: Stage, watch: &Watch) -> Result<Tally, String> {
    let member = moves(Member::join(endpoint.clone(), Options::new())).await?;
    let mut arrival = moves(member.join_barrier(ARRIVAL)).await?;
    moves(arrival.wait()).await?;
    let payload = Payload::new(b"", stage.size);
    let mut tally = Tally::default();
    loop {
        let received = moves(member.recv()).await?;
        if tally.note(&payload, Some(&Message::from(Frame::from(received.body)))) {
            break;
        }
        watch.messages.fetch_add(1, Ordering::Relaxed);
    }
    member.leave().await;
    Ok(tally)
}
