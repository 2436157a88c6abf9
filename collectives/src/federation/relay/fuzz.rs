//! A message server, or two in a row, among parties that keep to all rules and others that keep to none, with networks, stores
//! and operators that do anything. For fuzzers.

mod hostile;
mod mending;
mod plan;
mod server;

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use bytes::Bytes;
use flexbond_transport::Message;

use self::hostile::Voice;
use self::plan::{Plan, access};
use self::server::Server;
use super::{RelaySetup, Routes, Way};
use crate::federation::Limits;
use crate::federation::core::{FlowKey, Kind, Letter, Node, Setup};
use crate::federation::name::{ChannelName, JobId, PartyId};

/// The first ones keep to the rules, the others do not.
const NAMES: [&str; 5] = ["a", "b", "c", "d", "e"];
const HONEST: usize = 3;
const FLOWS: usize = 2;
/// The most packets that wait on one way. What comes then is lost.
const MAX_FLYING: usize = 512;
/// More than this at once is no answer to anything.
const MOST_PACKETS: usize = 4096;

/// A server whose parties, peers, network, store and operator do what `data` says: a byte that says what there is, then
/// steps of four bytes and a body. At the end all is whole again, and who has kept to the rules has got all that was sent.
///
/// # Panics
/// When a message is lost, comes twice or out of turn, more is kept than may be, or what is counted is not what is there.
pub(in crate::federation) fn relay(data: &[u8]) {
    let Some((plan, mut rest)) = data.split_first() else {
        return;
    };
    let mut world = World::new(Plan::new(*plan));
    while let [step, which, count, len, after @ ..] = rest {
        let (body, after) = after.split_at(usize::from(*len).min(after.len()));
        rest = after;
        world.step(*step, *which, *count, body);
        world.check();
    }
    if !world.plan.is_wild {
        world.heal();
    }
}

fn party(index: usize) -> PartyId {
    PartyId::new(NAMES[index]).expect("it is a name")
}

fn job(name: &str) -> JobId {
    JobId::new(name).expect("it is a name")
}

fn key(flow: usize) -> FlowKey {
    FlowKey {
        kind: Kind::Variable,
        name: ChannelName::new(["x", "y"][flow]).expect("it is a name"),
    }
}

/// The direction of a channel: sender, receiver, and which one.
type Direction = (usize, usize, usize);

/// Where a packet comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Line {
    ToNode(usize),
    ToHome(usize),
    /// From the first server to the second, and back.
    Forth,
    Back,
}

struct World {
    plan: Plan,
    now: Instant,
    nodes: Vec<Node>,
    /// The connection of each party to its server.
    connections: Vec<u64>,
    servers: Vec<Server>,
    /// That of the first server to the second.
    between: u64,
    flying: BTreeMap<Line, VecDeque<Message>>,
    voices: Vec<Voice>,
    /// How many messages each receiver has had.
    received: BTreeMap<Direction, u64>,
    numbers: u64,
}

impl World {
    fn new(plan: Plan) -> Self {
        let now = Instant::now();
        let mut world = World {
            plan,
            now,
            nodes: Vec::new(),
            connections: Vec::new(),
            servers: Vec::new(),
            between: 0,
            flying: BTreeMap::new(),
            voices: Vec::new(),
            received: BTreeMap::new(),
            numbers: 0,
        };
        for index in 0..=usize::from(plan.is_chain) {
            let setup = RelaySetup {
                incarnation: 0,
                limits: plan.limits(),
                access: access(index, false),
                routes: world.routes(index),
                durable: plan.is_durable,
                epochs: 0,
                unix_ms: 1_000_000,
            };
            let number = world.number();
            world.servers.push(Server::new(setup, number, now));
        }
        world.between = world.number();
        for index in 0..HONEST {
            let connection = world.number();
            world.connections.push(connection);
            let node = world.node(index);
            world.nodes.push(node);
        }
        for index in HONEST..NAMES.len() {
            let number = world.number();
            world.voices.push(Voice::new(index, number));
        }
        world
    }

    /// One that nobody has had.
    fn number(&mut self) -> u64 {
        self.numbers += 1;
        self.numbers + 1000
    }

    fn routes(&self, server: usize) -> Routes {
        let is_first = self.plan.is_chain && server == 0;
        Routes {
            parties: is_first.then(|| (party(HONEST - 1), 0)).into_iter().collect(),
        }
    }

    fn home(&self, index: usize) -> usize {
        usize::from(self.plan.is_chain && index == HONEST - 1)
    }

