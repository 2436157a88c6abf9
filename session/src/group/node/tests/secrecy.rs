//! What keys promise: none seals twice under one number, and nobody reads what was said while it was not in, however
//! many keys it keeps.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::RandomState;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use fastrand::Rng;
use flexbond_transport::simnet::Path;
use flexbond_wire::group::{Audience, EpochKey, Header, Heartbeat, Kind, Nonce, Packet, SenderKey};

use super::keys::{is_handshake, is_out, keyed, quiet, told};
use super::{DEAD_AFTER, World, rough, seeds, settings};
use crate::group::MemberId;
use crate::group::flow::{RecordKind, Target};
use crate::group::node::protection::ledger;
use crate::group::node::{Node, NodeSettings};

/// Somebody who keeps every key that it was ever given, and asks no key ring what it may read with them.
#[derive(Default)]
struct Spy {
    keys: Vec<EpochKey>,
    derived: HashMap<(usize, u64, u32, u32), SenderKey>,
}

impl Spy {
    fn note(&mut self, node: &Node) {
        for key in node.protection.epoch_keys() {
            if !self.keys.contains(&key) {
                self.keys.push(key);
            }
        }
    }

    /// Whether it can read a packet that was for this member, or for all.
    fn reads(&mut self, bytes: &[u8], receiver: MemberId) -> bool {
        let header = Header::peek(bytes).expect("a datagram").header;
        let Header {
            session,
            sender,
            epoch,
            number: _,
        } = header;
        self.keys.iter().enumerate().any(|(index, key)| {
            let derived = self.derived.entry((index, session, epoch, sender));
            let key = derived.or_insert_with(|| key.sender_key(session, epoch, sender));
            key.open_in_place(&mut bytes.to_vec(), receiver.0).is_ok()
        })
    }

    /// How many of these packets it can read.
    fn reads_of(&mut self, world: &World, packets: &[(SocketAddr, SocketAddr, Bytes)]) -> usize {
        let receiver = |to: &SocketAddr| {
            let index = world.hosts.iter().position(|host| host.address == *to);
            index.map_or(MemberId::COORDINATOR, |index| world.id(index))
        };
        let sealed = packets.iter().filter(|(_, _, bytes)| !is_handshake(bytes));
        sealed
            .filter(|(_, to, bytes)| self.reads(bytes, receiver(to)))
            .count()
    }
}

fn heartbeat() -> Packet<'static> {
    Packet::Heartbeat(Heartbeat {
        sent_at: 1,
        echo: 0,
        echo_delay: 0,
        hears_multicast: false,
    })
}

impl World {
    fn instant(&self) -> Instant {
        self.start + self.now
    }

    /// A member that draws these nonces.
    fn member_with(&self, nonces: [Nonce; 4], settings: NodeSettings) -> Node {
        let [nonce, spare @ ..] = nonces;
        Node::member(self.instant(), self.hosts[0].address, nonce, &spare, settings)
    }

    /// Lets time pass, and has a spy take note of the keys of a host.
    fn run_watched(&mut self, time: Duration, host: usize, spy: &mut Spy) {
        let until = self.now + time;
        while self.now < until {
            self.step(until);
            spy.note(&self.hosts[host].node);
        }
    }

    /// What a host has to say now, without anybody looking after its timers.
    fn says(&mut self, host: usize) -> Vec<Vec<u8>> {
        let now = self.instant();
        let mut said = Vec::new();
        while let Some(outgoing) = self.hosts[host].node.poll_transmit(now, 8) {
            let size = outgoing.segment_size.unwrap_or(outgoing.contents.len());
            said.extend(outgoing.contents.chunks(size).map(<[u8]>::to_vec));
        }
        said
    }
}

fn nonces(rng: &mut Rng) -> [Nonce; 4] {
    [(); 4].map(|()| {
        let mut nonce = [0; 16];
        rng.fill(&mut nonce);
        nonce
    })
}

