//! What clients and servers of this crate say of themselves in the handshake of their sockets.

use flexbond_session::socket::Peer;

/// The name of the property. A server says the version of the envelope, a space, and how many bytes arguments may have;
/// a client the version.
pub(crate) const NAME: &str = "X-Flexbond-Rpc";

/// What a server says.
pub(crate) fn of_server(max_request: usize) -> String {
    format!("1 {max_request}")
}

/// What a client says.
pub(crate) fn of_client() -> &'static str {
    "1"
}

/// How many bytes arguments may have, as far as this server said.
pub(crate) fn max_request(server: &Peer) -> Option<usize> {
    let said = std::str::from_utf8(server.metadata(NAME)?).ok()?;
    said.split(' ').nth(1)?.parse().ok()
}
