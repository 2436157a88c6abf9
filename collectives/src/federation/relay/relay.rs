//! The server as a whole: what comes in, what goes out, and whose turn it is.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use bytes::Bytes;
use flexbond_transport::Message;

use super::access::Access;
use super::arena::Arena;
use super::event::{QuotaKind, RelayEvent};
use super::flow::Flow;
use super::half::Half;
use super::job::Job;
use super::lanes::{Lanes, Timer, Timers};
use super::ledger::Ledger;
use super::limits::RelayLimits;
use super::quota::{Quota, ScopeId};
use super::routes::Routes;
use super::spare::Spare;
use super::store::{FlowId, PieceId, Request};
use crate::federation::core::packet::{Content, Header, Hello, Packet, Refusal};
use crate::federation::limits::Limits;
use crate::federation::name::{JobId, PartyId};

/// How many answers to strangers, and events that nobody asks for, are kept.
const MAX_REPLIES: usize = 1024;
const MAX_OWN_REPLIES: usize = 16;
const MAX_EVENTS: usize = 1024;

/// How a server is set up.
#[derive(Clone, Debug)]
pub(crate) struct RelaySetup {
    /// Drawn anew each time that the server starts; not 0.
    pub(crate) incarnation: u64,
    pub(crate) limits: RelayLimits,
    pub(crate) access: Access,
    pub(crate) routes: Routes,
    /// Whether there is a store.
    pub(crate) durable: bool,
    /// A random number from which the epochs of flows are drawn.
    pub(crate) epochs: u64,
    /// The time when the server starts, in milliseconds since 1970.
    pub(crate) unix_ms: u64,
}

/// The way of a packet: the connection it came on (a number that is never used twice), or the server that a route names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Way {
    Party(u64),
    Server(usize),
}

impl Way {
    /// The server's number, if it goes to one.
    pub(super) fn server(self) -> Option<usize> {
        match self {
            Way::Party(_) => None,
            Way::Server(number) => Some(number),
        }
    }
}

/// A message server.
#[derive(Debug)]
pub(crate) struct Relay {
    pub(super) incarnation: u64,
    pub(super) limits: RelayLimits,
    /// The times of the links.
    pub(super) times: Limits,
    pub(super) access: Access,
    pub(super) routes: Routes,
    pub(super) started: Instant,
    /// What it was told last.
    pub(super) now: Instant,
    pub(super) unix_ms: u64,
    pub(super) jobs: Arena<Job>,
    pub(super) job_ids: BTreeMap<JobId, usize>,
    pub(super) members: BTreeMap<PartyId, Membership>,
    pub(super) halves: Arena<Half>,
    pub(super) flows: Arena<Flow>,
    pub(super) flow_ids: BTreeMap<FlowId, usize>,
    pub(super) quota: Quota,
    pub(super) scope: ScopeId,
    pub(super) ledger: Ledger,
    pub(super) lanes: Lanes,
    pub(super) timers: Timers,
    pub(super) spare: Spare,
    replies: VecDeque<(Way, Message)>,
    events: VecDeque<RelayEvent>,
    pub(super) next_flow: FlowId,
    epochs: u64,
    pub(super) sessions: u64,
    /// How many jobs have begun.
    begun: u64,
    /// When it is looked again for any job that is over.
    pub(super) looks_again: Option<Instant>,
    pub(super) is_draining: bool,
    pub(super) counts: Totals,
}

/// A party over all its jobs.
#[derive(Debug)]
pub(super) struct Membership {
    pub(super) scope: ScopeId,
    /// The jobs in which it is a member, and those in which it takes part.
    pub(super) named: u32,
    pub(super) joined: u32,
    /// When it is looked again for one of them that is over.
    pub(super) looks_again: Option<Instant>,
}

#[derive(Debug, Default)]
pub(super) struct Totals {
    pub(super) unreadable: u64,
    pub(super) foreign: u64,
    pub(super) refused: u64,
    pub(super) forged: u64,
}

impl Relay {
    pub(crate) fn new(setup: RelaySetup, now: Instant) -> Self {
        let mut quota = Quota::new(!setup.durable, setup.limits.memory_bytes);
        let scope = quota.add(QuotaKind::Server, setup.limits.total(setup.durable));
        Relay {
            incarnation: setup.incarnation,
            times: setup.limits.times(),
            limits: setup.limits,
            access: setup.access,
            routes: setup.routes,
            started: now,
            now,
            unix_ms: setup.unix_ms,
            jobs: Arena::new(),
            job_ids: BTreeMap::new(),
            members: BTreeMap::new(),
            halves: Arena::new(),
            flows: Arena::new(),
            flow_ids: BTreeMap::new(),
            quota,
            scope,
            ledger: Ledger::new(setup.durable),
            lanes: Lanes::default(),
            timers: Timers::default(),
            spare: Spare::default(),
            replies: VecDeque::new(),
            events: VecDeque::new(),
            next_flow: 1,
            epochs: setup.epochs,
            sessions: 0,
            begun: 0,
            looks_again: None,
            is_draining: false,
            counts: Totals::default(),
        }
    }

