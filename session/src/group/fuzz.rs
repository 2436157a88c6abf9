//! A session under attack, for fuzzers: their bytes say what its members do, what becomes of their packets, and what is
//! said in their names. Only there in builds for fuzzing and for tests.

use std::collections::VecDeque;
use std::hash::RandomState;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use fastrand::Rng;
use flexbond_transport::Received;
use flexbond_wire::group::{
    Audience, ChannelKind, Header, Kind, MAX_DATAGRAM, Nonce, Packet, PresharedKey, TAG_LEN,
};
use parking_lot::Mutex;

use super::MemberId;
use super::flow::RecordKind;
use super::node::{Entropy, Node, NodeSettings, ledger};

/// Ends of a session at once, in all.
const MAX_ENDS: usize = 6;
/// Packets that are remembered, to be said again.
const MAX_SAID: usize = 256;
const BARRIER: u16 = 1;
const BROADCAST: u16 = 2;

/// Runs a session as `data` says: its first byte whether there is a key and a multicast address, then steps of a byte
/// each and what belongs to them.
///
/// # Panics
/// When the session does, or a key seals twice under one number, or more is kept than may be.
pub fn session(data: &[u8]) {
    let mut script = Script(data);
    let mut stage = Stage::new(script.byte());
    while !script.0.is_empty() {
        stage.step(&mut script);
        stage.pump();
    }
    // Whatever was said, what is left comes to rest.
    stage.losing = 0;
    for _ in 0..20 {
        stage.now += Duration::from_millis(250);
        stage.pump();
    }
}

/// What is left of the bytes: zeros, once there are none.
struct Script<'a>(&'a [u8]);

impl<'a> Script<'a> {
    fn byte(&mut self) -> u8 {
        self.take(1).first().copied().unwrap_or_default()
    }

    fn word(&mut self) -> usize {
        usize::from(self.byte()) << 8 | usize::from(self.byte())
    }

    fn take(&mut self, len: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(len.min(self.0.len()));
        self.0 = rest;
        taken
    }
}

struct Stage {
    now: Instant,
    ends: Vec<(SocketAddr, Node)>,
    settings: NodeSettings,
    drawn: u8,
    /// From where, and what.
    said: VecDeque<(SocketAddr, Bytes)>,
    /// Packets that get lost, from now on.
    losing: u8,
}

impl Stage {
    fn new(choice: u8) -> Self {
        ledger::begin();
        let key = PresharedKey::new(&[7; 32]).expect("it is long enough");
        let rng = Mutex::new(Rng::with_seed(1));
        let settings = NodeSettings {
            multicast: (choice & 2 != 0).then(|| SocketAddr::from(([239, 1, 2, 3], 4000))),
            is_anywhere: false,
            segment: 200,
            window: 16 * 200,
            recv_budget: 1 << 16,
            least_budget: 0,
            max_message: 1 << 14,
            send_budget: 1 << 16,
            quorum: (choice & 4 != 0).then_some(1),
            skip: choice & 4 != 0,
            parity_from: (choice & 8 != 0).then_some(1),
            seed: 0,
            evict_after: (choice & 16 != 0).then_some(Duration::from_secs(1)),
            heartbeat: Duration::from_millis(200),
            dead_after: Duration::from_secs(2),
            join_timeout: Duration::from_secs(10),
            max_members: MAX_ENDS,
            name: "fuzzed".to_owned(),
            key: (choice & 1 != 0).then_some(key),
            entropy: Entropy::new(move |out| rng.lock().fill(out)),
        };
        let now = Instant::now();
        let coordinator = Node::coordinator(now, 1, RandomState::new(), settings.clone());
        let mut stage = Stage {
            now,
            ends: vec![(address(0), coordinator)],
            settings,
            drawn: 0,
            said: VecDeque::new(),
            losing: 0,
        };
        // They are free, because nobody has taken them.
        let _ = stage.ends[0].1.host_barrier(BARRIER, true);
        let _ = stage.ends[0].1.host_broadcast(BROADCAST);
        for _ in 0..2 {
            stage.join();
            stage.pump();
        }
        stage
    }

