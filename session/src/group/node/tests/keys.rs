//! Sessions with a key: they do all that others do, and who has not got the key can do nothing to them.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::RandomState;
use std::net::SocketAddr;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use fastrand::Rng;
use flexbond_transport::simnet::Path;
use flexbond_wire::group::{Audience, Header, Heartbeat, Join, Kind, MIN_JOIN, Packet, PresharedKey};
use parking_lot::Mutex;

use super::{DEAD_AFTER, World, groups, seeds, settings};
use crate::group::MemberId;
use crate::group::node::{Ending, Entropy, Event, Node, NodeCounters, NodeSettings, Role};

thread_local! {
    static KEYED: Cell<bool> = const { Cell::new(false) };
}

/// The key of the sessions that this thread makes just now, if they are to have one.
pub(super) fn in_use() -> Option<PresharedKey> {
    KEYED.get().then(|| key("the key of the tests"))
}

pub(super) fn entropy() -> Entropy {
    let rng = Mutex::new(Rng::with_seed(1));
    Entropy::new(move |out| rng.lock().fill(out))
}

fn key(text: &str) -> PresharedKey {
    text.parse().expect("it is long enough")
}

/// Runs a test whose sessions have a key.
pub(super) fn keyed(test: impl FnOnce()) {
    KEYED.set(true);
    test();
    KEYED.set(false);
}

/// A keyed session without faults, with so many members, all of them in.
pub(super) fn quiet(seed: u64, multicast: bool, members: usize) -> World {
    let path = Path::default().delay(Duration::from_micros(100));
    let mut world = World::new(seed, multicast, path);
    world.recorded = Some(Vec::new());
    for _ in 0..members {
        world.join();
    }
    world.run_until("all in", World::all_in);
    world.run_for(Duration::from_millis(500));
    world
}

impl World {
    pub(super) fn recorded(&self) -> &[(SocketAddr, SocketAddr, Bytes)] {
        self.recorded.as_deref().unwrap_or_default()
    }

    /// Gives a host what looks as if it came from `from`.
    pub(super) fn inject(&mut self, host: usize, from: SocketAddr, multicast: bool, bytes: &[u8]) {
        let now = self.start + self.now;
        let mut bytes = bytes.to_vec();
        self.hosts[host]
            .node
            .handle_datagram(now, from, multicast, &mut bytes);
    }

    pub(super) fn ignored(&self, host: usize) -> u64 {
        let NodeCounters {
            malformed,
            foreign,
            replayed,
            forged,
            unreadable,
            events_dropped: _,
            unsent: _,
            unanswered: _,
            turned_away: _,
        } = self.hosts[host].node.counters();
        malformed + foreign + replayed + forged + unreadable
    }

    /// Lets a member go, and waits until it has.
    fn part(&mut self, index: usize) {
        let now = self.start + self.now;
        self.hosts[index].node.leave(now);
        self.run_until("it has left", |world| is_out(world, index));
        self.hosts[index].killed = true;
        self.run_until("all know", World::all_in);
    }

    /// What users have seen until now.
    pub(super) fn seen(&self) -> Vec<(usize, usize, Vec<MemberId>)> {
        let hosts = self.hosts.iter().filter(|host| !host.killed);
        hosts
            .map(|host| {
                let messages = host.received.values().map(Vec::len).sum();
                (host.events.len(), messages, host.node.others().collect())
            })
            .collect()
    }
}

pub(super) fn is_out(world: &World, index: usize) -> bool {
    let events = &world.hosts[index].events;
    events.iter().any(|event| matches!(event, Event::Out(_)))
}

pub(super) fn is_handshake(bytes: &[u8]) -> bool {
    Header::peek(bytes).is_ok_and(|envelope| envelope.kind.is_handshake())
}

#[test]
fn everybody_gets_what_everybody_sends() {
    keyed(super::everybody_gets_what_everybody_sends_once_and_in_order);
}

#[test]
fn multicast_is_used() {
    keyed(super::multicast_is_used_once_everybody_hears_it);
}

#[test]
fn a_killed_member_holds_up_nobody_for_long() {
    keyed(super::a_killed_member_is_gone_for_all_and_holds_up_nobody_for_long);
}

#[test]
fn who_is_thought_dead_too_early_begins_again() {
    keyed(super::who_is_thought_dead_before_it_heard_that_it_is_in_begins_again);
}

