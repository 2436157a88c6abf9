//! Somebody between a CURVE client and its server, who changes what is on its way.
//!
//! Each three bytes of the input are one step: which side's bytes are carried on, and what is done to them. Whatever
//! arrives as a message must have been sent, in this order, and neither side may panic.
#![no_main]

use std::io::IoSlice;
use std::sync::Arc;
use std::time::Instant;

use flexbond_transport::Message;
use flexbond_wire::zmtp::curve::{KeyPair, SecretKey};
use flexbond_wire::zmtp::{Config, Connection, Event, Randomness, Security, SocketType, Verdict};
use libfuzzer_sys::fuzz_target;

struct Side {
    connection: Connection,
    /// What it said so far, as it was.
    said: Vec<Vec<u8>>,
    sent: u8,
    /// The number of the last message that it got.
    received: u8,
    dead: bool,
}

impl Side {
    fn new(security: Security, chance: u8, now: Instant) -> Self {
        let mut config = Config::new(SocketType::Pair);
        config.security = security;
        let randomness = Randomness::new([chance; Randomness::LEN]);
        Side {
            connection: Connection::with_randomness(Arc::new(config), randomness, now),
            said: Vec::new(),
            sent: 0,
            received: 0,
            dead: false,
        }
    }

    fn speak(&mut self) -> Vec<u8> {
        if self.connection.is_ready() && !self.dead && self.sent < u8::MAX {
            self.sent += 1;
            let body = vec![self.sent; usize::from(self.sent) * 37];
            self.connection.send(&Message::from(body));
        }
        let transmit = self.connection.transmit();
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
        self.said.push(bytes.clone());
        bytes
    }

    fn hear(&mut self, bytes: &[u8], now: Instant) {
        if self.dead {
            return;
        }
        self.connection.read_buffer().extend_from_slice(bytes);
        self.connection.handle_read(now);
        loop {
            match self.connection.poll_event(now) {
                Ok(Some(Event::Authenticate(_))) => {
                    self.connection.handle_verdict(Verdict::Allow { user_id: None });
                }
                Ok(Some(Event::Message(message))) => {
                    let body = &message[0];
                    assert_eq!(message.len(), 1);
                    let number = *body.first().expect("none is empty");
                    assert!(number > self.received, "repeated or out of order");
                    assert_eq!(body.len(), usize::from(number) * 37);
                    assert!(body.iter().all(|byte| *byte == number), "changed");
                    self.received = number;
                }
                Ok(Some(_)) => {}
                Ok(None) => return,
                Err(_) => {
                    self.dead = true;
                    return;
                }
            }
        }
    }
}

fuzz_target!(|data: &[u8]| {
    let now = Instant::now();
    let keys = [1, 2].map(|byte| KeyPair::from(SecretKey::from_bytes([byte; 32])));
    let [ours, theirs] = keys;
    let server = Security::CurveServer { keys: ours.clone() };
    let client = Security::CurveClient {
        server: *ours.public(),
        keys: theirs,
    };
    let mut sides = [Side::new(client, 3, now), Side::new(server, 4, now)];
    for step in data.chunks_exact(3).take(64) {
        let &[what, place, value] = step else { return };
        let [first, second] = &mut sides;
        let (from, to) = match what & 1 {
            0 => (first, second),
            _ => (second, first),
        };
        let mut bytes = from.speak();
        let place = usize::from(place);
        match what >> 1 & 7 {
            // Half of them pass as they are, or no handshake would ever be complete.
            0..=3 => {}
            4 => {
                if let Some(byte) = bytes.get_mut(place) {
                    *byte ^= value;
                }
            }
            5 => bytes.truncate(place),
            6 => {
                let again = usize::from(value) % from.said.len();
                bytes.extend_from_slice(&from.said[again].clone());
            }
            _ => {
                let place = place.min(bytes.len());
                bytes.insert(place, value);
            }
        }
        to.hear(&bytes, now);
    }
    let [client, server] = &sides;
    assert!(client.received <= server.sent && server.received <= client.sent);
});
