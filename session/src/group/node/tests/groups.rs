//! Barrier and broadcast groups over the simulated network.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use fastrand::Rng;
use flexbond_transport::simnet::Path;
use flexbond_wire::group::{ChannelKind, ChannelRefusal};

use super::{DEAD_AFTER, World, rough};
use crate::group::MemberId;
use crate::group::barrier::Outcome;
use crate::group::flow::RecordKind;

const BARRIER: u16 = 1;

/// What a host does at the barrier.
#[derive(Debug, Default)]
struct Visitor {
    request: Option<u32>,
    /// The round that it comes to next, once it takes part.
    round: Option<u64>,
    waits: bool,
    /// How each round ended that it came to.
    outcomes: BTreeMap<u64, Outcome>,
}

/// A session whose coordinator has a barrier, and what its hosts do there.
struct Hall {
    world: World,
    visitors: Vec<Visitor>,
    /// Who has come to which round.
    arrived: BTreeMap<u64, BTreeSet<usize>>,
}

impl Hall {
    fn new(seed: u64, multicast: bool, path: Path, members: usize, participate: bool) -> Self {
        let mut world = World::new(seed, multicast, path);
        for _ in 0..members {
            world.join();
        }
        world.run_until(&format!("seed {seed}: all in"), World::all_in);
        let coordinator = &mut world.hosts[0].node;
        coordinator
            .host_barrier(BARRIER, participate)
            .expect("it is free");
        let mut hall = Hall {
            visitors: (0..=members).map(|_| Visitor::default()).collect(),
            world,
            arrived: BTreeMap::new(),
        };
        hall.visitors[0].round = participate.then_some(1);
        hall
    }

    fn now(&self) -> std::time::Instant {
        self.world.start + self.world.now
    }

    fn join(&mut self, index: usize) {
        let now = self.now();
        let node = &mut self.world.hosts[index].node;
        self.visitors[index].request = Some(node.join_channel(now, BARRIER, ChannelKind::Barrier));
    }

    fn arrive(&mut self, index: usize) {
        let now = self.now();
        if let Some(round) = self.visitors[index].round
            && !self.visitors[index].waits
        {
            self.visitors[index].waits = true;
            self.arrived.entry(round).or_default().insert(index);
            self.world.hosts[index].node.arrive(now, BARRIER);
        }
    }

    /// Takes note of what has come, and checks that nobody was let go too early.
    fn look(&mut self, what: &str) {
        for index in 0..self.visitors.len() {
            let host = &mut self.world.hosts[index];
            let visitor = &mut self.visitors[index];
            if host.killed {
                continue;
            }
            if let Some(answer) = visitor.request.and_then(|request| host.node.take_reply(request)) {
                visitor.request = None;
                visitor.round = Some(answer.expect("it is let in"));
            }
            let Some(outcome) = host.node.take_outcome(BARRIER) else {
                continue;
            };
            assert!(std::mem::take(&mut visitor.waits), "{what}: {index} did not wait");
            let round = visitor.round.expect("it takes part");
            visitor.round = Some(round + 1);
            if outcome == Outcome::Released {
                for (other, there) in self.visitors.iter().enumerate() {
                    let expected = !self.world.hosts[other].killed
                        && there
                            .round
                            .is_some_and(|at| at < round || (at == round && !there.waits));
                    assert!(
                        !expected,
                        "{what}: {index} went from round {round} without {other}"
                    );
                }
            }
            self.visitors[index].outcomes.insert(round, outcome);
        }
    }

    fn run_until(&mut self, what: &str, mut done: impl FnMut(&Self) -> bool) {
        let until = self.world.now + Duration::from_secs(60);
        while !done(self) {
            assert!(self.world.now < until, "{what}: {:?}", self.visitors);
            self.world.step(until);
            self.look(what);
        }
    }

    /// All who came to the same round saw it end the same way.
    fn check_agreement(&self, what: &str) {
        let mut ends: BTreeMap<u64, &Outcome> = BTreeMap::new();
        for (index, visitor) in self.visitors.iter().enumerate() {
            for (round, outcome) in &visitor.outcomes {
                let known = ends.entry(*round).or_insert(outcome);
                assert_eq!(*known, outcome, "{what}: round {round} at {index}");
            }
        }
    }
}

