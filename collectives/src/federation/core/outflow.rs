//! One direction of a channel, at its sender: messages until the receiver's program has them.

use std::collections::{BTreeSet, HashSet, VecDeque};
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::few::Few;
use super::inflow::Bounds;
use super::packet::{Data, cost};
use crate::federation::name::Tag;

/// A message as programs give and get it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Letter {
    pub(crate) tag: Option<Tag>,
    pub(crate) codec: u8,
    pub(crate) parts: Few<Bytes>,
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
    /// The other side does not open it in this session, or the receiver behind a server: it has as many channels as it
    /// takes, which are so many.
    pub(crate) declined: Option<u32>,
    /// Which numbering the offsets are of, the receiver's; before its first answer they count from 0.
    epoch: Option<u64>,
    next: u64,
    waiting: VecDeque<Entry>,
    bytes: u64,
    /// All before it in `waiting` are sent.
    cursor: usize,
    /// The bytes of these.
    ahead: u64,
    /// Offsets before the cursor that are wanted again.
    rewound: BTreeSet<u64>,
    /// Messages of more bytes are sent only while the receiver is there.
    custody: u64,
    /// How many such are kept.
    heavy: usize,
    /// What those that are sent and no such take of a server's window.
    parked: u64,
    /// Whether it has as much of that as it may.
    pub(crate) is_crowded: bool,
    /// When the first message may expire, or earlier.
    pub(crate) fuse: Option<Instant>,
    /// Whether a message ever had a time to live.
    is_timed: bool,
    /// Whether it is in the list of those that have something to send.
    pub(crate) is_listed: bool,
    pub(crate) sent: u64,
    pub(crate) sent_bytes: u64,
    pub(crate) expired: u64,
    /// Those that were dropped because the other side takes none so large.
    pub(crate) too_large: u64,
}

#[derive(Debug)]
struct Entry {
    offset: u64,
    letter: Letter,
    size: u64,
    /// How much of it is sent.
    at: u64,
    /// What was taken from the credit for the rest of it.
    reserved: u64,
    /// Its part of [`Outflow::parked`].
    parked: u64,
    expires: Option<Instant>,
    is_expired: bool,
    /// A piece of it has left this process, in whatever session.
    has_departed: bool,
}

/// How many messages there are of a kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Not settled.
    pub(crate) kept: usize,
    /// Not sent, or wanted again.
    pub(crate) unsent: usize,
    /// Not settled, and too large for the custody of a server.
    pub(crate) heavy: usize,
    /// What they take of the window of a server.
    pub(crate) parked: u64,
}

/// What a sender has to know of its way to the receiver.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Terms {
    /// The longest content of a packet.
    pub(crate) piece: u64,
    pub(crate) bounds: Bounds,
    /// What the flow may take of the window of a server.
    pub(crate) part: u64,
    /// Whether the receiver itself is there, not only a server for it.
    pub(crate) is_present: bool,
}

