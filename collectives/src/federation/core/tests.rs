//! Parties over a network that loses, doubles, reorders, and whose ends die and come back. All by a seed, which a
//! failing test prints.

mod acks;
mod epochs;
mod hostile;
mod packing;
mod relayed;
mod stage;

use std::time::{Duration, Instant};

use bytes::Bytes;
use flexbond_transport::Message;

use super::packet::FlowKey;
use super::*;
use crate::federation::limits::Limits;
use crate::federation::name::{ChannelName, JobId, PartyId};

struct Net {
    now: Instant,
    random: fastrand::Rng,
    nodes: Vec<Node>,
    setups: Vec<Setup>,
    /// When, to whom, what.
    flying: Vec<(Instant, usize, Message)>,
    /// Of a thousand packets.
    loss: u32,
    doubled: u32,
    /// How much later than another a packet may come.
    jitter: u64,
    incarnations: u64,
    events: Vec<Vec<Event>>,
}

fn limits() -> Limits {
    Limits {
        retry: Duration::from_millis(100),
        heartbeat: Duration::from_millis(200),
        dead_after: Duration::from_millis(1000),
        ..Limits::default()
    }
}

fn party(index: usize) -> PartyId {
    PartyId::new(["a", "b", "c", "d"][index]).unwrap()
}

fn key(name: &str) -> FlowKey {
    FlowKey {
        kind: Kind::Variable,
        name: ChannelName::new(name).unwrap(),
    }
}

#[expect(clippy::needless_pass_by_value, reason = "numbers and literals")]
fn letter(text: impl ToString) -> Letter {
    Letter {
        tag: None,
        codec: 0,
        parts: vec![Bytes::from(text.to_string())].into(),
    }
}

fn tagged(tag: &str, text: impl ToString) -> Letter {
    let tag = Some(Tag::new(tag).unwrap());
    Letter { tag, ..letter(text) }
}

fn text(taken: &Taken) -> Option<String> {
    let letter = taken.letter.as_ref()?;
    Some(
        letter
            .parts
            .iter()
            .map(|part| String::from_utf8_lossy(part))
            .collect(),
    )
}

impl Net {
    fn new(size: usize, seed: u64, limits: &Limits) -> Net {
        let setups: Vec<_> = (0..size)
            .map(|me| Setup {
                job: JobId::new("job").unwrap(),
                local: party(me),
                peers: (0..size).filter(|peer| *peer != me).map(party).collect(),
                limits: limits.clone(),
                incarnation: 0,
                piece: 1000,
            })
            .collect();
        let mut net = Net {
            now: Instant::now(),
            random: fastrand::Rng::with_seed(seed),
            nodes: Vec::new(),
            setups,
            flying: Vec::new(),
            loss: 0,
            doubled: 0,
            jitter: 1,
            incarnations: 0,
            events: vec![Vec::new(); size],
        };
        for index in 0..size {
            let node = net.make(index);
            net.nodes.push(node);
        }
        net
    }

    fn make(&mut self, index: usize) -> Node {
        self.incarnations += 1;
        let mut setup = self.setups[index].clone();
        setup.incarnation = self.incarnations;
        Node::new(setup, self.now)
    }

    /// The program of a party dies and is started again. `is_seen`: the others see the connection break.
    fn restart(&mut self, index: usize, is_seen: bool) {
        self.nodes[index] = self.make(index);
        for other in (0..self.nodes.len()).filter(|other| *other != index) {
            if is_seen {
                let peer = self.nodes[other].peer_index(&party(index)).unwrap();
                self.nodes[other].handle_lost(peer);
            }
        }
    }

    fn peer(&self, at: usize, of: usize) -> usize {
        self.nodes[at].peer_index(&party(of)).unwrap()
    }

    fn send(&mut self, from: usize, to: usize, name: &str, letter: Letter) -> Result<(), Rejected> {
        let (now, peer) = (self.now, self.peer(from, to));
        let ttl = self.setups[from].limits.ttl;
        self.nodes[from].send(now, peer, &key(name), letter, ttl)
    }

    fn take(&mut self, at: usize, from: usize, name: &str, tag: Option<&str>) -> Option<Taken> {
        let peer = self.peer(at, from);
        let tag = tag.map(|tag| Tag::new(tag).unwrap());
        self.nodes[at].take(peer, &key(name), tag.as_ref())
    }

