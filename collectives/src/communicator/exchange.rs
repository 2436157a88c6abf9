//! Allgather's algorithms, over bytes: also what is built on it uses them.

use std::ops::Range;

use super::block::parts;
use super::broadcast::exchange_runs;
use super::channel::Channel;
use crate::error::CollectiveError;
use crate::fabric::Fabric;
use crate::schedule::Ring;
use crate::tuning::AllgatherAlgorithm;

/// Where each rank's bytes are among all: one after the other, in the order of ranks.
#[derive(Clone, Copy)]
pub(super) enum Layout<'a> {
    /// All the same number.
    Even(usize),
    /// Ranges that follow each other.
    Uneven(&'a [Range<usize>]),
}

impl Layout<'_> {
    pub(super) fn range(&self, rank: usize) -> Range<usize> {
        match self {
            Layout::Even(len) => rank * len..(rank + 1) * len,
            Layout::Uneven(ranges) => ranges[rank].clone(),
        }
    }

    /// The bytes of `count` ranks from `first` on, counted round; in two runs where they wrap around.
    fn runs(&self, first: usize, count: usize, size: usize) -> [Range<usize>; 2] {
        let run = |first: usize, end: usize| self.range(first).start..self.range(end - 1).end;
        if first + count <= size {
            [run(first, first + count), 0..0]
        } else {
            [run(first, size), run(0, first + count - size)]
        }
    }
}

/// Fills `all`, in which this rank's part is in its place already, at every rank.
pub(super) async fn allgather<F: Fabric>(
    channel: &Channel<'_, F>,
    all: &mut [u8],
    layout: Layout<'_>,
    algorithm: AllgatherAlgorithm,
) -> Result<(), CollectiveError> {
    match (algorithm, layout) {
        (AllgatherAlgorithm::RecursiveDoubling, Layout::Even(len)) if channel.size().is_power_of_two() => {
            doubling(channel, all, len).await
        }
        (AllgatherAlgorithm::Ring, _) => ring(channel, all, layout).await,
        _ => bruck(channel, all, layout).await,
    }
}

async fn doubling<F: Fabric>(
    channel: &Channel<'_, F>,
    all: &mut [u8],
    len: usize,
) -> Result<(), CollectiveError> {
    let mut distance = 1;
    while distance < channel.size() {
        let peer = channel.rank() ^ distance;
        let first = |rank: usize| rank & !(distance - 1);
        let run = |rank: usize| first(rank) * len..(first(rank) + distance) * len;
        let [give, take] = parts(all, [run(channel.rank()), run(peer)]);
        channel.exchange(peer, give, peer, take).await?;
        distance *= 2;
    }
    Ok(())
}

/// Each rank has a run of parts that begins with its own and goes round; nothing is rotated at the end.
async fn bruck<F: Fabric>(
    channel: &Channel<'_, F>,
    all: &mut [u8],
    layout: Layout<'_>,
) -> Result<(), CollectiveError> {
    let (rank, size) = (channel.rank(), channel.size());
    let mut have = 1;
    while have < size {
        let count = have.min(size - have);
        let (to, from) = ((rank + size - have) % size, (rank + have) % size);
        let [give, give_round] = layout.runs(rank, count, size);
        let [take, take_round] = layout.runs(from, count, size);
        let [give, give_round, take, take_round] = parts(all, [give, give_round, take, take_round]);
        exchange_runs(channel, to, [give, give_round], from, [take, take_round]).await?;
        have += count;
    }
    Ok(())
}

async fn ring<F: Fabric>(
    channel: &Channel<'_, F>,
    all: &mut [u8],
    layout: Layout<'_>,
) -> Result<(), CollectiveError> {
    let ring = Ring::new(channel.me());
    let (next, previous) = (ring.next().index() as usize, ring.previous().index() as usize);
    for step in ring.allgather() {
        let give = layout.range(step.send_block.index() as usize);
        let take = layout.range(step.recv_block.index() as usize);
        let [give, take] = parts(all, [give, take]);
        channel.exchange(next, give, previous, take).await?;
    }
    Ok(())
}
