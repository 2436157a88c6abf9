//! Replays what a real libzmq 4.3.5 said, in both roles.

mod support;

use std::time::{Duration, Instant};

use bytes::Bytes;
use flexbond_transport::{Frame, Message};
use flexbond_wire::zmtp::{
    Config, Connection, Event, Heartbeat, ProtocolError, Security, SocketType, Verdict, Version,
};
use support::{Recording, connect, drain, feed, plain_client};

/// A configuration that does what libzmq did in this recording.
fn as_libzmq(recording: &Recording) -> Config {
    let mut config = Config::new(recording.socket_type("type"));
    if recording.value("routing-id").is_some() {
        config.routing_id = Bytes::from(recording.bytes("routing-id"));
    }
    if let Some((name, value)) = recording.value("metadata").and_then(|text| text.split_once('=')) {
        config
            .metadata
            .push((name.to_owned(), Bytes::copy_from_slice(value.as_bytes())));
    }
    if let Some(ttl) = recording.value("heartbeat-ttl-ms") {
        let mut heartbeat = Heartbeat::new(Duration::from_millis(300));
        heartbeat.ttl = Duration::from_millis(ttl.parse().expect("milliseconds"));
        config.heartbeat = Some(heartbeat);
    }
    config.security = match recording.value("mechanism") {
        Some("plain-client") => plain_client(),
        Some("plain-server") => Security::PlainServer,
        _ => Security::Null,
    };
    config
}

fn act(connection: &mut Connection, recording: &Recording, now: Instant) {
    for (verb, parts) in recording.actions() {
        match verb {
            "send" => connection.send(&parts.into_iter().collect()),
            "subscribe" => connection.send_subscription(true, &parts[0]),
            "cancel" => connection.send_subscription(false, &parts[0]),
            _ => connection
                .handle_timeout(now + Duration::from_millis(300))
                .expect("a heartbeat is due"),
        }
    }
}

#[test]
fn we_say_what_libzmq_says() {
    let recordings = Recording::all();
    assert!(recordings.len() >= 40, "only {} recordings", recordings.len());
    for recording in recordings {
        let now = Instant::now();
        for step in [1, 10, 11, usize::MAX] {
            let mut connection = connect(as_libzmq(&recording), now);
            let mut said = Vec::new();
            for chunk in recording.bytes("raw").chunks(step) {
                let events = match feed(&mut connection, chunk, now) {
                    Ok(events) => events,
                    Err(ProtocolError::Denied { .. }) => break,
                    Err(error) => panic!("{}: {error}", recording.name),
                };
                for event in events {
                    if let Event::Authenticate(_) = event {
                        connection.handle_verdict(match recording.value("verdict") {
                            Some(reason) => Verdict::Deny {
                                reason: reason.into(),
                            },
                            None => Verdict::Allow { user_id: None },
                        });
                    }
                }
            }
            // What waited for a verdict.
            while let Ok(Some(_)) = connection.poll_event(now) {}
            if connection.is_ready() {
                act(&mut connection, &recording, now);
            }
            said.extend(drain(&mut connection));
            assert_eq!(
                said.escape_ascii().to_string(),
                recording.bytes("lib").escape_ascii().to_string(),
                "{} in steps of {step}",
                recording.name
            );
        }
    }
}

/// A configuration for the side that the recording script played.
fn as_peer(recording: &Recording) -> Config {
    let mut config = Config::new(recording.socket_type("peer"));
    config.security = match recording.value("mechanism") {
        Some("plain-client") => Security::PlainServer,
        Some("plain-server") => plain_client(),
        _ => Security::Null,
    };
    config.max_version = match recording.name.rsplit('-').next() {
        Some("1.0") => Version::V1_0,
        Some("2.0") => Version::V2_0,
        Some("3.0") => Version::V3_0,
        _ => Version::V3_1,
    };
    config
}

#[test]
fn we_understand_what_libzmq_says() {
    for recording in Recording::all() {
        // Nobody here plays a 1.0 peer with a greeting; libzmq's answers to one differ in their framing.
        if recording.name == "messages-1.0-versioned" {
            continue;
        }
        let now = Instant::now();
        let bytes = recording.bytes("lib");
        let mut expected: Option<Vec<Event>> = None;
        for step in [1, 7, usize::MAX] {
            let config = as_peer(&recording);
            let version = config.max_version;
            let mut connection = connect(config, now);
            let mut events = Vec::new();
            let mut failure = None;
            for chunk in bytes.chunks(step) {
                match feed(&mut connection, chunk, now) {
                    Ok(new) => events.extend(new),
                    Err(error) => {
                        failure = Some(error);
                        break;
                    }
                }
                if let Some(Event::Authenticate(_)) = events.last() {
                    connection.handle_verdict(Verdict::Allow { user_id: None });
                    while let Some(event) = connection.poll_event(now).expect("well formed") {
                        events.push(event);
                    }
                }
            }
            if let Some(reason) = recording.value("verdict") {
                assert_eq!(
                    failure,
                    Some(ProtocolError::PeerError {
                        reason: reason.into()
                    })
                );
                continue;
            }
            assert_eq!(failure, None, "{}", recording.name);
            let ready = events
                .iter()
                .position(|event| matches!(event, Event::Ready(_)))
                .unwrap_or_else(|| panic!("{}: never ready", recording.name));
            check_peer(&recording, &connection, version);
            let data: Vec<Event> = events.split_off(ready + 1);
            assert_eq!(data, actions_as_events(&recording, version), "{}", recording.name);
            match &expected {
                None => expected = Some(data),
                Some(expected) => assert_eq!(&data, expected, "{}: step {step}", recording.name),
            }
        }
    }
}

fn check_peer(recording: &Recording, connection: &Connection, version: Version) {
    let peer = connection.peer().expect("ready");
    let kind = recording.socket_type("type");
    assert_eq!(peer.version, version, "{}", recording.name);
    let told = (version > Version::V1_0).then_some(kind);
    assert_eq!(peer.socket_type, told, "{}", recording.name);
    let routing_id = recording
        .value("routing-id")
        .map_or(Vec::new(), |_| recording.bytes("routing-id"));
    assert_eq!(peer.routing_id, routing_id, "{}", recording.name);
    if recording.value("metadata").is_some() {
        assert_eq!(peer.property("x-colour"), Some(&Bytes::from_static(b"blue")));
    }
}

fn actions_as_events(recording: &Recording, version: Version) -> Vec<Event> {
    let mut events = Vec::new();
    if version == Version::V1_0 && recording.socket_type("peer") == SocketType::Pub {
        events.push(Event::Subscription {
            subscribe: true,
            topic: Frame::new(),
        });
    }
    for (verb, parts) in recording.actions() {
        match verb {
            "send" => events.push(Event::Message(parts.into_iter().collect::<Message>())),
            "subscribe" | "cancel" => events.push(Event::Subscription {
                subscribe: verb == "subscribe",
                topic: Frame::from(parts[0].as_slice()),
            }),
            _ => {}
        }
    }
    events
}
