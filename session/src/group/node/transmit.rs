//! Packets on their way out: single ones, and batches of segments.

use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use bytes::BytesMut;
use flexbond_transport::Transmit;
use flexbond_wire::group::{Data, FlowSync, Header, Packet, Parity};

use super::Node;
use super::flows::Flows;
use super::protection::{MAX_SEALED, SEALED_SIZE, SealKey, finish_sealed, seal};
use super::ways::Ways;
use crate::group::MemberId;
use crate::group::flow::{Piece, Target};

/// Packets that wait to be sent, and what all packets of this node say.
#[derive(Debug)]
pub(super) struct Outbox {
    header: Header,
    /// What packets are sealed with that all others may open; they are plain, if there is nothing.
    seal: Option<SealKey>,
    /// What packets are sealed with that the coordinator alone may open.
    control: Option<SealKey>,
    /// How much was sealed with the first of them, and may be.
    sealed: u64,
    max_sealed: u64,
    single: VecDeque<Single>,
    /// Whether what is queued answers something that has come.
    answers: bool,
    unanswered: u64,
    /// From where each of the others is spoken to.
    pub(super) ways: Ways,
    /// What is being sent.
    batch: BytesMut,
    /// The size of each packet in the batch but the last, if there are several.
    segment_size: Option<usize>,
    /// To whom it is still to be sent, and from where.
    targets: VecDeque<(SocketAddr, Option<IpAddr>)>,
    /// What did not belong into the batch.
    held: Option<(u16, Piece)>,
    /// Room for the payload of a segment that holds parts of several messages.
    payload: Vec<u8>,
}

/// A packet of its own.
#[derive(Debug)]
struct Single {
    to: SocketAddr,
    /// From where; from where the system likes, if `None`.
    from: Option<IpAddr>,
    datagram: BytesMut,
}

/// What is to be sent now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Outgoing<'a> {
    pub(crate) to: SocketAddr,
    /// The address of this machine to send from; the one that the system likes, if `None`.
    pub(crate) from: Option<IpAddr>,
    pub(crate) contents: &'a [u8],
    /// Split into packets of this size, the last of which may be shorter.
    pub(crate) segment_size: Option<usize>,
}

impl Default for Outbox {
    fn default() -> Self {
        Outbox {
            header: Header {
                session: 0,
                sender: Header::NOT_A_MEMBER,
                epoch: 0,
                number: 0,
            },
            seal: None,
            control: None,
            sealed: 0,
            max_sealed: MAX_SEALED,
            single: VecDeque::new(),
            answers: false,
            unanswered: 0,
            ways: Ways::default(),
            batch: BytesMut::new(),
            segment_size: None,
            targets: VecDeque::new(),
            held: None,
            payload: Vec::new(),
        }
    }
}

impl Outbox {
    /// Packets that may wait to be sent before no more answers are added: questions come as fast as anybody on the network
    /// likes, and who gets no answer asks again.
    const MAX_WAITING: usize = 4096;

    /// No packet has a higher number: more than any node can send in its time, and nothing that is reckoned with numbers
    /// overflows.
    const LAST_NUMBER: u64 = u64::MAX / 2;

    /// What is queued from now on answers what has come from there, to this address of the machine.
    pub(super) fn begin_answers(&mut self, from: SocketAddr, at: Option<IpAddr>) {
        self.answers = true;
        self.ways.begin(from, at);
    }

    /// What is queued from now on answers nothing.
    pub(super) fn end_answers(&mut self) {
        self.answers = false;
        self.ways.end();
    }

    /// Answers for which there was no room.
    pub(super) fn unanswered(&self) -> u64 {
        self.unanswered
    }

    pub(super) fn identify(&mut self, session: u64, me: MemberId) {
        (self.header.session, self.header.sender) = (session, me.0);
    }

