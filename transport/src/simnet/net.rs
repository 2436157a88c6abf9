//! The simulated network under tokio's clock.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Weak};
use std::task::Waker;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

use super::socket::{Inbox, SimSocket};
use super::{Config, Counters, Delivery, Network};
use crate::{BindError, Endpoint};

/// A simulated network for tasks: its sockets are [`SimSocket`]s, and its time is tokio's.
///
/// With the clock paused (`tokio::time::pause`, or `start_paused` of `tokio::test`) time passes only while nothing else
/// is to be done, and runs of one seed are the same. What is due at once is delivered within the call that sends it. All
/// else waits for tokio's timers, which count whole milliseconds: delays are rounded up to these.
///
/// A clone is the same network. It lives as long as a clone or a socket of it.
///
/// # Example
/// ```
/// use std::future::poll_fn;
/// use std::io::IoSliceMut;
/// use std::time::Duration;
///
/// use flexbond_transport::simnet::{Config, Path, SimNet};
/// use flexbond_transport::{DatagramSocket, Received, Transmit};
///
/// # tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build()?.block_on(async {
/// let network = SimNet::new(7, Config::default().path(Path::default().delay(Duration::from_secs(60))));
/// let near = network.bind("10.0.0.1:0".parse()?)?;
/// let far = network.bind("10.0.0.2:2000".parse()?)?;
///
/// near.try_send(&[Transmit::new(far.local_addr()?, b"a minute later")])?;
/// let (mut buffer, mut received) = ([0; 100], [Received::default()]);
/// poll_fn(|cx| far.poll_recv(cx, &mut [IoSliceMut::new(&mut buffer)], &mut received)).await?;
/// assert_eq!(received[0].source, near.local_addr()?);
/// assert_eq!(network.now(), Duration::from_secs(60));
///
/// // From now on the far host is gone.
/// network.update(|network| network.partition([far.host()]));
/// near.try_send(&[Transmit::new(far.local_addr()?, b"never")])?;
/// assert_eq!(network.counters().cut, 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct SimNet {
    hub: Arc<Hub>,
}

/// What the sockets of a network share.
pub(super) struct Hub {
    start: Instant,
    state: Mutex<State>,
    /// Tells the task that delivers of something that is due before all else, or of the end.
    changed: Arc<Notify>,
}

pub(super) struct State {
    pub(super) network: Network,
    inboxes: BTreeMap<u64, Inbox>,
    /// Who hears what: by the address of the receiver, and by that which was sent to.
    listeners: BTreeMap<(SocketAddr, SocketAddr), Vec<u64>>,
    bound: u64,
    /// When the task that delivers looks next.
    alarm: Option<Duration>,
}

impl SimNet {
    /// A network without hosts. A task of the current runtime delivers what is due, and ends with the network.
    ///
    /// # Panics
    /// Outside a tokio runtime with time enabled.
    #[must_use]
    pub fn new(seed: u64, config: Config) -> Self {
        let changed = Arc::new(Notify::new());
        let hub = Arc::new(Hub {
            start: Instant::now(),
            state: Mutex::new(State {
                network: Network::new(seed, config),
                inboxes: BTreeMap::new(),
                listeners: BTreeMap::new(),
                bound: 0,
                alarm: None,
            }),
            changed: Arc::clone(&changed),
        });
        tokio::spawn(deliver(Arc::downgrade(&hub), changed, hub.start));
        SimNet { hub }
    }

    /// Binds a socket of the host of this address; port 0 chooses one.
    ///
    /// # Errors
    /// [`BindError::InUse`], and [`BindError::Unusable`] for an address that is no host's. Nothing is bound then.
    pub fn bind(&self, address: SocketAddr) -> Result<SimSocket, BindError> {
        if address.ip().is_multicast() || address.ip().is_unspecified() {
            return Err(unusable(address, "not the address of a host"));
        }
        let mut state = self.hub.state.lock();
        let address = state.free(address)?;
        let id = state.open();
        state.listen(id, address, address);
        let segments = state.network.config().segments;
        drop(state);
        Ok(SimSocket::new(
            Arc::clone(&self.hub),
            id,
            address,
            address,
            segments,
        ))
    }

