//! Whole parties over a model of the server, which loses answers, restarts and outlives its parties.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use bytes::Bytes;
use fastrand::Rng;

use super::*;
use crate::federation::core::{Kind, Letter, Node, Setup, Tag};
use crate::federation::name::ChannelName;

const TICK: Duration = Duration::from_millis(5);

/// A stream.
#[derive(Default)]
struct Log {
    last: u64,
    messages: BTreeMap<u64, Stored>,
    keeps_last_only: bool,
    limit: usize,
}

impl Log {
    fn last_of(&self, subject: &str) -> Option<&Stored> {
        self.messages
            .values()
            .rev()
            .find(|stored| stored.subject == subject)
    }

    fn publish(&mut self, time: u64, subject: String, after: u64, payload: Bytes) -> Answer {
        let last = self.last_of(&subject).map_or(0, |stored| stored.seq);
        if last != after {
            return Answer::Overtaken;
        }
        if self.limit > 0 && self.messages.len() >= self.limit {
            return Answer::Full;
        }
        if self.keeps_last_only {
            self.messages.remove(&last);
        }
        self.last += 1;
        let stored = Stored {
            subject,
            seq: self.last,
            time,
            payload,
        };
        self.messages.insert(self.last, stored);
        Answer::Published(self.last)
    }
}

struct Server {
    data: Log,
    state: Log,
    time: u64,
}

impl Server {
    fn answer(&mut self, ask: Ask) -> Answer {
        match ask {
            Ask::Publish {
                subject,
                after,
                payload,
            } => {
                let log = match subject.contains(".state.") {
                    true => &mut self.state,
                    false => &mut self.data,
                };
                log.publish(self.time, subject, after, payload)
            }
            Ask::Last { stream, subject } => {
                let log = match stream {
                    Stream::Data => &self.data,
                    Stream::State => &self.state,
                };
                Answer::Found(log.last_of(&subject).cloned())
            }
            Ask::Next { subject, from } => {
                let mut after = self.data.messages.range(from..);
                Answer::Found(
                    after
                        .find(|(_, stored)| stored.subject == subject)
                        .map(|(_, stored)| stored.clone()),
                )
            }
            Ask::Purge { subject, below } => {
                self.data
                    .messages
                    .retain(|seq, stored| *seq >= below || stored.subject != subject);
                Answer::Purged
            }
        }
    }
}

/// One party: its node, its depot while there is a session, and its program.
struct Site {
    id: PartyId,
    others: Vec<PartyId>,
    limits: Limits,
    incarnation: u64,
    had_place: bool,
    node: Node,
    depot: Option<Depot>,
    data_at: u64,
    state_at: u64,
    /// What the program keeps over its death: for each other party, what it has of it.
    got: BTreeMap<PartyId, Vec<u64>>,
    asked: Vec<(Instant, Request)>,
    answered: Vec<(Instant, u64, Answer)>,
    is_down_until: Option<Instant>,
}

struct World {
    rng: Rng,
    now: Instant,
    server: Server,
    sites: Vec<Site>,
    faults: bool,
    messages: u64,
    /// How many sessions broke and how many programs died.
    faults_seen: [u32; 2],
}

fn key() -> FlowKey {
    FlowKey {
        kind: Kind::Variable,
        name: ChannelName::new("x").unwrap(),
    }
}

/// Message number `number`: its size differs, and every third has a tag.
fn letter(number: u64) -> Letter {
    let len = [0, 10, 3000, 40_000][(number % 4) as usize];
    let mut body = number.to_le_bytes().to_vec();
    body.resize(8 + len, number as u8);
    Letter {
        tag: tag(number),
        codec: 1,
        parts: vec![Bytes::from(body), Bytes::new(), Bytes::from(vec![1; 5])].into(),
    }
}

fn tag(number: u64) -> Option<Tag> {
    (number % 3 == 2).then(|| Tag::new("t").unwrap())
}

fn setup(site: &Site) -> Setup {
    Setup {
        job: JobId::new("j").unwrap(),
        local: site.id.clone(),
        peers: site.others.clone(),
        limits: site.limits.clone(),
        incarnation: site.incarnation,
        piece: 8192,
    }
}

