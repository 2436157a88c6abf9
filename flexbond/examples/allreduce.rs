//! Everybody's numbers, added up at everybody. Ranks of one process here; in processes of their own, started by
//! `flexbond launch`, `torchrun`, `mpirun` or `srun`, each gets its communicator from `Communicator::from_env`.

use flexbond::collectives::{CollectiveError, Communicator, LocalFabric, Sum};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let ranks = LocalFabric::new(4).into_iter().map(async |fabric| {
        // In a program that `flexbond launch`, torchrun, mpirun or srun starts: Communicator::from_env(options).
        let communicator = Communicator::new(fabric).await?;
        let mut numbers = vec![communicator.rank() as f64; 1000];
        communicator.allreduce(&mut numbers, Sum).await?;
        println!("rank {} has {}", communicator.rank(), numbers[0]);
        communicator.barrier().await?;
        Ok::<_, CollectiveError>(())
    });
    let mut running = tokio::task::JoinSet::new();
    ranks.for_each(|rank| drop(running.spawn(rank)));
    while let Some(ended) = running.join_next().await {
        ended??;
    }
    Ok(())
}
