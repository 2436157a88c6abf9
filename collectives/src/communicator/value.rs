//! Operations on values of any type that serde knows, encoded by postcard.

use std::ops::Range;

use futures_util::future::try_join;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::Communicator;
use super::channel::Channel;
use super::exchange::{self, Layout};
use super::layout::expect_len;
use crate::call::{Call, Operation, PREAMBLE};
use crate::element::{bytes_of, bytes_of_mut};
use crate::error::CollectiveError;
use crate::fabric::Fabric;
use crate::schedule::{Doubling, DoublingStep, Tree};
use crate::tuning::{AllgatherAlgorithm, BroadcastAlgorithm};

/// Values may differ in length between ranks; each is at most [`Tuning::max_value`](crate::Tuning::max_value) bytes.
/// Whether ranks mean the same type is not checked before it is decoded.
impl<F: Fabric> Communicator<F> {
    /// Gives everybody the value that rank `root` passes. The others pass `None`; what they pass is not used.
    ///
    /// # Errors
    /// [`CollectiveError::MissingValue`] at a root that passes none; other [`CollectiveError`]s.
    ///
    /// # Cancel safety
    /// See [`Communicator`](Communicator#cancel-safety).
    pub fn broadcast_value<'a, V>(
        &'a self,
        root: usize,
        value: Option<V>,
    ) -> impl Future<Output = Result<V, CollectiveError>> + Send + 'a
    where
        V: Serialize + DeserializeOwned + Send + Sync + 'a,
    {
        let algorithm = self.broadcast_algorithm(0);
        let call = Call::new(Operation::Broadcast)
            .value()
            .root(root)
            .algorithm(algorithm as u8);
        let channel = self.open(call);
        async move {
            let channel = channel?;
            let result = channel.watch(broadcast(&channel, root, value, algorithm)).await;
            channel.finish(result)
        }
    }

    /// Collects all ranks' values at rank `root`, in the order of ranks. The others get `None`.
    ///
    /// # Errors
    /// [`CollectiveError::ValueTooLong`] at the root also when all values together are above the limit; other
    /// [`CollectiveError`]s.
    ///
    /// # Cancel safety
    /// See [`Communicator`](Communicator#cancel-safety).
    pub fn gather_value<'a, V>(
        &'a self,
        root: usize,
        value: &'a V,
    ) -> impl Future<Output = Result<Option<Vec<V>>, CollectiveError>> + Send + 'a
    where
        V: Serialize + DeserializeOwned + Send + Sync,
    {
        let channel = self.open(Call::new(Operation::Gather).value().root(root));
        async move {
            let channel = channel?;
            let result = channel.watch(gather(&channel, root, value)).await;
            channel.finish(result)
        }
    }

    /// Gives each rank its value of those that rank `root` passes, one for each rank. The others pass `None`; what they
    /// pass is not used.
    ///
    /// # Errors
    /// [`CollectiveError::MissingValue`] at a root that passes none, [`CollectiveError::Argument`] at one that passes
    /// too few or too many; other [`CollectiveError`]s.
    ///
    /// # Cancel safety
    /// See [`Communicator`](Communicator#cancel-safety).
    pub fn scatter_value<'a, V>(
        &'a self,
        root: usize,
        values: Option<Vec<V>>,
    ) -> impl Future<Output = Result<V, CollectiveError>> + Send + 'a
    where
        V: Serialize + DeserializeOwned + Send + Sync + 'a,
    {
        let channel = self.open(Call::new(Operation::Scatter).value().root(root));
        async move {
            let channel = channel?;
            let result = channel.watch(scatter(&channel, root, values)).await;
            channel.finish(result)
        }
    }

    /// Collects all ranks' values at every rank, in the order of ranks.
    ///
    /// # Errors
    /// [`CollectiveError::ValueTooLong`] at all ranks also when all values together are above the limit; other
    /// [`CollectiveError`]s.
    ///
    /// # Cancel safety
    /// See [`Communicator`](Communicator#cancel-safety).
    pub fn allgather_value<'a, V>(
        &'a self,
        value: &'a V,
    ) -> impl Future<Output = Result<Vec<V>, CollectiveError>> + Send + 'a
    where
        V: Serialize + DeserializeOwned + Send + Sync,
    {
        let channel = self.open(Call::new(Operation::Allgather).value());
        async move {
            let channel = channel?;
            let result = channel.watch(allgather(&channel, value)).await;
            channel.finish(result)
        }
    }

    /// Combines all ranks' values at rank `root`, in the order of ranks from left to right. The others get `None`.
    ///
    /// # Errors
    /// As for [`gather_value`](Communicator::gather_value).
    ///
    /// # Cancel safety
    /// See [`Communicator`](Communicator#cancel-safety).
    pub fn reduce_value<'a, V, C>(
        &'a self,
        root: usize,
        value: V,
        combine: C,
    ) -> impl Future<Output = Result<Option<V>, CollectiveError>> + Send + 'a
    where
        V: Serialize + DeserializeOwned + Send + Sync + 'a,
        C: FnMut(V, V) -> V + Send + 'a,
    {
        let channel = self.open(Call::new(Operation::Reduce).value().root(root));
        async move {
            let channel = channel?;
            let result = channel.watch(gather(&channel, root, &value)).await;
            let values = channel.finish(result)?;
            Ok(values.and_then(|values| values.into_iter().reduce(combine)))
        }
    }

    /// Combines all ranks' values at every rank. `combine` must be associative; its left value comes from lower ranks.
    ///
    /// # Errors
    /// [`CollectiveError`].
    ///
    /// # Cancel safety
    /// See [`Communicator`](Communicator#cancel-safety).
    pub fn allreduce_value<'a, V, C>(
        &'a self,
        value: V,
        combine: C,
    ) -> impl Future<Output = Result<V, CollectiveError>> + Send + 'a
    where
        V: Serialize + DeserializeOwned + Send + Sync + 'a,
        C: FnMut(V, V) -> V + Send + 'a,
    {
        let channel = self.open(Call::new(Operation::Allreduce).value());
        async move {
            let channel = channel?;
            let result = channel.watch(allreduce(&channel, value, combine)).await;
            channel.finish(result)
        }
    }

    /// Sends value i of `values` to rank i, and returns the values for this rank, in the order of ranks.
    ///
    /// # Errors
    /// [`CollectiveError::Argument`] when there is not one value for each rank; other [`CollectiveError`]s.
    ///
    /// # Cancel safety
    /// See [`Communicator`](Communicator#cancel-safety).
    pub fn alltoall_value<'a, V>(
        &'a self,
        values: Vec<V>,
    ) -> impl Future<Output = Result<Vec<V>, CollectiveError>> + Send + 'a
    where
        V: Serialize + DeserializeOwned + Send + Sync + 'a,
    {
        let channel = self.open(Call::new(Operation::Alltoall).value());
        async move {
            let channel = channel?;
            let result = channel.watch(alltoall(&channel, values)).await;
            channel.finish(result)
        }
    }
}

