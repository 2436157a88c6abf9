//! The mechanism CURVE: what passes, and what an attacker on the way can do.

mod support;

use std::sync::Arc;
use std::time::{Duration, Instant};

use flexbond_transport::{Frame, Message};
use flexbond_wire::zmtp::curve::{KeyPair, PublicKey, SecretKey};
use flexbond_wire::zmtp::{
    Config, Connection, Credentials, Event, Heartbeat, ProtocolError, Randomness, Security, SocketType,
    Verdict,
};
use proptest::prelude::*;
use support::{config, drain, feed, poll, settle};

fn keys(byte: u8) -> KeyPair {
    KeyPair::from(SecretKey::from_bytes([byte; 32]))
}

fn connect(kind: SocketType, security: Security, chance: u8) -> Connection {
    connect_with(config(kind), security, chance)
}

fn connect_with(mut config: Config, security: Security, chance: u8) -> Connection {
    config.security = security;
    config.validate().expect("a sound configuration");
    let randomness = Randomness::new(std::array::from_fn(|index| chance.wrapping_add(index as u8)));
    Connection::with_randomness(Arc::new(config), randomness, Instant::now())
}

fn client_of(server: &KeyPair) -> Security {
    Security::CurveClient {
        server: *server.public(),
        keys: keys(2),
    }
}

fn server() -> Security {
    Security::CurveServer { keys: keys(1) }
}

/// A client and its server, before the first byte.
fn strangers() -> (Connection, Connection) {
    (
        connect(SocketType::Dealer, client_of(&keys(1)), 100),
        connect(SocketType::Router, server(), 200),
    )
}

/// A client and its server, ready.
fn pair() -> (Connection, Connection) {
    let (mut client, mut server) = strangers();
    let (left, right) = settle(&mut client, &mut server, Instant::now());
    left.expect("the client is content");
    right.expect("the server is content");
    assert!(client.is_ready() && server.is_ready());
    (client, server)
}

/// One thing that one side said.
struct Said {
    by_client: bool,
    bytes: Vec<u8>,
}

/// What an undisturbed handshake consists of, in order: greetings in two parts, then one command at a time.
fn handshake() -> Vec<Said> {
    let (mut client, mut server) = strangers();
    let mut said = Vec::new();
    loop {
        let before = said.len();
        for by_client in [true, false] {
            let (from, to) = match by_client {
                true => (&mut client, &mut server),
                false => (&mut server, &mut client),
            };
            let bytes = drain(from);
            if bytes.is_empty() {
                continue;
            }
            for event in feed(to, &bytes, Instant::now()).expect("content") {
                if matches!(event, Event::Authenticate(_)) {
                    to.handle_verdict(Verdict::Allow { user_id: None });
                    assert!(poll(to, Instant::now()).is_ok());
                }
            }
            said.push(Said { by_client, bytes });
        }
        if said.len() == before {
            assert!(client.is_ready() && server.is_ready());
            return said;
        }
    }
}

#[test]
fn commands_have_the_lengths_of_the_specification() {
    let commands: Vec<_> = handshake()
        .into_iter()
        .filter(|said| said.bytes[0] & 4 != 0 && said.bytes[0] != 0xff)
        .map(|said| {
            let body = match said.bytes[0] & 2 {
                0 => &said.bytes[2..],
                _ => &said.bytes[9..],
            };
            let name = body[1..=usize::from(body[0])].to_vec();
            (said.by_client, String::from_utf8(name).expect("text"), body.len())
        })
        .collect();
    let properties = |kind: &str| 12 + 4 + kind.len() + 9 + 4;
    let expected = [
        (true, "HELLO", 200),
        (false, "WELCOME", 168),
        (true, "INITIATE", 257 + properties("DEALER")),
        (false, "READY", 30 + properties("ROUTER")),
    ];
    let expected: Vec<_> = expected
        .into_iter()
        .map(|(by_client, name, len)| (by_client, name.to_owned(), len))
        .collect();
    assert_eq!(commands, expected);
}

#[test]
fn the_server_learns_which_key_the_client_has_and_both_learn_their_properties() {
    let (mut client, mut server) = strangers();
    let (_, at_server) = settle(&mut client, &mut server, Instant::now());
    let public_key = *keys(2).public();
    assert_eq!(
        at_server.expect("content")[0],
        Event::Authenticate(Credentials::Curve { public_key })
    );
    let peer = server.peer().expect("ready");
    assert_eq!(
        (peer.mechanism.as_str(), peer.socket_type),
        ("CURVE", Some(SocketType::Dealer))
    );
    assert_eq!(peer.user_id.as_deref(), Some("admin"), "as the verdict said");
    assert_eq!(
        client.peer().expect("ready").socket_type,
        Some(SocketType::Router)
    );
}