    /// Joins a multicast group on a host, as [`UdpSocket::bind_multicast`](crate::UdpSocket::bind_multicast) does: the
    /// socket hears what is sent to the group at its port, and nothing else. Any number of them may.
    ///
    /// # Errors
    /// [`BindError::Unusable`] when `group` is no multicast address, its port is 0 or `host` is none. Nothing is bound
    /// then.
    pub fn bind_multicast(&self, host: IpAddr, group: SocketAddr) -> Result<SimSocket, BindError> {
        if !group.ip().is_multicast() {
            return Err(unusable(group, "not a multicast address"));
        }
        if group.port() == 0 {
            return Err(unusable(group, "a group has a port"));
        }
        if host.is_multicast() || host.is_unspecified() {
            return Err(unusable(group, "joined by what is no host"));
        }
        let mut state = self.hub.state.lock();
        let id = state.open();
        let own = SocketAddr::new(host, group.port());
        state.listen(id, own, group);
        let segments = state.network.config().segments;
        drop(state);
        Ok(SimSocket::new(Arc::clone(&self.hub), id, own, group, segments))
    }

    /// Looks at the network or changes it: paths, partitions, pauses. What it lets through is delivered at once.
    ///
    /// `change` must not use this network's sockets or clones, which would wait for it for ever.
    pub fn update<R>(&self, change: impl FnOnce(&mut Network) -> R) -> R {
        let mut wakers = Vec::new();
        let result = {
            let mut state = self.hub.state.lock();
            let result = change(&mut state.network);
            // Whoever waited for a paused host looks again.
            wakers.extend(state.inboxes.values_mut().flat_map(Inbox::take_wakers));
            self.hub.settle(&mut state, &mut wakers);
            result
        };
        wakers.into_iter().for_each(Waker::wake);
        result
    }

    /// What has happened so far.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.hub.state.lock().network.counters()
    }

    /// How old the network is.
    #[must_use]
    pub fn now(&self) -> Duration {
        self.hub.now()
    }
}

impl Hub {
    pub(super) fn now(&self) -> Duration {
        self.start.elapsed()
    }

    /// Does something with the state, delivers what is due, and wakes whom that concerns.
    pub(super) fn with<R>(&self, act: impl FnOnce(&mut State, Duration) -> R) -> R {
        let mut wakers = Vec::new();
        let result = {
            let mut state = self.state.lock();
            let result = act(&mut state, self.now());
            self.settle(&mut state, &mut wakers);
            result
        };
        wakers.into_iter().for_each(Waker::wake);
        result
    }

    /// Delivers what is due, and sees that the task looks when something is due next.
    fn settle(&self, state: &mut State, wakers: &mut Vec<Waker>) {
        state.deliver(self.now(), wakers);
        let next = state.network.poll_timeout();
        if next.is_some_and(|next| state.alarm.is_none_or(|alarm| next < alarm)) {
            state.alarm = next;
            self.changed.notify_one();
        }
    }

    /// What the task does whenever it looks; when it is to look again.
    fn look(&self) -> Option<Duration> {
        let mut wakers = Vec::new();
        let alarm = {
            let mut state = self.state.lock();
            state.deliver(self.now(), &mut wakers);
            state.alarm = state.network.poll_timeout();
            state.alarm
        };
        wakers.into_iter().for_each(Waker::wake);
        alarm
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        self.changed.notify_one();
    }
}

/// Delivers what is due, for as long as the network is there.
async fn deliver(hub: Weak<Hub>, changed: Arc<Notify>, start: Instant) {
    while let Some(hub) = hub.upgrade() {
        let alarm = hub.look();
        drop(hub);
        // A time beyond all clocks is as good as none.
        match alarm.and_then(|alarm| start.checked_add(alarm)) {
            Some(alarm) => {
                let _ = timeout_at(alarm, changed.notified()).await;
            }
            None => changed.notified().await,
        }
    }
}

