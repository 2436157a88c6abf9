//! What all connections of a server share.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::options::Options;
use super::session::Session;

/// What all connections of a server share.
#[derive(Debug)]
pub(super) struct Hub {
    pub(super) options: Options,
    in_flight: AtomicUsize,
    draining: AtomicBool,
    /// Told when the last call under way has ended.
    idle: Notify,
    stalled: Mutex<Vec<Arc<Session>>>,
    /// Told when a connection stalls.
    stall: Notify,
    pub(super) counters: Counters,
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
}

impl Counters {
    pub(super) fn add(counter: &AtomicU64) {
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

/// A call under way, counted as long as this lives.
#[derive(Debug)]
pub(super) struct InFlight(Arc<Hub>);

impl Drop for InFlight {
    fn drop(&mut self) {
        if self.0.in_flight.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.0.idle.notify_waiters();
        }
    }
}

impl Hub {
    pub(super) fn new(options: Options) -> Arc<Self> {
        Arc::new(Hub {
            options,
            in_flight: AtomicUsize::new(0),
            draining: AtomicBool::new(false),
            idle: Notify::new(),
            stalled: Mutex::default(),
            stall: Notify::new(),
            counters: Counters::default(),
        })
    }

    /// Counts one more call, if one more may be under way.
    pub(super) fn admit(self: &Arc<Self>) -> Option<InFlight> {
        let guard = InFlight(Arc::clone(self));
        let before = self.in_flight.fetch_add(1, Ordering::AcqRel);
        (before < self.options.max_in_flight).then_some(guard)
    }

    pub(super) fn in_flight(&self) -> usize {
        self.in_flight.load(Ordering::Acquire)
    }

    /// From now on no call begins.
    pub(super) fn drain(&self) {
        self.draining.store(true, Ordering::Release);
    }

    pub(super) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Acquire)
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
