//! What other parties say, for fuzzers. Only there in builds for fuzzing and for tests.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use bytes::Bytes;
use flexbond_transport::Message;

use super::core::link::MAX_ITEMS;
use super::core::packet::{Content, Data, Header, Hello, Item, Packet, Refusal, sender_of};
use super::core::{FlowKey, Kind, Letter, Node, Setup};
use super::limits::Limits;
use super::name::{ChannelName, JobId, PartyId, Tag};

const NAMES: [&str; 3] = ["a", "b", "c"];
/// The incarnation of the party that is looked at.
const LOCAL: u64 = 7;
/// In bytes.
const PIECE: u64 = 40;
const WINDOW: u32 = 4;
const CHANNELS: u32 = 3;

/// Reads a packet.
///
/// # Panics
/// When what was read is written as something else.
pub fn packets(message: Message) {
    let sender = sender_of(&message);
    if let Ok(packet) = Packet::decode(message) {
        assert_eq!(sender.as_ref(), Some(&packet.header.from));
        assert_eq!(Packet::decode(packet.clone().encode()), Ok(packet));
    }
}

/// A party whose program, whose clock and whose peers do what `data` says, in steps of four bytes and a body.
///
/// # Panics
/// When it keeps more than it may, is told of a message twice, or would never rest.
pub fn node(data: &[u8]) {
    let now = Instant::now();
    let mut stage = Stage {
        now,
        node: node_of(0, LOCAL, &[1, 2], now),
        taken: BTreeMap::new(),
        packets: 0,
    };
    let mut rest = data;
    while let [step, which, count, len, after @ ..] = rest {
        let (body, after) = after.split_at(usize::from(*len).min(after.len()));
        rest = after;
        stage.step(*step, *which, *count, body);
        while stage.node.poll_event().is_some() {}
        stage.check();
    }
}

/// A message server, its parties and others, networks, stores and operators, in steps of four bytes and a body.
///
/// # Panics
/// When a message is lost, comes twice or out of turn, more is kept than may be, or what is counted is not what is there.
pub fn relay(data: &[u8]) {
    super::relay::fuzz::relay(data);
}

fn node_of(local: usize, incarnation: u64, peers: &[usize], now: Instant) -> Node {
    let limits = Limits {
        window_messages: WINDOW,
        window_bytes: 200,
        max_message: 300,
        channels: CHANNELS,
        retry: Duration::from_millis(100),
        heartbeat: Duration::from_millis(200),
        dead_after: Duration::from_secs(1),
        ..Limits::default()
    };
    let setup = Setup {
        job: job("job"),
        local: party(local),
        peers: peers.iter().map(|peer| party(*peer)).collect(),
        limits,
        incarnation,
        piece: PIECE,
    };
    Node::new(setup, now)
}

fn job(name: &str) -> JobId {
    JobId::new(name).expect("it is a name")
}

fn party(index: usize) -> PartyId {
    PartyId::new(NAMES[index]).expect("it is a name")
}

fn key(number: u8) -> FlowKey {
    FlowKey {
        kind: [Kind::Variable, Kind::Broadcast][usize::from(number & 1)],
        name: ChannelName::new(["x", "y", "z"][usize::from(number >> 1) % 3]).expect("it is a name"),
    }
}

fn tag(number: u8) -> Option<Tag> {
    let name = [None, None, Some("s"), Some("t")][usize::from(number) % 4];
    name.map(|name| Tag::new(name).expect("it is a name"))
}

struct Stage {
    now: Instant,
    node: Node,
    /// The next offset that the program may be given, by peer, flow, numbering and tag.
    taken: BTreeMap<(usize, FlowKey, Option<u64>, Option<String>), u64>,
    /// Peers draw no number for two numberings.
    packets: u64,
}

