//! One direction of a channel between two parties: the messages that its sender has given and its receiver has not had.
//!
//! Messages are numbered as the receiver has them. The sender's numbering is the same, but for the rare case that a sender
//! comes with another one while messages of the old one are still here: then what comes is numbered on from these.

use std::collections::{BTreeMap, BTreeSet, HashSet, VecDeque};
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::entry::{Content, Entry};
use super::store::{FlowId, PieceId};
use crate::federation::core::Bounds;
use crate::federation::core::packet::{Data, FlowKey, MAX_OFFSET, MAX_PARTS, cost};

/// How many messages that have waited too long are remembered for their receiver to be told.
const MAX_TOMBS: usize = 1024;
/// How many offsets a sender is told that are here. None that keeps to the limits keeps more.
const MAX_HELD: usize = 1 << 16;
/// How many pieces are loaded ahead, and their bytes.
const LOADED_AHEAD: (usize, u64) = (64, 4 << 20);

#[derive(Debug)]
pub(super) struct Flow {
    pub(super) id: FlowId,
    pub(super) key: FlowKey,
    /// The half of its sender, and that of its receiver.
    pub(super) source: usize,
    pub(super) target: usize,
    /// The numbering towards the receiver.
    pub(super) epoch: u64,
    /// No message with a lower offset comes any more, but for those that were asked for again.
    pub(super) next: u64,
    /// The sender's numbering, and what is added to its offsets (wrapping).
    pub(super) source_epoch: u64,
    pub(super) shift: u64,
    /// The sender does not keep messages with lower offsets.
    told_from: u64,
    /// The sender's number for it, of the present session.
    pub(super) source_id: Option<u32>,
    pub(super) entries: BTreeMap<u64, Entry>,
    /// The last message, of which only a part has come.
    partial: Option<u64>,
    /// Messages that were asked for again.
    rewound: BTreeSet<u64>,
    /// Messages that are not kept whole.
    streams: BTreeSet<u64>,
    tombs: BTreeSet<u64>,
    turns: u64,
    /// When messages have come, or become marks, in this order; with some that have gone.
    ages: VecDeque<(Instant, u64)>,
    /// Those that have a time of their own.
    timed: BTreeSet<(Instant, u64)>,
    pub(super) armed: Option<Instant>,
    /// The number on the receiver's link.
    pub(super) target_id: u32,
    pub(super) is_announced: bool,
    pub(super) is_open: bool,
    /// Whether its numbering is one that the receiver cannot be ahead in.
    pub(super) is_met: bool,
    /// A new sender waits for the receiver to say how far it has come, or for the store.
    pub(super) is_pending: bool,
    /// Whether the store was told of the flow.
    pub(super) is_kept: bool,
    /// Whether it is in the list of those that have something to send.
    pub(super) is_listed: bool,
    /// All before it are sent.
    cursor: u64,
    /// Messages that the receiver wants again from their start.
    again: BTreeSet<u64>,
    /// Sent and not settled: messages and bytes.
    ahead: (u64, u64),
    /// What the receiver had when it was opened: all below, but of `target_held` its program has not had it.
    target_next: u64,
    /// What comes from here on is sent, whatever it had.
    target_end: u64,
    target_held: HashSet<u64>,
    pub(super) counts: Counts,
}

/// What has passed since the server started.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counts {
    pub(super) received: u64,
    pub(super) received_bytes: u64,
    pub(super) settled: u64,
    pub(super) expired: u64,
    pub(super) duplicates: u64,
}

/// What is taken of a sender.
#[derive(Clone, Copy, Debug)]
pub(super) struct Intake {
    pub(super) largest: u64,
    pub(super) custody: u64,
    pub(super) ttl: Duration,
    /// The batch that is open; 0 without a store.
    pub(super) batch: u64,
}