    /// All that can happen at this moment, then the next moment at which something can.
    fn step(&mut self) {
        for from in 0..self.nodes.len() {
            for peer in 0..self.nodes[from].peers().len() {
                let to = self
                    .setups
                    .iter()
                    .position(|s| s.local == self.setups[from].peers[peer])
                    .unwrap_or(usize::MAX);
                while let Some(message) = self.nodes[from].poll_transmit(self.now, peer) {
                    let copies = 1 + u32::from(self.random.u32(0..1000) < self.doubled);
                    for _ in 0..copies {
                        if self.random.u32(0..1000) >= self.loss {
                            let delay = Duration::from_millis(self.random.u64(1..=self.jitter));
                            self.flying.push((self.now + delay, to, message.clone()));
                        }
                    }
                }
            }
            while let Some(event) = self.nodes[from].poll_event() {
                self.events[from].push(event);
            }
        }
        let timeouts = self.nodes.iter().filter_map(Node::poll_timeout);
        let next = self.flying.iter().map(|(at, ..)| *at).chain(timeouts).min();
        self.now = next.expect("links always have a timer").max(self.now);
        let (due, later) = std::mem::take(&mut self.flying)
            .into_iter()
            .partition(|(at, ..)| *at <= self.now);
        self.flying = later;
        let due: Vec<(Instant, usize, Message)> = due;
        for (_, to, message) in due {
            // A party that has not started gets nothing.
            if let Some(node) = self.nodes.get_mut(to) {
                node.handle_packet(self.now, message);
            }
        }
        for node in &mut self.nodes {
            if node.poll_timeout().is_some_and(|at| at <= self.now) {
                node.handle_timeout(self.now);
            }
        }
    }

    fn run(&mut self, time: Duration) {
        let end = self.now + time;
        while self.now < end {
            self.step();
        }
    }

    /// Goes on until `done`; fails when that takes more than `minutes` of virtual time.
    fn until(&mut self, minutes: u64, mut done: impl FnMut(&mut Net) -> bool) {
        let end = self.now + Duration::from_secs(60 * minutes);
        while !done(self) {
            assert!(self.now < end, "it takes more than {minutes} min");
            self.step();
        }
    }
}

/// Runs a test with some seeds, and says which one fails.
fn with_seeds(count: u64, test: impl Fn(u64)) {
    struct Told(u64);
    impl Drop for Told {
        fn drop(&mut self) {
            if std::thread::panicking() {
                eprintln!("the seed is {}", self.0);
            }
        }
    }
    for seed in 0..count {
        let told = Told(seed);
        test(seed);
        drop(told);
    }
}

#[test]
fn messages_come_once_and_in_order_over_a_bad_network() {
    with_seeds(4, |seed| {
        let mut net = Net::new(2, seed, &limits());
        (net.loss, net.doubled, net.jitter) = (150, 100, 5);
        let (mut sent, mut got) = ([0, 0], [Vec::new(), Vec::new()]);
        net.until(10, |net| {
            for (from, to) in [(0, 1), (1, 0)] {
                while sent[from] < 80 && net.send(from, to, "x", letter(sent[from])).is_ok() {
                    sent[from] += 1;
                }
                while let Some(taken) = net.take(to, from, "x", None) {
                    got[to].push(text(&taken).unwrap());
                }
            }
            got.iter().all(|got| got.len() >= 80)
        });
        let is_settled =
            |net: &mut Net| net.nodes[0].peers()[0].out.get(&key("x")).unwrap().waiting() == (0, 0);
        net.until(10, is_settled);
        let expected: Vec<_> = (0..80).map(|i| i.to_string()).collect();
        assert_eq!(got, [expected.clone(), expected]);
        assert!(net.take(1, 0, "x", None).is_none());
    });
}

#[test]
fn what_a_broken_way_has_lost_is_sent_again_at_once() {
    let mut net = Net::new(2, 1, &limits());
    net.send(0, 1, "x", letter("first")).unwrap();
    net.run(Duration::from_secs(1));
    for i in 0..100 {
        net.send(0, 1, "x", letter(i)).unwrap();
    }
    net.loss = 1000;
    net.step();
    net.loss = 0;
    let peer = net.peer(0, 1);
    net.nodes[0].handle_lost(peer);
    net.run(Duration::from_millis(20));
    let count = std::iter::from_fn(|| net.take(1, 0, "x", None)).count();
    assert_eq!(count, 101);
}

