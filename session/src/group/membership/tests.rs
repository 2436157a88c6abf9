//! A coordinator and its members over a network that loses and delays.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use fastrand::Rng;
use flexbond_wire::group::{GoodbyeReason, RejectReason};

use super::{
    Applicant, Departure, Enrolment, EnrolmentEvent, EnrolmentSettings, Reply, Roster, RosterEvent,
    RosterSettings, Said,
};
use crate::group::MemberId;

const HEARTBEAT: Duration = Duration::from_millis(200);
const DEAD_AFTER: Duration = Duration::from_secs(2);
const MIB: u64 = 1 << 20;

#[derive(Clone, Debug)]
enum Packet {
    ToCoordinator(usize, Said),
    Accept(usize, MemberId),
    Reject(usize, &'static str),
    View(usize, u32),
    ViewAck(usize, u32),
    /// What the coordinator sends to all from time to time.
    Alive(usize),
    Goodbye(usize),
}

struct Node {
    enrolment: Enrolment,
    events: Vec<EnrolmentEvent>,
    view: u32,
    /// Neither hears nor says anything, as if stopped.
    stopped: bool,
    id: Option<MemberId>,
}

struct World {
    now: Instant,
    started: Instant,
    rng: Rng,
    loss: f64,
    roster: Roster,
    coordinator_alive: bool,
    alive_at: Instant,
    nodes: Vec<Node>,
    wire: BTreeMap<(Instant, u64), Packet>,
    sent: u64,
    events: Vec<(Duration, RosterEvent)>,
}

impl World {
    fn new(seed: u64, loss: f64) -> Self {
        let now = Instant::now();
        World {
            now,
            started: now,
            rng: Rng::with_seed(seed),
            loss,
            roster: Roster::new(
                now,
                RosterSettings {
                    max_members: 8,
                    dead_after: DEAD_AFTER,
                    heartbeat: HEARTBEAT,
                    min_budget: MIB,
                },
            ),
            coordinator_alive: true,
            alive_at: now,
            nodes: Vec::new(),
            wire: BTreeMap::new(),
            sent: 0,
            events: Vec::new(),
        }
    }

    fn start(&mut self) {
        let mut nonce = [0; 16];
        self.rng.fill(&mut nonce);
        let settings = EnrolmentSettings {
            join_timeout: Duration::from_secs(5),
            heartbeat: HEARTBEAT,
            dead_after: DEAD_AFTER,
        };
        self.nodes.push(Node {
            enrolment: Enrolment::new(self.now, nonce, &[], settings),
            events: Vec::new(),
            view: 0,
            stopped: false,
            id: None,
        });
    }

    fn throw(&mut self, packet: Packet) {
        if self.rng.f64() >= self.loss {
            let at = self.now + Duration::from_micros(self.rng.u64(50..2000));
            self.sent += 1;
            self.wire.insert((at, self.sent), packet);
        }
    }

    fn index_of(&self, member: MemberId) -> Option<usize> {
        self.nodes.iter().position(|node| node.id == Some(member))
    }

    fn run_for(&mut self, time: Duration) {
        let until = self.now + time;
        while self.now < until {
            self.settle();
            let mut next = until;
            for node in self.nodes.iter().filter(|node| !node.stopped) {
                next = node.enrolment.poll_timeout().map_or(next, |at| next.min(at));
            }
            if self.coordinator_alive {
                next = next.min(self.alive_at);
                next = self.roster.poll_timeout().map_or(next, |at| next.min(at));
            }
            next = self.wire.keys().next().map_or(next, |key| next.min(key.0));
            self.now = self.now.max(next);
            while let Some(entry) = self.wire.first_entry()
                && entry.key().0 <= self.now
            {
                let packet = entry.remove();
                self.deliver(&packet);
            }
        }
    }

    fn settle(&mut self) {
        let now = self.now;
        for index in 0..self.nodes.len() {
            let node = &mut self.nodes[index];
            if node.stopped {
                continue;
            }
            node.enrolment.handle_timeout(now);
            while let Some(event) = node.enrolment.poll_event() {
                if let EnrolmentEvent::Joined(member) = event {
                    node.id = Some(member);
                }
                node.events.push(event);
            }
            while let Some(said) = self.nodes[index].enrolment.poll_said(now) {
                self.throw(Packet::ToCoordinator(index, said));
            }
        }
        if !self.coordinator_alive {
            return;
        }
        self.roster.handle_timeout(now);
        if self.alive_at <= now {
            self.alive_at = now + HEARTBEAT;
            (0..self.nodes.len()).for_each(|index| self.throw(Packet::Alive(index)));
        }
        while let Some(member) = self.roster.poll_view(now) {
            let view = self.roster.view();
            if let Some(index) = self.index_of(member) {
                self.throw(Packet::View(index, view));
            }
        }
        while let Some(event) = self.roster.poll_event() {
            self.events.push((now - self.started, event));
        }
    }