    /// From now on packets are of this epoch, and sealed with this.
    pub(super) fn begin_epoch(&mut self, epoch: u32, seal: Option<SealKey>) {
        self.header.epoch = epoch;
        self.seal = seal;
        self.sealed = 0;
    }

    /// What goes to the coordinator alone is sealed with this.
    pub(super) fn set_control(&mut self, control: Option<SealKey>) {
        self.control = control;
    }

    /// With one key, no more than this is sealed.
    #[cfg(all(test, feature = "group-crypto"))]
    pub(super) fn set_max_sealed(&mut self, max: u64) {
        self.max_sealed = max;
    }

    /// The next packet has the number after this one.
    #[cfg(all(test, feature = "group-crypto"))]
    pub(super) fn advance_number(&mut self, number: u64) {
        self.header.number = number;
    }

    /// Goes on to the next number; false if there is none. None is ever taken twice, whatever becomes of its packet: with
    /// the key, it is what a packet is sealed with.
    fn take_number(&mut self) -> bool {
        let is_left = self.header.number < Self::LAST_NUMBER;
        self.header.number += u64::from(is_left);
        is_left
    }

    /// Whether half of what may be sealed with one key was.
    pub(super) fn is_tired(&self) -> bool {
        self.seal.is_some() && self.sealed >= self.max_sealed / 2
    }

    /// Whether nothing more may be sealed with this key.
    fn is_spent(&self) -> bool {
        self.seal.is_some() && self.sealed >= self.max_sealed
    }

    /// How many packets wait to be sent.
    #[cfg(any(test, fuzzing))]
    pub(super) fn waiting(&self) -> usize {
        self.single.len()
    }

    pub(super) fn epoch(&self) -> u32 {
        self.header.epoch
    }

    pub(super) fn session(&self) -> u64 {
        self.header.session
    }

    pub(super) fn me(&self) -> MemberId {
        MemberId(self.header.sender)
    }

    /// Queues a packet of its own, for all or for the one who is there: nobody else takes it then, if it is sealed.
    pub(super) fn push(&mut self, to: SocketAddr, target: Target, packet: &Packet<'_>) {
        let kind = packet.kind();
        let epoch = self.header.epoch;
        if kind.is_handshake() || self.seal.is_none() {
            self.push_in(to, epoch, packet);
        } else if kind.is_control() {
            let control = self.control.take();
            self.queue(to, 0, control.as_ref().map(|key| (key, Target::All)), packet);
            self.control = control;
        } else if !self.is_spent() {
            let seal = self.seal.take();
            let len = self.queue(to, epoch, seal.as_ref().map(|key| (key, target)), packet);
            self.seal = seal;
            self.sealed += weight(len);
        }
    }

    /// Queues a packet of the handshake, in this epoch.
    pub(super) fn push_in(&mut self, to: SocketAddr, epoch: u32, packet: &Packet<'_>) {
        self.queue(to, epoch, None, packet);
    }

    /// Queues a packet for one alone, sealed for it if there is `seal`.
    pub(super) fn push_control(&mut self, to: SocketAddr, seal: Option<&SealKey>, packet: &Packet<'_>) {
        // What is sealed for one alone is of no epoch.
        let epoch = if seal.is_some() { 0 } else { self.header.epoch };
        // The key itself is for one.
        let seal = seal.map(|key| (key, Target::All));
        self.queue(to, epoch, seal, packet);
    }

    /// Queues a packet of this epoch; returns its size.
    fn queue(
        &mut self,
        to: SocketAddr,
        epoch: u32,
        seal: Option<(&SealKey, Target)>,
        packet: &Packet<'_>,
    ) -> usize {
        if self.answers && self.single.len() >= Self::MAX_WAITING {
            self.unanswered += 1;
            return 0;
        }
        let mut datagram = BytesMut::new();
        if !self.take_number() {
            return 0;
        }
        let header = Header { epoch, ..self.header };
        // All limits are those of who made the packet; one that cannot be encoded says nothing.
        let Some(len) = encode(packet, &header, seal, &mut datagram) else {
            return 0;
        };
        let from = self.ways.to(to);
        self.single.push_back(Single { to, from, datagram });
        len
    }
}

