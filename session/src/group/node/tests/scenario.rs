//! Everything at once: who sends, streams, meets at a barrier, comes, goes, dies, stands still or does not read, on a
//! network that does what networks do; and what must hold whatever happens.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use bytes::Bytes;
use fastrand::Rng;
use flexbond_wire::group::ChannelKind;

use super::{DEAD_AFTER, World, rough, seeds, settings};
use crate::group::MemberId;
use crate::group::barrier::Outcome;
use crate::group::flow::RecordKind;
use crate::group::node::{Ending, Event, Node, NodeSettings, PushError};

const ALL: u16 = 0;
const BARRIER: u16 = 1;
const BROADCAST: u16 = 2;
/// What the death of a member may cost others, beside the time after which it counts as dead.
const SLACK: Duration = Duration::from_millis(500);
/// How long all may take to settle once nothing more happens.
const PATIENCE: Duration = Duration::from_secs(60);

/// What a sender has sent on a channel.
type Sent = Vec<(RecordKind, Bytes)>;

/// What a host does beside what its node does by itself.
#[derive(Debug, Default)]
struct Actor {
    sent: [Sent; 2],
    /// Whether a stream of it has not ended, on each channel.
    streams: [bool; 2],
    barrier: Visit,
    /// The request to join the broadcast group.
    asked: Option<u32>,
    takes_broadcast: bool,
    heard: Sent,
    /// Why nobody need wonder that it is gone.
    excused: bool,
    /// When it leaves at the latest, by its own clock, and whether it did so earlier: with everything delivered.
    leaves_by: Option<Instant>,
    left_in_time: bool,
    killed_at: Option<Duration>,
}

#[derive(Debug, Default)]
struct Visit {
    request: Option<u32>,
    round: Option<u64>,
    waits: bool,
    outcomes: BTreeMap<u64, Outcome>,
}

struct Scenario {
    what: String,
    world: World,
    rng: Rng,
    settings: NodeSettings,
    actors: Vec<Actor>,
    /// The first message of one host that another must have, and the last one that was sent while it was known to be
    /// there; by channel.
    owed: BTreeMap<(u16, usize, usize), (usize, usize)>,
    /// When something last kept packets or hosts from going their way.
    disturbed: Duration,
    until_resumed: BTreeMap<usize, Duration>,
    partition: Option<Duration>,
    /// For how long somebody could not hear somebody, all in all.
    silence: Duration,
}

impl Scenario {
    fn new(seed: u64, keyed: bool) -> Self {
        let mut rng = Rng::with_seed(seed ^ 0x5EED);
        let multicast = rng.bool();
        let base = settings(multicast);
        let path = rough(&mut rng);
        let mut settings = NodeSettings {
            segment: rng.usize(64..600),
            window: rng.u64(1000..40_000),
            recv_budget: rng.u64(20_000..300_000),
            send_budget: rng.u64(2_000..300_000),
            max_message: rng.u64(4_000..20_000),
            ..base
        };
        match rng.u8(..6) {
            0 => settings.evict_after = Some(Duration::from_millis(rng.u64(300..1500))),
            1 => settings.quorum = Some(rng.usize(1..3)),
            2 => (settings.quorum, settings.skip) = (Some(1), true),
            _ => {}
        }
        let mut world = World::new(seed, multicast, path);
        world.hosts[0].node = Node::coordinator(
            world.start,
            seed + 1,
            std::hash::RandomState::new(),
            settings.clone(),
        );
        let mut scenario = Scenario {
            what: format!("FLEXBOND_SEED={seed}{}", if keyed { ", with a key" } else { "" }),
            world,
            rng,
            settings,
            actors: vec![Actor::default()],
            owed: BTreeMap::new(),
            disturbed: Duration::ZERO,
            until_resumed: BTreeMap::new(),
            partition: None,
            silence: Duration::ZERO,
        };
        let takes_part = scenario.rng.bool();
        let node = &mut scenario.world.hosts[0].node;
        node.host_barrier(BARRIER, takes_part).expect("it is free");
        node.host_broadcast(BROADCAST).expect("it is free");
        scenario.actors[0].barrier.round = takes_part.then_some(1);
        scenario
    }

