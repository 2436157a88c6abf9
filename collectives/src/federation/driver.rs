//! What moves a node: packets between it and its carrier, time, and whoever waits for it.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use flexbond_session::{Lookout, Moved};
use flexbond_transport::Message;
use futures_util::task::AtomicWaker;
use tokio::time::Sleep;

use super::carrier::{Arrival, Carrier, ServerWay};
use super::core::keyed::Keyed;
use super::core::packet::Packet;
use super::core::{Event, FlowKey, Node};
use super::name::PartyId;

/// How many packets are taken or sent before other tasks have their turn.
const BUDGET: usize = 64;
/// When packets of so many bytes have been taken, programs have their turn: what they answer goes on its way while there
/// is more to take.
const ROUND_BYTES: usize = 32 << 10;
/// So many may wait for one thing; one more, and all have to look again.
const MAX_WAITING: usize = 256;
/// Likewise for how many things may be waited for.
const MAX_TOPICS: usize = 65_536;

/// How long who leaves, with nothing left to hand over, looks for a server that is gone, to say so.
const FAREWELL: Duration = Duration::from_secs(1);

/// What a program may wait for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Topic {
    /// A message of a peer.
    In(usize, FlowKey),
    /// Room in a flow to a peer, its offsets, or its being empty.
    Out(usize, FlowKey),
    /// The start-up barrier.
    Ready,
    /// The end of the job.
    Over,
    /// The end of the driver.
    Ended,
}

/// A node, shared between a program and its driver.
#[derive(Debug)]
pub(super) struct Shared {
    state: Mutex<State>,
    work: AtomicWaker,
}

#[derive(Debug)]
pub(super) struct State {
    pub(super) node: Node,
    waiting: HashMap<Topic, Waiters, Keyed>,
    /// How many of these wait for a flow to a peer. Of such news there are many, and few wait for them.
    waiting_out: usize,
    closing: Option<Instant>,
    /// The driver ends at once, and says nothing.
    has_vanished: bool,
    pub(super) is_ended: bool,
    /// How it stands with the server, if one carries the packets.
    pub(super) server: Option<ServerWay>,
}

/// Who waits for one thing, nearly always one.
#[derive(Debug)]
struct Waiters {
    first: Waker,
    others: Vec<Waker>,
}

/// Who is to be woken, when the state is free: they need it first of all.
#[derive(Debug, Default)]
pub(super) struct Woken(Vec<Waker>);

impl Woken {
    fn add(&mut self, waiters: Waiters) {
        self.0.push(waiters.first);
        self.0.extend(waiters.others);
    }

    fn wake(&mut self) {
        self.0.drain(..).for_each(Waker::wake);
    }
}

impl State {
    /// Remembers who waits.
    pub(super) fn wait(&mut self, topic: Topic, cx: &Context<'_>) {
        if self.waiting.len() >= MAX_TOPICS {
            self.wake_all();
        }
        let is_out = matches!(topic, Topic::Out(..));
        let waiters = match self.waiting.entry(topic) {
            Entry::Occupied(waiters) => waiters.into_mut(),
            Entry::Vacant(place) => {
                self.waiting_out += usize::from(is_out);
                place.insert(Waiters {
                    first: cx.waker().clone(),
                    others: Vec::new(),
                });
                return;
            }
        };
        if waiters.first.will_wake(cx.waker())
            || waiters.others.iter().any(|waker| waker.will_wake(cx.waker()))
        {
            return;
        }
        // Those that have given up are still in the list.
        if waiters.others.len() >= MAX_WAITING {
            waiters.others.drain(..).for_each(Waker::wake);
        }
        waiters.others.push(cx.waker().clone());
    }

    fn wake_all(&mut self) {
        let mut woken = Woken::default();
        self.find_all(&mut woken);
        woken.wake();
    }

    fn find(&mut self, topic: &Topic, woken: &mut Woken) {
        if let Some(waiters) = self.waiting.remove(topic) {
            self.waiting_out -= usize::from(matches!(topic, Topic::Out(..)));
            woken.add(waiters);
        }
    }

