//! Whole sessions over the simulated network.

use std::collections::BTreeMap;
use std::hash::RandomState;
use std::net::{IpAddr, SocketAddr};
use std::ops::Range;
use std::time::{Duration, Instant};

use bytes::Bytes;
use fastrand::Rng;
use flexbond_transport::Transmit;
use flexbond_transport::simnet::{Config, Delivery, Network, Path};

use super::landing::Landing;
use super::receive::LANDING;
use super::{Ending, Event, Node, NodeSettings, PushError};
use crate::group::MemberId;
use crate::group::flow::RecordKind;

#[cfg(feature = "group-crypto")]
mod keys;
#[cfg(feature = "group-crypto")]
mod passed_on;
#[cfg(feature = "group-crypto")]
mod secrecy;

const DEAD_AFTER: Duration = Duration::from_secs(2);

pub(crate) fn settings(multicast: bool) -> NodeSettings {
    NodeSettings {
        multicast: multicast.then(|| SocketAddr::from(([239, 1, 2, 3], 4000))),
        is_anywhere: false,
        segment: 200,
        window: 128 * 200,
        recv_budget: 1 << 20,
        least_budget: 0,
        max_message: 1 << 18,
        send_budget: 1 << 30,
        quorum: None,
        skip: false,
        parity_from: None,
        seed: 0,
        evict_after: None,
        heartbeat: Duration::from_millis(200),
        dead_after: DEAD_AFTER,
        join_timeout: Duration::from_secs(10),
        max_members: 16,
        name: "tested".to_owned(),
        #[cfg(feature = "group-crypto")]
        key: keys::in_use(),
        #[cfg(feature = "group-crypto")]
        entropy: keys::entropy(),
    }
}

struct Host {
    address: SocketAddr,
    node: Node,
    killed: bool,
    /// Whether its process stands still: it is not looked after, and what comes waits.
    stopped: bool,
    /// Whether it has nothing more to say to anybody: nobody looks after it any more.
    is_over: bool,
    /// Whether its application takes what has come.
    reading: bool,
    /// How far its clock is ahead of the world's.
    skew: Duration,
    events: Vec<Event>,
    received: BTreeMap<MemberId, Vec<Bytes>>,
    /// What the records were that were received.
    kinds: BTreeMap<MemberId, Vec<RecordKind>>,
}

impl Host {
    fn is_running(&self) -> bool {
        !self.killed && !self.stopped && !self.is_over
    }
}

/// What has come together.
struct Joined {
    from: SocketAddr,
    to: IpAddr,
    multicast: bool,
    size: usize,
    bytes: Vec<u8>,
}

impl Joined {
    /// Whether this comes right behind, and is no longer than the first.
    fn takes(&self, delivery: &Delivery, multicast: bool) -> bool {
        let len = delivery.bytes.len();
        (self.from, self.multicast) == (delivery.from, multicast)
            && (1..=self.size).contains(&len)
            && self.bytes.len().is_multiple_of(self.size)
            && self.bytes.len() + len <= Transmit::MAX_LEN
    }
}

struct World {
    start: Instant,
    now: Duration,
    network: Network,
    hosts: Vec<Host>,
    rng: Rng,
    /// Everything that was sent, if somebody wants to know: from where, to where, and what.
    recorded: Option<Vec<(SocketAddr, SocketAddr, Bytes)>>,
}

impl World {
    fn new(seed: u64, multicast: bool, path: Path) -> Self {
        #[cfg(feature = "group-crypto")]
        super::protection::ledger::begin();
        let mut world = World {
            start: Instant::now(),
            now: Duration::ZERO,
            network: Network::new(seed, Config::default().path(path)),
            hosts: Vec::new(),
            rng: Rng::with_seed(seed),
            recorded: None,
        };
        let node = Node::coordinator(world.start, seed + 1, RandomState::new(), settings(multicast));
        world.add(node);
        world
    }