#[test]
pub(super) fn nobody_goes_on_before_all_have_come_whatever_the_network_does() {
    for seed in 0..24 {
        let mut rng = Rng::with_seed(seed);
        let what = format!("seed {seed}");
        let members = rng.usize(1..5);
        let path = rough(&mut rng);
        let mut hall = Hall::new(seed, seed % 2 == 0, path, members, seed % 3 > 0);
        (1..=members).for_each(|index| hall.join(index));
        hall.run_until(&what, |hall| {
            hall.visitors[1..].iter().all(|visitor| visitor.round.is_some())
        });
        // From here on all take part in every round.
        let rounds = 20;
        let done = |hall: &Hall| {
            let mut takers = hall.visitors.iter().filter(|visitor| visitor.round.is_some());
            takers.all(|visitor| visitor.outcomes.len() >= rounds)
        };
        while !done(&hall) {
            let index = rng.usize(..=members);
            if hall.visitors[index].outcomes.len() < rounds {
                hall.arrive(index);
            }
            let waits = |visitor: &Visitor| visitor.round.is_none() || visitor.waits;
            if hall.visitors.iter().all(waits) {
                let before: usize = hall.visitors.iter().map(|visitor| visitor.outcomes.len()).sum();
                hall.run_until(&what, |hall| {
                    hall.visitors
                        .iter()
                        .map(|visitor| visitor.outcomes.len())
                        .sum::<usize>()
                        > before
                });
            } else {
                hall.world.run_for(Duration::from_micros(rng.u64(..500)));
                hall.look(&what);
            }
        }
        hall.check_agreement(&what);
    }
}

#[test]
pub(super) fn a_member_killed_at_the_barrier_is_named_to_all_who_wait_and_they_go_on() {
    for seed in 0..12 {
        let what = format!("seed {seed}");
        let path = Path::default().delay(Duration::from_micros(100)).loss(0.02);
        let mut hall = Hall::new(seed, seed % 2 == 0, path, 3, true);
        (1..=3).for_each(|index| hall.join(index));
        hall.run_until(&what, |hall| {
            hall.visitors[1..].iter().all(|visitor| visitor.round.is_some())
        });
        (0..=3).for_each(|index| hall.arrive(index));
        hall.run_until(&what, |hall| {
            hall.visitors.iter().all(|visitor| visitor.outcomes.len() == 1)
        });
        let victim = hall.world.id(2);
        hall.world.hosts[2].killed = true;
        let killed = hall.world.now;
        [0, 1, 3].into_iter().for_each(|index| hall.arrive(index));
        let ended = |hall: &Hall| {
            [0, 1, 3]
                .iter()
                .all(|index| hall.visitors[*index].outcomes.len() == 2)
        };
        hall.run_until(&what, ended);
        assert!(
            hall.world.now - killed <= DEAD_AFTER + Duration::from_millis(500),
            "{what}"
        );
        assert_eq!(
            hall.visitors[0].outcomes.last_key_value(),
            Some((&2, &Outcome::Aborted(vec![victim])))
        );
        hall.check_agreement(&what);
        [0, 1, 3].into_iter().for_each(|index| hall.arrive(index));
        hall.run_until(&what, |hall| {
            [0, 1, 3]
                .iter()
                .all(|index| hall.visitors[*index].outcomes.len() == 3)
        });
        assert_eq!(hall.visitors[3].outcomes[&3], Outcome::Released, "{what}");
    }
}

#[test]
pub(super) fn who_asks_for_a_group_that_is_not_there_or_of_another_kind_is_told() {
    let mut world = World::new(5, false, Path::default().delay(Duration::from_micros(100)));
    world.join();
    world.run_until("all in", World::all_in);
    let ask = |world: &mut World, channel, kind| {
        let now = world.start + world.now;
        let request = world.hosts[1].node.join_channel(now, channel, kind);
        let mut answer = None;
        let until = world.now + Duration::from_secs(30);
        while answer.is_none() {
            assert!(world.now < until, "no answer");
            world.step(until);
            answer = world.hosts[1].node.take_reply(request);
        }
        answer
    };
    let began = world.now;
    let answer = ask(&mut world, 7, ChannelKind::Barrier);
    assert_eq!(answer, Some(Err(Some(ChannelRefusal::Unknown))));
    let waited = world.now - began;
    assert!(
        waited >= Duration::from_secs(10) && waited < Duration::from_secs(11),
        "{waited:?}"
    );
    world.hosts[0].node.host_broadcast(7).expect("it is free");
    let answer = ask(&mut world, 7, ChannelKind::Barrier);
    assert_eq!(answer, Some(Err(Some(ChannelRefusal::WrongKind))));
    assert_eq!(ask(&mut world, 7, ChannelKind::Broadcast), Some(Ok(0)));
}

