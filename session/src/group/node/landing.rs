//! Packets whose payloads land where they belong: in the message that they continue.
//!
//! Most of what comes while a large message is on its way is the rest of it, in order. So the system is given the
//! places of the next payloads, and between them room for what surrounds each. What comes instead is put together from
//! where it has landed, and handled like all else; what it has overwritten is still to come.

use std::io::{self, IoSliceMut};
use std::net::SocketAddr;
use std::ops::Range;
use std::task::Poll;
use std::time::Instant;

use flexbond_transport::{Received, Transmit};
use flexbond_wire::group::{CHECKSUM_LEN, Data};

use super::Node;
use crate::group::MemberId;

/// Who sends a large message, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Spot {
    pub(super) channel: u16,
    pub(super) from: MemberId,
    /// Whether it came to the group's address.
    pub(super) multicast: bool,
}

/// Room for what does not land in a message.
#[derive(Debug)]
pub(crate) struct Landing {
    /// What surrounds the payloads; and behind that, all that comes beside those that are expected.
    around: Vec<u8>,
    /// What is put together.
    whole: Vec<u8>,
    /// How many reads to leave out, and how many after the next one that brings something else.
    pause: u32,
    next_pause: u32,
    /// Packets that landed.
    #[cfg(test)]
    pub(super) landed: usize,
}

/// How packets lie that came scattered.
#[derive(Clone, Copy, Debug)]
struct Layout {
    /// How many payloads were expected, and the bytes of each.
    count: usize,
    len: usize,
}

impl Layout {
    /// What surrounds a payload: the checksum of one packet lies before the head of the next.
    const AROUND: usize = Data::HEAD + CHECKSUM_LEN;

    /// Bytes of a packet.
    fn packet(self) -> usize {
        Self::AROUND + self.len
    }

    /// Where what surrounds payload `index` lies.
    fn around(index: usize) -> Range<usize> {
        index * Self::AROUND..(index + 1) * Self::AROUND
    }
}

impl Landing {
    /// Payloads that are expected at once.
    const MOST: usize = 64;
    /// Bytes of a segment from which on it is worth while: the system takes longer to spread than the processor to copy
    /// what is small.
    const LEAST: usize = if cfg!(test) { 1 } else { 8 << 10 };
    /// Reads that are left out at most.
    const LONGEST_PAUSE: u32 = 64;
    /// Bytes that one read brings at most.
    const READ: usize = 1 << 16;

    pub(crate) fn new() -> Self {
        Landing {
            around: vec![0; Layout::around(Self::MOST).start + Self::READ],
            whole: vec![0; Self::READ],
            pause: 0,
            next_pause: 1,
            #[cfg(test)]
            landed: 0,
        }
    }

