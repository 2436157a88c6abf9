//! The handshake and the heartbeat, byte for byte, with a peer made of bytes.

mod harness;
mod raw;

use std::time::{Duration, Instant};

use flexbond_session::Message;
use flexbond_session::socket::{Monitor, Options, PlainServer, PlainUser, ReconnectStop, Socket, SocketType};
use flexbond_wire::zmtp::Version;
use harness::{
    bind, brisk, disconnected, event, handshake_failed, peers, ready_peers, recv, send, socket, socket_with,
};
use raw::{COMMAND, MORE, Raw, command, frame, greeting, listen, message, ready};

#[tokio::test]
async fn a_peer_of_3_1_talks_in_both_bind_directions() {
    let bound = socket(SocketType::Dealer);
    let mut peer = Raw::connect(&bind(&bound).await).await;
    let greeting = peer.greet(1).await;
    assert_eq!(greeting[11], 1, "minor version");
    assert_eq!(&greeting[12..32], b"NULL\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0");
    assert_eq!(greeting[32..64], [0; 32], "as-server and filler");
    peer.send(&ready("DEALER", &[])).await;
    let (name, properties) = peer.recv_command().await;
    assert_eq!(name, "READY");
    assert_eq!(properties, b"\x0bSocket-Type\0\0\0\x06DEALER\x08Identity\0\0\0\0");
    send(&bound, ["a", "", "b"]).await;
    assert_eq!(peer.recv(8).await, b"\x01\x01a\x01\x00\x00\x01b");
    peer.send(b"\x01\x01c\x00\x00").await;
    assert_eq!(recv(&bound).await, Message::from(["c", ""]));

    let (listener, endpoint) = listen().await;
    let connected = socket(SocketType::Dealer);
    connected.connect(endpoint).unwrap();
    let mut peer = Raw::accept(&listener).await;
    peer.handshake("ROUTER").await;
    peers(&connected, 1).await;
    assert_eq!(connected.peers()[0].peer.version(), Some(Version::V3_1));
    assert_eq!(connected.peers()[0].peer.socket_type(), Some(SocketType::Router));
    send(&connected, "x").await;
    assert_eq!(peer.recv_message().await, Message::from("x"));
}

#[tokio::test]
async fn our_ready_does_not_wait_for_theirs() {
    let bound = socket(SocketType::Pull);
    let mut peer = Raw::connect(&bind(&bound).await).await;
    peer.greet(1).await;
    assert_eq!(peer.recv_command().await.0, "READY");
}

#[tokio::test]
async fn the_greeting_is_not_validated_where_libzmq_does_not() {
    let bound = socket(SocketType::Pull);
    let mut peer = Raw::connect(&bind(&bound).await).await;
    let mut odd = greeting(9, "NULL");
    odd[1..9].copy_from_slice(&[1, 2, 3, 4, 5, 6, 7, 8]);
    odd[10] = 7; // a revision yet to come
    odd[32] = 1; // as-server
    odd[40..64].fill(0xAA);
    peer.send(&odd).await;
    peer.recv(64).await;
    peer.send(&ready("push", &[])).await; // no peer says it in lower case: refused like any unknown type, or taken
    peer.recv_command().await;

    let mut peer = Raw::connect(&bind(&bound).await).await;
    peer.send(&odd).await;
    peer.recv(64).await;
    // Names of properties are read without regard to case.
    peer.send(&command(
        "READY",
        b"\x0bsocket-type\0\0\0\x04PUSH\x08IDENTITY\0\0\0\x00",
    ))
    .await;
    peer.recv_command().await;
    peer.send(&message("in")).await;
    assert_eq!(recv(&bound).await, Message::from("in"));
}

#[tokio::test]
async fn a_peer_of_3_0_gets_subscriptions_as_messages() {
    for minor in [0, 1] {
        let sub = socket(SocketType::Sub);
        sub.subscribe("early").unwrap();
        let mut peer = Raw::connect(&bind(&sub).await).await;
        peer.handshake_with(minor, "PUB", &[]).await;
        let early = peer.recv_frame().await;
        peers(&sub, 1).await;
        sub.subscribe("late").unwrap();
        let late = peer.recv_frame().await;
        sub.unsubscribe("late").unwrap();
        let cancel = peer.recv_frame().await;
        let got = [early, late, cancel].map(|frame| (frame.flags, frame.body));
        let expected: [(u8, &[u8]); 3] = if minor == 0 {
            [(0, b"\x01early"), (0, b"\x01late"), (0, b"\x00late")]
        } else {
            [
                (COMMAND, b"\x09SUBSCRIBEearly"),
                (COMMAND, b"\x09SUBSCRIBElate"),
                (COMMAND, b"\x06CANCELlate"),
            ]
        };
        assert_eq!(
            got,
            expected.map(|(flags, body)| (flags, body.to_vec())),
            "minor version {minor}"
        );
    }
}

