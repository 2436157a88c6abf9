//! Packets on their way out: single ones, and batches of segments.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Instant;

use bytes::BytesMut;
use flexbond_wire::group::{Data, FlowSync, Header, Packet};

use super::Node;
use crate::group::MemberId;
use crate::group::flow::{Piece, Target};

/// Packets that wait to be sent, and what all packets of this node say.
#[derive(Debug)]
pub(super) struct Outbox {
    header: Header,
    single: VecDeque<(SocketAddr, BytesMut)>,
    /// What is being sent.
    batch: BytesMut,
    /// The size of each packet in the batch but the last, if there are several.
    segment_size: Option<usize>,
    /// To whom it is still to be sent.
    targets: VecDeque<SocketAddr>,
    /// What did not belong into the batch.
    held: Option<Piece>,
    /// Room for the payload of a segment.
    payload: Vec<u8>,
}

/// What is to be sent now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Outgoing<'a> {
    pub(crate) to: SocketAddr,
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
            single: VecDeque::new(),
            batch: BytesMut::new(),
            segment_size: None,
            targets: VecDeque::new(),
            held: None,
            payload: Vec::new(),
        }
    }
}

impl Outbox {
    pub(super) fn identify(&mut self, session: u64, me: MemberId) {
        (self.header.session, self.header.sender) = (session, me.0);
    }

    pub(super) fn set_epoch(&mut self, epoch: u32) {
        self.header.epoch = epoch;
    }

    pub(super) fn session(&self) -> u64 {
        self.header.session
    }

    pub(super) fn me(&self) -> MemberId {
        MemberId(self.header.sender)
    }

    /// Queues a packet of its own.
    pub(super) fn push(&mut self, to: SocketAddr, packet: &Packet<'_>) {
        let mut datagram = BytesMut::new();
        self.header.number += 1;
        // All limits are those of who made the packet; one that cannot be encoded says nothing.
        if packet.encode(&self.header, &mut datagram).is_ok() {
            self.single.push_back((to, datagram));
        }
    }
}

impl Node {
    /// What is to be sent next: at most `max_segments` packets of equal size in one.
    pub(crate) fn poll_transmit(&mut self, now: Instant, max_segments: usize) -> Option<Outgoing<'_>> {
        while self.outbox.targets.is_empty() {
            self.traffic.report(now, &self.peers, &mut self.outbox);
            if let Some((to, datagram)) = self.outbox.single.pop_front() {
                self.outbox.batch = datagram;
                self.outbox.segment_size = None;
                self.outbox.targets.push_back(to);
            } else if !self.fill_batch(now, max_segments) {
                return None;
            }
        }
        let to = self.outbox.targets.pop_front()?;
        Some(Outgoing {
            to,
            contents: &self.outbox.batch,
            segment_size: self.outbox.segment_size,
        })
    }

    /// What [`poll_transmit`](Self::poll_transmit) gave for `to` could not be sent now.
    pub(crate) fn untransmit(&mut self, to: SocketAddr) {
        self.outbox.targets.push_front(to);
    }

    /// Gathers segments for the same receivers; false if there are none.
    fn fill_batch(&mut self, now: Instant, max_segments: usize) -> bool {
        self.outbox.batch.clear();
        self.outbox.segment_size = None;
        let mut first: Option<(Target, usize)> = None;
        let mut count = 0;
        while count < max_segments.max(1) {
            let number = self.outbox.header.number + 1;
            let held = self.outbox.held.take();
            let Some(piece) = held.or_else(|| self.traffic.poll_piece(now, number)) else {
                break;
            };
            let target = target_of(&piece);
            let is_sync = matches!(piece, Piece::Sync { .. });
            if first.is_some_and(|(other, _)| other != target || is_sync) {
                self.outbox.held = Some(piece);
                break;
            }
            let filled = self.outbox.batch.len();
            let Some(len) = self.append(&piece) else {
                continue;
            };
            let (_, size) = *first.get_or_insert((target, len));
            if len > size {
                // None may be longer than the first.
                self.outbox.batch.truncate(filled);
                self.outbox.held = Some(piece);
                break;
            }
            count += 1;
            // Only the last one may be shorter.
            if len < size || is_sync {
                break;
            }
        }
        let Some((target, size)) = first else {
            return false;
        };
        self.outbox.segment_size = (count > 1).then_some(size);
        match target {
            Target::All => {
                let all = self.peers.all(self.settings.multicast);
                self.outbox.targets.extend(all);
            }
            Target::One(member) => self.outbox.targets.extend(self.peers.address(member)),
        }
        // Whoever it was for may be gone: there may be more for others.
        true
    }

    /// Encodes a piece at the end of the batch; returns its size.
    fn append(&mut self, piece: &Piece) -> Option<usize> {
        let Node {
            outbox,
            traffic,
            settings,
            ..
        } = self;
        outbox.header.number += 1;
        match *piece {
            Piece::Segment {
                number,
                answer,
                repair,
                ..
            } => {
                outbox.payload.resize(settings.segment, 0);
                let len = traffic.copy(number, &mut outbox.payload)?;
                let data = Data {
                    channel: 0,
                    point_to_point: false,
                    answer,
                    repair,
                    seq: number,
                    payload: &outbox.payload[..len],
                };
                Packet::Data(data).encode(&outbox.header, &mut outbox.batch).ok()
            }
            Piece::Sync { start, next, .. } => {
                let sync = FlowSync {
                    channel: 0,
                    point_to_point: false,
                    start,
                    next,
                };
                Packet::Sync(sync).encode(&outbox.header, &mut outbox.batch).ok()
            }
        }
    }
}

fn target_of(piece: &Piece) -> Target {
    match piece {
        Piece::Segment { target, .. } | Piece::Sync { target, .. } => *target,
    }
}
