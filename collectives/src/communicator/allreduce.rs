//! Allreduce: everybody gets everybody's elements, combined.

use futures_util::future::try_join;

use super::block::{block, parts};
use super::channel::{Channel, EAGER, Frame};
use super::reduce::{recv_unless_empty, send_unless_empty};
use super::{Communicator, reduce};
use crate::call::{Call, Operation};
use crate::element::{Element, bytes_of, bytes_of_mut};
use crate::error::CollectiveError;
use crate::fabric::Fabric;
use crate::reduction::{Reduction, Side, combine_into};
use crate::schedule::{Doubling, DoublingStep, Ring};
use crate::tuning::{AllreduceAlgorithm, ReduceAlgorithm};

impl<F: Fabric> Communicator<F> {
    /// Combines all ranks' `data`, element by element, and leaves the result in that of every rank: the same bits at
    /// all of them. All slices have the same length.
    ///
    /// For results that are the same whatever the slice's length and the algorithm see
    /// [`FixedTree`](crate::FixedTree).
    ///
    /// # Errors
    /// [`CollectiveError`].
    ///
    /// # Cancel safety
    /// See [`Communicator`](Communicator#cancel-safety).
    pub fn allreduce<'a, T: Element, R: Reduction<T> + 'a>(
        &'a self,
        data: &'a mut [T],
        reduction: R,
    ) -> impl Future<Output = Result<(), CollectiveError>> + Send + 'a {
        let table = if self.has_multicast() {
            &self.tuning().multicast_allreduce
        } else {
            &self.tuning().allreduce
        };
        let algorithm = table.choose(self.size(), size_of_val(data));
        let call = Call::combination(Operation::Allreduce, data, &reduction).algorithm(algorithm as u8);
        let channel = self.open(call);
        async move {
            let channel = channel?;
            let result = channel.watch(run(&channel, data, &reduction, algorithm)).await;
            channel.finish(result)
        }
    }
}

pub(super) async fn run<F: Fabric, T: Element, R: Reduction<T>>(
    channel: &Channel<'_, F>,
    data: &mut [T],
    reduction: &R,
    algorithm: AllreduceAlgorithm,
) -> Result<(), CollectiveError> {
    match algorithm {
        AllreduceAlgorithm::Multicast if channel.has_multicast() => multicast(channel, data, reduction).await,
        AllreduceAlgorithm::Ring if reduction.is_commutative() => ring(channel, data, reduction).await,
        AllreduceAlgorithm::Ring | AllreduceAlgorithm::Rabenseifner => {
            let halving = reduce::reduce_scatter(channel, data, reduction).await?;
            reduce::allgather(channel, data, halving).await
        }
        AllreduceAlgorithm::Linear if size_of_val(data) <= EAGER => linear(channel, data, reduction).await,
        AllreduceAlgorithm::Linear
        | AllreduceAlgorithm::RecursiveDoubling
        | AllreduceAlgorithm::Multicast => {
            if size_of_val(data) <= EAGER {
                short_doubling(channel, data, reduction).await
            } else {
                doubling(channel, data, reduction).await
            }
        }
    }
}

async fn linear<F: Fabric, T: Element, R: Reduction<T>>(
    channel: &Channel<'_, F>,
    data: &mut [T],
    reduction: &R,
) -> Result<(), CollectiveError> {
    let len = size_of_val(data);
    let mut own = channel.frame(len);
    own.elements_mut::<T>().copy_from_slice(data);
    if channel.rank() != 0 {
        channel.send_frame(0, &own).await?;
        channel.recv_frame(0, &mut own).await?;
        data.copy_from_slice(own.elements());
        return Ok(());
    }
    let mut all = Vec::with_capacity(channel.size());
    all.push(own);
    for rank in 1..channel.size() {
        let mut frame = channel.frame(len);
        channel.recv_frame(rank, &mut frame).await?;
        all.push(frame);
    }
    combine_as_doubling(&mut all, reduction);
    for rank in 1..channel.size() {
        channel.send_frame(rank, &all[0]).await?;
    }
    data.copy_from_slice(all[0].elements());
    Ok(())
}