    /// A packet has come. `identity` is what its connection has proved to be; none where that is switched off.
    pub(crate) fn handle_packet(&mut self, now: Instant, way: Way, identity: Option<&str>, packet: Message) {
        self.now = now;
        let Ok(packet) = Packet::decode(packet) else {
            self.counts.unreadable += 1;
            return;
        };
        match self.admit(now, way, identity, &packet.header) {
            Ok(half) => self.hear(now, half, way, packet),
            Err(Some(refusal)) => self.refuse(way, &packet.header, refusal),
            Err(None) => self.counts.foreign += 1,
        }
        self.serve();
        self.ledger.divide();
    }

    /// Tells the sender of a packet that it may not take part.
    fn refuse(&mut self, way: Way, header: &Header, refusal: Refusal) {
        self.counts.refused += 1;
        self.tell(RelayEvent::Refused {
            job: header.job.clone(),
            party: header.from.clone(),
            refusal,
        });
        let header = Header {
            job: header.job.clone(),
            from: header.to.clone(),
            to: header.from.clone(),
            mine: self.incarnation,
            yours: header.mine,
            ack: 0,
            content: Content::Refused(refusal),
        };
        self.reply(way, header);
    }

    /// Says something that is not part of a session.
    pub(super) fn reply(&mut self, way: Way, header: Header) {
        let pieces = Vec::new();
        // Who is not told asks again.
        let own = self.replies.iter().filter(|(to, _)| *to == way).count();
        if self.replies.len() < MAX_REPLIES && own < MAX_OWN_REPLIES {
            self.replies.push_back((way, Packet { header, pieces }.encode()));
        }
    }

    /// A connection is gone, or that to another server broken.
    pub(crate) fn handle_lost(&mut self, way: Way) {
        for half in self.lanes.remove(way) {
            self.lose(half, way);
        }
        self.replies.retain(|(to, _)| *to != way);
        self.serve();
    }

    /// All batches up to this one are durable.
    pub(crate) fn handle_committed(&mut self, batch: u64) {
        self.ledger.commit(batch);
        self.release_committed();
    }

    /// The store has the content of a piece.
    pub(crate) fn handle_loaded(&mut self, piece: PieceId, content: Vec<Bytes>) {
        self.take_loaded(piece, content);
    }