impl Outbox {
    /// Completes the packets of the batch: sums them up, or seals them. Not one by one as they are written, because
    /// what was just written is not read quickly.
    fn finish_batch(&mut self, size: usize, target: Target) {
        for datagram in self.batch.chunks_mut(size) {
            match &self.seal {
                Some(key) => finish_sealed(key, target, datagram),
                None => Packet::finish(datagram),
            }
        }
    }
}

impl Outbox {
    /// Queues the same packet, which is not for one alone, for several.
    pub(super) fn push_to_all(&mut self, all: &[SocketAddr], packet: &Packet<'_>) {
        let Some((&first, others)) = all.split_first() else {
            return;
        };
        let before = self.single.len();
        self.push(first, Target::All, packet);
        if self.single.len() > before
            && let Some(Single { datagram, .. }) = self.single.back()
        {
            let datagram = datagram.clone();
            let copies = others.iter().map(|to| Single {
                to: *to,
                from: self.ways.to(*to),
                datagram: datagram.clone(),
            });
            self.single.extend(copies);
        }
    }
}

impl Node {
    /// What is to be sent next: at most `max_segments` packets of equal size in one.
    pub(crate) fn poll_transmit(&mut self, now: Instant, max_segments: usize) -> Option<Outgoing<'_>> {
        // Nothing more is sealed with a key that somebody has who was sent away just now.
        if self.has_changed() {
            self.renew(now);
        }
        while self.outbox.targets.is_empty() {
            self.flows.report(now, &self.peers, &mut self.outbox);
            if let Some(single) = self.outbox.single.pop_front() {
                self.outbox.batch = single.datagram;
                self.outbox.segment_size = None;
                self.outbox.targets.push_back((single.to, single.from));
            } else if !self.fill_batch(now, max_segments) {
                return None;
            }
        }
        let (to, from) = self.outbox.targets.pop_front()?;
        Some(Outgoing {
            to,
            from,
            contents: &self.outbox.batch,
            segment_size: self.outbox.segment_size,
        })
    }

    /// What [`poll_transmit`](Self::poll_transmit) gave for `to` could not be sent now.
    pub(crate) fn untransmit(&mut self, to: SocketAddr, from: Option<IpAddr>) {
        self.outbox.targets.push_front((to, from));
    }

    /// What [`poll_transmit`](Self::poll_transmit) gave for `to` was refused by the system.
    pub(crate) fn note_unsent(&mut self, to: SocketAddr, error: &io::Error) {
        self.counters.unsent += 1;
        if self.counters.unsent == 1 {
            tracing::warn!(%to, %error, "the system refuses to send; more of this is only counted");
        }
    }

    /// Gathers segments for the same receivers; false if there are none.
    fn fill_batch(&mut self, now: Instant, max_segments: usize) -> bool {
        self.outbox.batch.clear();
        self.outbox.segment_size = None;
        let mut first: Option<((u16, Target), usize)> = None;
        let mut count = 0;
        while count < max_segments.max(1) {
            let number = self.outbox.header.number + 1;
            // By reference: to move what was just written field by field takes longer than to make it.
            let (begun, more);
            let next = match first {
                None => {
                    let held = self.outbox.held.take();
                    begun = held.or_else(|| self.flows.poll_piece(now, number));
                    begun.as_ref().map(|(channel, piece)| (*channel, piece))
                }
                Some(((channel, _), _)) => {
                    more = self.flows.poll_more(channel, now, number);
                    more.as_ref().map(|piece| (channel, piece))
                }
            };
            let Some((channel, piece)) = next else {
                break;
            };
            let target = (channel, target_of(piece));
            let is_sync = matches!(piece, Piece::Sync { .. });
            if first.is_some_and(|(other, _)| other != target || is_sync) {
                self.outbox.held = Some((channel, *piece));
                break;
            }
            let filled = self.outbox.batch.len();
            let Some(len) = self.append(channel, piece) else {
                continue;
            };
            let (_, size) = *first.get_or_insert((target, len));
            if len > size {
                // None may be longer than the first.
                self.outbox.batch.truncate(filled);
                self.outbox.held = Some((channel, *piece));
                break;
            }
            count += 1;
            // Only the last one may be shorter; and all have to fit into one call, for which they stay in the cache.
            if len < size || is_sync || self.outbox.batch.len() + size > Transmit::MAX_LEN {
                break;
            }
        }
        let Some(((channel, target), size)) = first else {
            return false;
        };
        self.flows.end_turn();
        self.outbox.finish_batch(size, target);
        self.outbox.segment_size = (count > 1).then_some(size);
        let Outbox { targets, ways, .. } = &mut self.outbox;
        let way = |to| (to, ways.to(to));
        match target {
            Target::All if channel == Flows::ALL => {
                let all = self.peers.all(self.settings.multicast);
                targets.extend(all.map(way));
            }
            Target::All => {
                let receives = |member| self.flows.receives(channel, member);
                let all = self.peers.some(self.settings.multicast, receives);
                targets.extend(all.into_iter().map(way));
            }
            Target::One(member) => targets.extend(self.peers.address(member).map(way)),
        }
        // Whoever it was for may be gone: there may be more for others.
        true
    }

    /// Writes a piece at the end of the batch, all but its trailer; returns its size.
    fn append(&mut self, channel: u16, piece: &Piece) -> Option<usize> {
        let Node {
            outbox,
            flows,
            settings,
            ..
        } = self;
        if outbox.is_spent() || !outbox.take_number() {
            return None;
        }
        let sealed = outbox.seal.is_some();
        let len = match *piece {
            Piece::Segment {
                number,
                answer,
                repair,
                ..
            } => {
                outbox.payload.resize(settings.segment, 0);
                let payload = flows.payload(channel, number, &mut outbox.payload)?;
                let data = Data {
                    channel,
                    point_to_point: false,
                    answer,
                    repair,
                    seq: number,
                    payload,
                };
                Packet::Data(data).encode_unfinished(&outbox.header, sealed, &mut outbox.batch)
            }
            Piece::Parity {
                base,
                count,
                index,
                answer,
            } => {
                let parity = Parity {
                    channel,
                    point_to_point: false,
                    answer,
                    base,
                    count,
                    index,
                    payload: flows.parity(channel, base, index)?,
                };
                Packet::Parity(parity).encode_unfinished(&outbox.header, sealed, &mut outbox.batch)
            }
            Piece::Sync { start, next, .. } => {
                let sync = FlowSync {
                    channel,
                    point_to_point: false,
                    start,
                    next,
                };
                Packet::Sync(sync).encode_unfinished(&outbox.header, sealed, &mut outbox.batch)
            }
        };
        let len = len.ok()?;
        outbox.sealed += weight(len);
        Some(len)
    }
}

/// Appends a packet to `out`, sealed if there is something to seal it with; returns its size.
fn encode(
    packet: &Packet<'_>,
    header: &Header,
    key: Option<(&SealKey, Target)>,
    out: &mut BytesMut,
) -> Option<usize> {
    let encoded = match key {
        Some((key, target)) if !packet.kind().is_handshake() => seal(packet, header, key, target, out),
        _ => packet.encode(header, out),
    };
    encoded.ok()
}

/// What a packet counts for, towards what a key is good for.
fn weight(len: usize) -> u64 {
    (len as u64).div_ceil(SEALED_SIZE)
}

fn target_of(piece: &Piece) -> Target {
    match piece {
        Piece::Segment { target, .. } | Piece::Sync { target, .. } => *target,
        Piece::Parity { .. } => Target::All,
    }
}
