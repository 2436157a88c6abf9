//! Packets to test with: arbitrary ones of every kind, and the known answers.
#![allow(dead_code)] // Every test file uses another part of it.

use std::net::{IpAddr, SocketAddr};

use flexbond_wire::group::{
    Abort, Accept, Arrive, ChannelJoin, ChannelKind, ChannelLeave, ChannelRefusal, ChannelReply, Data,
    FlowSync, Gap, Goodbye, GoodbyeReason, Header, Heartbeat, Join, Kind, List, MAX_FAILED, MAX_GAPS, Member,
    Packet, Parity, Reject, RejectReason, Release, Retry, Status, View, ViewAck, WrappedKey,
};
use proptest::prelude::*;

const REJECTS: [RejectReason; 9] = [
    RejectReason::Spent,
    RejectReason::Full,
    RejectReason::WrongKey,
    RejectReason::NeedsKey,
    RejectReason::NoKey,
    RejectReason::Version,
    RejectReason::Closing,
    RejectReason::BudgetTooSmall,
    RejectReason::Other,
];

const GOODBYES: [GoodbyeReason; 5] = [
    GoodbyeReason::Left,
    GoodbyeReason::Evicted,
    GoodbyeReason::Closed,
    GoodbyeReason::Dead,
    GoodbyeReason::Slow,
];

const REFUSALS: [Option<ChannelRefusal>; 6] = [
    None,
    Some(ChannelRefusal::Unknown),
    Some(ChannelRefusal::WrongKind),
    Some(ChannelRefusal::Full),
    Some(ChannelRefusal::Closing),
    Some(ChannelRefusal::Other),
];

const CHANNELS: [ChannelKind; 4] = [
    ChannelKind::Session,
    ChannelKind::Barrier,
    ChannelKind::Broadcast,
    ChannelKind::Communicator,
];

/// What packets of any kind are made of.
#[derive(Debug, Clone)]
pub(crate) struct Material {
    pub(crate) header: Header,
    longs: [u64; 4],
    ints: [u32; 3],
    channel: u16,
    segment: u16,
    part: (u16, u16),
    bits: [bool; 3],
    choice: usize,
    count: u8,
    nonce: [u8; 16],
    other_nonce: [u8; 16],
    cookie: Option<[u8; 32]>,
    proof: Option<[u8; 32]>,
    key: Option<[u8; 48]>,
    address: Option<SocketAddr>,
    name: String,
    text: String,
    payload: Vec<u8>,
    members: Vec<Member>,
    gaps: Vec<Gap>,
    failed: Vec<u32>,
}

impl Material {
    /// The packet of this kind that the material makes.
    pub(crate) fn packet(&self, kind: Kind) -> Packet<'_> {
        let [a, b, c, d] = self.longs;
        let [x, y, z] = self.ints;
        let [p, q, r] = self.bits;
        let channel = self.channel;
        let key = self.key.map(WrappedKey);
        let channel_kind = CHANNELS[self.choice % CHANNELS.len()];
        match kind {
            Kind::Join => Packet::Join(Join {
                nonce: self.nonce,
                cookie: self.cookie,
                name: &self.name,
                recv_budget: a,
                proof: self.proof,
            }),
            Kind::Retry => Packet::Retry(Retry {
                nonce: self.nonce,
                cookie: self.cookie.unwrap_or([7; 32]),
            }),
            Kind::Reject => Packet::Reject(Reject {
                nonce: self.nonce,
                reason: REJECTS[self.choice % REJECTS.len()],
                text: &self.text,
            }),
            Kind::Accept => Packet::Accept(Accept {
                nonce: self.nonce,
                member: x,
                multicast: self.address,
                segment: self.segment,
                heartbeat: y,
                dead_after: z,
                max_message: a,
                recv_budget: b,
                key,
                server_nonce: self.other_nonce,
            }),
            Kind::Leave => Packet::Leave,
            Kind::Goodbye => Packet::Goodbye(Goodbye {
                reason: GOODBYES[self.choice % GOODBYES.len()],
                text: &self.text,
            }),
            Kind::Heartbeat => Packet::Heartbeat(Heartbeat {
                sent_at: a,
                echo: b,
                echo_delay: x,
                hears_multicast: p,
            }),
            Kind::View => Packet::View(View {
                channel,
                kind: channel_kind,
                view: x,
                part: self.part.0,
                parts: self.part.1,
                key,
                members: List::new(&self.members),
            }),
            Kind::ViewAck => Packet::ViewAck(ViewAck { channel, view: x }),
            Kind::ChannelJoin => Packet::ChannelJoin(ChannelJoin {
                request: x,
                channel,
                kind: channel_kind,
            }),
            Kind::ChannelReply => Packet::ChannelReply(ChannelReply {
                request: x,
                channel,
                refusal: REFUSALS[self.choice % REFUSALS.len()],
                first_round: a,
            }),
            Kind::ChannelLeave => Packet::ChannelLeave(ChannelLeave { request: x, channel }),
            Kind::Data => Packet::Data(Data {
                channel,
                point_to_point: p,
                answer: q,
                repair: r,
                seq: a,
                payload: &self.payload,
            }),
            Kind::Status => Packet::Status(Status {
                channel,
                point_to_point: p,
                unknown: q,
                source: x,
                next: a,
                edge: b,
                known: d,
                early: z ^ x,
                echo: c,
                echo_delay: y,
                local_drops: z,
                missing: List::new(&self.gaps),
            }),
            Kind::Sync => Packet::Sync(FlowSync {
                channel,
                point_to_point: p,
                start: q.then_some(c >> 1),
                next: d,
            }),
            Kind::Parity => Packet::Parity(Parity {
                channel,
                point_to_point: p,
                answer: q,
                base: a,
                count: self.count,
                index: y as u8,
                payload: &self.payload,
            }),
            Kind::Arrive => Packet::Arrive(Arrive { channel, round: a }),
            Kind::Release => Packet::Release(Release { channel, round: a }),
            Kind::Abort => Packet::Abort(Abort {
                channel,
                round: a,
                failed: List::new(&self.failed),
            }),
        }
    }
}