pub(super) fn encode<V: Serialize>(value: &V, limit: usize) -> Result<Vec<u8>, CollectiveError> {
    let encoded = postcard::to_allocvec(value).map_err(CollectiveError::Encode)?;
    check(encoded.len() as u64, limit)?;
    Ok(encoded)
}

pub(super) fn decode<V: DeserializeOwned>(rank: usize, bytes: &[u8]) -> Result<V, CollectiveError> {
    postcard::from_bytes(bytes).map_err(|source| CollectiveError::Decode { rank, source })
}

fn check(len: u64, limit: usize) -> Result<(), CollectiveError> {
    if len <= limit as u64 {
        Ok(())
    } else {
        Err(CollectiveError::ValueTooLong { len, limit })
    }
}

/// A value as a message with its preamble.
fn message<F: Fabric, V: Serialize>(channel: &Channel<'_, F>, value: &V) -> Result<Vec<u8>, CollectiveError> {
    Ok(channel.message(&encode(value, channel.tuning().max_value)?))
}

async fn receive<F: Fabric, V: DeserializeOwned>(
    channel: &Channel<'_, F>,
    from: usize,
) -> Result<V, CollectiveError> {
    let message = channel.recv_message(from).await?;
    decode(from, &message[PREAMBLE..])
}

async fn broadcast<F: Fabric, V: Serialize + DeserializeOwned>(
    channel: &Channel<'_, F>,
    root: usize,
    value: Option<V>,
    algorithm: BroadcastAlgorithm,
) -> Result<V, CollectiveError> {
    let tree = Tree::of(channel.me(), channel.check_rank(root)?);
    let by_multicast = algorithm == BroadcastAlgorithm::Multicast && channel.has_multicast();
    let Some(parent) = tree.parent() else {
        let value = value.ok_or(CollectiveError::MissingValue)?;
        let message = message(channel, &value)?;
        if by_multicast {
            channel.multicast_message(&message).await?;
        } else {
            for child in tree.children() {
                channel.send_message(child.index() as usize, &message).await?;
            }
        }
        return Ok(value);
    };
    if by_multicast {
        return receive(channel, root).await;
    }
    let message = channel.recv_message(parent.index() as usize).await?;
    for child in tree.children() {
        channel.send_message(child.index() as usize, &message).await?;
    }
    decode(root, &message[PREAMBLE..])
}

async fn gather<F: Fabric, V: Serialize + DeserializeOwned>(
    channel: &Channel<'_, F>,
    root: usize,
    value: &V,
) -> Result<Option<Vec<V>>, CollectiveError> {
    channel.check_rank(root)?;
    let own = encode(value, channel.tuning().max_value)?;
    if channel.rank() != root {
        channel.send_message(root, &channel.message(&own)).await?;
        return Ok(None);
    }
    let mut total = 0;
    let mut values = Vec::with_capacity(channel.size());
    for rank in 0..channel.size() {
        // One's own goes through the codec as well: all are what they would be anywhere else.
        let (bytes, start) = if rank == root {
            (bytes::Bytes::copy_from_slice(&own), 0)
        } else {
            (channel.recv_message(rank).await?, PREAMBLE)
        };
        total += (bytes.len() - start) as u64;
        check(total, channel.tuning().max_value)?;
        values.push(decode(rank, &bytes[start..])?);
    }
    Ok(Some(values))
}