#[tokio::test]
async fn subscriptions_are_taken_in_both_forms_from_anyone() {
    for minor in [0, 1] {
        let xpub = socket(SocketType::XPub);
        let mut peer = Raw::connect(&bind(&xpub).await).await;
        peer.handshake_with(minor, "SUB", &[]).await;
        peer.send(&message(b"\x01old")).await;
        assert_eq!(recv(&xpub).await, Message::from(b"\x01old"));
        peer.send(&command("SUBSCRIBE", b"new")).await;
        assert_eq!(recv(&xpub).await, Message::from(b"\x01new"));
        send(&xpub, "neither").await;
        send(&xpub, "old one").await;
        send(&xpub, "new one").await;
        assert_eq!(peer.recv_message().await, Message::from("old one"));
        assert_eq!(peer.recv_message().await, Message::from("new one"));
        peer.send(&message(b"\x00old")).await;
        assert_eq!(recv(&xpub).await, Message::from(b"\x00old"));
        peer.send(&command("CANCEL", b"new")).await;
        assert_eq!(recv(&xpub).await, Message::from(b"\x00new"));
    }
}

/// Greets like ØMQ 3.2: ten bytes first, then the rest once the other side's revision is known.
async fn greet_2_0(peer: &mut Raw, socket_type: SocketType, identity: &[u8]) {
    peer.send(b"\xFF\0\0\0\0\0\0\0\x01\x7F").await;
    let theirs = peer.recv(11).await;
    assert_eq!((theirs[0], theirs[9], theirs[10]), (0xFF, 0x7F, 3));
    peer.send(&[1, socket_type.code()]).await;
    peer.send(&frame(0, identity)).await;
}

#[tokio::test]
async fn a_peer_of_2_0_is_spoken_to_in_2_0() {
    let router = socket_with(SocketType::Router, brisk());
    let mut peer = Raw::connect(&bind(&router).await).await;
    greet_2_0(&mut peer, SocketType::Dealer, b"old").await;
    assert_eq!(peer.recv(1).await, [SocketType::Router.code()]);
    assert_eq!(peer.recv_frame().await.body, b"", "the identity of the ROUTER");
    peer.send(&message(["question", ""])).await;
    assert_eq!(recv(&router).await, Message::from(["old", "question", ""]));
    assert_eq!(router.peers()[0].peer.version(), Some(Version::V2_0));
    let long = vec![7; 300];
    send(&router, [&b"old"[..], b"answer", &long]).await;
    assert_eq!(peer.recv_message().await, Message::from([&b"answer"[..], &long]));

    let (listener, endpoint) = listen().await;
    let sub = socket(SocketType::Sub);
    sub.subscribe("topic").unwrap();
    sub.connect(endpoint).unwrap();
    let mut peer = Raw::accept(&listener).await;
    greet_2_0(&mut peer, SocketType::Pub, b"").await;
    assert_eq!(peer.recv(1).await, [SocketType::Sub.code()]);
    peer.recv_frame().await;
    assert_eq!(peer.recv_message().await, Message::from(b"\x01topic"));
    peer.send(&message("topic 2.0")).await;
    assert_eq!(recv(&sub).await, Message::from("topic 2.0"));
}

/// One frame of ZMTP 1.0: the length counts the flags byte.
fn frame_1_0(flags: u8, body: &[u8]) -> Vec<u8> {
    let size = body.len() + 1;
    let mut frame = match u8::try_from(size) {
        Ok(size @ 0..=254) => vec![size],
        _ => [&[0xFF][..], &(size as u64).to_be_bytes()].concat(),
    };
    frame.push(flags);
    frame.extend_from_slice(body);
    frame
}

