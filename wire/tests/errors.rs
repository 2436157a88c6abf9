//! Every way a connection ends, and every timer, under a virtual clock.

mod support;

use std::time::{Duration, Instant};

use flexbond_transport::Message;
use flexbond_wire::zmtp::{
    Connection, Event, Heartbeat, ProtocolError, Security, SocketType, Verdict, Version,
};
use support::{config, connect, drain, feed, pair, plain_client, settle};

const SECOND: Duration = Duration::from_secs(1);

/// A connection that is ready, and needs no peer.
fn ready(
    socket_type: SocketType,
    change: impl FnOnce(&mut flexbond_wire::zmtp::Config),
) -> (Connection, Instant) {
    let now = Instant::now();
    let mut config = config(socket_type);
    change(&mut config);
    let mut connection = connect(config, now);
    let events = feed(
        &mut connection,
        &[greeting("NULL"), b"\x04\x06\x05READY".to_vec()].concat(),
        now,
    );
    assert!(matches!(events.as_deref(), Ok([Event::Ready(_)])));
    drain(&mut connection);
    (connection, now)
}

fn greeting(mechanism: &str) -> Vec<u8> {
    let mut bytes = b"\xff\0\0\0\0\0\0\0\x01\x7f\x03\x01".to_vec();
    bytes.extend_from_slice(mechanism.as_bytes());
    bytes.resize(64, 0);
    bytes
}

/// The error, which the connection must repeat.
fn fails(connection: &mut Connection, bytes: &[u8]) -> ProtocolError {
    let now = Instant::now();
    let error = feed(connection, bytes, now).expect_err("must be refused");
    connection.read_buffer().extend_from_slice(b"more");
    connection.handle_read(now);
    assert_eq!(connection.poll_event(now), Err(error.clone()));
    assert_eq!(connection.handle_timeout(now), Err(error.clone()));
    assert_eq!(connection.poll_timeout(), None);
    error
}

#[test]
fn mechanisms_must_match() {
    let now = Instant::now();
    for (ours, theirs) in [
        (Security::Null, "PLAIN"),
        (plain_client(), "NULL"),
        (Security::PlainServer, "CURVE"),
    ] {
        let mut config = config(SocketType::Pull);
        config.security = ours;
        let error = fails(&mut connect(config.clone(), now), &greeting(theirs));
        let expected = ProtocolError::MechanismMismatch {
            ours: config.security.name().into(),
            theirs: theirs.into(),
        };
        assert_eq!(error, expected);
        assert!(error.is_security());
    }
}

#[test]
fn socket_types_must_suit() {
    let now = Instant::now();
    for (ours, theirs) in [(Version::V3_1, Version::V3_1), (Version::V2_0, Version::V3_1)] {
        for (left, right) in [
            (Security::Null, Security::Null),
            (plain_client(), Security::PlainServer),
        ] {
            if ours < Version::V3_0 && !matches!(left, Security::Null) {
                continue;
            }
            let (mut a, mut b) = (config(SocketType::Push), config(SocketType::Sub));
            (a.max_version, b.max_version) = (ours, theirs);
            (a.security, b.security) = (left, right);
            let (mut a, mut b) = (connect(a, now), connect(b, now));
            let (_, at_b) = settle(&mut a, &mut b, now);
            assert_eq!(
                at_b,
                Err(ProtocolError::IncompatibleSocket {
                    ours: SocketType::Sub,
                    theirs: "PUSH".into()
                })
            );
        }
    }
}

#[test]
fn a_denied_client_is_told() {
    let now = Instant::now();
    let (mut client, mut server) = (config(SocketType::Req), config(SocketType::Rep));
    client.security = plain_client();
    server.security = Security::PlainServer;
    let (mut client, mut server) = (connect(client, now), connect(server, now));
    let credentials = loop {
        let bytes = drain(&mut client);
        if let Some(event) = feed(&mut server, &bytes, now).expect("content").pop() {
            break event;
        }
        let bytes = drain(&mut server);
        feed(&mut client, &bytes, now).expect("content");
    };
    assert!(matches!(credentials, Event::Authenticate(_)));
    assert_eq!(server.poll_event(now), Ok(None), "waits for the verdict");
    server.handle_verdict(Verdict::Deny { reason: "400".into() });
    assert_eq!(
        server.poll_event(now),
        Err(ProtocolError::Denied { reason: "400".into() })
    );
    let bytes = drain(&mut server);
    assert_eq!(
        fails(&mut client, &bytes),
        ProtocolError::PeerError { reason: "400".into() }
    );
    assert!(!client.is_ready() && !server.is_ready());
}

