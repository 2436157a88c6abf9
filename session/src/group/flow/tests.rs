//! A sender and its receivers over a simulated network that loses, doubles and reorders.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use bytes::Bytes;
use fastrand::Rng;

use super::{
    Budget, Inflow, InflowSettings, Outflow, OutflowSettings, ParityPacket, Piece, RecordKind, Refused,
    Report, Target,
};
use crate::group::MemberId;

const SEGMENT: usize = 32;

#[derive(Clone, Copy, Debug)]
struct Faults {
    loss: f64,
    duplicates: f64,
    delay: Duration,
    jitter: Duration,
}

const PERFECT: Faults = Faults {
    loss: 0.0,
    duplicates: 0.0,
    delay: Duration::from_micros(100),
    jitter: Duration::ZERO,
};

#[derive(Clone, Debug)]
enum Packet {
    Segment {
        number: u64,
        payload: Vec<u8>,
        answer: bool,
    },
    Parity {
        base: u64,
        count: u8,
        index: u8,
        answer: bool,
        payload: Vec<u8>,
    },
    Sync {
        start: Option<u64>,
        next: u64,
    },
    Report {
        from: MemberId,
        report: Report,
        echo: (u64, Duration),
    },
}

struct Node {
    id: MemberId,
    inflow: Inflow,
    budget: Budget,
    /// The newest packet, and when it came.
    newest: (u64, Instant),
    received: Vec<Bytes>,
    /// Does not receive messages, only segments.
    idle: bool,
}

struct World {
    now: Instant,
    rng: Rng,
    faults: Faults,
    wire: BTreeMap<(Instant, u64), (Option<usize>, u64, Packet)>,
    sent: u64,
    packets: u64,
    /// Segments that were thrown and did not arrive.
    lost: u64,
    window: u64,
    /// How many receivers each of them believes that there are.
    group: usize,
    /// Reports that ask for something.
    asked: u64,
    /// The share of packets to all that get lost before they are delivered to any.
    common_loss: f64,
    outflow: Outflow,
    nodes: Vec<Node>,
}

const SETTINGS: OutflowSettings = OutflowSettings {
    segment: SEGMENT,
    window: 256,
    quorum: None,
    skip: None,
    parity_from: None,
};

impl World {
    fn new(seed: u64, faults: Faults, receivers: u32) -> Self {
        World::with_settings(seed, faults, receivers, SETTINGS)
    }

    fn with_settings(seed: u64, faults: Faults, receivers: u32, settings: OutflowSettings) -> Self {
        let mut world = World {
            now: Instant::now(),
            rng: Rng::with_seed(seed),
            faults,
            wire: BTreeMap::new(),
            sent: 0,
            packets: 0,
            lost: 0,
            window: settings.window,
            group: receivers as usize,
            asked: 0,
            common_loss: 0.0,
            outflow: Outflow::new(settings),
            nodes: Vec::new(),
        };
        for id in 1..=receivers {
            world.join(id, 1 << 20);
        }
        world
    }

    fn join(&mut self, id: u32, budget: u64) {
        let id = MemberId(id);
        self.outflow.add_receiver(id);
        self.nodes.push(Node {
            id,
            inflow: Inflow::new(InflowSettings {
                window: self.window,
                segment: SEGMENT,
                max_message: budget,
                guard: Duration::from_micros(500),
                report_every: 32,
                report_delay: Duration::from_millis(2),
                group: self.group,
                seed: id.0.into(),
            }),
            budget: Budget::new(budget),
            newest: (0, self.now),
            received: Vec::new(),
            idle: false,
        });
    }

    fn leave(&mut self, id: u32) {
        self.outflow.remove_receiver(self.now, MemberId(id));
        self.nodes.retain(|node| node.id != MemberId(id));
        self.wire.clear();
    }

    fn push(&mut self, body: Vec<u8>) -> u64 {
        self.outflow.push(RecordKind::Message, Bytes::from(body))
    }