#[test]
fn nothing_of_a_message_shows_on_the_way() {
    let (mut client, mut server) = pair();
    client.send(&Message::from(["attack", "at dawn"]));
    let bytes = drain(&mut client);
    for word in [&b"attack"[..], b"at dawn"] {
        assert!(!bytes.windows(word.len()).any(|window| window == word));
    }
    // Two frames, no flags outside, the number in clear.
    assert_eq!(bytes[..10], *b"\0\x27\x07MESSAGE");
    assert_eq!(bytes[10..18], 3_u64.to_be_bytes(), "after HELLO and INITIATE");
    let events = feed(&mut server, &bytes, Instant::now()).expect("content");
    assert_eq!(events, [Event::Message(Message::from(["attack", "at dawn"]))]);
}

#[test]
fn the_same_message_never_looks_the_same() {
    let (mut client, _) = pair();
    let mut said = Vec::new();
    for _ in 0..2 {
        client.send(&Message::from("again"));
        said.push(drain(&mut client)[18..].to_vec());
    }
    assert_ne!(said[0], said[1]);
}

#[test]
fn a_client_with_the_key_of_another_server_is_refused_before_anything_is_kept() {
    let mut client = connect(SocketType::Dealer, client_of(&keys(7)), 100);
    let mut server = connect(SocketType::Router, server(), 200);
    let (at_client, at_server) = settle(&mut client, &mut server, Instant::now());
    assert_eq!(at_client, Ok(Vec::new()), "it is told nothing");
    let error = at_server.expect_err("refused");
    assert!(
        matches!(error, ProtocolError::Unauthentic { what } if what.starts_with("HELLO")),
        "{error}"
    );
    assert!(error.is_security());
}

#[test]
fn mechanisms_that_differ_are_seen_by_both() {
    for other in [Security::Null, Security::NullServer, Security::PlainServer] {
        let mut client = connect(SocketType::Dealer, client_of(&keys(1)), 100);
        let mut other = connect(SocketType::Router, other, 200);
        let (left, right) = settle(&mut client, &mut other, Instant::now());
        for error in [left, right].map(|report| report.expect_err("they differ")) {
            assert!(
                matches!(error, ProtocolError::MechanismMismatch { .. }),
                "{error}"
            );
        }
    }
    let mut client = connect(SocketType::Dealer, Security::Null, 100);
    let mut server = connect(SocketType::Router, server(), 200);
    let (left, right) = settle(&mut client, &mut server, Instant::now());
    assert!(left.is_err() && right.is_err());
}

#[test]
fn two_servers_or_two_clients_never_get_ready() {
    for securities in [[server(), server()], [client_of(&keys(1)), client_of(&keys(1))]] {
        let [mut left, mut right] = securities.map(|security| connect(SocketType::Dealer, security, 5));
        let _ = settle(&mut left, &mut right, Instant::now());
        assert!(!left.is_ready() && !right.is_ready());
    }
}

#[test]
fn whoever_is_denied_is_told_a_status_and_whoever_is_dismissed_nothing() {
    for (verdict, told) in [
        (Verdict::Deny { reason: "400".into() }, true),
        (Verdict::Dismiss { reason: "300".into() }, false),
    ] {
        let (mut client, mut server) = strangers();
        let now = Instant::now();
        let mut asked = false;
        for _ in 0..5 {
            let bytes = drain(&mut client);
            let events = feed(&mut server, &bytes, now).expect("content");
            if events.iter().any(|event| matches!(event, Event::Authenticate(_))) {
                asked = true;
                break;
            }
            let bytes = drain(&mut server);
            feed(&mut client, &bytes, now).expect("content");
        }
        assert!(asked);
        server.handle_verdict(verdict);
        assert!(matches!(
            server.poll_event(now),
            Err(ProtocolError::Denied { .. })
        ));
        let bytes = drain(&mut server);
        assert_eq!(bytes.is_empty(), !told);
        let error = feed(&mut client, &bytes, now);
        if told {
            assert_eq!(error, Err(ProtocolError::PeerError { reason: "400".into() }));
        }
        assert!(!client.is_ready());
    }
}

/// The handshake so far as `said`, then this client meets an ERROR.
fn refused_after(said: &[Said]) -> ProtocolError {
    let (mut client, _) = strangers();
    for part in said {
        drain(&mut client);
        if !part.by_client {
            feed(&mut client, &part.bytes, Instant::now()).expect("content");
        }
    }
    feed(&mut client, b"\x04\x0a\x05ERROR\x03400", Instant::now()).expect_err("an ERROR ends it")
}