#[test]
fn an_allowed_client_has_a_name() {
    let (mut client, mut server) = (config(SocketType::Req), config(SocketType::Rep));
    client.security = plain_client();
    server.security = Security::PlainServer;
    let (client, server) = pair(client, server, Instant::now());
    let peer = server.peer().expect("ready");
    assert_eq!(
        (peer.user_id.as_deref(), peer.mechanism.as_str()),
        (Some("admin"), "PLAIN")
    );
    assert_eq!(client.peer().expect("ready").user_id, None);
}

#[test]
fn two_clients_refuse_each_other_and_two_servers_wait_in_vain() {
    let now = Instant::now();
    let mut clients = config(SocketType::Pair);
    clients.security = plain_client();
    let (mut a, mut b) = (connect(clients.clone(), now), connect(clients, now));
    let (at_a, at_b) = settle(&mut a, &mut b, now);
    assert!(matches!(at_a, Err(ProtocolError::Malformed { .. })));
    assert!(matches!(at_b, Err(ProtocolError::Malformed { .. })));

    let mut servers = config(SocketType::Pair);
    servers.security = Security::PlainServer;
    let (mut a, mut b) = (connect(servers.clone(), now), connect(servers, now));
    let (at_a, at_b) = settle(&mut a, &mut b, now);
    assert_eq!((at_a, at_b), (Ok(Vec::new()), Ok(Vec::new())));
    assert_eq!(a.poll_timeout(), Some(now + 30 * SECOND));
    assert_eq!(a.handle_timeout(now + 29 * SECOND), Ok(()));
    assert_eq!(
        a.handle_timeout(now + 30 * SECOND),
        Err(ProtocolError::HandshakeTimeout)
    );
}

#[test]
fn data_before_the_verdict_is_bounded() {
    let now = Instant::now();
    let mut config = config(SocketType::Pair);
    config.security = Security::PlainServer;
    let mut connection = connect(config, now);
    let mut bytes = greeting("PLAIN");
    bytes.extend_from_slice(b"\x04\x08\x05HELLO\0\0");
    assert!(matches!(
        feed(&mut connection, &bytes, now).as_deref(),
        Ok([Event::Authenticate(_)])
    ));
    assert!(matches!(
        fails(&mut connection, &vec![0; 70_000]),
        ProtocolError::Malformed { .. }
    ));
}

#[test]
fn an_error_command_is_final_at_any_time() {
    let (mut connection, _) = ready(SocketType::Pull, |_| {});
    let error = fails(&mut connection, b"\x04\x0a\x05ERROR\x03500");
    assert_eq!(error, ProtocolError::PeerError { reason: "500".into() });

    let mut connection = connect(config(SocketType::Pull), Instant::now());
    let bytes = [greeting("NULL"), b"\x04\x09\x05ERROR\x02no".to_vec()].concat();
    assert_eq!(
        fails(&mut connection, &bytes),
        ProtocolError::PeerError { reason: "no".into() }
    );
}

#[test]
fn old_peers_are_refused_when_security_is_required() {
    let now = Instant::now();
    for (bytes, theirs) in [
        (&b"\x01\0"[..], Version::V1_0),
        (b"\xff\0\0\0\0\0\0\0\x01\x7f\0", Version::V1_0),
        (b"\xff\0\0\0\0\0\0\0\x01\x7f\x01", Version::V2_0),
    ] {
        let mut config = config(SocketType::Pull);
        config.security = Security::PlainServer;
        let ours = "PLAIN".to_owned();
        assert_eq!(
            fails(&mut connect(config, now), bytes),
            ProtocolError::VersionRefused { ours, theirs }
        );
    }
}

