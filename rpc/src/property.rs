//! What clients and servers of this crate say of themselves in the handshake of their sockets.

use flexbond_session::socket::Peer;
use flexbond_transport::Message;

use crate::error::CallError;

/// The name of the property. A server says the version of the envelope, how many bytes arguments may have, and how many a
/// message may have that its socket takes, with spaces in between; a client the version.
pub(crate) const NAME: &str = "X-Flexbond-Rpc";

/// What a server takes. What it says nothing of is without limit here, and checked by the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limits {
    /// Bytes of arguments, or of one item of them, buffers included.
    pub(crate) request: usize,
    /// Bytes of a whole message: its socket ends the connection of who sends a larger one.
    pub(crate) message: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            request: usize::MAX,
            message: usize::MAX,
        }
    }
}

impl Limits {
    /// Whether arguments of `size` bytes are taken.
    pub(crate) fn check_request(self, size: usize) -> Result<(), CallError> {
        too_large(size, self.request)
    }

    /// The same, and whether the message that they are in is.
    pub(crate) fn check(self, size: usize, message: &Message) -> Result<(), CallError> {
        self.check_request(size)?;
        too_large(message.size(), self.message)
    }
}

fn too_large(size: usize, limit: usize) -> Result<(), CallError> {
    if size <= limit {
        return Ok(());
    }
    Err(CallError::TooLarge {
        size,
        limit,
        answer: false,
    })
}

/// What a server says.
pub(crate) fn of_server(limits: Limits) -> String {
    format!("1 {} {}", limits.request, limits.message)
}

/// What a client says.
pub(crate) fn of_client() -> &'static str {
    "1"
}

/// Whether a peer is one of this crate's, or as good.
pub(crate) fn is_known(peer: &Peer) -> bool {
    peer.metadata(NAME).is_some()
}

/// What this server takes, as far as it said.
pub(crate) fn limits(server: &Peer) -> Limits {
    let said = server
        .metadata(NAME)
        .and_then(|said| std::str::from_utf8(said).ok());
    let mut said = said.unwrap_or_default().split(' ').skip(1);
    let mut next = || said.next()?.parse().ok();
    Limits {
        request: next().unwrap_or(usize::MAX),
        message: next().unwrap_or(usize::MAX),
    }
}
