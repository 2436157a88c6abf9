//! The heart of the simulated network: what is sent when, and what arrives when, without clock or task.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, HashMap};
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use fastrand::Rng;

use super::line::Line;
use super::stash::{Stash, room_of};
use super::{Config, Counters, Path};

/// A simulated network, driven from outside: [`send`](Self::send) into it, and take what has arrived from
/// [`poll_delivery`](Self::poll_delivery) whenever the time of [`poll_timeout`](Self::poll_timeout) has come.
///
/// All times are since the network's start, and never go back.
pub struct Network {
    config: Config,
    random: Rng,
    paths: HashMap<(IpAddr, IpAddr), Path>,
    lines: HashMap<(IpAddr, IpAddr), Line>,
    groups: BTreeMap<IpAddr, BTreeSet<IpAddr>>,
    island: BTreeSet<IpAddr>,
    paused: BTreeMap<IpAddr, Stash>,
    under_way: BinaryHeap<Reverse<Flight>>,
    /// How much room `under_way` takes.
    bytes: usize,
    /// The latest time that was ever said.
    now: Duration,
    /// How many were ever under way.
    flights: u64,
    counters: Counters,
}

/// A packet that has arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Delivery {
    /// Who receives it: a host, at the port that it was sent to.
    pub to: SocketAddr,
    /// Who sent it.
    pub from: SocketAddr,
    /// Where it was sent to: `to`, or a multicast group.
    pub destination: SocketAddr,
    /// What was sent.
    pub bytes: Bytes,
}

/// A packet under way. The first to arrive is the smallest.
struct Flight {
    at: Duration,
    /// Of those that arrive at the same time, the first to be sent is the first.
    number: u64,
    delivery: Delivery,
}

impl Network {
    /// A network without hosts, at time zero.
    #[must_use]
    pub fn new(seed: u64, config: Config) -> Self {
        Network {
            config,
            random: Rng::with_seed(seed),
            paths: HashMap::new(),
            lines: HashMap::new(),
            groups: BTreeMap::new(),
            island: BTreeSet::new(),
            paused: BTreeMap::new(),
            under_way: BinaryHeap::new(),
            bytes: 0,
            now: Duration::ZERO,
            flights: 0,
            counters: Counters::default(),
        }
    }

    /// Sends a packet to an address, or to every member of a multicast group (the sender too, if it is one).
    pub fn send(&mut self, now: Duration, from: SocketAddr, to: SocketAddr, bytes: impl Into<Bytes>) {
        let bytes = bytes.into();
        self.now = self.now.max(now);
        self.counters.sent += 1;
        self.counters.sent_bytes += bytes.len() as u64;
        if self.is_paused(from.ip()) {
            self.counters.silenced += 1;
            return;
        }
        if !to.ip().is_multicast() {
            return self.carry(now, from, to.ip(), to, bytes);
        }
        let members: Vec<IpAddr> = self.groups.get(&to.ip()).into_iter().flatten().copied().collect();
        if members.is_empty() {
            self.counters.unheard += 1;
        }
        for member in members {
            self.carry(now, from, member, to, bytes.clone());
        }
    }