#[test]
fn who_joins_cannot_read_what_was_sent_before() {
    keyed(|| {
        for multicast in [false, true] {
            let mut world = quiet(11, multicast, 2);
            world.recorded = Some(Vec::new());
            for from in 0..=2 {
                world.send(from, vec![from as u8; 3000]);
            }
            world.run_for(Duration::from_millis(300));
            let before = world.recorded().len();
            let (late, mut spy) = (world.join(), Spy::default());
            world.run_watched(Duration::from_millis(500), late, &mut spy);
            assert!(world.all_in());
            let since = world.recorded().len();
            world.send(0, vec![3; 3000]);
            world.run_watched(Duration::from_millis(300), late, &mut spy);
            let recorded = world.recorded.take().expect("all was recorded");
            assert!(spy.reads_of(&world, &recorded[since..]) > 10, "it is in");
            assert!(before > 30);
            assert_eq!(
                spy.reads_of(&world, &recorded[..before]),
                0,
                "multicast: {multicast}"
            );
        }
    });
}

#[test]
fn who_is_sent_away_or_leaves_cannot_read_what_is_sent_right_after() {
    for leaves in [false, true] {
        keyed(|| {
            let mut world = quiet(12, false, 3);
            let mut spy = Spy::default();
            spy.note(&world.hosts[1].node);
            // Somebody else was told something just before: nothing is due for a while.
            world.join();
            world.run_watched(Duration::from_millis(2), 1, &mut spy);
            let (now, id) = (world.instant(), world.id(1));
            if leaves {
                let address = world.hosts[1].address;
                world.hosts[1].node.leave(now);
                world.hosts[1].node.handle_timeout(now);
                for said in world.says(1) {
                    world.inject(0, address, false, &said);
                }
            } else {
                assert!(world.hosts[0].node.dismiss(id));
            }
            world.send(0, vec![7; 3000]);
            let said = world.says(0);
            let data: Vec<_> = said.iter().filter(|bytes| bytes.len() > 150).collect();
            assert!(data.len() > 10, "{}", data.len());
            let read = data.iter().filter(|bytes| spy.reads(bytes, id)).count();
            assert_eq!(read, 0, "it leaves: {leaves}");
        });
    }
}

#[test]
fn who_has_left_cannot_speak_as_the_coordinator_nor_to_it() {
    keyed(|| {
        for multicast in [false, true] {
            let mut world = quiet(13, multicast, 3);
            let (epoch, voices) = {
                let protection = &world.hosts[1].node.protection;
                let voice = |of| protection.sealing_as(of);
                (voice(MemberId(0)).0, [0, 2].map(|index| voice(world.id(index)).1))
            };
            let now = world.instant();
            world.hosts[1].node.leave(now);
            // Until everybody knows, and no longer: old keys are still kept.
            world.run_until("all know", |world| {
                is_out(world, 1)
                    && [0, 2, 3].iter().all(|host| {
                        let node = &world.hosts[*host].node;
                        node.others().count() == 2 && node.outbox.epoch() > epoch
                    })
            });
            world.hosts[1].killed = true;
            world.run_for(Duration::from_millis(2));
            let older = world.hosts[2].node.protection.epoch_keys().len();
            assert!(older > 1, "the old key is still there");
            let session = world.hosts[0].node.outbox.session();
            // As the coordinator to a member, and as a member to the coordinator.
            for ((from, to), voice) in [(0, 2), (2, 0)].into_iter().zip(&voices) {
                for (number, audience) in [(1 << 40, Audience::All), (1 << 41, Audience::One(world.id(to).0))]
                {
                    let header = Header {
                        session,
                        sender: world.id(from).0,
                        epoch,
                        number,
                    };
                    let mut datagram = BytesMut::new();
                    heartbeat()
                        .encode_sealed(&header, voice, audience, &mut datagram)
                        .expect("within the limits");
                    let (ignored, address) = (world.ignored(to), world.hosts[from].address);
                    world.inject(to, address, false, &datagram);
                    assert_eq!(world.ignored(to), ignored + 1, "as {from} to {to}");
                }
            }
            // Nor has it moved the window of those in whose name it spoke.
            for from in [0, 2] {
                let number = world.send(from, vec![4; 2000]);
                world.run_until("delivered", |world| {
                    world.hosts[from].node.settled(0) == number + 1
                });
            }
        }
    });
}

