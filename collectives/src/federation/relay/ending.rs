//! Jobs that come to their end, and what is left of them: those that nobody needs make room when there is none.

use std::time::Instant;

use super::event::{QuotaKind, RelayEvent};
use super::flow::Flow;
use super::job::Job;
use super::lanes::Timer;
use super::quota::ScopeId;
use super::relay::Relay;
use super::store::Op;
use crate::federation::core::link::MAX_BACKOFF;
use crate::federation::core::packet::Item;
use crate::federation::name::PartyId;

impl Relay {
    /// A job of which nobody needs anything any more, perhaps.
    pub(super) fn look_after_job(&mut self, now: Instant, index: usize) {
        let Some(job) = self.jobs.get_mut(index) else {
            return;
        };
        job.armed = None;
        let is_aborted = job.aborted.is_some();
        let patience = if is_aborted {
            self.limits.aborted
        } else {
            self.limits.job_idle
        };
        let end = job.touched + patience;
        if now >= end && (is_aborted || !self.is_in_use(index)) {
            self.forget_job(index);
            return;
        }
        if is_aborted && !self.is_attended(index) {
            self.reduce_job(index);
        }
        let job = &mut self.jobs[index];
        let at = if now >= end { now + patience } else { end };
        self.timers.arm(Timer::Job(index), &mut job.armed, at);
        if is_aborted && !job.halves.is_empty() {
            self.look_soon(now, index);
        }
    }

    /// Looks whether those have gone who had to hear that a job is aborted.
    pub(super) fn look_soon(&mut self, now: Instant, index: usize) {
        let at = now + self.limits.dead_after.min(self.limits.aborted);
        let timer = Timer::Job(index);
        self.timers.arm(timer, &mut self.jobs[index].armed, at);
    }

    /// Whether a party of the job is there, or something is kept.
    fn is_in_use(&self, index: usize) -> bool {
        let mut halves = self.jobs[index].halves.values().map(|half| &self.halves[*half]);
        halves.any(|half| {
            let mut flows = half.targets.iter().map(|flow| &self.flows[*flow]);
            half.is_party_present() || flows.any(Flow::is_live)
        })
    }

    /// Whether a party of the job is there, or another server that has not heard all.
    fn is_attended(&self, index: usize) -> bool {
        let mut halves = self.jobs[index].halves.values().map(|half| &self.halves[*half]);
        halves.any(|half| half.is_party_present() || (half.is_present && !half.link.is_idle()))
    }

    /// Of a job that was aborted, only that is left, for those who come later. They find another server in the place of this
    /// one, so that nobody goes on where its halves were.
    fn reduce_job(&mut self, index: usize) {
        self.clear_job(index);
        self.remove_halves(index);
        let incarnation = self.draw_incarnation();
        let job = &mut self.jobs[index];
        job.incarnation = incarnation;
        for (id, party) in job.members.iter().zip(&mut job.parties) {
            let has_joined = std::mem::take(&mut party.has_joined);
            if let Some(membership) = self.members.get_mut(id) {
                membership.joined -= u32::from(has_joined);
            }
        }
    }

    /// Without its flows, which go before.
    fn remove_halves(&mut self, index: usize) {
        for half in std::mem::take(&mut self.jobs[index].halves).into_values() {
            let Some(mut gone) = self.halves.remove(half) else {
                continue;
            };
            self.timers.disarm(Timer::Half(half), &mut gone.armed);
            if gone.is_present {
                self.jobs[index].parties[gone.member].present -= 1;
            }
            if let Some(way) = gone.way {
                self.lanes.leave(way, half);
            }
            self.ledger.unload(gone.lent.iter().map(|(_, bytes)| bytes).sum());
            self.quota.end(&mut gone.account);
            self.quota.unfix(&mut gone.account, u64::MAX);
            self.quota.remove(gone.account.pair());
        }
    }

    pub(super) fn forget_job(&mut self, index: usize) {
        self.clear_job(index);
        self.remove_halves(index);
        let Some(mut job) = self.jobs.remove(index) else {
            return;
        };
        self.timers.disarm(Timer::Job(index), &mut job.armed);
        for (id, party) in job.members.iter().zip(&job.parties) {
            if let Some(membership) = self.members.get_mut(id) {
                membership.named -= 1;
                membership.joined -= u32::from(party.has_joined);
                if membership.named == 0 {
                    self.quota.remove(membership.scope);
                    self.members.remove(id);
                }
            }
        }
        self.quota.remove(job.scope);
        self.job_ids.remove(&job.id);
        self.ledger.add(|| Op::JobGone { job: job.id.clone() });
        self.tell(RelayEvent::Forgotten { job: job.id });
    }

    // Room for others.