    fn node(&mut self, index: usize) -> Node {
        let setup = Setup {
            job: job("job"),
            local: party(index),
            peers: (0..=HONEST).filter(|peer| *peer != index).map(party).collect(),
            limits: Limits {
                window_messages: 8,
                window_bytes: 20_000,
                retry: Duration::from_millis(100),
                heartbeat: Duration::from_millis(200),
                dead_after: Duration::from_secs(1),
                ..Limits::default()
            },
            incarnation: self.number(),
            piece: 1000,
        };
        Node::new(setup, self.now)
    }

    fn step(&mut self, step: u8, which: u8, count: u8, body: &[u8]) {
        let at = usize::from(which) % HONEST;
        let other = (at + 1 + usize::from(which >> 2 & 1)) % HONEST;
        let flow = usize::from(which >> 3) % FLOWS;
        match step % 16 {
            0 => self.pass(match step >> 4 {
                15 => Duration::from_secs(u64::from(count)),
                _ => Duration::from_millis(u64::from(count) * 4),
            }),
            1 => (0..=count % 4).for_each(|_| self.send((at, other, flow))),
            2 => self.take((other, at, flow)),
            3 => self.speak(at, usize::from(count)),
            4 => self.serve(usize::from(which), usize::from(count)),
            5 => self.arrive(self.line(which), usize::from(count)),
            6 => self.fail(which, count),
            7 => self.store(usize::from(which), usize::from(count)),
            8 => self.end(which, count),
            9 => self.operate(which, count),
            10 => {
                for _ in 0..=count % 8 {
                    self.exchange();
                }
            }
            11 if self.plan.is_damaged => {
                let server = usize::from(which) % self.servers.len();
                self.servers[server].store().lose(usize::from(count));
            }
            _ => self.lie(step, which, count, body),
        }
    }

    fn line(&self, which: u8) -> Line {
        let at = usize::from(which >> 2) % HONEST;
        match which % 4 {
            0 => Line::ToNode(at),
            1 => Line::ToHome(at),
            2 => Line::Forth,
            _ => Line::Back,
        }
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
        let now = self.now;
        self.nodes.iter_mut().for_each(|node| node.handle_timeout(now));
        self.servers
            .iter_mut()
            .for_each(|server| server.relay.handle_timeout(now));
    }

    /// A program sends the number that its message has.
    fn send(&mut self, (from, to, flow): Direction) {
        let Some(peer) = self.nodes[from].peer_index(&party(to)) else {
            return;
        };
        let Ok(Some(next)) = self.nodes[from].open(peer, &key(flow)) else {
            return;
        };
        let size = match next % 5 {
            1 => 1500,
            3 => self.plan.largest(),
            _ => 0,
        };
        let letter = Letter {
            tag: None,
            codec: 0,
            parts: vec![
                Bytes::copy_from_slice(&next.to_le_bytes()),
                Bytes::from(vec![7; size]),
            ]
            .into(),
        };
        // What has no room is not sent.
        let _ = self.nodes[from].send(self.now, peer, &key(flow), letter, None);
    }

    /// A program receives what it has not had.
    fn take(&mut self, (from, to, flow): Direction) {
        let node = &mut self.nodes[to];
        let Some(peer) = node.peer_index(&party(from)) else {
            return;
        };
        let Some(taken) = node.take(peer, &key(flow), None) else {
            return;
        };
        if self.plan.is_wild {
            return;
        }
        let next = self.received.entry((from, to, flow)).or_default();
        if self.plan.is_damaged {
            assert!(taken.offset >= *next, "{from} to {to}: it was received before");
        } else {
            assert_eq!(taken.offset, *next, "{from} to {to}: the next one");
            assert!(taken.letter.is_some(), "nothing expires");
        }
        *next = taken.offset + 1;
        if let Some(letter) = taken.letter {
            assert_eq!(letter.parts[0][..], taken.offset.to_le_bytes());
            assert!(letter.parts[1].iter().all(|byte| *byte == 7));
        }
    }

    fn speak(&mut self, at: usize, most: usize) {
        let (line, node) = (Line::ToHome(at), &mut self.nodes[at]);
        let flying = self.flying.entry(line).or_default();
        let mut sent = 0;
        for peer in 0..node.peers().len() {
            while sent <= most
                && let Some(message) = node.poll_transmit(self.now, peer)
            {
                sent += 1;
                if flying.len() < MAX_FLYING {
                    flying.push_back(message);
                }
            }
        }
    }