    fn add(&mut self, node: Node) -> usize {
        let index = self.hosts.len();
        let address = SocketAddr::from(([10, 0, 0, index as u8 + 1], 4000));
        self.network.join(address.ip(), IpAddr::from([239, 1, 2, 3]));
        self.hosts.push(Host {
            address,
            node,
            killed: false,
            stopped: false,
            is_over: false,
            reading: true,
            skew: Duration::ZERO,
            events: Vec::new(),
            received: BTreeMap::new(),
            kinds: BTreeMap::new(),
        });
        index
    }

    fn join(&mut self) -> usize {
        let rng = &mut self.rng;
        let [nonce, spare @ ..] = [(); 4].map(|()| {
            let mut nonce = [0; 16];
            rng.fill(&mut nonce);
            nonce
        });
        let node = Node::member(
            self.start + self.now,
            self.hosts[0].address,
            nonce,
            &spare,
            settings(false),
        );
        self.add(node)
    }

    fn id(&self, index: usize) -> MemberId {
        self.hosts[index].node.outbox.me()
    }

    fn settle(&mut self) {
        let world = self.start + self.now;
        for host in self.hosts.iter_mut().filter(|host| host.is_running()) {
            let now = world + host.skew;
            host.node.handle_timeout(now);
            while let Some(outgoing) = host.node.poll_transmit(now, 8) {
                let size = outgoing.segment_size.unwrap_or(outgoing.contents.len());
                for packet in outgoing.contents.chunks(size.max(1)) {
                    let packet = Bytes::copy_from_slice(packet);
                    if let Some(recorded) = &mut self.recorded {
                        recorded.push((host.address, outgoing.to, packet.clone()));
                    }
                    self.network.send(self.now, host.address, outgoing.to, packet);
                }
            }
            while let Some(event) = host.node.poll_event() {
                host.events.push(event);
            }
            host.is_over = host.node.is_over();
        }
        for host in self.hosts.iter_mut().filter(|host| !host.killed && !host.stopped) {
            let now = world + host.skew;
            while host.reading
                && let Some(popped) = host.node.pop(now, 0)
            {
                host.kinds.entry(popped.from).or_default().push(popped.kind);
                host.received.entry(popped.from).or_default().push(popped.body);
            }
        }
    }

    fn step(&mut self, until: Duration) {
        self.settle();
        let instant = self.start + self.now;
        let timers = self.hosts.iter().filter(|host| host.is_running());
        let next = timers
            .filter_map(|host| Some(host.node.poll_timeout(instant + host.skew)? - host.skew))
            .map(|at| at.saturating_duration_since(self.start))
            .chain(self.network.poll_timeout())
            .min()
            .unwrap_or(until);
        // Whoever wants to go on at once does so a little later, as a driver would.
        self.now = next.max(self.now + Duration::from_micros(10)).min(until);
        let mut come: Vec<Joined> = Vec::new();
        while let Some(delivery) = self.network.poll_delivery(self.now) {
            let to = delivery.to.ip();
            let multicast = delivery.destination.ip().is_multicast();
            // As the system does, those of one sender and one size.
            let last = come.iter_mut().rev().find(|joined| joined.to == to);
            match last.filter(|joined| joined.takes(&delivery, multicast)) {
                Some(joined) => joined.bytes.extend_from_slice(&delivery.bytes),
                None => come.push(Joined {
                    from: delivery.from,
                    to,
                    multicast,
                    size: delivery.bytes.len(),
                    bytes: delivery.bytes.to_vec(),
                }),
            }
        }
        for mut joined in come {
            let now = self.start + self.now;
            if let Some(host) = self
                .hosts
                .iter_mut()
                .find(|host| host.address.ip() == joined.to && !host.killed)
            {
                let (from, multicast, size) = (joined.from, joined.multicast, joined.size);
                host.node
                    .handle_joined(now + host.skew, from, multicast, &mut joined.bytes, size);
            }
        }
    }

    fn run_for(&mut self, time: Duration) {
        let until = self.now + time;
        while self.now < until {
            self.step(until);
        }
    }

    /// Until `done`, for at most a minute.
    fn run_until(&mut self, what: &str, done: impl Fn(&World) -> bool) {
        let until = self.now + Duration::from_secs(60);
        while !done(self) {
            assert!(self.now < until, "{what}");
            self.step(until);
        }
    }

