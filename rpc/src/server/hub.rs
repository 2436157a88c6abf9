//! What all connections of a server share.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use flexbond_session::socket::LimitMeter;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::task::AbortHandle;

use super::flights::Flights;
use super::options::Options;
use super::session::Session;
use crate::failure::{Failure, FailureKind};

/// What all connections of a server share.
#[derive(Debug)]
pub(super) struct Hub {
    pub(super) options: Options,
    /// What the socket below counts.
    pub(super) limits: LimitMeter,
    flights: Flights,
    /// Bytes of the arguments of the calls under way.
    bytes: AtomicUsize,
    /// Told when the last call under way has ended.
    idle: Notify,
    stalled: Mutex<Vec<Arc<Session>>>,
    /// Told when a connection stalls.
    stall: Notify,
    loose: Mutex<LooseCalls>,
    pub(super) counters: Counters,
}

/// The calls under way that want no answer: they go on when their connection is gone.
#[derive(Debug, Default)]
struct LooseCalls {
    tasks: HashMap<u64, Option<AbortHandle>>,
    begun: u64,
}

/// What a server has done.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) calls: AtomicU64,
    pub(super) failures: AtomicU64,
    pub(super) panics: AtomicU64,
    pub(super) cancelled: AtomicU64,
    pub(super) refused: AtomicU64,
    pub(super) malformed: AtomicU64,
    pub(super) connections: AtomicU64,
    pub(super) slow_peers: AtomicU64,
    pub(super) undelivered: AtomicU64,
}

impl Counters {
    pub(super) fn add(counter: &AtomicU64) {
        counter.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn add_many(counter: &AtomicU64, many: usize) {
        counter.fetch_add(many as u64, Ordering::Relaxed);
    }
}

/// A call under way, counted as long as this lives, with the bytes of its arguments.
#[derive(Debug)]
pub(super) struct InFlight(Held);

impl Drop for InFlight {
    fn drop(&mut self) {
        let hub = &self.0.hub;
        if hub.flights.end() {
            hub.idle.notify_waiters();
        }
    }
}

/// A call that is tried by the server's own task, counted as long as this lives: that task waits for nothing meanwhile.
#[derive(Debug)]
pub(super) struct Tried<'a>(&'a Hub);

impl Drop for Tried<'_> {
    fn drop(&mut self) {
        // Who drains is the task that tries it, and looks itself.
        self.0.flights.end();
    }
}

/// Bytes of arguments, counted as long as this lives.
#[derive(Debug)]
pub(super) struct Held {
    hub: Arc<Hub>,
    bytes: usize,
}

impl Drop for Held {
    fn drop(&mut self) {
        if self.bytes > 0 {
            self.hub.bytes.fetch_sub(self.bytes, Ordering::AcqRel);
        }
    }
}

/// A call that wants no answer, known as long as this lives.
#[derive(Debug)]
pub(super) struct Loose {
    hub: Arc<Hub>,
    number: u64,
}

impl Drop for Loose {
    fn drop(&mut self) {
        self.hub.loose.lock().tasks.remove(&self.number);
    }
}

impl Loose {
    pub(super) fn number(&self) -> u64 {
        self.number
    }
}

impl Hub {
    pub(super) fn new(options: Options, limits: LimitMeter) -> Arc<Self> {
        Arc::new(Hub {
            options,
            limits,
            flights: Flights::new(),
            bytes: AtomicUsize::new(0),
            idle: Notify::new(),
            stalled: Mutex::default(),
            stall: Notify::new(),
            loose: Mutex::default(),
            counters: Counters::default(),
        })
    }

    /// Counts one more call with so many bytes of arguments, if it may be under way.
    pub(super) fn admit(self: &Arc<Self>, bytes: usize) -> Result<InFlight, Failure> {
        let held = self.hold(bytes)?;
        let guard = InFlight(held);
        let before = self.flights.begin();
        self.check_calls(before)?;
        Ok(guard)
    }

    /// The same for one that may be over at once.
    pub(super) fn admit_for_now(&self, bytes: usize) -> Result<Tried<'_>, Failure> {
        self.check_bytes(self.bytes.load(Ordering::Acquire), bytes)?;
        let guard = Tried(self);
        let before = self.flights.begin();
        self.check_calls(before)?;
        Ok(guard)
    }

    fn check_calls(&self, before: usize) -> Result<(), Failure> {
        if before < self.options.max_in_flight {
            return Ok(());
        }
        let message = format!("{} calls are under way", self.options.max_in_flight);
        Err(Failure::new(FailureKind::Overloaded, message))
    }

    fn check_bytes(&self, before: usize, bytes: usize) -> Result<(), Failure> {
        let limit = self.options.max_in_flight_bytes;
        if before == 0 || before.saturating_add(bytes) <= limit {
            return Ok(());
        }
        let message =
            format!("{before} bytes of arguments are under way, and {limit} may be: {bytes} are too many");
        Err(Failure::new(FailureKind::Overloaded, message))
    }

    /// Counts so many bytes of arguments, if there may be as many; where nothing else is, there may.
    pub(super) fn hold(self: &Arc<Self>, bytes: usize) -> Result<Held, Failure> {
        let hub = Arc::clone(self);
        if bytes == 0 {
            return Ok(Held { hub, bytes });
        }
        let before = self.bytes.fetch_add(bytes, Ordering::AcqRel);
        let held = Held { hub, bytes };
        self.check_bytes(before, bytes)?;
        Ok(held)
    }

    /// Takes note of a call that wants no answer.
    pub(super) fn loosen(self: &Arc<Self>) -> Loose {
        let mut loose = self.loose.lock();
        loose.begun += 1;
        let number = loose.begun;
        loose.tasks.insert(number, None);
        drop(loose);
        Loose {
            hub: Arc::clone(self),
            number,
        }
    }

    pub(super) fn in_flight(&self) -> usize {
        self.flights.count()
    }

    /// The task of a call that wants no answer; not kept if it has ended already.
    pub(super) fn attach_loose(&self, number: u64, task: AbortHandle) {
        if let Some(known) = self.loose.lock().tasks.get_mut(&number) {
            *known = Some(task);
        }
    }

    /// Ends the calls that want no answer.
    pub(super) fn abort_loose(&self) {
        let tasks = std::mem::take(&mut self.loose.lock().tasks);
        for task in tasks.into_values().flatten() {
            task.abort();
        }
    }

    /// From now on no call begins.
    pub(super) fn drain(&self) {
        self.flights.drain();
    }

    pub(super) fn is_draining(&self) -> bool {
        self.flights.is_draining()
    }

    /// Resolves once no call is under way.
    pub(super) async fn idle(&self) {
        loop {
            let idle = self.idle.notified();
            tokio::pin!(idle);
            // Before looking, so that the last call's end is not missed.
            idle.as_mut().enable();
            if self.in_flight() == 0 {
                return;
            }
            idle.await;
        }
    }

    /// A connection has answers that its queue has no room for.
    pub(super) fn stalls(&self, session: Arc<Session>) {
        self.stalled.lock().push(session);
        self.stall.notify_one();
    }

    /// Resolves when a connection has stalled.
    pub(super) async fn stall(&self) {
        self.stall.notified().await;
    }

    /// The connections that stalled since this was asked last.
    pub(super) fn newly_stalled(&self) -> Vec<Arc<Session>> {
        std::mem::take(&mut *self.stalled.lock())
    }
}
