//! Who is let in, and what is made for those who are.

use std::time::Instant;

use super::event::{QuotaKind, RelayEvent};
use super::half::Half;
use super::job::{Job, Process};
use super::lanes::Timer;
use super::quota::{Account, OF_PAIR};
use super::relay::{Membership, Relay, Way};
use super::store::{Op, Record};
use crate::federation::core::link::Link;
use crate::federation::core::packet::{Content, Header, Hello, Refusal};
use crate::federation::name::{JobId, PartyId};

impl Relay {
    /// The half that a packet is for, or what its sender is refused with, if it is to hear of it. Strangers leave nothing
    /// behind.
    pub(super) fn admit(
        &mut self,
        now: Instant,
        way: Way,
        identity: Option<&str>,
        header: &Header,
    ) -> Result<usize, Option<Refusal>> {
        let hello = match &header.content {
            Content::Hello(hello) => Some(hello),
            _ => None,
        };
        // Only who asks is answered.
        let refuse = |refusal| hello.map(|_| refusal);
        let server = self.routes.server(&header.from);
        match way {
            // What has begun goes on when routes change.
            _ if server != way.server() && self.is_known(way, identity, header) => {}
            Way::Server(number) if server != Some(number) => return Err(None),
            Way::Party(_) if !self.access.may_speak(identity, &header.from) => {
                self.counts.forged += 1;
                self.tell(RelayEvent::Forged {
                    job: header.job.clone(),
                    party: header.from.clone(),
                    identity: identity.unwrap_or_default().to_owned(),
                });
                return Err(refuse(Refusal::Unauthorized));
            }
            Way::Party(_) if server.is_some() => return Err(refuse(Refusal::Unauthorized)),
            _ => {}
        }
        let job = match self.job_ids.get(&header.job) {
            Some(job) => *job,
            None => {
                let hello = hello.ok_or(None)?;
                self.check_new_job(header, hello).map_err(Some)?;
                self.make_job(now, header.job.clone(), hello.members.clone())
            }
        };
        let known = &self.jobs[job];
        let member = known.member(&header.from);
        let Some((member, other)) = member.zip(known.member(&header.to)).filter(|(a, b)| a != b) else {
            return Err(refuse(Refusal::NotAMember));
        };
        if hello.is_some_and(|hello| hello.members != known.members) {
            return Err(Some(Refusal::OtherMembers));
        }
        if matches!(header.content, Content::Refused(_)) {
            // Said by another server, of no session.
            let is_server = matches!(way, Way::Server(_));
            let half = known.halves.get(&(member, other)).filter(|_| is_server);
            return half.copied().ok_or(None);
        }
        let process = known.parties[member].judge(now, header.mine, self.limits.dead_after);
        match process {
            Process::Known => {}
            Process::Superseded => return Err(Some(Refusal::Superseded)),
            Process::Second => return Err(refuse(Refusal::InUse)),
            Process::New => {
                hello.ok_or(None)?;
                if self.is_draining {
                    return Err(Some(Refusal::NoRoom));
                }
                if !self.access.may_join(&header.from, &header.job) {
                    return Err(Some(Refusal::Unauthorized));
                }
                self.join(job, member)?;
                self.jobs[job].parties[member].begin(header.mine);
                let (job, party) = (header.job.clone(), header.from.clone());
                self.tell(RelayEvent::Joined { job, party });
            }
        }
        match self.jobs[job].halves.get(&(member, other)) {
            Some(half) => Ok(*half),
            None if hello.is_some() => {
                let of_party = self
                    .members
                    .get(&header.from)
                    .map_or(self.scope, |member| member.scope);
                let scopes = [self.scope, self.jobs[job].scope, of_party];
                self.make_room(job, &scopes, OF_PAIR)
                    .map_err(|_| Some(Refusal::NoRoom))?;
                let half = self.make_pair(now, job, member, other);
                if self.jobs[job].aborted.is_some() {
                    // It is there for as long as its party has to be told.
                    self.look_soon(now, job);
                }
                Ok(half)
            }
            None => Err(None),
        }
    }

    /// Whether the packet is of a session that goes on on this way.
    fn is_known(&self, way: Way, identity: Option<&str>, header: &Header) -> bool {
        if matches!(way, Way::Party(_)) && !self.access.may_speak(identity, &header.from) {
            return false;
        }
        let job = self.job_ids.get(&header.job).map(|job| &self.jobs[*job]);
        let is_known = job.and_then(|job| {
            let (member, other) = job.member(&header.from).zip(job.member(&header.to))?;
            let half = &self.halves[*job.halves.get(&(member, other))?];
            Some(half.way == Some(way) && half.link.is_with(header.mine))
        });
        is_known == Some(true)
    }