    fn serve(&mut self, which: usize, most: usize) {
        let index = which % self.servers.len();
        for _ in 0..=most {
            let Some((way, message)) = self.servers[index].relay.poll_transmit(self.now) else {
                break;
            };
            let line = match way {
                Way::Server(_) => Line::Forth,
                Way::Party(connection) if index == 1 && connection == self.between => Line::Back,
                Way::Party(connection) => {
                    let at = self.connections.iter().position(|known| *known == connection);
                    if let Some(at) = at {
                        Line::ToNode(at)
                    } else {
                        self.voices.iter_mut().for_each(|voice| voice.hear(&message));
                        continue;
                    }
                }
            };
            let flying = self.flying.entry(line).or_default();
            if flying.len() < MAX_FLYING {
                flying.push_back(message);
            }
        }
        self.servers[index].collect();
    }

    fn arrive(&mut self, line: Line, most: usize) {
        for _ in 0..=most {
            let message = self.flying.get_mut(&line).and_then(VecDeque::pop_front);
            let Some(message) = message else { return };
            self.deliver(line, message);
        }
    }

    fn deliver(&mut self, line: Line, message: Message) {
        let now = self.now;
        match line {
            Line::ToNode(at) => self.nodes[at].handle_packet(now, message),
            Line::ToHome(at) => {
                let way = Way::Party(self.connections[at]);
                let server = self.home(at);
                let identity = (!self.plan.is_wild).then_some(NAMES[at]);
                self.servers[server]
                    .relay
                    .handle_packet(now, way, identity, message);
            }
            Line::Forth => {
                let way = Way::Party(self.between);
                let identity = Some("server 0");
                self.servers[1].relay.handle_packet(now, way, identity, message);
            }
            Line::Back => self.servers[0]
                .relay
                .handle_packet(now, Way::Server(0), None, message),
        }
    }

    /// A network loses, doubles and reorders.
    fn fail(&mut self, which: u8, count: u8) {
        let line = self.line(which);
        let Some(flying) = self.flying.get_mut(&line).filter(|flying| !flying.is_empty()) else {
            return;
        };
        let index = usize::from(count) % flying.len();
        match which >> 5 {
            0..3 => drop(flying.remove(index)),
            3..6 => {
                let message = flying[index].clone();
                self.deliver(line, message);
            }
            _ => {
                if let Some(message) = flying.remove(index) {
                    self.deliver(line, message);
                }
            }
        }
    }

    /// A store does some of what it was asked for.
    fn store(&mut self, which: usize, most: usize) {
        let index = which % self.servers.len();
        self.servers[index].collect();
        (0..=most).all(|_| self.servers[index].done());
    }

    /// Connections break, programs and servers die and start again.
    fn end(&mut self, which: u8, count: u8) {
        let at = usize::from(which >> 2) % HONEST;
        let server = usize::from(which >> 2) % self.servers.len();
        match which % 4 {
            0 => self.cut(at),
            1 if self.plan.is_chain => self.cut_servers(),
            2 if self.plan.parties_die => {
                self.cut(at);
                self.nodes[at] = self.node(at);
                // It knows what it has had.
                for ((from, to, flow), next) in &self.received {
                    if *to == at
                        && let Some(peer) = self.nodes[at].peer_index(&party(*from))
                    {
                        let resumed = self.nodes[at].resume(peer, &key(*flow), *next);
                        assert_eq!(resumed, Ok(()));
                    }
                }
            }
            3 if self.plan.servers_die => {
                let number = self.number();
                self.servers[server].restart(usize::from(count), number, self.now);
                for at in 0..HONEST {
                    if self.home(at) == server {
                        self.cut(at);
                    }
                }
                if self.plan.is_chain {
                    self.cut_servers();
                }
            }
            _ => {}
        }
    }

    fn cut(&mut self, at: usize) {
        self.flying.remove(&Line::ToNode(at));
        self.flying.remove(&Line::ToHome(at));
        let connection = self.number();
        let old = std::mem::replace(&mut self.connections[at], connection);
        let home = self.home(at);
        self.servers[home].relay.handle_lost(Way::Party(old));
        let node = &mut self.nodes[at];
        (0..node.peers().len()).for_each(|peer| node.handle_lost(peer));
    }

    fn cut_servers(&mut self) {
        self.flying.remove(&Line::Forth);
        self.flying.remove(&Line::Back);
        let old = std::mem::replace(&mut self.between, self.numbers + 1001);
        self.numbers += 1;
        self.servers[1].relay.handle_lost(Way::Party(old));
        self.servers[0].relay.handle_lost(Way::Server(0));
    }