impl Outflow {
    pub(crate) fn new(id: u32, custody: u64) -> Self {
        Outflow {
            id,
            is_announced: false,
            is_open: false,
            declined: None,
            epoch: None,
            next: 0,
            waiting: VecDeque::new(),
            bytes: 0,
            cursor: 0,
            ahead: 0,
            rewound: BTreeSet::new(),
            custody,
            heavy: 0,
            parked: 0,
            is_crowded: false,
            fuse: None,
            is_timed: false,
            is_listed: false,
            sent: 0,
            sent_bytes: 0,
            expired: 0,
            too_large: 0,
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

    /// How many of these have left this process, a piece at least.
    pub(crate) fn departed(&self) -> usize {
        self.waiting.iter().filter(|entry| entry.has_departed).count()
    }

    /// The offset of the next message; none before the receiver has told what it has.
    pub(crate) fn position(&self) -> Option<u64> {
        self.epoch.map(|_| self.next)
    }

    /// What an opening says: the numbering, and the first offset that is still kept.
    pub(crate) fn origin(&self) -> Option<(u64, u64)> {
        let first = self.waiting.front().map_or(self.next, |entry| entry.offset);
        self.epoch.map(|epoch| (epoch, first))
    }

    pub(crate) fn counts(&self) -> Counts {
        Counts {
            kept: self.waiting.len(),
            unsent: self.waiting.len() - self.cursor + self.rewound.len(),
            heavy: self.heavy,
            parked: self.parked,
        }
    }

    pub(crate) fn push(&mut self, letter: Letter, expires: Option<Instant>) {
        let size = letter.size();
        self.is_timed |= expires.is_some();
        self.waiting.push_back(Entry {
            offset: self.next,
            letter,
            size,
            at: 0,
            reserved: 0,
            parked: 0,
            expires,
            is_expired: false,
            has_departed: false,
        });
        self.next += 1;
        self.bytes += size;
        self.heavy += usize::from(size > self.custody);
        self.sent += 1;
        self.sent_bytes += size;
    }

    /// A new session has begun: what was sent is sent again, unless the receiver says that it has it.
    pub(crate) fn reset(&mut self) {
        (self.is_announced, self.is_open, self.declined) = (false, false, None);
        (self.cursor, self.ahead, self.parked) = (0, 0, 0);
        self.rewound.clear();
        for entry in &mut self.waiting {
            (entry.at, entry.reserved, entry.parked) = (0, 0, 0);
        }
    }

    /// The receiver, or its server, keeps messages of at most so many bytes while their receiver is away.
    pub(crate) fn set_custody(&mut self, custody: u64) {
        self.custody = custody;
        self.heavy = self.waiting.iter().filter(|entry| entry.size > custody).count();
    }

    /// The other side takes no more channels than so many. Whether that can be.
    pub(crate) fn decline(&mut self, limit: u32) -> bool {
        // A server has opened it perhaps, which hears later that its receiver does not.
        self.declined = self.is_announced.then_some(limit);
        self.is_announced
    }

    /// The receiver has said what it has. Whether that can be.
    pub(crate) fn opened(&mut self, epoch: u64, next: u64, held: &[u64]) -> bool {
        if self.is_open {
            return true;
        }
        // A receiver takes the numbering that it is told.
        if self.epoch.is_some_and(|known| known != epoch) {
            return false;
        }
        self.is_open = true;
        if self.epoch.replace(epoch).is_none() {
            self.next = self.next.saturating_add(next);
            for entry in &mut self.waiting {
                entry.offset = entry.offset.saturating_add(next);
            }
        }
        // What has come and is not held was received by the program; what is held comes back as settled.
        let held: HashSet<u64> = held.iter().copied().collect();
        let (mut freed, mut heavy) = (0, 0);
        self.waiting.retain(|entry| {
            let is_kept = entry.offset >= next || held.contains(&entry.offset);
            freed += if is_kept { 0 } else { entry.size };
            heavy += usize::from(!is_kept && entry.size > self.custody);
            is_kept
        });
        self.bytes -= freed;
        self.heavy -= heavy;
        self.cursor = self.waiting.partition_point(|entry| entry.offset < next);
        for entry in self.waiting.iter_mut().take(self.cursor) {
            self.ahead += entry.size;
            self.parked += entry.park(self.custody);
        }
        true
    }

    /// The receiver's program has the message, or never will. What was taken from the credit for what need not be sent
    /// any more, if there was such a message.
    pub(crate) fn settled(&mut self, offset: u64, expired: bool) -> Option<u64> {
        let index = self.find(offset)?;
        let entry = self.waiting.remove(index)?;
        self.bytes -= entry.size;
        self.heavy -= usize::from(entry.size > self.custody);
        self.parked -= entry.parked;
        self.rewound.remove(&offset);
        // One that is settled before it was sent whole was given up by the receiver.
        if index < self.cursor {
            self.cursor -= 1;
            self.ahead -= entry.size;
        }
        self.expired += u64::from(expired && !entry.is_expired);
        Some(entry.reserved)
    }

    /// The message is wanted again from its start. As for [`settled`](Outflow::settled).
    pub(crate) fn rewind(&mut self, offset: u64) -> Option<u64> {
        let index = self.find(offset)?;
        let entry = &mut self.waiting[index];
        if index < self.cursor || entry.at > 0 {
            self.rewound.insert(offset);
        }
        entry.at = 0;
        Some(std::mem::take(&mut entry.reserved))
    }

    /// Whether a message is wanted again.
    pub(crate) fn is_rewound(&self) -> bool {
        !self.rewound.is_empty()
    }

    fn find(&self, offset: u64) -> Option<usize> {
        self.waiting
            .binary_search_by_key(&offset, |entry| entry.offset)
            .ok()
    }

    /// Which message is the next to be sent, a piece of it at least.
    fn upcoming(&self) -> Option<usize> {
        let again = self.rewound.first().and_then(|offset| self.find(*offset));
        again.or((self.cursor < self.waiting.len()).then_some(self.cursor))
    }

    /// What has to be taken from the credit before the next piece, if the receiver is ready for one.
    pub(crate) fn prepare(&mut self, now: Instant, terms: &Terms) -> Option<u64> {
        if !self.is_open {
            return None;
        }
        let index = self.upcoming()?;
        let (bounds, cursor) = (terms.bounds, self.cursor);
        let entry = &mut self.waiting[index];
        // The receiver may take less than this side was told to send before the two met.
        let is_too_large = entry.size > bounds.message;
        let is_over = entry.expires.is_some_and(|at| now >= at) || is_too_large;
        if entry.at == 0 && !entry.is_expired && is_over {
            self.too_large += u64::from(is_too_large);
            self.expired += u64::from(!is_too_large);
            self.heavy -= usize::from(entry.size > self.custody);
            let size = entry.give_up();
            self.bytes -= size;
            self.ahead -= if index < cursor { size } else { 0 };
        }
        let fits = index == 0
            || index < cursor
            || (cursor < bounds.messages as usize && self.ahead.saturating_add(entry.size) <= bounds.bytes);
        let is_heavy = entry.size > self.custody;
        let parts = entry.letter.parts.len();
        let is_first = entry.at == 0 && index >= cursor && !is_heavy;
        let of_server = self.parked.saturating_add(cost(entry.size, parts));
        self.is_crowded = is_first && self.parked > 0 && of_server > terms.part;
        if (entry.at == 0 && !fits) || (is_heavy && !terms.is_present) || self.is_crowded {
            return None;
        }
        Some(match (is_heavy, entry.at) {
            // A server may hold only a part of it at a time.
            (true, 0) => cost(terms.piece.min(entry.size), parts),
            (true, at) => cost(terms.piece.min(entry.size - at), 0),
            (false, 0) => {
                let pieces = entry.size.div_ceil(terms.piece).max(1);
                let others = cost(0, 0).saturating_mul(pieces - 1);
                cost(entry.size, parts).saturating_add(others)
            }
            (false, _) => 0,
        })
    }

    /// The next piece, for which [`prepare`](Outflow::prepare) has said what it costs, and this was taken.
    pub(crate) fn next_piece(&mut self, now: Instant, piece: u64, paid: u64) -> Option<(Data, Few<Bytes>)> {
        let index = self.upcoming()?;
        let entry = &mut self.waiting[index];
        let at = entry.at;
        entry.has_departed = true;
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
                _ => Few::new(),
            },
            pieces: u16::try_from(pieces.len()).expect("a message has at most `MAX_PARTS` parts"),
        };
        entry.at = end;
        entry.reserved = (entry.reserved + paid).saturating_sub(data.cost(end - at));
        if end == entry.size {
            self.rewound.remove(&entry.offset);
            if index >= self.cursor {
                self.cursor += 1;
                self.ahead += entry.size;
                self.parked += entry.park(self.custody);
            }
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
                self.heavy -= usize::from(entry.size > self.custody);
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
        self.rewound.clear();
        (self.bytes, self.cursor, self.ahead, self.heavy) = (0, 0, 0, 0);
        self.parked = 0;
    }
}

impl Entry {
    /// It is with a server, if it is not too large for that. What it takes there.
    fn park(&mut self, custody: u64) -> u64 {
        if self.size <= custody {
            self.parked = cost(self.size, self.letter.parts.len());
        }
        self.parked
    }

    /// Drops the content and returns its size.
    fn give_up(&mut self) -> u64 {
        self.is_expired = true;
        self.letter.codec = 0;
        self.letter.parts.clear();
        std::mem::take(&mut self.size)
    }
}

fn millis(left: Duration) -> u64 {
    u64::try_from(left.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX)
}

/// The bytes from `at` to `end` of parts laid end to end, cut where a part ends. Nothing is copied. Empty parts have no
/// piece: their lengths say all.
pub(crate) fn cut(parts: &[Bytes], at: u64, end: u64) -> Few<Bytes> {
    let mut pieces = Few::new();
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