#[test]
fn a_refusal_before_the_server_has_proved_to_be_it_is_none() {
    let said = handshake();
    let welcome = said.len() - 3;
    assert!(!said[welcome].by_client);
    let error = refused_after(&said[..welcome]);
    assert!(matches!(error, ProtocolError::Malformed { .. }), "{error}");
    assert!(!error.is_security());
    let error = refused_after(&said[..=welcome]);
    assert_eq!(error, ProtocolError::PeerError { reason: "400".into() });
}

#[test]
fn the_key_of_a_cookie_is_kept_for_a_minute_even_if_the_handshake_may_take_for_ever() {
    let mut config = config(SocketType::Router);
    config.handshake_timeout = None;
    let mut server = connect_with(config, server(), 200);
    let now = Instant::now();
    let said = handshake();
    let hello = said.len() - 4;
    for part in said[..hello].iter().filter(|part| part.by_client) {
        feed(&mut server, &part.bytes, now).expect("content");
    }
    assert_eq!(server.poll_timeout(), None, "nothing is kept");
    assert!(!server.heard_command());
    feed(&mut server, &said[hello].bytes, now).expect("content");
    assert!(server.heard_command());
    let minute = now + Duration::from_secs(60);
    assert_eq!(server.poll_timeout(), Some(minute));
    // What comes meanwhile does not make it longer.
    let later = now + Duration::from_secs(30);
    feed(&mut server, &said[hello + 2].bytes[..9], later).expect("content");
    assert_eq!(server.poll_timeout(), Some(minute));
    assert_eq!(
        server.handle_timeout(minute),
        Err(ProtocolError::HandshakeTimeout)
    );
}

#[test]
fn without_randomness_there_is_no_connection() {
    for security in [server(), client_of(&keys(1))] {
        let mut config = config(SocketType::Dealer);
        config.security = security;
        let mut connection = Connection::new(Arc::new(config), Instant::now());
        let error = feed(&mut connection, &handshake_greeting(), Instant::now());
        assert_eq!(error, Err(ProtocolError::NoRandomness));
    }
}

fn handshake_greeting() -> Vec<u8> {
    let said = handshake();
    said.iter()
        .filter(|said| said.by_client)
        .flat_map(|said| said.bytes.clone())
        .take(64)
        .collect()
}

#[test]
fn a_server_key_that_every_key_agrees_with_is_refused() {
    let security = Security::CurveClient {
        server: PublicKey::from_bytes([0; 32]),
        keys: keys(2),
    };
    let mut client = connect(SocketType::Dealer, security, 1);
    let error = feed(&mut client, &handshake_greeting(), Instant::now()).expect_err("refused");
    assert!(matches!(error, ProtocolError::Unauthentic { .. }), "{error}");
}

/// Plays the handshake to new peers, with one part of it changed; whether both got ready.
fn play(said: &[Said], change: impl Fn(usize, &[u8]) -> Vec<u8>) -> bool {
    let (mut client, mut server) = strangers();
    let now = Instant::now();
    for (index, part) in said.iter().enumerate() {
        let (from, to) = match part.by_client {
            true => (&mut client, &mut server),
            false => (&mut server, &mut client),
        };
        drain(from);
        match feed(to, &change(index, &part.bytes), now) {
            Ok(events) => {
                if events.iter().any(|event| matches!(event, Event::Authenticate(_))) {
                    to.handle_verdict(Verdict::Allow { user_id: None });
                    let _ = poll(to, Instant::now());
                }
            }
            Err(_) => return false,
        }
    }
    client.is_ready() && server.is_ready()
}

#[test]
fn no_byte_of_a_handshake_can_be_changed_or_left_out() {
    let said = handshake();
    assert!(play(&said, |_, bytes| bytes.to_vec()), "undisturbed");
    for (at, part) in said.iter().enumerate() {
        if part.bytes[0] & 4 == 0 || part.bytes[0] == 0xff {
            // The greeting.
            continue;
        }
        for place in 0..part.bytes.len() {
            let cut = |index, bytes: &[u8]| match index == at {
                true => bytes[..place].to_vec(),
                false => bytes.to_vec(),
            };
            assert!(!play(&said, cut), "part {at} cut at {place}");
            // HELLO's padding means nothing, and of the flags two bits do.
            let hello = part.by_client && part.bytes.len() == 202;
            if place == 0 || (hello && (10..82).contains(&place)) {
                continue;
            }
            let changed = |index, bytes: &[u8]| {
                let mut bytes = bytes.to_vec();
                if index == at {
                    bytes[place] ^= 1;
                }
                bytes
            };
            assert!(!play(&said, changed), "part {at} changed at {place}");
        }
    }
}