    fn throw(&mut self, to: Option<usize>, packet: &Packet) {
        self.packets += 1;
        let copies = 1 + usize::from(self.rng.f64() < self.faults.duplicates);
        for _ in 0..copies {
            if self.rng.f64() < self.faults.loss {
                self.lost += u64::from(matches!(packet, Packet::Segment { .. }));
                continue;
            }
            let at = self.now + self.faults.delay + self.faults.jitter.mul_f64(self.rng.f64());
            self.sent += 1;
            self.wire
                .insert((at, self.sent), (to, self.packets, packet.clone()));
        }
    }

    fn throw_to(&mut self, target: Target, packet: &Packet) {
        let number = self.packets + 1;
        if self.common_loss > 0.0 && self.rng.f64() < self.common_loss {
            self.packets = number;
            return;
        }
        for index in 0..self.nodes.len() {
            if target == Target::All || target == Target::One(self.nodes[index].id) {
                // The same packet, to whomever it goes.
                self.packets = number - 1;
                self.throw(Some(index), packet);
            }
        }
    }

    fn send(&mut self, piece: Piece) {
        match piece {
            Piece::Segment {
                number,
                target,
                answer,
                ..
            } => {
                let mut room = vec![0; SEGMENT];
                let payload = self.outflow.payload(number, &mut room).expect("it is kept");
                let payload = payload.to_vec();
                self.throw_to(
                    target,
                    &Packet::Segment {
                        number,
                        payload,
                        answer,
                    },
                );
            }
            Piece::Parity {
                base,
                count,
                index,
                answer,
            } => {
                let payload = self.outflow.parity(base, index).expect("it is there").to_vec();
                self.throw_to(
                    Target::All,
                    &Packet::Parity {
                        base,
                        count,
                        index,
                        answer,
                        payload,
                    },
                );
            }
            Piece::Sync { target, start, next } => self.throw_to(target, &Packet::Sync { start, next }),
        }
    }

    /// Lets everybody do what there is to do now.
    fn settle(&mut self) -> Result<(), Refused> {
        while let Some(piece) = self.outflow.poll_piece(self.now, self.packets + 1) {
            self.send(piece);
        }
        let mut asked = Vec::new();
        self.outflow.handle_timeout(self.now, &mut asked);
        for piece in asked {
            self.send(piece);
        }
        for index in 0..self.nodes.len() {
            let now = self.now;
            let node = &mut self.nodes[index];
            if !node.idle {
                while let Some((_, body)) = node.inflow.pop(now, &mut node.budget)? {
                    node.received.push(body);
                }
            }
            if node.budget.is_overdrawn() {
                node.inflow.shed(&mut node.budget);
            }
            if let Some(report) = node.inflow.poll_report(now) {
                let echo = (node.newest.0, now - node.newest.1);
                let from = node.id;
                self.asked += u64::from(!report.missing.is_empty());
                self.throw(None, &Packet::Report { from, report, echo });
            }
        }
        Ok(())
    }

    /// Moves on to the next moment at which something happens; false when there is none.
    fn step(&mut self) -> Result<bool, Refused> {
        self.settle()?;
        let wire = self.wire.keys().next().map(|key| key.0);
        let timers = self.nodes.iter().map(|node| node.inflow.poll_timeout(self.now));
        let next = timers.chain([wire, self.outflow.poll_timeout()]).flatten().min();
        let Some(next) = next else {
            return Ok(false);
        };
        self.now = self.now.max(next);
        while let Some(entry) = self.wire.first_entry()
            && entry.key().0 <= self.now
        {
            let (to, number, packet) = entry.remove();
            self.deliver(to, number, packet)?;
        }
        Ok(true)
    }