    fn instant(&self, index: usize) -> Instant {
        self.world.start + self.world.now + self.world.hosts[index].skew
    }

    fn join(&mut self) {
        let mut nonce = [0; 16];
        self.rng.fill(&mut nonce);
        let now = self.world.start + self.world.now;
        let member = NodeSettings {
            multicast: None,
            recv_budget: self.rng.u64(20_000..300_000),
            ..self.settings.clone()
        };
        let node = Node::member(now, self.world.hosts[0].address, nonce, &[], member);
        self.world.add(node);
        self.actors.push(Actor::default());
    }

    /// Those who are in the session, as far as they know, and whose processes run.
    fn present(&self) -> Vec<usize> {
        let hosts = self.world.hosts.iter().enumerate();
        hosts
            .filter(|(_, host)| host.is_running() && host.node.is_in())
            .map(|(index, _)| index)
            .collect()
    }

    fn is_alive(&self, index: usize) -> bool {
        let host = &self.world.hosts[index];
        !host.killed && host.node.is_in()
    }

    /// Sends a record of a host, if there is room.
    fn send(&mut self, index: usize, channel: u16) {
        let actor = &self.actors[index];
        let at = usize::from(channel == BROADCAST);
        let number = actor.sent[at].len();
        let kind = match (actor.streams[at], self.rng.u8(..4)) {
            (false, 0) => RecordKind::FirstChunk,
            (false, _) => RecordKind::Message,
            (true, 0) => RecordKind::LastChunk,
            (true, _) => RecordKind::Chunk,
        };
        let size = match self.rng.u8(..8) {
            0 => self.rng.usize(..self.settings.max_message as usize),
            _ => self.rng.usize(..1500),
        };
        let mut body = vec![number as u8; size.max(8)];
        body[..4].copy_from_slice(&(index as u32).to_be_bytes());
        body[4..8].copy_from_slice(&(number as u32).to_be_bytes());
        let body = Bytes::from(body);
        let node = &mut self.world.hosts[index].node;
        let others: Vec<_> = node.others().collect();
        match node.push(channel, kind, &body) {
            Ok(pushed) => assert_eq!(pushed, number as u64, "{}", self.what),
            Err(PushError::Full | PushError::NotIn | PushError::TooLarge { .. }) => return,
            Err(error) => panic!("{}: {error:?}", self.what),
        }
        let actor = &mut self.actors[index];
        actor.streams[at] = matches!(kind, RecordKind::FirstChunk | RecordKind::Chunk);
        actor.sent[at].push((kind, body));
        let begins = matches!(kind, RecordKind::Message | RecordKind::FirstChunk);
        for to in 0..self.actors.len() {
            let receives = match channel {
                ALL => to != index && others.contains(&self.world.id(to)),
                _ => self.actors[to].takes_broadcast && others.contains(&self.world.id(to)),
            };
            let known = self.owed.entry((channel, index, to));
            match known {
                Entry::Vacant(unknown) if receives && begins => drop(unknown.insert((number, number))),
                Entry::Occupied(mut known) if receives => known.get_mut().1 = number,
                _ => {}
            }
        }
    }

    fn stop(&mut self, index: usize, time: Duration) {
        let host = &mut self.world.hosts[index];
        host.stopped = true;
        self.world.network.pause(host.address.ip());
        self.until_resumed.insert(index, self.world.now + time);
        self.note_silence(time);
    }

    /// Somebody cannot hear somebody for so long: that some are taken for dead is no wonder if it adds up.
    fn note_silence(&mut self, time: Duration) {
        self.silence += time;
        if self.silence > DEAD_AFTER / 4 || self.settings.evict_after.is_some() {
            self.excuse(0);
        }
    }

