//! A channel between two parties whose calls simply wait.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::blocking::CallError;
use crate::blocking::runtime::wait;
use crate::collectives::federation::{
    self, ChannelError, ChannelName, Codec, Delivery, Encoding, NameError, PartyId, Received,
};

/// A channel to another party; see [`federation::VariableChannel`] for its rules.
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
/// let tensor = Bytes::from(vec![0; 1 << 20]);
/// a.variable("x", "b")?.send_with("zeros", vec![tensor.clone()])?;
/// let (name, buffers): (String, _) = b.variable("x", "a")?.recv_with()?;
/// assert_eq!((name.as_str(), buffers), ("zeros", vec![tensor]));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct VariableChannel {
    inner: federation::VariableChannel,
}

impl VariableChannel {
    pub(super) fn new(inner: federation::VariableChannel) -> Self {
        VariableChannel { inner }
    }

    /// The channel's name.
    #[must_use]
    pub fn name(&self) -> &ChannelName {
        self.inner.name()
    }

    /// The party at the other end.
    #[must_use]
    pub fn remote(&self) -> &PartyId {
        self.inner.remote()
    }

    /// The same channel for asynchronous code, which has all that never waits, too.
    #[must_use]
    pub fn as_async(&self) -> &federation::VariableChannel {
        &self.inner
    }

    /// This channel for messages with a tag.
    ///
    /// # Errors
    /// [`NameError`] for a tag that is none.
    pub fn tagged(&self, tag: impl AsRef<str>) -> Result<VariableChannel, NameError> {
        let inner = self.inner.tagged(tag)?;
        Ok(VariableChannel { inner })
    }

    /// This channel, whose calls wait for at most `timeout`.
    #[must_use]
    pub fn with_timeout(self, timeout: Duration) -> Self {
        let inner = self.inner.with_timeout(timeout);
        VariableChannel { inner }
    }

    /// This channel, whose messages wait for their receiver for at most `ttl`, none for ever.
    #[must_use]
    pub fn with_ttl(self, ttl: Option<Duration>) -> Self {
        let inner = self.inner.with_ttl(ttl);
        VariableChannel { inner }
    }

    /// This channel, whose values are written so.
    #[must_use]
    pub fn with_codec(self, codec: Codec) -> Self {
        let inner = self.inner.with_codec(codec);
        VariableChannel { inner }
    }

    /// Sends a value.
    ///
    /// # Errors
    /// [`ChannelError`] within [`CallError`]; nothing was sent.
    pub fn send<T: Serialize + ?Sized>(&self, value: &T) -> Result<(), CallError<ChannelError>> {
        Ok(wait(self.inner.send(value))??)
    }

    /// Sends a value and buffers, which are not copied. At most 1,023 buffers.
    ///
    /// # Errors
    /// [`ChannelError`] within [`CallError`]; nothing was sent.
    pub fn send_with<T: Serialize + ?Sized>(
        &self,
        value: &T,
        buffers: Vec<Bytes>,
    ) -> Result<(), CallError<ChannelError>> {
        Ok(wait(self.inner.send_with(value, buffers))??)
    }

    /// Sends a message as it is: `parts` are the value, written in that encoding already, or bytes, and buffers. At most
    /// 1,024 parts; without any, the value is empty.
    ///
    /// # Errors
    /// [`ChannelError`] within [`CallError`]; nothing was sent.
    pub fn send_any(&self, encoding: Encoding, parts: Vec<Bytes>) -> Result<(), CallError<ChannelError>> {
        Ok(wait(self.inner.send_any(encoding, parts))??)
    }

    /// Receives the next value.
    ///
    /// # Errors
    /// [`ChannelError`] within [`CallError`].
    pub fn recv<T: DeserializeOwned>(&self) -> Result<T, CallError<ChannelError>> {
        Ok(wait(self.inner.recv())??)
    }

    /// Receives the next value, and its number in this channel and direction.
    ///
    /// # Errors
    /// [`ChannelError`] within [`CallError`].
    pub fn recv_numbered<T: DeserializeOwned>(&self) -> Result<(u64, T), CallError<ChannelError>> {
        Ok(wait(self.inner.recv_numbered())??)
    }

    /// Receives the next value, which is kept for this program until it
    /// [acknowledges](federation::Delivery::ack) it.
    ///
    /// # Errors
    /// [`ChannelError`] within [`CallError`].
    pub fn recv_delivery<T: DeserializeOwned>(&self) -> Result<Delivery<T>, CallError<ChannelError>> {
        Ok(wait(self.inner.recv_delivery())??)
    }

    /// Receives the next value with its buffers. Buffers that came in one piece are not copied.
    ///
    /// # Errors
    /// [`ChannelError`] within [`CallError`].
    pub fn recv_with<T: DeserializeOwned>(&self) -> Result<(T, Vec<Bytes>), CallError<ChannelError>> {
        Ok(wait(self.inner.recv_with())??)
    }

    /// Receives the next message as it came, whatever was sent.
    ///
    /// # Errors
    /// [`ChannelError`] within [`CallError`].
    pub fn recv_any(&self) -> Result<Received, CallError<ChannelError>> {
        Ok(wait(self.inner.recv_any())??)
    }

    /// Receives the next message as it came, whatever was sent. It is kept for this program until it
    /// [acknowledges](federation::Delivery::ack) it.
    ///
    /// # Errors
    /// [`ChannelError`] within [`CallError`].
    pub fn recv_any_delivery(&self) -> Result<Delivery<Received>, CallError<ChannelError>> {
        Ok(wait(self.inner.recv_any_delivery())??)
    }

    /// Sends a value and receives one, at the same time.
    ///
    /// # Errors
    /// [`ChannelError`] within [`CallError`].
    pub fn swap<T, R>(&self, value: &T) -> Result<R, CallError<ChannelError>>
    where
        T: Serialize + ?Sized,
        R: DeserializeOwned,
    {
        Ok(wait(self.inner.swap(value))??)
    }

    /// Sends bytes, which are not copied.
    ///
    /// # Errors
    /// [`ChannelError`] within [`CallError`]; nothing was sent.
    pub fn send_bytes(&self, bytes: impl Into<Bytes>) -> Result<(), CallError<ChannelError>> {
        Ok(wait(self.inner.send_bytes(bytes))??)
    }

    /// Receives the next message, which is bytes.
    ///
    /// # Errors
    /// [`ChannelError`] within [`CallError`].
    pub fn recv_bytes(&self) -> Result<Bytes, CallError<ChannelError>> {
        Ok(wait(self.inner.recv_bytes())??)
    }

    /// Waits until the other program has received all that this one has sent on this channel.
    ///
    /// # Errors
    /// [`ChannelError`] within [`CallError`].
    pub fn delivered(&self) -> Result<(), CallError<ChannelError>> {
        Ok(wait(self.inner.delivered())??)
    }

    /// The number of the message that is sent next, as the other party knows it.
    ///
    /// # Errors
    /// [`ChannelError`] within [`CallError`].
    pub fn next_offset(&self) -> Result<u64, CallError<ChannelError>> {
        Ok(wait(self.inner.next_offset())??)
    }

    /// Says that this program has all messages with numbers below `offset` already. Never waits.
    ///
    /// # Errors
    /// [`ChannelError`].
    pub fn resume_at(&self, offset: u64) -> Result<(), ChannelError> {
        self.inner.resume_at(offset)
    }
}

impl fmt::Debug for VariableChannel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}
