//! One direction of a channel, at its sender: messages until the receiver's program has them.

use std::collections::{HashSet, VecDeque};
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::inflow::Bounds;
use super::packet::Data;
use crate::federation::name::Tag;

/// A message as programs give and get it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Letter {
    pub(crate) tag: Option<Tag>,
    pub(crate) codec: u8,
    pub(crate) parts: Vec<Bytes>,
}

impl Letter {
    pub(crate) fn size(&self) -> u64 {
        self.parts.iter().map(|part| part.len() as u64).sum()
    }
}

#[derive(Debug)]
pub(crate) struct Outflow {
    /// Its number on the link.
    pub(crate) id: u32,
    /// Whether the receiver was told of the flow in this session, and whether it has answered.
    pub(crate) is_announced: bool,
    is_open: bool,
    /// Whether offsets are those of the receiver; before its first answer they count from 0.
    is_numbered: bool,
    next: u64,
    waiting: VecDeque<Entry>,
    bytes: u64,
    /// All before it in `waiting` are sent.
    cursor: usize,
    /// The bytes of these.
    ahead: u64,
    /// Whether a message ever had a time to live.
    is_timed: bool,
    /// Whether it is in the list of those that have something to send.
    pub(crate) is_listed: bool,
    pub(crate) sent: u64,
    pub(crate) sent_bytes: u64,
    pub(crate) expired: u64,
}

#[derive(Debug)]
struct Entry {
    offset: u64,
    letter: Letter,
    size: u64,
    /// How much of it is sent.
    at: u64,
    expires: Option<Instant>,
    is_expired: bool,
}

impl Outflow {
    pub(crate) fn new(id: u32) -> Self {
        Outflow {
            id,
            is_announced: false,
            is_open: false,
            is_numbered: false,
            next: 0,
            waiting: VecDeque::new(),
            bytes: 0,
            cursor: 0,
            ahead: 0,
            is_timed: false,
            is_listed: false,
            sent: 0,
            sent_bytes: 0,
            expired: 0,
        }
    }

    /// Whether a message of this size may be added. One alone always may.
    pub(crate) fn has_room(&self, size: u64, messages: u32, bytes: u64) -> bool {
        self.waiting.is_empty()
            || (self.waiting.len() < messages as usize && self.bytes.saturating_add(size) <= bytes)
    }

    /// How many messages are kept, and how many bytes.
    pub(crate) fn waiting(&self) -> (usize, u64) {
        (self.waiting.len(), self.bytes)
    }

    /// The offset of the next message; none before the receiver has told what it has.
    pub(crate) fn position(&self) -> Option<u64> {
        self.is_numbered.then_some(self.next)
    }

    /// Whether there is something that the link has not got.
    pub(crate) fn is_unsent(&self) -> bool {
        self.cursor < self.waiting.len()
    }

    pub(crate) fn push(&mut self, letter: Letter, expires: Option<Instant>) {
        let size = letter.size();
        self.is_timed |= expires.is_some();
        self.waiting.push_back(Entry {
            offset: self.next,
            letter,
            size,
            at: 0,
            expires,
            is_expired: false,
        });
        self.next += 1;
        self.bytes += size;
        self.sent += 1;
        self.sent_bytes += size;
    }

    /// A new session has begun: what was sent is sent again, unless the receiver says that it has it.
    pub(crate) fn reset(&mut self) {
        (self.is_announced, self.is_open) = (false, false);
        (self.cursor, self.ahead) = (0, 0);
        for entry in &mut self.waiting {
            entry.at = 0;
        }
    }

    /// The receiver has said what it has.
    pub(crate) fn opened(&mut self, next: u64, held: &[u64]) {
        if self.is_open {
            return;
        }
        self.is_open = true;
        if !self.is_numbered {
            self.is_numbered = true;
            self.next = self.next.saturating_add(next);
            for entry in &mut self.waiting {
                entry.offset = entry.offset.saturating_add(next);
            }
        }
        // What has come and is not held was received by the program; what is held comes back as settled.
        let held: HashSet<u64> = held.iter().copied().collect();
        let mut freed = 0;
        self.waiting.retain(|entry| {
            let is_kept = entry.offset >= next || held.contains(&entry.offset);
            freed += if is_kept { 0 } else { entry.size };
            is_kept
        });
        self.bytes -= freed;
        self.cursor = self.waiting.partition_point(|entry| entry.offset < next);
        self.ahead = self
            .waiting
            .iter()
            .take(self.cursor)
            .map(|entry| entry.size)
            .sum();
    }