    /// If it is gone, that is no wonder; nor that members are whose coordinator stood still.
    fn excuse(&mut self, index: usize) {
        if index == 0 {
            self.actors.iter_mut().for_each(|actor| actor.excused = true);
        }
        self.actors[index].excused = true;
    }

    fn act(&mut self) {
        let present = self.present();
        let Some(&index) = self.rng.choice(&present) else {
            return;
        };
        match self.rng.u8(..100) {
            0..45 => self.send(index, ALL),
            45..55 if self.world.hosts[0].is_running() => self.send(0, BROADCAST),
            55..66 => self.arrive(index),
            66..72 if self.world.hosts.len() < 10 => self.join(),
            72..74 if index != 0 => {
                let now = self.instant(index);
                let deadline = now + Duration::from_secs(5);
                self.actors[index].leaves_by.get_or_insert(deadline);
                self.excuse(index);
                self.world.hosts[index].node.wind_up(now, deadline);
            }
            74..76 if index != 0 => {
                self.world.hosts[index].killed = true;
                self.excuse(index);
                self.actors[index].killed_at = Some(self.world.now);
            }
            76..79 => {
                self.world.hosts[index].reading = false;
                if self.settings.evict_after.is_some() {
                    self.excuse(index);
                }
            }
            79..84 => self.world.hosts.iter_mut().for_each(|host| host.reading = true),
            84..87 => {
                let longest = if self.rng.u8(..4) == 0 { 5000 } else { 900 };
                let time = Duration::from_millis(self.rng.u64(..longest));
                self.stop(index, time);
            }
            87..89 if self.partition.is_none() => self.divide(),
            89..91 => {
                // As if nobody had looked for hours.
                let jump = Duration::from_secs(self.rng.u64(1..40_000));
                self.world.hosts[index].skew += jump;
                self.disturbed = self.world.now;
                // So much of it counts.
                self.note_silence(2 * self.settings.heartbeat);
                // Whoever keeps others waiting may seem to have done so for all that time.
                self.world.hosts.iter().enumerate().for_each(|(other, host)| {
                    self.actors[other].excused |= !host.reading && self.settings.evict_after.is_some();
                });
            }
            91..96 => self.disturb(index),
            _ => self.enter(index),
        }
    }

    /// Some do not reach the others for a while.
    fn divide(&mut self) {
        let chosen: Vec<_> = (0..self.world.hosts.len()).filter(|_| self.rng.bool()).collect();
        let longest = if self.rng.bool() { 900 } else { 4000 };
        let time = Duration::from_millis(self.rng.u64(..longest));
        self.note_silence(time);
        self.partition = Some(self.world.now + time);
        let hosts = chosen.iter().map(|index| self.world.hosts[*index].address.ip());
        self.world.network.partition(hosts.collect::<Vec<_>>());
    }

    /// Garbage, and what was said before, from where it came and to others.
    fn disturb(&mut self, index: usize) {
        let from = self.rng.usize(..self.world.hosts.len());
        let from = self.world.hosts[from].address;
        let recorded = self.world.recorded.get_or_insert_default();
        let newest = recorded.len().saturating_sub(300);
        recorded.drain(..newest);
        let mut bytes = match self.rng.choice(recorded.iter()) {
            Some((_, _, bytes)) => bytes.to_vec(),
            None => vec![0; 40],
        };
        match self.rng.u8(..3) {
            // What is whole, and was said to somebody else, is taken where there is no key.
            0 => bytes.truncate(self.rng.usize(..bytes.len().max(1))),
            1 => self.rng.fill(&mut bytes[..]),
            _ => {
                let at = self.rng.usize(..bytes.len().max(1));
                if let Some(byte) = bytes.get_mut(at) {
                    *byte = byte.wrapping_add(self.rng.u8(1..));
                }
            }
        }
        let now = self.instant(index);
        let multicast = self.rng.bool();
        let node = &mut self.world.hosts[index].node;
        node.handle_datagram(now, from, multicast, &mut bytes);
    }