impl Stage {
    fn step(&mut self, step: u8, which: u8, count: u8, body: &[u8]) {
        let (now, peer) = (self.now, usize::from(which & 1));
        let flow = key(which >> 1);
        match step % 16 {
            0 => self.now += Duration::from_millis(u64::from(count) * 4),
            1 => self.rest(),
            2 => {
                let letter = Letter {
                    tag: tag(step >> 4),
                    codec: 0,
                    parts: vec![Bytes::copy_from_slice(body), Bytes::new()].into(),
                };
                let ttl = (count > 0).then(|| Duration::from_millis(u64::from(count)));
                let _ = self.node.send(now, peer, &flow, letter, ttl);
            }
            3 => self.take(peer, &flow, tag(step >> 4)),
            4 => {
                let _ = match step >> 4 {
                    0..8 => self.node.open(peer, &flow).map(drop),
                    _ => self.node.resume(peer, &flow, u64::from(count)),
                };
            }
            5 => match (count, which) {
                (0xff, _) => self.node.leave(),
                (_, 0xff) => self
                    .node
                    .abort(party(0), String::from_utf8_lossy(body).into_owned()),
                _ => self.node.handle_lost(peer),
            },
            6 => drop(self.node.poll_transmit(now, peer)),
            7 => {
                // Anything at all behind the version.
                let frame = [&[1], body].concat();
                self.node.handle_packet(now, Message::from(frame));
            }
            _ => {
                self.packets += 1;
                let packet = self.packet(step, which, count, body);
                self.node.handle_packet(now, packet.encode());
            }
        }
    }

    /// A packet of a peer that knows what would be taken; its sender need not say the truth.
    fn packet(&self, step: u8, which: u8, count: u8, body: &[u8]) -> Packet {
        let peer = usize::from(which & 1);
        let seq = self.node.peers()[peer].link.ack();
        let mut pieces = Vec::new();
        let content = match step % 16 {
            8 => Content::Hello(Hello {
                members: match step >> 4 {
                    14 => vec![party(0), party(1)],
                    _ => vec![party(0), party(1), party(2)],
                },
                window_messages: u32::from(count),
                window_bytes: number(body),
                max_message: number(body.get(8..).unwrap_or_default()),
                credit: match step >> 4 {
                    11..14 => u64::from(count) * 8,
                    _ => u64::MAX,
                },
                custody: u64::from(which >> 2),
            }),
            9 if step >> 4 == 15 => Content::Refused(
                [
                    Refusal::NotAMember,
                    Refusal::OtherJob,
                    Refusal::InUse,
                    Refusal::Superseded,
                    Refusal::OtherMembers,
                    Refusal::Unauthorized,
                    Refusal::NoRoom,
                ][usize::from(count) % 7],
            ),
            9 => Content::Ack { gap: count & 1 != 0 },
            _ => Content::Items {
                seq: if step >> 4 == 15 { number(body) } else { seq },
                items: self.items(step, which, count, body, &mut pieces),
            },
        };
        Packet {
            header: Header {
                job: job(if step == 0xf8 { "other" } else { "job" }),
                from: party(1 + peer),
                to: party(0),
                mine: 1 + u64::from(which >> 6),
                yours: if which & 0x20 == 0 { LOCAL } else { 0 },
                // What it has: a little of what it was sent, or more than that.
                ack: u64::from(count >> 4) * u64::from(step >> 4),
                content,
            },
            pieces,
        }
    }

    /// One or several.
    fn items(&self, step: u8, which: u8, count: u8, body: &[u8], pieces: &mut Vec<Bytes>) -> Vec<Item> {
        let epoch = 100 + self.packets / 4;
        let first = item(step, which, count, body, epoch, pieces);
        match body.split_last() {
            Some((second, body)) if second & 0xc0 == 0xc0 => {
                let second = item(8 + (second & 7), which, count, body, epoch, pieces);
                vec![first, second]
            }
            _ => vec![first],
        }
    }