#[tokio::test]
async fn an_unversioned_peer_is_spoken_to_in_1_0() {
    // What ØMQ 2.x sends first is a frame with its identity; what we send first reads as the head of one.
    for identity in [&b""[..], b"elder"] {
        let router = socket(SocketType::Router);
        let mut peer = Raw::connect(&bind(&router).await).await;
        peer.send(&frame_1_0(0, identity)).await;
        assert_eq!(
            peer.recv(10).await,
            b"\xFF\0\0\0\0\0\0\0\x01\x7F",
            "the head of an empty identity"
        );
        peer.send(&[frame_1_0(1, b"a"), frame_1_0(0, &[9; 254])].concat())
            .await;
        let request = recv(&router).await;
        assert_eq!(request.len(), 3);
        assert_eq!((&request[1], &request[2]), (&b"a"[..], &[9; 254][..]));
        if !identity.is_empty() {
            assert_eq!(&request[0], identity);
        }
        send(&router, [&request[0], &b"b"[..], &[8; 300][..]]).await;
        assert_eq!(peer.recv(3).await, frame_1_0(1, b"b"));
        assert_eq!(peer.recv(310).await, frame_1_0(0, &[8; 300]));
    }

    let (listener, endpoint) = listen().await;
    let sub = socket_with(SocketType::Sub, brisk());
    sub.subscribe("t").unwrap();
    sub.connect(endpoint).unwrap();
    let mut peer = Raw::accept(&listener).await;
    peer.send(&frame_1_0(0, b"")).await;
    peer.recv(10).await;
    assert_eq!(peer.recv(4).await, frame_1_0(0, b"\x01t"));
    peer.send(&frame_1_0(0, b"text")).await;
    assert_eq!(recv(&sub).await, Message::from("text"));
}

#[tokio::test]
async fn our_routing_id_reaches_peers_of_every_age() {
    let (listener, endpoint) = listen().await;
    let dealer = socket_with(SocketType::Dealer, brisk().routing_id(&b"me"[..]));
    dealer.connect(endpoint).unwrap();

    let mut peer = Raw::accept(&listener).await;
    assert_eq!(peer.recv(10).await, b"\xFF\0\0\0\0\0\0\0\x03\x7F");
    peer.send(&frame_1_0(0, b"")).await;
    assert_eq!(peer.recv(2).await, b"me");
    drop(peer);

    let mut peer = Raw::accept(&listener).await;
    greet_2_0(&mut peer, SocketType::Router, b"").await;
    peer.recv(1).await;
    assert_eq!(peer.recv_frame().await.body, b"me");
    drop(peer);

    let mut peer = Raw::accept(&listener).await;
    assert_eq!(
        peer.handshake("ROUTER").await,
        b"\x0bSocket-Type\0\0\0\x06DEALER\x08Identity\0\0\0\x02me"
    );
}

#[tokio::test]
async fn another_mechanism_ends_the_handshake() {
    let null = socket(SocketType::Pull);
    let plain = PlainServer::new().user("ada", "lovelace");
    let plain = socket_with(SocketType::Pull, brisk().plain_server(plain));
    for (bound, mechanism) in [
        (&null, "PLAIN"),
        (&null, "CURVE"),
        (&plain, "NULL"),
        (&null, "null"),
        (&null, ""),
    ] {
        let mut monitor = bound.monitor();
        let mut peer = Raw::connect(&bind(bound).await).await;
        peer.send(&greeting(1, mechanism)).await;
        let text = handshake_failed(&mut monitor).await;
        assert!(text.contains("mechanism"), "{text}");
        peer.ended().await;
        assert_eq!(ready_peers(bound), 0);
    }
}

#[tokio::test]
async fn peers_without_mechanisms_are_refused_where_one_is_demanded() {
    let users = PlainServer::new().user("ada", "lovelace");
    let bound = socket_with(SocketType::Pull, brisk().plain_server(users));
    let endpoint = bind(&bound).await;
    let mut monitor = bound.monitor();
    let mut peer = Raw::connect(&endpoint).await;
    peer.send(&frame_1_0(0, b"")).await;
    handshake_failed(&mut monitor).await;
    peer.ended().await;
    let mut peer = Raw::connect(&endpoint).await;
    peer.send(b"\xFF\0\0\0\0\0\0\0\x01\x7F\x01\x08\0\0").await;
    handshake_failed(&mut monitor).await;
    peer.ended().await;
}