    fn deliver(&mut self, to: Option<usize>, packet_number: u64, packet: Packet) -> Result<(), Refused> {
        let now = self.now;
        if let Packet::Report { from, report, echo } = packet {
            self.outflow.handle_report(now, from, &report, echo);
            return Ok(());
        }
        let node = &mut self.nodes[to.expect("a receiver")];
        if packet_number > node.newest.0 {
            node.newest = (packet_number, now);
        }
        match packet {
            Packet::Segment {
                number,
                payload,
                answer,
            } => node
                .inflow
                .handle_segment(now, number, &payload, answer, &mut node.budget),
            Packet::Parity {
                base,
                count,
                index,
                answer,
                payload,
            } => {
                let parity = ParityPacket {
                    base,
                    count,
                    index,
                    answer,
                    payload: &payload,
                };
                node.inflow.handle_parity(now, &parity, &mut node.budget)
            }
            Packet::Sync { start, next } => node.inflow.handle_sync(now, start, next, &mut node.budget),
            Packet::Report { .. } => unreachable!("handled above"),
        }
    }

    /// Until everything was delivered and nothing more happens.
    fn finish(&mut self) -> Result<(), Refused> {
        let started = self.now;
        let last = self.outflow.settled();
        while self.step()? {
            assert!(
                self.now - started < Duration::from_secs(60),
                "stuck: settled {last} -> {}, {:?}",
                self.outflow.settled(),
                self.outflow
            );
        }
        Ok(())
    }
}

fn body(rng: &mut Rng, longest: usize) -> Vec<u8> {
    let len = match rng.u32(..4) {
        0 => 0,
        1 => rng.usize(..SEGMENT),
        _ => rng.usize(..=longest),
    };
    (0..len).map(|_| rng.u8(..)).collect()
}

#[test]
fn a_perfect_network_carries_every_message_once_and_nothing_twice() {
    let mut world = World::new(1, PERFECT, 3);
    let mut rng = Rng::with_seed(2);
    let messages: Vec<_> = (0..200).map(|_| body(&mut rng, 500)).collect();
    for message in &messages {
        world.push(message.clone());
    }
    world.finish().unwrap();
    for node in &world.nodes {
        assert_eq!(node.received, messages);
        assert_eq!(node.inflow.counters().duplicates, 0);
        assert_eq!(node.budget.used(), 0);
    }
    assert_eq!(world.outflow.settled(), 200);
    assert_eq!(world.outflow.bytes(), 0);
    assert_eq!(world.outflow.counters().repairs, 0);
}

#[test]
fn whatever_the_network_does_every_message_comes_once_and_in_order() {
    for seed in 0..60 {
        let mut rng = Rng::with_seed(seed);
        let faults = Faults {
            loss: rng.f64() * 0.4,
            duplicates: rng.f64() * 0.2,
            delay: Duration::from_micros(rng.u64(1..5000)),
            jitter: Duration::from_micros(rng.u64(..3000)),
        };
        let receivers = rng.u32(1..6);
        let mut world = World::new(seed, faults, receivers);
        let mut messages = Vec::new();
        for _ in 0..rng.usize(..60) {
            let message = body(&mut rng, 2000);
            world.push(message.clone());
            messages.push(message);
            for _ in 0..rng.u32(..20) {
                world.step().unwrap();
            }
        }
        world.finish().unwrap();
        for node in &world.nodes {
            assert_eq!(node.received, messages, "seed {seed}, {faults:?}");
            assert_eq!(node.budget.used(), 0, "seed {seed}");
        }
        assert_eq!(world.outflow.settled(), messages.len() as u64, "seed {seed}");
    }
}

/// Sends `segments` to three receivers; returns the time that took and the world then.
fn transfer(seed: u64, loss: f64, segments: usize) -> (Duration, World) {
    let mut world = World::new(seed, Faults { loss, ..PERFECT }, 3);
    // Where the flow begins all should know, so that only segments are repaired.
    world.push(b"first".to_vec());
    world.finish().unwrap();
    world.lost = 0;
    world.push(vec![7; segments * SEGMENT - 4]);
    let began = world.now;
    while world.outflow.settled() < 2 {
        assert!(world.step().unwrap(), "seed {seed}");
    }
    (world.now - began, world)
}