#[test]
fn nothing_is_lost_or_doubled_when_either_program_dies() {
    with_seeds(8, |seed| {
        let mut net = Net::new(2, seed, &limits());
        (net.loss, net.doubled, net.jitter) = (50, 50, 5);
        // What the receiving program has written down, as a program does that goes on after its death.
        let mut log: Vec<String> = Vec::new();
        let mut deaths = 12;
        net.until(30, |net| {
            if deaths > 0 && net.random.u32(0..150) == 0 {
                deaths -= 1;
                let (who, is_seen) = (net.random.usize(0..2), net.random.bool());
                net.restart(who, is_seen);
                if who == 1 {
                    let peer = net.peer(1, 0);
                    net.nodes[1].resume(peer, &key("x"), log.len() as u64).unwrap();
                }
            }
            // The sender asks which message is the next, and goes on there.
            let peer = net.peer(0, 1);
            while let Some(next) = net.nodes[0].open(peer, &key("x")).unwrap()
                && next < 100
                && net.send(0, 1, "x", letter(next)).is_ok()
            {}
            while let Some(taken) = net.take(1, 0, "x", None) {
                assert_eq!(taken.offset, log.len() as u64, "each once, in order");
                log.push(text(&taken).unwrap());
            }
            log.len() == 100 && deaths == 0
        });
        assert!(log.into_iter().eq((0..100).map(|i| i.to_string())));
    });
}

#[test]
fn tags_are_taken_in_any_order_and_may_be_used_again() {
    let mut net = Net::new(2, 1, &limits());
    for message in [
        tagged("t", 1),
        letter(2),
        tagged("u", 3),
        tagged("t", 4),
        letter(5),
    ] {
        net.send(0, 1, "x", message).unwrap();
    }
    net.run(Duration::from_secs(1));
    let mut next = |tag| {
        net.take(1, 0, "x", tag)
            .and_then(|taken| text(&taken))
            .unwrap_or_default()
    };
    assert_eq!(
        [Some("u"), None, Some("t"), Some("t"), Some("t"), None].map(&mut next),
        ["3", "2", "1", "4", "", "5"]
    );
}

#[test]
fn large_messages_go_in_pieces_and_small_ones_pass_them() {
    with_seeds(2, |seed| {
        let mut net = Net::new(2, seed, &limits());
        (net.loss, net.jitter) = (50, 10);
        let large = Letter {
            tag: None,
            codec: 7,
            parts: vec![
                Bytes::from(vec![1; 350_000]),
                Bytes::new(),
                Bytes::from(vec![2; 2_345]),
                Bytes::from_static(b"end"),
                Bytes::new(),
            ]
            .into(),
        };
        net.send(0, 1, "large", large.clone()).unwrap();
        net.send(0, 1, "small", letter("quick")).unwrap();
        let mut small = None;
        net.until(5, |net| {
            small = small.take().or_else(|| net.take(1, 0, "small", None));
            small.is_some()
        });
        assert!(net.take(1, 0, "large", None).is_none(), "it is far from whole");
        let mut whole = None;
        net.until(5, |net| {
            whole = net.take(1, 0, "large", None);
            whole.is_some()
        });
        assert!(whole.unwrap().letter == Some(large));
    });
}

#[test]
fn a_sender_waits_for_its_receiver_on_one_channel_only() {
    let limits = Limits {
        window_messages: 3,
        window_bytes: 100,
        ..limits()
    };
    let mut net = Net::new(2, 1, &limits);
    for i in 0..3 {
        net.send(0, 1, "x", letter(i)).unwrap();
    }
    net.run(Duration::from_secs(5));
    assert!(
        matches!(net.send(0, 1, "x", letter(3)), Err(Rejected::Full(_))),
        "nobody has received"
    );
    net.send(0, 1, "y", letter("x".repeat(1000)))
        .expect("one is let through, whatever its size");
    assert!(matches!(net.send(0, 1, "y", letter("")), Err(Rejected::Full(_))));
    assert!(net.take(1, 0, "x", None).is_some());
    net.run(Duration::from_secs(1));
    net.send(0, 1, "x", letter(3)).unwrap();
}