/// What became of a piece.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Accepted {
    /// It is kept. `dropped`: a message of which a part had come, and that goes for it; what it cost is `freed`, and of
    /// memory `unloaded`.
    Kept {
        is_first: bool,
        is_whole: bool,
        freed: u64,
        unloaded: u64,
        dropped: Option<u64>,
    },
    /// It is not needed. Whether the sender has to hear that the message has its end.
    Idle { is_settled: bool },
    /// It breaks the rules.
    Wrong,
}

/// What a receiver takes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Outlet {
    pub(super) bounds: Bounds,
    /// What may still be sent; none if no credit is kept.
    pub(super) left: Option<u64>,
    pub(super) custody: u64,
    pub(super) is_seen: bool,
    /// All batches up to this one are durable.
    pub(super) committed: u64,
    pub(super) is_durable: bool,
}

/// What is to be done to go on towards the receiver.
#[derive(Debug)]
pub(super) enum Step {
    Send {
        data: Data,
        pieces: Vec<Bytes>,
        /// What it takes of the receiver's credit.
        spent: u64,
        /// The piece, if it is not kept once it is there.
        streamed: Option<Streamed>,
        /// The bytes that are not in memory any more.
        unloaded: u64,
    },
    /// The receiver never takes this message.
    TooLarge(u64),
    /// The message has to come again.
    Ask(u64),
    /// The receiver's credit is too small by so much.
    Want(u64),
    /// The next piece is in the store.
    Load,
    /// There is nothing to be done before something happens.
    Wait,
}

/// A piece of a message that is not kept whole.
#[derive(Clone, Copy, Debug)]
pub(super) struct Streamed {
    pub(super) seq: u64,
    /// When the message begins again, pieces from before are none of it.
    pub(super) turn: u64,
    pub(super) at: u64,
}

/// What a receiver had of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// Nothing that counts.
    New,
    /// All of it; its program has not had it.
    Held,
    /// Its program has had it, or never will.
    Had,
}

/// What a receiver's answer to an opening changes.
#[derive(Debug, Default)]
pub(super) struct Reconciled {
    /// Messages that its program has had.
    pub(super) settled: Vec<u64>,
    /// Messages that it holds, and whose content is not needed as it comes.
    pub(super) held: Vec<u64>,
    /// Messages that have to be asked for again.
    pub(super) lost: Vec<u64>,
    /// How many others it holds that may come again.
    pub(super) remembered: usize,
}

impl Flow {
    pub(super) fn new(id: FlowId, key: FlowKey, halves: (usize, usize), epoch: u64, target_id: u32) -> Self {
        Flow {
            id,
            key,
            source: halves.0,
            target: halves.1,
            epoch,
            next: 0,
            source_epoch: epoch,
            shift: 0,
            told_from: 0,
            source_id: None,
            entries: BTreeMap::new(),
            partial: None,
            rewound: BTreeSet::new(),
            streams: BTreeSet::new(),
            tombs: BTreeSet::new(),
            turns: 0,
            ages: VecDeque::new(),
            timed: BTreeSet::new(),
            armed: None,
            target_id,
            is_announced: false,
            is_open: false,
            is_met: true,
            is_pending: false,
            is_kept: false,
            is_listed: false,
            cursor: 0,
            again: BTreeSet::new(),
            ahead: (0, 0),
            target_next: 0,
            target_end: 0,
            target_held: HashSet::new(),
            counts: Counts::default(),
        }
    }

    // Towards the sender.

    /// Whether a sender may open the flow with this.
    pub(super) fn may_open(&self, from: Option<(u64, u64)>) -> bool {
        let Some((epoch, first)) = from else {
            return true;
        };
        let own = if epoch == self.source_epoch {
            first.wrapping_add(self.shift)
        } else {
            first
        };
        first < MAX_OFFSET && own < MAX_OFFSET
    }