    /// Asks to take part in a group, or goes from one.
    fn enter(&mut self, index: usize) {
        let now = self.instant(index);
        let node = &mut self.world.hosts[index].node;
        let actor = &mut self.actors[index];
        if index == 0 {
            return;
        }
        if self.rng.bool() {
            match actor.barrier.round {
                None if !node.takes_part(BARRIER) => {
                    actor.barrier.request = Some(node.join_channel(now, BARRIER, ChannelKind::Barrier));
                }
                Some(_) if !actor.barrier.waits && self.rng.u8(..4) == 0 => {
                    node.leave_channel(now, BARRIER);
                    actor.barrier.round = None;
                }
                _ => {}
            }
        } else if !node.takes_part(BROADCAST) && actor.asked.is_none() && actor.heard.is_empty() {
            actor.asked = Some(node.join_channel(now, BROADCAST, ChannelKind::Broadcast));
        }
    }

    fn arrive(&mut self, index: usize) {
        let now = self.instant(index);
        let visit = &mut self.actors[index].barrier;
        if visit.round.is_some() && !visit.waits {
            visit.waits = true;
            self.world.hosts[index].node.arrive(now, BARRIER);
        }
    }

    /// Lets time pass, looking after everything on the way.
    fn pass(&mut self, time: Duration) {
        let until = self.world.now + time;
        while self.world.now < until {
            let events = [self.partition].into_iter().flatten();
            let events = events.chain(self.until_resumed.values().copied());
            let next = events.min().map_or(until, |at| at.min(until));
            self.world
                .step(next.max(self.world.now + Duration::from_micros(1)));
            self.look();
        }
    }

    fn look(&mut self) {
        let now = self.world.now;
        if !self.until_resumed.is_empty() || self.partition.is_some() {
            self.disturbed = now;
        }
        if self.partition.is_some_and(|until| until <= now) {
            self.partition = None;
            self.world.network.heal();
        }
        let world = &mut self.world;
        self.until_resumed.retain(|index, until| {
            if *until <= now {
                world.hosts[*index].stopped = false;
                world.network.resume(world.hosts[*index].address.ip());
            }
            *until > now
        });
        for index in 0..self.actors.len() {
            self.look_at_groups(index);
            self.check_memory(index);
        }
        self.check_deaths();
    }

    fn look_at_groups(&mut self, index: usize) {
        let now = self.instant(index);
        let host = &mut self.world.hosts[index];
        if host.killed || host.stopped {
            return;
        }
        let actor = &mut self.actors[index];
        if actor.leaves_by.is_some_and(|deadline| now < deadline) {
            actor.left_in_time = host.node.winding_up.is_none();
        }
        if let Some(answer) = actor.asked.and_then(|request| host.node.take_reply(request)) {
            actor.asked = None;
            actor.takes_broadcast = answer.is_ok();
            if answer.is_err() {
                // The coordinator may have let it in all the same.
                host.node.leave_channel(now, BROADCAST);
            }
        }
        while host.reading
            && actor.takes_broadcast
            && let Some(popped) = host.node.pop(now, BROADCAST)
        {
            assert_eq!(popped.from, MemberId::COORDINATOR);
            actor.heard.push((popped.kind, popped.body));
        }
        let visit = &mut actor.barrier;
        if let Some(answer) = visit.request.and_then(|request| host.node.take_reply(request)) {
            visit.request = None;
            visit.round = answer.ok();
            if answer.is_err() {
                host.node.leave_channel(now, BARRIER);
            }
        }
        let Some(outcome) = host.node.take_outcome(BARRIER) else {
            return;
        };
        assert!(
            std::mem::take(&mut visit.waits),
            "{}: {index} did not wait",
            self.what
        );
        let round = visit.round.expect("it takes part");
        visit.round = Some(round + 1);
        visit.outcomes.insert(round, outcome.clone());
        if outcome != Outcome::Released {
            return;
        }
        let coordinator = &self.world.hosts[0];
        for (other, there) in self.actors.iter().enumerate() {
            let belongs = other == 0 || coordinator.node.others().any(|id| id == self.world.id(other));
            let there = &there.barrier;
            let behind = there
                .round
                .is_some_and(|at| at < round || (at == round && !there.waits));
            assert!(
                coordinator.killed || !belongs || !behind,
                "{}: {index} went from round {round} without {other}",
                self.what
            );
        }
    }