#[test]
fn little_more_is_sent_again_than_was_lost_and_it_takes_few_round_trips() {
    let segments = 20_000;
    let (lossless, _) = transfer(0, 0.0, segments);
    for (loss, excess, slower) in [(0.01, 0.05, 3.0), (0.05, 0.05, 4.5), (0.3, 0.1, 40.0)] {
        for seed in 0..3 {
            let (took, world) = transfer(seed, loss, segments);
            let repairs = world.outflow.counters().repairs as f64;
            let duplicates: u64 = world
                .nodes
                .iter()
                .map(|node| node.inflow.counters().duplicates)
                .sum();
            let context = format!(
                "seed {seed}, loss {loss}: {repairs} repairs of {} lost, {duplicates} duplicates, {took:?} instead of {lossless:?}",
                world.lost
            );

            assert!(repairs <= world.lost as f64 * (1.0 + excess), "{context}");
            // All wait for a window until its last gap is filled.
            assert!(took < lossless.mul_f64(slower), "{context}");
        }
    }
}

/// What is sent for `segments` to many receivers at 5 % loss each, as a share of what is new.
fn extra_traffic(seed: u64, receivers: u32, parity_from: Option<usize>, segments: usize) -> f64 {
    let faults = Faults {
        loss: 0.05,
        ..PERFECT
    };
    let mut world = World::with_settings(
        seed,
        faults,
        receivers,
        OutflowSettings {
            window: 1024,
            parity_from,
            ..SETTINGS
        },
    );
    let messages = [vec![1; 300], vec![7; segments * SEGMENT], vec![9; 300]];
    for message in &messages {
        world.push(message.clone());
    }
    world.finish().unwrap();
    for node in &world.nodes {
        assert_eq!(node.received, messages, "seed {seed}");
        assert_eq!(node.budget.used(), 0, "seed {seed}");
    }
    let counters = world.outflow.counters();
    (counters.repairs + counters.parities) as f64 / counters.segments as f64
}

#[test]
fn parity_repairs_many_receivers_with_little_extra_traffic() {
    for seed in 0..3 {
        let without = extra_traffic(seed, 16, None, 5_000);
        let with = extra_traffic(seed, 16, Some(8), 5_000);
        assert!(
            with < 0.2 && without > 0.5,
            "seed {seed}: {with} with parity, {without} without"
        );
        // Below that number it is not used.
        let few = extra_traffic(seed, 4, Some(8), 2_000);
        assert_eq!(few, extra_traffic(seed, 4, None, 2_000), "seed {seed}");
    }
}

#[test]
fn of_a_hundred_who_lack_the_same_few_ask() {
    for seed in 0..2 {
        let run = |group| {
            let settings = OutflowSettings {
                parity_from: Some(8),
                ..SETTINGS
            };
            let mut world = World::with_settings(seed, PERFECT, 100, settings);
            for node in &mut world.nodes {
                node.inflow.set_group(group);
            }
            world.push(vec![1; 300]);
            world.finish().unwrap();
            world.common_loss = 0.02;
            let before = world.outflow.counters().repairs;
            world.asked = 0;
            let message = vec![7; 1_000 * SEGMENT];
            world.push(message.clone());
            let began = world.now;
            while world.outflow.settled() < 2 {
                assert!(world.step().unwrap(), "seed {seed}");
            }
            let took = world.now - began;
            world.finish().unwrap();
            for node in &world.nodes {
                assert_eq!(node.received[1], message, "seed {seed}");
            }
            (world.asked, world.outflow.counters().repairs - before, took)
        };
        let (asked, repairs, took) = run(100);
        let (all_asked, _, at_once) = run(0);
        let context = format!(
            "seed {seed}: asked {asked} times in {took:?} for {repairs} repairs, instead of {all_asked} times in {at_once:?}"
        );
        assert!(asked < all_asked / 3, "{context}");
        assert!(repairs < 40, "{context}");
        assert!(took < 3 * at_once, "{context}");
    }
}