    /// A session of the sender opens the flow. Its epoch, the next offset and what is held, in the sender's numbers; and
    /// whether the numbering is another than before.
    pub(super) fn open_source(&mut self, id: u32, from: Option<(u64, u64)>) -> ((u64, u64, Vec<u64>), bool) {
        self.source_id = Some(id);
        let mut is_new = false;
        match from {
            None => {
                self.next = self.next.max(self.target_next);
                self.told_from = self.next;
            }
            Some((epoch, first)) if epoch == self.source_epoch => {
                self.told_from = first.wrapping_add(self.shift);
                is_new = self.told_from > self.next;
                self.next = self.next.max(self.told_from);
            }
            Some((epoch, first)) => {
                is_new = true;
                self.source_epoch = epoch;
                if self.entries.is_empty() && !self.is_announced {
                    (self.epoch, self.next, self.shift) = (epoch, first, 0);
                    self.is_met = false;
                } else {
                    self.shift = self.next.wrapping_sub(first);
                }
                self.told_from = self.next;
            }
        }
        let held = self.entries.range(self.told_from.min(self.next)..self.next);
        let held = held.filter(|(_, entry)| !entry.is_expired).take(MAX_HELD);
        let held = held.map(|(seq, _)| seq.wrapping_sub(self.shift)).collect();
        let next = self.next.wrapping_sub(self.shift);
        ((self.source_epoch, next, held), is_new)
    }

    /// A new sender begins, and the receiver cannot say how far it has come: it cannot have come so far as to know what is
    /// numbered from here.
    pub(super) fn leap(&mut self) {
        self.next = self.next.saturating_add(MAX_HELD as u64).min(MAX_OFFSET - 1);
        self.is_met = true;
    }

    /// The sender's session has ended: messages at the end that have not come whole are of no use, and may come anew.
    pub(super) fn reset_source(&mut self) -> Vec<u64> {
        (self.source_id, self.is_pending) = (None, false);
        let mut gone = Vec::from_iter(self.partial);
        while let Some(last) = self.next.checked_sub(1)
            && last >= self.cursor
            && self.rewound.contains(&last)
            && !gone.contains(&last)
        {
            self.next = last;
            gone.push(last);
        }
        gone
    }

    /// Messages that the sender has to send again, which it has not begun to.
    pub(super) fn rewound(&self) -> Vec<u64> {
        self.rewound.iter().copied().collect()
    }

    /// Whether a message that is not kept whole comes while one before it has to come again, which needs the room.
    pub(super) fn is_untimely(&self, seq: u64) -> bool {
        let is_behind = self.rewound.first().is_some_and(|first| *first < seq);
        is_behind && self.streams.contains(&seq)
    }

    /// Of a message that has its end: its offset as the sender has it, if it needs to hear of it.
    pub(super) fn told(&self, seq: u64) -> Option<(u32, u64)> {
        let id = self.source_id.filter(|_| seq >= self.told_from)?;
        Some((id, seq.wrapping_sub(self.shift)))
    }

    /// The number here of an offset of the sender's.
    pub(super) fn own(&self, offset: u64) -> Option<u64> {
        let seq = offset.wrapping_add(self.shift);
        (offset < MAX_OFFSET && seq < MAX_OFFSET).then_some(seq)
    }