impl World {
    fn new(seed: u64, limits: &[Limits]) -> World {
        let mut rng = Rng::with_seed(seed);
        let now = Instant::now();
        let ids: Vec<_> = (0..limits.len())
            .map(|index| PartyId::new(format!("p.{index}")).unwrap())
            .collect();
        let sites = ids
            .iter()
            .zip(limits)
            .map(|(id, limits)| {
                let others: Vec<_> = ids.iter().filter(|other| *other != id).cloned().collect();
                let incarnation = rng.u64(1..);
                let setup = Setup {
                    job: JobId::new("j").unwrap(),
                    local: id.clone(),
                    peers: others.clone(),
                    limits: limits.clone(),
                    incarnation,
                    piece: 8192,
                };
                Site {
                    id: id.clone(),
                    got: others.iter().map(|other| (other.clone(), Vec::new())).collect(),
                    others,
                    limits: limits.clone(),
                    incarnation,
                    had_place: false,
                    node: Node::new(setup, now),
                    depot: None,
                    data_at: 0,
                    state_at: 0,
                    asked: Vec::new(),
                    answered: Vec::new(),
                    is_down_until: None,
                }
            })
            .collect();
        World {
            rng,
            now,
            server: Server {
                data: Log::default(),
                state: Log {
                    keeps_last_only: true,
                    ..Log::default()
                },
                time: 1_000_000,
            },
            sites,
            faults: true,
            messages: 60,
            faults_seen: [0; 2],
        }
    }

    fn break_session(&mut self, index: usize) {
        self.faults_seen[0] += 1;
        let site = &mut self.sites[index];
        if let Some(depot) = site.depot.take() {
            site.had_place = depot.had_place();
        }
        // What is on its way may still arrive.
        let asked = std::mem::take(&mut site.asked);
        for (_, request) in asked {
            if self.rng.bool() {
                self.server.answer(request.ask);
            }
        }
        let site = &mut self.sites[index];
        site.answered.clear();
        for peer in 0..site.others.len() {
            site.node.handle_lost(peer);
        }
        site.is_down_until = Some(self.now + Duration::from_millis(self.rng.u64(1..200)));
    }

    fn kill(&mut self, index: usize) {
        self.faults_seen[1] += 1;
        self.break_session(index);
        let site = &mut self.sites[index];
        site.incarnation = self.rng.u64(1..);
        site.had_place = false;
        site.node = Node::new(setup(site), self.now);
        for (peer, other) in site.others.iter().enumerate() {
            let next = received_to(&site.got[other]);
            site.node.resume(peer, &key(), next).unwrap();
        }
    }

    fn step(&mut self) {
        self.now += TICK;
        self.server.time += TICK.as_millis() as u64;
        for index in 0..self.sites.len() {
            if self.faults {
                if self.rng.u32(..150) == 0 {
                    self.break_session(index);
                }
                if self.rng.u32(..600) == 0 {
                    self.kill(index);
                }
                if self.rng.u32(..300) == 0 {
                    // Full for a while.
                    self.server.data.limit = if self.server.data.limit == 0 { 1 } else { 0 };
                }
            } else {
                self.server.data.limit = 0;
            }
            self.run(index);
            self.program(index);
        }
    }

    fn run(&mut self, index: usize) {
        let (now, rng, server) = (self.now, &mut self.rng, &mut self.server);
        let site = &mut self.sites[index];
        if site.is_down_until.is_none_or(|until| now >= until) && site.depot.is_none() {
            site.is_down_until = None;
            let setup = DepotSetup {
                job: JobId::new("j").unwrap(),
                local: site.id.clone(),
                peers: site.others.clone(),
                limits: site.limits.clone(),
                subjects: Subjects::new("p", &JobId::new("j").unwrap()).unwrap(),
                incarnation: site.incarnation,
                session: rng.u64(1..),
                had_place: site.had_place,
                max_payload: 20_000,
            };
            (site.data_at, site.state_at) = (0, 0);
            site.depot = Some(Depot::new(setup, now));
        }
        site.node.handle_timeout(now);
        while site.node.poll_event().is_some() {}
        let Some(depot) = &mut site.depot else {
            for peer in 0..site.others.len() {
                while site.node.poll_transmit(now, peer).is_some() {}
            }
            return;
        };
        depot.handle_timeout(now);
        for _ in 0..50 {
            let mut is_idle = true;
            for peer in 0..site.others.len() {
                while let Some(packet) = site.node.poll_transmit(now, peer) {
                    depot.handle_packet(now, packet);
                    is_idle = false;
                }
            }
            while let Some(packet) = depot.poll_transmit(now) {
                site.node.handle_packet(now, packet);
                is_idle = false;
            }
            if is_idle {
                break;
            }
        }
        while let Some(request) = depot.poll_request(now) {
            site.asked.push((now + TICK * rng.u32(0..4), request));
        }
        let due = |at: &Instant| *at <= now;
        for (_, request) in site.asked.extract_if(.., |(at, _)| due(at)) {
            let answer = server.answer(request.ask);
            site.answered
                .push((now + TICK * rng.u32(0..4), request.ticket, answer));
        }
        for (_, ticket, answer) in site.answered.extract_if(.., |(at, ..)| due(at)) {
            depot.handle_answer(now, ticket, answer);
        }
        let subjects = depot.setup.subjects.clone();
        let prefix = |subject: String| subject.trim_end_matches('>').to_owned();
        let (parties, done) = (prefix(subjects.parties()), prefix(subjects.done_from(&site.id)));
        let news: Vec<_> = server.state.messages.range(site.state_at + 1..).collect();
        for (seq, stored) in news {
            site.state_at = *seq;
            if stored.subject.starts_with(&parties) || stored.subject.starts_with(&done) {
                depot.handle_stored(now, stored);
            }
        }
        let own = prefix(subjects.data_to(&site.id));
        while depot.wants_data()
            && let Some((seq, stored)) = server
                .data
                .messages
                .range(site.data_at + 1..)
                .find(|(_, stored)| stored.subject.starts_with(&own))
        {
            site.data_at = *seq;
            depot.handle_stored(now, stored);
        }
        if depot.broken().is_some() {
            self.break_session(index);
        }
    }