#[test]
fn with_parity_every_message_comes_once_and_in_order_too() {
    let mut rebuilt = 0;
    for seed in 0..40 {
        let mut rng = Rng::with_seed(seed);
        let faults = Faults {
            loss: rng.f64() * 0.3,
            duplicates: rng.f64() * 0.2,
            delay: Duration::from_micros(rng.u64(1..2000)),
            jitter: Duration::from_micros(rng.u64(..500)),
        };
        let receivers = rng.u32(2..10);
        let settings = OutflowSettings {
            parity_from: Some(2),
            ..SETTINGS
        };
        let mut world = World::with_settings(seed, faults, receivers, settings);
        // One has hardly any memory to spare, and cannot keep what it has passed on.
        world.nodes[0].budget = Budget::new(2200);
        let mut messages = Vec::new();
        for _ in 0..rng.usize(..60) {
            let message = body(&mut rng, 2000);
            world.push(message.clone());
            messages.push(message);
            for _ in 0..rng.u32(..20) {
                world.step().unwrap();
            }
        }
        world.finish().unwrap();
        for node in &world.nodes {
            assert_eq!(node.received, messages, "seed {seed}, {faults:?}");
            assert_eq!(node.budget.used(), 0, "seed {seed}");
        }
        rebuilt += world
            .nodes
            .iter()
            .map(|node| node.inflow.counters().rebuilt)
            .sum::<u64>();
        for mut node in world.nodes {
            node.inflow.clear(&mut node.budget);
            assert_eq!(node.budget.spare(), 0, "seed {seed}");
        }
    }
    assert!(rebuilt > 1000, "{rebuilt}");
}

#[test]
fn who_comes_late_gets_what_begins_after_that() {
    for seed in 0..60 {
        let mut rng = Rng::with_seed(seed);
        let faults = Faults {
            loss: rng.f64() * 0.2,
            ..PERFECT
        };
        let mut world = World::new(seed, faults, rng.u32(..3));
        let mut messages = Vec::new();
        let mut joined = Vec::new();
        for index in 0..40 {
            let message = body(&mut rng, 3000);
            world.push(message.clone());
            messages.push(message);
            for _ in 0..rng.u32(..10) {
                world.step().unwrap();
            }
            if index % 10 == 5 {
                joined.push(world.nodes.len());
                world.join(100 + index, 1 << 20);
            }
        }
        world.finish().unwrap();
        for (index, node) in world.nodes.iter().enumerate() {
            let missed = messages.len() - node.received.len();
            assert_eq!(node.received, messages[missed..], "seed {seed}");
            assert!(joined.contains(&index) || missed == 0, "seed {seed}");
        }
    }
}

#[test]
fn who_goes_holds_up_nobody_and_is_named() {
    let mut world = World::new(3, PERFECT, 2);
    world.push(b"first".to_vec());
    world.finish().unwrap();
    world.faults.loss = 1.0;
    let number = world.push(b"second".to_vec());
    for _ in 0..10 {
        world.step().unwrap();
    }
    assert_eq!(world.outflow.settled(), number);
    world.leave(1);
    world.faults.loss = 0.0;
    world.finish().unwrap();
    assert_eq!(world.outflow.settled(), number + 1);
    assert_eq!(
        world.outflow.missed(number..=number).collect::<Vec<_>>(),
        [MemberId(1)]
    );
    assert_eq!(world.outflow.missed(number - 1..=number - 1).count(), 0);
    assert_eq!(world.nodes[0].received, [&b"first"[..], b"second"]);
    world.leave(2);
    let third = world.push(b"third".to_vec());
    assert_eq!(
        (
            world.outflow.settled(),
            world.outflow.missed(third..=third).count()
        ),
        (third + 1, 0)
    );
}

#[test]
fn who_does_not_receive_stops_the_sender_within_its_budget() {
    let mut world = World::new(4, PERFECT, 1);
    world.join(2, 4096);
    world.nodes[1].idle = true;
    let messages: Vec<_> = (0..200_u8).map(|index| vec![index; 300]).collect();
    for message in &messages {
        world.push(message.clone());
    }
    for _ in 0..20_000 {
        world.step().unwrap();
    }
    assert!(world.outflow.settled() < 200);
    assert!(world.nodes[1].budget.used() <= 4096);
    let waited = world.now + Duration::from_secs(3);
    assert_eq!(
        world
            .outflow
            .blockers(waited, Duration::from_secs(1))
            .collect::<Vec<_>>(),
        [MemberId(2)]
    );
    world.nodes[1].idle = false;
    world.finish().unwrap();
    assert_eq!(world.nodes[1].received, messages);
    assert_eq!(world.outflow.settled(), 200);
}