    pub(super) fn accept(
        &mut self,
        now: Instant,
        seq: u64,
        data: Data,
        frames: Vec<Bytes>,
        intake: &Intake,
    ) -> Accepted {
        let is_first = data.at == 0;
        let charge = data.cost(frames.iter().map(|frame| frame.len() as u64).sum());
        let is_open = |entry: &Entry| !entry.is_whole && !entry.is_expired;
        match self.entries.get(&seq) {
            Some(entry) if !is_open(entry) => {
                self.counts.duplicates += 1;
                return Accepted::Idle { is_settled: false };
            }
            // It was on its way when its sender was asked to begin again.
            Some(entry) if entry.is_rewound && !is_first => return Accepted::Idle { is_settled: false },
            None if seq < self.next => {
                self.counts.duplicates += 1;
                return Accepted::Idle { is_settled: is_first };
            }
            Some(entry) if is_first || entry.come == data.at => {}
            None if is_first => {}
            _ => return Accepted::Wrong,
        }
        let (mut freed, mut unloaded, mut dropped) = (0, 0, None);
        if is_first {
            let ttl = data.ttl.map(Duration::from_millis);
            let Some(mut entry) = begin(now, data, intake) else {
                return Accepted::Wrong;
            };
            if frames.is_empty() != (entry.size == 0) || !entry.add(frames, charge, intake.batch) {
                return Accepted::Wrong;
            }
            // What was begun and never ended, of this message or of one that its sender has given up.
            let is_again = self.again.contains(&seq);
            let given_up = self.partial.filter(|_| seq >= self.next);
            for old in [Some(seq), given_up].into_iter().flatten() {
                if let Some(old_entry) = self.forget(old) {
                    freed += old_entry.cost;
                    unloaded += old_entry.memory();
                    dropped = Some(old);
                }
            }
            entry.expires = ttl
                .filter(|ttl| *ttl < intake.ttl)
                .and_then(|ttl| now.checked_add(ttl));
            self.turns += 1;
            entry.turn = self.turns;
            if let Some(at) = entry.expires {
                self.timed.insert((at, seq));
            }
            if entry.is_streamed {
                self.streams.insert(seq);
            }
            if entry.is_expired {
                self.tombs.insert(seq);
            }
            if seq >= self.next {
                self.partial = Some(seq);
            } else {
                self.rewound.insert(seq);
            }
            if is_again {
                self.again.insert(seq);
            }
            self.entries.insert(seq, entry);
            self.age(now, seq);
        } else if let Some(entry) = self.entries.get_mut(&seq)
            && (frames.is_empty() || !entry.add(frames, charge, intake.batch))
        {
            return Accepted::Wrong;
        }
        let entry = self.entries.get_mut(&seq).expect("it was begun");
        entry.is_whole = entry.come == entry.size;
        let is_whole = entry.is_whole;
        if is_whole {
            self.counts.received += 1;
            self.counts.received_bytes += entry.size;
            self.partial = self.partial.filter(|partial| *partial != seq);
            self.rewound.remove(&seq);
            self.next = self.next.max(seq + 1);
        }
        Accepted::Kept {
            is_first,
            is_whole,
            freed,
            unloaded,
            dropped,
        }
    }

    /// How many messages are under way that are not kept whole.
    pub(super) fn has_open_streams(&self) -> bool {
        let is_coming = |seq: &u64| self.streams.contains(seq);
        !self.rewound.is_empty() || self.partial.as_ref().is_some_and(is_coming)
    }

    // Towards the receiver.

    /// The first message that the receiver may still need.
    pub(super) fn first(&self) -> u64 {
        let first = self.entries.keys().next().copied();
        first.map_or(self.next, |first| first.min(self.next))
    }

    /// The receiver's session has ended.
    pub(super) fn reset_target(&mut self) {
        (self.is_announced, self.is_open) = (false, false);
        let begun = self.again.iter().copied().chain([self.cursor]);
        for seq in begun.collect::<Vec<_>>() {
            if let Some(entry) = self.entries.get_mut(&seq) {
                entry.sent = 0;
            }
        }
        (self.cursor, self.ahead) = (0, (0, 0));
        self.again.clear();
        self.target_next = 0;
        self.target_held.clear();
    }

    /// The receiver has said what it has.
    pub(super) fn opened(&mut self, next: u64, held: Vec<u64>, most: usize) -> Reconciled {
        (self.is_open, self.is_met) = (true, true);
        self.target_next = next;
        let held: HashSet<u64> = held.into_iter().collect();
        (self.cursor, self.ahead) = (next, (0, 0));
        let mut reconciled = Reconciled::default();
        for (seq, entry) in self.entries.range(..next) {
            if !held.contains(seq) {
                reconciled.settled.push(*seq);
            } else if entry.is_whole {
                self.ahead.0 += 1;
                self.ahead.1 += entry.size;
            } else if entry.is_streamed {
                reconciled.held.push(*seq);
            }
        }
        // Of what is not here, or not all of it, only so much is remembered; more is sent again, and does no harm.
        let is_whole = |seq: &u64| self.entries.get(seq).is_some_and(|entry| entry.is_whole);
        let mut to_come: Vec<_> = held.into_iter().filter(|seq| !is_whole(seq)).collect();
        to_come.retain(|seq| *seq >= self.next || self.entries.contains_key(seq));
        to_come.sort_unstable();
        self.target_end = to_come.get(most).map_or(next, |more| *more);
        to_come.truncate(most);
        reconciled.remembered = to_come.len();
        self.target_held = to_come.into_iter().collect();
        let streams = self.streams.range(next..);
        let is_lost = |seq: &&u64| self.entries.get(seq).is_some_and(Entry::has_gaps);
        // What has come of those behind it would take the room that it needs.
        reconciled.lost = streams.skip_while(|seq| !is_lost(seq)).copied().collect();
        reconciled
    }