    /// Each program sends numbers to each other one, and receives theirs.
    fn program(&mut self, index: usize) {
        let site = &mut self.sites[index];
        for (peer, other) in site.others.iter().enumerate() {
            while let Ok(Some(next)) = site.node.open(peer, &key())
                && next < self.messages
                && site.node.send(self.now, peer, &key(), letter(next), None).is_ok()
            {}
            let got = site.got.get_mut(other).unwrap();
            for tag in [None, Some(Tag::new("t").unwrap())] {
                while let Some(taken) = site.node.take(peer, &key(), tag.as_ref()) {
                    let expected = letter(taken.offset);
                    assert_eq!(taken.letter, Some(expected), "{} from {other}", site.id);
                    got.push(taken.offset);
                }
            }
        }
    }

    fn is_done(&self) -> bool {
        self.sites.iter().all(|site| {
            let all = site.got.values();
            all.clone().all(|got| distinct(got) as u64 == self.messages)
        })
    }
}

fn distinct(got: &[u64]) -> usize {
    let mut got = got.to_vec();
    got.sort_unstable();
    got.dedup();
    got.len()
}

/// All lower numbers are there.
fn received_to(got: &[u64]) -> u64 {
    (0..).find(|number| !got.contains(number)).unwrap()
}

fn limits(window: u32) -> Limits {
    Limits::new()
        .window_messages(window)
        .heartbeat(Duration::from_millis(50))
        .dead_after(Duration::from_millis(300))
        .retry(Duration::from_millis(100))
}

/// All that was sent is received, once and in order, for each tag; `deaths` says whether programs die.
fn run(seed: u64, windows: &[u32]) {
    let all: Vec<_> = windows.iter().map(|window| limits(*window)).collect();
    let mut world = World::new(seed, &all);
    for step in 0.. {
        // A quarter second without faults now and then, or nobody would ever have its place.
        world.faults = step < 2000 && step % 200 < 150;
        world.step();
        if world.is_done() {
            println!(
                "seed {seed}: {step} steps, sessions and programs that broke: {:?}",
                world.faults_seen
            );
            break;
        }
        assert!(step < 20_000, "seed {seed}: it does not end");
    }
    for site in &world.sites {
        for (other, got) in &site.got {
            for is_tagged in [false, true] {
                let of_tag = got.iter().filter(|number| tag(**number).is_some() == is_tagged);
                // A program that dies with tagged messages behind a gap gets these again: it can say only up to where it
                // has all.
                let mut last = None;
                for number in of_tag {
                    assert!(
                        last < Some(*number) || is_tagged || windows.len() > 8,
                        "seed {seed}: {} has {number} of {other} after {last:?}",
                        site.id
                    );
                    last = Some(*number);
                }
            }
        }
    }
}

#[test]
fn each_message_comes_over_once_and_in_order() {
    let seed = fastrand::u64(..);
    for seed in (0..4).map(|number| seed.wrapping_add(number)) {
        run(seed, &[8, 8]);
    }
}

#[test]
fn a_receiver_of_a_smaller_window_leaves_the_rest_in_the_stream() {
    let seed = fastrand::u64(..);
    for seed in (0..4).map(|number| seed.wrapping_add(number)) {
        run(seed, &[16, 2, 5]);
    }
}
