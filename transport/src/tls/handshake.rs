//! One handshake, and whom it has proved the peer to be.

use std::future::poll_fn;
use std::sync::Arc;

use rustls::pki_types::ServerName;
use rustls::{ClientConnection, ServerConnection};
use tokio::net::TcpStream;

use super::{Shared, TlsError, TlsStream, config};
use crate::PeerIdentity;

/// What a handshake comes to.
pub(super) type Shaken = Result<(TlsStream, Option<PeerIdentity>), TlsError>;

/// The server's side, with the settings of this moment and its time limit. `moved`: the client has brought it on.
pub(super) async fn serve(shared: &Shared, stream: TcpStream, moved: impl Fn()) -> Shaken {
    let (configs, timeout) = shared.current();
    // A transport that was bound has a server's side, and `replace` leaves it one.
    let server = configs.server.ok_or_else(|| TlsError::Incompatible {
        reason: "there is no certificate to show".to_owned(),
    })?;
    let connection = ServerConnection::new(server.config).map_err(|error| TlsError::of(error, true))?;
    let stream = TlsStream::new(stream, connection.into(), true);
    let handshake = poll_fn(|cx| stream.poll_handshake(cx, &moved));
    match tokio::time::timeout(timeout, handshake).await {
        Ok(outcome) => outcome?,
        Err(_) => return Err(TlsError::TimedOut { after: timeout }),
    }
    let identity = stream.peer_identity(server.is_limited);
    Ok((stream, identity))
}

/// The client's side: the server has to prove that it is `name`. Without a time limit.
pub(super) async fn connect(client: config::Client, name: ServerName<'static>, stream: TcpStream) -> Shaken {
    let connection = ClientConnection::new(Arc::clone(&client.config), name)
        .map_err(|error| TlsError::of(error, client.has_identity))?;
    let stream = TlsStream::new(stream, connection.into(), client.has_identity);
    poll_fn(|cx| stream.poll_handshake(cx, &|| ())).await?;
    let identity = stream.peer_identity(client.is_limited);
    Ok((stream, identity))
}