    fn take(&mut self, peer: usize, flow: &FlowKey, tag: Option<Tag>) {
        let expected = self.node.peek(peer, flow, tag.as_ref());
        let taken = self.node.take(peer, flow, tag.as_ref());
        assert_eq!(
            taken.as_ref().map(|taken| taken.letter.is_none()),
            expected,
            "what there is can be taken"
        );
        let Some(taken) = taken else { return };
        let name = tag.map(|tag| tag.as_str().to_owned());
        let entry = (peer, flow.clone(), taken.epoch, name);
        let next = self.taken.entry(entry).or_default();
        assert!(taken.offset >= *next, "it was taken before");
        *next = taken.offset + 1;
        if let Some(letter) = taken.letter {
            assert!(letter.size() <= self.node.limits().max_message);
        }
    }

    /// What is due is done, and what is to be sent is sent; nothing more is to do at this moment.
    fn rest(&mut self) {
        self.node.handle_timeout(self.now);
        for peer in 0..self.node.peers().len() {
            // What is refused, a HELLO, what is queued, a probe, and an acknowledgement.
            let most = most_queued() + 4;
            let mut sent = 0;
            while let Some(message) = self.node.poll_transmit(self.now, peer) {
                let packet = Packet::decode(message).expect("what is sent can be read");
                assert_eq!(packet.header.mine, LOCAL);
                sent += 1;
                assert!(sent <= most, "it does not stop to send");
            }
        }
        let due = self.node.poll_timeout();
        assert!(due.is_none_or(|at| at > self.now), "nothing is due any more");
    }

    fn check(&self) {
        let limits = self.node.limits();
        for peer in self.node.peers() {
            assert!(peer.inn.len() <= CHANNELS as usize && peer.out.len() <= CHANNELS as usize);
            for (_, flow) in peer.inn.iter() {
                let (messages, bytes) = flow.held();
                // Those that wait, the tombs of others, and those of numberings before.
                assert!(messages <= 3 * WINDOW as usize, "{messages} wait");
                assert!(
                    bytes <= 2 * limits.window_bytes.max(limits.max_message),
                    "{bytes} bytes wait"
                );
                assert!(
                    flow.room() <= limits.max_message as usize,
                    "room for what has not come"
                );
            }
            let (items, bytes) = peer.link.queued();
            assert!(
                items <= most_queued(),
                "{items} items wait for an acknowledgement"
            );
            assert!(
                bytes <= (16 << 20) + 300,
                "{bytes} bytes wait for an acknowledgement"
            );
        }
    }
}

/// Items that may wait for an acknowledgement: data, and for each flow its opening, the answer to one, and ends of
/// messages, those that the peer caused and those that were held when it had caused as many as it may.
fn most_queued() -> usize {
    MAX_ITEMS + 4 + CHANNELS as usize * (1 + 1 + 3 * WINDOW as usize)
}

/// Up to eight bytes, little endian.
pub(in crate::federation) fn number(body: &[u8]) -> u64 {
    let mut bytes = [0; 8];
    for (to, from) in bytes.iter_mut().zip(body) {
        *to = *from;
    }
    u64::from_le_bytes(bytes)
}

