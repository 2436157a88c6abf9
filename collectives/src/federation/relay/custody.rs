//! Messages that are kept: their ends, and where their content is.

use std::time::{Duration, Instant};

use bytes::Bytes;

use super::event::RelayEvent;
use super::lanes::Timer;
use super::ledger::Mark;
use super::pieces::Content;
use super::relay::Relay;
use super::store::{Op, PieceId, Record};
use crate::federation::core::packet::{Item, LOST};

/// How many messages that have waited too long are looked after at once.
const MAX_OVERDUE: usize = 256;
/// How many bytes are loaded for one receiver before it has acknowledged them.
const MAX_LOADED: u64 = 16 << 20;
/// When to look again whether a receiver has got what has waited too long.
const LOOK_AGAIN: Duration = Duration::from_secs(10);

impl Relay {
    /// A message has its end: its receiver's program has it, or never will. Its sender is told.
    pub(super) fn end_message(&mut self, number: usize, seq: u64, expired: bool) {
        let Some(entry) = self.remove_message(number, seq) else {
            return;
        };
        let flow = &mut self.flows[number];
        flow.pass(seq);
        flow.counts.settled += 1;
        flow.counts.expired += u64::from(expired && !entry.is_expired);
        self.keep_end(number, seq, expired);
        // Of a mark, its sender knows.
        if !entry.is_expired {
            self.tell_source(number, seq, expired);
        }
        self.spare.keep(entry);
    }

    /// The store hears that a message, or the mark of one, has its end.
    fn keep_end(&mut self, number: usize, offset: u64, expired: bool) {
        if !self.ledger.is_durable() {
            return;
        }
        let (flow, next) = (self.flows[number].id, self.flows[number].next);
        self.ledger.add(|| Op::Settled {
            flow,
            offset,
            expired,
        });
        // Only whole messages, and marks, say in the store how far it has come.
        let mut others = self.flows[number].entries.iter().rev();
        let last = others.find(|(_, entry)| entry.is_whole);
        let is_behind = last.is_none_or(|(last, _)| last + 1 < next);
        drop(others);
        if is_behind {
            self.keep_next(number);
        }
    }

    fn remove_message(&mut self, number: usize, seq: u64) -> Option<super::entry::Entry> {
        let entry = self.flows[number].forget(seq)?;
        let source = self.flows[number].source;
        self.ledger.unload(entry.memory());
        self.quota.count(&self.halves[source].account, 1, 0);
        self.quota.release(&mut self.halves[source].account, entry.cost);
        self.note_streams(number);
        self.note_unsent(number);
        Some(entry)
    }

    fn remove_mark(&mut self, number: usize, seq: u64) {
        if self.remove_message(number, seq).is_some() {
            self.keep_end(number, seq, true);
        }
    }

    /// The store keeps the mark of a message, as one without parts.
    fn keep_mark(&mut self, number: usize, offset: u64) {
        let flow = &self.flows[number];
        let id = flow.id;
        if let Some(entry) = flow.entries.get(offset) {
            let expires_unix_ms = self.unix_ms_after(self.limits.ttl);
            self.ledger.add(|| {
                Op::Keep(Record::Message {
                    flow: id,
                    offset,
                    tag: entry.tag.clone(),
                    codec: entry.codec,
                    parts: Vec::new(),
                    expires_unix_ms,
                })
            });
        }
    }

    /// Tells a sender, if it waits for it, that a message has its end.
    pub(super) fn tell_source(&mut self, number: usize, seq: u64, expired: bool) {
        let flow = &self.flows[number];
        if let Some((id, offset)) = flow.told(seq) {
            let source = flow.source;
            let settled = Item::Settled {
                flow: id,
                offset,
                expired,
            };
            self.halves[source].link.push(settled, Vec::new());
            self.nudge(source);
        }
    }

    /// A message has waited too long, or with the codec [`LOST`] is lost: its content goes, its sender is told now, and its
    /// receiver when it comes to it.
    pub(super) fn bury(&mut self, now: Instant, number: usize, seq: u64, codec: u8) {
        let Some(entry) = self.flows[number].entries.get(seq) else {
            return;
        };
        self.ledger.unload(entry.memory());
        let freed = self.flows[number].bury(now, seq, codec);
        let flow = &self.flows[number];
        let (id, source) = (flow.id, flow.source);
        self.quota.release(&mut self.halves[source].account, freed);
        self.ledger.add(|| Op::Settled {
            flow: id,
            offset: seq,
            expired: true,
        });
        self.keep_mark(number, seq);
        self.note_streams(number);
        self.tell_source(number, seq, true);
        while let Some(tomb) = self.flows[number].oldest_tomb() {
            self.remove_mark(number, tomb);
        }
        self.activate(number);
    }

