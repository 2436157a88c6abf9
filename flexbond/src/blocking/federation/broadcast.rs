//! A channel between a root and a group whose calls simply wait.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::blocking::CallError;
use crate::blocking::runtime::wait;
use crate::collectives::federation::{self, ChannelError, ChannelName, Codec, PartyId};

/// A channel between a root and a group; see [`federation::BroadcastChannel`] for its rules.
///
/// ```
/// use bytes::Bytes;
/// use flexbond::blocking::Federation;
/// use flexbond::collectives::federation::{Config, MemoryNetwork, Role};
///
/// let config = |local: &str| -> Result<Config, Box<dyn std::error::Error>> {
///     Ok(Config::new("job".parse()?, local.parse()?)
///         .member("a".parse()?, Role::Guest)
///         .member("b".parse()?, Role::Host))
/// };
/// let network = MemoryNetwork::new();
/// let a = Federation::join(config("a")?, network.carrier("a".parse()?))?;
/// let b = Federation::join(config("b")?, network.carrier("b".parse()?))?;
///
/// let (root, member) = (a.broadcast("x", "a", ["b"])?, b.broadcast("x", "a", ["b"])?);
/// let tensor = Bytes::from(vec![0; 1 << 20]);
/// root.broadcast_with("zeros", vec![tensor.clone()])?;
/// let (name, buffers): (String, _) = member.recv_broadcast_with()?;
/// assert_eq!((name.as_str(), buffers), ("zeros", vec![tensor]));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct BroadcastChannel {
    inner: federation::BroadcastChannel,
}

impl BroadcastChannel {
    pub(super) fn new(inner: federation::BroadcastChannel) -> Self {
        BroadcastChannel { inner }
    }

    /// The channel's name.
    #[must_use]
    pub fn name(&self) -> &ChannelName {
        self.inner.name()
    }

    /// The root.
    #[must_use]
    pub fn root(&self) -> &PartyId {
        self.inner.root()
    }

    /// The group, without the root.
    #[must_use]
    pub fn group(&self) -> &[PartyId] {
        self.inner.group()
    }

    /// Whether this party is the root.
    #[must_use]
    pub fn is_root(&self) -> bool {
        self.inner.is_root()
    }

    /// The same channel for asynchronous code, which has all that never waits, too.
    #[must_use]
    pub fn as_async(&self) -> &federation::BroadcastChannel {
        &self.inner
    }

    /// This channel, whose calls wait for at most `timeout` for each of their messages.
    #[must_use]
    pub fn with_timeout(self, timeout: Duration) -> Self {
        let inner = self.inner.with_timeout(timeout);
        BroadcastChannel { inner }
    }

    /// This channel, whose messages wait for their receiver for at most `ttl`, none for ever.
    #[must_use]
    pub fn with_ttl(self, ttl: Option<Duration>) -> Self {
        let inner = self.inner.with_ttl(ttl);
        BroadcastChannel { inner }
    }

    /// This channel, whose values are written so.
    #[must_use]
    pub fn with_codec(self, codec: Codec) -> Self {
        let inner = self.inner.with_codec(codec);
        BroadcastChannel { inner }
    }

    /// Root: this channel, whose `broadcast` and `scatter`, with buffers or without, send message `offset`: to those of the
    /// group whose next one it is, and not to those who have it; see [`federation::BroadcastChannel::at`].
    #[must_use]
    pub fn at(&self, offset: u64) -> Self {
        let inner = self.inner.at(offset);
        BroadcastChannel { inner }
    }

    /// The number of the message that is sent next; for the root, of the first one that not all of the group have.
    ///
    /// # Errors
    /// [`ChannelError`] within [`CallError`].
    pub fn next_offset(&self) -> Result<u64, CallError<ChannelError>> {
        Ok(wait(self.inner.next_offset())??)
    }

    /// Group: says that this program has all messages of the root with numbers below `offset` already. Never waits.
    ///
    /// # Errors
    /// [`ChannelError`].
    pub fn resume_at(&self, offset: u64) -> Result<(), ChannelError> {
        self.inner.resume_at(offset)
    }

    /// Root: sends a value to all of the group.
    ///
    /// # Errors
    /// [`ChannelError`] within [`CallError`]; nothing was sent.
    pub fn broadcast<T: Serialize + ?Sized>(&self, value: &T) -> Result<(), CallError<ChannelError>> {
        Ok(wait(self.inner.broadcast(value))??)
    }

    /// Root: sends a value and buffers, which are not copied, to all of the group. At most 1,022 buffers.
    ///
    /// # Errors
    /// [`ChannelError`] within [`CallError`]; nothing was sent.
    pub fn broadcast_with<T: Serialize + ?Sized>(
        &self,
        value: &T,
        buffers: Vec<Bytes>,
    ) -> Result<(), CallError<ChannelError>> {
        Ok(wait(self.inner.broadcast_with(value, buffers))??)
    }

    /// Group: receives the value that the root broadcasts.
    ///
    /// # Errors
    /// [`ChannelError`] within [`CallError`].
    pub fn recv_broadcast<T: DeserializeOwned>(&self) -> Result<T, CallError<ChannelError>> {
        Ok(wait(self.inner.recv_broadcast())??)
    }

    /// Group: receives the value that the root broadcasts, with its buffers, which are not copied if they came in one
    /// piece.
    ///
    /// # Errors
    /// [`ChannelError`] within [`CallError`].
    pub fn recv_broadcast_with<T: DeserializeOwned>(
        &self,
    ) -> Result<(T, Vec<Bytes>), CallError<ChannelError>> {
        Ok(wait(self.inner.recv_broadcast_with())??)
    }