/// Something that one party says to another, with the pieces that belong to it.
pub(in crate::federation) fn item(
    step: u8,
    which: u8,
    count: u8,
    body: &[u8],
    epoch: u64,
    pieces: &mut Vec<Bytes>,
) -> Item {
    let flow = u32::from(count & 3);
    let before = pieces.len();
    match step % 16 {
        10 => Item::Open {
            flow,
            key: key(which >> 1),
            from: body.first().map(|first| (epoch, u64::from(*first))),
        },
        11 => {
            let (next, held) = body.split_at(body.len().min(usize::from(count >> 2) % 9));
            Item::Opened {
                flow,
                epoch: u64::from(which >> 6),
                next: number(next),
                held: held.iter().map(|offset| u64::from(*offset)).collect(),
            }
        }
        12 => Item::Settled {
            flow,
            offset: u64::from(which >> 1 & 15),
            expired: count & 4 != 0,
        },
        13 => match count {
            0 => Item::Leave,
            1 => Item::Abort {
                by: party(2),
                reason: String::from_utf8_lossy(body).into_owned(),
            },
            2..5 => Item::Seen { is_up: count != 3 },
            5..9 => Item::Credit { total: number(body) },
            9..12 => Item::Rewind {
                flow: u32::from(which & 3),
                offset: u64::from(count),
            },
            12 => Item::Want { total: number(body) },
            13..16 => Item::Declined {
                flow: u32::from(which & 3),
                limit: u32::from(count),
            },
            _ => Item::Ready,
        },
        14 => {
            // A whole message, as it should be.
            pieces.extend((!body.is_empty()).then(|| Bytes::copy_from_slice(body)));
            Item::Data(Data {
                flow,
                offset: u64::from(count >> 2),
                tag: tag(which >> 3),
                codec: 0,
                ttl: (step & 0x10 != 0).then(|| u64::from(count)),
                expired: step & 0x60 == 0x60,
                at: 0,
                parts: vec![body.len() as u64].into(),
                pieces: u16::from(!body.is_empty()),
            })
        }
        _ => {
            // Where it begins, how many parts it has and how long these are, what comes of it now.
            let [at, count_parts, content @ ..] = body else {
                return Item::Ready;
            };
            let (lens, content) = content.split_at(usize::from(count_parts & 7).min(content.len()));
            let long = if count_parts & 0x80 == 0 {
                1
            } else {
                u64::MAX / 300
            };
            pieces.extend(
                content
                    .chunks(PIECE as usize)
                    .take(1 + usize::from(count_parts >> 5 & 3))
                    .map(Bytes::copy_from_slice),
            );
            Item::Data(Data {
                flow,
                offset: if count_parts & 0x10 == 0 {
                    u64::from(count >> 2)
                } else {
                    u64::MAX - u64::from(count >> 2)
                },
                tag: tag(which >> 3),
                codec: *count_parts,
                ttl: (step & 0x10 != 0).then(|| number(body)),
                expired: step & 0x20 != 0,
                at: u64::from(*at),
                parts: lens.iter().map(|len| u64::from(*len) * long).collect(),
                pieces: u16::try_from(pieces.len() - before).expect("there are few"),
            })
        }
    }
}

/// Two parties that keep to all rules, over a way that does what `data` says: packets are lost, doubled and overtaken,
/// the way breaks, and nobody knows when. Then it is whole again.
///
/// # Panics
/// When a message is lost, comes twice, or comes out of turn.
pub fn parties(data: &[u8]) {
    let now = Instant::now();
    let mut pair = Pair {
        now,
        nodes: [node_of(0, LOCAL, &[1], now), node_of(1, LOCAL + 1, &[0], now)],
        flying: Default::default(),
        sent: Default::default(),
        received: Default::default(),
    };
    for step in data.chunks_exact(2) {
        pair.step(step[0], step[1]);
    }
    pair.heal();
}

/// Flows that the two use.
const FLOWS: u8 = 2;

struct Pair {
    now: Instant,
    nodes: [Node; 2],
    /// By who is to get them.
    flying: [VecDeque<Message>; 2],
    /// How many messages were sent and received, by sender and flow, with a tag or without.
    sent: BTreeMap<(usize, u8, bool), u32>,
    received: BTreeMap<(usize, u8, bool), u32>,
}