#[test]
fn limits_are_checked_from_the_header() {
    let limited = || {
        ready(SocketType::Pull, |config| {
            config.max_message_size = 1000;
            config.max_frames = 3;
            config.max_command_size = 1024;
        })
        .0
    };
    let limit = 1000;
    let error = fails(&mut limited(), b"\x02\0\0\0\0\0\0\x03\xe9");
    assert_eq!(error, ProtocolError::MessageTooLarge { size: 1001, limit });
    let error = fails(&mut limited(), b"\x03\xff\xff\xff\xff\xff\xff\xff\xff");
    assert_eq!(
        error,
        ProtocolError::MessageTooLarge {
            size: u64::MAX,
            limit
        }
    );
    // All parts together count.
    let mut parts = b"\x01\xff".to_vec();
    parts.resize(257, 0);
    let error = fails(
        &mut limited(),
        &[parts, b"\x02\0\0\0\0\0\0\x02\xea".to_vec()].concat(),
    );
    assert_eq!(error, ProtocolError::MessageTooLarge { size: 1001, limit });
    let error = fails(&mut limited(), b"\x01\0\x01\0\x01\0\x00\0");
    assert_eq!(error, ProtocolError::TooManyFrames { limit: 3 });
    let error = fails(&mut limited(), b"\x06\0\0\0\0\0\0\x04\x01");
    assert_eq!(
        error,
        ProtocolError::CommandTooLarge {
            size: 1025,
            limit: 1024
        }
    );
    // At the limit nothing is wrong, and the next message starts from zero.
    let mut whole = b"\x02\0\0\0\0\0\0\x03\xe8".to_vec();
    whole.resize(1009, 1);
    let events = feed(&mut limited(), &[whole.clone(), whole].concat(), Instant::now());
    assert_eq!(events.expect("within the limits").len(), 2);
}

#[test]
fn nonsense_is_malformed() {
    let now = Instant::now();
    let null = greeting("NULL");
    for (what, tail) in [
        ("message first", &b"\0\x05hello"[..]),
        ("no name", b"\x04\0"),
        ("name too long", b"\x04\x02\x09R"),
        ("unknown command", b"\x04\x05\x04NOPE"),
        ("cut property", b"\x04\x09\x05READY\x05So"),
    ] {
        let error = fails(
            &mut connect(config(SocketType::Pull), now),
            &[&null[..], tail].concat(),
        );
        assert!(
            matches!(error, ProtocolError::Malformed { .. }),
            "{what}: {error}"
        );
    }
    for (what, bytes) in [
        ("short PING", &b"\x04\x06\x04PING\0"[..]),
        ("empty command", b"\x04\0"),
    ] {
        let error = fails(&mut ready(SocketType::Pull, |_| {}).0, bytes);
        assert!(
            matches!(error, ProtocolError::Malformed { .. }),
            "{what}: {error}"
        );
    }
    let error = fails(&mut connect(config(SocketType::Pull), now), b"GET / HTTP/1.1\r\n");
    assert!(!error.is_timeout() && !error.is_security());
}

#[test]
fn unknown_commands_are_ignored_once_ready() {
    let (mut connection, now) = ready(SocketType::Pull, |_| {});
    let events = feed(&mut connection, b"\x04\x06\x05LATER\0\x02hi", now).expect("content");
    assert_eq!(events, [Event::Message(Message::from("hi"))]);
}

#[test]
fn a_silent_peer_is_given_up() {
    let (mut connection, now) = ready(SocketType::Dealer, |config| {
        let mut heartbeat = Heartbeat::new(SECOND);
        heartbeat.timeout = 2 * SECOND;
        config.heartbeat = Some(heartbeat);
    });
    assert_eq!(connection.poll_timeout(), Some(now + SECOND));
    connection.handle_timeout(now + SECOND).expect("a PING");
    assert_eq!(drain(&mut connection), b"\x04\x07\x04PING\0\0");
    // A PONG is life, and so is anything else.
    feed(&mut connection, b"\x04\x05\x04PONG", now + 2 * SECOND).expect("content");
    connection.handle_timeout(now + 2 * SECOND).expect("a PING");
    assert_eq!(drain(&mut connection).len(), 9);
    feed(&mut connection, b"\0", now + 3 * SECOND).expect("content");
    for seconds in [3, 4] {
        connection.handle_timeout(now + seconds * SECOND).expect("a PING");
        assert_eq!(drain(&mut connection).len(), 9);
    }
    assert_eq!(connection.poll_timeout(), Some(now + 5 * SECOND));
    let error = connection.handle_timeout(now + 5 * SECOND);
    assert_eq!(error, Err(ProtocolError::HeartbeatTimeout));
    assert_eq!(connection.poll_event(now), Err(ProtocolError::HeartbeatTimeout));
}

/// A second passes, again and again, until the connection ends: with what, and after how many seconds.
fn endure(connection: &mut Connection, now: Instant, mut each: impl FnMut(&mut Connection)) -> (u32, String) {
    for second in 1..1000 {
        each(connection);
        if let Err(error) = connection.handle_timeout(now + second * SECOND) {
            return (second, format!("{error:?}"));
        }
    }
    (1000, "nothing".to_owned())
}