#[test]
pub(super) fn broadcast_groups_reach_their_members_alone_and_do_not_wait_for_each_other() {
    for seed in 0..8 {
        let mut rng = Rng::with_seed(seed);
        let path = rough(&mut rng);
        let mut world = World::new(seed, seed % 2 == 0, path);
        for _ in 0..3 {
            world.join();
        }
        world.run_until(&format!("seed {seed}: all in"), World::all_in);
        let now = world.start + world.now;
        for channel in [1, 2] {
            world.hosts[0].node.host_broadcast(channel).expect("it is free");
        }
        for (host, channel) in [(1, 1), (2, 1), (2, 2), (3, 2)] {
            world.hosts[host]
                .node
                .join_channel(now, channel, ChannelKind::Broadcast);
        }
        let joined = |world: &World| {
            [(1, 1), (2, 1), (2, 2), (3, 2)]
                .iter()
                .all(|(host, channel)| world.hosts[*host].node.has_channel(*channel))
        };
        world.run_until(&format!("seed {seed}: joined"), joined);
        let mut sent: BTreeMap<u16, Vec<Bytes>> = BTreeMap::new();
        for _ in 0..20 {
            let channel = rng.u16(1..3);
            let body: Bytes = (0..rng.usize(..2000)).map(|_| rng.u8(..)).collect();
            let node = &mut world.hosts[0].node;
            node.push(channel, RecordKind::Message, &body).expect("it is in");
            sent.entry(channel).or_default().push(body);
            world.run_for(Duration::from_micros(rng.u64(..2000)));
        }
        let settled = |world: &World| {
            let node = &world.hosts[0].node;
            sent.iter()
                .all(|(channel, bodies)| node.settled(*channel) == bodies.len() as u64)
        };
        world.run_until(&format!("seed {seed}: delivered"), settled);
        for (host, channel) in [(1, 1), (2, 1), (2, 2), (3, 2)] {
            let now = world.start + world.now;
            let node = &mut world.hosts[host].node;
            let got: Vec<_> = std::iter::from_fn(|| node.pop(now, channel)).collect();
            assert!(got.iter().all(|popped| popped.from == MemberId::COORDINATOR));
            let bodies: Vec<_> = got.into_iter().map(|popped| popped.body).collect();
            assert_eq!(bodies, sent[&channel], "seed {seed}: group {channel} at {host}");
        }
        // Nobody reads group 1 any more, and group 2 goes on.
        let mut number = 0;
        for _ in 0..6 {
            let body = Bytes::from(vec![1; 1 << 17]);
            let node = &mut world.hosts[0].node;
            let _ = node.push(1, RecordKind::Message, &body);
            number = node
                .push(2, RecordKind::Message, &Bytes::from_static(b"go on"))
                .expect("it is in");
        }
        world.run_until(&format!("seed {seed}: goes on"), |world| {
            world.hosts[0].node.settled(2) > number
        });
    }
}

#[test]
pub(super) fn who_goes_and_comes_back_at_once_begins_anew() {
    let path = Path::default().delay(Duration::from_micros(100));
    let mut hall = Hall::new(9, false, path, 1, true);
    hall.world.hosts[0].node.host_broadcast(2).expect("it is free");
    hall.join(1);
    hall.run_until("let in", |hall| hall.visitors[1].round.is_some());
    for round in 1..5 {
        (0..=1).for_each(|index| hall.arrive(index));
        hall.run_until("released", |hall| {
            hall.visitors
                .iter()
                .all(|visitor| visitor.outcomes.len() == round)
        });
    }
    for number in 0..3 {
        let now = hall.now();
        hall.world.hosts[1].node.leave_channel(now, BARRIER);
        hall.join(1);
        let node = &mut hall.world.hosts[1].node;
        node.leave_channel(now, 2);
        let request = node.join_channel(now, 2, ChannelKind::Broadcast);
        hall.visitors[1].round = None;
        hall.run_until("let in again", |hall| hall.visitors[1].round.is_some());
        assert_eq!(hall.visitors[1].round, Some(5 + number));
        (0..=1).for_each(|index| hall.arrive(index));
        hall.run_until("released again", |hall| {
            hall.visitors.iter().all(|visitor| !visitor.waits)
        });
        assert_eq!(hall.world.hosts[1].node.take_reply(request), Some(Ok(0)));
        let node = &mut hall.world.hosts[0].node;
        let body = Bytes::from(vec![7; 1000]);
        let sent = node.push(2, RecordKind::Message, &body).expect("it is in");
        hall.run_until("delivered again", |hall| {
            hall.world.hosts[0].node.settled(2) > sent
        });
        let now = hall.now();
        let popped = hall.world.hosts[1].node.pop(now, 2);
        assert_eq!(popped.map(|popped| popped.body), Some(body));
    }
}
