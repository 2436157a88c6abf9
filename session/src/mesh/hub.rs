//! What everything that belongs to one rank shares.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use flexbond_transport::Endpoint;
use parking_lot::{Mutex, RwLock};
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::task::AbortHandle;

use super::attendant::{Event, Loss};
use super::dial;
use super::epoch::{Epoch, Seat};
use super::error::MeshError;
use super::link::Link;
use super::notice::Entry;
use super::options::MeshOptions;
use super::stalls::Stalls;
use super::watch;
use crate::socket::wakers::WakerSet;
use crate::spin::{Rivals, Spin};

pub(super) struct Hub {
    pub(super) session: u64,
    pub(super) id: u32,
    /// Of the server's endpoint.
    scheme: String,
    pub(super) options: MeshOptions,
    pub(super) spin: Spin,
    /// Who waits for anything but bytes: a connection, a verdict, an epoch.
    pub(super) parked: WakerSet,
    pub(super) orders: Orders,
    /// Connections between ranks belong to the application's runtime, so that their readiness wakes it directly.
    runtime: Handle,
    current: RwLock<Arc<Epoch>>,
    table: Mutex<Table>,
    loss: OnceLock<Loss>,
    dismissed: AtomicBool,
    pub(super) refused: AtomicU64,
}

/// The ranks by id, and what comes next.
#[derive(Default)]
struct Table {
    links: HashMap<u32, Arc<Link>>,
    /// Begun, but not yet asked for by the application.
    upcoming: Option<Arc<Epoch>>,
    tasks: Vec<AbortHandle>,
}

/// What the rank's other thread is to tell the server.
#[derive(Default)]
pub(super) struct Orders {
    queue: Mutex<VecDeque<Order>>,
    pub(super) changed: Notify,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Order {
    Advance(u32),
    Suspect(u32),
    Knock(u32),
    Leave,
    /// End without a word.
    Stop,
}

impl Orders {
    pub(super) fn push(&self, order: Order) {
        self.queue.lock().push_back(order);
        self.changed.notify_one();
    }

    pub(super) fn pop(&self) -> Option<Order> {
        self.queue.lock().pop_front()
    }
}

impl Hub {
    pub(super) fn new(
        session: u64,
        id: u32,
        server: &Endpoint,
        options: MeshOptions,
        runtime: Handle,
    ) -> Self {
        Hub {
            session,
            id,
            scheme: server.scheme().to_owned(),
            spin: Spin::new(options.spin, Rivals::Many),
            options,
            parked: WakerSet::default(),
            orders: Orders::default(),
            runtime,
            current: RwLock::new(Arc::new(Epoch::new(0, 0, Vec::new()))),
            table: Mutex::default(),
            loss: OnceLock::new(),
            dismissed: AtomicBool::new(false),
            refused: AtomicU64::new(0),
        }
    }

    pub(super) fn current(&self) -> Arc<Epoch> {
        Arc::clone(&self.current.read())
    }

    pub(super) fn link(&self, id: u32) -> Option<Arc<Link>> {
        self.table.lock().links.get(&id).cloned()
    }

    /// The next epoch, if it has begun; it is the current one from now on.
    pub(super) fn enter_next(&self) -> bool {
        let mut table = self.table.lock();
        let Some(next) = table.upcoming.take() else {
            return false;
        };
        let is_member = |id: &u32| next.seats.iter().any(|seat| seat.link.id == *id);
        table.links.retain(|id, _| is_member(id));
        let links: Vec<_> = table.links.values().cloned().collect();
        let last = std::mem::replace(&mut *self.current.write(), Arc::clone(&next));
        drop(table);
        for link in links {
            link.inbound.lock().begin_epoch(next.number);
        }
        last.end(MeshError::EpochOver { epoch: last.number });
        self.parked.wake_all();
        true
    }

    /// Runs a task that ends with the mesh.
    pub(super) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let task = self.runtime.spawn(task).abort_handle();
        let mut table = self.table.lock();
        table.tasks.retain(|task| !task.is_finished());
        table.tasks.push(task);
    }

    /// Ends what runs for the mesh.
    pub(super) fn stop(&self) {
        self.orders.push(Order::Stop);
        let tasks = std::mem::take(&mut self.table.lock().tasks);
        tasks.iter().for_each(AbortHandle::abort);
    }

    /// Sees to a connection, if nobody has yet: of two ranks the one that came first dials.
    pub(super) fn connect(self: &Arc<Self>, link: &Arc<Link>, epoch: u32) {
        if link.id != self.id && link.ask(epoch) {
            self.dial_or_knock(link);
        }
    }