#[test]
fn the_silence_of_a_peer_for_whom_bytes_wait_counts_later() {
    let stalled = |limit: Option<Duration>| {
        let (mut connection, now) = ready(SocketType::Dealer, |config| {
            config.heartbeat = Some(Heartbeat::new(SECOND));
            config.stall_timeout = limit;
        });
        connection.send(&Message::from(vec![7; 1000]));
        (connection, now)
    };
    let none = |_: &mut Connection| {};
    let (mut connection, now) = stalled(Some(10 * SECOND));
    let ended = endure(&mut connection, now, none);
    assert_eq!(ended, (11, "HeartbeatTimeout".to_owned()), "first seen after 1 s");
    // Nobody but the system judges.
    let (mut connection, now) = stalled(None);
    assert_eq!(endure(&mut connection, now, none), (1000, "nothing".to_owned()));
    // Each byte that it takes is a sign of life.
    let (mut connection, now) = stalled(Some(2 * SECOND));
    let ended = endure(&mut connection, now, |connection| {
        connection.transmit().advance(1);
    });
    assert_eq!(ended, (1000, "nothing".to_owned()));
    // Once all has left, it has its full time, and no more.
    let (mut connection, now) = stalled(Some(100 * SECOND));
    let mut seconds = 0;
    let ended = endure(&mut connection, now, |connection| {
        seconds += 1;
        if seconds > 50 {
            drain(connection);
        }
    });
    assert_eq!(ended, (52, "HeartbeatTimeout".to_owned()));
}

#[test]
fn so_does_that_of_one_who_promised_a_time_to_live() {
    let (mut connection, now) = ready(SocketType::Dealer, |config| {
        config.stall_timeout = Some(10 * SECOND);
    });
    feed(&mut connection, b"\x04\x07\x04PING\0\x14", now).expect("content");
    // The PONG waits.
    assert_eq!(connection.poll_timeout(), Some(now + 2 * SECOND));
    let ended = endure(&mut connection, now, |_| {});
    assert_eq!(ended, (11, "TtlExpired".to_owned()));
}

#[test]
fn a_peer_must_live_up_to_its_ttl() {
    let (mut connection, now) = ready(SocketType::Dealer, |_| {});
    feed(&mut connection, b"\x04\x08\x04PING\0\x14a", now).expect("content");
    assert_eq!(drain(&mut connection), b"\x04\x06\x04PONGa");
    assert_eq!(connection.poll_timeout(), Some(now + 2 * SECOND));
    connection.pause();
    assert_eq!(connection.poll_timeout(), None);
    connection.resume(now + 9 * SECOND);
    assert_eq!(connection.handle_timeout(now + 10 * SECOND), Ok(()));
    assert_eq!(
        connection.handle_timeout(now + 11 * SECOND),
        Err(ProtocolError::TtlExpired)
    );
}

#[test]
fn a_flood_of_pings_does_not_fill_the_queue() {
    let (mut connection, now) = ready(SocketType::Dealer, |_| {});
    let flood = b"\x04\x08\x04PING\0\0a".repeat(10_000);
    feed(&mut connection, &flood, now).expect("content");
    assert_eq!(drain(&mut connection).len(), 64 * 8);
    feed(&mut connection, &flood[..10], now).expect("content");
    assert_eq!(
        drain(&mut connection).len(),
        8,
        "answers go on once the old ones left"
    );
}

#[test]
fn peers_below_three_one_get_no_ping() {
    let now = Instant::now();
    let mut a = config(SocketType::Dealer);
    a.heartbeat = Some(Heartbeat::new(SECOND));
    let mut b = config(SocketType::Router);
    b.max_version = Version::V3_0;
    let (a, _) = pair(a, b, now);
    assert_eq!(a.poll_timeout(), None);
}

#[test]
fn who_has_proved_nothing_has_no_room_for_long_commands() {
    let now = Instant::now();
    let command = |len: u32| [&b"\x06"[..], &u64::from(len).to_be_bytes()].concat();
    let mut config = config(SocketType::Rep);
    config.security = Security::PlainServer;
    let start = |bytes: Vec<u8>| {
        let mut connection = connect(config.clone(), now);
        feed(&mut connection, &[greeting("PLAIN"), bytes].concat(), now)
    };
    assert_eq!(
        start(command(1025)),
        Err(ProtocolError::CommandTooLarge {
            size: 1025,
            limit: 1024
        })
    );
    assert_eq!(start(command(1024)), Ok(vec![]));
    // Nobody proves anything by NULL: the first command has all properties.
    let mut open = connect(support::config(SocketType::Rep), now);
    assert_eq!(
        feed(&mut open, &[greeting("NULL"), command(64 << 10)].concat(), now),
        Ok(vec![])
    );
}
