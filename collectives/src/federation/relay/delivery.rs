//! What receivers get, and say of it.

use std::time::Instant;

use super::flow::{Outlet, Step};
use super::relay::Relay;
use crate::federation::core::packet::{Item, MAX_OFFSET};

/// How many messages that a receiver holds are remembered, of all channels, until they come again from their sender.
const MAX_HELD: usize = 1 << 12;

impl Relay {
    /// A receiver has answered the opening of a flow.
    pub(super) fn opened(
        &mut self,
        index: usize,
        id: u32,
        epoch: u64,
        next: u64,
        held: Vec<u64>,
    ) -> Result<(), Option<&'static str>> {
        let Some(number) = self.target(index, id) else {
            return Err(Some("it answers what it was not asked"));
        };
        let flow = &mut self.flows[number];
        if !flow.is_announced || flow.is_open {
            return Err(Some("it answers what it was not asked"));
        }
        if flow.epoch != epoch {
            return Err(Some("it has another numbering than it was told"));
        }
        if next > MAX_OFFSET || held.iter().any(|offset| *offset >= next) {
            return Err(Some("nobody counts so far"));
        }
        let half = &mut self.halves[index];
        let most = MAX_HELD.saturating_sub(half.remembered);
        let reconciled = flow.opened(next, held, most);
        half.remembered += reconciled.remembered;
        for seq in reconciled.settled {
            self.end_message(number, seq, false);
        }
        self.answer_pending(number, false);
        for seq in reconciled.held {
            self.free_to(number, seq, u64::MAX);
        }
        for seq in reconciled.lost {
            self.begin_anew(number, seq);
        }
        self.activate(number);
        Ok(())
    }

    pub(super) fn target(&self, index: usize, id: u32) -> Option<usize> {
        self.halves[index].targets.get(id as usize).copied()
    }

    /// A receiver's program has a message, or never will.
    pub(super) fn settled(
        &mut self,
        index: usize,
        id: u32,
        seq: u64,
        expired: bool,
    ) -> Result<(), Option<&'static str>> {
        let Some(number) = self.target(index, id).filter(|flow| self.flows[*flow].is_open) else {
            return Err(Some("it has a message of a channel that it was not told of"));
        };
        let flow = &mut self.flows[number];
        let was_held = flow.let_go(seq);
        self.halves[index].remembered -= usize::from(was_held);
        if was_held || flow.is_sent(seq) {
            self.end_message(number, seq, expired);
            if self.flows[number].is_unsent() {
                self.activate(number);
            }
        } else if flow.is_unknown(seq) {
            self.note_wrong(index, "it has a message that it was not sent");
        } else if let Some(entry) = flow.entries.get_mut(seq) {
            // It has had it in a session before, and does not say so again at the end.
            entry.had = Some(expired);
        }
        Ok(())
    }

    /// Another server takes more.
    pub(super) fn credited(&mut self, index: usize, total: u64) {
        let half = &mut self.halves[index];
        let Some(credit) = half.credit.as_mut().filter(|credit| **credit < total) else {
            return;
        };
        *credit = total;
        for flow in std::mem::take(&mut half.starved) {
            self.activate(flow);
        }
    }

    /// Another server wants a message again.
    pub(super) fn rewind(&mut self, index: usize, id: u32, seq: u64) {
        let Some(number) = self.target(index, id).filter(|_| self.halves[index].is_relay) else {
            return;
        };
        let Some(is_here) = self.flows[number].send_again(seq) else {
            return;
        };
        if !is_here {
            self.begin_anew(number, seq);
        }
        self.activate(number);
    }

    /// What the party has acknowledged of messages that are not kept whole goes.
    pub(super) fn free_streamed(&mut self, index: usize) {
        let half = &mut self.halves[index];
        let to = half.link.acknowledged();
        let mut lent = 0;
        while let Some((_, bytes)) = half.lent.pop_front_if(|(item, _)| *item < to) {
            lent += bytes;
        }
        if lent > 0 {
            self.ledger.unload(lent);
            self.feed_loads();
            self.queue_loads(index);
            self.wake(index);
        }
        loop {
            let half = &mut self.halves[index];
            let to = half.link.acknowledged();
            let Some((_, number, piece)) = half.streamed.pop_front_if(|(item, ..)| *item < to) else {
                return;
            };
            let entry = self.flows[number].entries.get(piece.seq);
            if entry.is_some_and(|entry| entry.turn == piece.turn) {
                self.free_to(number, piece.seq, piece.at);
            }
        }
    }

    /// Pieces of a message that is not kept whole go, up to the one at `at`: its receiver has them.
    pub(super) fn free_to(&mut self, number: usize, seq: u64, at: u64) {
        let flow = &mut self.flows[number];
        let source = flow.source;
        let entry = flow.entries.get_mut(seq);
        if let Some(entry) = entry.filter(|entry| entry.is_streamed) {
            let (freed, unloaded) = entry.free_to(at);
            self.ledger.unload(unloaded);
            self.quota.release(&mut self.halves[source].account, freed);
            self.top_up(source);
            self.nudge(source);
        }
    }

    /// Whether a link has room, and memory may be taken for what it has not acknowledged: a piece always.
    fn may_lend(&self, index: usize) -> bool {
        let half = &self.halves[index];
        let has_memory = !self.ledger.is_durable()
            || half.lent.is_empty()
            || self.ledger.memory <= self.limits.memory_bytes;
        half.link.has_room() && has_memory
    }

    /// Gives a link what it has room for.
    pub(super) fn fill(&mut self, now: Instant, index: usize) {
        while self.may_lend(index)
            && let Some(number) = self.halves[index].active.pop_front()
        {
            self.announce(index, number);
            let half = &mut self.halves[index];
            let outlet = Outlet {
                bounds: half.bounds,
                left: half.credit.map(|credit| credit.saturating_sub(half.spent)),
                custody: half.custody,
                is_seen: half.is_seen,
                committed: self.ledger.committed(),
                is_durable: self.ledger.is_durable(),
            };
            let flow = &mut self.flows[number];
            match flow.step(now, &outlet) {
                Step::Send {
                    data,
                    pieces,
                    spent,
                    streamed,
                    unloaded,
                } => {
                    half.spent += spent;
                    let item = half.link.push(Item::Data(data), pieces);
                    if let Some(piece) = streamed {
                        half.streamed.push_back((item, number, piece));
                    }
                    let is_unsent = flow.is_unsent();
                    flow.is_listed = is_unsent;
                    if is_unsent {
                        half.active.push_back(number);
                    }
                    if unloaded > 0 {
                        half.lent.push_back((item, unloaded));
                    }
                    if !is_unsent {
                        self.note_unsent(number);
                    }
                    if self.flows[number].wants_more() {
                        self.load_ahead(number);
                    }
                }
                Step::TooLarge(seq) => {
                    flow.is_listed = false;
                    self.bury(now, number, seq, 0);
                }
                Step::Ask(seq) => {
                    // Others of the flow may go on meanwhile.
                    if self.ask_again(number, seq) {
                        self.halves[index].active.push_back(number);
                    } else {
                        self.flows[number].is_listed = false;
                    }
                }
                Step::Want(short) => {
                    flow.is_listed = false;
                    half.starved.push(number);
                    let total = half.credit.unwrap_or(0).saturating_add(short);
                    if total > half.wanted {
                        half.wanted = total;
                        half.link.push(Item::Want { total }, Vec::new());
                    }
                }
                Step::Load => {
                    flow.is_listed = false;
                    self.load(number);
                }
                Step::Wait => {
                    flow.is_listed = false;
                    self.note_unsent(number);
                }
            }
        }
        let half = &self.halves[index];
        let has_left = self.halves[half.twin].has_left;
        let half = &mut self.halves[index];
        if has_left && half.link.is_up() && half.unsent == 0 && !half.told.leave {
            half.told.leave = true;
            half.link.push(Item::Leave, Vec::new());
        }
    }

    /// Tells the other side of a flow, once in a session.
    fn announce(&mut self, index: usize, number: usize) {
        let flow = &mut self.flows[number];
        if !std::mem::replace(&mut flow.is_announced, true) {
            let open = Item::Open {
                flow: flow.target_id,
                key: flow.key.clone(),
                from: Some((flow.epoch, flow.first())),
            };
            self.halves[index].link.push(open, Vec::new());
        }
    }
}
