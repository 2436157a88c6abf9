//! Broadcast groups that come and go under one number, on a network that does what networks do, with members that come
//! and go, do not read, and hear nothing for a while: whoever takes part gets what was sent to one of them alone, and
//! learns how it ended.

use std::ops::Range;
use std::time::{Duration, Instant};

use bytes::Bytes;
use fastrand::Rng;
use flexbond_transport::simnet::Path;
use flexbond_wire::group::ChannelKind;

use super::{World, rough, seeds, settings};
use crate::group::flow::RecordKind;
use crate::group::node::{GroupEnd, Node, NodeSettings};

const GROUP: u16 = 9;
const MEMBERS: usize = 3;
/// How long it may take until everybody has heard of the end.
const PATIENCE: Duration = Duration::from_secs(30);

/// One group of those that come and go.
#[derive(Debug)]
struct Hosting {
    number: u64,
    /// The numbers of its messages.
    sent: Range<u64>,
    is_open: bool,
}

/// A member that takes part, or wants to.
#[derive(Debug)]
struct Stay {
    host: usize,
    request: u32,
    /// How many messages there were when it was in; none before it is.
    since: Option<u64>,
    /// Which group it is in.
    hosting: Option<u64>,
    got: Vec<u64>,
    end: Option<GroupEnd>,
    has_left: bool,
}

struct Hostings {
    what: String,
    world: World,
    rng: Rng,
    reading: [bool; MEMBERS + 1],
    hostings: Vec<Hosting>,
    stays: Vec<Stay>,
    /// The bodies of all messages, and the numbers that the coordinator's node gave them.
    sent: Vec<(Bytes, u64)>,
}

impl Hostings {
    fn new(seed: u64) -> Self {
        let mut rng = Rng::with_seed(seed ^ 0xE4D);
        let mut world = World::new(seed, rng.bool(), rough(&mut rng));
        for _ in 0..MEMBERS {
            let mut nonce = [0; 16];
            rng.fill(&mut nonce);
            let settings = NodeSettings {
                recv_budget: rng.u64(20_000..100_000),
                ..settings(false)
            };
            let node = Node::member(world.start, world.hosts[0].address, nonce, &[], settings);
            world.add(node);
        }
        let what = format!("FLEXBOND_SEED={seed}");
        world.run_until(&what, World::all_in);
        Hostings {
            what,
            world,
            rng,
            reading: [true; MEMBERS + 1],
            hostings: Vec::new(),
            stays: Vec::new(),
            sent: Vec::new(),
        }
    }

    fn now(&self) -> Instant {
        self.world.start + self.world.now
    }

    fn open(&mut self) -> Option<&mut Hosting> {
        self.hostings.last_mut().filter(|hosting| hosting.is_open)
    }

    fn act(&mut self) {
        match self.rng.u8(..100) {
            0..45 => self.send(),
            45..60 => self.begin(),
            60..65 => self.end(),
            65..80 => self.enter(),
            80..84 => self.leave(),
            84..90 => {
                let host = self.rng.usize(1..=MEMBERS);
                self.reading[host] = self.rng.bool();
            }
            90..95 => self.disturb(),
            _ => self.heal(),
        }
        let longest = if self.rng.u8(..10) == 0 { 100_000 } else { 3000 };
        let pause = Duration::from_micros(self.rng.u64(..longest));
        self.pass(pause);
    }

    fn send(&mut self) {
        let size = match self.rng.u8(..6) {
            0 => self.rng.usize(8..15_000),
            _ => self.rng.usize(8..1500),
        };
        let number = self.sent.len() as u64;
        let Some(hosting) = self.open() else {
            return;
        };
        let mut body = vec![hosting.number as u8; size];
        body[..8].copy_from_slice(&number.to_be_bytes());
        let body = Bytes::from(body);
        hosting.sent.end = number + 1;
        let node = &mut self.world.hosts[0].node;
        let record = node.push(GROUP, RecordKind::Message, &body);
        self.sent.push((body, record.expect("there is room")));
    }

    fn begin(&mut self) {
        if self.open().is_none()
            && let Ok(number) = self.world.hosts[0].node.host_broadcast(GROUP)
        {
            let next = self.sent.len() as u64;
            self.hostings.push(Hosting {
                number,
                sent: next..next,
                is_open: true,
            });
        }
    }

    fn end(&mut self) {
        let longest = if self.rng.bool() { 1 } else { 200 };
        let deadline = self.now() + Duration::from_millis(self.rng.u64(..longest));
        let now = self.now();
        if let Some(hosting) = self.open() {
            hosting.is_open = false;
            let number = hosting.number;
            self.world.hosts[0].node.unhost(now, GROUP, number, deadline);
        }
    }

    fn enter(&mut self) {
        let host = self.rng.usize(1..=MEMBERS);
        let now = self.now();
        let node = &mut self.world.hosts[host].node;
        if !node.takes_part(GROUP) {
            let request = node.join_channel(now, GROUP, ChannelKind::Broadcast);
            // Whoever had a place that is over gives it up when it has the next one, or at some time before.
            self.stays.push(Stay {
                host,
                request,
                since: None,
                hosting: None,
                got: Vec::new(),
                end: None,
                has_left: false,
            });
        }
    }

