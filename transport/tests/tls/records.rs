//! What travels, seen from between the two ends.

use std::future::poll_fn;
use std::io;
use std::sync::Arc;
use std::task::Poll;

use bytes::BytesMut;
use flexbond_transport::{ByteStream, Endpoint, TlsError};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use crate::certificates::Authority;
use crate::{address, bind, client, connect, inner, limited, pair, read_to_end, server, stream, write_all};

/// One who carries the bytes of a connection both ways until it is told to stop, and hands over what came from the near
/// end.
struct Between {
    near: Arc<dyn ByteStream>,
    far: Arc<dyn ByteStream>,
    to_far: JoinHandle<Vec<u8>>,
    to_near: JoinHandle<Vec<u8>>,
}

async fn carry(mut from: tokio::net::tcp::OwnedReadHalf, mut to: tokio::net::tcp::OwnedWriteHalf) -> Vec<u8> {
    let mut seen = Vec::new();
    loop {
        let start = seen.len();
        if !matches!(from.read_buf(&mut seen).await, Ok(1..)) {
            break;
        }
        if to.write_all(&seen[start..]).await.is_err() {
            break;
        }
    }
    seen
}

/// Brings both ends together by way of somebody in the middle, who has a connection to each of them.
async fn by_way_of<T>(
    middle: impl AsyncFnOnce(TcpStream, TcpStream) -> T,
) -> (Arc<dyn ByteStream>, Arc<dyn ByteStream>, T) {
    let authority = Authority::new("a");
    let mut listener = bind(&server(authority.server())).await;
    let at = address(listener.local_endpoint());
    let place = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = Endpoint::Tls(place.local_addr().unwrap().into());
    let near = client(authority.client());
    let carrying = async {
        let near = place.accept().await.unwrap().0;
        middle(near, TcpStream::connect(at).await.unwrap()).await
    };
    let (near, far, carried) =
        limited(async { tokio::join!(connect(&near, &endpoint), listener.accept(), carrying) }).await;
    (stream(near.unwrap()), stream(far.unwrap()), carried)
}

async fn between() -> Between {
    let (near, far, (to_far, to_near)) = by_way_of(async |near, far| {
        let ((from_near, to_near), (from_far, to_far)) = (near.into_split(), far.into_split());
        (
            tokio::spawn(carry(from_near, to_far)),
            tokio::spawn(carry(from_far, to_near)),
        )
    })
    .await;
    Between {
        near,
        far,
        to_far,
        to_near,
    }
}

#[tokio::test]
async fn a_connection_that_is_cut_off_is_not_complete() {
    let between = between().await;
    write_all(&*between.near, b"all of it").await.unwrap();
    let mut buffer = BytesMut::with_capacity(64);
    limited(poll_fn(|cx| between.far.poll_read(cx, &mut buffer)))
        .await
        .unwrap();
    assert_eq!(&buffer[..], b"all of it");
    between.to_far.abort();
    between.to_near.abort();
    for end in [&between.far, &between.near] {
        for _ in 0..2 {
            let error = read_to_end(&**end).await.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
            assert!(matches!(inner(&error), TlsError::Truncated), "{error:?}");
        }
    }
}

#[tokio::test]
async fn a_farewell_is_a_complete_end() {
    let Between {
        near, far, to_far, ..
    } = between().await;
    write_all(&*near, b"all of it").await.unwrap();
    drop(near);
    assert_eq!(read_to_end(&*far).await.unwrap(), b"all of it");
    drop(far);
    limited(to_far).await.unwrap();
}

/// The types and lengths of TLS records (RFC 8446, section 5.1).
fn records(mut bytes: &[u8]) -> Vec<(u8, usize)> {
    let mut records = Vec::new();
    while let [kind, _, _, high, low, rest @ ..] = bytes {
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        records.push((*kind, length));
        bytes = &rest[length..];
    }
    assert!(bytes.is_empty());
    records
}

