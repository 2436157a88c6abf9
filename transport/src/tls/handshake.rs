//! One handshake, with its time limit.

use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::ServerName;
use rustls::{ClientConnection, ServerConnection};
use tokio::net::TcpStream;

use super::{Shared, TlsError, TlsStream, config};

/// The server's side, with the settings of this moment.
pub(super) async fn serve(shared: &Shared, stream: TcpStream) -> Result<TlsStream, TlsError> {
    let (configs, timeout) = shared.current();
    // A transport that was bound has a server's side, and `replace` leaves it one.
    let config = configs.server.ok_or_else(|| TlsError::Incompatible {
        reason: "there is no certificate to show".to_owned(),
    })?;
    let connection = ServerConnection::new(config).map_err(|error| TlsError::of(error, true))?;
    finish(TlsStream::new(stream, connection.into(), true), timeout).await
}

/// The client's side: the server has to prove that it is `name`.
pub(super) async fn connect(
    client: config::Client,
    name: ServerName<'static>,
    stream: TcpStream,
    timeout: Duration,
) -> Result<TlsStream, TlsError> {
    let connection = ClientConnection::new(Arc::clone(&client.config), name)
        .map_err(|error| TlsError::of(error, client.has_identity))?;
    finish(
        TlsStream::new(stream, connection.into(), client.has_identity),
        timeout,
    )
    .await
}

async fn finish(stream: TlsStream, timeout: Duration) -> Result<TlsStream, TlsError> {
    let handshake = poll_fn(|cx| stream.poll_handshake(cx));
    match tokio::time::timeout(timeout, handshake).await {
        Ok(outcome) => outcome.map(|()| stream),
        Err(_) => Err(TlsError::TimedOut { after: timeout }),
    }
}