    fn check_memory(&self, index: usize) {
        let node = &self.world.hosts[index].node;
        let (used, limit, kept) = node.flows.memory();
        assert!(used <= limit, "{}: {used} of {limit} bytes", self.what);
        let most = self.settings.send_budget.max(self.settings.max_message) + 64;
        assert!(
            kept.iter().all(|kept| *kept <= most),
            "{}: {kept:?} of {most} bytes",
            self.what
        );
        let window = (node.settings.window_segments() + 1) * node.settings.segment as u64;
        for early in node.flows.early_bytes() {
            assert!(early <= window, "{}: {early} bytes early, of {window}", self.what);
        }
        let waiting = node.outbox.waiting();
        assert!(waiting < 1000, "{}: {waiting} packets wait", self.what);
    }

    /// Who died is gone for all within the time that was promised, if nothing else stood in the way.
    fn check_deaths(&self) {
        let now = self.world.now;
        for (dead, actor) in self.actors.iter().enumerate() {
            let Some(killed) = actor.killed_at else {
                continue;
            };
            if now < killed.max(self.disturbed) + DEAD_AFTER + SLACK {
                continue;
            }
            let id = self.world.id(dead);
            for index in self.present() {
                if dead == 0 {
                    panic!("{}: {index} does not know that its coordinator died", self.what);
                }
                let knows = self.world.hosts[index].node.others().all(|other| other != id);
                assert!(
                    knows || self.world.hosts[0].killed,
                    "{}: {index} does not know that {dead} died {:?} ago",
                    self.what,
                    now - killed
                );
            }
        }
    }

    fn run(&mut self) {
        for _ in 0..self.rng.usize(1..4) {
            self.join();
        }
        for _ in 0..self.rng.usize(40..120) {
            self.act();
            let longest = if self.rng.u8(..10) == 0 { 300_000 } else { 10_000 };
            let pause = Duration::from_micros(self.rng.u64(..longest));
            self.pass(pause);
        }
        self.calm_down();
        self.check_delivery();
        self.end();
    }

    /// From here on nothing more gets in the way: everything has to come to its end.
    fn calm_down(&mut self) {
        self.partition = self.partition.map(|_| self.world.now);
        let now = self.world.now;
        self.until_resumed.values_mut().for_each(|until| *until = now);
        self.look();
        self.world.hosts.iter_mut().for_each(|host| host.reading = true);
        for index in self.present() {
            for (at, channel) in [ALL, BROADCAST].into_iter().enumerate() {
                if self.actors[index].streams[at] {
                    self.world.hosts[index].node.push_end(channel);
                    self.actors[index].sent[at].push((RecordKind::LastChunk, Bytes::new()));
                    self.actors[index].streams[at] = false;
                }
            }
        }
        let before: Vec<_> = self
            .actors
            .iter()
            .map(|actor| actor.barrier.outcomes.len())
            .collect();
        let until = now + PATIENCE;
        while !self.is_settled(&before) {
            assert!(self.world.now < until, "{}: {}", self.what, self.describe());
            for index in self.present() {
                self.arrive(index);
            }
            self.pass(Duration::from_millis(50));
        }
        // Those who skip may not have heard of it yet.
        self.pass(Duration::from_secs(if self.settings.skip { 2 } else { 0 }) + Duration::from_millis(100));
    }

