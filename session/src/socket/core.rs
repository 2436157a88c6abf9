//! What all tasks of one socket share.

use std::collections::HashMap;
use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use flexbond_transport::pipe::{PipeReceiver, PipeSender, pipe};
use flexbond_transport::{Endpoint, LinkOptions, Message, Registry};
use flexbond_wire::zmtp::{self, SocketType};
use parking_lot::Mutex;
use tokio::sync::{Semaphore, watch};
use tokio::time::Instant;

use super::account::Accounts;
use super::crowd::Crowd;
use super::ending::Ending;
use super::lane::Lane;
use super::memory::Memory;
use super::monitor::{Event, Watchers};
use super::outbound::Outbound;
use super::outbox::Outboxes;
use super::pattern::{Pattern, pattern};
use super::security::mechanism;
use super::stats::{Counters, PeerStats, SharedCounter, Stats};
use super::turn::{Company, Turn};
use super::{self as socket, Limit, LimitAction, Options, Peer, SlowPeer};
use crate::spin::{Rivals, Spin};

/// What all tasks of one socket share: its rules, its options and its peers.
pub(crate) struct Core {
    pub(crate) socket_type: SocketType,
    pub(crate) options: Options,
    pub(crate) link_options: LinkOptions,
    pub(crate) zmtp: Arc<zmtp::Config>,
    pub(crate) pattern: Box<dyn Pattern>,
    boxes: Arc<Outboxes>,
    pub(crate) turn: Turn,
    pub(crate) spin: Spin,
    pub(crate) watchers: Arc<Watchers>,
    /// Messages that were still queued when their lane ended.
    pub(crate) undelivered: SharedCounter,
    lanes: Mutex<HashMap<u64, Arc<Lane>>>,
    next_lane: AtomicU64,
    counts: Mutex<Counts>,
    past: Mutex<Past>,
    /// One permit for each connection that may still be accepted.
    pub(crate) admissions: Arc<Semaphore>,
    /// Accepted connections by remote address.
    pub(crate) crowd: Arc<Crowd>,
    /// What came and waits for the application.
    pub(crate) unread: Arc<Accounts>,
    /// Handshakes that made room for newer ones.
    pub(crate) displaced: SharedCounter,
    stop: watch::Sender<Stop>,
    ending: Ending,
    /// Each running task holds a receiver.
    running: watch::Sender<()>,
}

/// Where the peers are.
#[derive(Default)]
struct Counts {
    /// Lanes whose queues a task serves.
    served: usize,
    /// Peers in this process.
    nearby: usize,
}

impl Counts {
    fn company(&self) -> Company {
        match self {
            Counts { served: 0, .. } => Company::Direct,
            Counts { nearby: 0, .. } => Company::Remote,
            _ => Company::Mixed,
        }
    }
}

/// Lanes that are gone. They still count while messages that came by them wait to be received.
#[derive(Default)]
struct Past {
    lanes: Vec<Arc<Lane>>,
    counters: Counters,
    reconnects: u64,
}

impl Past {
    /// Adds up the lanes that nobody else holds any more.
    fn settle(&mut self) {
        let Past {
            lanes,
            counters,
            reconnects,
        } = self;
        lanes.retain(|lane| {
            let gone = Arc::strong_count(lane) == 1;
            if gone {
                counters.absorb(&lane.counters);
                *reconnects += lane.reconnects.get();
            }
            !gone
        });
    }
}

/// Held by every task of a socket while it runs.
pub(crate) struct TaskGuard {
    core: Arc<Core>,
    running: Option<watch::Receiver<()>>,
}

impl Drop for TaskGuard {
    fn drop(&mut self) {
        self.running = None;
        if self.core.ending.end() {
            self.core.watchers.close();
        }
    }
}

/// Whether tasks go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// They do.
    Running,
    /// They end once their queue is empty, or at this moment (`None`: whenever that is).
    Drain(Option<Instant>),
}

/// A peer in this process, while there is one.
pub(crate) struct Nearby<'a>(&'a Core);

impl Drop for Nearby<'_> {
    fn drop(&mut self) {
        self.0.count(|counts| counts.nearby -= 1);
    }
}

/// A lane whose queues are served by a task.
pub(crate) struct ServedLane {
    pub(crate) lane: Arc<Lane>,
    pub(crate) outbound: Outbound,
}

