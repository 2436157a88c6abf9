//! Gather: one rank gets everybody's elements.

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
    /// Collects all ranks' elements at rank `root`, in the order of ranks. All ranks give the same number.
    ///
    /// `all` is size × `mine.len()` elements at the root; at the others it is not used and may be empty.
    ///
    /// # Errors
    /// [`CollectiveError`].
    ///
    /// # Cancel safety
    /// See [`Communicator`](Communicator#cancel-safety).
    pub fn gather<'a, T: Element>(
        &'a self,
        root: usize,
        mine: &'a [T],
        all: &'a mut [T],
    ) -> impl Future<Output = Result<(), CollectiveError>> + Send + 'a {
        let algorithm = self.tuning().gather.choose(self.size(), size_of_val(mine));
        let call = Call::new(Operation::Gather)
            .elements::<T>(mine.len())
            .root(root)
            .algorithm(algorithm as u8);
        let channel = self.open(call);
        async move {
            let channel = channel?;
            let work = async {
                let layout = Layout::equal(&channel, root, mine, all)?;
                let (mine, all) = (bytes_of(mine), bytes_of_mut(all));
                match algorithm {
                    RootedAlgorithm::Binomial => binomial(&channel, root, mine, all).await,
                    RootedAlgorithm::Linear => linear(&channel, root, mine, all, &layout).await,
                }
            };
            let result = channel.watch(work).await;
            channel.finish(result)
        }
    }

    /// Collects all ranks' elements at rank `root`, where each may give another number.
    ///
    /// At the root `counts` says how many come from each rank, and `all` has room for exactly these, in the order of
    /// ranks. At the others both are not used and may be empty.
    ///
    /// # Errors
    /// [`CollectiveError::Length`] at the root when a rank gives another number than its count; other
    /// [`CollectiveError`]s.
    ///
    /// # Cancel safety
    /// See [`Communicator`](Communicator#cancel-safety).
    pub fn gatherv<'a, T: Element>(
        &'a self,
        root: usize,
        mine: &'a [T],
        counts: &'a [usize],
        all: &'a mut [T],
    ) -> impl Future<Output = Result<(), CollectiveError>> + Send + 'a {
        let call = Call::new(Operation::Gatherv).elements::<T>(0).root(root);
        let channel = self.open(call);
        async move {
            let channel = channel?;
            let work = async {
                let layout = Layout::counted(&channel, root, mine, counts, all)?;
                linear(&channel, root, bytes_of(mine), bytes_of_mut(all), &layout).await
            };
            let result = channel.watch(work).await;
            channel.finish(result)
        }
    }
}

async fn linear<F: Fabric>(
    channel: &Channel<'_, F>,
    root: usize,
    mine: &[u8],
    all: &mut [u8],
    layout: &Layout,
) -> Result<(), CollectiveError> {
    if channel.rank() != root {
        return channel.send(root, mine).await;
    }
    all[layout.range(root)].copy_from_slice(mine);
    for rank in (0..channel.size()).filter(|rank| *rank != root) {
        channel.recv(rank, &mut all[layout.range(rank)]).await?;
    }
    Ok(())
}

/// What a subtree has travels as one run, in places counted from the root. At the root it wraps around, so that it
/// comes as two.
async fn binomial<F: Fabric>(
    channel: &Channel<'_, F>,
    root: usize,
    mine: &[u8],
    all: &mut [u8],
) -> Result<(), CollectiveError> {
    let tree = Tree::of(channel.me(), channel.check_rank(root)?);
    let (len, size) = (mine.len(), channel.size());
    let Some(parent) = tree.parent() else {
        all[root * len..(root + 1) * len].copy_from_slice(mine);
        for child in tree.children().rev() {
            let from = child.index() as usize;
            for run in round_runs(from, tree.subtree_of(child) as usize, size) {
                let bytes = run.start * len..run.end * len;
                if !run.is_empty() {
                    channel.recv(from, &mut all[bytes]).await?;
                }
            }
        }
        return Ok(());
    };
    let (parent, subtree) = (parent.index() as usize, tree.subtree() as usize);
    let mut gathered = channel.scratch(subtree * len);
    gathered.bytes_mut()[..len].copy_from_slice(mine);
    let mut end = len;
    for child in tree.children().rev() {
        let run = end..end + tree.subtree_of(child) as usize * len;
        end = run.end;
        channel
            .recv(child.index() as usize, &mut gathered.bytes_mut()[run])
            .await?;
    }
    if parent != root {
        return channel.send(parent, gathered.bytes()).await;
    }
    let mut start = 0;
    for run in round_runs(channel.rank(), subtree, size) {
        let end = start + run.len() * len;
        if !run.is_empty() {
            channel.send(root, &gathered.bytes()[start..end]).await?;
        }
        start = end;
    }
    Ok(())
}