    fn is_settled(&self, before: &[usize]) -> bool {
        let there = self.present();
        let members: BTreeSet<_> = there.iter().map(|index| self.world.id(*index)).collect();
        let asks = |index: usize| {
            let host = &self.world.hosts[index];
            !host.killed && host.node.ending().is_none() && !host.node.is_in()
        };
        (1..self.actors.len()).all(|index| !asks(index))
            && there.iter().all(|&index| {
                let node = &self.world.hosts[index].node;
                let others: BTreeSet<_> = node.others().chain([self.world.id(index)]).collect();
                let actor = &self.actors[index];
                let visited = actor.barrier.round.is_none()
                    || actor.barrier.outcomes.len() >= before.get(index).unwrap_or(&0) + 2;
                let settled = |channel, at: usize| {
                    !node.has_channel(channel)
                        || index != 0 && channel != ALL
                        || node.settled(channel) == actor.sent[at].len() as u64
                };
                others == members
                    && visited
                    && actor.asked.is_none()
                    && actor.barrier.request.is_none()
                    && settled(ALL, 0)
                    && settled(BROADCAST, 1)
            })
    }

    fn describe(&self) -> String {
        let there = self.present().into_iter().map(|index| {
            let node = &self.world.hosts[index].node;
            let actor = &self.actors[index];
            format!(
                "\n{index}: {:?} knows {:?}, {} of {} and {:?} of {} delivered, at round {:?} (waits: {}), {:?}",
                node.me(),
                node.others().collect::<Vec<_>>(),
                node.settled(ALL),
                actor.sent[0].len(),
                node.has_channel(BROADCAST).then(|| node.settled(BROADCAST)),
                actor.sent[1].len(),
                actor.barrier.round,
                actor.barrier.waits,
                node.flows.memory(),
            )
        });
        format!(
            "not settled with {:?}:{}",
            self.settings,
            there.collect::<String>()
        )
    }

    fn check_delivery(&self) {
        let mut ends: BTreeMap<u64, &Outcome> = BTreeMap::new();
        for (index, actor) in self.actors.iter().enumerate() {
            for (round, outcome) in &actor.barrier.outcomes {
                let known = ends.entry(*round).or_insert(outcome);
                assert_eq!(*known, outcome, "{}: round {round} at {index}", self.what);
            }
        }
        for from in 0..self.actors.len() {
            for to in (0..self.actors.len()).filter(|to| *to != from) {
                let host = &self.world.hosts[to];
                let id = self.world.id(from);
                let kinds = host.kinds.get(&id).into_iter().flatten().copied();
                let bodies = self.world.received(to, from).iter().cloned();
                self.check_flow(ALL, from, to, &kinds.zip(bodies).collect::<Vec<_>>());
            }
        }
        for to in 1..self.actors.len() {
            self.check_flow(BROADCAST, 0, to, &self.actors[to].heard);
        }
        for (index, host) in self.world.hosts.iter().enumerate() {
            let actor = &self.actors[index];
            let lost = !host.killed && !host.node.is_in();
            assert!(
                !lost || actor.excused || self.world.hosts[0].killed,
                "{}: {index} is out without a reason: {:?} with {:?}",
                self.what,
                host.node.ending(),
                self.settings
            );
            let (used, ..) = host.node.flows.memory();
            assert!(
                host.killed || used == 0,
                "{}: {index} has {used} bytes",
                self.what
            );
        }
    }

