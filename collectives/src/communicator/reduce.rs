//! Reduce: one rank gets everybody's elements, combined.

use futures_util::future::try_join;

use super::Communicator;
use super::block::parts;
use super::channel::Channel;
use crate::call::{Call, Operation};
use crate::element::{Element, bytes_of, bytes_of_mut};
use crate::error::CollectiveError;
use crate::fabric::Fabric;
use crate::reduction::{Reduction, Side};
use crate::schedule::{Fold, Halving, Tree};
use crate::tuning::ReduceAlgorithm;

impl<F: Fabric> Communicator<F> {
    /// Combines all ranks' `data`, element by element, into that of rank `root`. All slices have the same length. At
    /// the other ranks `data` is used as working space, and its contents are unspecified afterwards.
    ///
    /// # Errors
    /// [`CollectiveError`].
    ///
    /// # Cancel safety
    /// See [`Communicator`](Communicator#cancel-safety).
    pub fn reduce<'a, T: Element, R: Reduction<T> + 'a>(
        &'a self,
        root: usize,
        data: &'a mut [T],
        reduction: R,
    ) -> impl Future<Output = Result<(), CollectiveError>> + Send + 'a {
        let algorithm = self.tuning().reduce.choose(self.size(), size_of_val(data));
        let call = Call::combination(Operation::Reduce, data, &reduction)
            .root(root)
            .algorithm(algorithm as u8);
        let channel = self.open(call);
        async move {
            let channel = channel?;
            let result = channel
                .watch(run(&channel, root, data, &reduction, algorithm))
                .await;
            channel.finish(result)
        }
    }
}

pub(super) async fn run<F: Fabric, T: Element, R: Reduction<T>>(
    channel: &Channel<'_, F>,
    root: usize,
    data: &mut [T],
    reduction: &R,
    algorithm: ReduceAlgorithm,
) -> Result<(), CollectiveError> {
    let root_rank = channel.check_rank(root)?;
    match algorithm {
        ReduceAlgorithm::Binomial if reduction.is_commutative() => {
            let tree = Tree::of(channel.me(), root_rank);
            for child in tree.children().rev() {
                let from = child.index() as usize;
                channel.recv_reduce(from, data, reduction, Side::Right).await?;
            }
            match tree.parent() {
                Some(parent) => channel.send_segments(parent.index() as usize, data).await,
                None => Ok(()),
            }
        }
        ReduceAlgorithm::Binomial => ordered(channel, root, data, reduction).await,
        ReduceAlgorithm::Rabenseifner => rabenseifner(channel, root, data, reduction).await,
    }
}

/// The tree of recursive doubling, cut off: what would be exchanged goes to the lower place only.
async fn ordered<F: Fabric, T: Element, R: Reduction<T>>(
    channel: &Channel<'_, F>,
    root: usize,
    data: &mut [T],
    reduction: &R,
) -> Result<(), CollectiveError> {
    let halving = Halving::new(channel.me(), data.len());
    let first = halving.first().index() as usize;
    let up = async {
        match halving.fold() {
            Fold::SitOut { with } => return channel.send_segments(with.index() as usize, data).await,
            Fold::StandIn { with } => {
                let from = with.index() as usize;
                channel.recv_reduce(from, data, reduction, Side::Left).await?;
            }
            Fold::Alone => {}
        }
        let Some(place) = halving.place(channel.me()) else {
            return Ok(());
        };
        for bit in 0..halving.rounds() {
            let with = halving.at(place ^ 1 << bit).index() as usize;
            if place >> bit & 1 == 1 {
                return channel.send_segments(with, data).await;
            }
            channel.recv_reduce(with, data, reduction, Side::Right).await?;
        }
        Ok(())
    };
    up.await?;
    if first == root {
        Ok(())
    } else if channel.rank() == first {
        channel.send_segments(root, data).await
    } else if channel.rank() == root {
        channel.recv_segments(first, data).await
    } else {
        Ok(())
    }
}

async fn rabenseifner<F: Fabric, T: Element, R: Reduction<T>>(
    channel: &Channel<'_, F>,
    root: usize,
    data: &mut [T],
    reduction: &R,
) -> Result<(), CollectiveError> {
    let halving = reduce_scatter(channel, data, reduction).await?;
    if channel.rank() != root {
        let kept = halving.kept(channel.me());
        return channel.send_segments(root, &data[kept]).await;
    }
    for rank in channel.me().size().ranks().filter(|rank| *rank != channel.me()) {
        let kept = halving.kept(rank);
        channel
            .recv_segments(rank.index() as usize, &mut data[kept])
            .await?;
    }
    Ok(())
}

/// The reduce-scatter by recursive halving: afterwards each rank's `data` holds the result in the range that the
/// halving says is kept.
pub(super) async fn reduce_scatter<F: Fabric, T: Element, R: Reduction<T>>(
    channel: &Channel<'_, F>,
    data: &mut [T],
    reduction: &R,
) -> Result<Halving, CollectiveError> {
    let halving = Halving::new(channel.me(), data.len());
    match halving.fold() {
        Fold::SitOut { with } => {
            channel.send_segments(with.index() as usize, data).await?;
            return Ok(halving);
        }
        Fold::StandIn { with } => {
            let from = with.index() as usize;
            channel.recv_reduce(from, data, reduction, Side::Left).await?;
        }
        Fold::Alone => {}
    }
    for number in 0..halving.rounds() {
        let round = halving.round(number);
        let with = round.with.index() as usize;
        let side = if round.with < channel.me() {
            Side::Left
        } else {
            Side::Right
        };
        let [keep, give] = parts(data, [round.keep, round.give]);
        try_join(
            channel.send_segments(with, give),
            channel.recv_reduce(with, keep, reduction, side),
        )
        .await?;
    }
    Ok(halving)
}

/// The allgather that undoes a [`reduce_scatter`].
pub(super) async fn allgather<F: Fabric, T: Element>(
    channel: &Channel<'_, F>,
    data: &mut [T],
    halving: Halving,
) -> Result<(), CollectiveError> {
    if let Fold::SitOut { with } = halving.fold() {
        return channel.recv_segments(with.index() as usize, data).await;
    }
    for number in (0..halving.rounds()).rev() {
        let round = halving.round(number);
        let with = round.with.index() as usize;
        let [keep, give] = parts(data, [round.keep, round.give]);
        // Nothing is combined here, so there is nothing to cut up for.
        try_join(
            send_unless_empty(channel, with, keep),
            recv_unless_empty(channel, with, give),
        )
        .await?;
    }
    if let Fold::StandIn { with } = halving.fold() {
        channel.send_segments(with.index() as usize, data).await?;
    }
    Ok(())
}

/// Both sides know which ranges are empty.
pub(super) async fn send_unless_empty<F: Fabric, T: Element>(
    channel: &Channel<'_, F>,
    to: usize,
    data: &[T],
) -> Result<(), CollectiveError> {
    if data.is_empty() {
        return Ok(());
    }
    channel.send(to, bytes_of(data)).await
}

pub(super) async fn recv_unless_empty<F: Fabric, T: Element>(
    channel: &Channel<'_, F>,
    from: usize,
    data: &mut [T],
) -> Result<(), CollectiveError> {
    if data.is_empty() {
        return Ok(());
    }
    channel.recv(from, bytes_of_mut(data)).await
}
