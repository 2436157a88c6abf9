//! How long messages of a flow wait, and what the store has kept of them.

use std::time::{Duration, Instant};

use super::{Entry, Flow, MAX_TOMBS};
use crate::federation::core::packet::cost;
use crate::federation::relay::pieces::Content;

impl Flow {
    pub(super) fn age(&mut self, now: Instant, seq: u64) {
        self.ages.push_back((now, seq));
        if self.ages.len() > 2 * self.entries.len() + 16 {
            let entries = &self.entries;
            let is_there =
                |(at, seq): &(Instant, u64)| entries.get(*seq).is_some_and(|entry| entry.arrived == *at);
            self.ages.retain(is_there);
        }
    }

    /// When a message may have waited too long.
    pub(in crate::federation::relay) fn expires(&mut self, ttl: Duration) -> Option<Instant> {
        while let Some((at, seq)) = self.ages.front()
            && self.entries.get(*seq).is_none_or(|entry| entry.arrived != *at)
        {
            self.ages.pop_front();
        }
        let own = self.timed.first().map(|(at, _)| *at);
        let others = self.ages.front().and_then(|(at, _)| at.checked_add(ttl));
        own.into_iter().chain(others).min()
    }

    /// Messages that have waited too long.
    pub(in crate::federation::relay) fn overdue(&self, now: Instant, ttl: Duration, most: usize) -> Vec<u64> {
        let own = self.timed.iter().take_while(|(at, _)| *at <= now);
        let mut overdue: Vec<_> = own.map(|(_, seq)| *seq).take(most).collect();
        let is_old = |at: &Instant| at.checked_add(ttl).is_some_and(|at| at <= now);
        let others = self.ages.iter().take_while(|(at, _)| is_old(at));
        let is_there =
            |(at, seq): &&(Instant, u64)| self.entries.get(*seq).is_some_and(|entry| entry.arrived == *at);
        overdue.extend(others.filter(is_there).map(|(_, seq)| *seq).take(most));
        overdue.sort_unstable();
        overdue.dedup();
        overdue
    }

    /// A message has waited too long, but its receiver may have it: it is looked after again at `at`.
    pub(in crate::federation::relay) fn postpone(&mut self, now: Instant, seq: u64, at: Instant) {
        let Some(entry) = self.entries.get_mut(seq) else {
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
    pub(in crate::federation::relay) fn bury(&mut self, now: Instant, seq: u64, codec: u8) -> u64 {
        let Some(entry) = self.entries.get_mut(seq) else {
            return 0;
        };
        if let Some(at) = entry.expires {
            self.timed.remove(&(at, seq));
        }
        if seq < self.cursor {
            self.ahead.1 = self.ahead.1.saturating_sub(entry.size);
        }
        let freed = entry.bury(now, codec);
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
    pub(in crate::federation::relay) fn oldest_tomb(&self) -> Option<u64> {
        let is_full = self.tombs.len() > MAX_TOMBS;
        self.tombs.first().copied().filter(|_| is_full)
    }

    /// All messages go. What they cost, and their bytes in memory.
    pub(in crate::federation::relay) fn clear(&mut self) -> (u64, u64) {
        let entries = std::mem::take(&mut self.entries);
        let cost = entries.iter().map(|(_, entry)| entry.cost).sum();
        let memory = entries.iter().map(|(_, entry)| entry.memory()).sum();
        self.partial = None;
        self.rewound.clear();
        self.streams.clear();
        self.tombs.clear();
        self.timed.clear();
        self.ages.clear();
        self.again.clear();
        self.ahead = (0, 0);
        (self.is_listed, self.is_counted) = (false, false);
        (cost, memory)
    }

    /// Contents that are in the store go from memory. Their bytes.
    pub(in crate::federation::relay) fn unload(&mut self, committed: u64) -> u64 {
        let mut bytes = 0;
        for piece in self
            .entries
            .values_mut()
            .flat_map(|entry| entry.pieces.iter_mut())
        {
            if piece.batch <= committed && matches!(piece.content, Content::Memory(_)) {
                piece.content = Content::Stored;
                bytes += piece.len;
            }
        }
        bytes
    }

    /// Whether messages are kept that can still be received.
    pub(in crate::federation::relay) fn is_live(&self) -> bool {
        self.entries.len() > self.tombs.len()
    }

    /// What it costs beside its pieces.
    pub(in crate::federation::relay) fn restore_message(&mut self, seq: u64, mut entry: Entry) -> u64 {
        entry.is_whole = entry.size == 0;
        entry.is_expired = entry.parts.is_empty();
        if entry.is_expired {
            self.tombs.insert(seq);
        }
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
    pub(in crate::federation::relay) fn restore_piece(&mut self, seq: u64, at: u64, len: u64) -> Option<u64> {
        let entry = self.entries.get_mut(seq)?;
        let cost = entry.restore(at, len)?;
        if entry.is_whole {
            self.partial = self.partial.filter(|partial| *partial != seq);
            self.next = self.next.max(seq + 1);
        }
        Some(cost)
    }
}