    /// Whether a job may be begun by this HELLO.
    fn check_new_job(&mut self, header: &Header, hello: &Hello) -> Result<(), Refusal> {
        if !self.access.may_join(&header.from, &header.job) {
            return Err(Refusal::Unauthorized);
        }
        if !self.access.may_have(&header.job, &hello.members) {
            return Err(Refusal::OtherMembers);
        }
        let is_sorted = hello.members.windows(2).all(|two| two[0] < two[1]);
        let has_both = hello.members.contains(&header.from) && hello.members.contains(&header.to);
        if !is_sorted || !has_both || header.from == header.to {
            return Err(Refusal::NotAMember);
        }
        if hello.members.len() > self.limits.parties_per_job as usize || self.is_draining {
            return Err(Refusal::NoRoom);
        }
        // A job that goes for the party makes room for the other one, too.
        let has_room = self.make_room_to_join(None, &header.from) && self.make_room_for_job();
        has_room.then_some(()).ok_or(Refusal::NoRoom)
    }

    /// A party takes part in one job more.
    fn join(&mut self, job: usize, member: usize) -> Result<(), Option<Refusal>> {
        if self.jobs[job].parties[member].has_joined {
            return Ok(());
        }
        let id = self.jobs[job].members[member].clone();
        if !self.make_room_to_join(Some(job), &id) {
            return Err(Some(Refusal::NoRoom));
        }
        self.jobs[job].parties[member].has_joined = true;
        let membership = self.members.get_mut(&id).ok_or(None)?;
        membership.joined += 1;
        Ok(())
    }

    pub(super) fn make_job(&mut self, now: Instant, id: JobId, members: Vec<PartyId>) -> usize {
        let is_durable = self.ledger.is_durable();
        let of_party = self.limits.of_party(is_durable);
        for member in &members {
            let quota = &mut self.quota;
            let membership = self.members.entry(member.clone());
            let membership = membership.or_insert_with(|| Membership {
                scope: quota.add(QuotaKind::Party, of_party),
                named: 0,
                joined: 0,
                looks_again: None,
            });
            membership.named += 1;
        }
        let scope = self.quota.add(QuotaKind::Job, self.limits.of_job(is_durable));
        self.ledger.add(|| {
            Op::Keep(Record::Job {
                job: id.clone(),
                members: members.clone(),
                aborted: None,
            })
        });
        let incarnation = self.draw_incarnation();
        let index = self
            .jobs
            .insert(Job::new(id.clone(), incarnation, members, scope, now));
        self.job_ids.insert(id.clone(), index);
        let job = &mut self.jobs[index];
        let timer = Timer::Job(index);
        self.timers.arm(timer, &mut job.armed, now + self.limits.job_idle);
        self.tell(RelayEvent::Begun { job: id });
        index
    }

    /// The halves of two parties; that of the first, which they are counted for.
    pub(super) fn make_pair(&mut self, now: Instant, job: usize, first: usize, second: usize) -> usize {
        let one = self.make_half(now, job, first, second);
        let two = self.make_half(now, job, second, first);
        self.halves[one].twin = two;
        self.halves[two].twin = one;
        self.quota.fix(&mut self.halves[one].account, OF_PAIR);
        for half in [one, two] {
            self.route(half);
        }
        one
    }

    /// The half of a party that is reached through another server goes there; that of one which was, and is not, nowhere.
    pub(super) fn route(&mut self, index: usize) {
        let half = &mut self.halves[index];
        let way = self.routes.server(&half.party).map(Way::Server);
        let is_there = half.is_present && matches!(half.way, Some(Way::Party(_)));
        let is_routed = matches!(half.way, Some(Way::Server(_)));
        if half.way == way || is_there || (way.is_none() && !is_routed) {
            return;
        }
        half.awake = None;
        let old = std::mem::replace(&mut half.way, way);
        if let Some(old) = old {
            self.lanes.leave(old, index);
            half.link.lost();
            self.jobs[half.job].parties[half.member].lost(old);
            self.set_present(index, false);
        }
        if let Some(way) = way {
            self.lanes.join(way, index);
        }
        self.wake(index);
    }

    fn make_half(&mut self, now: Instant, index: usize, member: usize, other: usize) -> usize {
        let job = &mut self.jobs[index];
        let (party, plays) = (job.members[member].clone(), job.members[other].clone());
        let of_party = self.members.get(&party).map_or(self.scope, |member| member.scope);
        let of_pair = self.limits.of_pair(self.ledger.is_durable());
        let of_pair = self.quota.add(QuotaKind::Pair, of_pair);
        let account = Account::new([self.scope, job.scope, of_party, of_pair]);
        let link = Link::new(job.incarnation, &self.times, now);
        let half = Half::new(index, (party, plays), member, link, account);
        let half = self.halves.insert(half);
        job.halves.insert((member, other), half);
        half
    }
}