    /// What came of one sender is what it sent, in order, once; and all of it, where that is owed.
    fn check_flow(&self, channel: u16, from: usize, to: usize, got: &[(RecordKind, Bytes)]) {
        let what = || format!("{}: channel {channel}, {from} to {to}", self.what);
        let sent = &self.actors[from].sent[usize::from(channel == BROADCAST)];
        let mut has = BTreeSet::new();
        let mut streaming = false;
        let mut next = None;
        for (kind, body) in got {
            if *kind == RecordKind::Cut {
                assert!(std::mem::take(&mut streaming), "{}: cut without a stream", what());
                continue;
            }
            let number = match body.len() {
                0 => sent.len() - 1,
                _ => u32::from_be_bytes([4, 5, 6, 7].map(|at| body[at])) as usize,
            };
            assert_eq!(sent.get(number), Some(&(*kind, body.clone())), "{}", what());
            match next {
                Some(next) if !self.settings.skip => assert_eq!(number, next, "{}", what()),
                Some(next) => assert!(number >= next, "{}: {number} after {next}", what()),
                None => {}
            }
            assert_eq!(
                streaming,
                matches!(kind, RecordKind::Chunk | RecordKind::LastChunk),
                "{}: {kind:?} is number {number}",
                what()
            );
            streaming = matches!(kind, RecordKind::FirstChunk | RecordKind::Chunk);
            next = Some(number + 1);
            has.insert(number);
        }
        let Some(&(first, last)) = self.owed.get(&(channel, from, to)) else {
            return;
        };
        let (source, sink) = (&self.world.hosts[from].node, &self.world.hosts[to]);
        if sink.killed || self.world.hosts[from].killed {
            return;
        }
        let id = self.world.id(to);
        let settled = source.settled(channel);
        if channel == ALL && source.is_in() || channel == BROADCAST {
            for number in first..=last {
                // Who has not got a part has not got the parts after it.
                let parts = sent[..=number].iter().rev();
                let parts =
                    parts.take_while(|(kind, _)| matches!(kind, RecordKind::Chunk | RecordKind::LastChunk));
                let begin = number - parts.count();
                let missed = source.missed(channel, begin as u64..=number as u64).contains(&id);
                assert!(
                    number as u64 >= settled || missed || has.contains(&number),
                    "{}: number {number} of {} counts as delivered, {has:?} were to {:?}",
                    what(),
                    sent.len(),
                    sink.node.ending()
                );
            }
        }
        let stayed = sink.node.is_in() && !self.settings.skip;
        let left = self.actors[from].left_in_time && source.ending() == Some(&Ending::Left);
        if stayed && (source.is_in() || left) {
            assert_eq!(
                has.last().copied(),
                Some(sent.len() - 1),
                "{}: of {}",
                what(),
                sent.len()
            );
            assert!(has.first() <= Some(&first), "{}: {has:?} from {first} on", what());
        }
    }

    /// How the session ends: by its coordinator's word, or by its death.
    fn end(&mut self) {
        let began = self.world.now;
        let kills = self.rng.bool();
        if kills {
            self.world.hosts[0].killed = true;
            self.actors[0].killed_at = Some(began);
        } else {
            let now = self.instant(0);
            let node = &mut self.world.hosts[0].node;
            node.wind_up(now, now + Duration::from_secs(5));
        }
        let members = self.present();
        let until = began + DEAD_AFTER + SLACK;
        while members.iter().any(|index| *index != 0 && self.is_alive(*index)) {
            assert!(self.world.now < until, "{}: not over for {members:?}", self.what);
            self.pass(Duration::from_millis(10));
        }
        for index in members.into_iter().filter(|index| *index != 0) {
            let outs = self.world.hosts[index].events.iter();
            let outs = outs.filter(|event| matches!(event, Event::Out(_)));
            assert_eq!(outs.count(), 1, "{}: {index}", self.what);
        }
    }
}

#[test]
fn whatever_happens_what_was_promised_holds() {
    seeds(24).for_each(|seed| Scenario::new(seed, false).run());
}

#[cfg(feature = "group-crypto")]
#[test]
fn whatever_happens_what_was_promised_holds_with_a_key() {
    super::keys::keyed(|| seeds(12).for_each(|seed| Scenario::new(seed, true).run()));
}