    /// What the receiver had of a message when the flow was opened.
    pub(super) fn standing(&self, seq: u64) -> Standing {
        if !self.is_open || seq >= self.target_end {
            Standing::New
        } else if self.target_held.contains(&seq) {
            Standing::Held
        } else {
            Standing::Had
        }
    }

    /// The receiver's program has a message that it had held, and that may not have come again here.
    pub(super) fn let_go(&mut self, seq: u64) -> bool {
        self.target_held.remove(&seq)
    }

    /// A message has come that the receiver holds already.
    pub(super) fn count_held(&mut self, seq: u64) {
        if let Some(entry) = self.entries.get(&seq) {
            self.ahead.0 += 1;
            self.ahead.1 += entry.size;
        }
    }

    /// Whether the receiver can have this message, and more of it than it has does not come.
    pub(super) fn is_sent(&self, seq: u64) -> bool {
        let is_whole = |entry: &Entry| entry.is_whole;
        self.is_begun(seq) && self.entries.get(&seq).is_some_and(is_whole)
    }

    /// Whether the receiver can have a part of this message.
    pub(super) fn is_begun(&self, seq: u64) -> bool {
        let is_sent = |entry: &Entry| entry.sent > 0;
        self.is_open && (seq < self.cursor || self.entries.get(&seq).is_some_and(is_sent))
    }

    /// Whether the receiver cannot know of this message.
    pub(super) fn is_unknown(&self, seq: u64) -> bool {
        seq >= self.cursor && !self.is_begun(seq)
    }

    /// Whether there is something that the receiver has not got.
    pub(super) fn is_unsent(&self) -> bool {
        if !self.is_open {
            return !self.entries.is_empty();
        }
        !self.again.is_empty() || self.entries.range(self.cursor..).next().is_some()
    }

    /// The receiver wants a message again that it has got, all or a part. Whether it can be: else it has to be asked for.
    pub(super) fn send_again(&mut self, seq: u64) -> Option<bool> {
        let entry = self.entries.get_mut(&seq)?;
        entry.sent = 0;
        if seq < self.cursor {
            self.again.insert(seq);
        }
        Some(!entry.has_gaps())
    }

    /// A message has its end. It is gone, but not what the quotas say of it.
    pub(super) fn forget(&mut self, seq: u64) -> Option<Entry> {
        let entry = self.entries.remove(&seq)?;
        if seq < self.cursor {
            self.ahead.0 = self.ahead.0.saturating_sub(1);
            self.ahead.1 = self.ahead.1.saturating_sub(entry.size);
        }
        self.again.remove(&seq);
        if let Some(at) = entry.expires {
            self.timed.remove(&(at, seq));
        }
        self.streams.remove(&seq);
        self.tombs.remove(&seq);
        self.rewound.remove(&seq);
        self.partial = self.partial.filter(|partial| *partial != seq);
        Some(entry)
    }

    /// A message has had its end, and does not come any more, not even the rest of it.
    pub(super) fn pass(&mut self, seq: u64) {
        self.next = self.next.max(seq + 1);
    }

