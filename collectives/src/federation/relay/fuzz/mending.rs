//! How all that has broken becomes whole again, and how it is known that it is.

use std::collections::BTreeMap;

use super::plan::access;
use super::{Direction, HONEST, MOST_PACKETS, NAMES, World, directions, job, key, party};
use crate::federation::core::Node;
use crate::federation::relay::Way;

impl World {
    /// Everybody says what he has to say, everything arrives, stores do all, and programs receive.
    pub(super) fn exchange(&mut self) {
        for server in 0..self.servers.len() {
            self.store(server, usize::MAX - 1);
            self.serve(server, MOST_PACKETS);
            let more = self.servers[server].relay.poll_transmit(self.now);
            assert!(more.is_none(), "server {server} does not stop to send");
        }
        (0..HONEST).for_each(|at| self.speak(at, MOST_PACKETS));
        let lines: Vec<_> = self.flying.keys().copied().collect();
        for line in lines {
            self.arrive(line, usize::MAX - 1);
        }
        for direction in directions() {
            for _ in 0..8 {
                self.take(direction);
            }
        }
        for node in &mut self.nodes {
            while node.poll_event().is_some() {}
        }
    }

    /// What has broken is mended. All that the servers have taken arrives.
    pub(super) fn heal(&mut self) {
        for index in 0..self.servers.len() {
            let routes = self.routes(index);
            let server = &mut self.servers[index];
            server.relay.set_routes(routes);
            server.relay.set_access(access(index, false));
            server.relay.set_blocked(Way::Server(0), false);
            server.relay.set_blocked(Way::Party(self.between), false);
            for connection in &self.connections {
                server.relay.set_blocked(Way::Party(*connection), false);
            }
            for voice in &self.voices {
                server.relay.handle_lost(Way::Party(voice.connection));
            }
        }
        let mut idle = 0;
        for _ in 0..4000 {
            self.exchange();
            if self.flying.values().any(|flying| !flying.is_empty()) {
                continue;
            }
            let nodes = self.nodes.iter().filter_map(Node::poll_timeout);
            let servers = self
                .servers
                .iter()
                .filter_map(|server| server.relay.poll_timeout());
            let due = nodes.chain(servers).min().unwrap_or(self.now);
            self.pass(due.saturating_duration_since(self.now));
            idle = if self.is_whole() { idle + 1 } else { 0 };
            if idle > 8 {
                return self.check();
            }
        }
        let sent = self.sent();
        panic!("{:?} were received of {sent:?}", self.received);
    }

    /// How many messages were sent, where it is known.
    fn sent(&mut self) -> BTreeMap<Direction, u64> {
        let mut sent = BTreeMap::new();
        let used: Vec<_> = directions().filter(|known| self.is_used(*known)).collect();
        for (from, to, flow) in used {
            let peer = self.nodes[from].peer_index(&party(to)).expect("they are members");
            let next = self.nodes[from].open(peer, &key(flow));
            sent.insert((from, to, flow), next.ok().flatten().unwrap_or(u64::MAX));
        }
        sent
    }

    fn is_used(&self, (from, to, flow): Direction) -> bool {
        let peer = self.nodes[from].peer_index(&party(to)).expect("they are members");
        self.nodes[from].peers()[peer].out.get(&key(flow)).is_some()
    }

    /// Whether programs have all that was sent to them, and servers nothing more of it.
    fn is_whole(&mut self) -> bool {
        let sent = self.sent();
        let is_there = sent
            .iter()
            .all(|(direction, next)| self.received.get(direction).copied().unwrap_or(0) == *next);
        let is_settled = self.servers.iter().all(|server| {
            let stats = server.relay.stats();
            let job = stats.jobs.get(&job("job"));
            let parties = job.into_iter().flat_map(|job| &job.parties);
            parties
                .filter(|(id, _)| NAMES[..HONEST].contains(&id.as_str()))
                .all(|(_, party)| party.held == 0)
        });
        (is_there && is_settled) || (self.plan.is_damaged && sent.values().all(|next| *next < u64::MAX))
    }
}
