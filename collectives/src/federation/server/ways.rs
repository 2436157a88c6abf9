//! The ways to parties and to other servers: what is sent, and who has no room.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

use flexbond_session::socket::{Peer, Route};
use flexbond_transport::Message;
use futures_util::task::AtomicWaker;

use super::admission::generation;
use crate::federation::core::keyed::Keyed;
use crate::federation::relay::Way;
use crate::federation::uplink::{News, Uplink};

/// Why a connection is ended.
const CHANGED: &str = "the configuration has changed";

/// All ways there are.
pub(super) struct Ways {
    connections: HashMap<u64, Connection, Keyed>,
    /// From which generation of the lists on somebody is who they say, by name.
    since: HashMap<String, u64>,
    /// By the number that routes have; none where a server was taken out of the configuration.
    servers: Vec<Option<Remote>>,
    ready: Arc<Ready>,
}

/// A connection that was accepted.
struct Connection {
    route: Route,
    /// What it has proved to be; none where nobody has to.
    identity: Option<Arc<str>>,
    out: Outgoing,
}

/// Another server, as this one connects to it.
struct Remote {
    name: Arc<str>,
    uplink: Uplink,
    out: Outgoing,
    is_connected: bool,
}

/// A packet for which there is no room, and who tells when there is.
struct Outgoing {
    packet: Option<Message>,
    waker: Waker,
}

/// Ways that may have room again.
#[derive(Default)]
pub(super) struct Ready {
    ways: Mutex<Vec<Way>>,
    driver: AtomicWaker,
}

struct WayWaker {
    way: Way,
    ready: Arc<Ready>,
}

impl Wake for WayWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let mut ways = self.ready.ways.lock().unwrap_or_else(PoisonError::into_inner);
        if !ways.contains(&self.way) {
            ways.push(self.way);
        }
        drop(ways);
        self.ready.driver.wake();
    }
}

impl Outgoing {
    fn new(way: Way, ready: &Arc<Ready>) -> Self {
        let ready = Arc::clone(ready);
        Outgoing {
            packet: None,
            waker: Arc::new(WayWaker { way, ready }).into(),
        }
    }
}

impl Ways {
    pub(super) fn new() -> Self {
        Ways {
            connections: HashMap::default(),
            since: HashMap::new(),
            servers: Vec::new(),
            ready: Arc::default(),
        }
    }

    /// The driver is woken when a way has room again.
    pub(super) fn register(&self, cx: &Context<'_>) {
        self.ready.driver.register(cx.waker());
    }

    /// The way of a connection, and what it has proved to be; none if that is nobody any more.
    pub(super) fn accept(&mut self, route: Route) -> Option<(Way, Option<Arc<str>>)> {
        let way = Way::Party(route.id());
        if let Some(connection) = self.connections.get(&route.id()) {
            return Some((way, connection.identity.clone()));
        }
        let peer = route.peer();
        let identity: Option<Arc<str>> = peer.user_id().map(Arc::from);
        let since = identity.as_deref().and_then(|identity| self.since.get(identity));
        if since.is_some_and(|since| generation(&peer) < *since) {
            route.end(CHANGED);
            return None;
        }
        // One that has ended has told all its news already; what it has said last is heard.
        if route.is_ready() {
            let connection = Connection {
                identity: identity.clone(),
                out: Outgoing::new(way, &self.ready),
                route,
            };
            self.connections.insert(connection.route.id(), connection);
        }
        Some((way, identity))
    }

    /// A connection has ended.
    pub(super) fn forget(&mut self, peer: &Peer) {
        self.connections.remove(&peer.id());
    }

    /// Those that have ended without anybody having been told.
    pub(super) fn sweep(&mut self) -> Vec<Way> {
        let ended = self
            .connections
            .extract_if(|_, connection| !connection.route.is_ready());
        ended.map(|(id, _)| Way::Party(id)).collect()
    }

