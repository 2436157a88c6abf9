//! What only tls does: who is let in, what is said about the others, and what an end means.
#![cfg(feature = "tls")]

#[path = "../certificates/mod.rs"]
mod certificates;
mod handshakes;
mod identities;
mod records;
mod renewal;
mod settings;
mod trust;

use std::future::{Future, poll_fn};
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use flexbond_transport::{
    AcceptError, ByteStream, ConnectError, Connection, Endpoint, Link, LinkOptions, Listener, Tls, TlsClient,
    TlsError, TlsOptions, TlsServer, Transport,
};

/// Runs a test with a deadline, so that what hangs fails.
async fn limited<T>(test: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(30), test)
        .await
        .expect("the test hangs")
}

fn server(server: TlsServer) -> Tls {
    Tls::new(TlsOptions::default().server(server)).unwrap()
}

fn client(client: TlsClient) -> Tls {
    Tls::new(TlsOptions::default().client(client)).unwrap()
}

async fn bind(tls: &Tls) -> Box<dyn Listener> {
    let any: Endpoint = "tls://127.0.0.1:0".parse().unwrap();
    tls.bind(&any, &LinkOptions::default()).await.unwrap()
}

async fn connect(tls: &Tls, endpoint: &Endpoint) -> Result<Connection, ConnectError> {
    tls.connect(endpoint, &LinkOptions::default()).await
}

/// What both ends say of an attempt.
async fn attempt(
    near: &Tls,
    listener: &mut dyn Listener,
) -> (Result<Connection, ConnectError>, Result<Connection, AcceptError>) {
    let endpoint = listener.local_endpoint().clone();
    limited(async { tokio::join!(connect(near, &endpoint), listener.accept()) }).await
}

/// Both ends of a connection that comes about.
async fn pair(near: &Tls, listener: &mut dyn Listener) -> (Connection, Connection) {
    let (near, far) = attempt(near, listener).await;
    (near.unwrap(), far.unwrap())
}

fn refused_there(result: Result<Connection, ConnectError>) -> TlsError {
    match result.unwrap_err() {
        error @ ConnectError::Handshake { .. } => {
            assert!(!error.is_permanent(), "what is wrong may be mended");
            let ConnectError::Handshake { source, .. } = error else {
                unreachable!()
            };
            *source
        }
        other => panic!("{other:?}"),
    }
}

fn refused_here(result: Result<Connection, AcceptError>) -> TlsError {
    match result.unwrap_err() {
        error @ AcceptError::Handshake { .. } => {
            assert!(!error.is_fatal() && !error.needs_pause());
            let AcceptError::Handshake { source, peer, .. } = error else {
                unreachable!()
            };
            assert!(peer.to_string().starts_with("tls://127.0.0.1:"), "{peer}");
            *source
        }
        other => panic!("{other:?}"),
    }
}

fn stream(connection: Connection) -> Arc<dyn ByteStream> {
    match connection.link {
        Link::Stream(stream) => stream.into(),
        other => panic!("expected a stream, not {other:?}"),
    }
}

async fn write_all(stream: &dyn ByteStream, mut data: &[u8]) -> io::Result<()> {
    while !data.is_empty() {
        let count = poll_fn(|cx| stream.poll_write(cx, &[IoSlice::new(data)])).await?;
        data = &data[count..];
    }
    poll_fn(|cx| stream.poll_flush(cx)).await
}

async fn read_to_end(stream: &dyn ByteStream) -> io::Result<Vec<u8>> {
    let mut buffer = BytesMut::new();
    loop {
        buffer.reserve(16 * 1024);
        if limited(poll_fn(|cx| stream.poll_read(cx, &mut buffer))).await? == 0 {
            return Ok(buffer.to_vec());
        }
    }
}

/// One byte each way.
async fn talk(near: &dyn ByteStream, far: &dyn ByteStream) {
    for (from, to) in [(near, far), (far, near)] {
        write_all(from, b"!").await.unwrap();
        let mut byte = [0];
        let count = limited(poll_fn(|cx| to.poll_read_into(cx, &mut byte)))
            .await
            .unwrap();
        assert_eq!((count, &byte), (1, b"!"));
    }
}

/// What TLS said within an I/O error.
fn inner(error: &io::Error) -> &TlsError {
    error
        .get_ref()
        .and_then(|error| error.downcast_ref())
        .unwrap_or_else(|| panic!("{error:?} is not of TLS"))
}

fn address(endpoint: &Endpoint) -> SocketAddr {
    endpoint.address().parse().unwrap()
}