    /// Reads into `room` what belongs there, and all else into this.
    fn read(
        &mut self,
        room: &mut [u8],
        layout: Layout,
        recv: impl FnOnce(&mut [IoSliceMut<'_>]) -> Poll<io::Result<Received>>,
    ) -> Poll<io::Result<Received>> {
        let mut slices: [_; 2 * Self::MOST + 1] = std::array::from_fn(|_| IoSliceMut::new(&mut []));
        let (mut around, mut payloads) = (&mut self.around[..], room.chunks_exact_mut(layout.len));
        let mut before = Data::HEAD;
        for index in 0..layout.count {
            let (slice, rest) = around.split_at_mut(before);
            slices[2 * index] = IoSliceMut::new(slice);
            slices[2 * index + 1] = IoSliceMut::new(payloads.next().unwrap_or_default());
            around = rest;
            before = Layout::AROUND;
        }
        slices[2 * layout.count] = IoSliceMut::new(around);
        recv(&mut slices[..=2 * layout.count])
    }

    /// Puts together the bytes from packet `first` on, of `len` that came: `room` begins with that packet's payload.
    fn gather(&mut self, room: &[u8], layout: Layout, first: usize, len: usize) -> &mut [u8] {
        let mut filled = 0;
        let mut wanted = len.saturating_sub(first * layout.packet()).min(Self::READ);
        let whole = &mut self.whole;
        let mut put = |bytes: &[u8]| {
            let count = bytes.len().min(wanted);
            whole[filled..filled + count].copy_from_slice(&bytes[..count]);
            (filled, wanted) = (filled + count, wanted - count);
        };
        let mut payloads = room.chunks_exact(layout.len);
        for index in first..layout.count {
            let (head, checksum) = self.around[Layout::around(index)].split_at(Data::HEAD);
            put(head);
            put(payloads.next().unwrap_or_default());
            put(checksum);
        }
        put(&self.around[Layout::around(layout.count).start..]);
        &mut self.whole[..filled]
    }

    fn note(&mut self, landed: bool) {
        match landed {
            true => self.next_pause = 1,
            false => {
                self.pause = self.next_pause;
                self.next_pause = (self.next_pause * 2).min(Self::LONGEST_PAUSE);
            }
        }
    }
}

impl Node {
    /// Reads with `recv`, straight into the message that is on its way, and handles what came; `multicast` if that was
    /// sent to the group's address. Nothing is read, and `None` comes back, if no such message is known of; or else how
    /// many bytes came.
    pub(crate) fn receive_landing(
        &mut self,
        now: Instant,
        multicast: bool,
        landing: &mut Landing,
        recv: impl FnOnce(&mut [IoSliceMut<'_>]) -> Poll<io::Result<Received>>,
    ) -> Option<Poll<io::Result<usize>>> {
        let len = self.settings.segment;
        let spot = self.spot.filter(|spot| spot.multicast == multicast)?;
        if self.protection.is_on() || len < Landing::LEAST {
            return None;
        }
        let room = self.flows.room(spot.channel, spot.from)?;
        let mut layout = Layout { count: 0, len };
        layout.count = (room.len() / len)
            .min(Transmit::MAX_LEN / layout.packet())
            .min(Landing::MOST);
        if layout.count == 0 {
            return None;
        }
        if landing.pause > 0 {
            landing.pause -= 1;
            return None;
        }
        let read = landing.read(room, layout, recv);
        Some(read.map_ok(|received| {
            self.handle_landed(now, spot, landing, layout, &received);
            received.len
        }))
    }

    fn handle_landed(
        &mut self,
        now: Instant,
        spot: Spot,
        landing: &mut Landing,
        layout: Layout,
        received: &Received,
    ) {
        let expected = match received.segment_size == layout.packet() {
            true => (received.len / layout.packet()).min(layout.count),
            false => 0,
        };
        let mut landed = 0;
        while landed < expected && self.take_landed(now, spot, received.source, landing, layout.len, landed) {
            landed += 1;
        }
        #[cfg(test)]
        {
            landing.landed += landed;
        }
        landing.note(landed > 0);
        if landed > 0 && landed * layout.packet() >= received.len {
            return;
        }
        let empty = &mut [][..];
        let room = self.flows.room(spot.channel, spot.from).unwrap_or(empty);
        let rest = match landed == layout.count {
            // Behind all that was expected it lies in one piece.
            true => {
                let start = Layout::around(landed).start;
                let len = received.len - landed * layout.packet();
                &mut landing.around[start..][..len.min(Landing::READ)]
            }
            false => landing.gather(room, layout, landed, received.len),
        };
        let mut rest_of = *received;
        rest_of.len = rest.len();
        let packets = rest_of.packets_mut(rest);
        self.handle_datagrams(now, received, spot.multicast, packets);
    }

    /// Takes a packet whose payload lies at the beginning of the room for it, if it is the one that was expected.
    fn take_landed(
        &mut self,
        now: Instant,
        spot: Spot,
        source: SocketAddr,
        landing: &Landing,
        len: usize,
        index: usize,
    ) -> bool {
        let Some((head, checksum)) = landing.around[Layout::around(index)].split_first_chunk() else {
            return false;
        };
        let Some(checksum) = checksum.first_chunk() else {
            return false;
        };
        let room = self.flows.room(spot.channel, spot.from);
        let Some(payload) = room.and_then(|room| room.get(..len)) else {
            return false;
        };
        let Some((header, data)) = Data::decode_parts(head, payload, checksum) else {
            return false;
        };
        let (is_expected, seq, answer) = (
            data.channel == spot.channel && !data.point_to_point,
            data.seq,
            data.answer,
        );
        let sender = MemberId(header.sender);
        let is_expected = is_expected
            && sender == spot.from
            && header.session == self.outbox.session()
            && !self.is_late(spot.channel, &header)
            && self.peers.knows(sender, source)
            && self.flows.is_next(spot.channel, sender, seq)
            && self.peers.is_fresh(sender, header.number);
        if !is_expected {
            return false;
        }
        self.peers.accept(now, sender, header.number);
        self.note_heard(now, sender, spot.multicast);
        self.asked_at = Some(now);
        self.news |= self.flows.handle_placed(now, spot.channel, sender, len, answer);
        true
    }
}
