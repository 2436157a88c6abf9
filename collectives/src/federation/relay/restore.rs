//! What the store has kept from before.

use std::time::{Duration, Instant};

use super::entry::Entry;
use super::relay::Relay;
use super::store::Record;
use crate::federation::core::packet::MAX_OFFSET;

impl Relay {
    /// Takes up what the store has; before anything else, in the order of [`Store::restore`](super::Store::restore). What
    /// cannot be is left out, as are numbers up to which nobody counts.
    pub(crate) fn restore(&mut self, record: Record) {
        self.take_up(record);
        // The store has it.
        self.ledger.forget_changes();
    }

    fn take_up(&mut self, record: Record) {
        let now = self.started;
        match record {
            Record::Job {
                job,
                members,
                aborted,
            } => {
                let is_good = members.windows(2).all(|two| two[0] < two[1]);
                if is_good && !self.job_ids.contains_key(&job) {
                    let index = self.make_job(now, job, members);
                    if aborted.is_some() {
                        self.jobs[index].aborted = aborted;
                        self.look_soon(now, index);
                    }
                }
            }
            Record::Pair {
                job,
                from,
                to,
                ready,
                left,
            } => {
                if let Some(half) = self.pair(now, &job, &from, &to) {
                    let half = &mut self.halves[half];
                    (half.is_ready, half.has_left) = (ready, left);
                }
            }
            Record::Flow {
                id,
                job,
                from,
                to,
                key,
                epoch,
                source,
            } => {
                if id >= MAX_OFFSET {
                    return;
                }
                // Also of one that is not taken up, as those of a job that was aborted: what the store has of it must not
                // become another's.
                self.next_flow = self.next_flow.max(id + 1);
                let Some(half) = self.pair(now, &job, &from, &to) else {
                    return;
                };
                if self.flow_ids.contains_key(&id) || self.halves[half].sources.contains_key(&key) {
                    return;
                }
                let flow = self.insert_flow(id, half, key, epoch);
                let flow = &mut self.flows[flow];
                (flow.source_epoch, flow.shift) = source;
                flow.is_kept = true;
            }
            Record::Next { flow, next } => {
                if next <= MAX_OFFSET
                    && let Some(flow) = self.flow_ids.get(&flow)
                {
                    let flow = &mut self.flows[*flow];
                    flow.next = flow.next.max(next);
                }
            }
            Record::Message {
                flow,
                offset,
                tag,
                codec,
                parts,
                expires_unix_ms,
            } => {
                let Some(number) = self.flow_ids.get(&flow).copied().filter(|_| offset < MAX_OFFSET) else {
                    return;
                };
                let Some(size) = parts.iter().try_fold(0_u64, |sum, len| sum.checked_add(*len)) else {
                    return;
                };
                let mut entry = Entry::new(tag, codec, parts.into_iter().collect(), size, now);
                entry.expires = expires_unix_ms.and_then(|at| self.instant(at));
                let before = self.flows[number].entries.len();
                let charge = self.flows[number].restore_message(offset, entry);
                let (source, after) = (self.flows[number].source, self.flows[number].entries.len());
                self.quota.count(&self.halves[source].account, before, after);
                self.charge(number, charge);
                self.arm_flow(number);
            }
            Record::Piece { id, len } => {
                let Some(number) = self.flow_ids.get(&id.flow).copied() else {
                    return;
                };
                if let Some(charge) = self.flows[number].restore_piece(id.offset, id.at, len) {
                    self.charge(number, charge);
                }
            }
        }
    }

    fn charge(&mut self, number: usize, charge: u64) {
        let source = self.flows[number].source;
        self.quota.restore(&mut self.halves[source].account, charge);
        self.count_unsent(number);
    }

    /// The half of a party of a job, in the place of another. Of one that was aborted there are none but for those who come
    /// to hear of it.
    fn pair(
        &mut self,
        now: Instant,
        job: &crate::federation::name::JobId,
        from: &crate::federation::name::PartyId,
        to: &crate::federation::name::PartyId,
    ) -> Option<usize> {
        let index = *self.job_ids.get(job)?;
        let job = &self.jobs[index];
        if job.aborted.is_some() {
            return None;
        }
        let (member, other) = job.member(from).zip(job.member(to)).filter(|(a, b)| a != b)?;
        match job.halves.get(&(member, other)) {
            Some(half) => Some(*half),
            None => Some(self.make_pair(now, index, member, other)),
        }
    }

    /// A time of day, in milliseconds since 1970.
    fn instant(&self, unix_ms: u64) -> Option<Instant> {
        let after = unix_ms.saturating_sub(self.unix_ms);
        self.started.checked_add(Duration::from_millis(after))
    }
}
