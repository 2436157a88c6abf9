//! A hub and its seats over a network that loses, doubles and reorders.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use fastrand::Rng;

use super::{Hub, Outcome, Seat};
use crate::group::MemberId;

enum Packet {
    Arrive(u32, u64),
    Outcome(u32, u64, Outcome),
}

struct World {
    now: Instant,
    rng: Rng,
    loss: f64,
    hub: Hub,
    seats: BTreeMap<u32, Seat>,
    wire: BTreeMap<(Instant, u64), Packet>,
    sent: u64,
    /// How each round ended, for each member.
    ended: BTreeMap<u32, Vec<Outcome>>,
    killed: BTreeSet<u32>,
}

impl World {
    fn new(seed: u64, loss: f64, members: u32) -> Self {
        let mut world = World {
            now: Instant::now(),
            rng: Rng::with_seed(seed),
            loss,
            hub: Hub::new(),
            seats: BTreeMap::new(),
            wire: BTreeMap::new(),
            sent: 0,
            ended: BTreeMap::new(),
            killed: BTreeSet::new(),
        };
        (1..=members).for_each(|id| world.join(id));
        world
    }

    fn join(&mut self, id: u32) {
        let first = self.hub.add(MemberId(id));
        self.seats.insert(id, Seat::new(first));
    }

    fn lose(&mut self, id: u32) {
        self.seats.remove(&id);
        self.killed.insert(id);
        self.hub.remove(MemberId(id), true);
    }

    fn throw(&mut self, packet: impl Fn() -> Packet) {
        for _ in 0..1 + usize::from(self.rng.f64() < 0.1) {
            if self.rng.f64() >= self.loss {
                let at = self.now + Duration::from_micros(self.rng.u64(10..3000));
                self.sent += 1;
                self.wire.insert((at, self.sent), packet());
            }
        }
    }

    fn step(&mut self) {
        let now = self.now;
        let arrivals: Vec<_> = self
            .seats
            .iter_mut()
            .filter_map(|(&id, seat)| Some((id, seat.poll_arrive(now)?)))
            .collect();
        for (id, round) in arrivals {
            self.throw(|| Packet::Arrive(id, round));
        }
        while let Some(signal) = self.hub.poll_signal() {
            let all: Vec<_> = self.seats.keys().copied().collect();
            for id in all {
                if signal.to.is_none_or(|to| to == MemberId(id)) {
                    self.throw(|| Packet::Outcome(id, signal.round, signal.outcome.clone()));
                }
            }
        }
        let timers = self.seats.values().filter_map(Seat::poll_timeout);
        let wire = self.wire.keys().next().map(|key| key.0);
        let Some(next) = timers.chain(wire).min() else {
            return;
        };
        self.now = self.now.max(next);
        while let Some(entry) = self.wire.first_entry()
            && entry.key().0 <= self.now
        {
            match entry.remove() {
                Packet::Arrive(id, round) => self.hub.handle_arrive(MemberId(id), round),
                Packet::Outcome(id, round, outcome) => {
                    let now = self.now;
                    if let Some(seat) = self.seats.get_mut(&id) {
                        seat.handle_outcome(now, round, outcome);
                        if let Some(outcome) = seat.take_outcome() {
                            self.ended.entry(id).or_default().push(outcome);
                        }
                    }
                }
            }
        }
    }

    fn arrive(&mut self, id: u32) {
        let now = self.now;
        self.seats.get_mut(&id).expect("a seat").arrive(now);
    }

    fn rounds(&self, id: u32) -> usize {
        self.ended.get(&id).map_or(0, Vec::len)
    }
}

#[test]
fn nobody_goes_on_before_all_have_come() {
    for seed in 0..100 {
        let mut rng = Rng::with_seed(seed);
        let members = rng.u32(1..8);
        let mut world = World::new(seed, rng.f64() * 0.5, members);
        for round in 0..20 {
            let mut order: Vec<_> = (1..=members).collect();
            rng.shuffle(&mut order);
            for (index, &id) in order.iter().enumerate() {
                for _ in 0..rng.u32(..10) {
                    world.step();
                }
                let early = order[..index].iter().filter(|id| world.rounds(**id) > round);
                assert_eq!(early.count(), 0, "seed {seed}");
                world.arrive(id);
            }
            let limit = world.now + Duration::from_secs(20);
            while order.iter().any(|id| world.rounds(*id) == round) {
                world.step();
                assert!(world.now < limit, "seed {seed}, round {round}");
            }
        }
        for outcomes in world.ended.values() {
            assert!(outcomes.iter().all(|outcome| *outcome == Outcome::Released));
        }
    }
}

#[test]
fn who_joins_while_others_wait_does_not_hold_them_up() {
    let mut world = World::new(1, 0.0, 2);
    world.arrive(1);
    world.step();
    world.step();
    world.join(3);
    // The newcomer is at the barrier before its first round has begun.
    world.arrive(3);
    world.arrive(2);
    for _ in 0..20 {
        world.step();
    }
    assert_eq!([1, 2, 3].map(|id| world.rounds(id)), [1, 1, 0]);
    assert_eq!(world.hub.round(), 2);
    world.arrive(1);
    world.arrive(2);
    for _ in 0..50 {
        world.step();
    }
    assert_eq!([1, 2, 3].map(|id| world.rounds(id)), [2, 2, 1]);
}