#[tokio::test]
async fn large_writes_make_full_records_and_nothing_is_readable() {
    const LEN: usize = 1 << 20;
    /// 16 KiB, the inner type and the tag (RFC 8446, section 5.2).
    const FULL: usize = (16 << 10) + 1 + 16;
    let Between {
        near, far, to_far, ..
    } = between().await;
    let secret = b"tell nobody of it ".repeat(LEN / 18 + 1);
    let reading = tokio::spawn(async move { read_to_end(&*far).await.unwrap().len() });
    write_all(&*near, &secret[..LEN]).await.unwrap();
    poll_fn(|cx| near.poll_shutdown(cx)).await.unwrap();
    assert_eq!(limited(reading).await.unwrap(), LEN);
    drop(near);

    let seen = limited(to_far).await.unwrap();
    assert!(!seen.windows(18).any(|window| window == b"tell nobody of it "));
    let records = records(&seen);
    let full = records.iter().filter(|(_, length)| *length == FULL).count();
    assert_eq!(full, LEN / (16 << 10), "{} records", records.len());
}

#[tokio::test]
async fn a_changed_bit_is_an_error() {
    // The handshake passes as it is.
    let (near, far, (mut from_near, mut to_far, _back)) = by_way_of(async |near, far| {
        let ((mut from_near, to_near), (from_far, mut to_far)) = (near.into_split(), far.into_split());
        let back = tokio::spawn(carry(from_far, to_near));
        // Until the client is done: its last flight, which is the first record of type 23 or a 20 before it.
        let mut seen = Vec::new();
        while !records_complete(&seen) {
            let start = seen.len();
            assert_ne!(from_near.read_buf(&mut seen).await.unwrap(), 0);
            to_far.write_all(&seen[start..]).await.unwrap();
        }
        (from_near, to_far, back)
    })
    .await;
    write_all(&*near, b"something").await.unwrap();
    let mut record = Vec::new();
    while record.len() < 5 || !records_end(&record) {
        assert_ne!(limited(from_near.read_buf(&mut record)).await.unwrap(), 0);
    }
    *record.last_mut().unwrap() ^= 1;
    to_far.write_all(&record).await.unwrap();
    let error = read_to_end(&*far).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    assert!(matches!(inner(&error), TlsError::Protocol { .. }), "{error:?}");
    // It stays so.
    assert!(read_to_end(&*far).await.is_err());
    assert!(write_all(&*far, b"answer").await.is_err());
}

/// Whether what was seen ends with a record.
fn records_end(mut bytes: &[u8]) -> bool {
    while let [_, _, _, high, low, rest @ ..] = bytes {
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        match rest.get(length..) {
            Some(rest) => bytes = rest,
            None => return false,
        }
    }
    bytes.is_empty()
}

/// Whether a client has sent the last message of its handshake, which is encrypted.
fn records_complete(bytes: &[u8]) -> bool {
    records_end(bytes) && records(bytes).iter().any(|(kind, _)| *kind == 23)
}

#[tokio::test]
async fn what_has_come_can_be_had_without_waiting() {
    let authority = Authority::new("a");
    let mut listener = bind(&server(authority.server())).await;
    let (near, far) = pair(&client(authority.client()), &mut *listener).await;
    let (near, far) = (stream(near), stream(far));
    let mut target = [0; 3];
    let nothing = near.read_now(&mut target).map_err(|error| error.kind());
    assert_eq!(nothing, Err(io::ErrorKind::WouldBlock));
    write_all(&*far, b"hello").await.unwrap();
    let mut read = Vec::new();
    limited(async {
        while read.len() < 5 {
            match near.read_now(&mut target) {
                Ok(count) => read.extend_from_slice(&target[..count]),
                Err(error) => assert_eq!(error.kind(), io::ErrorKind::WouldBlock),
            }
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!(read, b"hello");
    // Who waits is not disturbed by it.
    let mut byte = [0];
    let mut waiting = std::pin::pin!(poll_fn(|cx| near.poll_read_into(cx, &mut byte)));
    let waits = poll_fn(|cx| Poll::Ready(waiting.as_mut().poll(cx).is_pending())).await;
    assert!(waits && near.read_now(&mut target).is_err());
    write_all(&*far, b"!").await.unwrap();
    assert_eq!(limited(waiting).await.unwrap(), 1);
    limited(poll_fn(|cx| far.poll_shutdown(cx))).await.unwrap();
    assert!(read_to_end(&*near).await.unwrap().is_empty());
    assert_eq!(near.read_now(&mut target).unwrap(), 0);
}