    fn join(&mut self) {
        if self.ends.len() == MAX_ENDS {
            return;
        }
        self.drawn = self.drawn.wrapping_add(1);
        let nonces: [Nonce; 2] = [[self.drawn; 16], [!self.drawn; 16]];
        let member = Node::member(
            self.now,
            address(0),
            nonces[0],
            &nonces[1..],
            NodeSettings {
                multicast: None,
                ..self.settings.clone()
            },
        );
        self.ends.push((address(self.ends.len()), member));
    }

    fn step(&mut self, script: &mut Script<'_>) {
        let step = script.byte();
        let end = usize::from(script.byte()) % self.ends.len();
        let now = self.now;
        let node = &mut self.ends[end].1;
        match step % 16 {
            0 => self.now += Duration::from_millis(4 * u64::from(script.byte())),
            1 | 2 => {
                let body = vec![step; script.word() % 4000];
                let channel = if step % 16 == 1 { 0 } else { BROADCAST };
                // It may be full, out, or too large.
                let _ = node.push(channel, RecordKind::Message, &Bytes::from(body));
            }
            3 => node.wind_up(now, now),
            4 => drop(node.dismiss(MemberId(u32::from(script.byte()) % 8))),
            5 => self.join(),
            6 => self.losing = script.byte() % 32,
            7 if end > 0 => drop(node.join_channel(now, BARRIER, ChannelKind::Barrier)),
            8 if end > 0 => drop(node.join_channel(now, BROADCAST, ChannelKind::Broadcast)),
            9 => node.arrive(now, BARRIER),
            10 if end > 0 => node.leave_channel(now, 1 + u16::from(script.byte() % 2)),
            11 => {
                // Whatever anybody says, from anywhere.
                let from = address(usize::from(script.byte()) % 8);
                let len = script.word() % 400;
                self.say(end, from, script.take(len).to_vec());
            }
            12 | 13 => {
                // What was said before, to whomever, and something of it changed.
                let Some((from, bytes)) = self.said.get(script.word() % self.said.len().max(1)) else {
                    return;
                };
                let (from, mut bytes) = (*from, bytes.to_vec());
                let (at, change) = (script.word() % bytes.len().max(1), script.byte());
                if step % 16 == 13 {
                    bytes[at] ^= change;
                }
                self.say(end, from, bytes);
            }
            _ => self.forge(end, script),
        }
    }

    /// What a member with the session's keys makes up, in its own name or another's, with a right trailer.
    fn forge(&mut self, to: usize, script: &mut Script<'_>) {
        let by = usize::from(script.byte()) % self.ends.len();
        let as_whom = usize::from(script.byte()) % self.ends.len();
        let kind = Kind::ALL[usize::from(script.byte()) % Kind::ALL.len()];
        let (ahead, for_one) = (script.byte(), script.byte());
        let len = script.word() % 400;
        let body = script.take(len);
        let Some(me) = self.ends[as_whom].1.me() else {
            return;
        };
        let newest = self.said.iter().rev().filter_map(|(from, bytes)| {
            let header = Header::peek(bytes).ok()?.header;
            (*from == address(as_whom)).then_some(header)
        });
        let Some(known) = newest.max_by_key(|header| header.number) else {
            return;
        };
        let ahead = 1_u64 << (ahead % 63);
        let mut header = Header {
            session: known.session,
            sender: me.0,
            epoch: known.epoch,
            number: known.number.saturating_add(ahead),
        };
        let key = self.ends[by].1.sealing_as(me, kind);
        if let Some((epoch, _)) = &key {
            header.epoch = *epoch;
        }
        let seals = key.is_some() && !kind.is_handshake();
        let mut datagram = BytesMut::new();
        let begun = Packet::Leave.encode_unfinished(&header, seals, &mut datagram);
        begun.expect("a header alone is within the limits");
        datagram.truncate(Header::LEN);
        datagram[3] = kind as u8;
        datagram.extend_from_slice(body);
        let trailer = if seals {
            TAG_LEN
        } else {
            flexbond_wire::group::CHECKSUM_LEN
        };
        datagram.resize((datagram.len() + trailer).min(MAX_DATAGRAM), 0);
        match key.filter(|_| seals) {
            Some((_, key)) => {
                let audience = match for_one % 2 {
                    0 => Audience::All,
                    _ => Audience::One(self.ends[to].1.me().map_or(0, |me| me.0)),
                };
                key.finish(&mut datagram, audience).expect("its own header");
            }
            None => Packet::finish(&mut datagram),
        }
        self.say(to, address(as_whom), datagram.to_vec());
    }