    fn all_in(&self) -> bool {
        let alive = || self.hosts.iter().filter(|host| !host.killed);
        alive().all(|host| host.node.is_in() && host.node.others().count() + 1 == alive().count())
    }

    fn send(&mut self, index: usize, body: Vec<u8>) -> u64 {
        self.hosts[index]
            .node
            .push(0, RecordKind::Message, &Bytes::from(body))
            .expect("it is in")
    }

    /// The messages of host `from` that host `to` has.
    fn received(&self, to: usize, from: usize) -> &[Bytes] {
        let id = self.id(from);
        self.hosts[to].received.get(&id).map_or(&[], Vec::as_slice)
    }
}

/// The seeds to try: `FLEXBOND_SEED` is a single one; `FLEXBOND_SEEDS` says how many, and `few` there are otherwise.
fn seeds(few: u64) -> Range<u64> {
    let number = |name| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    match number("FLEXBOND_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("FLEXBOND_SEEDS").unwrap_or(few),
    }
}

fn rough(rng: &mut Rng) -> Path {
    Path::default()
        .delay(Duration::from_micros(rng.u64(20..2000)))
        .jitter(Duration::from_micros(rng.u64(..500)))
        .loss(rng.f64() * 0.2)
        .duplication(rng.f64() * 0.1)
        .reordering(rng.f64() * 0.1, Duration::from_micros(rng.u64(..3000)))
        .corruption(rng.f64() * 0.05)
}

#[test]
fn everybody_gets_what_everybody_sends_once_and_in_order() {
    for seed in 0..24 {
        let mut rng = Rng::with_seed(seed);
        let mut world = World::new(seed, seed % 2 == 0, rough(&mut rng));
        let members = rng.usize(1..5);
        for _ in 0..members {
            world.join();
        }
        world.run_until(&format!("seed {seed}: all in"), World::all_in);
        let mut sent = vec![Vec::new(); members + 1];
        for _ in 0..30 {
            let from = rng.usize(..=members);
            let body: Vec<u8> = (0..rng.usize(..3000)).map(|_| rng.u8(..)).collect();
            world.send(from, body.clone());
            sent[from].push(body);
            world.run_for(Duration::from_micros(rng.u64(..2000)));
        }
        world.run_until(&format!("seed {seed}: all delivered"), |world| {
            (0..=members).all(|from| world.hosts[from].node.settled(0) == sent[from].len() as u64)
        });
        world.run_for(Duration::from_millis(50));
        for to in 0..=members {
            for from in (0..=members).filter(|from| *from != to) {
                assert_eq!(
                    world.received(to, from),
                    sent[from],
                    "seed {seed}: {from} to {to}"
                );
            }
        }
    }
}

#[test]
fn parts_of_a_large_message_land_in_it() {
    LANDING.set(Landing::new());
    let mut world = World::new(1, true, Path::default().delay(Duration::from_micros(50)));
    for _ in 0..2 {
        world.join();
    }
    world.run_until("all in", World::all_in);
    world.run_for(Duration::from_secs(1));
    let bodies: Vec<Vec<u8>> = (0..4)
        .map(|n| (0..20_000).map(|at| (at * n) as u8).collect())
        .collect();
    for body in &bodies {
        world.send(0, body.clone());
    }
    world.run_until("delivered", |world| world.hosts[0].node.settled(0) == 4);
    // Of eight hundred segments in all, of which up to 128 come joined, and 64 land at once.
    let landed = LANDING.with_borrow(|landing| landing.landed);
    assert!((200..=800).contains(&landed), "{landed}");
    for to in 1..=2 {
        assert_eq!(world.received(to, 0), bodies);
    }
}

