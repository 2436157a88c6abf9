//! flexbond's collectives as a peer: barrier, broadcast and allreduce (sum of f32), timed as Open MPI's are.
//!
//! `peer-flexbond-collectives run case=barrier|bcast|allreduce size=BYTES warmup=N rounds=N spin_us=MICROSECONDS
//! [multicast=GROUP:PORT] [only=yes]`, one process for each rank, with RANK, WORLD_SIZE, MASTER_ADDR and MASTER_PORT in
//! its environment. Rank 0 prints the JSON object that `collectives.c` describes. Where multicast does not reach all
//! ranks, there is no result. With `only=yes` everything that can be multicast is, whatever its size.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use flexbond_collectives::{
    AllreduceAlgorithm, BroadcastAlgorithm, Communicator, Launch, Max, MeshFabric, Sum, Table, Tuning,
};
use flexbond_session::mesh::MeshOptions;
use peer_harness::{Result, Words, fail, print};
use serde_json::json;

/// What is measured.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Operation {
    Barrier,
    Broadcast,
    Allreduce,
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    std::panic::set_hook(Box::new(|panic| fail(&panic.to_string())));
    // As a task among the others, as in users' programs.
    let ran = tokio::spawn(run()).await;
    if let Err(error) = ran.map_err(Into::into).and_then(|ran| ran) {
        fail(&error.to_string());
    }
}

async fn run() -> Result<()> {
    let (role, mut words) = Words::read()?;
    if role != "run" {
        return Err(format!("unknown role `{role}`").into());
    }
    let case = words.get("case", "barrier".to_owned())?;
    let operation = match case.as_str() {
        "barrier" => Operation::Barrier,
        "bcast" => Operation::Broadcast,
        "allreduce" => Operation::Allreduce,
        other => return Err(format!("unknown case `{other}`").into()),
    };
    let size: usize = words.get("size", 1024)?;
    let warmup: usize = words.get("warmup", 100)?;
    let rounds: usize = words.get("rounds", 1000)?;
    let spin = Duration::from_micros(words.get("spin_us", 1000)?);
    let multicast: Option<SocketAddr> = words.take("multicast")?;
    let only = words.get("only", "no".to_owned())? == "yes";
    words.finish()?;
    if size == 0 || !size.is_multiple_of(4) || rounds == 0 {
        return Err("size is a multiple of 4, rounds are at least 1".into());
    }
    let mut launch = Launch::from_env()?;
    launch.multicast = multicast;
    let fabric = MeshFabric::launch(&launch, MeshOptions::new().spin(spin)).await?;
    if let Some(reason) = fabric.multicast_refusal() {
        return Err(format!("no multicast: {reason}").into());
    }
    let mut tuning = Tuning::default();
    if only {
        tuning.multicast_broadcast = Table::always(BroadcastAlgorithm::Multicast);
        tuning.multicast_allreduce = Table::always(AllreduceAlgorithm::Multicast);
    }
    let communicator = Communicator::with_tuning(Arc::new(fabric), tuning).await?;
    let rank = communicator.rank();
    let mut ranks = Ranks {
        communicator: &communicator,
        operation,
        own: vec![rank as f32 + 1.0; size / 4],
        data: vec![rank as f32 + 1.0; size / 4],
    };
    for _ in 0..warmup {
        ranks.pass().await?;
    }
    communicator.barrier().await?;
    let begun = Instant::now();
    let mut single = Vec::with_capacity(rounds);
    let mut before = begun;
    for _ in 0..rounds {
        ranks.pass().await?;
        let now = Instant::now();
        single.push(micros(now - before));
        before = now;
    }
    let mut longest = [micros(before - begun)];
    communicator.allreduce(&mut longest, Max).await?;
    let mut synced = Vec::with_capacity(rounds);
    for _ in 0..rounds {
        communicator.barrier().await?;
        let at = Instant::now();
        ranks.pass().await?;
        synced.push(micros(at.elapsed()));
    }
    communicator.allreduce(&mut synced, Max).await?;
    // A wrong sum would make the times worthless.
    let count = communicator.size();
    let expected = (count * (count + 1) / 2) as f32;
    if operation == Operation::Allreduce && ranks.data.iter().any(|sum| *sum != expected) {
        return Err("a sum is wrong".into());
    }
    if rank == 0 {
        single.sort_unstable_by(f64::total_cmp);
        print(&json!({
            "case": case,
            "ranks": count,
            "size": if operation == Operation::Barrier { 0 } else { size },
            "rounds": rounds,
            "seconds": longest[0] / 1e6,
            "mean_us": longest[0] / rounds as f64,
            "p50_us": single[rounds / 2],
            "p99_us": single[rounds * 99 / 100],
            "synced_us": synced.iter().sum::<f64>() / rounds as f64,
        }));
    }
    communicator.leave().await;
    Ok(())
}

/// What a rank does again and again.
struct Ranks<'a> {
    communicator: &'a Communicator<MeshFabric>,
    operation: Operation,
    /// What it contributes.
    own: Vec<f32>,
    /// Where the result comes.
    data: Vec<f32>,
}

impl Ranks<'_> {
    async fn pass(&mut self) -> Result<()> {
        match self.operation {
            Operation::Barrier => self.communicator.barrier().await?,
            Operation::Broadcast => self.communicator.broadcast(0, &mut self.data).await?,
            Operation::Allreduce => {
                // From one buffer into another, as Open MPI's is called.
                self.data.copy_from_slice(&self.own);
                self.communicator.allreduce(&mut self.data, Sum).await?;
            }
        }
        Ok(())
    }
}

fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}