    /// Messages of a flow may have waited too long.
    pub(super) fn look_after_flow(&mut self, now: Instant, number: usize) {
        let Some(flow) = self.flows.get_mut(number) else {
            return;
        };
        flow.armed = None;
        let is_present = self.halves[flow.target].is_present;
        let overdue = flow.overdue(now, self.limits.ttl, MAX_OVERDUE);
        let mut count = 0;
        for seq in &overdue {
            let flow = &self.flows[number];
            let is_tomb = flow.entries.get(*seq).is_none_or(|entry| entry.is_expired);
            if is_tomb {
                self.remove_mark(number, *seq);
            } else if is_present && flow.is_begun(*seq) {
                // What its receiver has, it counts itself.
                self.flows[number].postpone(now, *seq, now + LOOK_AGAIN);
            } else {
                self.bury(now, number, *seq, 0);
                count += 1;
            }
        }
        let flow = &mut self.flows[number];
        if let Some(at) = flow.expires(self.limits.ttl) {
            self.timers.arm(Timer::Flow(number), &mut flow.armed, at);
        }
        if count > 0 {
            let half = &self.halves[flow.source];
            self.tell(RelayEvent::Expired {
                job: self.jobs[half.job].id.clone(),
                from: half.party.clone(),
                to: half.plays.clone(),
                channel: self.flows[number].key.name.clone(),
                count,
            });
        }
    }

    /// There may be something to send in this flow.
    pub(super) fn activate(&mut self, number: usize) {
        self.count_unsent(number);
        let flow = &mut self.flows[number];
        let target = flow.target;
        if !std::mem::replace(&mut flow.is_listed, true) {
            self.halves[target].active.push_back(number);
        }
        self.nudge(target);
    }

    pub(super) fn count_unsent(&mut self, number: usize) {
        let flow = &mut self.flows[number];
        if !std::mem::replace(&mut flow.is_counted, true) {
            self.halves[flow.target].unsent += 1;
        }
    }

    /// Perhaps nothing of a flow is left to be sent.
    pub(super) fn note_unsent(&mut self, number: usize) {
        let flow = &mut self.flows[number];
        let target = flow.target;
        if !flow.is_unsent() && std::mem::take(&mut flow.is_counted) {
            self.halves[target].unsent -= 1;
            self.nudge(target);
        }
    }

    /// Nobody receives anything in this job any more: what is kept goes, and its channels.
    pub(super) fn clear_job(&mut self, index: usize) {
        let halves: Vec<_> = self.jobs[index].halves.values().copied().collect();
        for half in halves {
            let half = &mut self.halves[half];
            let targets = half.forget_flows();
            self.quota.end(&mut half.account);
            for number in targets {
                let Some(mut flow) = self.flows.remove(number) else {
                    continue;
                };
                self.flow_ids.remove(&flow.id);
                self.timers.disarm(Timer::Flow(number), &mut flow.armed);
                let known = flow.entries.len();
                let (cost, memory) = flow.clear();
                self.ledger.unload(memory);
                let account = &mut self.halves[flow.source].account;
                self.quota.count(account, known, 0);
                self.quota.release(account, cost);
                self.quota.unfix(account, flow.size());
            }
        }
    }

    // What the store does.

    /// Batches are durable: what was taken with them is confirmed, and sent on.
    pub(super) fn release_committed(&mut self) {
        let committed = self.ledger.committed();
        while let Some(mark) = self.ledger.next_mark() {
            match mark {
                Mark::Half { half, session } => {
                    let known = self.halves.get_mut(half);
                    let Some(known) = known.filter(|known| known.session == session) else {
                        continue;
                    };
                    while let Some((_, below)) =
                        known.unconfirmed.pop_front_if(|(batch, _)| *batch <= committed)
                    {
                        known.link.confirm(below);
                    }
                    // Who waits for the store has waited long enough.
                    known.link.hurry();
                    self.wake(half);
                }
                Mark::Answer { flow, session } => {
                    let source = self.flows.get(flow).map(|flow| flow.source);
                    let half = source.and_then(|source| self.halves.get(source));
                    if half.is_some_and(|half| half.session == session) {
                        self.answer_pending(flow, true);
                    }
                }
                Mark::Piece { flow, seq, at, len } => {
                    self.ledger.unwritten = self.ledger.unwritten.saturating_sub(len);
                    self.written(flow, seq, at);
                }
            }
        }
        self.feed_loads();
    }

    /// A piece is in the store: it need not be in memory when there is little.
    fn written(&mut self, number: usize, seq: u64, at: u64) {
        let Some(flow) = self.flows.get_mut(number) else {
            return;
        };
        let Some(entry) = flow.entries.get_mut(seq) else {
            return;
        };
        let is_awaited = self.halves[flow.target].is_present;
        if (!is_awaited || self.ledger.memory > self.limits.memory_bytes / 2)
            && let Some(piece) = entry.piece(at)
            && matches!(piece.content, Content::Memory(_))
        {
            piece.content = Content::Stored;
            self.ledger.unload(piece.len);
        }
        self.activate(number);
    }