    /// What is here of a message is dropped; it has to come again. What it cost, and its bytes.
    pub(super) fn rewind(&mut self, seq: u64) -> (u64, u64) {
        let Some(entry) = self.entries.get_mut(&seq) else {
            return (0, 0);
        };
        let unloaded = entry.memory();
        let freed = entry.begin_anew();
        self.turns += 1;
        entry.turn = self.turns;
        self.rewound.insert(seq);
        // Its sender may go on with the next before it hears of it.
        if self.partial.take_if(|partial| *partial == seq).is_some() {
            self.next = self.next.max(seq + 1);
        }
        (freed, unloaded)
    }

    /// What can be done for the receiver now.
    pub(super) fn step(&mut self, now: Instant, outlet: &Outlet) -> Step {
        if !self.is_open {
            return Step::Wait;
        }
        // While what is wanted again is not here, what was begun goes on.
        if let Some(again) = self.again.first().copied() {
            let step = self.step_at(now, outlet, again);
            if !matches!(step, Step::Wait) {
                return step;
            }
        }
        self.step_at(now, outlet, self.cursor)
    }

    fn step_at(&mut self, now: Instant, outlet: &Outlet, from: u64) -> Step {
        let Some((seq, entry)) = self.entries.range_mut(from..).next() else {
            return Step::Wait;
        };
        let seq = *seq;
        let is_again = seq < self.cursor;
        if entry.batch > outlet.committed {
            return Step::Wait;
        }
        let is_empty = entry.size == 0;
        let is_streamed_on = entry.size > outlet.custody;
        let mut spent = 0;
        if entry.sent == 0 {
            if entry.size > outlet.bounds.message {
                return Step::TooLarge(seq);
            }
            let fits = is_again
                || self.ahead.0 == 0
                || (self.ahead.0 < u64::from(outlet.bounds.messages)
                    && self.ahead.1.saturating_add(entry.size) <= outlet.bounds.bytes);
            if !fits || (is_streamed_on && !outlet.is_seen) {
                return Step::Wait;
            }
            if entry.is_rewound {
                return if entry.is_asked {
                    Step::Wait
                } else {
                    Step::Ask(seq)
                };
            }
            if let Some(left) = outlet.left.filter(|_| !is_streamed_on) {
                // The receiver's credit is for whole messages, and what a message costs is known when it is whole.
                if !entry.is_whole {
                    return Step::Wait;
                }
                spent = entry.whole_cost();
                if spent > left {
                    return Step::Want(spent - left);
                }
            }
        }
        let (at, size) = (entry.sent, entry.size);
        let (mut pieces, mut end, mut unloaded) = (Vec::new(), at, 0);
        if !is_empty {
            let Some(piece) = entry.piece(at).filter(|piece| piece.batch <= outlet.committed) else {
                return Step::Wait;
            };
            if let Some(left) = outlet.left.filter(|_| is_streamed_on) {
                spent = piece.cost;
                if spent > left {
                    return Step::Want(spent - left);
                }
            }
            end = at + piece.len;
            pieces = match &mut piece.content {
                Content::Memory(frames) if outlet.is_durable => {
                    unloaded = piece.len;
                    let frames = std::mem::take(frames);
                    piece.content = Content::Stored;
                    frames
                }
                Content::Memory(frames) => frames.clone(),
                Content::Stored => return Step::Load,
                Content::Loading => return Step::Wait,
            };
        }
        let millis = |expires: Instant| {
            let left = expires.saturating_duration_since(now);
            u64::try_from(left.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX)
        };
        let data = Data {
            flow: self.target_id,
            offset: seq,
            tag: entry.tag.clone().filter(|_| at == 0),
            codec: entry.codec,
            ttl: entry.expires.map(millis),
            expired: entry.is_expired,
            at,
            parts: if at == 0 { entry.parts.to_vec() } else { Vec::new() },
            pieces: u16::try_from(pieces.len()).expect("a packet has at most `MAX_PARTS` pieces"),
        };
        let turn = entry.turn;
        let streamed = (entry.is_streamed && !is_empty).then_some(Streamed { seq, turn, at });
        entry.sent = end;
        if end == size {
            entry.sent = 0;
            self.again.remove(&seq);
            if !is_again {
                self.cursor = seq + 1;
                self.ahead.0 += 1;
                self.ahead.1 += size;
            }
        }
        Step::Send {
            data,
            pieces,
            spent,
            streamed,
            unloaded,
        }
    }