    /// The receiver's program has the message, or never will.
    pub(crate) fn settled(&mut self, offset: u64, expired: bool) -> bool {
        let Ok(index) = self.waiting.binary_search_by_key(&offset, |entry| entry.offset) else {
            return false;
        };
        let entry = self.waiting.remove(index).expect("the search has found it");
        self.bytes -= entry.size;
        // One that is settled before it was sent whole was given up by the receiver.
        if index < self.cursor {
            self.cursor -= 1;
            self.ahead -= entry.size;
        }
        self.expired += u64::from(expired && !entry.is_expired);
        true
    }

    /// The next piece of at most `piece` bytes, if the receiver is ready for one.
    pub(crate) fn next_piece(
        &mut self,
        now: Instant,
        piece: u64,
        bounds: Bounds,
    ) -> Option<(Data, Vec<Bytes>)> {
        if !self.is_open {
            return None;
        }
        let entry = self.waiting.get_mut(self.cursor)?;
        // The receiver may take less than this side was told to send before the two met.
        let is_over = entry.expires.is_some_and(|at| now >= at) || entry.size > bounds.message;
        if entry.at == 0 && !entry.is_expired && is_over {
            self.bytes -= entry.give_up();
            self.expired += 1;
        }
        let fits = self.cursor == 0
            || (self.cursor < bounds.messages as usize
                && self.ahead.saturating_add(entry.size) <= bounds.bytes);
        if entry.at == 0 && !fits {
            return None;
        }
        let at = entry.at;
        let end = at.saturating_add(piece).min(entry.size);
        let pieces = cut(&entry.letter.parts, at, end);
        let data = Data {
            flow: self.id,
            offset: entry.offset,
            tag: if at == 0 { entry.letter.tag.clone() } else { None },
            codec: entry.letter.codec,
            ttl: entry
                .expires
                .map(|expires| millis(expires.saturating_duration_since(now))),
            expired: entry.is_expired,
            at,
            parts: match at {
                0 => entry.letter.parts.iter().map(|part| part.len() as u64).collect(),
                _ => Vec::new(),
            },
            pieces: u16::try_from(pieces.len()).expect("a message has at most `MAX_PARTS` parts"),
        };
        entry.at = end;
        if end == entry.size {
            self.cursor += 1;
            self.ahead += entry.size;
        }
        Some((data, pieces))
    }

    /// When the next message expires that has not left; what has left is the receiver's to count.
    pub(crate) fn expires(&self) -> Option<Instant> {
        let unsent = self
            .waiting
            .iter()
            .skip(self.cursor)
            .take_while(|_| self.is_timed);
        unsent
            .filter(|entry| !entry.is_expired && entry.at == 0)
            .filter_map(|entry| entry.expires)
            .min()
    }

    /// Drops the content of what has waited too long; its receiver will be told of it.
    pub(crate) fn expire(&mut self, now: Instant) -> u64 {
        let mut count = 0;
        if !self.is_timed {
            return count;
        }
        for entry in self.waiting.iter_mut().skip(self.cursor) {
            let is_over = entry.expires.is_some_and(|at| now >= at);
            if is_over && entry.at == 0 && !entry.is_expired {
                self.bytes -= entry.give_up();
                count += 1;
            }
        }
        self.expired += count;
        count
    }

    /// The job is over: nothing more is sent.
    pub(crate) fn clear(&mut self) {
        self.waiting.clear();
        (self.bytes, self.cursor, self.ahead) = (0, 0, 0);
    }
}

impl Entry {
    /// Drops the content and returns its size.
    fn give_up(&mut self) -> u64 {
        self.is_expired = true;
        self.letter.parts.clear();
        std::mem::take(&mut self.size)
    }
}

fn millis(left: Duration) -> u64 {
    u64::try_from(left.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX)
}

/// The bytes from `at` to `end` of parts laid end to end, cut where a part ends. Nothing is copied. Empty parts have no
/// piece: their lengths say all.
fn cut(parts: &[Bytes], at: u64, end: u64) -> Vec<Bytes> {
    let mut pieces = Vec::new();
    let mut start = 0_u64;
    for part in parts {
        let len = part.len() as u64;
        let (from, to) = (at.max(start), end.min(start + len));
        if from < to {
            let within = |place: u64| usize::try_from(place - start).expect("it is within a part in memory");
            pieces.push(part.slice(within(from)..within(to)));
        }
        start += len;
    }
    pieces
}
