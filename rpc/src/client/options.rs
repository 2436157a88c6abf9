//! How a client calls.

use std::time::Duration;

use flexbond_session::socket;

use crate::envelope::Codec;

/// How a [`Client`](super::Client) calls.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Options {
    /// The codec of calls that name none. Default: postcard, which needs a server in Rust; with any other, use JSON
    /// or MessagePack.
    pub codec: Codec,
    /// How long a call that names no timeout waits for its answer; none for ever. For a stream, or a call with streamed
    /// arguments, how long it waits for each sign of life that the server owes: the next item, leave to send more, the
    /// answer. While the caller does not read, or has nothing to send, no time runs out. Default: 30 s.
    pub timeout: Option<Duration>,
    /// Calls that may be under way at once, one at least; more wait to be begun, in their order. Default: 16,384.
    pub max_in_flight: usize,
    /// Bytes of an answer, or of one item of it, buffers included. An answer that is larger than the
    /// `max_message_size` of the socket, by default 1 GiB, ends the connection: keep it above this. Default: 256 MiB.
    pub max_response: usize,
    /// Items of a streamed answer that may come before the caller has read any. Default: 64.
    pub stream_window: u32,
    /// Whether a call waits for a connection while there is none, as long as its timeout allows. If not, it fails at
    /// once. Default: yes.
    pub wait_for_connection: bool,
    /// How long what was sent last (one-way calls, cancellations) may take to leave when the client is dropped.
    /// Default: 5 s.
    pub linger: Duration,
    /// Options of the socket below: how to reconnect, heartbeats, security. By default a server is asked for a sign of life
    /// every 10 s and, as it reads all the time, takes none of what waits for it for 10 s at most (`stall_timeout`): that
    /// its machine is gone is noticed within about half a minute, also while much is sent to it. Longer for servers whose
    /// handlers keep their only thread busy. Where they say that no other attempt is
    /// made, calls fail with [`Unconnected`](crate::CallError::Unconnected) from then on. Its `spin`, here and in the
    /// server's options, is [`Auto`](socket::Spin::Auto): where answers come within some tens of microseconds, the client
    /// looks for them instead of sleeping, which makes calls that follow each other several times as quick (32 B over tcp,
    /// between two cores: 12 µs instead of 55 µs) and takes a core meanwhile. [`Off`](socket::Spin::Off) leaves it to
    /// others.
    pub socket: socket::Options,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            codec: Codec::Postcard,
            timeout: Some(Duration::from_secs(30)),
            max_in_flight: 16_384,
            max_response: 256 << 20,
            stream_window: 64,
            wait_for_connection: true,
            linger: Duration::from_secs(5),
            socket: socket::Options::new()
                .spin(socket::Spin::Auto)
                .heartbeat_interval(Duration::from_secs(10))
                .stall_timeout(Duration::from_secs(10))
                .reconnect_interval(Duration::from_millis(50))
                .reconnect_max(Duration::from_secs(2)),
        }
    }
}

impl Options {
    /// The defaults.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets [`codec`](Self#structfield.codec).
    #[must_use]
    pub fn codec(mut self, codec: Codec) -> Self {
        self.codec = codec;
        self
    }

    /// Sets [`timeout`](Self#structfield.timeout).
    #[must_use]
    pub fn timeout(mut self, timeout: impl Into<Option<Duration>>) -> Self {
        self.timeout = timeout.into();
        self
    }

    /// Sets [`wait_for_connection`](Self#structfield.wait_for_connection).
    #[must_use]
    pub fn wait_for_connection(mut self, wait: bool) -> Self {
        self.wait_for_connection = wait;
        self
    }

    /// Sets [`max_in_flight`](Self#structfield.max_in_flight).
    #[must_use]
    pub fn max_in_flight(mut self, calls: usize) -> Self {
        self.max_in_flight = calls;
        self
    }

    /// Sets [`max_response`](Self#structfield.max_response).
    #[must_use]
    pub fn max_response(mut self, bytes: usize) -> Self {
        self.max_response = bytes;
        self
    }

    /// Sets [`stream_window`](Self#structfield.stream_window).
    #[must_use]
    pub fn stream_window(mut self, items: u32) -> Self {
        self.stream_window = items;
        self
    }

    /// Sets [`linger`](Self#structfield.linger).
    #[must_use]
    pub fn linger(mut self, linger: Duration) -> Self {
        self.linger = linger;
        self
    }

    /// Sets [`socket`](Self#structfield.socket).
    #[must_use]
    pub fn socket(mut self, socket: socket::Options) -> Self {
        self.socket = socket;
        self
    }
}
