//! Arbitrary bytes, arbitrarily split, for a connection of arbitrary configuration.
//!
//! The first four bytes choose the configuration and the splits, the rest is what the peer says. The events must not
//! depend on the splits, and the memory held must stay within the limits.
#![no_main]

use std::sync::Arc;
use std::time::{Duration, Instant};

use flexbond_wire::zmtp::curve::{KeyPair, SecretKey};
use flexbond_wire::zmtp::{
    Config, Connection, Event, Heartbeat, Randomness, Security, SocketType, Verdict, Version,
};
use libfuzzer_sys::fuzz_target;

fn run(config: &Arc<Config>, bytes: &[u8], step: usize) -> (Vec<Event>, bool) {
    let start = Instant::now();
    let mut connection =
        Connection::with_randomness(Arc::clone(config), Randomness::new([3; Randomness::LEN]), start);
    let mut events = Vec::new();
    let mut failed = false;
    'bytes: for chunk in bytes.chunks(step) {
        let buffer = connection.read_buffer();
        assert!(buffer.capacity() > buffer.len());
        assert!(buffer.capacity() <= (4 << 20) + bytes.len() * 2 + (256 << 10));
        buffer.extend_from_slice(chunk);
        connection.handle_read(start);
        loop {
            match connection.poll_event(start) {
                Ok(Some(event)) => {
                    if matches!(event, Event::Authenticate(_)) {
                        connection.handle_verdict(Verdict::Allow { user_id: None });
                    }
                    events.push(event);
                }
                Ok(None) => break,
                Err(_) => {
                    failed = true;
                    break 'bytes;
                }
            }
        }
    }
    if let Some(deadline) = connection.poll_timeout() {
        let _ = connection.handle_timeout(deadline);
    }
    let queued = connection.transmit().len();
    connection.transmit().advance(queued);
    (events, failed)
}

fuzz_target!(|data: &[u8]| {
    let Some((&[kind, security, version, step], bytes)) = data.split_first_chunk() else {
        return;
    };
    let mut config = Config::new(SocketType::ALL[usize::from(kind) % SocketType::ALL.len()]);
    config.max_message_size = 1 << 24;
    config.max_frames = 100;
    config.max_version = match version % 4 {
        0 => Version::V3_1,
        1 => Version::V3_0,
        2 => Version::V2_0,
        _ => Version::V1_0,
    };
    config.security = match security % 4 {
        3 => Security::NullServer,
        1 => Security::PlainServer,
        2 => Security::PlainClient {
            username: "admin".into(),
            password: "secret".into(),
        },
        // Nobody who does not have the keys gets beyond the handshake; `curve` has them.
        _ if security & 0x40 != 0 => {
            let [keys, theirs] = [1, 2].map(|byte| KeyPair::from(SecretKey::from_bytes([byte; 32])));
            let server = *theirs.public();
            match security & 0x20 {
                0 => Security::CurveServer { keys },
                _ => Security::CurveClient { server, keys },
            }
        }
        _ => Security::Null,
    };
    if security & 0x80 != 0 {
        config.heartbeat = Some(Heartbeat::new(Duration::from_secs(1)));
    }
    if config.validate().is_err() {
        return;
    }
    let config = Arc::new(config);
    let whole = run(&config, bytes, bytes.len().max(1));
    assert_eq!(run(&config, bytes, usize::from(step).max(1)), whole);
});
