//! Secrets do not outlive what they were for: the heap is searched for them, and debug output.
#![cfg(all(target_os = "linux", feature = "curve"))]

mod support;

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::time::Instant;

use flexbond_transport::Message;
use flexbond_wire::zmtp::curve::{KeyPair, SecretKey};
use flexbond_wire::zmtp::{Connection, Randomness, Secret, Security, SocketType};
use support::{config, drain, feed, settle};

/// A secret that the test itself holds nowhere as it is.
#[derive(Clone, Copy)]
struct Masked {
    seed: u8,
    len: usize,
}

impl Masked {
    fn byte(self, index: usize) -> u8 {
        // No two seeds and no two places give the same run.
        (index as u8).wrapping_mul(37).wrapping_add(self.seed) ^ 0xa5
    }

    fn write(self, bytes: &mut [u8]) {
        assert_eq!(bytes.len(), self.len);
        for (index, byte) in bytes.iter_mut().enumerate() {
            *byte = self.byte(index);
        }
    }

    /// Where these bytes hold 12 of the secret's, from its 17th on: the allocator writes over the first of what is freed.
    fn places(self, memory: &[u8]) -> impl Iterator<Item = usize> {
        const SKIPPED: usize = 16;
        memory
            .windows(12)
            .enumerate()
            .filter(move |(_, window)| (0..12).all(|index| window[index] == self.byte(SKIPPED + index)))
            .map(|(place, _)| place)
    }

    fn is_on_the_heap(self) -> bool {
        self.copies() > 0
    }

    /// How often it is on the heap of this process. The stacks are not searched.
    fn copies(self) -> usize {
        let here = 0_u8;
        let stack = std::ptr::from_ref(&here) as u64;
        let maps = std::fs::read_to_string("/proc/self/maps").expect("Linux");
        let memory = File::open("/proc/self/mem").expect("our own");
        let mut buffer = vec![0; 1 << 20];
        // It is searched, too, and holds what was just read.
        let own = buffer.as_ptr() as u64..buffer.as_ptr() as u64 + buffer.len() as u64;
        let mut found = 0;
        for line in maps.lines() {
            let mut fields = line.split_whitespace();
            let (Some(range), Some(access)) = (fields.next(), fields.next()) else {
                continue;
            };
            let (from, to) = range.split_once('-').expect("a range");
            let [from, to] = [from, to].map(|end| u64::from_str_radix(end, 16).expect("an address"));
            let is_stack = line.ends_with("[stack]") || (from..to).contains(&stack);
            if !access.starts_with("rw") || is_stack || line.contains('/') {
                continue;
            }
            let mut at = from;
            while at < to {
                let len = buffer.len().min((to - at) as usize);
                buffer[..len].fill(0);
                let Ok(read) = memory.read_at(&mut buffer[..len], at) else {
                    break;
                };
                found += self
                    .places(&buffer[..read])
                    .filter(|place| !own.contains(&(at + *place as u64)))
                    .count();
                buffer.fill(0);
                // What lies across two reads is seen by the second.
                at += (read as u64)
                    .saturating_sub(if (at + read as u64) < to { 11 } else { 0 })
                    .max(1);
            }
        }
        found
    }
}

fn key(masked: Masked) -> KeyPair {
    KeyPair::from(
        SecretKey::try_fill(|bytes| {
            masked.write(bytes);
            Ok::<_, ()>(())
        })
        .expect("filled"),
    )
}

fn connect(kind: SocketType, security: Security, chance: Masked) -> Connection {
    let mut config = config(kind);
    config.security = security;
    let randomness = Randomness::try_fill(|bytes| {
        chance.write(bytes);
        Ok::<_, ()>(())
    });
    Connection::with_randomness(Arc::new(config), randomness.expect("filled"), Instant::now())
}

// One test: each would see the other's heap.
#[test]
fn what_was_secret_is_gone_from_the_heap_and_shows_nowhere() {
    let [server_key, client_key] = [3, 50].map(|seed| Masked { seed, len: 32 });
    let chances = [97, 150].map(|seed| Masked {
        seed,
        len: Randomness::LEN,
    });
    {
        let keys = key(server_key);
        assert!(server_key.is_on_the_heap(), "the search finds what is there");
        let client = Security::CurveClient {
            server: *keys.public(),
            keys: key(client_key),
        };
        let mut client = connect(SocketType::Dealer, client, chances[0]);
        let mut server = connect(SocketType::Router, Security::CurveServer { keys }, chances[1]);
        let (left, right) = settle(&mut client, &mut server, Instant::now());
        left.expect("the client is content");
        right.expect("the server is content");
        assert!(client.is_ready() && server.is_ready());
        for chance in chances {
            assert!(
                !chance.is_on_the_heap(),
                "the handshake's chance was for the handshake"
            );
        }
        // What came of a message so far, and what is still to go.
        client.send(&Message::from(["a clear text", "the second part"]));
        let bytes = drain(&mut client);
        feed(&mut server, &bytes[..bytes.len() - 1], Instant::now()).expect("content");
        client.send(&Message::from("another text"));
        let shown = format!("{client:?} {server:?}");
        for text in ["a clear text", "another text"] {
            assert!(!shown.contains(text) && !shown.contains(&format!("{:?}", text.as_bytes())));
        }
        assert!(shown.len() < 1000, "lengths only: {shown}");
    }
    for key in [server_key, client_key] {
        assert!(!key.is_on_the_heap());
    }

    // PLAIN: the password goes with the configuration, and with the HELLO that has left.
    let password = Masked { seed: 201, len: 200 };
    let mut bytes = vec![0; 200];
    password.write(&mut bytes);
    let security = Security::PlainClient {
        username: "ada".to_owned(),
        password: Secret::from(bytes),
    };
    let mut config = config(SocketType::Push);
    config.security = security;
    config
        .metadata
        .push(("X-Long".to_owned(), vec![b'x'; 1000].into()));
    let mut client = Connection::new(Arc::new(config), Instant::now());
    let mut peer = b"\xff\0\0\0\0\0\0\0\x01\x7f\x03\x01PLAIN".to_vec();
    peer.resize(64, 0);
    feed(&mut client, &peer, Instant::now()).expect("content");
    let shown = format!("{client:?}");
    assert!(shown.len() < 500, "lengths only: {shown}");
    let hello = client.transmit().len();
    assert!(hello > 200);
    assert_eq!(password.copies(), 2, "in the configuration and in the HELLO");
    // A server in a hurry: what follows on HELLO takes its place beside it.
    feed(&mut client, b"\x04\x08\x07WELCOME", Instant::now()).expect("content");
    assert!(client.transmit().len() > hello + 1000);
    assert_eq!(password.copies(), 2, "nothing is left where HELLO was before");
    let hello = client.transmit().len();
    client.transmit().advance(hello);
    assert_eq!(password.copies(), 1, "in the configuration, which lives");
    drop(client);
    assert!(!password.is_on_the_heap());
}