#[test]
fn a_killed_coordinator_is_the_end() {
    keyed(super::a_killed_coordinator_is_the_end_for_all_in_time);
}

#[test]
fn who_leaves_or_comes_late_disturbs_nobody() {
    keyed(super::who_leaves_and_who_comes_late_disturb_nobody);
}

#[test]
fn two_sessions_on_one_address_do_not_meet() {
    keyed(super::two_sessions_on_one_multicast_address_do_not_meet);
}

#[test]
fn nobody_leaves_a_barrier_early() {
    keyed(groups::nobody_goes_on_before_all_have_come_whatever_the_network_does);
}

#[test]
fn a_member_killed_at_the_barrier_is_named() {
    keyed(groups::a_member_killed_at_the_barrier_is_named_to_all_who_wait_and_they_go_on);
}

#[test]
fn who_asks_for_a_wrong_group_is_told() {
    keyed(groups::who_asks_for_a_group_that_is_not_there_or_of_another_kind_is_told);
}

#[test]
fn broadcast_groups_reach_their_members_alone() {
    keyed(groups::broadcast_groups_reach_their_members_alone_and_do_not_wait_for_each_other);
}

#[test]
fn who_has_another_key_or_none_hears_why_it_is_not_admitted() {
    for (session, joiner, reason) in [
        (Some("the one and only key"), None, "NeedsKey"),
        (
            Some("the one and only key"),
            Some("another key that is long"),
            "WrongKey",
        ),
        (None, Some("another key that is long"), "NoKey"),
    ] {
        let with = |text: Option<&str>| NodeSettings {
            key: text.map(key),
            ..settings(false)
        };
        let mut world = World::new(1, false, Path::default());
        world.hosts[0].node = Node::coordinator(world.start, 1, RandomState::new(), with(session));
        let node = Node::member(world.start, world.hosts[0].address, [1; 16], &[], with(joiner));
        let index = world.add(node);
        world.run_until("an answer", |world| is_out(world, index));
        let Some(Event::Out(Ending::Rejected(_, why))) = world.hosts[index].events.last() else {
            panic!("{:?}", world.hosts[index].events);
        };
        assert!(why.ends_with(&format!("({reason})")), "{why}");
        assert_eq!(world.hosts[0].node.others().count(), 0);
    }
}

#[test]
fn a_storm_of_joiners_with_wrong_keys_leaves_nothing_behind() {
    keyed(|| {
        let draws = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&draws);
        let settings = NodeSettings {
            entropy: Entropy::new(move |out| {
                counted.fetch_add(1, Ordering::Relaxed);
                out.fill(1);
            }),
            ..settings(false)
        };
        let mut world = World::new(2, false, Path::default());
        world.hosts[0].node = Node::coordinator(world.start, 1, RandomState::new(), settings);
        let before = draws.load(Ordering::Relaxed);
        let wrong = key("another key that is long");
        let mut rng = Rng::with_seed(2);
        for port in 1..2000 {
            let address = SocketAddr::from(([10, 1, 1, 1], port));
            let mut join = Join {
                nonce: [0; 16],
                cookie: None,
                name: "storm",
                recv_budget: u64::MAX,
                proof: None,
            };
            rng.fill(&mut join.nonce);
            let header = Header {
                session: 0,
                sender: Header::NOT_A_MEMBER,
                epoch: 0,
                number: 1,
            };
            let mut answer = |join: &Join<'_>| {
                let mut datagram = BytesMut::new();
                Packet::Join(*join)
                    .encode(&header, &mut datagram)
                    .expect("within the limits");
                world.inject(0, address, false, &datagram);
                let now = world.start + world.now;
                let node = &mut world.hosts[0].node;
                let answer = node.poll_transmit(now, 1).expect("an answer");
                assert!(answer.to == address && answer.contents.len() <= MIN_JOIN);
                answer.contents.to_vec()
            };
            let retry = answer(&join);
            let Ok((_, Packet::Retry(retry))) = Packet::decode(&retry) else {
                panic!("no cookie was given");
            };
            join.cookie = Some(retry.cookie);
            join.proof = Some(wrong.prove(&join));
            let reject = answer(&join);
            assert!(matches!(Packet::decode(&reject), Ok((_, Packet::Reject(_)))));
        }
        assert_eq!(draws.load(Ordering::Relaxed), before, "nothing is drawn for it");
        let Role::Coordinator(coordinator) = &world.hosts[0].node.role else {
            panic!("it is the coordinator");
        };
        assert_eq!(coordinator.roster.members().count(), 0);
    });
}