#[test]
fn a_recorded_handshake_is_worth_nothing_to_a_server_with_other_chance() {
    let said = handshake();
    let mut other = connect(SocketType::Router, server(), 17);
    let mut result = Ok(Vec::new());
    for part in said.iter().filter(|said| said.by_client) {
        result = feed(&mut other, &part.bytes, Instant::now());
    }
    let error = result.expect_err("the cookie is not its own");
    assert!(
        matches!(error, ProtocolError::Unauthentic { what } if what.starts_with("cookie")),
        "{error}"
    );
}

#[test]
fn frames_repeated_swapped_missing_or_in_clear_end_the_connection() {
    let frames = || {
        let (mut client, server) = pair();
        let frames: Vec<_> = (0..3)
            .map(|number| {
                client.send(&Message::from(vec![number]));
                drain(&mut client)
            })
            .collect();
        (frames, server)
    };
    for order in [&[0, 0][..], &[1], &[2], &[0, 2], &[0, 1, 0]] {
        let (frames, mut server) = frames();
        let (last, before) = order.split_last().expect("not empty");
        for frame in before {
            assert_eq!(
                feed(&mut server, &frames[*frame], Instant::now())
                    .expect("content")
                    .len(),
                1
            );
        }
        let error = feed(&mut server, &frames[*last], Instant::now());
        assert!(
            matches!(error, Err(ProtocolError::OutOfSequence { .. })),
            "{order:?}: {error:?}"
        );
    }
    let (_, mut server) = frames();
    let clear = feed(&mut server, b"\0\x05clear", Instant::now());
    assert!(clear.is_err());
    let (_, mut server) = frames();
    let command = feed(&mut server, b"\x04\x07\x04PING\0\0", Instant::now());
    assert!(command.is_err(), "not even a command");
}

#[test]
fn limits_hold_for_what_is_inside() {
    let sizes = |limit: usize, parts: usize| {
        let mut config = config(SocketType::Router);
        config.max_message_size = limit;
        config.max_frames = parts;
        let mut server = connect_with(config, server(), 200);
        let mut client = connect(SocketType::Dealer, client_of(&keys(1)), 100);
        let (left, right) = settle(&mut client, &mut server, Instant::now());
        assert!(left.is_ok() && right.is_ok());
        (client, server)
    };
    // The limit of commands, 64 KiB, is the lesser only from there on.
    let limit = 100_000;
    for (frames, fits) in [
        (vec![limit], true),
        (vec![limit + 1], false),
        (vec![limit / 2, limit / 2], true),
        (vec![limit / 2, limit / 2 + 1], false),
        (vec![10, 10, 10], true),
        (vec![10, 10, 10, 10], false),
    ] {
        let (mut client, mut server) = sizes(limit, 3);
        let message: Message = frames.iter().map(|len| Frame::from(vec![1; *len])).collect();
        client.send(&message);
        let bytes = drain(&mut client);
        let result = feed(&mut server, &bytes, Instant::now());
        match fits {
            true => assert_eq!(result, Ok(vec![Event::Message(message)])),
            false => assert!(
                matches!(
                    result,
                    Err(ProtocolError::MessageTooLarge { .. } | ProtocolError::TooManyFrames { .. })
                ),
                "{frames:?}: {result:?}"
            ),
        }
    }
}

#[test]
fn subscriptions_and_heartbeats_are_sealed_too() {
    let mut heartbeat = Heartbeat::new(Duration::from_secs(1));
    heartbeat.context = b"tick".as_slice().into();
    let mut publisher = config(SocketType::XPub);
    publisher.heartbeat = Some(heartbeat);
    let mut publisher = connect_with(publisher, server(), 200);
    let mut subscriber = connect(SocketType::Sub, client_of(&keys(1)), 100);
    let now = Instant::now();
    let (left, right) = settle(&mut publisher, &mut subscriber, now);
    assert!(left.is_ok() && right.is_ok());

    subscriber.send_subscription(true, b"weather");
    let bytes = drain(&mut subscriber);
    assert!(!bytes.windows(9).any(|window| window == b"SUBSCRIBE"));
    let events = feed(&mut publisher, &bytes, now).expect("content");
    let topic = Frame::from("weather");
    assert_eq!(
        events,
        [Event::Subscription {
            subscribe: true,
            topic
        }]
    );

    let due = publisher.poll_timeout().expect("a heartbeat is due");
    publisher.handle_timeout(due).expect("content");
    let ping = drain(&mut publisher);
    assert_eq!(ping[2..10], *b"\x07MESSAGE");
    assert_eq!(feed(&mut subscriber, &ping, due), Ok(Vec::new()));
    let pong = drain(&mut subscriber);
    assert_eq!(pong[2..10], *b"\x07MESSAGE");
    assert_eq!(feed(&mut publisher, &pong, due), Ok(Vec::new()));
}