    /// Group: receives the value that the root broadcasts, and its number among what the root sends on this
    /// channel.
    ///
    /// # Errors
    /// [`ChannelError`] within [`CallError`].
    pub fn recv_broadcast_numbered<T: DeserializeOwned>(&self) -> Result<(u64, T), CallError<ChannelError>> {
        Ok(wait(self.inner.recv_broadcast_numbered())??)
    }

    /// Group: receives the value that the root broadcasts, with its number and its buffers.
    ///
    /// # Errors
    /// [`ChannelError`] within [`CallError`].
    pub fn recv_broadcast_numbered_with<T: DeserializeOwned>(
        &self,
    ) -> Result<(u64, T, Vec<Bytes>), CallError<ChannelError>> {
        Ok(wait(self.inner.recv_broadcast_numbered_with())??)
    }

    /// Root: sends to each of the group its own value, in the group's order.
    ///
    /// # Errors
    /// [`ChannelError`] within [`CallError`]; nothing was sent.
    pub fn scatter<T: Serialize>(&self, values: &[T]) -> Result<(), CallError<ChannelError>> {
        Ok(wait(self.inner.scatter(values))??)
    }

    /// Root: sends to each of the group its own value and buffers, which are not copied, in the group's order.
    ///
    /// # Errors
    /// [`ChannelError`] within [`CallError`]; nothing was sent.
    pub fn scatter_with<T: Serialize>(
        &self,
        values: &[(T, Vec<Bytes>)],
    ) -> Result<(), CallError<ChannelError>> {
        Ok(wait(self.inner.scatter_with(values))??)
    }

    /// Group: receives this party's value of those that the root scatters.
    ///
    /// # Errors
    /// [`ChannelError`] within [`CallError`].
    pub fn recv_scatter<T: DeserializeOwned>(&self) -> Result<T, CallError<ChannelError>> {
        Ok(wait(self.inner.recv_scatter())??)
    }

    /// Group: receives this party's value of those that the root scatters, with its buffers, which are not copied if they came in one
    /// piece.
    ///
    /// # Errors
    /// [`ChannelError`] within [`CallError`].
    pub fn recv_scatter_with<T: DeserializeOwned>(&self) -> Result<(T, Vec<Bytes>), CallError<ChannelError>> {
        Ok(wait(self.inner.recv_scatter_with())??)
    }

    /// Group: receives this party's value of those that the root scatters, and its number among what the root sends on this
    /// channel.
    ///
    /// # Errors
    /// [`ChannelError`] within [`CallError`].
    pub fn recv_scatter_numbered<T: DeserializeOwned>(&self) -> Result<(u64, T), CallError<ChannelError>> {
        Ok(wait(self.inner.recv_scatter_numbered())??)
    }

    /// Group: receives this party's value of those that the root scatters, with its number and its buffers.
    ///
    /// # Errors
    /// [`ChannelError`] within [`CallError`].
    pub fn recv_scatter_numbered_with<T: DeserializeOwned>(
        &self,
    ) -> Result<(u64, T, Vec<Bytes>), CallError<ChannelError>> {
        Ok(wait(self.inner.recv_scatter_numbered_with())??)
    }

    /// Root: receives one value of each of the group, in the group's order.
    ///
    /// # Errors
    /// [`ChannelError`] within [`CallError`].
    pub fn gather<T: DeserializeOwned>(&self) -> Result<Vec<T>, CallError<ChannelError>> {
        Ok(wait(self.inner.gather())??)
    }

    /// Root: receives one value with its buffers of each of the group, in the group's order.
    ///
    /// # Errors
    /// [`ChannelError`] within [`CallError`].
    pub fn gather_with<T: DeserializeOwned>(&self) -> Result<Vec<(T, Vec<Bytes>)>, CallError<ChannelError>> {
        Ok(wait(self.inner.gather_with())??)
    }

    /// Group: sends a value to the root, which gathers.
    ///
    /// # Errors
    /// [`ChannelError`] within [`CallError`]; nothing was sent.
    pub fn send_gather<T: Serialize + ?Sized>(&self, value: &T) -> Result<(), CallError<ChannelError>> {
        Ok(wait(self.inner.send_gather(value))??)
    }

    /// Group: sends a value and buffers, which are not copied, to the root, which gathers. At most 1,022 buffers.
    ///
    /// # Errors
    /// [`ChannelError`] within [`CallError`]; nothing was sent.
    pub fn send_gather_with<T: Serialize + ?Sized>(
        &self,
        value: &T,
        buffers: Vec<Bytes>,
    ) -> Result<(), CallError<ChannelError>> {
        Ok(wait(self.inner.send_gather_with(value, buffers))??)
    }

    /// All: combines the values of the root and the group, and gives the result to all.
    ///
    /// # Errors
    /// [`ChannelError`] within [`CallError`]; where the other parties are then is open.
    pub fn allreduce<T>(&self, value: T, combine: impl FnMut(T, T) -> T) -> Result<T, CallError<ChannelError>>
    where
        T: Serialize + DeserializeOwned,
    {
        Ok(wait(self.inner.allreduce(value, combine))??)
    }

    /// All: waits until the root and all of the group have called this.
    ///
    /// # Errors
    /// [`ChannelError`] within [`CallError`]; where the other parties are then is open.
    pub fn sync(&self) -> Result<(), CallError<ChannelError>> {
        Ok(wait(self.inner.sync())??)
    }
}

impl fmt::Debug for BroadcastChannel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}