    fn find_all(&mut self, woken: &mut Woken) {
        self.waiting_out = 0;
        self.waiting.drain().for_each(|(_, waiters)| woken.add(waiters));
    }

    /// When a driver that closes ends at the latest, and whether it ends now.
    fn end(&self, now: Instant) -> (Option<Instant>, bool) {
        let Some(since) = self.closing else {
            return (None, false);
        };
        let linger = self.node.limits().linger;
        let rest = match self.node.is_done_but_for_farewells() {
            true => linger.min(FAREWELL),
            false => linger,
        };
        let end = since + rest;
        (Some(end), self.node.is_done() || now >= end)
    }

    /// Finds whom the node's news are for.
    fn tell(&mut self, woken: &mut Woken) {
        while let Some(event) = self.node.poll_event() {
            match event {
                Event::Arrived { peer, key } => self.find(&Topic::In(peer, key), woken),
                Event::Moved { .. } if self.waiting_out == 0 => {}
                Event::Moved { peer, key } => self.find(&Topic::Out(peer, key), woken),
                Event::Ready => self.find(&Topic::Ready, woken),
                Event::Peer { .. } | Event::Over => self.find_all(woken),
            }
        }
    }
}

impl Shared {
    pub(super) fn new(node: Node) -> Arc<Shared> {
        Arc::new(Shared {
            state: Mutex::new(State {
                node,
                waiting: HashMap::default(),
                waiting_out: 0,
                closing: None,
                has_vanished: false,
                is_ended: false,
                server: None,
            }),
            work: AtomicWaker::new(),
        })
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        // The node's changes are complete when it returns; it does not panic in between.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does something with the node, wakes whom it concerns, and lets the driver see what there is to send.
    pub(super) fn with<R>(&self, change: impl FnOnce(&mut State) -> R) -> R {
        let mut woken = Woken::default();
        let mut state = self.lock();
        let result = change(&mut state);
        state.tell(&mut woken);
        drop(state);
        woken.wake();
        self.work();
        result
    }

    /// There may be something to send.
    pub(super) fn work(&self) {
        self.work.wake();
    }

    /// The driver ends at once.
    pub(super) fn vanish(&self) {
        let mut state = self.lock();
        state.has_vanished = true;
        drop(state);
        self.work();
    }

    /// Nothing more will be sent; the driver ends when the others have everything, or the linger is over, or a second when
    /// all that is left is to say goodbye to a server that is gone.
    pub(super) fn close(&self) {
        self.with(|state| {
            state.closing.get_or_insert_with(now);
            state.node.leave();
            state.wake_all();
        });
    }
}

/// The driver's clock, tokio's: tests can stop it.
pub(super) fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// Runs until the node is closed and has handed everything over, or its linger is over.
pub(super) async fn drive(shared: Arc<Shared>, carrier: impl Carrier) {
    /// Whoever waits hears also when the runtime ends before the driver.
    struct Ended(Arc<Shared>);
    impl Drop for Ended {
        fn drop(&mut self) {
            let mut state = self.0.lock();
            state.is_ended = true;
            state.wake_all();
        }
    }
    let _ended = Ended(Arc::clone(&shared));
    let peers: Vec<PartyId> = shared
        .lock()
        .node
        .peers()
        .iter()
        .map(|peer| peer.id.clone())
        .collect();
    // Where all is in this process, who is waited for has its turn anyway.
    let lookout = (!carrier.is_memory()).then(Lookout::new);
    let mut driver = Driver {
        slots: peers.into_iter().map(Slot::new).collect(),
        waiting: Vec::new(),
        woken: Woken::default(),
        carrier,
        shared,
        sleep: Box::pin(tokio::time::sleep_until(tokio::time::Instant::now())),
        lookout,
        moved: Moved::Nothing,
    };
    poll_fn(|cx| driver.poll(cx)).await;
}

struct Driver<C> {
    carrier: C,
    shared: Arc<Shared>,
    slots: Vec<Slot>,
    /// Peers to which there may be something to send.
    waiting: Vec<usize>,
    woken: Woken,
    sleep: Pin<Box<Sleep>>,
    lookout: Option<Lookout>,
    /// What has happened since it rested.
    moved: Moved,
}

/// What there is for one peer.
struct Slot {
    id: PartyId,
    /// The packet for which the carrier has had no room.
    packet: Option<Message>,
    /// Whether it is among those that wait.
    is_waiting: bool,
}

impl Slot {
    fn new(id: PartyId) -> Self {
        Slot {
            id,
            packet: None,
            is_waiting: false,
        }
    }
}

impl<C: Carrier> Driver<C> {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.shared.work.register(cx.waker());
        if self.shared.lock().has_vanished {
            return Poll::Ready(());
        }
        let is_busy = self.receive(cx) | self.transmit(cx);
        let (timeout, is_over) = {
            let mut state = self.shared.lock();
            state.tell(&mut self.woken);
            let (end, is_over) = state.end(now());
            (state.node.poll_timeout().into_iter().chain(end).min(), is_over)
        };
        self.woken.wake();
        if is_over {
            // What is left are acknowledgements that others may wait for.
            self.transmit(cx);
            return Poll::Ready(());
        }
        if is_busy {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        if let Some(timeout) = timeout {
            let timeout = tokio::time::Instant::from_std(timeout);
            if self.sleep.deadline() != timeout {
                self.sleep.as_mut().reset(timeout);
            }
            if self.sleep.as_mut().poll(cx).is_ready() {
                self.shared.lock().node.handle_timeout(now());
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
        }
        let moved = std::mem::replace(&mut self.moved, Moved::Nothing);
        if let Some(lookout) = &mut self.lookout {
            lookout.rest(cx, moved);
        }
        Poll::Pending
    }

    /// Whether there may be more.
    fn receive(&mut self, cx: &mut Context<'_>) -> bool {
        let mut bytes = 0;
        for _ in 0..BUDGET {
            if bytes >= ROUND_BYTES {
                return true;
            }
            match self.carrier.poll_recv(cx) {
                Poll::Ready(Arrival::Packet(packet)) => {
                    bytes += packet.size();
                    self.moved = Moved::In;
                    let packet = Packet::decode(packet);
                    let mut state = self.shared.lock();
                    state.node.handle_read(now(), packet);
                    state.tell(&mut self.woken);
                    drop(state);
                    self.woken.wake();
                }
                Poll::Ready(Arrival::Lost(id)) => {
                    let mut state = self.shared.lock();
                    if let Some(peer) = state.node.peer_index(&id) {
                        state.node.handle_lost(peer);
                    }
                }
                Poll::Ready(Arrival::Server(way)) => self.shared.lock().server = Some(way),
                Poll::Pending => return false,
            }
        }
        true
    }

    /// Whether there may be more.
    fn transmit(&mut self, cx: &mut Context<'_>) -> bool {
        {
            let mut state = self.shared.lock();
            while let Some(peer) = state.node.poll_busy() {
                if !std::mem::replace(&mut self.slots[peer].is_waiting, true) {
                    self.waiting.push(peer);
                }
            }
        }
        let Driver {
            carrier,
            shared,
            slots,
            waiting,
            moved,
            ..
        } = self;
        let mut is_busy = false;
        waiting.retain(|peer| {
            let slot = &mut slots[*peer];
            for _ in 0..BUDGET {
                if slot.packet.is_none() {
                    slot.packet = shared.lock().node.poll_transmit(now(), *peer);
                }
                if slot.packet.is_none() {
                    slot.is_waiting = false;
                    return false;
                }
                if carrier.poll_send(cx, &slot.id, &mut slot.packet).is_pending() {
                    return true;
                }
                if *moved == Moved::Nothing {
                    *moved = Moved::Out;
                }
            }
            is_busy = true;
            true
        });
        is_busy
    }
}
