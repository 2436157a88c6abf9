//! All connections of a tunnel: which of them leads where, and how they come and go.

use std::collections::HashMap;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::time::timeout;

use super::connection::{Connection, Half, Opening, Route};
use super::counters::{Quota, Slot, Tally, TunnelCounters, add};
use super::dial::Dial;
use super::framing::{frames_of, unsent_datagrams};
use super::hello::Hello;
use super::inbox::Inbox;
use super::inlet::{End, Inlet, Source};
use super::options::TunnelOptions;
use super::outlet::{Outlet, Sink};
use super::places::{Places, canonical};
use crate::{Transmit, Transport};

/// In how many ticks without a movement a connection is given up.
pub(super) const QUIET_TICKS: u8 = 4;

/// What a tunnel and its tasks share.
pub(super) struct Switch {
    pub(super) places: Places,
    pub(super) transport: Arc<dyn Transport>,
    pub(super) options: TunnelOptions,
    /// What this tunnel says of itself.
    pub(super) hello: Hello,
    pub(super) inbox: Inbox,
    pub(super) tally: Tally,
    /// How many connections there may be.
    pub(super) connections: Arc<Quota>,
    /// How many of them may have said nothing yet.
    pub(super) half_open: Arc<Quota>,
    runtime: Handle,
    table: Mutex<Table>,
}

#[derive(Default)]
struct Table {
    routes: HashMap<SocketAddr, Route>,
    connections: HashMap<u64, Arc<Connection>>,
    next_id: u64,
    closed: bool,
}

/// What a new connection consists of.
pub(super) struct Established {
    pub(super) address: SocketAddr,
    pub(super) peer: Hello,
    pub(super) dialed: bool,
    pub(super) outlet: Arc<Outlet>,
    pub(super) source: Source,
    pub(super) sink: Sink,
    pub(super) slot: Slot,
}

impl Switch {
    pub(super) fn new(
        places: Places,
        transport: Arc<dyn Transport>,
        options: TunnelOptions,
        hello: Hello,
        runtime: Handle,
    ) -> Arc<Self> {
        Arc::new(Switch {
            connections: Quota::new(options.max_connections),
            half_open: Quota::new(options.max_half_open),
            places,
            transport,
            options,
            hello,
            inbox: Inbox::default(),
            tally: Tally::default(),
            runtime,
            table: Mutex::default(),
        })
    }

    pub(super) fn counters(&self) -> TunnelCounters {
        self.tally.read(self.connections.taken())
    }