    /// Gives up a place, of the last group or of an earlier one.
    fn leave(&mut self) {
        let now = self.now();
        if let Some(index) = (!self.stays.is_empty()).then(|| self.rng.usize(..self.stays.len()))
            && self.stays[index].since.is_some()
        {
            let stay = &mut self.stays[index];
            stay.has_left = true;
            let node = &mut self.world.hosts[stay.host].node;
            node.leave_place(now, GROUP, stay.request);
        }
    }

    /// Somebody does not hear the coordinator, or is not heard by it.
    fn disturb(&mut self) {
        let host = self.rng.usize(1..=MEMBERS);
        let [coordinator, member] = [0, host].map(|host| self.world.hosts[host].address.ip());
        let (from, to) = match self.rng.bool() {
            true => (coordinator, member),
            false => (member, coordinator),
        };
        self.world.network.set_path(from, to, Path::default().loss(1.0));
    }

    fn heal(&mut self) {
        let coordinator = self.world.hosts[0].address.ip();
        for host in 1..=MEMBERS {
            let member = self.world.hosts[host].address.ip();
            self.world.network.reset_path(coordinator, member);
            self.world.network.reset_path(member, coordinator);
        }
    }

    fn pass(&mut self, time: Duration) {
        let until = self.world.now + time;
        while self.world.now < until {
            self.world.step(until);
            self.look();
        }
    }

    fn look(&mut self) {
        let now = self.now();
        let count = self.sent.len() as u64;
        for stay in &mut self.stays {
            let id = self.world.id(stay.host);
            let hosting = self.world.hosts[0].node.came_into(GROUP, id, stay.request);
            let node = &mut self.world.hosts[stay.host].node;
            if stay.end.is_some() || stay.has_left {
                continue;
            }
            if stay.since.is_none() {
                match node.take_reply(stay.request) {
                    None => continue,
                    Some(Ok(_)) => (stay.since, stay.hosting) = (Some(count), hosting),
                    Some(Err(_)) => {
                        node.leave_place(now, GROUP, stay.request);
                        stay.has_left = true;
                        continue;
                    }
                }
            }
            while self.reading[stay.host]
                && stay.end.is_none()
                && node.place_end(GROUP, stay.request).is_none()
            {
                let Some(popped) = node.pop(now, GROUP) else {
                    break;
                };
                let number = popped
                    .body
                    .first_chunk()
                    .map(|number| u64::from_be_bytes(*number));
                let number = number.expect("all have numbers");
                assert_eq!(
                    self.sent.get(number as usize).map(|(body, _)| body),
                    Some(&popped.body),
                    "{}",
                    self.what
                );
                stay.got.push(number);
            }
            stay.end = node.place_end(GROUP, stay.request);
        }
    }

    fn run(&mut self) {
        self.begin();
        for _ in 0..self.rng.usize(50..250) {
            self.act();
        }
        self.heal();
        self.end();
        self.reading = [true; MEMBERS + 1];
        let until = self.world.now + PATIENCE;
        let waits = |stay: &Stay, world: &World| {
            let is_in = world.hosts[stay.host].node.is_in();
            is_in && stay.since.is_some() && stay.end.is_none() && !stay.has_left
        };
        while self.world.hosts[0].node.has_channel(GROUP)
            || self.stays.iter().any(|stay| waits(stay, &self.world))
        {
            assert!(self.world.now < until, "{}: {:?}", self.what, self.stays);
            self.pass(Duration::from_millis(10));
        }
        self.check();
    }

    fn check(&self) {
        for stay in &self.stays {
            let what = || format!("{}: {stay:?} of {:?}", self.what, self.hostings);
            let id = self.world.id(stay.host);
            let is_in = self.world.hosts[0].node.others().any(|other| other == id);
            let Some(since) = stay.since else {
                assert!(stay.got.is_empty(), "{}", what());
                continue;
            };
            let in_order = stay.got.windows(2).all(|pair| pair[0] + 1 == pair[1]);
            assert!(in_order, "{}", what());
            let mut hostings = self.hostings.iter();
            let Some(hosting) = hostings.find(|hosting| Some(hosting.number) == stay.hosting) else {
                continue;
            };
            let owed = since.max(hosting.sent.start)..hosting.sent.end;
            let is_inside = stay.got.iter().all(|number| hosting.sent.contains(number));
            assert!(is_inside, "{}: of two groups", what());
            let lacking = owed.clone().filter(|number| !stay.got.contains(number));
            let lacking: Vec<u64> = lacking.collect();
            if stay.end == Some(GroupEnd::Whole) {
                assert!(lacking.is_empty(), "{}: lacks {lacking:?}", what());
            }
            if stay.end == Some(GroupEnd::Cut) && is_in {
                let node = &self.world.hosts[0].node;
                for number in lacking {
                    let (_, record) = self.sent[number as usize];
                    let missed = node.missed(GROUP, record..=record);
                    assert!(missed.contains(&id), "{}: {number} counts as delivered", what());
                }
            }
        }
    }
}

#[test]
fn groups_that_come_and_go_under_one_number_are_told_apart() {
    seeds(40).for_each(|seed| Hostings::new(seed).run());
}

#[cfg(feature = "group-crypto")]
#[test]
fn groups_that_come_and_go_under_one_number_are_told_apart_with_a_key() {
    super::keys::keyed(|| seeds(20).for_each(|seed| Hostings::new(seed).run()));
}