#[test]
fn copies_of_one_process_are_members_each_by_itself() {
    keyed(|| {
        let mut world = quiet(14, false, 1);
        let mut rng = Rng::with_seed(14);
        let drawn = nonces(&mut rng);
        // Two at once that have drawn the same nonces, and one that begins once more where the first one was.
        let copies = [0, 1].map(|_| {
            let node = world.member_with(drawn, settings(false));
            world.add(node)
        });
        world.run_until("all in", World::all_in);
        let ids: BTreeSet<_> = copies.iter().map(|index| world.id(*index)).collect();
        assert_eq!(ids.len(), 2);
        world.hosts[copies[0]].node = world.member_with(drawn, settings(false));
        world.run_until("in again", |world| world.hosts[copies[0]].node.is_in());
        assert!(!ids.contains(&world.id(copies[0])));
        world.run_for(DEAD_AFTER + Duration::from_secs(1));
        assert!(world.all_in());
        for from in copies {
            let number = world.send(from, vec![1; 3000]);
            world.run_until("delivered", |world| {
                world.hosts[from].node.settled(0) == number + 1
            });
        }
    });
}

#[test]
fn a_coordinator_that_begins_again_under_its_number_seals_with_other_keys() {
    keyed(|| {
        let mut world = World::new(15, false, Path::default().delay(Duration::from_micros(100)));
        let settings = settings(false);
        let drawn = nonces(&mut Rng::with_seed(15));
        for _ in 0..3 {
            // All that repeats is what its user and its members chose; what the system draws does not.
            let again = NodeSettings {
                entropy: settings.entropy.clone(),
                ..settings.clone()
            };
            let now = world.instant();
            world.hosts.truncate(1);
            world.hosts[0].node = Node::coordinator(now, 99, RandomState::new(), again);
            world.hosts[0].events.clear();
            let node = world.member_with(drawn, settings.clone());
            world.add(node);
            world.run_until("all in", World::all_in);
            for from in [0, 1] {
                let number = world.send(from, vec![from as u8; 3000]);
                world.run_until("delivered", |world| {
                    world.hosts[from].node.settled(0) == number + 1
                });
            }
        }
        assert!(ledger::sealed() > 100);
    });
}

#[test]
fn a_node_whose_numbers_are_used_up_falls_silent() {
    keyed(|| {
        const LAST: u64 = u64::MAX / 2;
        let mut world = quiet(16, false, 1);
        let node = &mut world.hosts[0].node;
        node.outbox.advance_number(LAST - 5);
        let to = world.hosts[1].address;
        let now = world.instant();
        let node = &mut world.hosts[0].node;
        for _ in 0..10 {
            node.outbox.push(to, Target::One(MemberId(1)), &heartbeat());
        }
        let body = Bytes::from(vec![1; 3000]);
        node.push(0, RecordKind::Message, &body).expect("it is in");
        node.handle_timeout(now);
        let numbers: Vec<_> = world
            .says(0)
            .iter()
            .map(|bytes| Header::peek(bytes).expect("a datagram").header.number)
            .collect();
        assert_eq!(numbers, [4, 3, 2, 1, 0].map(|before| LAST - before));
    });
}