#[test]
fn a_window_opens_again_even_if_the_report_that_says_so_is_lost() {
    let settings = OutflowSettings {
        window: 8,
        ..SETTINGS
    };
    for budget in (1000..3000).step_by(64) {
        let mut world = World::with_settings(4, PERFECT, 0, settings);
        world.join(1, budget);
        world.nodes[0].idle = true;
        let messages: Vec<_> = (0..40_u8).map(|index| vec![index; 300]).collect();
        for message in &messages {
            world.push(message.clone());
        }
        for _ in 0..1000 {
            world.step().unwrap();
        }
        // It takes what has come, and says that there is room for more; which nobody hears.
        world.wire.clear();
        world.nodes[0].idle = false;
        world.faults.loss = 1.0;
        world.settle().unwrap();
        world.faults.loss = 0.0;
        world.finish().unwrap();
        assert_eq!(world.nodes[0].received, messages, "{budget}");
    }
}

#[test]
fn an_empty_message_at_the_end_waits_for_memory_and_no_longer() {
    let mut world = World::new(4, PERFECT, 0);
    world.join(1, 1000);
    world.nodes[0].idle = true;
    let messages = [vec![1; 900], Vec::new()];
    for message in &messages {
        world.push(message.clone());
    }
    world.finish().unwrap();
    assert_eq!(world.nodes[0].budget.used(), 964, "no room for another one");
    world.nodes[0].idle = false;
    world.finish().unwrap();
    assert_eq!(world.nodes[0].received, messages);
}

#[test]
fn with_a_quorum_the_slow_ones_are_not_waited_for() {
    let mut world = World::new(5, PERFECT, 2);
    world.outflow = Outflow::new(OutflowSettings {
        segment: SEGMENT,
        window: 256,
        quorum: Some(1),
        skip: None,
        parity_from: None,
    });
    world.outflow.add_receiver(MemberId(1));
    world.outflow.add_receiver(MemberId(2));
    world.nodes[1].idle = true;
    world.nodes[1].budget = Budget::new(1000);
    for _ in 0..40 {
        world.push(vec![7; 300]);
    }
    for _ in 0..5_000 {
        world.step().unwrap();
    }
    assert_eq!(world.nodes[0].received.len(), 40);
    assert!(world.outflow.settled() < 40);
}

#[test]
fn those_who_lag_skip_to_the_newest_and_get_the_rest_in_order() {
    for seed in 0..16 {
        let faults = Faults {
            loss: 0.05,
            ..PERFECT
        };
        let mut world = World::new(seed, faults, 2);
        world.outflow = Outflow::new(OutflowSettings {
            segment: SEGMENT,
            window: 256,
            quorum: Some(1),
            skip: Some(512),
            parity_from: None,
        });
        world.outflow.add_receiver(MemberId(1));
        world.outflow.add_receiver(MemberId(2));
        world.nodes[1].idle = true;
        world.nodes[1].budget = Budget::new(4000);
        let body = |number: u32| number.to_be_bytes().repeat(100);
        let count = 300;
        for number in 0..count {
            world.push(body(number));
        }
        for _ in 0..100_000 {
            if world.nodes[0].received.len() == count as usize {
                break;
            }
            world.step().unwrap();
        }
        assert_eq!(
            world.nodes[0].received.len(),
            count as usize,
            "seed {seed}: nobody was waited for"
        );
        assert!(
            world.outflow.bytes() <= 3 * 256 * SEGMENT as u64,
            "seed {seed}: bounded"
        );
        let missed = world.outflow.missed(150..=150).next();
        assert_eq!(
            missed,
            Some(MemberId(2)),
            "seed {seed}: it is said who has not got it"
        );
        world.nodes[1].idle = false;
        let last = world.push(body(count));
        for _ in 0..100_000 {
            if world.outflow.settled() > last {
                break;
            }
            world.step().unwrap();
        }
        world.finish().unwrap();
        let numbers: Vec<u32> = world.nodes[1]
            .received
            .iter()
            .map(|body| u32::from_be_bytes(*body.first_chunk().expect("a number")))
            .collect();
        assert!(
            numbers.is_sorted_by(|one, next| one < next),
            "seed {seed}: {numbers:?}"
        );
        assert_eq!(numbers.last(), Some(&count), "seed {seed}");
        assert!(numbers.len() < count as usize, "seed {seed}: it skipped");
        let whole = world.nodes[1]
            .received
            .iter()
            .zip(&numbers)
            .all(|(got, number)| *got == body(*number));
        assert!(whole, "seed {seed}: no mixture of two messages");
    }
}

