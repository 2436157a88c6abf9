//! What a server allows.

use std::time::Duration;

use flexbond_session::socket;

use crate::envelope::{Header, Metadata, Method};

/// Bytes that an envelope may have beside its arguments: header, method, metadata, and an empty frame of a REQ.
const AROUND: usize = Header::LEN + 1 + Method::MAX_LEN + Metadata::MAX_LEN;

/// What a [`Server`](super::Server) allows, and how it ends.
///
/// ```
/// use std::time::Duration;
/// use flexbond_rpc::server::Options;
///
/// let options = Options::new().max_request(16 << 20).drain_timeout(Duration::from_secs(5));
/// assert_eq!(options.max_request, 16 << 20);
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Options {
    /// Calls that may be under way at once over all connections; what is beyond is answered with
    /// [`Overloaded`](crate::FailureKind::Overloaded). Default: 65,536.
    pub max_in_flight: usize,
    /// The same for one connection. One-way calls count, too, though they go on when it is lost. Default: 16,384.
    pub max_in_flight_per_connection: usize,
    /// Bytes of arguments of all calls under way together, of streamed ones those that no handler has read; what is
    /// beyond is answered with [`Overloaded`](crate::FailureKind::Overloaded), but one call may always be. Default:
    /// 1 GiB.
    pub max_in_flight_bytes: usize,
    /// Bytes of arguments, or of one item of them, buffers included; what is larger is answered with
    /// [`TooLarge`](crate::FailureKind::TooLarge). Default: 256 MiB.
    ///
    /// What the socket does not read cannot be answered: where its `max_message_size` (default: 1 GiB) is less than
    /// this and the rest of an envelope, this is what it leaves; and a peer that sends a message beyond it loses its
    /// connection.
    pub max_request: usize,
    /// Bytes of an answer, or of one item of it, buffers included. Default: 256 MiB.
    pub max_response: usize,
    /// Answers that wait for a connection whose peer does not read, beside those in the socket's own queue; one more,
    /// and the connection is ended. Default: 65,536.
    pub max_unread: usize,
    /// The same in bytes, those in the socket's own queue included; one answer may always wait. Callers who ask for more
    /// than that at once need more here, or streams, which wait for the peer to read and never come so far. Default:
    /// 1 GiB.
    pub max_unread_bytes: usize,
    /// Items of streamed arguments that may come before the handler has read any. Default: 16.
    pub upload_window: u32,
    /// How long calls under way may take to end once the server drains. Those that take longer are stopped, and answered
    /// with [`Cancelled`](crate::FailureKind::Cancelled); peers have a second more to read that, and the socket's
    /// `linger`. Default: 30 s.
    pub drain_timeout: Duration,
    /// Options of the socket below. Its `linger` is how long answers may take to leave at the end. Its `stall_timeout`, how
    /// long a peer may take none of the answers that wait for it, is 60 s: a script that works on one answer after the
    /// other may have room for none in between. Its `spin` is [`Auto`](socket::Spin::Auto): as long as calls follow each
    /// other within some tens of microseconds, the server looks for the next one instead of sleeping, which takes a core
    /// meanwhile; a server that is called less often sleeps.
    pub socket: socket::Options,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            max_in_flight: 65_536,
            max_in_flight_per_connection: 16_384,
            max_in_flight_bytes: 1 << 30,
            max_request: 256 << 20,
            max_response: 256 << 20,
            max_unread: 65_536,
            max_unread_bytes: 1 << 30,
            upload_window: 16,
            drain_timeout: Duration::from_secs(30),
            socket: socket::Options::new()
                .spin(socket::Spin::Auto)
                .linger(Duration::from_secs(5))
                .heartbeat_interval(Duration::from_secs(10))
                .backlog(1024_u32),
        }
    }
}

macro_rules! setters {
    ($($name:ident: $argument:ty),* $(,)?) => {$(
        #[doc = concat!("Sets [`", stringify!($name), "`](Self#structfield.", stringify!($name), ").")]
        #[must_use]
        pub fn $name(mut self, value: $argument) -> Self {
            self.$name = value;
            self
        }
    )*};
}

impl Options {
    /// The defaults.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    setters! {
        max_in_flight: usize, max_in_flight_per_connection: usize, max_in_flight_bytes: usize, max_response: usize,
        max_unread: usize, max_unread_bytes: usize, upload_window: u32, drain_timeout: Duration,
        socket: socket::Options,
    }

    /// Sets [`max_request`](Self#structfield.max_request), and lets the socket read as much.
    #[must_use]
    pub fn max_request(mut self, value: usize) -> Self {
        self.max_request = value;
        let needed = value.saturating_add(AROUND);
        self.socket.max_message_size = self.socket.max_message_size.max(needed);
        self
    }

    /// With the largest arguments that the socket reads, too.
    pub(super) fn fitted(mut self) -> Self {
        // A socket for small messages only is one for small envelopes: half of it is for arguments.
        let most = self.socket.max_message_size;
        let readable = most - AROUND.min(most / 2);
        self.max_request = self.max_request.min(readable);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_be_sent_can_be_read() {
        let default = Options::new().fitted();
        assert_eq!(default.max_request, Options::new().max_request);
        // What is a little larger can be read, and answered.
        assert!(default.socket.max_message_size > 2 * default.max_request);
        let large = Options::new().max_request(4 << 30).fitted();
        assert_eq!(large.max_request, 4 << 30);
        let socket = socket::Options::new().max_message_size(1_usize << 20);
        let small = Options::new().socket(socket).fitted();
        assert_eq!(small.max_request, (1 << 20) - AROUND);
        let socket = socket::Options::new().max_message_size(2000_usize);
        assert_eq!(Options::new().socket(socket).fitted().max_request, 1000);
    }
}
