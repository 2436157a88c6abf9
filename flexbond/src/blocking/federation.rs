//! Federated parties whose calls simply wait.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::CallError;
use super::runtime::{enter, wait};
use crate::collectives::federation::{
    self, Carrier, ChannelError, Codec, Config, ConnectError, Delivery, DirectCarrier, DirectError,
    JoinError, NameError, OpenError, Over, PartyId,
};

/// A party that takes part in a job; see [`federation::Federation`] for its rules.
///
/// ```
/// use std::thread;
/// use std::time::Duration;
///
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
/// let other = thread::spawn(move || b.variable("x", "a").unwrap().swap::<_, String>(&5).unwrap());
/// let five: i32 = a.variable("x", "b")?.swap("from a")?;
/// assert_eq!((five, other.join().unwrap().as_str()), (5, "from a"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Federation {
    inner: federation::Federation,
}

/// A channel to another party; see [`federation::VariableChannel`] for its rules.
#[derive(Clone)]
pub struct VariableChannel {
    inner: federation::VariableChannel,
}

/// A channel between a root and a group; see [`federation::BroadcastChannel`] for its rules.
#[derive(Clone)]
pub struct BroadcastChannel {
    inner: federation::BroadcastChannel,
}

impl Federation {
    /// Takes part in the job of `config`. Never waits.
    ///
    /// # Errors
    /// [`JoinError`] within [`CallError`], for a configuration that does not fit together.
    pub fn join(config: Config, carrier: impl Carrier) -> Result<Self, CallError<JoinError>> {
        let _background = enter()?;
        Ok(Federation {
            inner: federation::Federation::join(config, carrier)?,
        })
    }

    /// Takes part in the job of `config`, in the mode that it asks for: by its `server` if it has one, else directly by its
    /// `addresses`. Who is not there yet is not waited for.
    ///
    /// # Errors
    /// [`ConnectError`] within [`CallError`] says which key of the configuration is wrong.
    pub fn connect(config: Config) -> Result<Self, CallError<ConnectError>> {
        let inner = wait(federation::Federation::connect(config))??;
        Ok(Federation { inner })
    }

    /// Listens at this party's address in the configuration, and connects to all others. What it returns is for
    /// [`join`](Federation::join).
    ///
    /// # Errors
    /// [`DirectError`] within [`CallError`].
    pub fn direct(config: &Config) -> Result<DirectCarrier, CallError<DirectError>> {
        Ok(wait(DirectCarrier::from_config(config))??)
    }

    /// The same party for asynchronous code, which has all that never waits, too. Its work is done on the background
    /// thread.
    #[must_use]
    pub fn as_async(&self) -> &federation::Federation {
        &self.inner
    }

    /// Waits until all parties see each other, at most `timeout`.
    ///
    /// # Errors
    /// [`JoinError`] within [`CallError`] says who is missing.
    pub fn ready(&self, timeout: Duration) -> Result<(), CallError<JoinError>> {
        Ok(wait(self.inner.ready(timeout))??)
    }

    /// The channel of this name to another party.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn variable(
        &self,
        name: impl AsRef<str>,
        remote: impl AsRef<str>,
    ) -> Result<VariableChannel, OpenError> {
        let inner = self.inner.variable(name, remote)?;
        Ok(VariableChannel { inner })
    }

    /// The channel of this name between a root and a group, of which this party is one.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn broadcast<G>(
        &self,
        name: impl AsRef<str>,
        root: impl AsRef<str>,
        group: G,
    ) -> Result<BroadcastChannel, OpenError>
    where
        G: IntoIterator<Item: AsRef<str>>,
    {
        let inner = self.inner.broadcast(name, root, group)?;
        Ok(BroadcastChannel { inner })
    }

    /// Ends the job for all parties, with a reason. Never waits.
    pub fn abort(&self, reason: impl Into<String>) {
        self.inner.abort(reason);
    }

    /// Waits until the job is over for this party, and says why.
    ///
    /// # Errors
    /// [`CallError::AsyncContext`] and [`CallError::Runtime`].
    pub fn over(&self) -> Result<Over, CallError<JoinError>> {
        wait(self.inner.over())
    }

    /// Leaves the job in good order: waits until the other parties have what was sent to them, within the linger.
    ///
    /// # Errors
    /// [`CallError::AsyncContext`] and [`CallError::Runtime`].
    pub fn close(&self) -> Result<(), CallError<JoinError>> {
        wait(self.inner.close())
    }
}

impl VariableChannel {
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

impl BroadcastChannel {
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

    /// Root: sends a value to all of the group.
    ///
    /// # Errors
    /// [`ChannelError`] within [`CallError`]; nothing was sent.
    pub fn broadcast<T: Serialize + ?Sized>(&self, value: &T) -> Result<(), CallError<ChannelError>> {
        Ok(wait(self.inner.broadcast(value))??)
    }

    /// Group: receives the value that the root broadcasts.
    ///
    /// # Errors
    /// [`ChannelError`] within [`CallError`].
    pub fn recv_broadcast<T: DeserializeOwned>(&self) -> Result<T, CallError<ChannelError>> {
        Ok(wait(self.inner.recv_broadcast())??)
    }

    /// Root: sends to each of the group its own value, in the group's order.
    ///
    /// # Errors
    /// [`ChannelError`] within [`CallError`]; nothing was sent.
    pub fn scatter<T: Serialize>(&self, values: &[T]) -> Result<(), CallError<ChannelError>> {
        Ok(wait(self.inner.scatter(values))??)
    }

    /// Group: receives this party's value of those that the root scatters.
    ///
    /// # Errors
    /// [`ChannelError`] within [`CallError`].
    pub fn recv_scatter<T: DeserializeOwned>(&self) -> Result<T, CallError<ChannelError>> {
        Ok(wait(self.inner.recv_scatter())??)
    }

    /// Root: receives one value of each of the group, in the group's order.
    ///
    /// # Errors
    /// [`ChannelError`] within [`CallError`].
    pub fn gather<T: DeserializeOwned>(&self) -> Result<Vec<T>, CallError<ChannelError>> {
        Ok(wait(self.inner.gather())??)
    }

    /// Group: sends a value to the root, which gathers.
    ///
    /// # Errors
    /// [`ChannelError`] within [`CallError`]; nothing was sent.
    pub fn send_gather<T: Serialize + ?Sized>(&self, value: &T) -> Result<(), CallError<ChannelError>> {
        Ok(wait(self.inner.send_gather(value))??)
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

impl fmt::Debug for Federation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

impl fmt::Debug for VariableChannel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

impl fmt::Debug for BroadcastChannel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}