#[tokio::test]
async fn plain_credentials_travel_as_rfc_24_says() {
    let (listener, endpoint) = listen().await;
    let push = socket_with(
        SocketType::Push,
        brisk().plain_client(PlainUser::new("ada", "lovelace")),
    );
    push.connect(endpoint).unwrap();
    let mut peer = Raw::accept(&listener).await;
    peer.send(&greeting(1, "PLAIN")).await;
    assert_eq!(&peer.recv(64).await[12..18], b"PLAIN\0");
    assert_eq!(
        peer.recv_command().await,
        ("HELLO".to_owned(), b"\x03ada\x08lovelace".to_vec())
    );
    peer.send(&command("WELCOME", b"")).await;
    assert_eq!(peer.recv_command().await.0, "INITIATE");
    peer.send(&ready("PULL", &[])).await;
    send(&push, "secret").await;
    assert_eq!(peer.recv_message().await, Message::from("secret"));

    // An ERROR ends the attempt, and the next one says the same again.
    let mut monitor = push.monitor();
    drop(peer);
    let mut peer = Raw::accept(&listener).await;
    peer.send(&greeting(1, "PLAIN")).await;
    peer.recv(64).await;
    peer.recv_command().await;
    peer.send(&command("ERROR", b"\x03400")).await;
    assert!(handshake_failed(&mut monitor).await.contains("400"));
    peer.ended().await;
    Raw::accept(&listener).await;
}

#[tokio::test]
async fn incompatible_types_are_refused() {
    for (ours, theirs) in [
        (SocketType::Pull, "PULL"),
        (SocketType::Req, "PUB"),
        (SocketType::Pub, "REP"),
        (SocketType::Pair, "DEALER"),
        (SocketType::Router, "REP"),
        (SocketType::Rep, "ROUTER"),
        (SocketType::Sub, "NONSENSE"),
        (SocketType::Push, ""),
    ] {
        let bound = socket(ours);
        let mut monitor = bound.monitor();
        let mut peer = Raw::connect(&bind(&bound).await).await;
        peer.greet(1).await;
        peer.send(&ready(theirs, &[])).await;
        handshake_failed(&mut monitor).await;
        peer.ended().await;
        assert_eq!(ready_peers(&bound), 0, "{ours} and {theirs}");
    }
}

#[tokio::test]
async fn a_handshake_that_fails_may_end_the_retries() {
    let (listener, endpoint) = listen().await;
    let mut stop = ReconnectStop::default();
    stop.handshake = true;
    let pull = socket_with(SocketType::Pull, brisk().reconnect_stop(stop));
    let mut monitor = pull.monitor();
    pull.connect(endpoint).unwrap();
    let mut peer = Raw::accept(&listener).await;
    peer.greet(1).await;
    peer.send(&ready("PUB", &[])).await;
    handshake_failed(&mut monitor).await;
    peer.ended().await;
    let again = tokio::time::timeout(Duration::from_millis(300), listener.accept()).await;
    assert!(again.is_err(), "it was told to stop");
}

#[tokio::test]
async fn a_silent_peer_times_out_with_an_event() {
    let patience = Duration::from_millis(100);
    let bound = socket_with(SocketType::Pull, brisk().handshake_timeout(patience));
    let endpoint = bind(&bound).await;
    let mut monitor = bound.monitor();
    // Silent from the start, within the greeting, and after it.
    for greeting in [&[][..], &greeting(1, "NULL")[..20], &greeting(1, "NULL")] {
        let start = Instant::now();
        let mut peer = Raw::connect(&endpoint).await;
        peer.send(greeting).await;
        let text = handshake_failed(&mut monitor).await;
        assert!(text.contains("timed out"), "{text}");
        peer.ended().await;
        assert!(start.elapsed() >= patience);
    }

    let (listener, endpoint) = listen().await;
    let connected = socket_with(SocketType::Push, brisk().handshake_timeout(patience));
    let mut monitor = connected.monitor();
    connected.connect(endpoint).unwrap();
    let mut silent = Raw::accept(&listener).await;
    handshake_failed(&mut monitor).await;
    silent.ended().await;
    // It does not give up for good.
    let mut peer = Raw::accept(&listener).await;
    peer.handshake("PULL").await;
}

#[tokio::test]
async fn ping_is_answered_with_its_context_cut_to_16_bytes() {
    let bound = socket(SocketType::Pull);
    let mut peer = Raw::connect(&bind(&bound).await).await;
    peer.handshake("PUSH").await;
    for context in [&b""[..], b"x", b"exactly 16 bytes", b"more than sixteen bytes"] {
        peer.send(&command("PING", &[&[0, 0], context].concat())).await;
        let expected = context[..context.len().min(16)].to_vec();
        assert_eq!(peer.recv_command().await, ("PONG".to_owned(), expected));
    }
    // Heartbeats may stand between messages.
    peer.send(&[message("a"), command("PING", &[0, 0]), message("b")].concat())
        .await;
    assert_eq!(recv(&bound).await, Message::from("a"));
    assert_eq!(recv(&bound).await, Message::from("b"));
}

