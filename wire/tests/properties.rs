//! Properties of whole connections: round trips, splits at every byte, arbitrary bytes.

mod support;

use std::time::{Duration, Instant};

use bytes::Bytes;
use flexbond_transport::{Frame, Message};
use flexbond_wire::zmtp::{Config, Event, Heartbeat, Security, SocketType, Version};
use proptest::prelude::*;
use support::{Recording, VERSIONS, config, connect, drain, feed, pair, plain_client, settle};

fn frame() -> impl Strategy<Value = Frame> {
    let len = prop_oneof![
        0_usize..70,
        250_usize..260,
        4_090_usize..4_100,
        Just(32_768),
        Just(131_072),
        Just(140_000)
    ];
    (len, any::<u8>()).prop_map(|(len, fill)| Frame::from(vec![fill; len]))
}

fn message() -> impl Strategy<Value = Message> {
    prop::collection::vec(frame(), 1..5).prop_map(Message::from)
}

fn securities() -> [(Security, Security); 3] {
    [
        (Security::Null, Security::Null),
        (plain_client(), Security::PlainServer),
        (Security::PlainServer, plain_client()),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn messages_survive_every_pair_of_versions(
        messages in prop::collection::vec(message(), 1..6),
        routing_id in prop::collection::vec(any::<u8>(), 0..=255),
    ) {
        let now = Instant::now();
        for ours in VERSIONS {
            for theirs in VERSIONS {
                for (left, right) in securities() {
                    let old = ours.min(theirs) < Version::V3_0;
                    if old && !matches!(left, Security::Null) {
                        continue;
                    }
                    let mut a = config(SocketType::Dealer);
                    a.routing_id = Bytes::from(routing_id.clone());
                    a.max_version = ours;
                    a.security = left;
                    let mut b = config(SocketType::Router);
                    b.max_version = theirs;
                    b.security = right;
                    let (mut a, mut b) = pair(a, b, now);
                    let peer = b.peer().expect("ready");
                    prop_assert_eq!(peer.version, ours.min(theirs));
                    prop_assert_eq!(&peer.routing_id[..], &routing_id[..]);
                    for message in &messages {
                        a.send(message);
                        b.send(message);
                    }
                    let (at_a, at_b) = settle(&mut a, &mut b, now);
                    let expected: Vec<Event> = messages.iter().cloned().map(Event::Message).collect();
                    prop_assert_eq!(at_a.expect("content"), expected.clone());
                    prop_assert_eq!(at_b.expect("content"), expected);
                }
            }
        }
    }

    #[test]
    fn topics_survive_every_pair_of_versions(
        topics in prop::collection::vec((any::<bool>(), prop::collection::vec(any::<u8>(), 0..300)), 1..6),
    ) {
        let now = Instant::now();
        for ours in VERSIONS {
            for theirs in VERSIONS {
                let mut a = config(SocketType::Sub);
                a.max_version = ours;
                let mut b = config(SocketType::XPub);
                b.max_version = theirs;
                let (mut a, mut b) = pair(a, b, now);
                for (subscribe, topic) in &topics {
                    a.send_subscription(*subscribe, topic);
                }
                let (_, at_b) = settle(&mut a, &mut b, now);
                let expected: Vec<Event> = topics
                    .iter()
                    .map(|(subscribe, topic)| Event::Subscription {
                        subscribe: *subscribe,
                        topic: Frame::from(topic.as_slice()),
                    })
                    .collect();
                prop_assert_eq!(at_b.expect("content"), expected);
            }
        }
    }

    #[test]
    fn arbitrary_bytes_neither_panic_nor_cost_memory(
        start in 0_usize..3,
        kind in 0_usize..11,
        plain in any::<bool>(),
        bytes in prop::collection::vec(any::<u8>(), 0..600),
        step in 1_usize..100,
    ) {
        let now = Instant::now();
        let mut config = config(SocketType::ALL[kind]);
        config.max_message_size = 1 << 20;
        if plain {
            config.security = Security::PlainServer;
        }
        let mut connection = connect(config, now);
        let mut stream = b"\xff\0\0\0\0\0\0\0\x01\x7f\x03\x01NULL".to_vec();
        stream.resize(64, 0);
        stream.extend_from_slice(b"\x04\x06\x05READY");
        // Nothing, a greeting, or a greeting and a READY come first, so that every stage sees noise.
        stream.truncate([0, 64, 72][start]);
        stream.extend_from_slice(&bytes);
        for chunk in stream.chunks(step) {
            if feed(&mut connection, chunk, now).is_err() {
                break;
            }
            prop_assert!(connection.read_buffer().capacity() <= (4 << 20) + (256 << 10));
            let answer = connection.transmit().len();
            prop_assert!(answer <= 10_000);
        }
    }
}

/// A stream with a handshake, messages of one and several parts, commands and a large body.
fn sample(minor: u8) -> Vec<u8> {
    let now = Instant::now();
    let mut a = config(SocketType::Dealer);
    a.routing_id = Bytes::from_static(b"sample");
    a.metadata.push(("X-Test".into(), Bytes::from_static(b"yes")));
    a.max_version = Version { major: 3, minor };
    a.heartbeat = Some(Heartbeat::new(Duration::from_secs(1)));
    let (mut a, mut b) = (connect(a, now), connect(config(SocketType::Router), now));
    let mut stream = Vec::new();
    while !a.is_ready() {
        stream.extend(carry(&mut a, &mut b, now));
        let answer = drain(&mut b);
        feed(&mut a, &answer, now).expect("content");
    }
    for message in [
        Message::from("short"),
        Message::from(["several", "", "parts"]),
        Message::from(vec![1; 63]),
        Message::from(vec![2; 300]),
    ] {
        a.send(&message);
    }
    a.handle_timeout(now + Duration::from_secs(1))
        .expect("a heartbeat is due");
    a.send_subscription(true, b"topic");
    a.send(&Message::from("last"));
    stream.extend(drain(&mut a));
    stream
}

fn carry(
    from: &mut flexbond_wire::zmtp::Connection,
    to: &mut flexbond_wire::zmtp::Connection,
    now: Instant,
) -> Vec<u8> {
    let bytes = drain(from);
    feed(to, &bytes, now).expect("content");
    bytes
}

fn events_of(config: &Config, chunks: &[&[u8]]) -> (Vec<Event>, Vec<u8>) {
    let now = Instant::now();
    let mut connection = connect(config.clone(), now);
    let mut events = Vec::new();
    let mut said = Vec::new();
    for chunk in chunks {
        events.extend(feed(&mut connection, chunk, now).expect("well formed"));
        said.extend(drain(&mut connection));
    }
    (events, said)
}

#[test]
fn a_split_at_any_byte_changes_nothing() {
    let router = config(SocketType::Router);
    let mut streams = vec![(router.clone(), sample(0)), (router, sample(1))];
    for recording in Recording::all() {
        if recording.value("mechanism").is_none() {
            let config = config(recording.socket_type("type"));
            streams.push((config, recording.bytes("raw")));
        }
    }
    for (config, stream) in streams {
        let whole = events_of(&config, &[&stream]);
        assert!(!whole.0.is_empty());
        let single: Vec<&[u8]> = stream.chunks(1).collect();
        assert_eq!(events_of(&config, &single), whole);
        for cut in 0..=stream.len() {
            let (front, back) = stream.split_at(cut);
            assert_eq!(events_of(&config, &[front, back]), whole, "cut at {cut}");
        }
    }
}
