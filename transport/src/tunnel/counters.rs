//! What happened to connections and to what was to be sent on them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// What a [`Tunnel`](super::Tunnel) has done, and what it has not passed on, since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct TunnelCounters {
    /// Connections there are now, those included that are just being made.
    pub connections: u64,
    /// Connections made to others.
    pub dialed: u64,
    /// Connections accepted from others who have said who they are.
    pub accepted: u64,
    /// Attempts to connect that have failed.
    pub dial_failures: u64,
    /// Connections turned away because there were [too many](super::TunnelOptions::max_connections) already.
    pub refused: u64,
    /// Connections accepted and closed because the other end did not say in time that it is a tunnel, and where it
    /// listens.
    pub rejected: u64,
    /// Connections closed because what came were not packets.
    pub garbled: u64,
    /// Packets that were dropped because too much [waited](super::TunnelOptions::max_queued) for the same peer.
    pub dropped_full: u64,
    /// Packets that were dropped because their destination could not be connected to, or not yet again.
    pub dropped_unreachable: u64,
    /// Packets that had been taken and were not sent because the connection broke.
    pub dropped_closed: u64,
}

/// The same, being counted.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) dialed: AtomicU64,
    pub(super) accepted: AtomicU64,
    pub(super) dial_failures: AtomicU64,
    pub(super) refused: AtomicU64,
    pub(super) rejected: AtomicU64,
    pub(super) garbled: AtomicU64,
    pub(super) full: AtomicU64,
    pub(super) unreachable: AtomicU64,
    pub(super) closed: AtomicU64,
}

impl Tally {
    pub(super) fn read(&self, connections: usize) -> TunnelCounters {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        TunnelCounters {
            connections: connections as u64,
            dialed: read(&self.dialed),
            accepted: read(&self.accepted),
            dial_failures: read(&self.dial_failures),
            refused: read(&self.refused),
            rejected: read(&self.rejected),
            garbled: read(&self.garbled),
            dropped_full: read(&self.full),
            dropped_unreachable: read(&self.unreachable),
            dropped_closed: read(&self.closed),
        }
    }
}

/// Counts some more.
pub(super) fn add(counter: &AtomicU64, more: u64) {
    if more > 0 {
        counter.fetch_add(more, Ordering::Relaxed);
    }
}

/// A number of things of which there may be so many at once.
#[derive(Debug)]
pub(super) struct Quota {
    taken: AtomicUsize,
    limit: usize,
}

/// One of them. Dropping it makes room for another.
#[derive(Debug)]
pub(super) struct Slot(Arc<Quota>);

impl Quota {
    pub(super) fn new(limit: usize) -> Arc<Self> {
        Arc::new(Quota {
            taken: AtomicUsize::new(0),
            limit: limit.max(1),
        })
    }

    pub(super) fn taken(&self) -> usize {
        self.taken.load(Ordering::Relaxed)
    }

    /// One more, if there may be.
    pub(super) fn take(self: &Arc<Self>) -> Option<Slot> {
        let more = |taken: usize| (taken < self.limit).then_some(taken + 1);
        self.taken
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, more)
            .ok()?;
        Some(Slot(Arc::clone(self)))
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.taken.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quota_is_kept() {
        let quota = Quota::new(2);
        let first = quota.take().expect("room");
        let _second = quota.take().expect("room");
        assert!(quota.take().is_none());
        drop(first);
        assert_eq!(quota.taken(), 1);
        assert!(quota.take().is_some());
    }
}