#[test]
fn large_messages_of_several_at_once_on_a_rough_network_are_whole() {
    for seed in 0..12 {
        let mut rng = Rng::with_seed(seed);
        let mut world = World::new(seed, seed % 2 == 0, rough(&mut rng));
        for _ in 0..2 {
            world.join();
        }
        world.run_until(&format!("seed {seed}: all in"), World::all_in);
        let mut sent = vec![Vec::new(); 3];
        for _ in 0..4 {
            for (from, sent) in sent.iter_mut().enumerate() {
                let body: Vec<u8> = (0..rng.usize(..40_000)).map(|_| rng.u8(..)).collect();
                world.send(from, body.clone());
                sent.push(body);
            }
        }
        world.run_until(&format!("seed {seed}: all delivered"), |world| {
            (0..3).all(|from| world.hosts[from].node.settled(0) == 4)
        });
        world.run_for(Duration::from_millis(50));
        for to in 0..3 {
            for from in (0..3).filter(|from| *from != to) {
                assert_eq!(
                    world.received(to, from),
                    sent[from],
                    "seed {seed}: {from} to {to}"
                );
            }
        }
    }
}

#[test]
fn multicast_is_used_once_everybody_hears_it() {
    let mut world = World::new(1, true, Path::default().delay(Duration::from_micros(50)));
    for _ in 0..3 {
        world.join();
    }
    world.run_until("all in", World::all_in);
    world.run_for(Duration::from_secs(1));
    let before = world.network.counters();
    world.send(0, vec![7; 20_000]);
    world.run_until("delivered", |world| world.hosts[0].node.settled(0) == 1);
    let sent = world.network.counters().sent - before.sent;
    // About a hundred segments, not three hundred.
    assert!((100..200).contains(&sent), "{sent} packets");
    for to in 1..=3 {
        assert_eq!(world.received(to, 0), [vec![7; 20_000]]);
    }
}

#[test]
fn a_killed_member_is_gone_for_all_and_holds_up_nobody_for_long() {
    for seed in 0..10 {
        let mut rng = Rng::with_seed(seed);
        let path = Path::default().delay(Duration::from_micros(100)).loss(0.02);
        let mut world = World::new(seed, seed % 2 == 0, path);
        for _ in 0..4 {
            world.join();
        }
        world.run_until(&format!("seed {seed}: all in"), World::all_in);
        let victim = rng.usize(1..=4);
        let id = world.id(victim);
        world.hosts[victim].killed = true;
        let killed = world.now;
        let number = world.send(0, vec![1; 5000]);
        world.run_until(&format!("seed {seed}: goes on"), |world| {
            let alive = world.hosts.iter().filter(|host| !host.killed);
            alive.clone().all(|host| {
                host.events
                    .iter()
                    .any(|event| matches!(event, Event::Gone(gone, _) if *gone == id))
            }) && world.hosts[0].node.settled(0) == number + 1
        });
        let took = world.now - killed;
        assert!(
            took <= DEAD_AFTER + Duration::from_millis(500),
            "seed {seed}: {took:?}"
        );
        assert!(world.all_in(), "seed {seed}");
    }
}

#[test]
fn a_killed_coordinator_is_the_end_for_all_in_time() {
    let mut world = World::new(3, true, Path::default().delay(Duration::from_micros(100)));
    for _ in 0..4 {
        world.join();
    }
    world.run_until("all in", World::all_in);
    world.hosts[0].killed = true;
    world.run_for(DEAD_AFTER + Duration::from_millis(500));
    for host in &world.hosts[1..] {
        assert_eq!(host.events.last(), Some(&Event::Out(Ending::CoordinatorDead)));
        assert!(!host.node.is_in());
    }
    let refused = world.hosts[1].node.push(0, RecordKind::Message, &Bytes::new());
    assert_eq!(refused, Err(PushError::NotIn));
}

#[test]
fn who_leaves_and_who_comes_late_disturb_nobody() {
    let mut world = World::new(
        4,
        true,
        Path::default().delay(Duration::from_micros(100)).loss(0.05),
    );
    for _ in 0..2 {
        world.join();
    }
    world.run_until("all in", World::all_in);
    world.send(0, b"before".to_vec());
    world.run_until("delivered", |world| world.hosts[0].node.settled(0) == 1);
    let late = world.join();
    world.run_until("the late one is in", World::all_in);
    let now = world.start + world.now;
    let leaver = world.id(1);
    world.hosts[1].node.leave(now);
    world.run_until("gone", |world| {
        world.hosts[0]
            .events
            .iter()
            .any(|event| matches!(event, Event::Gone(id, _) if *id == leaver))
    });
    world.hosts[1].killed = true;
    world.send(0, b"after".to_vec());
    world.send(late, b"from the late one".to_vec());
    world.run_until("delivered", |world| {
        world.received(2, 0).len() == 2
            && world.received(late, 0).len() == 1
            && world.received(0, late).len() == 1
    });
    assert_eq!(world.received(late, 0), [&b"after"[..]]);
}