/// Everything that a session says: messages of all, one that leaves, and one that comes late.
pub(super) fn told(seed: u64) -> World {
    let mut world = quiet(seed, seed.is_multiple_of(2), 3);
    for from in 0..=3 {
        world.send(from, vec![from as u8; 3000]);
    }
    world.run_for(Duration::from_millis(300));
    world.part(1);
    world.join();
    world.run_until("the late one is in", World::all_in);
    for from in [0, 2, 3, 4] {
        world.send(from, vec![from as u8; 3000]);
    }
    world.run_for(Duration::from_secs(1));
    world
}

#[test]
fn who_has_recorded_everything_can_make_nothing_of_it() {
    keyed(|| {
        for (seed, wait) in [(0, 0), (1, 0), (2, 20), (3, 100)] {
            let mut world = told(seed);
            let recorded = world.recorded.take().expect("all was recorded");
            world.run_for(Duration::from_secs(wait));
            let before = world.seen();
            // To whom it was for, and to all others, from where it came.
            for (from, to, bytes) in &recorded {
                for host in [0, 2, 3, 4] {
                    let ignored = world.ignored(host);
                    world.inject(host, *from, to.ip().is_multicast(), bytes);
                    // What it has had once is found out; what was for others, it may take, and nothing comes of it.
                    let kind = bytes[3];
                    let asks = kind == Kind::Join as u8 && host == 0;
                    if *to == world.hosts[host].address && !asks {
                        let now = world.ignored(host);
                        assert_eq!(now, ignored + 1, "seed {seed}: kind {kind} to {host}");
                    }
                }
                world.settle();
            }
            world.run_for(DEAD_AFTER + Duration::from_secs(1));
            assert_eq!(world.seen(), before, "seed {seed}");
            // Nor has it taken the place of what comes now.
            for from in [0, 2, 3, 4] {
                let number = world.send(from, vec![9; 1000]);
                world.run_until("delivered", |world| {
                    world.hosts[from].node.settled(0) == number + 1
                });
            }
        }
    });
}

#[test]
fn copies_of_what_somebody_said_do_not_keep_it_alive() {
    keyed(|| {
        let mut world = quiet(1, false, 2);
        let victim = world.hosts[1].address;
        let id = world.id(1);
        world.hosts[1].killed = true;
        let killed = world.now;
        let recorded = world.recorded.take().expect("all was recorded");
        while !world.all_in() {
            for (from, _, bytes) in recorded.iter().filter(|(from, ..)| *from == victim) {
                world.inject(0, *from, false, bytes);
            }
            world.run_for(Duration::from_millis(50));
            let took = world.now - killed;
            assert!(took <= DEAD_AFTER + Duration::from_millis(500), "{took:?}");
        }
        // Its JOIN, whose cookie is still good, does not bring it back either.
        for (from, _, bytes) in recorded.iter().filter(|(from, ..)| *from == victim) {
            world.inject(0, *from, false, bytes);
        }
        world.run_for(Duration::from_secs(1));
        assert!(world.all_in());
        let events = &world.hosts[0].events;
        assert!(matches!(events.last(), Some(Event::Gone(gone, _)) if *gone == id));
    });
}

#[test]
fn what_was_changed_on_its_way_is_counted_and_has_no_effect() {
    keyed(|| {
        let mut world = quiet(5, false, 1);
        let now = world.start + world.now;
        let from = world.hosts[0].address;
        world.send(0, b"once".to_vec());
        let mut held = Vec::new();
        while let Some(outgoing) = world.hosts[0].node.poll_transmit(now, 1) {
            held.push(outgoing.contents.to_vec());
        }
        assert!(!held.is_empty());
        for datagram in &held {
            for bit in 0..8 * datagram.len() {
                let ignored = world.ignored(1);
                let mut changed = datagram.clone();
                changed[bit / 8] ^= 1 << (bit % 8);
                world.inject(1, from, false, &changed);
                assert_eq!(world.ignored(1), ignored + 1, "bit {bit}");
            }
            for len in 0..datagram.len() {
                let ignored = world.ignored(1);
                world.inject(1, from, false, &datagram[..len]);
                assert_eq!(world.ignored(1), ignored + 1, "cut to {len}");
            }
        }
        assert!(world.hosts[1].node.counters().forged > 0);
        // The true ones are taken all the same, once each.
        for datagram in &held {
            let ignored = world.ignored(1);
            world.inject(1, from, false, datagram);
            assert_eq!(world.ignored(1), ignored);
            world.inject(1, from, false, datagram);
            assert_eq!(world.ignored(1), ignored + 1);
        }
        world.run_for(Duration::from_millis(20));
        assert_eq!(world.received(1, 0), [&b"once"[..]]);
        // Nor is anything taken that is not sealed.
        let session = Header::peek(&held[0]).expect("a datagram").header.session;
        for (kind, packet) in [(Kind::Leave, Packet::Leave), (Kind::Heartbeat, heartbeat())] {
            let header = Header {
                session,
                sender: world.id(1).0,
                epoch: 1,
                number: 1 << 40,
            };
            let mut datagram = BytesMut::new();
            packet.encode(&header, &mut datagram).expect("within the limits");
            let (before, address) = (world.hosts[0].node.counters().forged, world.hosts[1].address);
            world.inject(0, address, false, &datagram);
            assert_eq!(world.hosts[0].node.counters().forged, before + 1, "{kind:?}");
        }
        world.run_for(Duration::from_millis(500));
        assert!(world.all_in());
    });
}

