//! What security does where it could be got around: floods of silent connections, transports that it cannot see into,
//! names that lead elsewhere.
#![cfg(all(feature = "tcp", feature = "curve"))]

mod harness;
mod raw;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use flexbond_session::socket::{
    AuthRequest, Authenticator, BindError, CurveClient, Decision, Event, HandshakeFailure, Options,
    PlainServer, PlainUser, SocketType, generate_keys,
};
use flexbond_session::{Endpoint, Message, async_trait};
use flexbond_transport::pipe::pipe;
use flexbond_transport::{
    AcceptError, BindError as TransportBindError, ConnectError, Connection, IoStream, Link, LinkOptions,
    Listener, MessageChannel, Registry, Transport,
};
use harness::{bind, brisk, event, failed_handshake, recv, send, socket_with, within};
use raw::{Raw, greeting};
use tokio::io::AsyncReadExt;

#[tokio::test]
async fn the_silent_make_room_for_who_knows_the_key() {
    let keys = generate_keys().expect("random numbers");
    let options = brisk().max_handshakes(4_usize).handshake_timeout(None);
    let pull = socket_with(SocketType::Pull, options.curve_server(keys.clone()));
    let endpoint = bind(&pull).await;
    let mut monitor = pull.monitor();
    let mut silent = Vec::new();
    for number in 0..6 {
        let mut peer = Raw::connect(&endpoint).await;
        // Some go as far as one can without the key.
        if number % 2 == 0 {
            peer.send(&greeting(1, "CURVE")).await;
        }
        event(&mut monitor, "Accepted", |event| {
            matches!(event, Event::Accepted { .. }).then_some(())
        })
        .await;
        silent.push(peer);
    }
    let client = CurveClient::anonymous(*keys.public()).expect("random numbers");
    let push = socket_with(SocketType::Push, brisk().curve_client(client));
    push.connect(&endpoint).expect("a good endpoint");
    send(&push, "let me in").await;
    assert_eq!(recv(&pull).await, Message::from("let me in"));
    let (ended, left) = silent.split_at_mut(3);
    for peer in ended {
        peer.ended().await;
    }
    assert_eq!(pull.stats().displaced, 3);
    let (_, why, text) = failed_handshake(&mut monitor).await;
    assert_eq!(why, HandshakeFailure::Displaced);
    assert!(text.contains("max_handshakes"), "{text}");
    for peer in left {
        let mut byte = [0];
        // What the server says first, and not the end.
        within("the greeting", peer.stream().read_exact(&mut byte))
            .await
            .expect("it stays");
    }
}

/// A transport that hands out connections made by `make`, to an address of its own.
struct Strange {
    make: fn() -> Link,
    address: &'static str,
}

struct Always(Endpoint, Option<Link>);

#[async_trait]
impl Listener for Always {
    fn local_endpoint(&self) -> &Endpoint {
        &self.0
    }

    async fn accept(&mut self) -> Result<Connection, AcceptError> {
        match self.1.take() {
            Some(link) => Ok(Connection::new(link, self.0.clone())),
            None => std::future::pending().await,
        }
    }
}

#[async_trait]
impl Transport for Strange {
    async fn bind(&self, _: &Endpoint, _: &LinkOptions) -> Result<Box<dyn Listener>, TransportBindError> {
        let address = self.address.parse().expect("an endpoint");
        let listener = Always(address, Some((self.make)()));
        Ok(Box::new(listener))
    }

    async fn connect(&self, _: &Endpoint, _: &LinkOptions) -> Result<Connection, ConnectError> {
        let address = self.address.parse().expect("an endpoint");
        let link = (self.make)();
        Ok(Connection::new(link, address))
    }
}

fn registry(scheme: &str, address: &'static str, make: fn() -> Link) -> Registry {
    let registry = Registry::empty();
    registry
        .register(scheme, Arc::new(Strange { make, address }))
        .expect("a new scheme");
    registry
}

/// A channel that echoes: whoever used it would see its own introduction.
fn messages() -> Link {
    let (tx, rx) = pipe(8);
    Link::Messages(MessageChannel { tx, rx })
}

struct Nobody;

#[async_trait]
impl Authenticator for Nobody {
    async fn authenticate(&self, _: AuthRequest) -> Decision {
        Decision::deny("nobody")
    }
}

#[tokio::test]
async fn a_transport_of_messages_is_refused_where_security_is_set() {
    let keys = generate_keys().expect("random numbers");
    let client = CurveClient::anonymous(*keys.public()).expect("random numbers");
    let securities: [Options; 4] = [
        brisk().curve_client(client),
        brisk().curve_server(keys),
        brisk().authenticator(Nobody),
        brisk()
            .plain_client(PlainUser::new("ada", "lovelace"))
            .plain_anywhere(true),
    ];
    for options in securities {
        // PAIR hands messages over directly, XPUB by a task.
        for kind in [SocketType::Pair, SocketType::XPub] {
            let options = options.clone().registry(registry("own", "own://there", messages));
            let socket = socket_with(kind, options);
            let mut monitor = socket.monitor();
            socket.connect("own://there").expect("tried in the background");
            let (_, why, text) = failed_handshake(&mut monitor).await;
            assert_eq!(why, HandshakeFailure::Unprotected);
            assert!(text.contains("whole messages"), "{text}");
            within("bind", socket.bind("own://here")).await.expect("bound");
            let text = event(&mut monitor, "AcceptFailed", |event| match event {
                Event::AcceptFailed { error, .. } => Some(error.clone()),
                _ => None,
            })
            .await;
            assert!(text.contains("whole messages"), "{text}");
            assert_eq!(socket.stats().handshakes, 0);
        }
    }
}

#[tokio::test]
async fn a_password_does_not_follow_localhost_off_the_machine() {
    static LEAKED: AtomicBool = AtomicBool::new(false);
    fn stream() -> Link {
        let (near, far) = tokio::io::duplex(1 << 16);
        tokio::spawn(async move {
            let mut far = far;
            let mut byte = [0];
            if far.read(&mut byte).await.is_ok_and(|count| count > 0) {
                LEAKED.store(true, Ordering::SeqCst);
            }
        });
        Link::Stream(Box::new(IoStream::new(near)))
    }
    let strange = || registry("tcp", "tcp://192.0.2.1:5555", stream);
    let user = PlainUser::new("ada", "lovelace");
    let push = socket_with(SocketType::Push, brisk().plain_client(user).registry(strange()));
    let mut monitor = push.monitor();
    push.connect("tcp://localhost:5555").expect("it may be here");
    let (_, why, text) = failed_handshake(&mut monitor).await;
    assert_eq!(why, HandshakeFailure::Unprotected);
    assert!(text.contains("192.0.2.1"), "{text}");
    assert_eq!(push.stats().handshakes, 0);

    let users = PlainServer::new().user("ada", "lovelace");
    let pull = socket_with(SocketType::Pull, brisk().plain_server(users).registry(strange()));
    let error = within("bind", pull.bind("tcp://localhost:5555")).await;
    assert!(matches!(error, Err(BindError::ClearText { .. })), "{error:?}");
    assert!(!LEAKED.load(Ordering::SeqCst), "not one byte");
}