impl Core {
    pub(crate) fn new(socket_type: SocketType, options: Options) -> Arc<Self> {
        let admissions = Arc::new(Semaphore::new(options.max_peers.min(Semaphore::MAX_PERMITS)));
        let boxes = Outboxes::new(send_memory(socket_type, &options));
        let unread = Accounts::new(Memory::new(
            (Limit::PeerRecvBytes, options.recv_hwm_bytes),
            (Limit::RecvMemory, options.unread_capacity()),
        ));
        let crowd = Crowd::new(options.max_peers_per_address);
        let spin = match options.spin {
            socket::Spin::Off => Spin::new(Duration::ZERO, Rivals::Few),
            socket::Spin::For(limit) => Spin::new(limit, Rivals::Few),
            socket::Spin::Auto => Spin::adaptive(),
        };
        let waits = matches!(
            socket_type,
            SocketType::Push | SocketType::Dealer | SocketType::Req | SocketType::Pair
        );
        let turn = Turn::new((!waits).then(|| Options::capacity(options.send_hwm)));
        Arc::new(Core {
            socket_type,
            link_options: options.link_options(socket_type),
            zmtp: Arc::new(zmtp_config(socket_type, &options)),
            pattern: pattern(socket_type, &options, &boxes),
            boxes,
            options,
            turn,
            spin,
            watchers: Arc::default(),
            undelivered: SharedCounter::default(),
            lanes: Mutex::default(),
            next_lane: AtomicU64::new(1),
            counts: Mutex::default(),
            past: Mutex::default(),
            admissions,
            crowd,
            unread,
            displaced: SharedCounter::default(),
            stop: watch::Sender::new(Stop::Running),
            ending: Ending::new(),
            running: watch::Sender::new(()),
        })
    }

    pub(crate) fn registry(&self) -> &Registry {
        &self.options.registry
    }

    /// A peer of which only the endpoint is known yet.
    pub(crate) fn unknown_peer(&self, endpoint: &Endpoint) -> Peer {
        Peer::unknown(self.next_id(), endpoint.clone())
    }

    pub(crate) fn emit(&self, event: &Event) {
        self.watchers.emit(event);
    }

    /// Counts and tells that the other end met a limit; who it is, if that is known. False if it is not told, for it has
    /// been too often.
    pub(crate) fn limit(
        &self,
        limit: Limit,
        action: LimitAction,
        endpoint: &Endpoint,
        peer: Option<&Peer>,
    ) -> bool {
        match peer {
            Some(peer) => self.watchers.peer_limit(limit, action, peer.clone(), false),
            None => self.watchers.limit(limit, action, endpoint),
        }
    }

    /// Whether a peer that closes the connection may have been asked for a key that it does not have.
    pub(crate) fn is_curve_client(&self) -> bool {
        #[cfg(feature = "curve")]
        let client = self.options.curve_client.is_some();
        #[cfg(not(feature = "curve"))]
        let client = false;
        client
    }

    fn next_id(&self) -> u64 {
        self.next_lane.fetch_add(1, Ordering::Relaxed)
    }

    /// Whether messages of this socket may go from pipe to pipe without a task in between.
    pub(crate) fn is_direct(&self) -> bool {
        !self.pattern.inspects() && !self.options.conflates(self.socket_type)
    }

    /// Whether what this socket sends may be a subscription.
    pub(crate) fn sends_subscriptions(&self) -> bool {
        matches!(self.socket_type, SocketType::Sub | SocketType::XSub)
    }

    /// Peers come or go: the turns are those of the company that is left.
    fn count(&self, change: impl FnOnce(&mut Counts)) {
        let mut counts = self.counts.lock();
        change(&mut counts);
        self.turn.join(counts.company());
    }

