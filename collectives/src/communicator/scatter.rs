//! Scatter: one rank gives each its part.

use std::ops::Range;

use super::Communicator;
use super::channel::Channel;
use super::gather::{byte_ranges, expect_len, round_runs};
use crate::call::{Call, Operation};
use crate::element::{Element, bytes_of, bytes_of_mut};
use crate::error::CollectiveError;
use crate::fabric::Fabric;
use crate::schedule::Tree;
use crate::tuning::RootedAlgorithm;

impl<F: Fabric> Communicator<F> {
    /// Gives each rank its part of what rank `root` has, in the order of ranks. All parts have the same length.
    ///
    /// `all` is size × `mine.len()` elements at the root; at the others it is not used and may be empty.
    ///
    /// # Errors
    /// [`CollectiveError`].
    ///
    /// # Cancel safety
    /// See [`Communicator`](Communicator#cancel-safety).
    pub fn scatter<'a, T: Element>(
        &'a self,
        root: usize,
        all: &'a [T],
        mine: &'a mut [T],
    ) -> impl Future<Output = Result<(), CollectiveError>> + Send + 'a {
        let algorithm = self.tuning().scatter.choose(self.size(), size_of_val(mine));
        let call = Call::new(Operation::Scatter)
            .elements::<T>(mine.len())
            .root(root)
            .algorithm(algorithm as u8);
        let channel = self.open(call);
        async move {
            let channel = channel?;
            let work = async {
                channel.check_rank(root)?;
                if channel.rank() == root {
                    expect_len("all", all.len(), mine.len().saturating_mul(channel.size()))?;
                }
                let (all, mine) = (bytes_of(all), bytes_of_mut(mine));
                match algorithm {
                    RootedAlgorithm::Binomial => binomial(&channel, root, all, mine).await,
                    RootedAlgorithm::Linear => {
                        let len = mine.len();
                        linear(&channel, root, all, mine, |rank| rank * len..(rank + 1) * len).await
                    }
                }
            };
            let result = channel.watch(work).await;
            channel.finish(result)
        }
    }

    /// Gives each rank its part of what rank `root` has, where parts may differ in length.
    ///
    /// At the root `counts` says how many elements each rank gets, and `all` has exactly these, in the order of ranks.
    /// At the others both are not used and may be empty. `mine` is as long as this rank's part.
    ///
    /// # Errors
    /// [`CollectiveError::Length`] at a rank whose part has another length than its slice; other [`CollectiveError`]s.
    ///
    /// # Cancel safety
    /// See [`Communicator`](Communicator#cancel-safety).
    pub fn scatterv<'a, T: Element>(
        &'a self,
        root: usize,
        all: &'a [T],
        counts: &'a [usize],
        mine: &'a mut [T],
    ) -> impl Future<Output = Result<(), CollectiveError>> + Send + 'a {
        let call = Call::new(Operation::Scatterv).elements::<T>(0).root(root);
        let channel = self.open(call);
        async move {
            let channel = channel?;
            let work = async {
                channel.check_rank(root)?;
                let mut ranges = Vec::new();
                if channel.rank() == root {
                    ranges = byte_ranges::<T>(counts, channel.size(), all.len())?;
                    expect_len("mine", mine.len(), counts[root])?;
                }
                let range_of = |rank: usize| ranges[rank].clone();
                linear(&channel, root, bytes_of(all), bytes_of_mut(mine), range_of).await
            };
            let result = channel.watch(work).await;
            channel.finish(result)
        }
    }
}

async fn linear<F: Fabric>(
    channel: &Channel<'_, F>,
    root: usize,
    all: &[u8],
    mine: &mut [u8],
    range_of: impl Fn(usize) -> Range<usize>,
) -> Result<(), CollectiveError> {
    if channel.rank() != root {
        return channel.recv(root, mine).await;
    }
    for rank in (0..channel.size()).filter(|rank| *rank != root) {
        channel.send(rank, &all[range_of(rank)]).await?;
    }
    mine.copy_from_slice(&all[range_of(root)]);
    Ok(())
}

/// What a subtree gets travels as one run, in places counted from the root. At the root it wraps around, so that it
/// goes out as two.
async fn binomial<F: Fabric>(
    channel: &Channel<'_, F>,
    root: usize,
    all: &[u8],
    mine: &mut [u8],
) -> Result<(), CollectiveError> {
    let tree = Tree::of(channel.me(), channel.check_rank(root)?);
    let (len, size) = (mine.len(), channel.size());
    let Some(parent) = tree.parent() else {
        for child in tree.children() {
            let to = child.index() as usize;
            for run in round_runs(to, tree.subtree_of(child) as usize, size) {
                if !run.is_empty() {
                    channel.send(to, &all[run.start * len..run.end * len]).await?;
                }
            }
        }
        mine.copy_from_slice(&all[root * len..(root + 1) * len]);
        return Ok(());
    };
    let (parent, subtree) = (parent.index() as usize, tree.subtree() as usize);
    let mut scattered = channel.scratch(subtree * len);
    if parent == root {
        let mut start = 0;
        for run in round_runs(channel.rank(), subtree, size) {
            let end = start + run.len() * len;
            if !run.is_empty() {
                channel.recv(root, &mut scattered.bytes_mut()[start..end]).await?;
            }
            start = end;
        }
    } else {
        channel.recv(parent, scattered.bytes_mut()).await?;
    }
    let mut end = subtree * len;
    for child in tree.children() {
        let start = end - tree.subtree_of(child) as usize * len;
        channel
            .send(child.index() as usize, &scattered.bytes()[start..end])
            .await?;
        end = start;
    }
    mine.copy_from_slice(&scattered.bytes()[..len]);
    Ok(())
}
