//! What a server allows.

use std::time::Duration;

use flexbond_session::socket;

/// What a [`Server`](super::Server) allows, and how it ends.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Options {
    /// Calls that may be under way at once over all connections; what is beyond is answered with
    /// [`Overloaded`](crate::FailureKind::Overloaded). Default: 65,536.
    pub max_in_flight: usize,
    /// The same for one connection. Default: 16,384.
    pub max_in_flight_per_connection: usize,
    /// Bytes of arguments, or of one item of them, buffers included. Default: 256 MiB.
    pub max_request: usize,
    /// Bytes of an answer, or of one item of it, buffers included. Default: 256 MiB.
    pub max_response: usize,
    /// Answers that wait for a connection whose peer does not read, beside those in the socket's own queue; one more,
    /// and the connection is ended. Default: 65,536.
    pub max_unread: usize,
    /// Items of streamed arguments that may come before the handler has read any. Default: 16.
    pub upload_window: u32,
    /// How long calls under way may take to end once the server drains. Default: 30 s.
    pub drain_timeout: Duration,
    /// Options of the socket below. Its `linger` is how long answers may take to leave at the end.
    pub socket: socket::Options,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            max_in_flight: 65_536,
            max_in_flight_per_connection: 16_384,
            max_request: 256 << 20,
            max_response: 256 << 20,
            max_unread: 65_536,
            upload_window: 16,
            drain_timeout: Duration::from_secs(30),
            socket: socket::Options::new()
                .linger(Duration::from_secs(5))
                .heartbeat_interval(Duration::from_secs(10))
                .backlog(1024_u32),
        }
    }
}

impl Options {
    /// The defaults.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }
}