    /// Counts a peer in this process for as long as what this returns lives.
    pub(crate) fn nearby(&self) -> Nearby<'_> {
        self.count(|counts| counts.nearby += 1);
        Nearby(self)
    }

    /// A lane to `endpoint` whose queues a task serves, and the queue for what arrives.
    pub(crate) fn served_lane(&self, peer: Peer) -> (ServedLane, PipeReceiver<Message>) {
        let send = match self.sends_subscriptions() {
            // Subscriptions are exempt from the high-water mark.
            true => Options::UNLIMITED_HWM,
            false => Options::capacity(self.options.send_hwm),
        };
        let queue = self.boxes.open(send);
        let (inbound, inbound_rx) = pipe(Options::capacity(self.options.recv_hwm));
        let lane = self.register(Lane::served(
            peer,
            Arc::clone(&queue),
            (inbound, self.unread.open()),
            Arc::clone(&self.watchers),
        ));
        let outbound = Outbound::new(queue, self.eviction_batch());
        (ServedLane { lane, outbound }, inbound_rx)
    }

    /// How many messages a task may take from a lane's queue at once: few, where those that wait may still be
    /// evicted or replaced.
    fn eviction_batch(&self) -> Option<usize> {
        let publishes = matches!(self.socket_type, SocketType::Pub | SocketType::XPub);
        if self.options.conflates(self.socket_type) {
            Some(1)
        } else if publishes && self.options.slow_peer == SlowPeer::DropOldest {
            Some(16)
        } else {
            None
        }
    }

    /// A lane whose queue is `tx`.
    pub(crate) fn new_lane(&self, peer: Peer, tx: PipeSender<Message>) -> Arc<Lane> {
        self.register(Lane::direct(peer, tx, Arc::clone(&self.watchers)))
    }

    /// Makes a lane visible to `peers` and `stats`.
    fn register(&self, lane: Arc<Lane>) -> Arc<Lane> {
        self.lanes.lock().insert(lane.id(), Arc::clone(&lane));
        self.count(|counts| counts.served += usize::from(lane.is_served()));
        lane
    }

    /// A lane is gone for good. `undelivered` says what is left in its queue, once nothing more can be added.
    pub(crate) fn retire(&self, lane: &Arc<Lane>, undelivered: impl FnOnce() -> usize) {
        lane.set_ready(false);
        self.pattern.detach(lane);
        let undelivered = undelivered() as u64;
        lane.counters.dropped.add(undelivered);
        if self.is_closed() {
            self.undelivered.add(undelivered);
        }
        lane.close();
        let lane = self.lanes.lock().remove(&lane.id());
        let served = lane.as_ref().is_some_and(|lane| lane.is_served());
        self.count(|counts| counts.served -= usize::from(served));
        let mut past = self.past.lock();
        past.settle();
        past.lanes.extend(lane);
    }

    /// Connected peers, and gone ones whose messages were not all received yet.
    pub(crate) fn peer_count(&self) -> usize {
        self.lanes.lock().len().max(self.pattern.sources())
    }

    pub(crate) fn stats(&self) -> Stats {
        let lanes = self.lanes.lock();
        let mut past = self.past.lock();
        past.settle();
        let sum = Counters::default();
        sum.absorb(&past.counters);
        let mut reconnects = past.reconnects;
        let mut peers = 0;
        for lane in lanes.values().chain(&past.lanes) {
            lane.collect();
            sum.absorb(&lane.counters);
            reconnects += lane.reconnects.get();
            peers += u64::from(lane.is_ready());
        }
        Stats {
            messages_sent: sum.messages_sent.get(),
            bytes_sent: sum.bytes_sent.get(),
            messages_received: sum.messages_received.get(),
            bytes_received: sum.bytes_received.get(),
            dropped: sum.dropped.get() + self.pattern.dropped(),
            peers,
            handshakes: sum.handshakes.get(),
            reconnects,
            displaced: self.displaced.get(),
            queued_bytes: self.boxes.memory().map_or(0, |memory| memory.total()) as u64,
            unread_bytes: self.unread.memory().total() as u64,
            limits: self.watchers.limits().counts(),
        }
    }

    pub(crate) fn lane(&self, id: u64) -> Option<Arc<Lane>> {
        self.lanes.lock().get(&id).cloned()
    }

    /// Whose connection has to end because there is no room for what comes, if anybody's.
    pub(crate) fn heaviest_partial(&self) -> Option<Arc<Lane>> {
        let lanes = self.lanes.lock();
        let stuck = lanes.values().filter_map(|lane| {
            lane.collect();
            Some((lane, lane.account()?.stuck()))
        });
        self.unread.heaviest(stuck).cloned()
    }

    pub(crate) fn peers(&self) -> Vec<PeerStats> {
        let mut peers: Vec<_> = self.lanes.lock().values().map(|lane| lane.stats()).collect();
        peers.sort_by_key(|stats| stats.peer.id());
        peers
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.ending.is_closed()
    }

    pub(crate) fn stop_watch(&self) -> StopWatch {
        StopWatch(self.stop.subscribe())
    }

    pub(crate) fn guard(self: &Arc<Self>) -> TaskGuard {
        self.ending.begin();
        TaskGuard {
            core: Arc::clone(self),
            running: Some(self.running.subscribe()),
        }
    }

    /// When lingering ends, if the socket is closed.
    pub(crate) fn stop_deadline(&self) -> Option<Instant> {
        match *self.stop.borrow() {
            Stop::Drain(until) => until,
            Stop::Running => None,
        }
    }

    /// Ends all tasks after at most `linger`, or after what an earlier call said if that is less.
    pub(crate) fn begin_close(&self, linger: Option<Duration>) {
        let first = self.ending.close();
        shorten(&self.stop, deadline(linger));
        if first {
            self.pattern.close();
            // Otherwise the last task does it.
            if self.ending.is_over() {
                self.watchers.close();
            }
        }
    }

    /// Resolves once every task has ended.
    pub(crate) async fn ended(&self) {
        self.running.closed().await;
    }
}