#[test]
fn what_is_foreign_damaged_or_seen_before_is_counted_and_has_no_effect() {
    let mut world = World::new(5, false, Path::default().delay(Duration::from_micros(100)));
    world.join();
    world.run_until("all in", World::all_in);
    let now = world.start + world.now;
    let (coordinator, member) = (world.hosts[0].address, world.hosts[1].address);
    // A message in flight, taken from the wire.
    world.send(0, b"once".to_vec());
    let mut datagram = None;
    while let Some(outgoing) = world.hosts[0].node.poll_transmit(now, 1) {
        datagram = Some((outgoing.to, outgoing.contents.to_vec()));
        world
            .network
            .send(world.now, coordinator, outgoing.to, outgoing.contents.to_vec());
    }
    let (to, datagram) = datagram.expect("there was something to send");
    assert_eq!(to, member);
    world.run_for(Duration::from_millis(20));
    assert_eq!(world.received(1, 0), [&b"once"[..]]);

    let now = world.start + world.now;
    let node = &mut world.hosts[1].node;
    let before = node.counters();
    node.handle_datagram(now, coordinator, false, &mut datagram.clone());
    assert_eq!(node.counters().replayed, before.replayed + 1);
    let stranger = SocketAddr::from(([10, 9, 9, 9], 1));
    node.handle_datagram(now, stranger, false, &mut datagram.clone());
    assert_eq!(node.counters().foreign, before.foreign + 1);
    for len in 0..datagram.len() {
        node.handle_datagram(now, coordinator, false, &mut datagram.clone()[..len]);
    }
    let mut damaged = datagram.clone();
    for index in 0..damaged.len() {
        damaged[index] ^= 0x10;
        node.handle_datagram(now, coordinator, false, &mut damaged);
        damaged[index] ^= 0x10;
    }
    assert_eq!(
        node.counters().malformed,
        before.malformed + 2 * datagram.len() as u64
    );
    world.run_for(Duration::from_millis(20));
    assert_eq!(world.received(1, 0).len(), 1);
    assert!(world.all_in());
}

#[test]
fn two_sessions_on_one_multicast_address_do_not_meet() {
    let mut world = World::new(6, true, Path::default().delay(Duration::from_micros(100)));
    world.join();
    let other = Node::coordinator(world.start, 999, RandomState::new(), settings(true));
    let other = world.add(other);
    let nonce = [9; 16];
    let member = Node::member(
        world.start,
        world.hosts[other].address,
        nonce,
        &[],
        settings(false),
    );
    let member = world.add(member);
    world.run_until("both are complete", |world| {
        world
            .hosts
            .iter()
            .all(|host| host.node.is_in() && host.node.others().count() == 1)
    });
    world.run_for(Duration::from_secs(1));
    world.send(0, b"one".to_vec());
    world.send(other, b"two".to_vec());
    world.run_until("delivered", |world| {
        [0, other]
            .iter()
            .all(|index| world.hosts[*index].node.settled(0) == 1)
    });
    world.run_for(Duration::from_millis(20));
    assert_eq!(world.hosts[1].received[&MemberId(0)], [&b"one"[..]]);
    assert_eq!(world.hosts[member].received[&MemberId(0)], [&b"two"[..]]);
    assert!(world.hosts[1].node.counters().foreign > 0);
}

#[test]
fn a_message_above_the_limit_is_refused_with_the_numbers() {
    let mut world = World::new(7, false, Path::default());
    let error = world.hosts[0]
        .node
        .push(0, RecordKind::Message, &Bytes::from(vec![0; (1 << 18) + 1]))
        .unwrap_err();
    assert_eq!(
        error,
        PushError::TooLarge {
            size: (1 << 18) + 1,
            limit: 1 << 18,
            member: MemberId(0),
        }
    );
}

