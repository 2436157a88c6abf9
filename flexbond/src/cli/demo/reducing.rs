//! An allreduce of two ranks: each adds its numbers, and both look at all sums.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::latency::Latency;
use super::stage::{Outcome, Stage, Watch, both, moves};
use crate::collectives::{Communicator, MeshFabric, Sum};
use crate::session::mesh::{MeshOptions, MeshServer};
use crate::transport::Endpoint;

const RANKS: usize = 2;

/// What a rank has seen.
#[derive(Default)]
struct Seen {
    rounds: u64,
    elapsed: Duration,
    latency: Latency,
    fault: Option<String>,
}

pub(super) fn run(stage: Stage, time: Duration, watch: &Watch) -> Result<Outcome, String> {
    let (tell, endpoint) = oneshot::channel();
    let first = || async move {
        let server = moves(MeshServer::bind(stage.address(), MeshOptions::new().size(RANKS))).await?;
        // The other end is gone only when it has failed, and then says so itself.
        let _ = tell.send(server.endpoint().clone());
        let seen = rank(server.endpoint(), stage, Some(time), watch).await?;
        server.finish().await;
        Ok(seen)
    };
    let second = || async move {
        let endpoint = endpoint.await.map_err(|_| "there is no rank 0".to_owned())?;
        rank(&endpoint, stage, None, watch).await
    };
    let (first, second) = both(first, second)?;
    Ok(Outcome {
        messages: first.rounds,
        bytes: first.rounds * stage.size as u64,
        elapsed: first.elapsed,
        round_trip: first.latency.percentiles(),
        fault: first.fault.or(second.fault),
    })
}

/// One rank, until the one that knows the time says that it is over.
async fn rank(
    endpoint: &Endpoint,
    stage: Stage,
    time: Option<Duration>,
    watch: &Watch,
) -> Result<Seen, String> {
    let fabric = moves(MeshFabric::join(endpoint.clone(), MeshOptions::new().size(RANKS))).await?;
    let communicator = moves(Communicator::new(fabric)).await?;
    let mut numbers = vec![0.0_f32; stage.size / size_of::<f32>()];
    let mut seen = Seen::default();
    let begin = Instant::now();
    loop {
        let round = seen.rounds;
        let over = time.is_some_and(|time| watch.is_over(round, begin, time));
        for (place, number) in numbers.iter_mut().enumerate() {
            *number = share(round, place);
        }
        // The sum of the first place tells both whether this round is the last.
        numbers[0] = f32::from(u8::from(over));
        let asked = Instant::now();
        moves(communicator.allreduce(&mut numbers, Sum)).await?;
        seen.latency.note(asked.elapsed());
        let wrong = (1..numbers.len()).find(|&place| numbers[place] != RANKS as f32 * share(round, place));
        seen.fault = wrong.map(|place| format!("round {round}: the sum at {place} is {}", numbers[place]));
        seen.rounds += 1;
        watch.messages.store(seen.rounds, Ordering::Relaxed);
        if numbers[0] > 0.0 || seen.fault.is_some() {
            break;
        }
    }
    seen.elapsed = begin.elapsed();
    communicator.leave().await;
    Ok(seen)
}

/// What each rank adds: small whole numbers, whose sums are exact.
fn share(round: u64, place: usize) -> f32 {
    ((round + place as u64) % 1021) as f32
}
