//! Carries bytes between connections in memory, and reads the recordings of libzmq.
#![allow(dead_code)] // Every test file uses another part of it.

use std::io::IoSlice;
use std::sync::Arc;
use std::time::Instant;

use flexbond_wire::zmtp::{Config, Connection, Event, ProtocolError, Security, SocketType, Version};

pub(crate) const VERSIONS: [Version; 4] = [Version::V1_0, Version::V2_0, Version::V3_0, Version::V3_1];

pub(crate) fn config(socket_type: SocketType) -> Config {
    Config::new(socket_type)
}

pub(crate) fn connect(config: Config, now: Instant) -> Connection {
    config.validate().expect("a sound configuration");
    Connection::new(Arc::new(config), now)
}

pub(crate) fn plain_client() -> Security {
    Security::PlainClient {
        username: "admin".into(),
        password: "secret".into(),
    }
}

/// Everything `connection` has to say.
pub(crate) fn drain(connection: &mut Connection) -> Vec<u8> {
    let transmit = connection.transmit();
    let mut bytes = Vec::new();
    while !transmit.is_empty() {
        let mut slices = [IoSlice::new(&[]); 8];
        let filled = transmit.slices(&mut slices);
        let start = bytes.len();
        for slice in &slices[..filled] {
            bytes.extend_from_slice(slice);
        }
        transmit.advance(bytes.len() - start);
    }
    bytes
}

/// Reads `bytes` as a driver does: never more than there is room for.
pub(crate) fn feed(
    connection: &mut Connection,
    mut bytes: &[u8],
    now: Instant,
) -> Result<Vec<Event>, ProtocolError> {
    let mut events = Vec::new();
    while !bytes.is_empty() {
        let buffer = connection.read_buffer();
        let step = (buffer.capacity() - buffer.len()).min(bytes.len());
        assert!(step > 0, "the read buffer always has room");
        buffer.extend_from_slice(&bytes[..step]);
        bytes = &bytes[step..];
        connection.handle_read(now);
        while let Some(event) = connection.poll_event(now)? {
            events.push(event);
        }
    }
    Ok(events)
}

/// What `connection` has to report without further bytes.
pub(crate) fn poll(connection: &mut Connection, now: Instant) -> Result<Vec<Event>, ProtocolError> {
    let mut events = Vec::new();
    while let Some(event) = connection.poll_event(now)? {
        events.push(event);
    }
    Ok(events)
}

/// Carries bytes both ways until both sides are silent; what each side reported. PLAIN servers let everyone in.
pub(crate) fn settle(
    a: &mut Connection,
    b: &mut Connection,
    now: Instant,
) -> (
    Result<Vec<Event>, ProtocolError>,
    Result<Vec<Event>, ProtocolError>,
) {
    let mut reports = (Ok(Vec::new()), Ok(Vec::new()));
    loop {
        let (from_a, from_b) = (drain(a), drain(b));
        if from_a.is_empty() && from_b.is_empty() {
            return reports;
        }
        for (connection, bytes, report) in [
            (&mut *b, from_a, &mut reports.1),
            (&mut *a, from_b, &mut reports.0),
        ] {
            if report.is_err() {
                continue;
            }
            match feed(connection, &bytes, now) {
                Ok(mut new) => {
                    if new.iter().any(|event| matches!(event, Event::Authenticate(_))) {
                        connection.handle_verdict(flexbond_wire::zmtp::Verdict::Allow {
                            user_id: Some("admin".into()),
                        });
                        match poll(connection, now) {
                            Ok(more) => new.extend(more),
                            Err(error) => *report = Err(error),
                        }
                    }
                    let Ok(events) = report else { continue };
                    events.extend(new);
                }
                Err(error) => *report = Err(error),
            }
        }
    }
}

/// Two connections that have shaken hands.
pub(crate) fn pair(a: Config, b: Config, now: Instant) -> (Connection, Connection) {
    let (mut a, mut b) = (connect(a, now), connect(b, now));
    let (left, right) = settle(&mut a, &mut b, now);
    left.expect("the left side is content");
    right.expect("the right side is content");
    assert!(a.is_ready() && b.is_ready());
    (a, b)
}

/// One recorded connection; see `golden/record.py`.
pub(crate) struct Recording {
    pub(crate) name: String,
    lines: Vec<(String, String)>,
}

impl Recording {
    pub(crate) fn all() -> Vec<Recording> {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden");
        let mut all = Vec::new();
        for entry in std::fs::read_dir(folder).expect("the recordings are beside the tests") {
            let path = entry.expect("readable").path();
            if path.extension().is_none_or(|extension| extension != "hex") {
                continue;
            }
            let text = std::fs::read_to_string(&path).expect("readable");
            let lines = text
                .lines()
                .filter(|line| !line.starts_with('#'))
                .map(|line| {
                    let (key, value) = line.split_once(':').expect("key: value");
                    (key.to_owned(), value.trim().to_owned())
                })
                .collect();
            let name = path.file_stem().expect("a name").to_string_lossy().into_owned();
            all.push(Recording { name, lines });
        }
        all.sort_by(|a, b| a.name.cmp(&b.name));
        all
    }

    pub(crate) fn value(&self, key: &str) -> Option<&str> {
        self.lines
            .iter()
            .find(|(known, _)| known == key)
            .map(|(_, value)| value.as_str())
    }

    pub(crate) fn socket_type(&self, key: &str) -> SocketType {
        self.value(key).expect("present").parse().expect("a socket type")
    }

    pub(crate) fn bytes(&self, key: &str) -> Vec<u8> {
        unhex(self.value(key).expect("present"))
    }

    /// What libzmq was told to do, in order, each with its parts.
    pub(crate) fn actions(&self) -> impl Iterator<Item = (&str, Vec<Vec<u8>>)> {
        self.lines
            .iter()
            .filter(|(key, _)| ["send", "subscribe", "cancel", "ping"].contains(&key.as_str()))
            .map(|(key, value)| (key.as_str(), value.split(' ').map(unhex).collect()))
    }
}

fn unhex(text: &str) -> Vec<u8> {
    if text == "-" {
        return Vec::new();
    }
    assert!(text.len().is_multiple_of(2));
    (0..text.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&text[at..at + 2], 16).expect("hex"))
        .collect()
}
