//! Broadcast: one rank's slice becomes everybody's.

use std::ops::Range;

use futures_util::future::try_join;

use super::Communicator;
use super::block::{block, parts};
use super::channel::Channel;
use crate::call::{Call, Operation};
use crate::element::{Element, bytes_of_mut};
use crate::error::CollectiveError;
use crate::fabric::Fabric;
use crate::schedule::Tree;
use crate::tuning::BroadcastAlgorithm;

impl<F: Fabric> Communicator<F> {
    /// Gives everybody the elements that rank `root` has in `data`. All ranks' slices have the same length.
    ///
    /// # Errors
    /// [`CollectiveError`].
    ///
    /// # Cancel safety
    /// See [`Communicator`](Communicator#cancel-safety).
    pub fn broadcast<'a, T: Element>(
        &'a self,
        root: usize,
        data: &'a mut [T],
    ) -> impl Future<Output = Result<(), CollectiveError>> + Send + 'a {
        let algorithm = self.broadcast_algorithm(size_of_val(data));
        let call = Call::new(Operation::Broadcast)
            .elements::<T>(data.len())
            .root(root)
            .algorithm(algorithm as u8);
        let channel = self.open(call);
        async move {
            let channel = channel?;
            let result = channel
                .watch(run(&channel, root, bytes_of_mut(data), algorithm))
                .await;
            channel.finish(result)
        }
    }

    pub(super) fn broadcast_algorithm(&self, bytes: usize) -> BroadcastAlgorithm {
        let table = if self.has_multicast() {
            &self.tuning().multicast_broadcast
        } else {
            &self.tuning().broadcast
        };
        table.choose(self.size(), bytes)
    }
}

pub(super) async fn run<F: Fabric>(
    channel: &Channel<'_, F>,
    root: usize,
    data: &mut [u8],
    algorithm: BroadcastAlgorithm,
) -> Result<(), CollectiveError> {
    let tree = Tree::of(channel.me(), channel.check_rank(root)?);
    match algorithm {
        BroadcastAlgorithm::Multicast if channel.has_multicast() => {
            if channel.rank() == root {
                channel.multicast(data).await
            } else {
                channel.recv_multicast(root, data).await
            }
        }
        BroadcastAlgorithm::Binomial | BroadcastAlgorithm::Multicast => binomial(channel, tree, data).await,
        BroadcastAlgorithm::ScatterAllgather => scatter_allgather(channel, root, tree, data).await,
        BroadcastAlgorithm::Chain => chain(channel, root, data).await,
    }
}

async fn binomial<F: Fabric>(
    channel: &Channel<'_, F>,
    tree: Tree,
    data: &mut [u8],
) -> Result<(), CollectiveError> {
    // In segments, so that a child passes on the first while the next is on its way to it.
    for segment in data.chunks_mut(channel.tuning().segment_of(1)) {
        if let Some(parent) = tree.parent() {
            channel.recv(parent.index() as usize, segment).await?;
        }
        for child in tree.children() {
            channel.send(child.index() as usize, segment).await?;
        }
    }
    Ok(())
}

/// In places counted from the root: block i of the data belongs to place i, so that subtrees are runs of bytes.
async fn scatter_allgather<F: Fabric>(
    channel: &Channel<'_, F>,
    root: usize,
    tree: Tree,
    data: &mut [u8],
) -> Result<(), CollectiveError> {
    let (size, len) = (channel.size(), data.len());
    let place_of = |rank: usize| (rank + size - root) % size;
    let rank_at = |place: usize| (place + root) % size;
    let run_of =
        |place: usize, count: usize| block(len, size, place).start..block(len, size, place + count - 1).end;
    let place = place_of(channel.rank());
    if let Some(parent) = tree.parent() {
        let range = run_of(place, tree.subtree() as usize);
        if !range.is_empty() {
            channel.recv(parent.index() as usize, &mut data[range]).await?;
        }
    }
    for child in tree.children() {
        let subtree = tree.subtree_of(child) as usize;
        let child = child.index() as usize;
        let range = run_of(place_of(child), subtree);
        if !range.is_empty() {
            channel.send(child, &data[range]).await?;
        }
    }
    // Every place now has its own block at least. With doubling distances, each has a run of blocks that begins with its
    // own and goes round.
    let mut have = 1;
    while have < size {
        let count = have.min(size - have);
        let [give, give_round] = round_run(len, size, place, count);
        let [take, take_round] = round_run(len, size, (place + have) % size, count);
        let [give, give_round, take, take_round] = parts(data, [give, give_round, take, take_round]);
        let to = rank_at((place + size - have) % size);
        let from = rank_at((place + have) % size);
        exchange_runs(channel, to, [give, give_round], from, [take, take_round]).await?;
        have += count;
    }
    Ok(())
}

/// The bytes of `count` blocks from `first` on, counted round; in two runs where they wrap around.
fn round_run(len: usize, size: usize, first: usize, count: usize) -> [Range<usize>; 2] {
    let start = block(len, size, first).start;
    if first + count <= size {
        [start..block(len, size, first + count - 1).end, 0..0]
    } else {
        [start..len, 0..block(len, size, first + count - 1 - size).end]
    }
}

/// Sends up to two runs of bytes to one rank while it receives up to two from another. Empty runs are left out; both
/// sides know which.
pub(super) async fn exchange_runs<F: Fabric>(
    channel: &Channel<'_, F>,
    to: usize,
    give: [&mut [u8]; 2],
    from: usize,
    take: [&mut [u8]; 2],
) -> Result<(), CollectiveError> {
    try_join(
        async move {
            for run in give {
                if !run.is_empty() {
                    channel.send(to, run).await?;
                }
            }
            Ok::<_, CollectiveError>(())
        },
        async move {
            for run in take {
                if !run.is_empty() {
                    channel.recv(from, run).await?;
                }
            }
            Ok(())
        },
    )
    .await?;
    Ok(())
}

/// Each rank passes a segment on while it receives the next.
async fn chain<F: Fabric>(
    channel: &Channel<'_, F>,
    root: usize,
    data: &mut [u8],
) -> Result<(), CollectiveError> {
    let (rank, size) = (channel.rank(), channel.size());
    let previous = (rank + size - 1) % size;
    let next = (rank + 1) % size;
    let (has_previous, has_next) = (rank != root, next != root);
    let segment = channel.tuning().segment_of(1);
    let mut segments = data.chunks_mut(segment);
    let mut passing: Option<&mut [u8]> = None;
    loop {
        let mut coming = segments.next();
        try_join(
            async {
                match &passing {
                    Some(segment) if has_next => channel.send(next, segment).await,
                    _ => Ok(()),
                }
            },
            async {
                match &mut coming {
                    Some(segment) if has_previous => channel.recv(previous, segment).await,
                    _ => Ok(()),
                }
            },
        )
        .await?;
        if coming.is_none() {
            return Ok(());
        }
        passing = coming;
    }
}