mod endings;
mod floods;
mod groups;
mod hostings;
mod limits;
mod scenario;

#[test]
fn who_goes_having_received_everything_is_not_said_to_have_missed_it() {
    for seed in 0..24 {
        let path = Path::default().delay(Duration::from_micros(100)).loss(0.1);
        let mut world = World::new(seed, seed % 2 == 0, path);
        for _ in 0..2 {
            world.join();
        }
        world.run_until(&format!("seed {seed}: all in"), World::all_in);
        let number = world.send(0, vec![7; 5000]);
        world.run_until(&format!("seed {seed}: received"), |world| {
            !world.received(1, 0).is_empty()
        });
        let now = world.start + world.now;
        world.hosts[1].node.wind_up(now, now + Duration::from_secs(5));
        world.run_until(&format!("seed {seed}: gone"), |world| {
            let last = world.hosts[1].events.last();
            matches!(last, Some(Event::Out(Ending::Left)))
        });
        world.run_until(&format!("seed {seed}: settled"), |world| {
            world.hosts[0].node.settled(0) > number
        });
        let missed = world.hosts[0].node.missed(0, number..=number);
        assert!(missed.is_empty(), "seed {seed}: {missed:?}");
    }
}

#[test]
fn who_is_thought_dead_before_it_heard_that_it_is_in_begins_again() {
    for seed in 0..10 {
        let mut world = World::new(
            seed,
            seed % 2 == 0,
            Path::default().delay(Duration::from_micros(100)),
        );
        let index = world.join();
        let [coordinator, joiner] = [0, index].map(|host| world.hosts[host].address.ip());
        // It is given a cookie, and hears nothing more.
        world.run_until("a cookie", |world| world.network.counters().sent >= 3);
        let deaf = Path::default().loss(1.0);
        world.network.set_path(coordinator, joiner, deaf);
        world.run_until("admitted", |world| world.hosts[0].node.others().count() == 1);
        // Nor is it heard, until it is taken for dead.
        world.network.set_path(joiner, coordinator, deaf);
        world.run_until("dead", |world| world.hosts[0].node.others().count() == 0);
        assert!(world.hosts[index].events.is_empty(), "seed {seed}");
        world.network.reset_path(coordinator, joiner);
        world.network.reset_path(joiner, coordinator);
        let healed = world.now;
        world.run_until(&format!("seed {seed}: in"), World::all_in);
        let took = world.now - healed;
        assert!(took < Duration::from_secs(1), "seed {seed}: {took:?}");
        let number = world.send(0, vec![7; 3000]);
        world.run_until("delivered", |world| world.hosts[0].node.settled(0) == number + 1);
        assert_eq!(world.received(index, 0), [vec![7; 3000]]);
        let events = &world.hosts[index].events;
        let joined = |event: &&Event| matches!(event, Event::Joined(_) | Event::Out(_));
        assert_eq!(events.iter().filter(joined).count(), 1, "seed {seed}: {events:?}");
    }
}

#[test]
fn a_storm_of_joiners_fills_no_memory() {
    let mut world = World::new(1, false, Path::default());
    let now = world.start;
    for number in 0..20_000_u32 {
        let nonce = u128::from(number).to_be_bytes();
        let mut joiner = Node::member(now, world.hosts[0].address, nonce, &[], settings(false));
        joiner.handle_timeout(now);
        let mut asked = joiner
            .poll_transmit(now, 1)
            .expect("a question")
            .contents
            .to_vec();
        let from = SocketAddr::from((number.to_be_bytes(), 4000));
        let coordinator = &mut world.hosts[0].node;
        coordinator.handle_datagram(now, from, false, &mut asked);
    }
    let coordinator = &mut world.hosts[0].node;
    let mut answers = 0;
    while coordinator.poll_transmit(now, 1).is_some() {
        answers += 1;
    }
    assert_eq!(answers, 4096);
}