    /// Ends the connections of those who prove themselves otherwise from this generation of the lists on, or not at all.
    /// What they have said and was not heard yet is not heard any more.
    pub(super) fn end(&mut self, names: Vec<String>, since: u64) -> Vec<Way> {
        self.since.extend(names.into_iter().map(|name| (name, since)));
        let since = &self.since;
        let ended = self.connections.extract_if(|_, connection| {
            let since = connection
                .identity
                .as_deref()
                .and_then(|identity| since.get(identity));
            let is_over = since.is_some_and(|since| generation(&connection.route.peer()) < *since);
            if is_over {
                connection.route.end(CHANGED);
            }
            is_over
        });
        ended.map(|(id, _)| Way::Party(id)).collect()
    }

    pub(super) fn connections(&self) -> usize {
        self.connections.len()
    }

    /// Adds another server, and returns its number.
    pub(super) fn add(&mut self, name: &str, uplink: Uplink) -> usize {
        let number = self.servers.len();
        self.servers.push(Some(Remote {
            name: name.into(),
            uplink,
            out: Outgoing::new(Way::Server(number), &self.ready),
            is_connected: false,
        }));
        number
    }

    pub(super) fn remove(&mut self, number: usize) {
        if let Some(server) = self.servers.get_mut(number) {
            *server = None;
        }
    }

    pub(super) fn connected_servers(&self) -> usize {
        let servers = self.servers.iter().flatten();
        servers.filter(|server| server.is_connected).count()
    }

    /// The next thing that comes from a server, or nothing, and its name.
    pub(super) fn poll_server(&mut self, cx: &mut Context<'_>, number: usize) -> Option<(Arc<str>, News)> {
        let server = self.servers.get_mut(number)?.as_mut()?;
        let Poll::Ready(news) = server.uplink.poll_news(cx) else {
            return None;
        };
        match &news {
            News::Connected => server.is_connected = true,
            News::Lost => server.is_connected = false,
            _ => {}
        }
        Some((Arc::clone(&server.name), news))
    }

    pub(super) fn server_count(&self) -> usize {
        self.servers.len()
    }

    /// Sends a packet on its way; whether there was room. If not, it waits here, and nothing more should come for this way.
    pub(super) fn send(&mut self, way: Way, packet: Message) -> bool {
        match self.out(way) {
            // What waits is older, and what cannot wait beside it comes again.
            Some(out) if out.packet.is_some() => return false,
            Some(out) => out.packet = Some(packet),
            // It has gone; what matters comes again.
            None => return true,
        }
        self.retry(way)
    }

    /// A way that had no room and has now, or has gone.
    pub(super) fn next_ready(&mut self) -> Option<Way> {
        loop {
            let way = self
                .ready
                .ways
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .pop()?;
            if self.out(way).is_some_and(|out| out.packet.is_some()) && self.retry(way) {
                return Some(way);
            }
        }
    }

    fn out(&mut self, way: Way) -> Option<&mut Outgoing> {
        match way {
            Way::Party(id) => Some(&mut self.connections.get_mut(&id)?.out),
            Way::Server(number) => Some(&mut self.servers.get_mut(number)?.as_mut()?.out),
        }
    }

    /// Whether the packet that waits has been taken.
    fn retry(&mut self, way: Way) -> bool {
        // What cannot be sent at all is lost, as on its way: it comes again.
        match way {
            Way::Party(id) => self.connections.get_mut(&id).is_none_or(|connection| {
                let out = &mut connection.out;
                let mut cx = Context::from_waker(&out.waker);
                connection.route.poll_send(&mut cx, &mut out.packet).is_ready()
            }),
            Way::Server(number) => {
                self.servers
                    .get_mut(number)
                    .and_then(Option::as_mut)
                    .is_none_or(|server| {
                        let out = &mut server.out;
                        let mut cx = Context::from_waker(&out.waker);
                        server.uplink.poll_send(&mut cx, &mut out.packet).is_ready()
                    })
            }
        }
    }
}