fn heartbeat() -> Packet<'static> {
    Packet::Heartbeat(Heartbeat {
        sent_at: 1,
        echo: 0,
        echo_delay: 0,
        hears_multicast: true,
    })
}

/// How many of the recorded packets in `range`, but those of the handshake, the keys of a host open.
fn opened(world: &mut World, host: usize, range: Range<usize>) -> usize {
    let packets = world.recorded()[range].to_vec();
    let protection = &mut world.hosts[host].node.protection;
    let opens = |(_, _, bytes): &(SocketAddr, SocketAddr, Bytes)| {
        let envelope = Header::peek(bytes).expect("a datagram");
        !envelope.kind.is_handshake() && protection.open(&envelope, &mut bytes.to_vec()).is_ok()
    };
    packets.iter().map(opens).filter(|opens| *opens).count()
}

#[test]
fn who_has_left_can_neither_read_nor_say_anything_more() {
    keyed(|| {
        for multicast in [false, true] {
            let mut world = quiet(6, multicast, 3);
            world.send(0, vec![1; 2000]);
            world.run_for(Duration::from_millis(300));
            let before = world.recorded().len();
            assert!(
                opened(&mut world, 1, 0..before) > 10,
                "it could read what was for all"
            );
            world.part(1);
            let left = world.recorded().len();
            world.send(0, vec![2; 2000]);
            world.send(2, vec![3; 2000]);
            world.run_for(Duration::from_secs(1));
            let after = world.recorded().len();
            assert!(after > left + 20);
            assert_eq!(opened(&mut world, 1, left..after), 0);

            // As itself, and as another, whose address it feigns.
            let (me, other) = (world.id(1), world.id(3));
            for (as_whom, address) in [(me, world.hosts[1].address), (other, world.hosts[3].address)] {
                let (epoch, seal) = world.hosts[1].node.protection.sealing_as(as_whom);
                let header = Header {
                    session: world.hosts[0].node.outbox.session(),
                    sender: as_whom.0,
                    epoch,
                    number: 1 << 40,
                };
                let mut datagram = BytesMut::new();
                heartbeat()
                    .encode_sealed(&header, &seal, Audience::All, &mut datagram)
                    .expect("within the limits");
                for host in [0, 2] {
                    let ignored = world.ignored(host);
                    world.inject(host, address, false, &datagram);
                    assert_eq!(world.ignored(host), ignored + 1);
                }
            }
            world.run_for(Duration::from_secs(1));
            assert!(world.all_in());
            // It could not even go on to number the other's packets.
            let number = world.send(3, vec![4; 2000]);
            world.run_until("delivered", |world| world.hosts[3].node.settled(0) == number + 1);
        }
    });
}

#[test]
fn who_was_sent_away_without_knowing_hears_of_it() {
    keyed(|| {
        let mut world = quiet(7, false, 2);
        // Stopped for so long that it is taken for dead, and nobody else is there any more.
        world.hosts[1].killed = true;
        world.run_until("gone", World::all_in);
        world.part(2);
        world.hosts[1].killed = false;
        world.run_until("it knows", |world| is_out(world, 1));
        let last = world.hosts[1].events.last();
        assert!(matches!(last, Some(Event::Out(Ending::Dismissed(_)))), "{last:?}");
    });
}