#[test]
fn what_was_said_in_another_session_means_nothing_in_this_one() {
    keyed(|| {
        for multicast in [false, true] {
            // Addresses, members, pre-shared key and the session's number are the same.
            let recorded = told(20 + u64::from(multicast)).recorded.take().expect("recorded");
            let mut world = World::new(22, multicast, Path::default().delay(Duration::from_micros(100)));
            let number = Header::peek(&recorded[recorded.len() - 1].2).expect("a datagram");
            let settings = NodeSettings {
                entropy: {
                    let rng = parking_lot::Mutex::new(Rng::with_seed(77));
                    crate::group::node::Entropy::new(move |out| rng.lock().fill(out))
                },
                ..settings(multicast)
            };
            world.hosts[0].node =
                Node::coordinator(world.start, number.header.session, RandomState::new(), settings);
            for _ in 0..3 {
                world.join();
            }
            world.run_until("all in", World::all_in);
            world.run_for(Duration::from_secs(1));
            let before = world.seen();
            for (from, to, bytes) in &recorded {
                for host in 0..world.hosts.len() {
                    let ignored = world.ignored(host);
                    world.inject(host, *from, to.ip().is_multicast(), bytes);
                    let asks = bytes[3] == Kind::Join as u8 && host == 0;
                    if !asks {
                        assert_eq!(world.ignored(host), ignored + 1, "kind {} to {host}", bytes[3]);
                    }
                }
                world.settle();
            }
            world.run_for(DEAD_AFTER + Duration::from_secs(1));
            assert_eq!(world.seen(), before);
            for from in 0..world.hosts.len() {
                let number = world.send(from, vec![9; 1000]);
                world.run_until("delivered", |world| {
                    world.hosts[from].node.settled(0) == number + 1
                });
            }
        }
    });
}

/// Members come, go, die, are sent away, are copied and begin again, while keys tire and the network is bad.
struct Faults {
    seed: u64,
    world: World,
    rng: Rng,
    drawn: Vec<[Nonce; 4]>,
    spies: Vec<Spy>,
    /// Who was in, in each epoch.
    views: BTreeMap<u32, BTreeSet<MemberId>>,
    settings: NodeSettings,
}

impl Faults {
    const MAX_SEALED: u64 = 400;

    fn new(seed: u64) -> Self {
        let mut rng = Rng::with_seed(seed);
        let path = rough(&mut rng);
        let multicast = rng.bool();
        let settings = NodeSettings {
            parity_from: rng.bool().then_some(1),
            skip: false,
            ..settings(multicast)
        };
        let mut world = World::new(seed, multicast, path);
        world.hosts[0].node = Node::coordinator(world.start, seed + 1, RandomState::new(), settings.clone());
        world.recorded = Some(Vec::new());
        Faults {
            seed,
            world,
            rng,
            drawn: vec![[[0; 16]; 4]],
            spies: vec![Spy::default()],
            views: BTreeMap::new(),
            settings,
        }
    }

    fn member(&self, drawn: [Nonce; 4]) -> Node {
        let settings = NodeSettings {
            multicast: None,
            ..self.settings.clone()
        };
        self.world.member_with(drawn, settings)
    }

    fn add(&mut self, drawn: [Nonce; 4]) {
        let node = self.member(drawn);
        self.world.add(node);
        self.drawn.push(drawn);
        self.spies.push(Spy::default());
    }

    /// The members that are in and live.
    fn there(&self) -> Vec<usize> {
        let hosts = 1..self.world.hosts.len();
        hosts
            .filter(|index| !self.world.hosts[*index].killed && self.world.hosts[*index].node.is_in())
            .collect()
    }

