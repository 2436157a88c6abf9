//! CURVE between sockets of our own, and with somebody who changes what travels.

use std::time::Duration;

use flexbond_session::socket::{
    CurveAllow, CurveClient, DenyStatus, HandshakeFailure, KeyPair, Monitor, Socket, SocketType,
    XpubVerbosity,
};
use flexbond_session::{Endpoint, Frame, Message};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::harness::{
    bind, brisk, denied, disconnected, failed_handshake, peers, ready_peers, recv, send, socket_with, until,
    within,
};
use crate::raw::{Raw, command, greeting};
use crate::{client_of, keys};

#[tokio::test]
async fn curve_carries_messages_of_every_kind_over_tcp_and_ipc() {
    for scheme in ["tcp://127.0.0.1:0", "ipc://*"] {
        let server = keys();
        let bound = socket_with(SocketType::Router, brisk().curve_server(server.clone()));
        let endpoint = within("bind", bound.bind(scheme)).await.expect("free");
        let dealer = socket_with(SocketType::Dealer, client_of(&server).routing_id("me"));
        dealer.connect(endpoint).expect("a good endpoint");
        for parts in [
            vec![0],
            vec![10, 0, 300],
            vec![4063, 4064, 32_735, 32_736],
            vec![300_000, 3, 100_000],
        ] {
            let message: Message = parts.iter().map(|len| Frame::from(vec![7; *len])).collect();
            send(&dealer, message.clone()).await;
            let request = recv(&bound).await;
            assert_eq!(&request[0][..], b"me");
            assert_eq!(request.len(), 1 + parts.len());
            send(&bound, request).await;
            assert_eq!(recv(&dealer).await, message, "{scheme} {parts:?}");
        }
    }
}

#[tokio::test]
async fn a_curve_message_larger_than_the_first_buffer_for_it_arrives() {
    let server = keys();
    let pull = socket_with(SocketType::Pull, brisk().curve_server(server.clone()));
    let push = socket_with(SocketType::Push, client_of(&server));
    push.connect(bind(&pull).await).expect("a good endpoint");
    let message = Message::from(vec![5; (4 << 20) + 1]);
    send(&push, message.clone()).await;
    assert_eq!(recv(&pull).await, message);
}

/// Each peer that does not read has the messages, which it shares with the others, and no more sealed than was to be
/// written soon.
#[tokio::test]
async fn what_is_sealed_for_peers_that_do_not_read_is_little_and_counts() {
    const SIZE: usize = 256 << 10;
    const COUNT: usize = 20;
    const PEERS: usize = 3;
    let server = keys();
    let options = brisk().curve_server(server.clone()).send_buffer(65_536);
    let options = options
        .unsent_buffer(65_536)
        .xpub_verbosity(XpubVerbosity::Verbose);
    let publisher = socket_with(SocketType::XPub, options);
    let endpoint = bind(&publisher).await;
    let mut stalled = Vec::new();
    for _ in 0..PEERS {
        let options = client_of(&server).recv_hwm(1).recv_buffer(4096);
        let sub = socket_with(SocketType::Sub, options);
        sub.subscribe("").expect("a SUB");
        sub.connect(&endpoint).expect("a good endpoint");
        assert_eq!(recv(&publisher).await, Message::from("\u{1}"));
        stalled.push(sub);
    }
    for _ in 0..COUNT {
        send(&publisher, vec![7; SIZE]).await;
    }
    // Two at the peer, and the next under way.
    until("all to stand still", || {
        publisher
            .peers()
            .iter()
            .all(|peer| peer.queued as usize <= COUNT - 2)
    })
    .await;
    for peer in publisher.peers() {
        let waiting = peer.queued as usize * SIZE;
        let sealed = (peer.queued_bytes as usize).saturating_sub(waiting);
        assert!((1..=SIZE + (129 << 10)).contains(&sealed), "{peer:?}");
    }
    let queued = publisher.stats().queued_bytes as usize;
    let shared = (COUNT - 4) * SIZE..=COUNT * SIZE;
    assert!(queued >= *shared.start(), "{queued}: what waits for all is there");
    assert!(
        queued <= *shared.end() + PEERS * (SIZE + (256 << 10)),
        "{queued}: once, and a little for each"
    );
    drop(stalled);
    peers(&publisher, 0).await;
    until("an empty account", || publisher.stats().queued_bytes == 0).await;
}

#[tokio::test]
async fn topics_and_heartbeats_work_under_curve() {
    let server = keys();
    let beat = Duration::from_millis(20);
    let options = brisk().heartbeat_interval(beat).heartbeat_timeout(beat * 100);
    let publisher = socket_with(SocketType::XPub, options.curve_server(server.clone()));
    let endpoint = bind(&publisher).await;
    let subscriber = socket_with(SocketType::Sub, client_of(&server).heartbeat_interval(beat));
    subscriber.subscribe("a").expect("a SUB subscribes");
    subscriber.connect(endpoint).expect("a good endpoint");
    assert_eq!(recv(&publisher).await, Message::from(b"\x01a"));
    send(&publisher, "no").await;
    send(&publisher, "another").await;
    assert_eq!(recv(&subscriber).await, Message::from("another"));
    subscriber.unsubscribe("a").expect("it did subscribe");
    assert_eq!(recv(&publisher).await, Message::from(b"\x00a"));
    // PINGs add to what a peer is sent, and nothing else does here.
    assert_eq!((ready_peers(&publisher), subscriber.stats().reconnects), (1, 0));
}