impl Pair {
    fn step(&mut self, step: u8, more: u8) {
        let at = usize::from(step >> 7);
        let (flow, is_tagged) = (more % FLOWS, more & 0x40 != 0);
        match step % 8 {
            0 => self.send(at, flow, is_tagged, more),
            1 => self.take(at, flow, is_tagged),
            2 => {
                self.now += Duration::from_millis(u64::from(more) * 2);
                self.nodes[at].handle_timeout(self.now);
            }
            3 => self.transmit(at, usize::from(more % 8) + 1),
            step => {
                let flying = &mut self.flying[at];
                if flying.is_empty() {
                    return;
                }
                let index = usize::from(more) % flying.len();
                match step {
                    4 => drop(flying.remove(index)),
                    5 => {
                        let message = flying[index].clone();
                        self.nodes[at].handle_packet(self.now, message);
                    }
                    6 if more == 0xff => {
                        flying.clear();
                        self.nodes.iter_mut().for_each(|node| node.handle_lost(0));
                    }
                    6 => {
                        if let Some(message) = flying.remove(index) {
                            self.nodes[at].handle_packet(self.now, message);
                        }
                    }
                    _ => self.arrive(at),
                }
            }
        }
        self.nodes
            .iter_mut()
            .for_each(|node| while node.poll_event().is_some() {});
    }

    fn send(&mut self, from: usize, flow: u8, is_tagged: bool, len: u8) {
        let sent = self.sent.entry((from, flow, is_tagged)).or_default();
        let filling = Bytes::from(vec![flow; usize::from(len)]);
        let letter = Letter {
            tag: tag(if is_tagged { 2 } else { 0 }),
            codec: 0,
            parts: vec![Bytes::copy_from_slice(&sent.to_le_bytes()), filling].into(),
        };
        if self.nodes[from]
            .send(self.now, 0, &key(flow), letter, None)
            .is_ok()
        {
            *sent += 1;
        }
    }

    fn take(&mut self, at: usize, flow: u8, is_tagged: bool) {
        let tag = tag(if is_tagged { 2 } else { 0 });
        let Some(taken) = self.nodes[at].take(0, &key(flow), tag.as_ref()) else {
            return;
        };
        let letter = taken.letter.expect("nothing expires");
        let received = self.received.entry((1 - at, flow, is_tagged)).or_default();
        assert_eq!(letter.parts[0][..], received.to_le_bytes(), "the next one");
        assert!(letter.parts[1].iter().all(|byte| *byte == flow));
        *received += 1;
    }

    fn transmit(&mut self, from: usize, most: usize) {
        for _ in 0..most {
            let Some(message) = self.nodes[from].poll_transmit(self.now, 0) else {
                return;
            };
            // The longest one is lost when there are too many.
            if self.flying[1 - from].len() < 256 {
                self.flying[1 - from].push_back(message);
            }
        }
    }

    fn arrive(&mut self, at: usize) {
        while let Some(message) = self.flying[at].pop_front() {
            self.nodes[at].handle_packet(self.now, message);
        }
    }

    fn heal(&mut self) {
        for _ in 0..10_000 {
            for at in 0..2 {
                self.transmit(at, 64);
                self.arrive(1 - at);
                for (flow, is_tagged) in (0..FLOWS).flat_map(|flow| [(flow, false), (flow, true)]) {
                    self.take(at, flow, is_tagged);
                }
                while self.nodes[at].poll_event().is_some() {}
            }
            self.sent.retain(|_, sent| *sent > 0);
            let is_quiet = self.flying.iter().all(VecDeque::is_empty);
            if is_quiet && self.sent == self.received && self.nodes.iter().all(Node::is_ready) {
                return;
            }
            if is_quiet {
                let due = self.nodes.iter().filter_map(Node::poll_timeout).min();
                self.now = due.expect("links always have a timer").max(self.now);
                self.nodes
                    .iter_mut()
                    .for_each(|node| node.handle_timeout(self.now));
            }
        }
        panic!("{:?} were sent, {:?} received", self.sent, self.received);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn whatever_comes_does_no_harm(
            data in prop::collection::vec(prop_oneof![3 => 0_u8..16, 1 => any::<u8>()], 0..400),
        ) {
            node(&data);
            parties(&data);
            packets(Message::from(data));
        }
    }
}
