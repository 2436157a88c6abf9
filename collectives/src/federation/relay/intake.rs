//! What senders send.

use std::time::Instant;

use bytes::Bytes;

use super::event::RelayEvent;
use super::flow::{Accepted, Flow, Intake, Standing, size_of};
use super::lanes::Timer;
use super::ledger::Mark;
use super::relay::Relay;
use super::store::{Op, PieceId, Record};
use crate::federation::core::few::Few;
use crate::federation::core::packet::{Data, FlowKey, Item, LOST, MAX_OFFSET};

/// So many channels of a half are opened whatever else is known: what is refused holds up all that comes behind it.
const ALWAYS: usize = 16;

impl Relay {
    /// A session of a sender opens a flow.
    pub(super) fn open(
        &mut self,
        index: usize,
        id: u32,
        key: FlowKey,
        from: Option<(u64, u64)>,
    ) -> Result<(), Option<&'static str>> {
        let half = &self.halves[index];
        if half.incoming.contains(u64::from(id)) {
            return Err(Some("it opens two channels under one number"));
        }
        let known = half.sources.get(&key).copied();
        if known.is_none() && half.sources.len() >= self.limits.channels as usize {
            self.decline(index, id, self.limits.channels);
            return Ok(());
        }
        if known.is_some_and(|flow| self.flows[flow].source_id.is_some()) {
            return Err(Some("it opens a channel twice"));
        }
        if known.is_none()
            && half.sources.len() >= ALWAYS
            && let Err(scope) = self.make_room(half.job, &half.account.scopes(), size_of(&key))
        {
            // It is taken when jobs of others are forgotten.
            self.tell_full(index, scope);
            return Err(None);
        }
        let flow = match known {
            Some(flow) if !self.flows[flow].may_open(from) => return Err(Some("nobody counts so far")),
            None if from.is_some_and(|(_, first)| first >= MAX_OFFSET) => {
                return Err(Some("nobody counts so far"));
            }
            Some(flow) => flow,
            None => self.make_flow(index, key, from.map(|(epoch, _)| epoch)),
        };
        self.halves[index].incoming.insert(u64::from(id), flow);
        if from.is_none() && self.waits_for_answer(index, flow) {
            let flow = &mut self.flows[flow];
            (flow.is_pending, flow.source_id) = (true, Some(id));
            return Ok(());
        }
        self.answer(index, id, flow, from);
        Ok(())
    }

    /// Tells a sender that a channel is one too many.
    fn decline(&mut self, index: usize, flow: u32, limit: u32) {
        let half = &mut self.halves[index];
        half.link.push(Item::Declined { flow, limit }, Vec::new());
        let (job, party) = (self.jobs[half.job].id.clone(), half.party.clone());
        self.tell(RelayEvent::Declined { job, party, limit });
        self.wake(index);
    }

    /// A receiver, or the next server, opens no more channels than so many. The sender is told; what is here waits.
    pub(super) fn declined(&mut self, index: usize, id: u32, limit: u32) -> Result<(), Option<&'static str>> {
        let flow = self.target(index, id).map(|number| &self.flows[number]);
        let Some(flow) = flow.filter(|flow| flow.is_announced && !flow.is_open) else {
            return Err(Some("it declines a channel that it was not told of"));
        };
        if let Some(id) = flow.source_id {
            self.decline(flow.source, id, limit);
        }
        Ok(())
    }

    /// Whether a new sender has to wait until it is known what is here of a flow.
    fn waits_for_answer(&mut self, index: usize, flow: usize) -> bool {
        if !self.flows[flow].is_met {
            let twin = self.halves[index].twin;
            if self.halves[twin].is_present {
                // What the receiver has is not for a new sender to send.
                self.activate(flow);
                return true;
            }
            self.flows[flow].leap();
        }
        // What the store has not got may be gone in a moment, and its sender is gone already.
        let session = self.halves[index].session;
        self.flows[flow].is_kept && self.ledger.mark_last(Mark::Answer { flow, session })
    }

    /// A receiver has said how far it has come, or is not there to say it, or `is_durable`: a new sender is answered that
    /// has waited for it.
    pub(super) fn answer_pending(&mut self, number: usize, is_durable: bool) {
        let flow = &mut self.flows[number];
        if !flow.is_pending {
            return;
        }
        if !flow.is_met {
            flow.leap();
        }
        let (source, id) = (flow.source, flow.source_id);
        let session = self.halves[source].session;
        let mark = Mark::Answer {
            flow: number,
            session,
        };
        let is_kept = flow.is_kept;
        if !is_durable && is_kept && self.ledger.mark_last(mark) {
            return;
        }
        self.flows[number].is_pending = false;
        if let Some(id) = id {
            self.answer(source, id, number, None);
            self.wake(source);
        }
    }

    /// Tells a sender what is here of a flow.
    fn answer(&mut self, index: usize, id: u32, flow: usize, from: Option<(u64, u64)>) {
        let is_same = from.is_some_and(|(epoch, _)| epoch == self.flows[flow].source_epoch);
        let ((epoch, next, held), is_renumbered) = self.flows[flow].open_source(id, from);
        if is_renumbered || !std::mem::replace(&mut self.flows[flow].is_kept, true) {
            self.keep_flow(flow);
        }
        let opened = Item::Opened {
            flow: id,
            epoch,
            next,
            held,
        };
        self.halves[index].link.push(opened, Vec::new());
        if !is_same {
            // Whoever could send them again has gone: their receiver is told that there were messages.
            self.give_up(flow);
        }
        if !self.flows[flow].entries.is_empty() {
            self.activate(flow);
        }
        self.top_up(index);
    }

    /// Nobody can send those messages again that are wanted again.
    pub(super) fn give_up(&mut self, flow: usize) {
        for seq in self.flows[flow].rewound() {
            self.bury(self.now, flow, seq, LOST);
        }
    }

    fn make_flow(&mut self, index: usize, key: FlowKey, epoch: Option<u64>) -> usize {
        // A numbering that the sender has already is perhaps the receiver's, too.
        let is_known = epoch.is_some();
        let epoch = epoch.unwrap_or_else(|| self.draw_epoch());
        let id = self.next_flow;
        let flow = self.insert_flow(id, index, key, epoch);
        self.flows[flow].is_met = !is_known;
        flow
    }

    pub(super) fn insert_flow(&mut self, id: u64, source: usize, key: FlowKey, epoch: u64) -> usize {
        self.next_flow = self.next_flow.max(id + 1);
        let target = self.halves[source].twin;
        let number = u32::try_from(self.halves[target].targets.len()).unwrap_or(u32::MAX);
        let flow = Flow::new(id, key.clone(), (source, target), epoch, number);
        let flow = self.flows.insert(flow);
        self.flow_ids.insert(id, flow);
        self.quota.fix(&mut self.halves[source].account, size_of(&key));
        self.halves[target].targets.push(flow);
        self.halves[source].sources.insert(key, flow);
        flow
    }

    fn keep_flow(&mut self, index: usize) {
        let flow = &self.flows[index];
        let half = &self.halves[flow.source];
        let job = &self.jobs[half.job];
        self.ledger.add(|| {
            Op::Keep(Record::Flow {
                id: flow.id,
                job: job.id.clone(),
                from: half.party.clone(),
                to: half.plays.clone(),
                key: flow.key.clone(),
                epoch: flow.epoch,
                source: (flow.source_epoch, flow.shift),
            })
        });
        self.keep_next(index);
    }

    pub(super) fn keep_next(&mut self, index: usize) {
        let (flow, next) = (self.flows[index].id, self.flows[index].next);
        self.ledger.add(|| Op::Keep(Record::Next { flow, next }));
    }

    /// Asks a sender for a message again, if it is there; else it will be when it comes back.
    pub(super) fn ask_again(&mut self, index: usize, seq: u64) -> bool {
        let flow = &mut self.flows[index];
        let Some((id, offset)) = flow.told(seq) else {
            return false;
        };
        let Some(entry) = flow.entries.get_mut(seq) else {
            return false;
        };
        entry.is_asked = true;
        let source = flow.source;
        let rewind = Item::Rewind { flow: id, offset };
        self.halves[source].link.push(rewind, Vec::new());
        self.wake(source);
        true
    }

    /// A message, or a piece of one.
    pub(super) fn take_data(
        &mut self,
        now: Instant,
        index: usize,
        data: Data,
        frames: Few<Bytes>,
    ) -> Result<(), Option<&'static str>> {
        let is_durable = self.ledger.is_durable();
        let half = &mut self.halves[index];
        let Some(number) = half.incoming.get(u64::from(data.flow)).copied() else {
            return Err(Some("it sends on a channel that it has not opened"));
        };
        let len = frames.iter().map(|frame| frame.len() as u64).sum();
        let charge = data.cost(len);
        if charge > half.account.left() {
            return Err(Some("it sends more than it may"));
        }
        if data.at == 0 && self.quota.is_overrun(&half.account) {
            return Err(None);
        }
        if is_durable && self.ledger.unwritten > self.limits.memory_bytes / 2 {
            // It comes again, when the store has caught up.
            return Err(None);
        }
        let flow = &mut self.flows[number];
        if flow.is_pending {
            return Err(Some("it sends on a channel before it was answered"));
        }
        let Some(seq) = flow.own(data.offset) else {
            return Err(Some("nobody counts so far"));
        };
        let intake = Intake {
            largest: self.limits.largest(is_durable),
            custody: self.limits.custody(is_durable),
            ttl: self.limits.ttl,
            batch: self.ledger.batch(),
        };
        let (at, is_expired) = (data.at, data.expired);
        let content = if is_durable { frames.to_vec() } else { Vec::new() };
        let before = flow.entries.len();
        let accepted = flow.accept(now, seq, data, frames, &intake, &mut self.spare);
        let half = &mut self.halves[index];
        self.quota.count(&half.account, before, flow.entries.len());
        match accepted {
            Accepted::Wrong => return Err(Some("its message is not as agreed")),
            Accepted::Idle { is_settled } => {
                self.quota.spend(&mut half.account, charge);
                self.quota.release(&mut half.account, charge);
                if is_settled {
                    self.tell_source(number, seq, false);
                }
                self.top_up(index);
            }
            Accepted::Kept {
                is_first,
                is_whole,
                freed,
                unloaded,
                dropped,
            } => {
                self.quota.spend(&mut half.account, charge);
                self.quota.release(&mut half.account, freed);
                self.ledger.memory += len;
                self.ledger.unload(unloaded);
                if let Some(offset) = dropped {
                    let flow = self.flows[number].id;
                    self.ledger.add(|| Op::Dropped { flow, offset });
                    self.keep_next(number);
                }
                self.write(number, seq, at, is_first, content);
                if self.flows[number].is_untimely(seq) {
                    self.begin_anew(number, seq);
                }
                self.note_streams(number);
                if is_first {
                    self.arm_flow(number);
                }
                if is_expired {
                    // It is at its end for the sender; its receiver will be told.
                    self.tell_source(number, seq, true);
                }
                let had = self.flows[number].entries.get(seq).and_then(|entry| entry.had);
                match self.flows[number].standing(seq) {
                    Standing::New if is_whole && had.is_some() => {
                        self.end_message(number, seq, had.unwrap_or_default());
                    }
                    Standing::New => self.activate(number),
                    Standing::Had => self.end_message(number, seq, false),
                    Standing::Held => {
                        self.free_to(number, seq, at);
                        if is_whole {
                            self.flows[number].count_held(seq);
                        }
                    }
                }
                self.top_up(index);
            }
        }
        Ok(())
    }

    /// What has come is written to the store, and sent on when it is durable.
    fn write(&mut self, number: usize, seq: u64, at: u64, is_first: bool, content: Vec<Bytes>) {
        if !self.ledger.is_durable() {
            return;
        }
        let flow = &self.flows[number];
        let Some(entry) = flow.entries.get(seq) else {
            return;
        };
        let id = PieceId {
            flow: flow.id,
            offset: seq,
            at,
        };
        // Of one that has expired, the mark.
        if is_first {
            // The server's own time for it does not begin anew with each start.
            let left = entry.expires.map(|at| at.saturating_duration_since(self.now));
            let expires_unix_ms = self.unix_ms_after(left.unwrap_or(self.limits.ttl));
            self.ledger.add(|| {
                Op::Keep(Record::Message {
                    flow: id.flow,
                    offset: seq,
                    tag: entry.tag.clone(),
                    codec: entry.codec,
                    parts: entry.parts.to_vec(),
                    expires_unix_ms,
                })
            });
        }
        let len = content.iter().map(|frame| frame.len() as u64).sum();
        self.ledger.unwritten += len;
        if len > 0 {
            self.ledger.add(|| Op::Piece { id, content });
        }
        self.ledger.mark(Mark::Piece {
            flow: number,
            seq,
            at,
            len,
        });
    }

    /// A sender's session has ended: what it has not sent whole is of no use.
    pub(super) fn reset_source(&mut self, number: usize) {
        let gone = self.flows[number].reset_source();
        let source = self.flows[number].source;
        for seq in gone {
            let Some(entry) = self.flows[number].forget(seq) else {
                continue;
            };
            self.ledger.unload(entry.memory());
            self.quota.count(&self.halves[source].account, 1, 0);
            let flow = self.flows[number].id;
            self.ledger.add(|| Op::Dropped { flow, offset: seq });
            self.keep_next(number);
            self.quota.release(&mut self.halves[source].account, entry.cost);
            self.note_unsent(number);
        }
        for seq in self.flows[number].rewound() {
            self.begin_anew(number, seq);
        }
        self.note_streams(number);
    }

    /// What is here of a message that is not kept whole goes; it has to come again.
    pub(super) fn begin_anew(&mut self, number: usize, seq: u64) {
        let (freed, unloaded) = self.flows[number].rewind(seq);
        self.ledger.unload(unloaded);
        let source = self.flows[number].source;
        self.quota.release(&mut self.halves[source].account, freed);
        self.note_streams(number);
    }

    pub(super) fn note_streams(&mut self, number: usize) {
        let flow = &self.flows[number];
        let (source, has_streams) = (flow.source, flow.has_open_streams());
        let streaming = &mut self.halves[source].streaming;
        if has_streams {
            streaming.insert(number);
        } else {
            streaming.remove(&number);
        }
    }

    /// Looks in time after what waits too long.
    pub(super) fn arm_flow(&mut self, number: usize) {
        let flow = &mut self.flows[number];
        if let Some(at) = flow.expires(self.limits.ttl) {
            self.timers.arm(Timer::Flow(number), &mut flow.armed, at);
        }
    }
}