    /// The content of a piece is here.
    pub(super) fn take_loaded(&mut self, id: PieceId, content: Vec<Bytes>) {
        self.end_load(id);
        let len: u64 = content.iter().map(|frame| frame.len() as u64).sum();
        let number = self.flow_ids.get(&id.flow).copied();
        let flow = number.and_then(|number| self.flows.get_mut(number));
        let entry = flow.and_then(|flow| flow.entries.get_mut(id.offset));
        let piece = entry.and_then(|entry| entry.piece(id.at));
        match (number, piece) {
            (Some(number), Some(piece)) if matches!(piece.content, Content::Loading) && piece.len == len => {
                piece.content = Content::Memory(content.into());
                self.ledger.memory += len;
                self.activate(number);
            }
            // The message has come to its end meanwhile.
            _ => self.feed_loads(),
        }
    }

    fn end_load(&mut self, id: PieceId) {
        let len = self.ledger.loaded(id);
        let flow = self.flow_ids.get(&id.flow).and_then(|flow| self.flows.get(*flow));
        if let Some(target) = flow.map(|flow| flow.target) {
            let half = &mut self.halves[target];
            half.loading = half.loading.saturating_sub(len);
            self.queue_loads(target);
        }
    }

    /// Flows to a receiver that have waited for others to be loaded go on.
    pub(super) fn queue_loads(&mut self, index: usize) {
        for flow in std::mem::take(&mut self.halves[index].queued_loads) {
            self.activate(flow);
        }
    }

    /// The store has no such piece.
    pub(super) fn miss(&mut self, id: PieceId) {
        self.end_load(id);
        self.feed_loads();
        let Some(number) = self.flow_ids.get(&id.flow).copied() else {
            return;
        };
        let Some(flow) = self.flows.get_mut(number) else {
            return;
        };
        let entry = flow.entries.get_mut(id.offset);
        let piece = entry.and_then(|entry| entry.piece(id.at));
        if piece.is_some_and(|piece| matches!(piece.content, Content::Loading)) {
            // It will never be whole again: its receiver is told that there was a message.
            self.bury(self.now, number, id.offset, LOST);
        }
    }

    /// Asks the store for what is sent next, if there is memory for it.
    pub(super) fn load(&mut self, number: usize) {
        let (of_half, most, left) = self.room_to_load(number);
        if of_half > 0 && most == 0 {
            let target = self.flows[number].target;
            self.halves[target].queued_loads.push(number);
            return;
        }
        if of_half > 0 && left == 0 {
            self.ledger.starved.push_back(number);
            return;
        }
        self.load_at_most(number, most.min(left));
    }

    /// Asks the store for more while what is here goes out, as far as there is memory for it: [`load`](Relay::load) gets the
    /// rest when its turn comes.
    pub(super) fn load_ahead(&mut self, number: usize) {
        let (_, most, left) = self.room_to_load(number);
        if most.min(left) > 0 {
            self.load_at_most(number, most.min(left));
        }
    }

    /// What is on its way to the receiver of a flow, and how much more may be; what is left of the memory.
    fn room_to_load(&self, number: usize) -> (u64, u64, u64) {
        let half = &self.halves[self.flows[number].target];
        // One who does not take what is loaded must leave memory for others, who always get a piece.
        let of_half = half.loading + half.link.queued().1 as u64;
        let most = (self.limits.memory_bytes / 8).min(MAX_LOADED);
        let left = self.limits.memory_bytes.saturating_sub(self.ledger.memory);
        (of_half, most.saturating_sub(of_half), left)
    }

    fn load_at_most(&mut self, number: usize, most: u64) {
        let flow = &mut self.flows[number];
        let half = &mut self.halves[flow.target];
        let pieces = flow.load(most, half.bounds);
        half.loading += pieces.iter().map(|(_, len)| len).sum::<u64>();
        self.ledger.load(pieces);
    }

    /// Flows that have waited for memory go on.
    pub(super) fn feed_loads(&mut self) {
        if self.ledger.memory < self.limits.memory_bytes / 4 * 3 {
            while let Some(flow) = self.ledger.starved.pop_front() {
                if self.flows.get(flow).is_some() {
                    self.activate(flow);
                }
            }
        }
    }

    /// A receiver has gone: what is in the store need not be in memory.
    pub(super) fn unload_targets(&mut self, index: usize) {
        if !self.ledger.is_durable() {
            return;
        }
        let committed = self.ledger.committed();
        for place in 0..self.halves[index].targets.len() {
            let flow = self.halves[index].targets[place];
            let unloaded = self.flows[flow].unload(committed);
            self.ledger.unload(unloaded);
        }
        self.feed_loads();
    }
}