    fn deliver(&mut self, packet: &Packet) {
        let now = self.now;
        match *packet {
            Packet::ToCoordinator(_, _) | Packet::ViewAck(_, _) if !self.coordinator_alive => {}
            Packet::ToCoordinator(index, Said::Join { .. }) => {
                let applicant = Applicant {
                    nonce: self.nodes[index].enrolment.nonce(),
                    address: SocketAddr::from(([10, 0, 0, 1], 1000 + index as u16)),
                    name: String::new(),
                    budget: MIB,
                };
                let answer = match self.roster.handle_join(now, applicant) {
                    Reply::Accepted(member) => Packet::Accept(index, member),
                    Reply::Full => Packet::Reject(index, "full"),
                    Reply::Closing => Packet::Reject(index, "closing"),
                    Reply::BudgetTooSmall => Packet::Reject(index, "budget"),
                    Reply::Taken => Packet::Reject(index, "taken"),
                };
                self.throw(answer);
            }
            Packet::ToCoordinator(index, said) => {
                let Some(member) = self.nodes[index].id else {
                    return;
                };
                if said == Said::Leave {
                    self.roster.remove(member, Departure::Left);
                    self.throw(Packet::Goodbye(index));
                } else {
                    self.roster.handle_heartbeat(now, member, true);
                }
            }
            Packet::ViewAck(index, view) => {
                if let Some(member) = self.nodes[index].id {
                    self.roster.handle_view_ack(member, view);
                }
            }
            Packet::Accept(index, _)
            | Packet::Reject(index, _)
            | Packet::View(index, _)
            | Packet::Alive(index)
            | Packet::Goodbye(index)
                if self.nodes[index].stopped => {}
            Packet::Accept(index, member) => {
                let enrolment = &mut self.nodes[index].enrolment;
                enrolment.handle_accept(now, enrolment.nonce(), member, HEARTBEAT, DEAD_AFTER);
            }
            Packet::Reject(index, why) => {
                let enrolment = &mut self.nodes[index].enrolment;
                enrolment.handle_reject(now, enrolment.nonce(), RejectReason::Full, why.to_owned());
            }
            Packet::View(index, view) => {
                self.nodes[index].enrolment.handle_heard(now);
                self.nodes[index].view = self.nodes[index].view.max(view);
                self.throw(Packet::ViewAck(index, view));
            }
            Packet::Alive(index) => self.nodes[index].enrolment.handle_heard(now),
            Packet::Goodbye(index) => self.nodes[index].enrolment.handle_goodbye(GoodbyeReason::Evicted),
        }
    }
}

#[test]
fn everybody_gets_in_and_knows_the_same_view_whatever_is_lost() {
    for seed in 0..100 {
        let mut rng = Rng::with_seed(seed);
        // Of more, ten signs of life in a row are lost now and then, and that is a death.
        let mut world = World::new(seed, rng.f64() * 0.3);
        let members = rng.usize(1..=8);
        for _ in 0..members {
            world.start();
            world.run_for(Duration::from_millis(rng.u64(..30)));
        }
        world.run_for(Duration::from_secs(4));
        assert!(world.roster.is_agreed(), "seed {seed}");
        for node in &world.nodes {
            assert_eq!(node.view, world.roster.view(), "seed {seed}");
            assert_eq!(node.enrolment.member(), node.id, "seed {seed}");
        }
        let ids: Vec<_> = world.roster.members().map(|(member, _)| member).collect();
        assert_eq!(ids.len(), members, "seed {seed}: nobody is in twice");
    }
}

#[test]
fn there_is_a_limit_and_who_is_not_admitted_hears_why() {
    let mut world = World::new(1, 0.0);
    (0..9).for_each(|_| world.start());
    world.run_for(Duration::from_secs(1));
    let rejected: Vec<_> = world
        .nodes
        .iter()
        .flat_map(|node| &node.events)
        .filter(|event| **event == EnrolmentEvent::Rejected(RejectReason::Full, "full".to_owned()))
        .collect();
    assert_eq!((rejected.len(), world.roster.members().count()), (1, 8));
}

#[test]
fn a_dead_member_is_found_in_time_and_only_it() {
    for seed in 0..50 {
        let mut world = World::new(seed, 0.05);
        (0..5).for_each(|_| world.start());
        world.run_for(Duration::from_secs(1));
        let killed = world.now - world.started;
        world.nodes[2].stopped = true;
        world.run_for(Duration::from_secs(4));
        let gone: Vec<_> = world
            .events
            .iter()
            .filter(|(_, event)| matches!(event, RosterEvent::Gone(..)))
            .collect();
        let dead = world.nodes[2].id.expect("it was in");
        assert_eq!(gone.len(), 1, "seed {seed}: {gone:?}");
        assert_eq!(gone[0].1, RosterEvent::Gone(dead, Departure::Dead));
        let took = gone[0].0 - killed;
        assert!(took <= DEAD_AFTER + HEARTBEAT, "seed {seed}: {took:?}");
        assert!(world.roster.is_agreed(), "seed {seed}");
    }
}

#[test]
fn the_death_of_the_coordinator_is_found_by_all_in_time() {
    let mut world = World::new(2, 0.0);
    (0..5).for_each(|_| world.start());
    world.run_for(Duration::from_secs(1));
    world.coordinator_alive = false;
    world.run_for(DEAD_AFTER + Duration::from_millis(10));
    for node in &world.nodes {
        assert_eq!(node.events.last(), Some(&EnrolmentEvent::CoordinatorDead));
        assert_eq!(node.enrolment.member(), None);
    }
}

#[test]
fn a_coordinator_that_was_stopped_itself_does_not_take_all_for_dead() {
    let mut world = World::new(3, 0.0);
    (0..5).for_each(|_| world.start());
    world.run_for(Duration::from_secs(1));
    // Everybody was stopped, as when a laptop sleeps.
    world.now += Duration::from_secs(3600);
    world.run_for(Duration::from_secs(5));
    assert_eq!(world.roster.members().count(), 5);
    assert!(world.nodes.iter().all(|node| node.enrolment.member().is_some()));
}

#[test]
fn who_leaves_is_gone_at_once_and_knows_it() {
    let mut world = World::new(4, 0.3);
    (0..3).for_each(|_| world.start());
    world.run_for(Duration::from_secs(1));
    let now = world.now;
    world.nodes[1].enrolment.leave(now);
    world.run_for(Duration::from_millis(200));
    assert_eq!(world.nodes[1].events.last(), Some(&EnrolmentEvent::Left));
    let leaver = world.nodes[1].id.expect("it was in");
    assert!(
        world
            .events
            .iter()
            .any(|(_, event)| *event == RosterEvent::Gone(leaver, Departure::Left))
    );
    assert!(!world.roster.hears_multicast(leaver));
}

#[test]
fn without_an_answer_joining_ends_at_its_deadline() {
    let mut world = World::new(5, 1.0);
    world.start();
    world.run_for(Duration::from_millis(4990));
    assert!(world.nodes[0].events.is_empty());
    world.run_for(Duration::from_millis(20));
    assert_eq!(world.nodes[0].events, [EnrolmentEvent::NoAnswer]);
}

#[test]
fn a_closed_session_admits_nobody_and_a_small_one_is_told_why() {
    let mut world = World::new(6, 0.0);
    let applicant = Applicant {
        nonce: [1; 16],
        address: SocketAddr::from(([10, 0, 0, 1], 1)),
        name: "small".to_owned(),
        budget: MIB - 1,
    };
    let now = world.now;
    assert_eq!(
        world.roster.handle_join(now, applicant.clone()),
        Reply::BudgetTooSmall
    );
    world.roster.close();
    assert_eq!(world.roster.handle_join(now, applicant), Reply::Closing);
    assert_eq!(world.roster.members().count(), 0);
}

#[test]
fn cookies_that_come_without_end_make_a_joiner_ask_no_more_often() {
    let now = Instant::now();
    let settings = EnrolmentSettings {
        join_timeout: Duration::from_secs(10),
        heartbeat: Duration::from_millis(200),
        dead_after: Duration::from_secs(2),
    };
    let mut joiner = Enrolment::new(now, [1; 16], &[], settings);
    assert_eq!(joiner.poll_said(now), Some(Said::Join { cookie: None }));
    joiner.handle_retry(now, [1; 16], [0; 32]);
    let shown = Some([0; 32]);
    assert_eq!(
        joiner.poll_said(now),
        Some(Said::Join { cookie: shown }),
        "at once"
    );
    let mut asked = 0;
    for cookie in 1..=250 {
        let now = now + Duration::from_millis(cookie);
        joiner.handle_retry(now, [1; 16], [cookie as u8; 32]);
        while let Some(said) = joiner.poll_said(now) {
            // The newest: the coordinator may have forgotten the one before.
            let cookie = Some([cookie as u8; 32]);
            assert_eq!(said, Said::Join { cookie });
            asked += 1;
        }
    }
    assert!((2..=4).contains(&asked), "{asked} questions");
}
