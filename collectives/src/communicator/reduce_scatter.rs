//! Reduce-scatter: each rank gets its block of everybody's elements, combined.

use futures_util::future::try_join;

use super::channel::Channel;
use super::layout::expect_len;
use super::{Communicator, allreduce};
use crate::call::{Call, Operation};
use crate::element::Element;
use crate::error::CollectiveError;
use crate::fabric::Fabric;
use crate::reduction::{Reduction, Side, combine_into};
use crate::schedule::Ring;
use crate::tuning::{AllreduceAlgorithm, ReduceScatterAlgorithm};

impl<F: Fabric> Communicator<F> {
    /// Combines all ranks' `data`, element by element, and gives each rank one block of the result: rank 0 the first,
    /// and so on. `data` is size × `block.len()` elements.
    ///
    /// # Errors
    /// [`CollectiveError`].
    ///
    /// # Cancel safety
    /// See [`Communicator`](Communicator#cancel-safety).
    pub fn reduce_scatter<'a, T: Element, R: Reduction<T> + 'a>(
        &'a self,
        data: &'a [T],
        block: &'a mut [T],
        reduction: R,
    ) -> impl Future<Output = Result<(), CollectiveError>> + Send + 'a {
        let algorithm = self
            .tuning()
            .reduce_scatter
            .choose(self.size(), size_of_val(data));
        let call = Call::combination(Operation::ReduceScatter, data, &reduction).algorithm(algorithm as u8);
        let channel = self.open(call);
        async move {
            let channel = channel?;
            let work = async {
                expect_len("data", data.len(), block.len().saturating_mul(channel.size()))?;
                match algorithm {
                    ReduceScatterAlgorithm::Ring if reduction.is_commutative() => {
                        ring(&channel, data, block, &reduction).await
                    }
                    ReduceScatterAlgorithm::RecursiveDoubling => {
                        let algorithm = AllreduceAlgorithm::RecursiveDoubling;
                        cut_out(&channel, data, block, &reduction, algorithm).await
                    }
                    _ => {
                        let algorithm = AllreduceAlgorithm::Rabenseifner;
                        cut_out(&channel, data, block, &reduction, algorithm).await
                    }
                }
            };
            let result = channel.watch(work).await;
            channel.finish(result)
        }
    }
}

async fn cut_out<F: Fabric, T: Element, R: Reduction<T>>(
    channel: &Channel<'_, F>,
    data: &[T],
    block: &mut [T],
    reduction: &R,
    algorithm: AllreduceAlgorithm,
) -> Result<(), CollectiveError> {
    let mut scratch = channel.scratch(size_of_val(data));
    let all = scratch.elements_mut::<T>();
    all.copy_from_slice(data);
    allreduce::run(channel, all, reduction, algorithm).await?;
    let start = channel.rank() * block.len();
    block.copy_from_slice(&all[start..start + block.len()]);
    Ok(())
}

/// A block comes with what the ranks before have combined, is combined with the own part of it, and goes on.
async fn ring<F: Fabric, T: Element, R: Reduction<T>>(
    channel: &Channel<'_, F>,
    data: &[T],
    block: &mut [T],
    reduction: &R,
) -> Result<(), CollectiveError> {
    let len = block.len();
    let part = |rank: crate::Rank| &data[rank.index() as usize * len..][..len];
    let ring = Ring::new(channel.me());
    let (next, previous) = (ring.next().index() as usize, ring.previous().index() as usize);
    let mut passing = channel.scratch(size_of_val(block));
    let mut coming = channel.scratch(size_of_val(block));
    let mut steps = ring.reduce_scatter().peekable();
    if steps.peek().is_none() {
        block.copy_from_slice(data);
    }
    let mut is_first = true;
    while let Some(step) = steps.next() {
        let give: &[T] = if is_first {
            part(step.send_block)
        } else {
            passing.elements()
        };
        is_first = false;
        // The last to come is the own block.
        let is_last = steps.peek().is_none();
        let take: &mut [T] = if is_last {
            &mut *block
        } else {
            coming.elements_mut()
        };
        try_join(
            channel.send_segments(next, give),
            recv_combine(channel, previous, take, part(step.recv_block), reduction),
        )
        .await?;
        std::mem::swap(&mut passing, &mut coming);
    }
    Ok(())
}

/// Receives in segments and combines each with the own part of it while the next is on its way.
async fn recv_combine<F: Fabric, T: Element, R: Reduction<T>>(
    channel: &Channel<'_, F>,
    from: usize,
    take: &mut [T],
    own: &[T],
    reduction: &R,
) -> Result<(), CollectiveError> {
    let segment = channel.tuning().segment_of(size_of::<T>());
    for (take, own) in take.chunks_mut(segment).zip(own.chunks(segment)) {
        channel.recv_segments(from, take).await?;
        combine_into(reduction, take, own, Side::Right);
    }
    Ok(())
}
