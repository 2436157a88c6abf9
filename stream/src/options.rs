//! How a stream is joined.

use std::time::Duration;

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
    /// bound.
    pub queue_size: usize,
    /// How long disconnecting waits for what is still queued; `None` waits for ever. Default 30 s.
    pub linger: Option<Duration>,
    /// SUB: receives only messages whose header begins with one of these. Default: all messages.
    pub topics: Vec<Vec<u8>>,
    /// PUB: what happens to a message for a receiver that is too slow. Default: the new message is dropped for it.
    pub slow_peer: SlowPeer,
    /// Largest message that is accepted, in bytes over all parts. Default 1 GiB.
    pub max_message_size: usize,
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
        }
    }
}

macro_rules! setters {
    ($($name:ident: $type:ty),* $(,)?) => {$(
        #[doc = concat!("Sets [`", stringify!($name), "`](Self#structfield.", stringify!($name), ").")]
        #[must_use]
        pub fn $name(mut self, value: impl Into<$type>) -> Self {
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

    setters! {
        attach: Attach, mode: Mode, receive_timeout: Option<Duration>, send_timeout: Option<Duration>,
        queue_size: usize, linger: Option<Duration>, topics: Vec<Vec<u8>>, slow_peer: SlowPeer,
        max_message_size: usize,
    }
}
