//! Scatter: one rank gives each its part.

use super::Communicator;
use super::channel::Channel;
use super::layout::{Layout, round_runs};
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
                let layout = Layout::equal(&channel, root, mine, all)?;
                let (all, mine) = (bytes_of(all), bytes_of_mut(mine));
                match algorithm {
                    RootedAlgorithm::Binomial => binomial(&channel, root, all, mine).await,
                    RootedAlgorithm::Linear => linear(&channel, root, all, mine, &layout).await,
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
                let layout = Layout::counted(&channel, root, mine, counts, all)?;
                linear(&channel, root, bytes_of(all), bytes_of_mut(mine), &layout).await
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
    layout: &Layout,
) -> Result<(), CollectiveError> {
    if channel.rank() != root {
        return channel.recv(root, mine).await;
    }
    for rank in (0..channel.size()).filter(|rank| *rank != root) {
        channel.send(rank, &all[layout.range(rank)]).await?;
    }
    mine.copy_from_slice(&all[layout.range(root)]);
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
