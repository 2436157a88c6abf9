//! What every test of sockets needs: deadlines that say what was waited for, and sockets of any pattern.
#![allow(dead_code, reason = "each test target uses its own part")]

use std::future::Future;
use std::time::{Duration, Instant};

use flexbond_session::socket::{
    DenyStatus, Event, HandshakeFailure, Monitor, Options, RecvError, SendErrorKind, Socket, SocketType,
};
use flexbond_session::{Endpoint, Message};

/// How long anything may take that should happen at once.
pub(crate) const DEADLINE: Duration = Duration::from_secs(10);

/// Awaits `future`, but not for ever.
pub(crate) async fn within<F: Future>(what: &str, future: F) -> F::Output {
    match tokio::time::timeout(DEADLINE, future).await {
        Ok(output) => output,
        Err(_) => panic!("waited {DEADLINE:?} for {what}"),
    }
}

/// Looks again and again until `condition` holds.
pub(crate) async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < DEADLINE, "waited {DEADLINE:?} for {what}");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// Options for tests: closing never waits, a lost connection is tried again soon.
pub(crate) fn brisk() -> Options {
    Options::new()
        .linger(Duration::ZERO)
        .reconnect_interval(Duration::from_millis(10))
        .reconnect_max(Duration::from_millis(50))
}

/// A socket with these options.
pub(crate) fn socket_with(kind: SocketType, options: Options) -> Socket {
    Socket::with_options(kind, options).expect("valid options")
}

/// A socket with the options for tests.
pub(crate) fn socket(kind: SocketType) -> Socket {
    socket_with(kind, brisk())
}

/// Binds to a free port of loopback.
pub(crate) async fn bind(socket: &Socket) -> Endpoint {
    within("bind", socket.bind("tcp://127.0.0.1:0"))
        .await
        .expect("a free port")
}

/// Sends, within the deadline.
pub(crate) async fn send(socket: &Socket, message: impl Into<Message>) {
    within("send", socket.send(message)).await.expect("sent");
}

/// Receives, within the deadline.
pub(crate) async fn recv(socket: &Socket) -> Message {
    within("a message", socket.recv()).await.expect("received")
}

/// Receives `count` messages.
pub(crate) async fn recv_many(socket: &Socket, count: usize) -> Vec<Message> {
    let mut messages = Vec::with_capacity(count);
    for _ in 0..count {
        messages.push(recv(socket).await);
    }
    messages
}

/// How many peers have completed their handshake.
pub(crate) fn ready_peers(socket: &Socket) -> usize {
    socket.peers().iter().filter(|stats| stats.ready).count()
}

/// Waits until the socket has this many peers that have completed their handshake.
pub(crate) async fn peers(socket: &Socket, count: usize) {
    until(&format!("{count} peers"), || ready_peers(socket) == count).await;
}

/// Waits for the first event that `pick` takes.
pub(crate) async fn event<T>(
    monitor: &mut Monitor,
    what: &str,
    mut pick: impl FnMut(&Event) -> Option<T>,
) -> T {
    let mut seen = Vec::new();
    let search = async {
        loop {
            let event = monitor.recv().await.expect("the socket is open");
            if let Some(picked) = pick(&event) {
                return picked;
            }
            seen.push(event.to_string());
        }
    };
    match tokio::time::timeout(DEADLINE, search).await {
        Ok(picked) => picked,
        Err(_) => panic!("waited {DEADLINE:?} for the event {what}, only saw {seen:#?}"),
    }
}

/// Waits for a failed handshake; what the event says.
pub(crate) async fn handshake_failed(monitor: &mut Monitor) -> String {
    event(monitor, "HandshakeFailed", |event| {
        matches!(event, Event::HandshakeFailed { .. }).then(|| event.to_string())
    })
    .await
}

/// Waits for a failed handshake: the other end, why, and in words.
pub(crate) async fn failed_handshake(monitor: &mut Monitor) -> (Endpoint, HandshakeFailure, String) {
    event(monitor, "HandshakeFailed", |event| match event {
        Event::HandshakeFailed {
            endpoint,
            failure,
            error,
            ..
        } => Some((endpoint.clone(), failure.clone(), error.clone())),
        _ => None,
    })
    .await
}

/// With which status an authenticator denied a peer, if that is why.
pub(crate) fn denied(failure: &HandshakeFailure) -> Option<DenyStatus> {
    match failure {
        HandshakeFailure::Denied { status, .. } => Some(*status),
        _ => None,
    }
}

/// Waits for a lost peer; what the event says.
pub(crate) async fn disconnected(monitor: &mut Monitor) -> String {
    event(monitor, "Disconnected", |event| {
        matches!(event, Event::Disconnected { .. }).then(|| event.to_string())
    })
    .await
}

/// Whether a send failed because it would have had to wait.
pub(crate) fn would_block(socket: &Socket, message: impl Into<Message>) -> bool {
    match socket.try_send(message) {
        Ok(()) => false,
        Err(error) if *error.kind() == SendErrorKind::WouldBlock => true,
        Err(error) => panic!("{error}"),
    }
}

/// Whether nothing waits to be received.
pub(crate) fn idle(socket: &Socket) -> bool {
    match socket.try_recv() {
        Ok(message) => panic!("unexpected {message:?}"),
        Err(RecvError::WouldBlock) => true,
        Err(error) => panic!("{error}"),
    }
}

/// Eight bytes of number, filled up to `size`.
pub(crate) fn numbered(number: u64, size: usize) -> Vec<u8> {
    let mut body = number.to_be_bytes().to_vec();
    body.resize(size.max(8), b'.');
    body
}

/// The number at the start of a part.
pub(crate) fn number(part: &[u8]) -> u64 {
    u64::from_be_bytes(part[..8].try_into().expect("eight bytes"))
}

/// A port that nobody listens on, and that nobody else gets: of an address of this process alone, where there are so many
/// of the machine itself. Another test that asks for any port may get one of the usual address that was just free.
pub(crate) fn vacant() -> String {
    let [_, second, third, fourth] = std::process::id().to_be_bytes();
    let own = match cfg!(target_os = "linux") {
        true => [127, 64 | second, third, fourth],
        false => [127, 0, 0, 1],
    };
    let listener = std::net::TcpListener::bind((std::net::Ipv4Addr::from(own), 0)).expect("a free port");
    format!("tcp://{}", listener.local_addr().expect("its address"))
}