async fn scatter<F: Fabric, V: Serialize + DeserializeOwned>(
    channel: &Channel<'_, F>,
    root: usize,
    values: Option<Vec<V>>,
) -> Result<V, CollectiveError> {
    channel.check_rank(root)?;
    if channel.rank() != root {
        return receive(channel, root).await;
    }
    let values = values.ok_or(CollectiveError::MissingValue)?;
    expect_len("values", values.len(), channel.size())?;
    let mut own = None;
    for (rank, value) in values.into_iter().enumerate() {
        if rank == root {
            own = Some(value);
        } else {
            let message = message(channel, &value)?;
            channel.send_message(rank, &message).await?;
        }
    }
    own.ok_or(CollectiveError::MissingValue)
}

/// First everybody's length, then everybody's bytes.
pub(super) async fn allgather<F: Fabric, V: Serialize + DeserializeOwned>(
    channel: &Channel<'_, F>,
    value: &V,
) -> Result<Vec<V>, CollectiveError> {
    let own = encode(value, channel.tuning().max_value)?;
    let mut lens = vec![0_u64; channel.size()];
    lens[channel.rank()] = own.len() as u64;
    let layout = Layout::Even(size_of_val(bytes_of(&lens[..1])));
    exchange::allgather(
        channel,
        bytes_of_mut(&mut lens),
        layout,
        AllgatherAlgorithm::Bruck,
    )
    .await?;

    let total = lens.iter().fold(0, |sum: u64, len| sum.saturating_add(*len));
    check(total, channel.tuning().max_value)?;
    let ranges: Vec<Range<usize>> = lens
        .iter()
        .scan(0, |end, len| {
            // Their sum is below a limit that is a length on this machine.
            let start = *end;
            *end += usize::try_from(*len).unwrap_or(0);
            Some(start..*end)
        })
        .collect();
    let mut all = vec![0; ranges.last().map_or(0, |range| range.end)];
    all[ranges[channel.rank()].clone()].copy_from_slice(&own);
    let algorithm = channel.tuning().allgather.choose(channel.size(), all.len());
    exchange::allgather(channel, &mut all, Layout::Uneven(&ranges), algorithm).await?;
    ranges
        .into_iter()
        .enumerate()
        .map(|(rank, range)| decode(rank, &all[range]))
        .collect()
}

async fn allreduce<F: Fabric, V: Serialize + DeserializeOwned + Send + Sync>(
    channel: &Channel<'_, F>,
    value: V,
    mut combine: impl FnMut(V, V) -> V + Send,
) -> Result<V, CollectiveError> {
    let mut value = value;
    for step in Doubling::new(channel.me()) {
        match step {
            DoublingStep::FoldSend { to } | DoublingStep::UnfoldSend { to } => {
                let message = message(channel, &value)?;
                channel.send_message(to.index() as usize, &message).await?;
            }
            DoublingStep::FoldRecv { from } => {
                value = combine(receive(channel, from.index() as usize).await?, value);
            }
            DoublingStep::UnfoldRecv { from } => value = receive(channel, from.index() as usize).await?,
            DoublingStep::Exchange { with } => {
                let peer = with.index() as usize;
                let message = message(channel, &value)?;
                let ((), theirs) =
                    try_join(channel.send_message(peer, &message), receive(channel, peer)).await?;
                value = if with < channel.me() {
                    combine(theirs, value)
                } else {
                    combine(value, theirs)
                };
            }
        }
    }
    Ok(value)
}

async fn alltoall<F: Fabric, V: Serialize + DeserializeOwned + Send + Sync>(
    channel: &Channel<'_, F>,
    values: Vec<V>,
) -> Result<Vec<V>, CollectiveError> {
    let (rank, size) = (channel.rank(), channel.size());
    expect_len("values", values.len(), size)?;
    let mut taken: Vec<Option<V>> = (0..size).map(|_| None).collect();
    let mut given: Vec<Option<V>> = values.into_iter().map(Some).collect();
    taken[rank] = given[rank].take();
    for distance in 1..size {
        let (to, from) = ((rank + distance) % size, (rank + size - distance) % size);
        let message = match &given[to] {
            Some(value) => message(channel, value)?,
            None => Vec::new(),
        };
        let ((), theirs) = try_join(channel.send_message(to, &message), receive(channel, from)).await?;
        taken[from] = Some(theirs);
    }
    taken
        .into_iter()
        .map(|value| value.ok_or(CollectiveError::MissingValue))
        .collect()
}