    fn act(&mut self) {
        let there = self.there();
        let chosen = self.rng.choice(&there).copied();
        let alive = self.world.hosts.iter().filter(|host| !host.killed).count();
        let now = self.world.instant();
        match (self.rng.u8(..24), chosen) {
            (0..=2, _) if alive < 6 => {
                let drawn = nonces(&mut self.rng);
                self.add(drawn);
            }
            (3, Some(index)) if alive < 6 => self.add(self.drawn[index]),
            (4, Some(index)) => {
                // Where it was, with what it had drawn: a copy of before it was in.
                let id = self.world.id(index);
                if self.world.hosts[0].node.peers.newest(id).is_some() {
                    self.world.hosts[index].node = self.member(self.drawn[index]);
                    // What it keeps of keys is another's now.
                    self.spies[index] = Spy::default();
                }
            }
            (5, Some(index)) => self.world.hosts[index].node.leave(now),
            (6, Some(index)) => self.world.hosts[index].killed = true,
            (7, Some(index)) => {
                let id = self.world.id(index);
                self.world.hosts[0].node.dismiss(id);
            }
            (_, from) => {
                let from = from.filter(|_| self.rng.u8(..3) > 0).unwrap_or(0);
                let body = vec![self.rng.u8(..); self.rng.usize(1..4000)];
                self.world.send(from, body);
            }
        }
    }

    fn pass(&mut self, time: Duration) {
        let until = self.world.now + time;
        while self.world.now < until {
            self.world.step(until);
            let node = &self.world.hosts[0].node;
            let members = node.others().chain([MemberId::COORDINATOR]).collect();
            self.views.insert(node.outbox.epoch(), members);
            for (host, spy) in self.world.hosts.iter_mut().zip(&mut self.spies) {
                host.node.outbox.set_max_sealed(Self::MAX_SEALED);
                spy.note(&host.node);
                host.killed |= host.node.ending().is_some();
            }
            self.world.hosts[0]
                .node
                .protection
                .tire_after(Self::MAX_SEALED / 2);
        }
    }

    fn run(&mut self) {
        for _ in 0..self.rng.usize(1..4) {
            let drawn = nonces(&mut self.rng);
            self.add(drawn);
        }
        for _ in 0..self.rng.usize(20..60) {
            self.act();
            let pause = Duration::from_micros(self.rng.u64(..20_000));
            self.pass(pause);
        }
        self.pass(Duration::from_secs(3));
        assert!(!is_out(&self.world, 0), "seed {}", self.seed);
        self.check_reading();
    }

    /// Each reads what was said in the epochs in which it was in, and nothing else.
    fn check_reading(&mut self) {
        let recorded = self.world.recorded.take().expect("all was recorded");
        let mut read = 0;
        for index in 1..self.spies.len() {
            let id = self.world.id(index);
            for (_, to, bytes) in recorded.iter().filter(|(_, _, bytes)| !is_handshake(bytes)) {
                let header = Header::peek(bytes).expect("a datagram").header;
                let receiver = self.world.hosts.iter().position(|host| host.address == *to);
                let receiver = receiver.map_or(MemberId::COORDINATOR, |index| self.world.id(index));
                if self.spies[index].reads(bytes, receiver) {
                    read += 1;
                    let seed = self.seed;
                    let known = self.views.get(&header.epoch);
                    assert!(
                        known.is_none_or(|members| members.contains(&id)),
                        "seed {seed}: {id:?} reads {header:?}"
                    );
                }
            }
        }
        assert!(read > 0, "seed {}", self.seed);
    }
}

#[test]
fn whatever_happens_no_number_is_used_twice_and_nobody_reads_what_is_not_for_it() {
    keyed(|| {
        let mut sealed = 0;
        for seed in seeds(8) {
            Faults::new(seed).run();
            sealed += ledger::sealed();
        }
        assert!(sealed > 500, "{sealed} packets");
    });
}

#[test]
#[should_panic(expected = "seals twice under one number")]
fn a_number_that_is_used_twice_is_found() {
    keyed(|| {
        let mut world = quiet(17, false, 1);
        let to = world.hosts[1].address;
        let outbox = &mut world.hosts[0].node.outbox;
        outbox.advance_number(1 << 20);
        outbox.push(to, Target::All, &heartbeat());
        outbox.advance_number(1 << 20);
        outbox.push(to, Target::All, &heartbeat());
    });
}
