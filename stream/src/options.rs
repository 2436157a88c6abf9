//! How a stream is joined.

#[cfg(feature = "multicast")]
use std::net::SocketAddr;
use std::time::Duration;

#[cfg(feature = "multicast")]
use flexbond_session::group::Interface;
#[cfg(feature = "multicast-crypto")]
use flexbond_session::group::PresharedKey;
use flexbond_session::socket::{SlowPeer, SocketType};
use serde::{Deserialize, Serialize};

/// Which way messages go, and to whom.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// Receives; every message goes to one of the receivers (PULL). The default.
    #[default]
    Pull,
    /// Receives; every message goes to every receiver (SUB).
    Sub,
    /// Sends; every message goes to one of the receivers (PUSH).
    Push,
    /// Sends; every message goes to every receiver (PUB).
    Pub,
}

impl Mode {
    /// Whether a stream of this mode receives; otherwise it sends.
    #[must_use]
    pub fn receives(self) -> bool {
        matches!(self, Mode::Pull | Mode::Sub)
    }

    /// The socket pattern behind it.
    #[must_use]
    pub fn socket_type(self) -> SocketType {
        match self {
            Mode::Pull => SocketType::Pull,
            Mode::Sub => SocketType::Sub,
            Mode::Push => SocketType::Push,
            Mode::Pub => SocketType::Pub,
        }
    }
}

/// Which end waits for the other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Attach {
    /// Connects to an address, now or as soon as somebody listens there. The default.
    #[default]
    Connect,
    /// Listens at an address.
    Bind,
}

/// How a stream is joined. Every field has a default.
///
/// ```
/// use std::time::Duration;
/// use flexbond_stream::{Attach, ConnectOptions, Mode};
///
/// let options = ConnectOptions::new()
///     .mode(Mode::Push)
///     .attach(Attach::Bind)
///     .queue_size(10)
///     .send_timeout(Duration::from_secs(1))
///     .linger(None);
/// assert_eq!((options.queue_size, options.linger), (10, None));
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ConnectOptions {
    /// Connect (default) or bind.
    pub attach: Attach,
    /// PULL (default), SUB, PUSH or PUB.
    pub mode: Mode,
    /// How long a receive waits; `None` (default) waits for ever.
    pub receive_timeout: Option<Duration>,
    /// How long a send waits; `None` (default) waits for ever.
    pub send_timeout: Option<Duration>,
    /// Messages that may wait per peer, on the way out and on the way in. Default 100; 0 is the sockets' own large
    /// bound. At `udp://` addresses it is [`memory`](field@Self::memory) that counts.
    pub queue_size: usize,
    /// How long disconnecting waits for what is still queued; `None` waits for ever. Default 30 s.
    pub linger: Option<Duration>,
    /// SUB: receives only messages whose header begins with one of these. Default: all messages.
    pub topics: Vec<Vec<u8>>,
    /// PUB: what happens to a message for a receiver that is too slow. Default: the new message is dropped for it.
    ///
    /// At `udp://` addresses all receivers are served by the same packets, and this means:
    ///
    /// | | the source waits for | who is too slow |
    /// | --- | --- | --- |
    /// | `DropNewest`, `DropOldest` | the quickest receiver, as long as it takes anything; after 250 ms without, new messages are dropped for all, and counted, until somebody does | skips what it has not got once it is a quarter of [`memory`](field@Self::memory) (64 MiB at most) behind the quickest, and goes on with the newest message |
    /// | `Wait` | the slowest receiver, for as long as it lives | makes all wait |
    /// | `Disconnect` | the slowest receiver | is sent away when nothing could be sent for 1 s because of it; what it had got stays there for it, and it comes back once it has read that. What is sent meanwhile is not for it. A PUB that connects cannot send others away: as `DropNewest` |
    ///
    /// Whoever skips gets whole messages only, and counts the others as dropped
    /// ([`Stream::socket_stats`](crate::Stream::socket_stats)); where messages have numbers of their own, they are gaps in
    /// its [statistics](crate::Statistics), too. Where several sources connect to one receiver, each also has the others for receivers,
    /// which are quick: only `Wait` keeps it from going on without the one that matters.
    pub slow_peer: SlowPeer,
    /// Largest message that is accepted, in bytes over all parts. Default 1 GiB. At `udp://` addresses also the largest
    /// that is sent.
    pub max_message_size: usize,
    /// `udp://`: where what is for all is sent to, once for all: a multicast address and port, such as
    /// `239.1.2.3:5000`. Only the end that binds has to know it. Default: none, each receiver is sent packets of its own,
    /// as are those that multicast does not reach.
    #[cfg(feature = "multicast")]
    pub multicast: Option<SocketAddr>,
    /// `udp://`: the network interface for multicast. Default: the one of the address.
    #[cfg(feature = "multicast")]
    pub interface: Option<Interface>,
    /// `udp://`: the key that all ends have; nobody without it can join, read or disturb. Default: none.
    #[cfg(feature = "multicast-crypto")]
    pub key: Option<PresharedKey>,
    /// `udp://`: bytes of messages that may wait, at the source until all have got them, and at each receiver until they
    /// are taken; at least 64 KiB. A message that is larger than that goes and comes in pieces, and is put together in
    /// memory of its own, at most [`max_message_size`](field@Self::max_message_size) for all sources together: what is begun
    /// beside that is refused as malformed ([`FramingError::NoRoom`](crate::FramingError::NoRoom)). Everybody's messages go in pieces that are larger than the least memory of a
    /// receiver. Default 256 MiB.
    #[cfg(feature = "multicast")]
    pub memory: usize,
}