fn address() -> impl Strategy<Value = SocketAddr> {
    let ip = prop_oneof![
        any::<[u8; 4]>().prop_map(IpAddr::from),
        any::<[u8; 16]>().prop_map(IpAddr::from)
    ];
    (ip, any::<u16>()).prop_map(SocketAddr::from)
}

fn member() -> impl Strategy<Value = Member> {
    (any::<u32>(), address(), any::<u64>(), any::<u8>()).prop_map(|(id, address, max_message, flags)| {
        Member {
            id,
            address,
            max_message,
            flags,
        }
    })
}

fn gap() -> impl Strategy<Value = Gap> {
    (0..u64::MAX - 65_535, 1..=u16::MAX).prop_map(|(start, len)| Gap { start, len })
}

/// At most `limit` bytes of text.
fn text(limit: usize) -> impl Strategy<Value = String> {
    prop::collection::vec(any::<char>(), 0..limit).prop_map(move |chars| {
        let mut text = String::new();
        for c in chars {
            if text.len() + c.len_utf8() <= limit {
                text.push(c);
            }
        }
        text
    })
}

pub(crate) fn header() -> impl Strategy<Value = Header> {
    (any::<u64>(), any::<u32>(), any::<u32>(), any::<u64>()).prop_map(|(session, sender, epoch, number)| {
        Header {
            session,
            sender,
            epoch,
            number,
        }
    })
}

pub(crate) fn kind() -> impl Strategy<Value = Kind> {
    prop::sample::select(Kind::ALL.as_slice())
}

pub(crate) fn material() -> impl Strategy<Value = Material> {
    let numbers = (
        header(),
        any::<[u64; 4]>(),
        any::<[u32; 3]>(),
        any::<u16>(),
        1..=65_000_u16,
        (0..1024_u16, 1..=1024_u16).prop_map(|(part, parts)| (part % parts, parts)),
        any::<[bool; 3]>(),
        0..1000_usize,
        1..=u8::MAX,
    );
    let bytes = (
        any::<[u8; 16]>(),
        any::<[u8; 16]>(),
        any::<Option<[u8; 32]>>(),
        any::<Option<[u8; 32]>>(),
        prop::option::of(prop::array::uniform32(any::<u8>()).prop_map(|half| {
            let mut key = [9; 48];
            key[..32].copy_from_slice(&half);
            key
        })),
    );
    let lists = (
        prop::option::of(address()),
        text(64),
        text(200),
        prop::collection::vec(any::<u8>(), 1..1500),
        // As many as fit when all of them have addresses of IPv6.
        prop::collection::vec(member(), 0..=34),
        prop::collection::vec(gap(), 0..=MAX_GAPS),
        prop::collection::vec(any::<u32>(), 0..=MAX_FAILED),
    );
    (numbers, bytes, lists).prop_map(|(numbers, bytes, lists)| {
        let (header, longs, ints, channel, segment, part, bits, choice, count) = numbers;
        let (nonce, other_nonce, cookie, proof, key) = bytes;
        let (address, name, text, payload, members, gaps, failed) = lists;
        Material {
            header,
            longs,
            ints,
            channel,
            segment,
            part,
            bits,
            choice,
            count,
            nonce,
            other_nonce,
            cookie,
            proof,
            key,
            address,
            name,
            text,
            payload,
            members,
            gaps,
            failed,
        }
    })
}

/// The bytes of one line of `vectors.txt`.
pub(crate) fn vector(name: &str) -> Vec<u8> {
    let line = include_str!("vectors.txt")
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
        .unwrap_or_else(|| panic!("there is no vector {name}"));
    let mut bytes = Vec::new();
    for word in line.split(' ') {
        match word.strip_prefix("00*") {
            Some(count) => bytes.resize(bytes.len() + count.parse::<usize>().expect("a number"), 0),
            None => bytes.extend(word.as_bytes().chunks(2).map(|digits| {
                let digits = std::str::from_utf8(digits).expect("hexadecimal");
                u8::from_str_radix(digits, 16).expect("hexadecimal")
            })),
        }
    }
    bytes
}

/// The names of all lines of `vectors.txt`.
pub(crate) fn vector_names() -> impl Iterator<Item = &'static str> {
    include_str!("vectors.txt")
        .lines()
        .filter_map(|line| line.split_once(": ").map(|(name, _)| name))
}