impl State {
    pub(super) fn inbox(&mut self, id: u64) -> Option<&mut Inbox> {
        self.inboxes.get_mut(&id)
    }

    fn open(&mut self) -> u64 {
        self.bound += 1;
        self.inboxes.insert(self.bound, Inbox::default());
        self.bound
    }

    /// Forgets a socket, and the groups of its host that no other socket has joined. What it held is handed out, to
    /// be dropped after the lock is released: a waker may own anything.
    pub(super) fn close(&mut self, id: u64) -> Option<Inbox> {
        let inbox = self.inboxes.remove(&id);
        let heard: Vec<_> = self
            .listeners
            .iter()
            .filter(|(_, ids)| ids.contains(&id))
            .map(|(key, _)| *key)
            .collect();
        for (own, destination) in heard {
            self.unlisten(id, own, destination);
        }
        inbox
    }

    /// Makes a socket hear what is sent to `destination` and arrives at `own`.
    pub(super) fn listen(&mut self, id: u64, own: SocketAddr, destination: SocketAddr) {
        let ids = self.listeners.entry((own, destination)).or_default();
        if !ids.contains(&id) {
            ids.push(id);
        }
        if destination.ip().is_multicast() {
            self.network.join(own.ip(), destination.ip());
        }
    }

    pub(super) fn unlisten(&mut self, id: u64, own: SocketAddr, destination: SocketAddr) {
        let Some(ids) = self.listeners.get_mut(&(own, destination)) else {
            return;
        };
        ids.retain(|&listener| listener != id);
        if ids.is_empty() {
            self.listeners.remove(&(own, destination));
        }
        let (host, group) = (own.ip(), destination.ip());
        let others = self
            .listeners
            .keys()
            .any(|(own, destination)| own.ip() == host && destination.ip() == group);
        if group.is_multicast() && !others {
            self.network.leave(host, group);
        }
    }

    /// The address itself, or with a free port for port 0.
    fn free(&self, address: SocketAddr) -> Result<SocketAddr, BindError> {
        let is_free = |address: &SocketAddr| !self.listeners.contains_key(&(*address, *address));
        let found = if address.port() == 0 {
            // The dynamic ports (RFC 6335, section 6).
            (49_152..=u16::MAX)
                .map(|port| SocketAddr::new(address.ip(), port))
                .find(is_free)
        } else {
            Some(address).filter(is_free)
        };
        found.ok_or_else(|| BindError::InUse {
            endpoint: Endpoint::Udp(address.into()),
            source: None,
        })
    }

    /// Takes what has arrived to the sockets.
    fn deliver(&mut self, now: Duration, wakers: &mut Vec<Waker>) {
        while let Some(delivery) = self.network.poll_delivery(now) {
            self.hand_over(&delivery, wakers);
        }
    }

    fn hand_over(&mut self, delivery: &Delivery, wakers: &mut Vec<Waker>) {
        let limit = self.network.config().recv_buffer;
        let Some(ids) = self.listeners.get(&(delivery.to, delivery.destination)) else {
            self.network.counters_mut().unlistened += 1;
            return;
        };
        for id in ids {
            let Some(inbox) = self.inboxes.get_mut(id) else {
                continue;
            };
            if inbox.push(delivery.clone(), limit) {
                wakers.extend(inbox.take_receiver());
            } else {
                self.network.counters_mut().unread += 1;
            }
        }
    }
}

fn unusable(address: SocketAddr, reason: &str) -> BindError {
    BindError::Unusable {
        endpoint: Endpoint::Udp(address.into()),
        reason: reason.to_owned(),
    }
}

impl fmt::Debug for SimNet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.hub.state.lock();
        f.debug_struct("SimNet")
            .field("network", &state.network)
            .field("sockets", &state.inboxes.len())
            .finish_non_exhaustive()
    }
}
