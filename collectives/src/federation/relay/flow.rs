//! One direction of a channel between two parties: the messages that its sender has given and its receiver has not had.
//!
//! Messages are numbered as the receiver has them. The sender's numbering is the same, but for the rare case that a sender
//! comes with another one while messages of the old one are still here: then what comes is numbered on from these.

mod receiver;
mod time;

use std::collections::{BTreeSet, HashSet, VecDeque};
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::entry::Entry;
use super::numbered::Numbered;
use super::quota::OF_FLOW;
use super::spare::Spare;
use super::store::FlowId;
use crate::federation::core::Bounds;
use crate::federation::core::few::Few;
use crate::federation::core::packet::{Data, FlowKey, MAX_OFFSET, MAX_PARTS};

/// How many messages that have waited too long are remembered for their receiver to be told.
const MAX_TOMBS: usize = 1024;
/// How many offsets a sender is told that are here. None that keeps to the limits keeps more.
const MAX_HELD: usize = 1 << 16;
/// How many pieces are loaded ahead, and their bytes. The store reads them between two commits: what goes out meanwhile has
/// to be here.
const LOADED_AHEAD: (usize, u64) = (1024, 4 << 20);

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
    pub(super) entries: Numbered<Entry>,
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
    /// Whether it counts among those that have something that the receiver has not got.
    pub(super) is_counted: bool,
    /// All before it are sent.
    cursor: u64,
    /// When this one is sent, half of what was loaded is gone.
    reload_at: Option<u64>,
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
        pieces: Few<Bytes>,
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
            entries: Numbered::default(),
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
            is_counted: false,
            cursor: 0,
            reload_at: None,
            again: BTreeSet::new(),
            ahead: (0, 0),
            target_next: 0,
            target_end: 0,
            target_held: HashSet::new(),
            counts: Counts::default(),
        }
    }

    /// What it takes of the memory beside its messages.
    pub(super) fn size(&self) -> u64 {
        size_of(&self.key)
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
        frames: Few<Bytes>,
        intake: &Intake,
        spare: &mut Spare,
    ) -> Accepted {
        let is_first = data.at == 0;
        let charge = data.cost(frames.iter().map(|frame| frame.len() as u64).sum());
        let is_open = |entry: &Entry| !entry.is_whole && !entry.is_expired;
        match self.entries.get(seq) {
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
            if frames.is_empty() != (entry.size == 0) || !entry.add(frames, charge, intake.batch, spare) {
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
            // A mark stays for its receiver.
            entry.expires = ttl
                .filter(|ttl| *ttl < intake.ttl && !entry.is_expired)
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
        } else if let Some(entry) = self.entries.get_mut(seq)
            && (frames.is_empty() || !entry.add(frames, charge, intake.batch, spare))
        {
            return Accepted::Wrong;
        }
        let entry = self.entries.get_mut(seq).expect("it was begun");
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
}

/// What a channel in one direction takes of the memory beside its messages.
pub(super) fn size_of(key: &FlowKey) -> u64 {
    OF_FLOW + key.name.as_str().len() as u64
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
        (Few::new(), 0)
    } else {
        (data.parts, size)
    };
    let mut entry = Entry::new(data.tag, data.codec, parts, size, now);
    entry.is_expired = data.expired;
    entry.is_streamed = size > intake.custody;
    entry.batch = intake.batch;
    Some(entry)
}