    fn dial_or_knock(self: &Arc<Self>, link: &Arc<Link>) {
        if self.id > link.id {
            self.orders.push(Order::Knock(link.id));
        } else if link.begin_dialing() {
            self.spawn(dial::dial(Arc::clone(self), Arc::clone(link)));
        }
    }

    /// Has the paths watched on which nothing has moved for long though somebody waits. On the rank's other thread, whose
    /// tasks go on whatever the application does.
    pub(super) fn look(self: &Arc<Self>, now: Instant, stalls: &mut Stalls) {
        let epoch = self.current();
        let others = || epoch.seats.iter().map(|seat| &seat.link);
        stalls.retain(|id| others().any(|link| link.id == id));
        if epoch.outcome().is_some() {
            return;
        }
        for link in others().filter(|link| link.id != self.id && !link.has_left()) {
            if stalls.note(now, link.id, link.standing()) && link.begin_watching() {
                tokio::spawn(watch::watch(Arc::clone(self), Arc::clone(link)));
            }
        }
    }

    /// The connection has ended, or cannot be made: the server has to say what that means for the epoch.
    pub(super) fn break_off(&self, link: &Link, epoch: u32) {
        if link.break_off(epoch) && !link.has_left() {
            self.orders.push(Order::Suspect(link.id));
        }
    }

    pub(super) fn loss(&self) -> Option<Loss> {
        self.loss.get().copied()
    }

    /// Whether the server has said goodbye.
    pub(super) fn is_dismissed(&self) -> bool {
        self.dismissed.load(Ordering::SeqCst)
    }

    /// What the server has told.
    pub(super) fn handle_event(self: &Arc<Self>, event: Event) {
        match event {
            Event::Epoch { number, members } => self.prepare(number, members),
            Event::Failed { epoch, ranks } => {
                let failed = ranks.into_iter().map(|rank| rank as usize).collect();
                let upcoming = self.table.lock().upcoming.clone();
                for candidate in upcoming.into_iter().chain([self.current()]) {
                    if candidate.number == epoch {
                        return self.finish(&candidate, MeshError::PeerFailed { failed });
                    }
                }
            }
            Event::Left { id } => {
                if let Some(link) = self.link(id) {
                    link.leave();
                }
                self.parked.wake_all();
            }
            Event::Knock { id } => {
                if let Some(link) = self.link(id)
                    && self.id < id
                    && link.stream().is_none()
                {
                    self.dial_or_knock(&link);
                }
            }
            Event::Goodbye => {
                self.dismissed.store(true, Ordering::SeqCst);
                self.parked.wake_all();
            }
            Event::Lost(loss) => self.lose(loss),
        }
    }

    pub(super) fn lose(&self, loss: Loss) {
        let _ = self.loss.set(loss);
        let outcome = MeshError::from(loss);
        let upcoming = self.table.lock().upcoming.clone();
        for epoch in upcoming.into_iter().chain([self.current()]) {
            epoch.end(outcome.clone());
        }
        self.parked.wake_all();
    }

    fn finish(&self, epoch: &Epoch, outcome: MeshError) {
        tracing::debug!(epoch = epoch.number, %outcome, "an epoch has ended");
        epoch.end(outcome);
        self.parked.wake_all();
    }

    /// Makes ready what the server has begun.
    fn prepare(&self, number: u32, members: Vec<Entry>) {
        let Some(rank) = members.iter().position(|member| member.id == self.id) else {
            return self.lose(Loss::Server);
        };
        let mut table = self.table.lock();
        let mut seats = Vec::with_capacity(members.len());
        for Entry { id, name, endpoint } in members {
            let link = match table.links.get(&id) {
                Some(link) => Arc::clone(link),
                None => {
                    let endpoint = endpoint.parse::<Endpoint>().ok();
                    let Some(endpoint) = endpoint.filter(|endpoint| endpoint.scheme() == self.scheme) else {
                        tracing::debug!(%name, "the server lets ranks in that are nowhere, or by another scheme");
                        drop(table);
                        return self.lose(Loss::Server);
                    };
                    let (max_message, unexpected) = (self.options.max_message, self.options.unexpected_limit);
                    let link = Arc::new(Link::new(id, endpoint, max_message, unexpected));
                    table.links.insert(id, Arc::clone(&link));
                    link
                }
            };
            seats.push(Seat { link, name });
        }
        table.upcoming = Some(Arc::new(Epoch::new(number, rank, seats)));
        drop(table);
        self.parked.wake_all();
    }
}

impl From<Loss> for MeshError {
    fn from(loss: Loss) -> Self {
        match loss {
            Loss::Server => MeshError::ServerLost,
            Loss::Expelled => MeshError::Expelled,
        }
    }
}
