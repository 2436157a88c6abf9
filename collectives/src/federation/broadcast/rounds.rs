//! The numbers of what the root sends, for programs that start again.

use bytes::Bytes;
use serde::de::DeserializeOwned;

use super::{BroadcastChannel, ChannelError, Operation, Side};

impl BroadcastChannel {
    /// The number of the message that is sent next. For the root: of the first one that not all of the group have, or will
    /// get from a message server or from this process. For one of the group: of its next one to the root, where each
    /// [`send_gather`], [`allreduce`] and [`sync`] is one. Waits for the other parties, or their server, which know what
    /// earlier starts of this program have sent.
    ///
    /// [`send_gather`]: BroadcastChannel::send_gather
    /// [`allreduce`]: BroadcastChannel::allreduce
    /// [`sync`]: BroadcastChannel::sync
    ///
    /// # Errors
    /// [`ChannelError::Timeout`], and when the job is over.
    ///
    /// # Cancel safety
    /// Dropping the future changes nothing.
    pub async fn next_offset(&self) -> Result<u64, ChannelError> {
        let next = match &self.side {
            Side::Root(peers) => self.line.positions(peers).await?,
            Side::Group(root) => self.line.positions(&[*root]).await?,
        };
        Ok(next.into_iter().min().unwrap_or(0))
    }

    /// Root: this channel, whose [`broadcast`](BroadcastChannel::broadcast) and [`scatter`](BroadcastChannel::scatter), with
    /// buffers or without, send message `offset`: to those of the group whose next one it is, and not to those who have it.
    /// It waits for all of them to say so, and may be repeated. The other calls are as they are.
    ///
    /// What is sent by this gets [`ChannelError::Gap`] where `offset` is above
    /// [`next_offset`](BroadcastChannel::next_offset).
    ///
    /// ```
    /// use flexbond_collectives::federation::{BroadcastChannel, ChannelError};
    ///
    /// /// Sends the plan's days, each once, whenever this program dies and starts again.
    /// async fn plan(channel: &BroadcastChannel, days: &[String]) -> Result<(), ChannelError> {
    ///     let first = channel.next_offset().await?;
    ///     for (day, text) in (0..).zip(days).filter(|(day, _)| *day >= first) {
    ///         channel.at(day).broadcast(text).await?;
    ///     }
    ///     Ok(())
    /// }
    /// ```
    #[must_use]
    pub fn at(&self, offset: u64) -> Self {
        BroadcastChannel {
            at: Some(offset),
            ..self.clone()
        }
    }

    /// Group: says that this program has all messages of the root with numbers below `offset` already: they do not come
    /// (again).
    ///
    /// # Errors
    /// [`ChannelError::TooManyChannels`], and [`ChannelError::WrongSide`] for the root.
    pub fn resume_at(&self, offset: u64) -> Result<(), ChannelError> {
        let root = self.as_group("next_offset")?;
        self.line.resume_at(root, offset)
    }

    /// Group: receives the value that the root broadcasts, and its number among what the root sends on this channel.
    ///
    /// # Errors
    /// As for [`recv_broadcast`](BroadcastChannel::recv_broadcast).
    ///
    /// # Cancel safety
    /// When the future is dropped before it is ready, no message was taken.
    pub async fn recv_broadcast_numbered<T: DeserializeOwned>(&self) -> Result<(u64, T), ChannelError> {
        self.recv_alone(Operation::Broadcast, "broadcast").await
    }

    /// Group: receives the value that the root broadcasts, with its number and its buffers.
    ///
    /// # Errors
    /// As for [`recv_broadcast`](BroadcastChannel::recv_broadcast).
    ///
    /// # Cancel safety
    /// When the future is dropped before it is ready, no message was taken.
    pub async fn recv_broadcast_numbered_with<T: DeserializeOwned>(
        &self,
    ) -> Result<(u64, T, Vec<Bytes>), ChannelError> {
        self.recv_value(Operation::Broadcast, "broadcast").await
    }

    /// Group: receives this party's value of those that the root scatters, and its number among what the root sends on this
    /// channel.
    ///
    /// # Errors
    /// As for [`recv_broadcast`](BroadcastChannel::recv_broadcast).
    ///
    /// # Cancel safety
    /// When the future is dropped before it is ready, no message was taken.
    pub async fn recv_scatter_numbered<T: DeserializeOwned>(&self) -> Result<(u64, T), ChannelError> {
        self.recv_alone(Operation::Scatter, "scatter").await
    }

    /// Group: receives this party's value of those that the root scatters, with its number and its buffers.
    ///
    /// # Errors
    /// As for [`recv_broadcast`](BroadcastChannel::recv_broadcast).
    ///
    /// # Cancel safety
    /// When the future is dropped before it is ready, no message was taken.
    pub async fn recv_scatter_numbered_with<T: DeserializeOwned>(
        &self,
    ) -> Result<(u64, T, Vec<Bytes>), ChannelError> {
        self.recv_value(Operation::Scatter, "scatter").await
    }

    async fn recv_alone<T: DeserializeOwned>(
        &self,
        operation: Operation,
        instead: &'static str,
    ) -> Result<(u64, T), ChannelError> {
        let root = self.as_group(instead)?;
        let (offset, letter) = self.line.take(root, None).await?;
        Ok((offset, self.alone(operation, &self.root, offset, letter)?))
    }

    async fn recv_value<T: DeserializeOwned>(
        &self,
        operation: Operation,
        instead: &'static str,
    ) -> Result<(u64, T, Vec<Bytes>), ChannelError> {
        let root = self.as_group(instead)?;
        let (offset, letter) = self.line.take(root, None).await?;
        let (value, buffers) = self.value(operation, &self.root, offset, letter)?;
        Ok((offset, value, buffers))
    }
}