impl Default for ConnectOptions {
    fn default() -> Self {
        ConnectOptions {
            attach: Attach::Connect,
            mode: Mode::Pull,
            receive_timeout: None,
            send_timeout: None,
            queue_size: 100,
            linger: Some(Duration::from_secs(30)),
            topics: Vec::new(),
            slow_peer: SlowPeer::DropNewest,
            max_message_size: 1 << 30,
            #[cfg(feature = "multicast")]
            multicast: None,
            #[cfg(feature = "multicast")]
            interface: None,
            #[cfg(feature = "multicast-crypto")]
            key: None,
            #[cfg(feature = "multicast")]
            memory: 256 << 20,
        }
    }
}

macro_rules! setters {
    ($($name:ident: $type:ty),* $(,)?) => {$(
        #[doc = concat!("Sets [`", stringify!($name), "`](Self#structfield.", stringify!($name), ").")]
        #[must_use]
        pub fn $name(mut self, value: $type) -> Self {
            self.$name = value.into();
            self
        }
    )*};
}

impl ConnectOptions {
    /// The defaults: connect, PULL, no time-outs, a queue of 100 messages.
    #[must_use]
    pub fn new() -> Self {
        ConnectOptions::default()
    }

    /// Whether both join in the same way: what else differs can be set anew while a stream is joined.
    pub(crate) fn joins_as(&self, other: &ConnectOptions) -> bool {
        #[cfg(feature = "multicast")]
        if self.multicast != other.multicast {
            return false;
        }
        (self.mode, self.attach) == (other.mode, other.attach)
    }

    setters! {
        attach: impl Into<Attach>, mode: impl Into<Mode>, receive_timeout: impl Into<Option<Duration>>,
        send_timeout: impl Into<Option<Duration>>, queue_size: usize, linger: impl Into<Option<Duration>>,
        topics: impl Into<Vec<Vec<u8>>>, slow_peer: impl Into<SlowPeer>, max_message_size: usize,
    }

    #[cfg(feature = "multicast")]
    setters! {
        multicast: impl Into<Option<SocketAddr>>, interface: impl Into<Option<Interface>>, memory: usize,
    }

    #[cfg(feature = "multicast-crypto")]
    setters! {
        key: impl Into<Option<PresharedKey>>,
    }
}