#[tokio::test]
async fn messages_wait_for_a_curve_server_and_survive_its_restart() {
    let server = keys();
    let first = socket_with(SocketType::Pull, brisk().curve_server(server.clone()));
    let endpoint = bind(&first).await;
    let push = socket_with(SocketType::Push, client_of(&server));
    push.connect(endpoint.clone()).expect("a good endpoint");
    peers(&push, 1).await;
    within("close", first.close()).await;
    peers(&push, 0).await;
    send(&push, "later").await;
    let second = socket_with(SocketType::Pull, brisk().curve_server(server));
    within("bind", second.bind(endpoint)).await.expect("free again");
    assert_eq!(recv(&second).await, Message::from("later"));
}

#[tokio::test]
async fn a_wrong_server_key_shows_at_both_ends() {
    let bound = socket_with(SocketType::Pull, brisk().curve_server(keys()));
    let endpoint = bind(&bound).await;
    let push = socket_with(SocketType::Push, client_of(&keys()));
    let mut monitors = (bound.monitor(), push.monitor());
    push.connect(endpoint).expect("a good endpoint");
    let (from, why, text) = failed_handshake(&mut monitors.0).await;
    assert_eq!(why, HandshakeFailure::Key, "{text}");
    assert_eq!(from.scheme(), "tcp");
    let (_, why, text) = failed_handshake(&mut monitors.1).await;
    assert_eq!(why, HandshakeFailure::Closed);
    assert!(text.contains("CURVE"), "{text}");
    assert_eq!((ready_peers(&bound), ready_peers(&push)), (0, 0));
}

#[tokio::test]
async fn keys_on_the_list_get_in_as_their_users_and_no_others() {
    let (server, ada, eve) = (keys(), keys(), keys());
    let allowed = CurveAllow::new();
    allowed.allow(*ada.public(), "ada");
    let options = brisk().curve_server(server.clone());
    let bound = socket_with(SocketType::Pull, options.authenticator(allowed.clone()));
    let mut monitor = bound.monitor();
    let endpoint = bind(&bound).await;
    let push = |keys: &KeyPair| {
        let client = CurveClient::new(*server.public(), keys.clone());
        socket_with(SocketType::Push, brisk().curve_client(client))
    };
    let first = push(&ada);
    first.connect(endpoint.clone()).expect("a good endpoint");
    send(&first, "hello").await;
    let (_, peer) = within("a message", bound.recv_from()).await.expect("received");
    assert_eq!(peer.user_id(), Some("ada"));

    let other = push(&eve);
    let mut at_other = other.monitor();
    other.connect(endpoint.clone()).expect("a good endpoint");
    let (_, why, text) = failed_handshake(&mut monitor).await;
    assert_eq!(denied(&why), Some(DenyStatus::Refused), "{text}");
    assert!(
        text.contains(&eve.public().to_string()) && text.contains("400"),
        "{text}"
    );
    let (_, why, _) = failed_handshake(&mut at_other).await;
    assert!(matches!(why, HandshakeFailure::Refused { reason, .. } if reason == "400"));

    allowed.allow(*eve.public(), "eve");
    send(&other, "now").await;
    let (_, peer) = within("a message", bound.recv_from()).await.expect("received");
    assert_eq!(peer.user_id(), Some("eve"));
    assert!(allowed.revoke(eve.public()) && !allowed.revoke(eve.public()));
}

/// What becomes of the frame of this number.
type Rules = fn(usize, &[u8]) -> Vec<u8>;

/// Stands between a client and its server, and hands on what the client says by its own rules.
pub(crate) async fn between(
    server: Endpoint,
    mut rules: impl FnMut(usize, &[u8]) -> Vec<u8> + Send + 'static,
) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let endpoint = format!("tcp://{}", listener.local_addr().expect("bound"));
    let address = server.to_string().replace("tcp://", "");
    tokio::spawn(async move {
        let (client, _) = listener.accept().await.expect("the client comes");
        let server = TcpStream::connect(address).await.expect("the server is there");
        let (mut from_client, mut to_client) = client.into_split();
        let (mut from_server, mut to_server) = server.into_split();
        tokio::spawn(async move { tokio::io::copy(&mut from_server, &mut to_client).await });
        // The greeting, of which each side waits for the other's beginning, then frames.
        for _ in 0..64 {
            let byte = from_client.read_u8().await.expect("a greeting");
            to_server.write_u8(byte).await.expect("it listens");
        }
        for number in 0.. {
            let mut frame = vec![0; 2];
            if from_client.read_exact(&mut frame).await.is_err() {
                break;
            }
            let mut body = vec![0; usize::from(frame[1])];
            if frame[0] & 2 != 0 {
                frame.resize(9, 0);
                from_client.read_exact(&mut frame[2..]).await.expect("a length");
                let len = u64::from_be_bytes(frame[1..9].try_into().expect("eight bytes"));
                body = vec![0; usize::try_from(len).expect("not that long")];
            }
            from_client.read_exact(&mut body).await.expect("a body");
            frame.extend_from_slice(&body);
            if to_server.write_all(&rules(number, &frame)).await.is_err() {
                break;
            }
        }
    });
    endpoint
}