#[test]
fn a_key_is_changed_before_it_has_sealed_too_much() {
    const MAX: u64 = 1000;
    keyed(|| {
        let mut world = quiet(8, true, 2);
        for host in &mut world.hosts {
            host.node.outbox.set_max_sealed(MAX);
        }
        world.hosts[0].node.protection.tire_after(MAX / 2);
        world.recorded = Some(Vec::new());
        let first = world.hosts[0].node.outbox.epoch();
        for _ in 0..60 {
            let numbers = [0, 1].map(|from| world.send(from, vec![from as u8; 20_000]));
            world.run_until("delivered", |world| {
                [0, 1]
                    .iter()
                    .all(|from| world.hosts[*from].node.settled(0) == numbers[*from] + 1)
            });
        }
        let epochs = world.hosts[0].node.outbox.epoch() - first;
        assert!((6..60).contains(&epochs), "{epochs} epochs");
        let mut sealed: BTreeMap<(u32, u32), BTreeSet<u64>> = BTreeMap::new();
        let mut contents: HashMap<(u32, u64), Bytes> = HashMap::new();
        for (_, _, bytes) in world.recorded() {
            let header = Header::peek(bytes).expect("a datagram").header;
            let numbers = sealed.entry((header.sender, header.epoch)).or_default();
            numbers.insert(header.number);
            let known = contents
                .entry((header.sender, header.number))
                .or_insert(bytes.clone());
            assert_eq!(known, bytes, "a number twice");
        }
        let most = sealed.values().map(BTreeSet::len).max().unwrap_or_default() as u64;
        assert!((MAX / 2..=MAX).contains(&most), "{most} packets with one key");

        // Without a coordinator that sees to it, a node falls silent rather than go on.
        world.hosts[0].node.protection.tire_after(u64::MAX);
        world.hosts[0].node.outbox.set_max_sealed(u64::MAX);
        let epoch = world.hosts[1].node.outbox.epoch();
        world.recorded = Some(Vec::new());
        for _ in 0..30 {
            world.send(1, vec![1; 20_000]);
        }
        world.run_until("it is silent for too long", |world| is_out(world, 1));
        let headers = world
            .recorded()
            .iter()
            .map(|(_, _, bytes)| Header::peek(bytes).expect("a datagram").header);
        let said: BTreeSet<u64> = headers
            .filter(|header| (header.sender, header.epoch) == (1, epoch))
            .map(|header| header.number)
            .collect();
        assert!(said.len() as u64 <= MAX, "{} packets", said.len());
    });
}

#[test]
fn nothing_secret_is_shown() {
    let secret = "97, 97, 97";
    let settings = NodeSettings {
        key: Some(key("aaaaaaaaaaaaaaaaaaaaa")),
        entropy: Entropy::new(|out| {
            let byte = if out.len() == 32 { b'a' } else { b'n' };
            out.fill(byte);
        }),
        ..settings(false)
    };
    let mut world = World::new(1, false, Path::default());
    world.hosts[0].node = Node::coordinator(world.start, 1, RandomState::new(), settings.clone());
    let node = Node::member(world.start, world.hosts[0].address, [1; 16], &[], settings);
    world.add(node);
    world.run_until("all in", World::all_in);
    world.part(1);
    for host in &world.hosts {
        let shown = format!("{:?}", host.node);
        assert!(shown.contains("EpochKey(..)") && shown.contains("PresharedKey(..)"));
        assert!(!shown.contains(secret) && !shown.contains("aaaaa"), "{shown}");
    }
}

/// Members come, leave and die while all send, and the network is bad.
struct Churn {
    world: World,
    rng: Rng,
    /// How many messages each host has sent.
    sent: Vec<u32>,
    /// The first message of one that another must have, if both stay.
    owed: BTreeMap<(usize, usize), u32>,
}

impl Churn {
    fn new(seed: u64) -> Self {
        let mut rng = Rng::with_seed(seed);
        let path = Path::default()
            .delay(Duration::from_micros(rng.u64(20..1000)))
            .jitter(Duration::from_micros(rng.u64(..500)))
            .loss(rng.f64() * 0.15)
            .duplication(rng.f64() * 0.1)
            .reordering(rng.f64() * 0.2, Duration::from_micros(rng.u64(..3000)));
        Churn {
            world: World::new(seed, seed.is_multiple_of(2), path),
            rng,
            sent: vec![0],
            owed: BTreeMap::new(),
        }
    }

