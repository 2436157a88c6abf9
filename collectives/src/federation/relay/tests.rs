//! Parties and servers over a network that loses, doubles and reorders, with connections that break and ends that die and
//! come back. All by a seed, which a failing test prints.

mod chain;
mod custody;
mod findings;
mod hostile;
mod marks;
mod parts;
mod quotas;
mod room;
mod stage;
mod storms;
mod streams;

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use bytes::Bytes;
use flexbond_transport::Message;

use super::model::{self, ModelStore};
use super::*;
use crate::federation::Limits;
use crate::federation::core::{Event, FlowKey, Kind, Letter, Node, Rejected, Setup, Tag, Taken};
use crate::federation::name::{ChannelName, JobId, PartyId};

/// Where a packet goes.
#[derive(Clone, Debug)]
enum End {
    Node {
        party: usize,
        connection: u64,
    },
    Server {
        server: usize,
        way: Way,
        identity: String,
    },
}

struct Server {
    setup: RelaySetup,
    relay: Relay,
    store: Option<ModelStore>,
    /// Requests of the store that are being done, and when they are.
    storing: Vec<(Instant, Request)>,
    /// The connections by which it is reached: who is at the other end.
    connections: BTreeMap<u64, Other>,
    /// Its connections to other servers: the other one and its number there.
    routes: Vec<(usize, u64)>,
    /// The most that it ever held in memory.
    peak: u64,
    events: Vec<RelayEvent>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Other {
    Party(usize),
    /// Another server, and its number of the route.
    Server(usize, usize),
}

struct Net {
    now: Instant,
    start: Instant,
    random: fastrand::Rng,
    setups: Vec<Setup>,
    nodes: Vec<Option<Node>>,
    /// The server and the connection of each party.
    homes: Vec<(usize, u64)>,
    servers: Vec<Server>,
    flying: BTreeMap<(Instant, u64), (End, Message)>,
    count: u64,
    /// Of a thousand packets.
    loss: u32,
    doubled: u32,
    /// How much later than another a packet may come, in milliseconds.
    jitter: u64,
    /// How long a store takes for a batch, in milliseconds.
    slowness: u64,
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

fn relay_limits() -> RelayLimits {
    RelayLimits {
        retry: Duration::from_millis(100),
        heartbeat: Duration::from_millis(200),
        dead_after: Duration::from_millis(1000),
        ..RelayLimits::default()
    }
}

fn party(index: usize) -> PartyId {
    PartyId::new(["a", "b", "c", "d"][index]).unwrap()
}

fn job(name: &str) -> JobId {
    JobId::new(name).unwrap()
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

fn large(size: usize, byte: u8) -> Letter {
    Letter {
        tag: None,
        codec: 7,
        parts: vec![
            Bytes::from(vec![byte; size / 2]),
            Bytes::new(),
            Bytes::from(vec![byte ^ 255; size - size / 2]),
        ]
        .into(),
    }
}

fn text(taken: &Taken) -> Option<String> {
    let letter = taken.letter.as_ref()?;
    let parts = letter.parts.iter().map(|part| String::from_utf8_lossy(part));
    Some(parts.collect())
}

/// How a world is laid out.
struct Plan {
    /// The server of each party.
    homes: Vec<usize>,
    limits: Limits,
    relay_limits: RelayLimits,
    is_durable: bool,
}

impl Default for Plan {
    fn default() -> Self {
        Plan {
            homes: vec![0, 0],
            limits: limits(),
            relay_limits: relay_limits(),
            is_durable: false,
        }
    }
}

impl Net {
    #[expect(clippy::needless_pass_by_value, reason = "it is made for this")]
    fn new(seed: u64, plan: Plan) -> Net {
        let now = Instant::now();
        let size = plan.homes.len();
        let setups: Vec<_> = (0..size)
            .map(|me| Setup {
                job: job("job"),
                local: party(me),
                peers: (0..size).filter(|peer| *peer != me).map(party).collect(),
                limits: plan.limits.clone(),
                incarnation: 0,
                piece: 1000,
            })
            .collect();
        let mut net = Net {
            now,
            start: now,
            random: fastrand::Rng::with_seed(seed),
            setups,
            nodes: Vec::new(),
            homes: Vec::new(),
            servers: Vec::new(),
            flying: BTreeMap::new(),
            count: 0,
            loss: 0,
            doubled: 0,
            jitter: 1,
            slowness: 3,
            events: vec![Vec::new(); size],
        };
        // Server 0 reaches the parties of server 1 through it.
        let remote = plan.homes.iter().enumerate().filter(|(_, home)| **home == 1);
        let local = plan.homes.iter().enumerate().filter(|(_, home)| **home == 0);
        let speaks_for: BTreeSet<_> = local.map(|(index, _)| party(index)).collect();
        let routes = Routes {
            parties: remote.map(|(index, _)| (party(index), 0)).collect(),
        };
        for index in 0..=plan.homes.iter().copied().max().unwrap_or(0) {
            let mut access = Access::open();
            if index == 1 {
                access.servers = [("server 0".to_owned(), speaks_for.clone())].into();
            }
            let setup = RelaySetup {
                incarnation: 0,
                limits: plan.relay_limits.clone(),
                access,
                routes: if index == 0 {
                    routes.clone()
                } else {
                    Routes::default()
                },
                durable: plan.is_durable,
                epochs: seed,
                unix_ms: 1_000_000,
            };
            let store = plan.is_durable.then(ModelStore::default);
            let server = net.make_server(setup, store);
            net.servers.push(server);
        }
        if net.servers.len() > 1 {
            net.connect_servers();
        }
        for index in 0..size {
            let home = plan.homes[index];
            net.homes.push((home, 0));
            net.connect(index);
            let node = net.make(index);
            net.nodes.push(Some(node));
        }
        net
    }

    fn number(&mut self) -> u64 {
        self.count += 1;
        self.count
    }

    fn make_server(&mut self, mut setup: RelaySetup, store: Option<ModelStore>) -> Server {
        setup.incarnation = self.number() + 1_000_000;
        setup.epochs = self.random.u64(..);
        let passed = self.now - self.start;
        setup.unix_ms = 1_000_000 + u64::try_from(passed.as_millis()).unwrap();
        let mut relay = Relay::new(setup.clone(), self.now);
        if let Some(store) = &store {
            store.show(&mut |record| relay.restore(record));
        }
        Server {
            setup,
            relay,
            store,
            storing: Vec::new(),
            connections: BTreeMap::new(),
            routes: Vec::new(),
            peak: 0,
            events: Vec::new(),
        }
    }

    fn make(&mut self, index: usize) -> Node {
        let mut setup = self.setups[index].clone();
        setup.incarnation = self.number();
        Node::new(setup, self.now)
    }

    /// The party has a new connection to its server.
    fn connect(&mut self, index: usize) {
        let (home, _) = self.homes[index];
        let connection = self.number();
        self.homes[index] = (home, connection);
        let other = Other::Party(index);
        self.servers[home].connections.insert(connection, other);
    }

    /// Its old one breaks. Both sides see it.
    fn cut(&mut self, index: usize) {
        let (home, connection) = self.homes[index];
        if self.servers[home].connections.remove(&connection).is_some() {
            self.servers[home].relay.handle_lost(Way::Party(connection));
        }
        if let Some(node) = &mut self.nodes[index] {
            for peer in 0..node.peers().len() {
                node.handle_lost(peer);
            }
        }
    }

    fn connect_servers(&mut self) {
        let connection = self.number();
        self.servers[0].routes = vec![(1, connection)];
        self.servers[1]
            .connections
            .insert(connection, Other::Server(0, 0));
    }

    fn cut_servers(&mut self) {
        let (_, connection) = self.servers[0].routes[0];
        if self.servers[1].connections.remove(&connection).is_some() {
            self.servers[1].relay.handle_lost(Way::Party(connection));
        }
        self.servers[0].relay.handle_lost(Way::Server(0));
        self.connect_servers();
    }

    /// The program of a party dies.
    fn stop(&mut self, index: usize) {
        self.nodes[index] = None;
        self.cut(index);
    }

    /// It is started, again or for the first time.
    fn start(&mut self, index: usize) {
        self.connect(index);
        let node = self.make(index);
        self.nodes[index] = Some(node);
    }

    fn restart(&mut self, index: usize) {
        self.stop(index);
        self.start(index);
    }

    /// A server dies, with all that its store has not done, and starts again.
    fn restart_server(&mut self, index: usize) {
        let server = &mut self.servers[index];
        let setup = server.setup.clone();
        let mut store = server.store.take();
        // What the store was about to do is done, or not, but in order.
        let storing = std::mem::take(&mut server.storing);
        if let Some(store) = &mut store {
            let done = self.random.usize(0..=storing.len());
            for (_, request) in storing.into_iter().take(done) {
                store.done(request);
            }
        }
        let connections = std::mem::take(&mut self.servers[index].connections);
        let fresh = self.make_server(setup, store);
        let old = std::mem::replace(&mut self.servers[index], fresh);
        self.servers[index].peak = old.peak;
        for other in connections.into_values() {
            match other {
                Other::Party(party) => {
                    self.cut(party);
                    self.connect(party);
                }
                Other::Server(..) => self.cut_servers(),
            }
        }
        if !old.routes.is_empty() {
            self.servers[index].routes = old.routes;
            self.cut_servers();
        }
    }

    fn node(&mut self, index: usize) -> &mut Node {
        self.nodes[index].as_mut().expect("it is up")
    }

    fn peer(&mut self, at: usize, of: usize) -> usize {
        self.node(at).peer_index(&party(of)).unwrap()
    }

    fn send(&mut self, from: usize, to: usize, name: &str, letter: Letter) -> Result<(), Rejected> {
        let (peer, now) = (self.peer(from, to), self.now);
        let ttl = self.setups[from].limits.ttl;
        self.node(from).send(now, peer, &key(name), letter, ttl)
    }

    fn take(&mut self, at: usize, from: usize, name: &str, tag: Option<&str>) -> Option<Taken> {
        let peer = self.peer(at, from);
        let tag = tag.map(|tag| Tag::new(tag).unwrap());
        self.node(at).take(peer, &key(name), tag.as_ref())
    }

    /// As `take`, for a program that acknowledges it.
    fn lend(&mut self, at: usize, from: usize, name: &str) -> Option<Taken> {
        let peer = self.peer(at, from);
        self.node(at).lend(peer, &key(name), None)
    }

    /// Its program has done with it, or gives it back.
    fn end(&mut self, at: usize, from: usize, name: &str, taken: &Taken, is_done: bool) {
        let (peer, now, key) = (self.peer(at, from), self.now, key(name));
        let message = (taken.epoch, taken.offset);
        if is_done {
            self.node(at).acknowledge(peer, &key, message);
        } else {
            self.node(at).give_back(now, peer, &key, message);
        }
    }

    /// The offset of the next message, when it is known.
    fn position(&mut self, from: usize, to: usize, name: &str) -> Option<u64> {
        let peer = self.peer(from, to);
        self.node(from).open(peer, &key(name)).unwrap()
    }

    fn resume(&mut self, at: usize, from: usize, name: &str, next: u64) {
        let peer = self.peer(at, from);
        self.node(at).resume(peer, &key(name), next).unwrap();
    }

    #[expect(clippy::needless_pass_by_value, reason = "it goes away")]
    fn fly(&mut self, end: End, message: Message) {
        if self.random.u32(0..1000) < self.loss {
            return;
        }
        let copies = 1 + u32::from(self.random.u32(0..1000) < self.doubled);
        for _ in 0..copies {
            let delay = Duration::from_millis(1 + self.random.u64(0..self.jitter.max(1)));
            let at = (self.now + delay, self.number());
            self.flying.insert(at, (end.clone(), message.clone()));
        }
    }

    /// All that is to be said now is said.
    fn talk(&mut self) {
        for index in 0..self.nodes.len() {
            let (server, connection) = self.homes[index];
            let now = self.now;
            while let Some(node) = &mut self.nodes[index]
                && let Some(peer) = node.poll_busy()
            {
                while let Some(message) = self.nodes[index]
                    .as_mut()
                    .and_then(|node| node.poll_transmit(now, peer))
                {
                    let way = Way::Party(connection);
                    let identity = party(index).to_string();
                    self.fly(
                        End::Server {
                            server,
                            way,
                            identity,
                        },
                        message,
                    );
                }
            }
            if let Some(node) = &mut self.nodes[index] {
                while let Some(event) = node.poll_event() {
                    self.events[index].push(event);
                }
            }
        }
        for index in 0..self.servers.len() {
            self.talk_server(index);
        }
    }

    fn talk_server(&mut self, index: usize) {
        let now = self.now;
        while let Some((way, message)) = self.servers[index].relay.poll_transmit(now) {
            let server = &self.servers[index];
            let end = match way {
                Way::Party(connection) => match server.connections.get(&connection) {
                    Some(Other::Party(party)) => End::Node {
                        party: *party,
                        connection,
                    },
                    Some(Other::Server(other, route)) => End::Server {
                        server: *other,
                        way: Way::Server(*route),
                        identity: format!("server {index}"),
                    },
                    None => continue,
                },
                Way::Server(route) => {
                    let (other, connection) = server.routes[route];
                    End::Server {
                        server: other,
                        way: Way::Party(connection),
                        identity: format!("server {index}"),
                    }
                }
            };
            self.fly(end, message);
        }
        let slowness = self.slowness;
        let server = &mut self.servers[index];
        while let Some(request) = server.relay.poll_store() {
            let delay = Duration::from_millis(self.random.u64(0..=slowness));
            let last = server.storing.last().map(|(at, _)| *at);
            let at = (now + delay).max(last.unwrap_or(now));
            server.storing.push((at, request));
        }
        while let Some(event) = server.relay.poll_event() {
            server.events.push(event);
        }
        let held = server.relay.ledger.memory;
        server.peak = server.peak.max(held);
    }

    /// The time of the next thing to happen.
    fn next(&self) -> Instant {
        let nodes = self.nodes.iter().flatten().filter_map(Node::poll_timeout);
        let servers = self
            .servers
            .iter()
            .filter_map(|server| server.relay.poll_timeout());
        let stores = self.servers.iter().flat_map(|server| server.storing.first());
        let flying = self.flying.first_key_value().map(|((at, _), _)| *at);
        let next = nodes
            .chain(servers)
            .chain(stores.map(|(at, _)| *at))
            .chain(flying)
            .min();
        next.unwrap_or(self.now + Duration::from_secs(3600)).max(self.now)
    }

    fn step(&mut self) {
        self.talk();
        self.now = self.next();
        while let Some(first) = self.flying.first_entry()
            && first.key().0 <= self.now
        {
            let (end, message) = first.remove();
            self.arrive(end, message);
        }
        let now = self.now;
        for node in self.nodes.iter_mut().flatten() {
            if node.poll_timeout().is_some_and(|at| at <= now) {
                node.handle_timeout(now);
            }
        }
        for server in &mut self.servers {
            while server.storing.first().is_some_and(|(at, _)| *at <= now) {
                let (_, request) = server.storing.remove(0);
                let store = server.store.as_mut().expect("only with a store");
                match store.done(request) {
                    model::Done::Committed(batch) => server.relay.handle_committed(batch),
                    model::Done::Loaded(piece, content) => server.relay.handle_loaded(piece, content),
                    model::Done::Gone(piece) => server.relay.handle_missing(piece),
                }
            }
            if server.relay.poll_timeout().is_some_and(|at| at <= now) {
                server.relay.handle_timeout(now);
            }
        }
    }

    fn arrive(&mut self, end: End, message: Message) {
        match end {
            End::Node { party, connection } => {
                if let Some(node) = &mut self.nodes[party]
                    && self.homes[party].1 == connection
                {
                    node.handle_packet(self.now, message);
                }
            }
            End::Server {
                server,
                way,
                identity,
            } => {
                let server = &mut self.servers[server];
                let is_there = match way {
                    Way::Party(connection) => server.connections.contains_key(&connection),
                    Way::Server(route) => route < server.routes.len(),
                };
                if is_there {
                    server
                        .relay
                        .handle_packet(self.now, way, Some(&identity), message);
                }
            }
        }
    }

    fn run(&mut self, time: Duration) {
        let end = self.now + time;
        self.talk();
        while self.next() <= end {
            self.step();
            self.talk();
        }
        self.now = end;
    }

    /// Goes on until `done`; fails when that takes more than `minutes` of virtual time.
    fn until(&mut self, minutes: u64, mut done: impl FnMut(&mut Net) -> bool) {
        let end = self.now + Duration::from_secs(60 * minutes);
        while !done(self) {
            assert!(self.now < end, "it takes more than {minutes} min");
            self.step();
        }
    }

    fn stats(&self, server: usize) -> RelayStats {
        self.servers[server].relay.stats()
    }

    /// Nothing is kept, nothing is lost of what the quotas count, and nobody has broken a rule.
    fn assert_empty(&mut self, server: usize) {
        let stats = self.stats(server);
        assert_eq!(stats.held_bytes, 0, "{stats:?}");
        assert_eq!(stats.memory_bytes, 0, "{stats:?}");
        for job in stats.jobs.values() {
            for (id, party) in &job.parties {
                assert_eq!((party.held, party.held_bytes), (0, 0), "{id}");
                assert_eq!(party.wrong, 0, "{id}");
            }
        }
        if let Some(store) = &self.servers[server].store {
            assert_eq!(store.kept(), 0);
        }
    }
}

/// Runs a test with some seeds, and says which one fails. `SEED` is the only one, `SEEDS` how many.
fn with_seeds(count: u64, test: impl Fn(u64)) {
    struct Told(u64);
    impl Drop for Told {
        fn drop(&mut self) {
            if std::thread::panicking() {
                eprintln!("the seed is {}", self.0);
            }
        }
    }
    let number = |name| std::env::var(name).ok().and_then(|text| text.parse().ok());
    let (only, count) = (number("SEED"), number("SEEDS").unwrap_or(count));
    for seed in only.map_or(0..count, |seed| seed..seed + 1) {
        let told = Told(seed);
        test(seed);
        drop(told);
    }
}

#[test]
fn a_message_goes_through_a_server() {
    let mut net = Net::new(1, Plan::default());
    net.send(0, 1, "x", letter("hello")).unwrap();
    net.run(Duration::from_secs(1));
    assert_eq!(
        text(&net.take(1, 0, "x", None).unwrap()).as_deref(),
        Some("hello")
    );
    net.run(Duration::from_secs(1));
    net.assert_empty(0);
    assert!(net.node(0).is_ready() && net.node(1).is_ready());
}