#[tokio::test]
async fn an_unanswered_ping_ends_the_connection() {
    let beat = Duration::from_millis(50);
    let options = brisk()
        .heartbeat_interval(beat)
        .heartbeat_timeout(beat * 2)
        .heartbeat_ttl(Duration::from_millis(1500));
    let bound = socket_with(SocketType::Pull, options);
    let mut monitor = bound.monitor();
    let mut peer = Raw::connect(&bind(&bound).await).await;
    peer.handshake("PUSH").await;
    // While they are answered, all is well.
    for _ in 0..5 {
        let (name, data) = peer.recv_command().await;
        assert_eq!(
            (name.as_str(), &data[..2]),
            ("PING", &[0, 15][..]),
            "the TTL in tenths of a second"
        );
        assert!(data.len() <= 2 + 16);
        peer.send(&command("PONG", &data[2..])).await;
    }
    // Any other traffic is as good.
    for _ in 0..5 {
        assert_eq!(peer.recv_command().await.0, "PING");
        peer.send(&message("alive")).await;
        recv(&bound).await;
    }
    assert_eq!(ready_peers(&bound), 1);
    let text = disconnected(&mut monitor).await;
    assert!(text.contains("heartbeat"), "{text}");
    peer.ended().await;
    peers(&bound, 0).await;
}

#[tokio::test]
async fn the_time_to_live_of_a_ping_is_enforced() {
    let bound = socket(SocketType::Pull);
    let mut monitor = bound.monitor();
    let mut peer = Raw::connect(&bind(&bound).await).await;
    peer.handshake("PUSH").await;
    let start = Instant::now();
    peer.send(&command("PING", &[0, 2])).await;
    assert_eq!(peer.recv_command().await.0, "PONG");
    let text = disconnected(&mut monitor).await;
    assert!(
        start.elapsed() >= Duration::from_millis(200),
        "{:?}",
        start.elapsed()
    );
    assert!(text.contains("time to live"), "{text}");
    peer.ended().await;
}

#[tokio::test]
async fn the_time_to_live_starts_anew_with_every_sign_of_life() {
    let bound = socket(SocketType::Pull);
    let mut peer = Raw::connect(&bind(&bound).await).await;
    peer.handshake("PUSH").await;
    peer.send(&command("PING", &[0, 3])).await;
    let mut ticks = tokio::time::interval(Duration::from_millis(100));
    for i in 0..6_u8 {
        ticks.tick().await;
        peer.send(&message([i].as_slice())).await;
        assert_eq!(recv(&bound).await, Message::from([i].as_slice()));
    }
    assert_eq!(ready_peers(&bound), 1);
}

#[tokio::test]
async fn metadata_of_the_application_reaches_the_other_side() {
    let bound = socket_with(
        SocketType::Pull,
        brisk().metadata("X-Color", "red").metadata("X-Empty", ""),
    );
    let mut peer = Raw::connect(&bind(&bound).await).await;
    let properties: &[(&str, &[u8])] = &[("x-Shape", b"round"), ("Identity", b"id"), ("X-Bytes", b"\0\xFF")];
    let ours = peer.handshake_with(1, "PUSH", properties).await;
    let text = ours.escape_ascii().to_string();
    assert!(
        text.contains("X-Color\\x00\\x00\\x00\\x03red") && text.contains("X-Empty"),
        "{text}"
    );
    peer.send(&message("hello")).await;
    let (got, from) = harness::within("a message", bound.recv_from()).await.unwrap();
    assert_eq!(got, Message::from("hello"));
    assert_eq!(from.metadata("X-Shape"), Some(&b"round"[..]));
    assert_eq!(from.metadata("X-SHAPE"), Some(&b"round"[..]));
    assert_eq!(from.metadata("X-Bytes"), Some(&b"\0\xFF"[..]));
    assert_eq!(from.metadata("X-Other"), None);
    assert_eq!(&from.routing_id()[..], b"id");
    assert_eq!(from.socket_type(), Some(SocketType::Push));
}

