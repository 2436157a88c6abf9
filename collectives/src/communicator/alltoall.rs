//! Alltoall: everybody has a part for everybody.

use futures_util::future::{try_join, try_join_all};

use super::Communicator;
use super::channel::Channel;
use super::layout::{byte_ranges, expect_len};
use crate::call::{Call, Operation};
use crate::element::{Element, bytes_of, bytes_of_mut};
use crate::error::CollectiveError;
use crate::fabric::Fabric;
use crate::tuning::AlltoallAlgorithm;

impl<F: Fabric> Communicator<F> {
    /// Sends block i of `give` to rank i, and receives rank i's block for this rank as block i of `take`. Both slices
    /// have the same length, the same at all ranks, and a multiple of the number of ranks.
    ///
    /// # Errors
    /// [`CollectiveError`].
    ///
    /// # Cancel safety
    /// See [`Communicator`](Communicator#cancel-safety).
    pub fn alltoall<'a, T: Element>(
        &'a self,
        give: &'a [T],
        take: &'a mut [T],
    ) -> impl Future<Output = Result<(), CollectiveError>> + Send + 'a {
        let block = size_of_val(give) / self.size();
        let algorithm = self.tuning().alltoall.choose(self.size(), block);
        let call = Call::new(Operation::Alltoall)
            .elements::<T>(give.len())
            .algorithm(algorithm as u8);
        let channel = self.open(call);
        async move {
            let channel = channel?;
            let work = async {
                expect_len("take", take.len(), give.len())?;
                expect_len("give", give.len(), give.len() / channel.size() * channel.size())?;
                let (give, take) = (bytes_of(give), bytes_of_mut(take));
                match algorithm {
                    AlltoallAlgorithm::Bruck => bruck(&channel, give, take, block).await,
                    AlltoallAlgorithm::Overlapped => overlapped(&channel, give, take, block).await,
                    AlltoallAlgorithm::Pairwise => {
                        let range = |rank: usize| rank * block..(rank + 1) * block;
                        pairwise(&channel, give, range, take, range).await
                    }
                }
            };
            let result = channel.watch(work).await;
            channel.finish(result)
        }
    }

    /// As [`alltoall`](Communicator::alltoall), where blocks may differ in length: `give_counts` says how many elements
    /// go to each rank, and `take_counts` how many come from each.
    ///
    /// # Errors
    /// [`CollectiveError::Length`] when a rank gives another number than this one expects; other [`CollectiveError`]s.
    ///
    /// # Cancel safety
    /// See [`Communicator`](Communicator#cancel-safety).
    pub fn alltoallv<'a, T: Element>(
        &'a self,
        give: &'a [T],
        give_counts: &'a [usize],
        take: &'a mut [T],
        take_counts: &'a [usize],
    ) -> impl Future<Output = Result<(), CollectiveError>> + Send + 'a {
        let channel = self.open(Call::new(Operation::Alltoallv).elements::<T>(0));
        async move {
            let channel = channel?;
            let work = async {
                let gives = byte_ranges::<T>(give_counts, channel.size(), give.len())?;
                let takes = byte_ranges::<T>(take_counts, channel.size(), take.len())?;
                let own = channel.rank();
                expect_len(
                    "the block for this rank itself",
                    take_counts[own],
                    give_counts[own],
                )?;
                let give_range = |rank: usize| gives[rank].clone();
                let take_range = |rank: usize| takes[rank].clone();
                pairwise(
                    &channel,
                    bytes_of(give),
                    give_range,
                    bytes_of_mut(take),
                    take_range,
                )
                .await
            };
            let result = channel.watch(work).await;
            channel.finish(result)
        }
    }
}

async fn pairwise<F: Fabric>(
    channel: &Channel<'_, F>,
    give: &[u8],
    give_range: impl Fn(usize) -> std::ops::Range<usize>,
    take: &mut [u8],
    take_range: impl Fn(usize) -> std::ops::Range<usize>,
) -> Result<(), CollectiveError> {
    let (rank, size) = (channel.rank(), channel.size());
    take[take_range(rank)].copy_from_slice(&give[give_range(rank)]);
    for distance in 1..size {
        let (to, from) = ((rank + distance) % size, (rank + size - distance) % size);
        channel
            .exchange(to, &give[give_range(to)], from, &mut take[take_range(from)])
            .await?;
    }
    Ok(())
}

async fn overlapped<F: Fabric>(
    channel: &Channel<'_, F>,
    give: &[u8],
    take: &mut [u8],
    block: usize,
) -> Result<(), CollectiveError> {
    let (rank, size) = (channel.rank(), channel.size());
    if block == 0 {
        return pairwise(channel, give, |_| 0..0, take, |_| 0..0).await;
    }
    take[rank * block..(rank + 1) * block].copy_from_slice(&give[rank * block..(rank + 1) * block]);
    // Each begins with another, so that not all send to rank 0 at first.
    let sends = (1..size).map(|distance| {
        let to = (rank + distance) % size;
        channel.send(to, &give[to * block..(to + 1) * block])
    });
    let mut receives: Vec<_> = take
        .chunks_exact_mut(block)
        .enumerate()
        .filter(|(from, _)| *from != rank)
        .collect();
    receives.sort_by_key(|(from, _)| (rank + size - from) % size);
    let receives = receives
        .into_iter()
        .map(|(from, block)| channel.recv(from, block));
    try_join(try_join_all(sends), try_join_all(receives)).await?;
    Ok(())
}

/// In round k every block whose way has bit k goes 2ᵏ ranks further. Blocks are kept by the length of their way.
async fn bruck<F: Fabric>(
    channel: &Channel<'_, F>,
    give: &[u8],
    take: &mut [u8],
    block: usize,
) -> Result<(), CollectiveError> {
    let (rank, size) = (channel.rank(), channel.size());
    let mut blocks = channel.scratch(give.len());
    let blocks = blocks.bytes_mut();
    let (before, from_own) = give.split_at(rank * block);
    blocks[..from_own.len()].copy_from_slice(from_own);
    blocks[from_own.len()..].copy_from_slice(before);

    let most = size.div_ceil(2) * block;
    let (mut sent, mut received) = (channel.scratch(most), channel.scratch(most));
    let mut bit = 1;
    while bit < size {
        let moving = || (0..size).filter(|way| way & bit != 0);
        let len = moving().count() * block;
        for (to, way) in moving().enumerate() {
            sent.bytes_mut()[to * block..(to + 1) * block]
                .copy_from_slice(&blocks[way * block..(way + 1) * block]);
        }
        let (to, from) = ((rank + bit) % size, (rank + size - bit) % size);
        channel
            .exchange(to, &sent.bytes()[..len], from, &mut received.bytes_mut()[..len])
            .await?;
        for (at, way) in moving().enumerate() {
            blocks[way * block..(way + 1) * block]
                .copy_from_slice(&received.bytes()[at * block..(at + 1) * block]);
        }
        bit *= 2;
    }
    // What has gone `way` ranks has come from the one so far back.
    for way in 0..size {
        let from = (rank + size - way) % size;
        take[from * block..(from + 1) * block].copy_from_slice(&blocks[way * block..(way + 1) * block]);
    }
    Ok(())
}