    /// Ways are full, and configurations are changed.
    fn operate(&mut self, which: u8, count: u8) {
        let index = usize::from(which) % self.servers.len();
        let at = usize::from(which >> 1) % HONEST;
        let is_on = count & 1 != 0;
        let way = match (index, which >> 3 & 3) {
            (0, 0) => Way::Server(0),
            (1, 0) => Way::Party(self.between),
            _ if self.home(at) == index => Way::Party(self.connections[at]),
            _ => return,
        };
        match which >> 5 {
            0..4 => self.servers[index].relay.set_blocked(way, is_on),
            4 | 5 if is_on => self.servers[index].relay.set_routes(Routes::default()),
            4 | 5 => {
                let routes = self.routes(index);
                self.servers[index].relay.set_routes(routes);
            }
            6 => self.servers[index].relay.set_access(access(index, is_on)),
            _ if self.plan.is_wild => self.servers[index].relay.drain(),
            _ => {}
        }
    }

    /// Somebody who keeps to no rule says something.
    fn lie(&mut self, step: u8, which: u8, count: u8, body: &[u8]) {
        let server = usize::from(which >> 1) % self.servers.len();
        let index = usize::from(which & 1);
        let voice = &mut self.voices[index];
        if step == 0xff {
            let way = Way::Party(voice.connection);
            voice.begin_anew(self.numbers + 1001);
            self.numbers += 1;
            return self.servers[server].relay.handle_lost(way);
        }
        let relay = &mut self.servers[server].relay;
        let packet = if step % 16 == 15 {
            // What another has said, but not quite.
            let line = Line::ToHome(usize::from(which >> 2) % HONEST);
            let flying = self.flying.get(&line).filter(|flying| !flying.is_empty());
            let Some(flying) = flying else { return };
            hostile::altered(&flying[usize::from(count) % flying.len()], body)
        } else {
            voice.packet(relay, self.plan.is_wild, step, which, count, body)
        };
        let (mut way, mut identity) = (Way::Party(voice.connection), Some(voice.name()));
        if self.plan.is_wild {
            identity = None;
            if count & 1 != 0 {
                way = match (server, which & 2) {
                    (0, 0) => Way::Server(0),
                    _ => Way::Party(self.connections[0]),
                };
            }
        }
        relay.handle_packet(self.now, way, identity, packet);
    }

    fn check(&self) {
        self.servers.iter().for_each(Server::check);
    }
}

fn directions() -> impl Iterator<Item = Direction> {
    let pairs = (0..HONEST).flat_map(|from| (0..HONEST).map(move |to| (from, to)));
    let pairs = pairs.filter(|(from, to)| from != to);
    pairs.flat_map(|(from, to)| (0..FLOWS).map(move |flow| (from, to, flow)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Each way of a world, as it should be: what is sent is received, also after all have died who may.
    #[test]
    fn what_is_sent_is_received() {
        for plan in (0..64).map(Plan::new).filter(|plan| !plan.is_wild) {
            let mut world = World::new(plan);
            for end in 0..4 {
                for _ in 0..8 {
                    for _ in 0..8 {
                        world.exchange();
                    }
                    world.pass(Duration::from_millis(100));
                    directions().for_each(|direction| world.send(direction));
                }
                world.check();
                (0..4).for_each(|which| world.end(which + end * 4, end));
            }
            world.heal();
            assert!(
                world.received.len() == 12 && world.received.values().all(|next| *next > 10),
                "{plan:?}: {:?}",
                world.received
            );
        }
    }

    /// What was once counted twice when a party that was away came back.
    #[test]
    fn who_is_away_is_granted_nothing() {
        let mut world = World::new(Plan::new(0b110));
        (0..2).for_each(|_| world.send((1, 0, 1)));
        world.pass(Duration::ZERO);
        (0..8).for_each(|_| world.exchange());
        (0..4).for_each(|_| world.send((1, 0, 1)));
        (0..15).for_each(|_| world.exchange());
        world.pass(Duration::from_millis(1020));
        world.check();
        world.heal();
    }

    /// Once, a server did not listen when the next one had a message already of which it had itself only a part, again.
    #[test]
    fn what_the_next_server_has_had_is_not_kept_for_ever() {
        let mut world = World::new(Plan::new(0b110));
        world.pass(Duration::from_millis(100));
        world.send((1, 2, 0));
        (0..8).for_each(|_| world.exchange());
        (0..4).for_each(|_| world.send((1, 2, 0)));
        world.pass(Duration::ZERO);
        (0..24).for_each(|_| world.exchange());
        world.end(7, 1);
        world.heal();
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn who_keeps_to_the_rules_gets_all_and_who_does_not_does_no_harm(
            plan in any::<u8>(),
            steps in prop::collection::vec((any::<u8>(), any::<u8>(), any::<u8>()), 0..100),
            body in prop::collection::vec(any::<u8>(), 8),
        ) {
            let mut data = vec![plan];
            for (step, which, count) in steps {
                data.extend([step, which, count, 8]);
                data.extend(&body);
            }
            relay(&data);
        }
    }
}