#[test]
fn who_skipped_goes_on_when_the_one_that_was_ahead_takes_nothing_more() {
    for seed in 0..16 {
        let settings = OutflowSettings {
            quorum: Some(1),
            skip: Some(128),
            ..SETTINGS
        };
        let mut world = World::with_settings(seed, PERFECT, 0, settings);
        // Neither reads. There is room for a little at one, and for much more at the other.
        world.join(1, 2000);
        world.join(2, 20_000 + 500 * seed);
        world.nodes.iter_mut().for_each(|node| node.idle = true);
        let body = |number: u32| number.to_be_bytes().repeat(100);
        for number in 0..300 {
            world.push(body(number));
        }
        for _ in 0..20_000 {
            world.step().unwrap();
        }
        world.nodes[0].idle = false;
        for _ in 0..20_000 {
            world.step().unwrap();
        }
        let newest = world.nodes[0].received.last();
        assert_eq!(
            newest,
            Some(&body(299).into()),
            "seed {seed}: it waits for the other one"
        );
    }
}

#[test]
fn a_message_that_is_too_large_is_refused_with_the_numbers() {
    let mut world = World::new(6, PERFECT, 1);
    world.nodes[0].budget = Budget::new(1000);
    // As long as all memory: there is nothing else then.
    world.push(vec![0; 1000]);
    assert!((0..1000).all(|_| world.step().is_ok()));
    assert_eq!(world.nodes[0].received.len(), 1);
    world.push(vec![0; 1001]);
    let refused = (0..100).find_map(|_| world.step().err());
    assert_eq!(
        refused,
        Some(Refused::TooLarge {
            length: 1001,
            limit: 1000
        })
    );
}

#[test]
fn what_comes_before_its_turn_takes_no_more_than_a_window_whatever_is_sent() {
    const WINDOW: u64 = 100;
    let now = Instant::now();
    let mut budget = Budget::new(0);
    let mut inflow = Inflow::new(InflowSettings {
        window: WINDOW,
        segment: SEGMENT,
        max_message: 1 << 20,
        guard: Duration::from_millis(1),
        report_every: 32,
        report_delay: Duration::from_millis(2),
        group: 1,
        seed: 1,
    });
    inflow
        .handle_sync(now, Some(0), u64::MAX >> 2, &mut budget)
        .expect("it begins");
    let most = WINDOW * SEGMENT as u64;
    // The first never comes, and neither what was promised nor how large a segment is means anything to the sender.
    for number in (1..10 * WINDOW).chain([u64::MAX >> 2, u64::MAX]) {
        for len in [SEGMENT + 1, 60_000, SEGMENT] {
            let payload = vec![7; len];
            inflow
                .handle_segment(now, number, &payload, number % 7 == 0, &mut budget)
                .expect("it is kept or dropped");
            inflow.poll_report(now);
            assert!(inflow.early_bytes() <= most, "{} bytes", inflow.early_bytes());
        }
    }
    assert_eq!(inflow.early_bytes(), most - SEGMENT as u64, "all but the first");
    assert_eq!(inflow.counters().segments, WINDOW - 1);
    inflow.finish(&mut budget);
    assert_eq!(inflow.early_bytes(), 0);
}