#[test]
fn the_smaller_window_counts_also_for_what_was_sent_before_the_two_met() {
    let mut net = Net::new(2, 1, &limits());
    net.setups[1].limits.window_messages = 2;
    net.setups[1].limits.max_message = 10;
    let node = net.make(1);
    net.nodes[1] = node;
    for i in 0..5 {
        net.send(0, 1, "x", letter(i)).unwrap();
    }
    net.send(0, 1, "x", letter("too long for it")).unwrap();
    net.run(Duration::from_secs(1));
    assert_eq!(net.nodes[1].peers()[0].inn.get(&key("x")).unwrap().held().0, 2);
    let mut got = Vec::new();
    for _ in 0..6 {
        net.run(Duration::from_millis(50));
        got.push(text(&net.take(1, 0, "x", None).unwrap()));
    }
    assert_eq!(
        got[..5],
        ["0", "1", "2", "3", "4"].map(|text| Some(text.to_owned()))
    );
    assert_eq!(got[5], None, "the receiver is told that there was one");
    assert_eq!(net.nodes[1].peers()[0].wrong, 0);
    assert!(matches!(
        net.send(0, 1, "x", letter("too long for it")),
        Err(Rejected::TooLarge { size: 15, limit: 10 })
    ));
}

#[test]
fn what_waits_too_long_is_dropped_and_its_receiver_is_told() {
    let limits = Limits {
        ttl: Some(Duration::from_secs(2)),
        window_messages: 2,
        ..limits()
    };
    let mut net = Net::new(2, 1, &limits);
    net.send(0, 1, "x", letter("early")).unwrap();
    net.run(Duration::from_secs(1));
    assert_eq!(
        text(&net.take(1, 0, "x", None).unwrap()).as_deref(),
        Some("early")
    );
    net.run(Duration::from_secs(1));
    for round in 0..5 {
        net.send(0, 1, "x", letter(round)).unwrap();
        net.send(0, 1, "x", letter(round)).unwrap();
        net.run(Duration::from_secs(3));
    }
    let flow = net.nodes[0].peers()[0].out.get(&key("x")).unwrap();
    assert_eq!(
        (flow.waiting(), flow.expired),
        ((0, 0), 10),
        "the sender need not keep them"
    );
    let taken: Vec<_> = std::iter::from_fn(|| net.take(1, 0, "x", None)).collect();
    assert_eq!(
        taken.iter().map(|taken| taken.offset).collect::<Vec<_>>(),
        [9, 10],
        "only so many tombs"
    );
    assert!(taken.iter().all(|taken| taken.letter.is_none()));
    // While the other side is away, it is the sender who counts.
    net.loss = 1000;
    net.send(0, 1, "x", letter("lost")).unwrap();
    net.run(Duration::from_secs(1));
    net.restart(1, true);
    net.run(Duration::from_secs(3));
    net.loss = 0;
    net.run(Duration::from_secs(5));
    let taken = net.take(1, 0, "x", None).unwrap();
    assert_eq!((taken.offset, taken.letter), (11, None));
}

#[test]
fn all_are_ready_when_all_see_all() {
    with_seeds(6, |seed| {
        let mut net = Net::new(4, seed, &limits());
        (net.loss, net.jitter) = (200, 30);
        net.until(2, |net| net.nodes.iter().all(Node::is_ready));
        net.run(Duration::from_secs(1));
        for events in &net.events {
            assert_eq!(events.iter().filter(|event| **event == Event::Ready).count(), 1);
        }
        // Who starts again finds the others ready.
        net.restart(2, true);
        net.until(2, |net| net.nodes[2].is_ready());
    });
    let mut net = Net::new(3, 0, &limits());
    net.nodes.pop();
    net.run(Duration::from_secs(60));
    assert!(!net.nodes.iter().any(Node::is_ready), "one is missing");
}

#[test]
fn an_abort_reaches_everybody_with_its_reason() {
    with_seeds(6, |seed| {
        let mut net = Net::new(3, seed, &limits());
        (net.loss, net.jitter) = (200, 30);
        net.until(2, |net| net.nodes.iter().all(Node::is_ready));
        net.send(1, 2, "x", letter("never received")).unwrap();
        let (reason, by) = ("ü".repeat(1000), party(0));
        net.nodes[0].abort(by.clone(), reason);
        net.until(2, |net| net.nodes.iter().all(|node| node.check(None).is_err()));
        let reason = "ü".repeat(512);
        for node in &net.nodes {
            let (by, reason) = (by.clone(), reason.clone());
            assert_eq!(node.check(None), Err(Barrier::Aborted { by, reason }));
        }
        assert!(matches!(net.send(1, 2, "x", letter("")), Err(Rejected::Over(_))));
        // Also who was away is told.
        net.restart(1, true);
        net.until(2, |net| net.nodes[1].check(None).is_err());
    });
}