    /// The store has no such piece: the message has come to its end meanwhile, or the store is damaged.
    pub(crate) fn handle_missing(&mut self, piece: PieceId) {
        self.miss(piece);
        self.serve();
    }

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.timers.next()
    }

    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        self.now = now;
        let mut due = Vec::new();
        while let Some(timer) = self.timers.due(now) {
            due.push(timer);
        }
        for timer in due {
            match timer {
                Timer::Half(half) => self.look_after_half(now, half),
                Timer::Flow(flow) => self.look_after_flow(now, flow),
                Timer::Job(job) => self.look_after_job(now, job),
            }
        }
        self.serve();
    }

    /// The next packet, and where it goes.
    pub(crate) fn poll_transmit(&mut self, now: Instant) -> Option<(Way, Message)> {
        self.now = now;
        if let Some(reply) = self.poll_reply() {
            return Some(reply);
        }
        while let Some((way, index)) = self.lanes.next() {
            let Some(half) = self.halves.get_mut(index) else {
                continue;
            };
            half.awake.take_if(|awake| *awake == way);
            if half.way != Some(way) {
                continue;
            }
            self.fill(now, index);
            let half = &mut self.halves[index];
            let job = &self.jobs[half.job];
            let (limits, is_durable) = (&self.limits, self.ledger.is_durable());
            let hello = || Hello {
                members: job.members.clone(),
                window_messages: u32::MAX,
                window_bytes: limits.room_of_pair(is_durable, half.account.held),
                max_message: limits.largest(is_durable),
                // What is granted is an item: this may be read by a process that it was not meant for.
                credit: 0,
                custody: limits.custody(is_durable),
            };
            let said = half.link.poll_transmit(now, hello);
            let packet = said.map(|said| said.write(&job.id, &half.plays, &half.party, job.incarnation));
            if packet.is_some() {
                self.nudge(index);
            }
            self.arm(index);
            if let Some(packet) = packet {
                return Some((way, packet));
            }
        }
        None
    }

    fn poll_reply(&mut self) -> Option<(Way, Message)> {
        let mut replies = self.replies.iter();
        let first = replies.position(|(way, _)| !self.lanes.is_blocked(*way))?;
        self.replies.remove(first)
    }

    /// Nothing is sent on a way that is full, until it is not.
    pub(crate) fn set_blocked(&mut self, way: Way, is_blocked: bool) {
        self.lanes.set_blocked(way, is_blocked);
    }

    /// What the store is to do.
    pub(crate) fn poll_store(&mut self) -> Option<Request> {
        self.ledger.poll()
    }

    pub(crate) fn poll_event(&mut self) -> Option<RelayEvent> {
        self.events.pop_front()
    }

    /// Who may take part from now on. Sessions that have begun go on.
    pub(crate) fn set_access(&mut self, access: Access) {
        self.access = access;
    }

    /// How parties are reached from now on.
    pub(crate) fn set_routes(&mut self, routes: Routes) {
        self.routes = routes;
        let all: Vec<_> = self.halves.iter().map(|(index, _)| index).collect();
        for index in all {
            self.route(index);
        }
    }

    /// Nobody begins a session any more, and acknowledgements wait for nothing.
    pub(crate) fn drain(&mut self) {
        self.is_draining = true;
        let all: Vec<_> = self.halves.iter().map(|(index, _)| index).collect();
        for index in all {
            self.halves[index].link.prompt();
            self.nudge(index);
        }
    }

    /// Whether all that was taken is durable and acknowledged, and all that can be told is told.
    pub(crate) fn is_drained(&self) -> bool {
        self.is_draining && self.ledger.is_idle() && self.lanes.is_empty() && self.replies.is_empty()
    }

    pub(super) fn tell(&mut self, event: RelayEvent) {
        if self.events.len() < MAX_EVENTS {
            self.events.push_back(event);
        }
    }

    /// The time of day in a while, in milliseconds since 1970.
    pub(super) fn unix_ms_after(&self, time: Duration) -> Option<u64> {
        let after = self
            .now
            .checked_add(time)?
            .saturating_duration_since(self.started);
        let after = u64::try_from(after.as_millis()).unwrap_or(u64::MAX);
        Some(self.unix_ms.saturating_add(after))
    }

    /// What the server is known by in one job more; not 0.
    pub(super) fn draw_incarnation(&mut self) -> u64 {
        self.begun += 1;
        let step = (self.begun - 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.incarnation.wrapping_add(step).max(1)
    }

    /// A number that nobody has had.
    pub(super) fn draw_epoch(&mut self) -> u64 {
        // SplitMix64: all numbers come once before one comes again.
        self.epochs = self.epochs.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut epoch = self.epochs;
        epoch = (epoch ^ (epoch >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        epoch = (epoch ^ (epoch >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        epoch ^ (epoch >> 31)
    }

    /// A half may have something to send, or to wait for.
    pub(super) fn wake(&mut self, index: usize) {
        if self.halves[index].way.is_some() {
            self.nudge(index);
            self.arm(index);
        }
    }

    /// A half may have something to send, and looks when it is its turn what it has to wait for.
    pub(super) fn nudge(&mut self, index: usize) {
        let half = &mut self.halves[index];
        if let Some(way) = half.way
            && half.awake != Some(way)
        {
            half.awake = Some(way);
            self.lanes.wake(way, index);
        }
    }

    /// Looks after the half's link in time.
    fn arm(&mut self, index: usize) {
        if !self.is_wanted(index) {
            return;
        }
        let half = &mut self.halves[index];
        if let Some(at) = half.link.poll_timeout() {
            self.timers.arm(Timer::Half(index), &mut half.armed, at);
        }
    }

    /// Whether there is anything to be said on a half: between servers there is not when the party is away for whom it
    /// would be, and nothing is kept.
    pub(super) fn is_wanted(&self, index: usize) -> bool {
        let half = &self.halves[index];
        let is_between_servers = half.is_relay || matches!(half.way, Some(Way::Server(_)));
        half.way.is_some()
            && (!is_between_servers
                || !half.link.is_idle()
                || half.unsent > 0
                || half.told.seen == Some(true)
                || self.halves[half.twin].is_party_present())
    }
}