/// Combines all values into the first, with the brackets of recursive doubling.
fn combine_as_doubling<T: Element, R: Reduction<T>>(all: &mut [Frame<'_>], reduction: &R) {
    let size = all.len();
    let mut combine = |left: usize, right: usize| {
        let (lower, higher) = all.split_at_mut(right);
        let own = lower[left].elements_mut::<T>();
        combine_into(reduction, own, higher[0].elements(), Side::Right);
    };
    let folded = size - (1 << size.ilog2());
    (0..folded).for_each(|pair| combine(2 * pair, 2 * pair + 1));
    // Who is left: the first of each pair, and those that had no partner.
    let at = |place: usize| if place < folded { 2 * place } else { place + folded };
    let mut distance = 1;
    while distance < size - folded {
        for place in (0..size - folded).step_by(2 * distance) {
            combine(at(place), at(place + distance));
        }
        distance *= 2;
    }
}

/// Recursive doubling of what fits into one message: values stay in the message that is sent and the one that is
/// received, so that a round copies nothing.
async fn short_doubling<F: Fabric, T: Element, R: Reduction<T>>(
    channel: &Channel<'_, F>,
    data: &mut [T],
    reduction: &R,
) -> Result<(), CollectiveError> {
    let len = size_of_val(data);
    let mut own = channel.frame(len);
    own.elements_mut::<T>().copy_from_slice(data);
    let mut incoming = channel.frame(len);
    for step in Doubling::new(channel.me()) {
        match step {
            DoublingStep::FoldSend { to } | DoublingStep::UnfoldSend { to } => {
                channel.send_frame(to.index() as usize, &own).await?;
            }
            DoublingStep::FoldRecv { from } => {
                channel.recv_frame(from.index() as usize, &mut incoming).await?;
                combine_into(
                    reduction,
                    own.elements_mut::<T>(),
                    incoming.elements(),
                    Side::Left,
                );
            }
            DoublingStep::Exchange { with } => {
                let peer = with.index() as usize;
                try_join(
                    channel.send_frame(peer, &own),
                    channel.recv_frame(peer, &mut incoming),
                )
                .await?;
                let side = if with < channel.me() {
                    Side::Left
                } else {
                    Side::Right
                };
                combine_into(reduction, own.elements_mut::<T>(), incoming.elements(), side);
            }
            DoublingStep::UnfoldRecv { from } => {
                channel.recv_frame(from.index() as usize, &mut own).await?;
            }
        }
    }
    data.copy_from_slice(own.elements());
    Ok(())
}

async fn doubling<F: Fabric, T: Element, R: Reduction<T>>(
    channel: &Channel<'_, F>,
    data: &mut [T],
    reduction: &R,
) -> Result<(), CollectiveError> {
    let mut scratch = channel.scratch(size_of_val(data));
    let incoming = scratch.elements_mut::<T>();
    for step in Doubling::new(channel.me()) {
        match step {
            DoublingStep::FoldSend { to } | DoublingStep::UnfoldSend { to } => {
                channel.send_segments(to.index() as usize, data).await?;
            }
            DoublingStep::FoldRecv { from } => {
                channel
                    .recv_reduce(from.index() as usize, data, reduction, Side::Left)
                    .await?;
            }
            DoublingStep::Exchange { with } => {
                let peer = with.index() as usize;
                channel
                    .exchange(peer, bytes_of(data), peer, bytes_of_mut(incoming))
                    .await?;
                let side = if with < channel.me() {
                    Side::Left
                } else {
                    Side::Right
                };
                combine_into(reduction, data, incoming, side);
            }
            DoublingStep::UnfoldRecv { from } => {
                channel.recv_segments(from.index() as usize, data).await?;
            }
        }
    }
    Ok(())
}

async fn ring<F: Fabric, T: Element, R: Reduction<T>>(
    channel: &Channel<'_, F>,
    data: &mut [T],
    reduction: &R,
) -> Result<(), CollectiveError> {
    let (len, size) = (data.len(), channel.size());
    let ring = Ring::new(channel.me());
    let (next, previous) = (ring.next().index() as usize, ring.previous().index() as usize);
    let range = |rank: crate::Rank| block(len, size, rank.index() as usize);
    for step in ring.reduce_scatter() {
        let [give, keep] = parts(data, [range(step.send_block), range(step.recv_block)]);
        // Each block is combined along the ring once, and then passed round: all ranks get the same bits.
        try_join(
            channel.send_segments(next, give),
            channel.recv_reduce(previous, keep, reduction, Side::Left),
        )
        .await?;
    }
    for step in ring.allgather() {
        let [give, take] = parts(data, [range(step.send_block), range(step.recv_block)]);
        try_join(
            send_unless_empty(channel, next, give),
            recv_unless_empty(channel, previous, take),
        )
        .await?;
    }
    Ok(())
}

async fn multicast<F: Fabric, T: Element, R: Reduction<T>>(
    channel: &Channel<'_, F>,
    data: &mut [T],
    reduction: &R,
) -> Result<(), CollectiveError> {
    let algorithm: ReduceAlgorithm = channel.tuning().reduce.choose(channel.size(), size_of_val(data));
    reduce::run(channel, 0, data, reduction, algorithm).await?;
    if channel.rank() == 0 {
        channel.multicast(bytes_of(data)).await
    } else {
        channel.recv_multicast(0, bytes_of_mut(data)).await
    }
}