#[test]
fn peers_without_mechanisms_are_judged_by_nobody_and_refused() {
    let mut judge = connect(SocketType::Pull, Security::NullServer, 0);
    // A routing id message: ZMTP 1.0.
    let error = feed(&mut judge, b"\x01\0", Instant::now());
    assert!(
        matches!(error, Err(ProtocolError::VersionRefused { .. })),
        "{error:?}"
    );
}

#[test]
fn null_asks_before_it_says_anything_of_itself() {
    let mut judge = connect(SocketType::Pull, Security::NullServer, 0);
    let mut client = connect(SocketType::Push, Security::Null, 0);
    let now = Instant::now();
    let (_, at_judge) = settle(&mut client, &mut judge, now);
    let events = at_judge.expect("content");
    assert_eq!(events[0], Event::Authenticate(Credentials::Null));
    assert!(judge.is_ready() && client.is_ready());

    let mut judge = connect(SocketType::Pull, Security::NullServer, 0);
    let mut client = connect(SocketType::Push, Security::Null, 0);
    for _ in 0..3 {
        let bytes = drain(&mut client);
        let _ = feed(&mut judge, &bytes, now);
        let bytes = drain(&mut judge);
        assert!(!bytes.windows(5).any(|window| window == b"READY"));
        let _ = feed(&mut client, &bytes, now);
    }
    judge.handle_verdict(Verdict::Deny { reason: "400".into() });
    assert!(matches!(judge.poll_event(now), Err(ProtocolError::Denied { .. })));
    let bytes = drain(&mut judge);
    let told = feed(&mut client, &bytes, now);
    assert_eq!(told, Err(ProtocolError::PeerError { reason: "400".into() }));
}

fn frame() -> impl Strategy<Value = Frame> {
    let len = prop_oneof![
        0_usize..70,
        215_usize..260,
        4_050_usize..4_100,
        Just(32_735),
        Just(32_768),
        Just(131_072),
        Just(300_000)
    ];
    (len, any::<u8>()).prop_map(|(len, fill)| Frame::from(vec![fill; len]))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn messages_of_every_size_arrive_whatever_the_splits(
        messages in prop::collection::vec(prop::collection::vec(frame(), 1..4), 1..5),
        step in 1_usize..70_000,
    ) {
        let (mut client, mut server) = pair();
        let messages: Vec<Message> = messages.into_iter().map(Message::from).collect();
        let expected: Vec<Event> = messages.iter().cloned().map(Event::Message).collect();
        for (from, to) in [(true, false), (false, true)] {
            let (from, to) = match (from, to) {
                (true, _) => (&mut client, &mut server),
                _ => (&mut server, &mut client),
            };
            for message in &messages {
                from.send(message);
            }
            let mut events = Vec::new();
            // Tiny steps through large messages say no more than larger ones.
            let step = step.max(1 + from.transmit().len() / 500);
            for piece in drain(from).chunks(step) {
                events.extend(feed(to, piece, Instant::now()).expect("content"));
            }
            prop_assert_eq!(&events, &expected);
            prop_assert_eq!(from.take_written(), messages.len());
        }
    }

    #[test]
    fn arbitrary_bytes_never_get_in(
        bytes in prop::collection::vec(any::<u8>(), 0..600),
        part in 0_usize..12,
        at_server in any::<bool>(),
    ) {
        let said = handshake();
        let (mut client, mut server) = strangers();
        let victim = match at_server {
            true => &mut server,
            false => &mut client,
        };
        let before: Vec<u8> = said
            .iter()
            .take(part)
            .filter(|said| said.by_client == at_server)
            .flat_map(|said| said.bytes.clone())
            .collect();
        let mut report = feed(victim, &before, Instant::now());
        if report.is_ok() {
            report = feed(victim, &bytes, Instant::now());
        }
        if let Ok(events) = report {
            prop_assert!(!events.iter().any(|event| matches!(event, Event::Message(_))));
        }
    }
}