/// Stops, or stops earlier than was said before; never later.
pub(crate) fn shorten(stop: &watch::Sender<Stop>, until: Option<Instant>) {
    stop.send_if_modified(|stop| {
        let new = match (*stop, until) {
            (Stop::Drain(Some(old)), Some(until)) => Stop::Drain(Some(old.min(until))),
            (Stop::Drain(Some(old)), None) => Stop::Drain(Some(old)),
            (Stop::Drain(None) | Stop::Running, until) => Stop::Drain(until),
        };
        std::mem::replace(stop, new) != new
    });
}

/// The moment at which lingering ends.
pub(crate) fn deadline(linger: Option<Duration>) -> Option<Instant> {
    linger.and_then(|linger| Instant::now().checked_add(linger))
}

/// One task's view of whether it goes on.
#[derive(Clone)]
pub(crate) struct StopWatch(watch::Receiver<Stop>);

impl StopWatch {
    pub(crate) fn channel() -> (watch::Sender<Stop>, Self) {
        let (sender, receiver) = watch::channel(Stop::Running);
        (sender, StopWatch(receiver))
    }

    pub(crate) fn get(&self) -> Stop {
        *self.0.borrow()
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.get() != Stop::Running
    }

    /// Resolves when draining begins.
    pub(crate) async fn stopping(&mut self) {
        // An error means that the socket is gone with its sender, which is a stop as well.
        let _ = self.0.wait_for(|stop| *stop != Stop::Running).await;
    }

    /// Resolves when draining has begun and there is nothing to drain, or when its time is over.
    ///
    /// `drained` is asked once draining has begun, for messages may be queued until then; the time may be shortened
    /// while this waits.
    pub(crate) async fn over(&mut self, drained: impl Fn() -> bool) {
        self.stopping().await;
        loop {
            let until = match *self.0.borrow_and_update() {
                Stop::Drain(_) if drained() => return,
                Stop::Drain(until) => until,
                Stop::Running => None,
            };
            let expired = async {
                match until {
                    Some(until) => tokio::time::sleep_until(until).await,
                    None => pending().await,
                }
            };
            let mut changes = self.0.clone();
            let changed = async move {
                if changes.changed().await.is_err() {
                    // The sender is gone: what it said last stands.
                    pending::<()>().await;
                }
            };
            tokio::select! {
                biased;
                () = changed => {}
                () = expired => return,
            }
        }
    }

    /// Resolves when draining begins or, if it has, when its time is over.
    pub(crate) async fn advance(&mut self, draining: bool) {
        if draining {
            self.over(|| false).await;
        } else {
            self.stopping().await;
        }
    }

    /// Runs `work`, unless [`over`](Self::over) comes first.
    pub(crate) async fn until_over<T>(
        &mut self,
        drained: impl Fn() -> bool,
        work: impl Future<Output = T>,
    ) -> Option<T> {
        tokio::select! {
            biased;
            () = self.over(drained) => None,
            done = work => Some(done),
        }
    }
}

/// How many bytes may wait to be sent. Subscriptions are exempt: the application has them anyway.
fn send_memory(socket_type: SocketType, options: &Options) -> Option<Arc<Memory>> {
    let subscribes = matches!(socket_type, SocketType::Sub | SocketType::XSub);
    (!subscribes).then(|| {
        Memory::new(
            (Limit::PeerSendBytes, options.send_hwm_bytes),
            (Limit::SendMemory, options.send_memory),
        )
    })
}

fn zmtp_config(socket_type: SocketType, options: &Options) -> zmtp::Config {
    let mut config = zmtp::Config::new(socket_type);
    config.routing_id = options.routing_id.clone();
    config.metadata = options.metadata.clone();
    config.handshake_timeout = options.handshake_timeout;
    config.max_message_size = options.max_message_size;
    config.max_frames = options.max_message_parts;
    config.stall_timeout = options.stall_timeout;
    config.heartbeat = options.heartbeat_interval.map(|interval| {
        let mut heartbeat = zmtp::Heartbeat::new(interval);
        heartbeat.timeout = options.heartbeat_timeout.unwrap_or(interval);
        heartbeat.ttl = options.heartbeat_ttl.unwrap_or_default();
        heartbeat
    });
    config.security = mechanism(options);
    config
}