#[test]
fn who_leaves_hands_over_first() {
    with_seeds(6, |seed| {
        let mut net = Net::new(2, seed, &limits());
        (net.loss, net.jitter) = (200, 30);
        for i in 0..50 {
            net.send(0, 1, "x", letter(i)).unwrap();
        }
        net.nodes[0].leave();
        assert!(!net.nodes[0].is_done());
        net.until(5, |net| net.nodes[0].is_done());
        net.until(5, |net| net.nodes[1].peers()[0].has_left);
        let count = std::iter::from_fn(|| net.take(1, 0, "x", None)).count();
        assert_eq!(count, 50);
        assert!(matches!(
            net.send(0, 1, "x", letter("")),
            Err(Rejected::Over(Barrier::Closed))
        ));
    });
}

#[test]
fn of_two_with_one_id_the_second_is_refused_while_the_first_lives() {
    let mut net = Net::new(2, 1, &limits());
    net.run(Duration::from_secs(1));
    let second = net.make(1);
    // Both get all that is sent to the party.
    let mut first = std::mem::replace(&mut net.nodes[1], second);
    for _ in 0..100 {
        net.step();
        first.handle_timeout(net.now);
        while let Some(message) = first.poll_transmit(net.now, 0) {
            net.nodes[0].handle_packet(net.now, message);
        }
        while let Some(message) = net.nodes[0].poll_transmit(net.now, 0) {
            first.handle_packet(net.now, message.clone());
            net.nodes[1].handle_packet(net.now, message);
        }
    }
    assert_eq!(net.nodes[1].peers()[0].refused, Some(Refusal::InUse));
    assert!(!net.nodes[1].peers()[0].was_up);
    // The first one falls silent; the second takes its place; the first comes back and hears of it.
    net.run(Duration::from_secs(15));
    assert!(net.nodes[1].peers()[0].link.is_up());
    first.handle_timeout(net.now);
    while let Some(message) = first.poll_transmit(net.now, 0) {
        net.nodes[0].handle_packet(net.now, message);
    }
    while let Some(message) = net.nodes[0].poll_transmit(net.now, 0) {
        first.handle_packet(net.now, message);
    }
    assert_eq!(first.check(None), Err(Barrier::Superseded));
}

#[test]
fn other_jobs_and_strangers_are_kept_apart() {
    let mut net = Net::new(3, 1, &limits());
    net.setups[1].job = JobId::new("another").unwrap();
    net.nodes[1] = net.make(1);
    // The third one is in no configuration but its own.
    net.setups[0].peers.pop();
    net.nodes[0] = net.make(0);
    for _ in 0..200 {
        net.step();
    }
    let other = &net.nodes[1].peers()[0];
    assert_eq!((other.refused, other.was_up), (Some(Refusal::OtherJob), false));
    let peer = net.peer(1, 0);
    assert_eq!(
        net.nodes[1].check(Some(peer)),
        Err(Barrier::Refused(Refusal::OtherJob))
    );
    assert!(net.nodes[0].foreign > 0);
    assert!(!net.nodes[2].peers()[0].was_up);
}

#[test]
fn configurations_that_name_other_parties_do_not_fit() {
    let mut net = Net::new(2, 1, &limits());
    net.setups[1].peers.push(party(2));
    net.nodes[1] = net.make(1);
    for _ in 0..50 {
        // Nobody plays the third one.
        net.step();
    }
    for (at, of) in [(0, 1), (1, 0)] {
        let peer = net.peer(at, of);
        let refused = Barrier::Refused(Refusal::OtherMembers);
        assert_eq!(net.nodes[at].check(Some(peer)), Err(refused));
        assert!(!net.nodes[at].peers()[peer].was_up);
    }
}

#[test]
fn channels_are_limited_in_number() {
    let limits = Limits {
        channels: 2,
        ..limits()
    };
    let mut net = Net::new(2, 1, &limits);
    net.send(0, 1, "x", letter(1)).unwrap();
    net.send(0, 1, "y", letter(1)).unwrap();
    assert_eq!(
        net.send(0, 1, "z", letter(1)),
        Err(Rejected::TooManyChannels { limit: 2 })
    );
}