    /// Sends a batch that is for the destination of its first element, or begins to connect in order to send it, or drops
    /// it; returns how many of its elements are no longer to be sent.
    ///
    /// # Errors
    /// What is wrong with the first element itself.
    pub(super) fn send(self: &Arc<Self>, batch: &[Transmit<'_>]) -> io::Result<usize> {
        let invalid = |reason| io::Error::new(ErrorKind::InvalidInput, reason);
        let Some(first) = batch.first() else { return Ok(0) };
        let destination = canonical(first.destination);
        if !self.places.has(destination) {
            return Err(invalid(format!("{destination} is not the address of a tunnel")));
        }
        if let Err(error) = frames_of(first) {
            return Err(invalid(error.to_string()));
        }
        // The next call meets what is wrong with another one.
        let good = batch
            .iter()
            .take_while(|transmit| frames_of(transmit).is_ok())
            .count();
        let batch = &batch[..good];
        let frames = batch
            .iter()
            .flat_map(|transmit| frames_of(transmit).into_iter().flatten());
        // A connection that has just ended is replaced by another one, once.
        for _ in 0..2 {
            let Some(outlet) = self.outlet_to(destination) else {
                break;
            };
            if let Ok(dropped) = outlet.push(frames.clone()) {
                add(&self.tally.full, dropped);
                return Ok(batch.len());
            }
            self.leave(destination, &outlet);
        }
        let count = frames.map(|frame| frame.datagrams as u64).sum();
        add(&self.tally.unreachable, count);
        Ok(batch.len())
    }

    /// Where to put what is for `address`, which may begin to connect; `None` if that cannot be done now.
    fn outlet_to(self: &Arc<Self>, address: SocketAddr) -> Option<Arc<Outlet>> {
        let mut guard = self.table.lock();
        let table = &mut *guard;
        if table.closed {
            return None;
        }
        let route = match table.routes.get_mut(&address) {
            Some(route) => route,
            None => {
                if !table.make_room(self.options.max_connections) {
                    return None;
                }
                table.routes.entry(address).or_default()
            }
        };
        if let Some(connection) = &route.sending {
            return Some(Arc::clone(&connection.outlet));
        }
        if let Some(opening) = &route.opening {
            return Some(Arc::clone(&opening.outlet));
        }
        if route.is_resting(Instant::now()) {
            return None;
        }
        let endpoint = self.places.endpoint(address)?;
        let slot = self.connections.take()?;
        let outlet = Arc::new(Outlet::opening(self.options.max_queued));
        let dial = Dial {
            address,
            endpoint,
            outlet: Arc::clone(&outlet),
            slot,
        };
        let task = self.runtime.spawn(dial.run(self)).abort_handle();
        route.opening = Some(Opening {
            outlet: Arc::clone(&outlet),
            task,
        });
        Some(outlet)
    }

    /// There is a connection: sends and receives on it from now on.
    pub(super) fn establish(self: &Arc<Self>, established: Established) {
        let Established {
            address,
            peer,
            dialed,
            outlet,
            source,
            sink,
            slot,
        } = established;
        let sink = Arc::new(sink);
        let counter = if dialed {
            &self.tally.dialed
        } else {
            &self.tally.accepted
        };
        let mut table = self.table.lock();
        if table.closed {
            drop(table);
            if dialed {
                // What was to be sent still is; the task that lingers sees to it that this has an end.
                self.runtime.spawn(async move {
                    outlet.run(&sink).await;
                    drop(slot);
                });
            }
            return;
        }
        add(counter, 1);
        let id = table.next_id;
        table.next_id += 1;
        outlet.open(&sink);
        let connection = Connection::new(id, address, peer.instance, dialed, outlet, slot);
        table.connections.insert(id, Arc::clone(&connection));
        let route = table.routes.entry(address).or_default();
        if dialed {
            route.opening = None;
            route.recover();
        }
        let finished = route.settle(&connection, self.hello.instance);
        drop(table);
        if let Some(finished) = finished {
            finished.outlet.finish();
        }
        self.inbox.insert(id, Inlet::new(Arc::clone(&connection), source));
        let weak = Arc::downgrade(self);
        self.runtime.spawn(async move {
            let unsent = connection.outlet.run(&sink).await;
            drop(sink);
            if let Some(switch) = weak.upgrade() {
                add(&switch.tally.closed, unsent);
                switch.end(&connection, Half::Sending);
            }
        });
    }

    /// No connection could be made. What waits for it is sent on another one, if there is one meanwhile.
    pub(super) fn dial_failed(&self, address: SocketAddr, outlet: &Arc<Outlet>) {
        add(&self.tally.dial_failures, 1);
        let mut table = self.table.lock();
        let mut heir = None;
        if let Some(route) = table.routes.get_mut(&address) {
            route.opening = None;
            route.rest(Instant::now(), self.options.max_backoff);
            heir = route.sending.clone();
        }
        drop(table);
        let waiting = outlet.close();
        match heir {
            Some(heir) => add(&self.tally.full, heir.outlet.push_queued(&waiting)),
            None => add(&self.tally.unreachable, unsent_datagrams(&waiting, 0)),
        }
    }

    /// Nothing more will come on a connection.
    pub(super) fn received_all(&self, connection: &Arc<Connection>, end: End) {
        match end {
            // What waits is still sent: the peer may have finished its direction only.
            End::Closed => connection.outlet.finish(),
            End::Garbled => {
                add(&self.tally.garbled, 1);
                self.give_up(connection);
            }
        }
        self.end(connection, Half::Receiving);
    }

    /// Closes at once.
    fn give_up(&self, connection: &Connection) {
        let waiting = connection.outlet.close();
        add(&self.tally.closed, unsent_datagrams(&waiting, 0));
    }

    /// A half of a connection has ended.
    fn end(&self, connection: &Arc<Connection>, half: Half) {
        if connection.end(half) {
            self.table.lock().connections.remove(&connection.id);
        }
        self.leave(connection.address, &connection.outlet);
    }

    /// Sends on another connection, if there is one, where it was sent to `outlet`, which takes nothing any more.
    fn leave(&self, address: SocketAddr, outlet: &Arc<Outlet>) {
        let mut guard = self.table.lock();
        let table = &mut *guard;
        let Some(route) = table.routes.get_mut(&address) else {
            return;
        };
        let sending = route
            .sending
            .take_if(|sending| Arc::ptr_eq(&sending.outlet, outlet));
        let Some(left) = sending else { return };
        route.sending = table
            .connections
            .values()
            .filter(|other| other.address == address && other.outlet.is_open())
            // Rather one of the same tunnel, and rather who came first.
            .min_by_key(|other| (other.instance != left.instance, other.id))
            .cloned();
        if route.is_unused(Instant::now()) {
            table.routes.remove(&address);
        }
    }

    /// Looks for connections on which nothing moves, several times in the time after which they are to be closed.
    pub(super) fn tick(&self) {
        let mut table = self.table.lock();
        let now = Instant::now();
        table.routes.retain(|_, route| !route.is_unused(now));
        let connections: Vec<_> = table.connections.values().cloned().collect();
        drop(table);
        for connection in connections {
            if connection.outlet.has_moved() {
                connection.quiet.store(0, Ordering::Relaxed);
                continue;
            }
            let quiet = connection.quiet.load(Ordering::Relaxed).saturating_add(1);
            connection.quiet.store(quiet, Ordering::Relaxed);
            if quiet == QUIET_TICKS && connection.outlet.is_open() && connection.outlet.is_empty() {
                // The peer finishes, too, once it has sent what waits there.
                connection.outlet.finish();
            } else if quiet >= QUIET_TICKS {
                self.give_up(&connection);
                self.inbox.remove(connection.id);
                self.end(&connection, Half::Receiving);
            }
        }
    }

    /// Ends everything but the sending of what waits, also for connections that are only being made. That goes on until
    /// [`TunnelOptions::linger`] is over.
    pub(super) fn close(self: &Arc<Self>) {
        let mut table = self.table.lock();
        table.closed = true;
        let routes = std::mem::take(&mut table.routes);
        let connections = table.connections.values();
        let mut outlets: Vec<_> = connections
            .map(|connection| Arc::clone(&connection.outlet))
            .collect();
        drop(table);
        let mut dials = Vec::new();
        for opening in routes.into_values().filter_map(|route| route.opening) {
            outlets.push(opening.outlet);
            dials.push(opening.task);
        }
        self.inbox.close();
        for outlet in &outlets {
            outlet.finish();
        }
        // Who connects needs it until it is connected.
        let switch = Arc::clone(self);
        self.runtime.spawn(async move {
            let _ = timeout(switch.options.linger, async {
                for outlet in &outlets {
                    outlet.closed().await;
                }
            })
            .await;
            for outlet in outlets {
                outlet.close();
            }
            for dial in dials {
                dial.abort();
            }
        });
    }
}

impl Table {
    /// Whether one more address can be remembered.
    fn make_room(&mut self, max_connections: usize) -> bool {
        let limit = max_connections.saturating_mul(2).max(64);
        if self.routes.len() >= limit {
            let now = Instant::now();
            self.routes.retain(|_, route| !route.is_unused(now));
        }
        self.routes.len() < limit
    }
}