#[tokio::test]
async fn events_name_the_peer() {
    let bound = socket(SocketType::Router);
    let endpoint = bind(&bound).await;
    let mut monitor = bound.monitor();
    let mut peer = Raw::connect(&endpoint).await;
    peer.handshake_with(1, "DEALER", &[("Identity", b"worker-7")])
        .await;
    let local = format!("tcp://{}", peer.stream().local_addr().unwrap());
    let ready = event(&mut monitor, "Ready", |event| match event {
        flexbond_session::socket::Event::Ready { peer, .. } => Some(peer.clone()),
        _ => None,
    })
    .await;
    assert_eq!(
        (ready.endpoint().to_string(), &ready.routing_id()[..]),
        (local.clone(), &b"worker-7"[..])
    );
    drop(peer);
    let text = disconnected(&mut monitor).await;
    assert!(text.contains("worker-7") && text.contains(&local), "{text}");
}

#[tokio::test]
async fn frames_of_a_message_may_come_in_the_long_form() {
    let bound = socket(SocketType::Pull);
    let mut peer = Raw::connect(&bind(&bound).await).await;
    peer.handshake("PUSH").await;
    peer.send(
        &[
            &[MORE | raw::LONG, 0, 0, 0, 0, 0, 0, 0, 2][..],
            b"ab",
            &[raw::LONG, 0, 0, 0, 0, 0, 0, 0, 0],
        ]
        .concat(),
    )
    .await;
    assert_eq!(recv(&bound).await, Message::from(["ab", ""]));
}

#[tokio::test]
async fn a_slow_reader_of_a_large_message_is_not_taken_for_dead() {
    const SIZE: usize = 24 << 20;
    let beat = Duration::from_millis(200);
    let options = brisk()
        .heartbeat_interval(beat)
        .heartbeat_timeout(2 * beat)
        .send_buffer(65_536);
    let push = socket_with(SocketType::Push, options);
    let mut raw = Raw::connect(&bind(&push).await).await;
    raw.handshake("PULL").await;
    peers(&push, 1).await;
    send(&push, vec![7; SIZE]).await;
    // Takes longer than the peer may be silent, but at no time is there no progress for so long.
    let start = Instant::now();
    let mut read = raw.recv(9).await.len();
    while read < SIZE {
        let part = (SIZE + 9 - read).min(1 << 20);
        raw.recv(part).await;
        read += part;
        tokio::time::sleep(beat / 5).await;
    }
    assert!(start.elapsed() > 2 * beat);
}

/// A PUSH whose raw peer reads nothing, once it has sent all that the system takes, with its monitor; and how many
/// messages these are.
async fn stalled(options: Options) -> (Socket, Monitor, Raw, usize) {
    let push = socket_with(SocketType::Push, options.send_hwm(1_usize).send_buffer(65_536));
    let monitor = push.monitor();
    let mut raw = Raw::connect(&bind(&push).await).await;
    raw.handshake("PULL").await;
    peers(&push, 1).await;
    let mut sent = 0;
    // Full for longer than it takes the system to hand bytes on.
    while let Ok(result) = tokio::time::timeout(Duration::from_millis(200), push.send(vec![7; LARGE])).await {
        result.unwrap();
        sent += 1;
    }
    (push, monitor, raw, sent)
}

const LARGE: usize = 1 << 20;

#[tokio::test]
async fn a_peer_that_does_not_read_what_waits_is_slow_and_not_dead() {
    let beat = Duration::from_millis(20);
    let options = brisk().heartbeat_interval(beat).heartbeat_timeout(beat);
    let (_push, mut monitor, mut raw, sent) = stalled(options).await;
    // Long after its silence would have been its end.
    let ended = tokio::time::timeout(50 * beat, disconnected(&mut monitor)).await;
    assert!(ended.is_err(), "{ended:?}");
    for _ in 0..sent {
        // The PINGs stand between.
        loop {
            let frame = raw.recv_frame().await;
            if frame.flags & COMMAND == 0 {
                assert_eq!(frame.body.len(), LARGE);
                break;
            }
        }
    }
    // All has left: from now on its silence counts.
    let text = disconnected(&mut monitor).await;
    assert!(text.contains("heartbeat"), "{text}");
}

#[tokio::test]
async fn nor_is_it_waited_for_without_end() {
    let beat = Duration::from_millis(20);
    let limit = Duration::from_millis(300);
    let options = brisk().heartbeat_interval(beat).stall_timeout(limit);
    let (_push, mut monitor, _raw, _) = stalled(options).await;
    let text = disconnected(&mut monitor).await;
    assert!(text.contains("heartbeat"), "{text}");
}

#[tokio::test]
async fn options_out_of_bounds_are_named() {
    let error = Options::new().routing_id(vec![1; 256]).validate().unwrap_err();
    assert!(error.to_string().contains("routing_id"), "{error}");
}