    /// When [`poll_delivery`](Self::poll_delivery) is to be called next; `None`: nothing is under way. Never earlier than
    /// any time that was said to the network.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Duration> {
        self.under_way
            .peek()
            .map(|Reverse(flight)| flight.at.max(self.now))
    }

    /// The next packet that has arrived by now. Call it again until there is none.
    pub fn poll_delivery(&mut self, now: Duration) -> Option<Delivery> {
        self.now = self.now.max(now);
        while self.poll_timeout()? <= self.now {
            let Reverse(Flight { delivery, .. }) = self.under_way.pop()?;
            self.bytes -= room_of(&delivery);
            let (from, to) = (delivery.from.ip(), delivery.to.ip());
            if self.is_cut(from, to) {
                self.counters.cut += 1;
            } else if let Some(stash) = self.paused.get_mut(&to) {
                if !stash.push(delivery, self.config.recv_buffer) {
                    self.counters.overflowed += 1;
                }
            } else {
                self.counters.delivered += 1;
                self.counters.delivered_bytes += delivery.bytes.len() as u64;
                return Some(delivery);
            }
        }
        None
    }

    /// Makes a host hear what is sent to a multicast group.
    pub fn join(&mut self, host: IpAddr, group: IpAddr) {
        self.groups.entry(group).or_default().insert(host);
    }

    /// Ends that. What is under way already still arrives.
    pub fn leave(&mut self, host: IpAddr, group: IpAddr) {
        if let Some(members) = self.groups.get_mut(&group) {
            members.remove(&host);
            if members.is_empty() {
                self.groups.remove(&group);
            }
        }
    }

    /// Sets the path between all hosts for which [`set_path`](Self::set_path) has not set another. What is under way
    /// already is not touched, by this as by all other changes of paths.
    pub fn set_default_path(&mut self, path: Path) {
        self.config.path = path;
    }

    /// Sets the path from one host to another, in this direction only.
    pub fn set_path(&mut self, from: IpAddr, to: IpAddr, path: Path) {
        self.paths.insert((from, to), path);
    }

    /// Makes the path from one host to another the default one again.
    pub fn reset_path(&mut self, from: IpAddr, to: IpAddr) {
        self.paths.remove(&(from, to));
    }

    /// The path from one host to another.
    #[must_use]
    pub fn path(&self, from: IpAddr, to: IpAddr) -> &Path {
        self.paths.get(&(from, to)).unwrap_or(&self.config.path)
    }

    /// Cuts these hosts off from all others; among themselves they stay connected, and so do the others. Takes the
    /// place of an earlier partition. A packet that is under way across the border is stopped there.
    pub fn partition(&mut self, hosts: impl IntoIterator<Item = IpAddr>) {
        self.island = hosts.into_iter().collect();
    }

    /// Ends the partition.
    pub fn heal(&mut self) {
        self.island.clear();
    }

    /// Stops a host, as `SIGSTOP` does: it sends nothing, and what arrives waits in its receive buffer
    /// ([`Config::recv_buffer`](field@Config::recv_buffer)), or is dropped when that is full.
    pub fn pause(&mut self, host: IpAddr) {
        self.paused.entry(host).or_default();
    }

    /// Lets a paused host go on: what waits is delivered next, in the order in which it came.
    pub fn resume(&mut self, host: IpAddr) {
        let Some(mut stash) = self.paused.remove(&host) else {
            return;
        };
        while let Some(delivery) = stash.pop() {
            // Before all that has arrived since.
            self.launch(Duration::ZERO, delivery);
        }
    }

    /// Whether a host is paused.
    #[must_use]
    pub fn is_paused(&self, host: IpAddr) -> bool {
        self.paused.contains_key(&host)
    }

    /// How many packets are under way, or wait at a paused host.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.under_way.len() + self.paused.values().map(Stash::len).sum::<usize>()
    }

    /// What has happened so far.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.counters
    }

    pub(super) fn config(&self) -> &Config {
        &self.config
    }

    /// Counts what the sockets above do with what was delivered.
    pub(super) fn counters_mut(&mut self) -> &mut Counters {
        &mut self.counters
    }

    /// Takes one copy of a packet to one host.
    fn carry(
        &mut self,
        now: Duration,
        from: SocketAddr,
        host: IpAddr,
        destination: SocketAddr,
        bytes: Bytes,
    ) {
        self.counters.copies += 1;
        let mut delivery = Delivery {
            to: SocketAddr::new(host, destination.port()),
            from,
            destination,
            bytes,
        };
        let ends = (from.ip(), host);
        if ends.0 == ends.1 {
            return self.launch_if_room(now, delivery);
        }
        if self.is_cut(ends.0, ends.1) {
            self.counters.cut += 1;
            return;
        }
        let path = *self.path(ends.0, ends.1);
        if delivery.bytes.len() > path.mtu {
            self.counters.too_large += 1;
            return;
        }
        let line = self.lines.entry(ends).or_default();
        let Some(passed) = line.pass(now, delivery.bytes.len(), &path) else {
            self.counters.queue_full += 1;
            return;
        };
        if self.happens(path.loss) {
            self.counters.lost += 1;
            return;
        }
        if !delivery.bytes.is_empty() && self.happens(path.corruption) {
            self.counters.corrupted += 1;
            delivery.bytes = self.corrupt(&delivery.bytes);
        }
        if self.happens(path.duplication) {
            self.counters.duplicated += 1;
            let at = self.arrival(passed, ends, &path);
            self.launch_if_room(at, delivery.clone());
        }
        let at = self.arrival(passed, ends, &path);
        self.launch_if_room(at, delivery);
    }

    /// When a packet arrives that has passed the rate limit at `passed`.
    fn arrival(&mut self, passed: Duration, ends: (IpAddr, IpAddr), path: &Path) -> Duration {
        let jitter = u64::try_from(path.jitter.as_nanos()).unwrap_or(u64::MAX);
        let jitter = match jitter {
            0 => 0,
            most => self.random.u64(0..=most),
        };
        let at = passed
            .saturating_add(path.delay)
            .saturating_add(Duration::from_nanos(jitter));
        if self.happens(path.reordering) {
            self.counters.reordered += 1;
            return at.saturating_add(path.reorder_delay);
        }
        self.lines.entry(ends).or_default().in_order(at)
    }

    fn launch_if_room(&mut self, at: Duration, delivery: Delivery) {
        if self.bytes + room_of(&delivery) > self.config.in_flight {
            self.counters.flooded += 1;
        } else {
            self.launch(at, delivery);
        }
    }

    fn launch(&mut self, at: Duration, delivery: Delivery) {
        self.bytes += room_of(&delivery);
        self.flights += 1;
        self.under_way.push(Reverse(Flight {
            at,
            number: self.flights,
            delivery,
        }));
    }

    /// Whether something of this probability happens. What cannot happen takes nothing from the source of chance, so
    /// that a run does not depend on faults that are off.
    fn happens(&mut self, probability: f64) -> bool {
        probability > 0.0 && self.random.f64() < probability
    }

    fn corrupt(&mut self, bytes: &[u8]) -> Bytes {
        let mut changed = BytesMut::from(bytes);
        let at = self.random.usize(..bytes.len());
        changed[at] ^= self.random.u8(1..);
        changed.freeze()
    }

    fn is_cut(&self, one: IpAddr, other: IpAddr) -> bool {
        self.island.contains(&one) != self.island.contains(&other)
    }
}

impl fmt::Debug for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Network")
            .field("in_flight", &self.in_flight())
            .field("counters", &self.counters)
            .finish_non_exhaustive()
    }
}

impl Flight {
    fn key(&self) -> (Duration, u64) {
        (self.at, self.number)
    }
}

impl PartialEq for Flight {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl Eq for Flight {}

impl PartialOrd for Flight {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Flight {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.key().cmp(&other.key())
    }
}
