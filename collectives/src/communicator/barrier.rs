//! Barrier: nobody goes on before everybody has come.

use futures_util::future::try_join;

use super::Communicator;
use super::channel::Channel;
use crate::call::{Call, Operation};
use crate::error::CollectiveError;
use crate::fabric::Fabric;
use crate::schedule::{Barrier, Tree};
use crate::tuning::BarrierAlgorithm;

impl<F: Fabric> Communicator<F> {
    /// Waits until all ranks have called this.
    ///
    /// # Errors
    /// [`CollectiveError`]; whether all others have come is open then.
    ///
    /// # Cancel safety
    /// See [`Communicator`](Communicator#cancel-safety).
    pub fn barrier(&self) -> impl Future<Output = Result<(), CollectiveError>> + Send {
        let table = if self.has_multicast() {
            &self.tuning().multicast_barrier
        } else {
            &self.tuning().barrier
        };
        let algorithm = table.choose(self.size(), 0);
        let channel = self.open(Call::new(Operation::Barrier).algorithm(algorithm as u8));
        async move {
            let channel = channel?;
            let result = channel.watch(run(&channel, algorithm)).await;
            channel.finish(result)
        }
    }
}

async fn run<F: Fabric>(
    channel: &Channel<'_, F>,
    algorithm: BarrierAlgorithm,
) -> Result<(), CollectiveError> {
    match algorithm {
        BarrierAlgorithm::Linear => linear(channel).await,
        BarrierAlgorithm::Dissemination => dissemination(channel).await,
        BarrierAlgorithm::Multicast => tree(channel).await,
    }
}

async fn linear<F: Fabric>(channel: &Channel<'_, F>) -> Result<(), CollectiveError> {
    let sent = channel.frame(0);
    let mut received = channel.frame(0);
    if channel.rank() != 0 {
        channel.send_frame(0, &sent).await?;
        return channel.recv_frame(0, &mut received).await;
    }
    for rank in 1..channel.size() {
        channel.recv_frame(rank, &mut received).await?;
    }
    for rank in 1..channel.size() {
        channel.send_frame(rank, &sent).await?;
    }
    Ok(())
}

async fn dissemination<F: Fabric>(channel: &Channel<'_, F>) -> Result<(), CollectiveError> {
    let sent = channel.frame(0);
    let mut received = channel.frame(0);
    for round in Barrier::new(channel.me()) {
        try_join(
            channel.send_frame(round.send_to.index() as usize, &sent),
            channel.recv_frame(round.recv_from.index() as usize, &mut received),
        )
        .await?;
    }
    Ok(())
}

async fn tree<F: Fabric>(channel: &Channel<'_, F>) -> Result<(), CollectiveError> {
    let tree = Tree::from_first(channel.me());
    let sent = channel.frame(0);
    let mut received = channel.frame(0);
    for child in tree.children().rev() {
        channel.recv_frame(child.index() as usize, &mut received).await?;
    }
    if let Some(parent) = tree.parent() {
        channel.send_frame(parent.index() as usize, &sent).await?;
    }
    if channel.has_multicast() {
        return match tree.parent() {
            None => channel.multicast(&[]).await,
            Some(_) => channel.recv_multicast(0, &mut []).await,
        };
    }
    if let Some(parent) = tree.parent() {
        channel.recv_frame(parent.index() as usize, &mut received).await?;
    }
    for child in tree.children() {
        channel.send_frame(child.index() as usize, &sent).await?;
    }
    Ok(())
}