    /// The pieces that are wanted next of the store and their lengths, at most `most` bytes and one piece.
    pub(super) fn load(&mut self, most: u64, bounds: Bounds) -> Vec<(PieceId, u64)> {
        let (mut ids, mut bytes) = (Vec::new(), 0);
        let flow = self.id;
        let (count, ahead) = LOADED_AHEAD;
        let from = self.again.first().copied().unwrap_or(self.cursor);
        let (mut messages, mut content) = self.ahead;
        'entries: for (offset, entry) in self.entries.range_mut(from..).take(count) {
            let fits = messages < u64::from(bounds.messages) && content + entry.size <= bounds.bytes;
            if !fits && *offset != from {
                break;
            }
            messages += 1;
            content += entry.size;
            let sent = entry.sent;
            let start = entry.pieces.partition_point(|piece| piece.at < sent);
            for piece in entry.pieces.range_mut(start..) {
                if ids.len() >= count || (!ids.is_empty() && bytes + piece.len > most.min(ahead)) {
                    break 'entries;
                }
                if matches!(piece.content, Content::Stored) {
                    piece.content = Content::Loading;
                    bytes += piece.len;
                    let (offset, at) = (*offset, piece.at);
                    ids.push((PieceId { flow, offset, at }, piece.len));
                }
            }
        }
        ids
    }

    // Time.

    fn age(&mut self, now: Instant, seq: u64) {
        self.ages.push_back((now, seq));
        if self.ages.len() > 2 * self.entries.len() + 16 {
            let entries = &self.entries;
            let is_there =
                |(at, seq): &(Instant, u64)| entries.get(seq).is_some_and(|entry| entry.arrived == *at);
            self.ages.retain(is_there);
        }
    }

    /// When a message may have waited too long.
    pub(super) fn expires(&mut self, ttl: Duration) -> Option<Instant> {
        while let Some((at, seq)) = self.ages.front()
            && self.entries.get(seq).is_none_or(|entry| entry.arrived != *at)
        {
            self.ages.pop_front();
        }
        let own = self.timed.first().map(|(at, _)| *at);
        let others = self.ages.front().and_then(|(at, _)| at.checked_add(ttl));
        own.into_iter().chain(others).min()
    }

    /// Messages that have waited too long.
    pub(super) fn overdue(&self, now: Instant, ttl: Duration, most: usize) -> Vec<u64> {
        let own = self.timed.iter().take_while(|(at, _)| *at <= now);
        let mut overdue: Vec<_> = own.map(|(_, seq)| *seq).take(most).collect();
        let is_old = |at: &Instant| at.checked_add(ttl).is_some_and(|at| at <= now);
        let others = self.ages.iter().take_while(|(at, _)| is_old(at));
        let is_there =
            |(at, seq): &&(Instant, u64)| self.entries.get(seq).is_some_and(|entry| entry.arrived == *at);
        overdue.extend(others.filter(is_there).map(|(_, seq)| *seq).take(most));
        overdue.sort_unstable();
        overdue.dedup();
        overdue
    }

    /// A message has waited too long, but its receiver may have it: it is looked after again at `at`.
    pub(super) fn postpone(&mut self, now: Instant, seq: u64, at: Instant) {
        let Some(entry) = self.entries.get_mut(&seq) else {
            return;
        };
        entry.arrived = now;
        if let Some(old) = entry.expires.replace(at) {
            self.timed.remove(&(old, seq));
        }
        self.timed.insert((at, seq));
        self.age(now, seq);
    }

    /// A message has waited too long: only a mark stays, for its receiver. What is free by that.
    pub(super) fn bury(&mut self, now: Instant, seq: u64) -> u64 {
        let Some(entry) = self.entries.get_mut(&seq) else {
            return 0;
        };
        if let Some(at) = entry.expires {
            self.timed.remove(&(at, seq));
        }
        if seq < self.cursor {
            self.ahead.1 = self.ahead.1.saturating_sub(entry.size);
        }
        let freed = entry.bury(now);
        self.age(now, seq);
        self.streams.remove(&seq);
        self.rewound.remove(&seq);
        self.partial = self.partial.filter(|partial| *partial != seq);
        self.next = self.next.max(seq + 1);
        self.tombs.insert(seq);
        self.counts.expired += 1;
        freed
    }

    /// The oldest mark, if there are too many.
    pub(super) fn oldest_tomb(&self) -> Option<u64> {
        let is_full = self.tombs.len() > MAX_TOMBS;
        self.tombs.first().copied().filter(|_| is_full)
    }

    /// All messages go. What they cost, and their bytes in memory.
    pub(super) fn clear(&mut self) -> (u64, u64) {
        let entries = std::mem::take(&mut self.entries);
        let cost = entries.values().map(|entry| entry.cost).sum();
        let memory = entries.values().map(Entry::memory).sum();
        self.partial = None;
        self.rewound.clear();
        self.streams.clear();
        self.tombs.clear();
        self.timed.clear();
        self.ages.clear();
        self.again.clear();
        (self.ahead, self.is_listed) = ((0, 0), false);
        (cost, memory)
    }

    /// Contents that are in the store go from memory. Their bytes.
    pub(super) fn unload(&mut self, committed: u64) -> u64 {
        let mut bytes = 0;
        for piece in self.entries.values_mut().flat_map(|entry| &mut entry.pieces) {
            if piece.batch <= committed && matches!(piece.content, Content::Memory(_)) {
                piece.content = Content::Stored;
                bytes += piece.len;
            }
        }
        bytes
    }

    /// Whether messages are kept that can still be received.
    pub(super) fn is_live(&self) -> bool {
        self.entries.len() > self.tombs.len()
    }

    // What the store had.

    /// What it costs beside its pieces.
    pub(super) fn restore_message(&mut self, seq: u64, mut entry: Entry) -> u64 {
        entry.is_whole = entry.size == 0;
        let cost = cost(0, entry.parts.len());
        entry.cost = if entry.is_whole { cost } else { 0 };
        let charge = entry.cost;
        if let Some(at) = entry.expires {
            self.timed.insert((at, seq));
        }
        if entry.is_whole {
            self.next = self.next.max(seq + 1);
        } else {
            self.partial = Some(seq);
        }
        let arrived = entry.arrived;
        self.entries.insert(seq, entry);
        self.age(arrived, seq);
        charge
    }

    /// What it costs, if it fits.
    pub(super) fn restore_piece(&mut self, seq: u64, at: u64, len: u64) -> Option<u64> {
        let entry = self.entries.get_mut(&seq)?;
        let cost = entry.restore(at, len)?;
        if entry.is_whole {
            self.partial = self.partial.filter(|partial| *partial != seq);
            self.next = self.next.max(seq + 1);
        }
        Some(cost)
    }
}

/// Checks what a message will be.
fn begin(now: Instant, data: Data, intake: &Intake) -> Option<Entry> {
    let mut parts = data.parts.iter();
    let size = parts.try_fold(0_u64, |sum, len| sum.checked_add(*len))?;
    let is_good = size <= intake.largest
        && data.parts.len() <= MAX_PARTS
        && (data.expired || !data.parts.is_empty())
        && (!data.expired || data.pieces == 0);
    if !is_good {
        return None;
    }
    let (parts, size) = if data.expired {
        (Vec::new(), 0)
    } else {
        (data.parts, size)
    };
    let mut entry = Entry::new(data.tag, data.codec, parts, size, now);
    entry.is_expired = data.expired;
    entry.is_streamed = size > intake.custody;
    entry.batch = intake.batch;
    Some(entry)
}