    /// Room for a pair or a channel of this job, or the bound that lacks it. Jobs that are over go for it.
    pub(super) fn make_room(&mut self, job: usize, scopes: &[ScopeId], bytes: u64) -> Result<(), ScopeId> {
        loop {
            let Err(scope) = self.quota.has_room(scopes, bytes) else {
                return Ok(());
            };
            let is_freed = match self.quota.kind(scope) {
                QuotaKind::Server => self.forget_one_over(Some(job), Wanted::Any),
                QuotaKind::Party => {
                    let is_full = |id: &&PartyId| self.members.get(*id).is_some_and(|it| it.scope == scope);
                    let party = self.jobs[job].members.iter().find(is_full).cloned();
                    party.is_some_and(|party| self.forget_one_over(Some(job), Wanted::Named(&party)))
                }
                QuotaKind::Job | QuotaKind::Pair => false,
            };
            if !is_freed {
                return Err(scope);
            }
        }
    }

    /// Whether there may be one job more. One that is over goes for it.
    pub(super) fn make_room_for_job(&mut self) -> bool {
        self.job_ids.len() < self.limits.jobs as usize || self.forget_one_over(None, Wanted::Any)
    }

    /// Whether a party may take part in one job more, which may be this one. One that is over goes for it.
    pub(super) fn make_room_to_join(&mut self, job: Option<usize>, party: &PartyId) -> bool {
        let joined = self.members.get(party).map_or(0, |member| member.joined);
        joined < self.limits.jobs_per_party || self.forget_one_over(job, Wanted::Joined(party))
    }

    /// Forgets the job that is over since longest, of those that are wanted. While there is none, it is looked for only now
    /// and then: by each party for itself, so that one at its own bounds keeps nobody else from finding one.
    fn forget_one_over(&mut self, except: Option<usize>, wanted: Wanted<'_>) -> bool {
        let looks_again = match wanted.party() {
            None => self.looks_again,
            Some(party) => self.members.get(party).and_then(|member| member.looks_again),
        };
        if looks_again.is_some_and(|at| self.now < at) {
            return false;
        }
        let all = self.jobs.iter().filter(|(index, _)| Some(*index) != except);
        let over = all.filter(|(index, job)| wanted.has(job) && self.is_over(*index));
        let oldest = over.min_by_key(|(_, job)| job.touched).map(|(index, _)| index);
        if let Some(index) = oldest {
            self.forget_job(index);
            return true;
        }
        let at = Some(self.now + self.limits.retry);
        match wanted.party() {
            None => self.looks_again = at,
            Some(party) => {
                if let Some(member) = self.members.get_mut(party) {
                    member.looks_again = at;
                }
            }
        }
        false
    }

    /// Whether nobody comes back to a job: it was aborted and all who were there have gone, or all of it have left, and
    /// nothing is kept.
    pub(super) fn is_over(&self, index: usize) -> bool {
        let job = &self.jobs[index];
        let mut halves = job.halves.values().map(|half| &self.halves[*half]);
        if job.aborted.is_some() {
            return job.halves.is_empty();
        }
        let pairs = job.members.len() * (job.members.len() - 1);
        job.halves.len() == pairs
            && halves.all(|half| half.has_left)
            && !self.is_in_use(index)
            && self.is_told(index)
    }

    /// Whether all parties of a job know which of their messages have their end, or would have been back by now to hear it.
    /// Who does not know sends them again, also to a server that has forgotten the job and takes them for others.
    fn is_told(&self, index: usize) -> bool {
        let job = &self.jobs[index];
        let is_end = |item: &Item| matches!(item, Item::Settled { .. });
        let mut halves = job.halves.values().map(|half| &self.halves[*half]);
        let patience = self.limits.dead_after + self.limits.retry * MAX_BACKOFF;
        self.now >= job.touched + patience || halves.all(|half| half.link.is_up() && !half.link.holds(is_end))
    }
}

/// Which jobs may go for another, when they are over.
#[derive(Clone, Copy)]
enum Wanted<'a> {
    Any,
    /// Those in which this party is a member.
    Named(&'a PartyId),
    /// Those in which it takes part.
    Joined(&'a PartyId),
}

impl<'a> Wanted<'a> {
    fn party(self) -> Option<&'a PartyId> {
        match self {
            Wanted::Any => None,
            Wanted::Named(party) | Wanted::Joined(party) => Some(party),
        }
    }

    fn has(self, job: &Job) -> bool {
        match self {
            Wanted::Any => true,
            Wanted::Named(party) => job.member(party).is_some(),
            Wanted::Joined(party) => {
                let member = job.member(party);
                member.is_some_and(|member| job.parties[member].has_joined)
            }
        }
    }
}
