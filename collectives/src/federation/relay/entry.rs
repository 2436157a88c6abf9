//! A message that is kept, or is on its way through.

use std::time::Instant;

use bytes::Bytes;

use super::pieces::{Content, Piece, Pieces};
use super::spare::Spare;
use crate::federation::core::Tag;
use crate::federation::core::few::Few;
use crate::federation::core::packet::{SHORT, cost};

#[derive(Debug)]
pub(super) struct Entry {
    pub(super) tag: Option<Tag>,
    pub(super) codec: u8,
    pub(super) parts: Few<u64>,
    /// Bytes of all parts.
    pub(super) size: u64,
    /// How many of them have come.
    pub(super) come: u64,
    /// The part that comes next, and how much of it has come.
    place: (usize, u64),
    pub(super) pieces: Pieces,
    /// What it takes of the quotas.
    pub(super) cost: u64,
    /// When the time is over that its sender has given it.
    pub(super) expires: Option<Instant>,
    pub(super) arrived: Instant,
    /// The batch in which the store gets its header.
    pub(super) batch: u64,
    pub(super) is_whole: bool,
    /// It waited too long and has no content any more; its sender knows.
    pub(super) is_expired: bool,
    /// It is handed on as it comes and not kept whole.
    pub(super) is_streamed: bool,
    /// Another number each time that the message begins.
    pub(super) turn: u64,
    /// It has to begin again, and has not yet.
    pub(super) is_rewound: bool,
    /// Its sender was asked for that.
    pub(super) is_asked: bool,
    /// How much of it is sent, while it is neither none nor all.
    pub(super) sent: u64,
    /// Its receiver had said that it has had it, or never will (`true`), before all of it was here.
    pub(super) had: Option<bool>,
}

impl Entry {
    pub(super) fn new(tag: Option<Tag>, codec: u8, parts: Few<u64>, size: u64, now: Instant) -> Self {
        Entry {
            tag,
            codec,
            parts,
            size,
            come: 0,
            place: (0, 0),
            pieces: Pieces::default(),
            cost: 0,
            expires: None,
            arrived: now,
            batch: 0,
            is_whole: false,
            is_expired: false,
            is_streamed: false,
            turn: 0,
            is_rewound: false,
            is_asked: false,
            sent: 0,
            had: None,
        }
    }

    /// Adds what comes next; false if it does not fit into the parts, which changes nothing that matters.
    pub(super) fn add(&mut self, frames: Few<Bytes>, cost: u64, batch: u64, spare: &mut Spare) -> bool {
        let mut place = self.place;
        for frame in &frames {
            place = self.after_empty(place);
            let len = frame.len() as u64;
            match self.parts.get(place.0) {
                Some(part) if len > 0 && len <= part - place.1 => {
                    place.1 += len;
                    if place.1 == *part {
                        place = (place.0 + 1, 0);
                    }
                }
                _ => return false,
            }
        }
        self.place = place;
        let len = frames.iter().map(|frame| frame.len() as u64).sum();
        if len > 0 {
            self.pieces.push(Piece {
                at: self.come,
                len,
                cost,
                content: Content::Memory(compact(frames, spare)),
                batch,
            });
            self.come += len;
        }
        self.cost += cost;
        true
    }

    /// A piece that the store has kept. What it costs, if it is the next one.
    pub(super) fn restore(&mut self, at: u64, len: u64) -> Option<u64> {
        if at != self.come || len == 0 || len > self.size - self.come {
            return None;
        }
        let parts = if at == 0 { self.parts.len() } else { 0 };
        let cost = cost(len, parts);
        self.pieces.push(Piece {
            at,
            len,
            cost,
            content: Content::Stored,
            batch: 0,
        });
        self.come += len;
        self.cost = self.cost.saturating_add(cost);
        self.is_whole = self.come == self.size;
        Some(cost)
    }

    fn after_empty(&self, mut place: (usize, u64)) -> (usize, u64) {
        while self.parts.get(place.0) == Some(&0) {
            place = (place.0 + 1, 0);
        }
        place
    }

    pub(super) fn piece(&mut self, at: u64) -> Option<&mut Piece> {
        self.pieces.get_mut(at)
    }

    /// Whether pieces are gone that have come.
    pub(super) fn has_gaps(&self) -> bool {
        self.come > 0 && self.pieces.first().is_none_or(|piece| piece.at > 0)
    }

    /// Drops the pieces up to the one at `at`, which its receiver has. Says what they cost, and their bytes.
    pub(super) fn free_to(&mut self, at: u64) -> (u64, u64) {
        let (mut freed, mut bytes) = (0, 0);
        while let Some(piece) = self.pieces.pop_to(at) {
            freed += piece.cost;
            bytes += piece.len;
        }
        let freed = freed.min(self.cost);
        self.cost -= freed;
        (freed, bytes)
    }

    /// Drops what has come: it has to come again from the start. Says what it cost.
    pub(super) fn begin_anew(&mut self) -> u64 {
        self.pieces.clear();
        (self.come, self.sent, self.place, self.is_whole) = (0, 0, (0, 0), false);
        (self.is_rewound, self.is_asked) = (true, false);
        std::mem::take(&mut self.cost)
    }

    /// Drops the content: the entry stays as a mark that there was a message, at the cost of one without content. Says
    /// what is free.
    pub(super) fn bury(&mut self, now: Instant, codec: u8) -> u64 {
        self.pieces.clear();
        self.codec = codec;
        self.parts = Few::new();
        (self.is_expired, self.is_whole, self.is_rewound) = (true, true, false);
        (self.expires, self.arrived) = (None, now);
        // Its receiver hears from the start that there is nothing.
        (self.size, self.come, self.sent) = (0, 0, 0);
        let freed = self.cost.saturating_sub(cost(0, 0));
        self.cost -= freed;
        freed
    }

    /// The bytes of its content that are in memory.
    pub(super) fn memory(&self) -> u64 {
        let in_memory = |piece: &&Piece| matches!(piece.content, Content::Memory(_));
        self.pieces.iter().filter(in_memory).map(|piece| piece.len).sum()
    }

    /// What sending all of it takes of a credit.
    pub(super) fn whole_cost(&self) -> u64 {
        let pieces: u64 = self.pieces.iter().map(|piece| piece.cost).sum();
        pieces.max(cost(0, self.parts.len()))
    }
}

/// The same frames, those that are short in a buffer of their own: they would keep the whole packet alive that they came
/// in.
fn compact(mut frames: Few<Bytes>, spare: &mut Spare) -> Few<Bytes> {
    if let Few::One(frame) = &mut frames {
        if frame.len() <= SHORT {
            *frame = spare.copy(frame);
        }
        return frames;
    }
    let is_short = |frame: &&mut Bytes| frame.len() <= SHORT;
    let len = frames.iter_mut().filter(is_short).map(|frame| frame.len()).sum();
    if len == 0 {
        return frames;
    }
    let mut copy = Vec::with_capacity(len);
    for frame in frames.iter_mut().filter(is_short) {
        copy.extend_from_slice(frame);
    }
    let mut copy = Bytes::from(copy);
    for frame in frames.iter_mut().filter(is_short) {
        *frame = if frame.len() == copy.len() {
            std::mem::take(&mut copy)
        } else {
            copy.split_to(frame.len())
        };
    }
    frames
}