    fn join(&mut self) {
        self.world.join();
        self.sent.push(0);
    }

    /// A host that is there, the coordinator if there is no other.
    fn somebody(&mut self) -> usize {
        let there: Vec<_> = (1..self.world.hosts.len())
            .filter(|index| {
                let host = &self.world.hosts[*index];
                !host.killed && host.node.is_in()
            })
            .collect();
        self.rng.choice(there).unwrap_or(0)
    }

    fn send(&mut self, from: usize) {
        let seq = self.sent[from];
        let mut body = [from as u32, seq].map(u32::to_be_bytes).concat();
        body.resize(8 + self.rng.usize(..1500), seq as u8);
        self.world.send(from, body);
        self.sent[from] += 1;
        let known: Vec<_> = self.world.hosts[from].node.others().collect();
        for to in 0..self.world.hosts.len() {
            if known.contains(&self.world.id(to)) {
                self.owed.entry((from, to)).or_insert(seq);
            }
        }
    }

    fn act(&mut self) {
        let alive = self.world.hosts.iter().filter(|host| !host.killed).count();
        match self.rng.u8(..20) {
            0..=3 if alive < 7 => self.join(),
            4..=5 => {
                let index = self.somebody();
                let now = self.world.start + self.world.now;
                self.world.hosts[index].node.leave(now);
            }
            6 => {
                let index = self.somebody();
                self.world.hosts[index].killed = index > 0;
            }
            _ => {
                let from = if self.rng.u8(..3) == 0 { 0 } else { self.somebody() };
                self.send(from);
            }
        }
    }

    /// Time passes, and who is out goes home.
    fn pass(&mut self, time: Duration) {
        self.world.run_for(time);
        for index in 1..self.world.hosts.len() {
            self.world.hosts[index].killed |= is_out(&self.world, index);
        }
    }

    fn is_settled(&self) -> bool {
        let world = &self.world;
        let epoch = world.hosts[0].node.outbox.epoch();
        let mut there = (0..world.hosts.len()).filter(|index| !world.hosts[*index].killed);
        let Role::Coordinator(coordinator) = &world.hosts[0].node.role else {
            return false;
        };
        world.all_in()
            && coordinator.roster.is_agreed()
            && there.all(|index| {
                let node = &world.hosts[index].node;
                node.outbox.epoch() == epoch && node.settled(0) == u64::from(self.sent[index])
            })
    }

    fn run(&mut self, seed: u64) {
        for _ in 0..self.rng.usize(1..4) {
            self.join();
        }
        for _ in 0..self.rng.usize(20..50) {
            self.act();
            let pause = Duration::from_micros(self.rng.u64(..15_000));
            self.pass(pause);
        }
        let until = self.world.now + Duration::from_secs(60);
        while !self.is_settled() {
            assert!(self.world.now < until, "seed {seed}: not settled");
            self.pass(Duration::from_millis(20));
        }
        self.pass(Duration::from_millis(20));
        self.check(seed);
    }

    fn check(&self, seed: u64) {
        let world = &self.world;
        for (to, host) in world.hosts.iter().enumerate() {
            for (from, source) in world.hosts.iter().enumerate() {
                let seqs: Vec<u32> = world
                    .received(to, from)
                    .iter()
                    .map(|body| {
                        let word = |at: usize| u32::from_be_bytes([0, 1, 2, 3].map(|byte| body[at + byte]));
                        assert_eq!(word(0), from as u32, "seed {seed}: to {to}");
                        word(4)
                    })
                    .collect();
                let consecutive = seqs.windows(2).all(|pair| pair[1] == pair[0] + 1);
                assert!(consecutive, "seed {seed}: {from} to {to}: {seqs:?}");
                if let Some(first) = self.owed.get(&(from, to))
                    && !host.killed
                    && !source.killed
                {
                    let last = seqs.last().copied();
                    assert_eq!(last, Some(self.sent[from] - 1), "seed {seed}: {from} to {to}");
                    assert!(seqs[0] <= *first, "seed {seed}: {from} to {to}: {seqs:?}");
                }
            }
        }
    }
}

#[test]
fn all_get_everything_in_order_whoever_comes_and_goes() {
    keyed(|| seeds(60).for_each(|seed| Churn::new(seed).run(seed)));
}

#[test]
fn without_a_key_too_all_get_everything_whoever_comes_and_goes() {
    (0..100).for_each(|seed| Churn::new(seed).run(seed));
}