    fn say(&mut self, to: usize, from: SocketAddr, mut bytes: Vec<u8>) {
        let received = Received::new(from, bytes.len());
        let node = &mut self.ends[to].1;
        node.handle_datagrams(self.now, &received, false, std::iter::once(&mut bytes[..]));
    }

    /// Everybody does what is due, until nobody has more to say, or for a while.
    fn pump(&mut self) {
        for _ in 0..8 {
            let mut moved = Vec::new();
            for (from, node) in &mut self.ends {
                node.handle_timeout(self.now);
                for _ in 0..64 {
                    let Some(outgoing) = node.poll_transmit(self.now, 4) else {
                        break;
                    };
                    let size = outgoing.segment_size.unwrap_or(outgoing.contents.len());
                    for packet in outgoing.contents.chunks(size.max(1)) {
                        moved.push((*from, outgoing.to, packet.to_vec()));
                    }
                }
                while node.poll_event().is_some() {}
                for channel in [0, BROADCAST] {
                    while node.pop(self.now, channel).is_some() {}
                }
                assert!(node.waiting() <= 2 * 4096, "too much waits to be sent");
            }
            if moved.is_empty() {
                return;
            }
            for (from, to, bytes) in moved {
                self.deliver(from, to, &bytes);
            }
            self.now += Duration::from_micros(100);
        }
    }

    fn deliver(&mut self, from: SocketAddr, to: SocketAddr, bytes: &[u8]) {
        if self.said.len() == MAX_SAID {
            self.said.pop_front();
        }
        self.said.push_back((from, Bytes::copy_from_slice(bytes)));
        if self.losing > 0 {
            self.losing -= 1;
            return;
        }
        let multicast = to.ip().is_multicast();
        let received = Received::new(from, bytes.len());
        for (address, node) in &mut self.ends {
            if *address == to || multicast && *address != from {
                let mut bytes = bytes.to_vec();
                let packets = std::iter::once(&mut bytes[..]);
                node.handle_datagrams(self.now, &received, multicast, packets);
            }
        }
    }
}

fn address(end: usize) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, 1], 4000 + end as u16))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn what_fuzzers_begin_with_ends_well() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../wire/fuzz/corpus/group_session");
        let mut seeds = 0;
        for seed in std::fs::read_dir(&folder).expect("it is a part of the repository") {
            session(&std::fs::read(seed.expect("it is there").path()).expect("it can be read"));
            seeds += 1;
        }
        assert!(seeds >= 10);
    }

    #[test]
    fn its_members_are_in_whatever_the_choice() {
        for choice in 0..32 {
            let mut stage = Stage::new(choice);
            stage.pump();
            assert_eq!(stage.ends.len(), 3);
            assert!(
                stage.ends.iter().all(|(_, node)| node.others().count() == 2),
                "{choice}"
            );
        }
    }

    #[test]
    fn whatever_the_bytes_are_it_ends_well() {
        for seed in 0..60 {
            let mut rng = Rng::with_seed(seed);
            let mut data = vec![0; rng.usize(..600)];
            rng.fill(&mut data);
            session(&data);
        }
    }
}