/// A server, what happens to it, and a client that reaches it by way of somebody in between.
async fn attacked(rules: Rules) -> (Socket, Monitor, Socket) {
    let keys = keys();
    let bound = socket_with(SocketType::Pull, brisk().curve_server(keys.clone()));
    let monitor = bound.monitor();
    let endpoint = between(bind(&bound).await, rules).await;
    let push = socket_with(SocketType::Push, client_of(&keys).reconnect_interval(None));
    push.connect(endpoint).expect("a good endpoint");
    (bound, monitor, push)
}

#[tokio::test]
async fn somebody_in_between_can_do_nothing_but_end_it() {
    // Frames 0 and 1 are HELLO and INITIATE.
    let cases: [(&str, Rules); 5] = [
        ("missing", |number, frame| frame.repeat(usize::from(number != 3))),
        ("repeated", |number, frame| {
            frame.repeat(if number == 3 { 2 } else { 1 })
        }),
        ("authentic", |number, frame| {
            let mut frame = frame.to_vec();
            if number == 3 {
                *frame.last_mut().expect("not empty") ^= 1;
            }
            frame
        }),
        ("not sealed", |number, frame| match number {
            3 => b"\0\x28an order that the client has never given".to_vec(),
            _ => frame.to_vec(),
        }),
        ("too short", |number, frame| match number {
            3 => b"\0\x09\x07MESSAGE!".to_vec(),
            _ => frame.to_vec(),
        }),
    ];
    for (expected, rules) in cases {
        let (bound, mut monitor, push) = attacked(rules).await;
        for text in ["first", "second", "third"] {
            send(&push, text).await;
        }
        let text = disconnected(&mut monitor).await;
        assert!(text.contains(expected), "{expected}: {text}");
        assert_eq!(recv(&bound).await, Message::from("first"));
        let second = bound.try_recv().ok();
        assert!(second.is_none_or(|message| message == Message::from("second")));
        assert!(bound.try_recv().is_err());
    }
}

#[tokio::test]
async fn a_changed_handshake_gets_nobody_in() {
    let cases: [Rules; 3] = [
        |number, frame| {
            let mut frame = frame.to_vec();
            frame[20 + 80] ^= u8::from(number == 0);
            frame
        },
        |number, frame| {
            let mut frame = frame.to_vec();
            frame[20 + 80] ^= u8::from(number == 1);
            frame
        },
        |_, frame| frame.repeat(2),
    ];
    for rules in cases {
        let (bound, mut monitor, _push) = attacked(rules).await;
        failed_handshake(&mut monitor).await;
        assert_eq!(ready_peers(&bound), 0);
    }
}

#[tokio::test]
async fn handshakes_that_stop_anywhere_end() {
    let options = brisk().handshake_timeout(Duration::from_millis(100));
    let bound = socket_with(SocketType::Pull, options.curve_server(keys()));
    let endpoint = bind(&bound).await;
    let mut monitor = bound.monitor();
    let mut hello = greeting(1, "CURVE");
    hello.extend(command("HELLO", &[0; 194]));
    for len in [0, 1, 10, 63, 64, 66, 72, 100, hello.len() - 1] {
        let mut peer = Raw::connect(&endpoint).await;
        peer.send(&hello[..len]).await;
        drop(peer);
        let (_, why, _) = failed_handshake(&mut monitor).await;
        assert!(
            matches!(why, HandshakeFailure::Closed | HandshakeFailure::Other),
            "{why:?} after {len}"
        );
        let mut silent = Raw::connect(&endpoint).await;
        silent.send(&hello[..len]).await;
        let (_, why, _) = failed_handshake(&mut monitor).await;
        assert_eq!(why, HandshakeFailure::Timeout, "after {len}");
        silent.ended().await;
    }
    // Whole, and of the wrong length, content or place.
    for (name, body) in [
        ("HELLO", vec![0; 194]),
        ("HELLO", vec![1; 193]),
        ("HELLO", vec![1; 195]),
        ("HELLO", Vec::new()),
        ("INITIATE", vec![1; 248]),
        ("READY", Vec::new()),
        ("MESSAGE", vec![0; 40]),
    ] {
        let mut peer = Raw::connect(&endpoint).await;
        let mut bytes = greeting(1, "CURVE");
        bytes.extend(command(name, &body));
        peer.send(&bytes).await;
        let (_, why, text) = failed_handshake(&mut monitor).await;
        assert_eq!(why, HandshakeFailure::Other, "{text}");
        peer.ended().await;
    }
    until("nobody left", || bound.peers().is_empty()).await;
}