#[test]
fn all_survivors_of_a_round_hear_the_same_of_who_was_lost() {
    for seed in 0..200 {
        let mut rng = Rng::with_seed(seed);
        let members = rng.u32(3..8);
        let mut world = World::new(seed, rng.f64() * 0.3, members);
        let lost = rng.u32(1..=members);
        for id in (1..=members).filter(|id| *id != lost) {
            world.arrive(id);
        }
        for _ in 0..rng.u32(2..20) {
            world.step();
        }
        world.lose(lost);
        let limit = world.now + Duration::from_secs(20);
        while world.seats.keys().any(|id| world.rounds(*id) == 0) {
            world.step();
            assert!(world.now < limit, "seed {seed}");
        }
        let outcomes: BTreeSet<_> = world
            .seats
            .keys()
            .map(|id| format!("{:?}", world.ended[id][0]))
            .collect();
        assert_eq!(outcomes.len(), 1, "seed {seed}: {outcomes:?}");
    }
}

#[test]
fn who_leaves_is_not_waited_for() {
    let mut world = World::new(2, 0.0, 3);
    world.arrive(1);
    world.arrive(2);
    for _ in 0..10 {
        world.step();
    }
    world.seats.remove(&3);
    world.hub.remove(MemberId(3), false);
    for _ in 0..10 {
        world.step();
    }
    assert_eq!(world.ended[&1], [Outcome::Released]);
    assert_eq!(world.ended[&2], [Outcome::Released]);
}

#[test]
fn arrivals_of_strangers_and_of_times_to_come_mean_nothing() {
    let mut hub = Hub::new();
    hub.add(MemberId(1));
    hub.handle_arrive(MemberId(9), 1);
    hub.handle_arrive(MemberId(1), 7);
    assert_eq!((hub.poll_signal(), hub.round()), (None, 1));
    hub.handle_arrive(MemberId(1), 1);
    assert_eq!(hub.poll_signal().map(|signal| signal.round), Some(1));
}

#[test]
fn a_barrier_that_ends_still_says_how_its_last_round_ended() {
    let mut hub = Hub::new();
    let (one, other) = (MemberId(1), MemberId(2));
    hub.add(one);
    hub.add(other);
    hub.handle_arrive(one, 1);
    hub.handle_arrive(other, 1);
    hub.give_up(MemberId(0));
    let released = hub.poll_signal().map(|signal| signal.outcome);
    assert_eq!((released, hub.poll_signal()), (Some(Outcome::Released), None));
    // The release was lost on its way to one of them, and the other has come again.
    hub.handle_arrive(one, 1);
    let signal = hub.poll_signal().expect("an answer");
    assert_eq!((signal.to, signal.outcome), (Some(one), Outcome::Released));
    hub.handle_arrive(other, 2);
    let signal = hub.poll_signal().expect("an answer");
    assert_eq!(
        (signal.round, signal.outcome),
        (2, Outcome::Aborted(vec![MemberId(0)]))
    );
}

#[test]
fn who_comes_before_the_coordinator_does_takes_part_at_once() {
    let mut hub = Hub::new();
    assert_eq!(hub.add(MemberId::COORDINATOR), 1);
    assert_eq!(hub.add(MemberId(1)), 1);
    hub.handle_arrive(MemberId(1), 1);
    assert_eq!(hub.add(MemberId(2)), 1, "the coordinator has not come");
    hub.handle_arrive(MemberId::COORDINATOR, 1);
    assert_eq!(hub.poll_signal(), None, "one has not come");
    assert_eq!(hub.add(MemberId(3)), 2, "the coordinator waits");
    hub.handle_arrive(MemberId(2), 1);
    assert!(
        hub.poll_signal()
            .is_some_and(|signal| signal.outcome == Outcome::Released)
    );
    assert_eq!(hub.round(), 2);
}

#[test]
fn who_comes_early_does_not_wait_for_a_round_in_which_nobody_is_left() {
    let mut hub = Hub::new();
    let [one, late] = [1, 2].map(MemberId);
    assert_eq!(hub.add(one), 1);
    hub.handle_arrive(one, 1);
    assert_eq!(hub.round(), 2);
    hub.handle_arrive(one, 2);
    assert_eq!(hub.round(), 3);
    let other = MemberId(3);
    assert_eq!(hub.add(other), 3);
    hub.handle_arrive(one, 3);
    assert_eq!(hub.add(late), 4);
    hub.handle_arrive(late, 4);
    while hub.poll_signal().is_some() {}
    hub.remove(one, false);
    hub.remove(other, false);
    let signals: Vec<_> = std::iter::from_fn(|| hub.poll_signal()).collect();
    let released = |signal: &super::Signal| signal.round == 4 && signal.outcome == Outcome::Released;
    assert!(signals.iter().any(released), "{signals:?}");
}
