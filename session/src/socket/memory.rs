//! How many bytes wait in the queues of a socket, in one direction, and how many each peer may have there.
//!
//! Nobody counts every message twice: each queue knows its own bytes, and tells the socket when they have changed by a
//! [`GRAIN`].

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::Limit;

/// Bytes that a queue may have gained or lost before the socket's total is told.
const GRAIN: usize = 64 << 10;

/// The bytes that wait in one direction, of all peers together.
#[derive(Debug)]
pub(crate) struct Memory {
    /// For one peer.
    each: usize,
    each_is: Limit,
    /// For all.
    all: usize,
    all_is: Limit,
    total: Arc<AtomicUsize>,
    /// Queues there are.
    shares: AtomicUsize,
}

/// What one queue has of a [`Memory`].
#[derive(Debug)]
pub(crate) struct Share {
    memory: Arc<Memory>,
    told: usize,
}

impl Memory {
    pub(crate) fn new(each: (Limit, usize), all: (Limit, usize)) -> Arc<Self> {
        Arc::new(Memory {
            each_is: each.0,
            each: each.1,
            all_is: all.0,
            all: all.1,
            total: Arc::default(),
            shares: AtomicUsize::new(0),
        })
    }

    /// A new queue's share.
    pub(crate) fn share(self: &Arc<Self>) -> Share {
        self.shares.fetch_add(1, Ordering::Relaxed);
        Share {
            memory: Arc::clone(self),
            told: 0,
        }
    }

    /// The bytes that wait now, as far as they were told.
    pub(crate) fn total(&self) -> usize {
        self.total.load(Ordering::Relaxed)
    }

    /// Where bytes are counted that several queues share.
    pub(crate) fn shared(&self) -> &Arc<AtomicUsize> {
        &self.total
    }

    /// One queue's part of what all may hold. Whoever comes first may use half of that; the other half is for all in even
    /// parts, so that nobody who hoards keeps anybody from having any.
    fn part(&self) -> usize {
        let half = self.all / 2;
        match self.total() < half {
            true => half,
            false => half / self.shares.load(Ordering::Relaxed).max(1),
        }
    }

    /// How much a queue may hold now: what one peer may, or its part of what all may.
    fn allowed(&self) -> (usize, Limit) {
        let part = self.part();
        if part < self.each {
            (part, self.all_is)
        } else {
            (self.each, self.each_is)
        }
    }
}

impl Share {
    /// Tells how many bytes the queue holds `own`, if that has changed much.
    #[inline]
    pub(crate) fn tell(&mut self, own: usize) {
        if own.abs_diff(self.told) >= GRAIN || (own == 0 && self.told > 0) {
            self.tell_now(own);
        }
    }

    #[cold]
    fn tell_now(&mut self, own: usize) {
        let total = &self.memory.total;
        if own >= self.told {
            total.fetch_add(own - self.told, Ordering::Relaxed);
        } else {
            total.fetch_sub(self.told - own, Ordering::Relaxed);
        }
        self.told = own;
    }

    /// Whether so many `bytes` are as many as the queue may hold, or more, and by which limit.
    #[inline]
    pub(crate) fn is_over(&self, bytes: usize) -> Option<Limit> {
        let (allowed, limit) = self.memory.allowed();
        (bytes >= allowed).then_some(limit)
    }

    /// Whether so many `bytes` are a queue's part of what all may hold, or more, whatever one peer may.
    pub(crate) fn exceeds_part(&self, bytes: usize) -> bool {
        bytes >= self.memory.part()
    }

    /// Whether the socket's total has something of this queue.
    pub(crate) fn is_told(&self) -> bool {
        self.told > 0
    }

    /// Up to how many bytes nobody has to be asked again.
    pub(crate) fn next_mark(&self, bytes: usize) -> usize {
        self.memory.allowed().0.min(bytes.saturating_add(GRAIN))
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.tell(0);
        self.memory.shares.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn memory(each: usize, all: usize) -> Arc<Memory> {
        Memory::new((Limit::PeerSendBytes, each), (Limit::SendMemory, all))
    }

    #[test]
    fn one_that_hoards_leaves_half_to_the_others_in_even_parts() {
        const MIB: usize = 1 << 20;
        let memory = memory(100 * MIB, 16 * MIB);
        let mut shares: Vec<_> = (0..4).map(|_| memory.share()).collect();
        assert_eq!(shares[0].is_over(8 * MIB - 1), None);
        shares[0].tell(8 * MIB);
        assert_eq!(shares[0].is_over(8 * MIB), Some(Limit::SendMemory));
        // Half is used: each of the others may have its part of the rest, and all together no more than there is.
        for share in &mut shares[1..] {
            assert_eq!(share.is_over(2 * MIB - 1), None);
            share.tell(2 * MIB);
            assert_eq!(share.is_over(2 * MIB), Some(Limit::SendMemory));
        }
        assert!(memory.total() <= 16 * MIB);
        shares.remove(0);
        assert_eq!(memory.total(), 6 * MIB);
        assert_eq!(shares[0].is_over(2 * MIB), None);
    }

    #[test]
    fn a_peer_has_a_limit_of_its_own() {
        let memory = memory(1000, usize::MAX);
        let share = memory.share();
        assert_eq!(share.is_over(999), None);
        assert_eq!(share.is_over(1000), Some(Limit::PeerSendBytes));
        assert_eq!(share.next_mark(990), 1000);
    }

    #[test]
    fn small_changes_are_told_to_nobody_and_an_empty_queue_is() {
        let memory = memory(usize::MAX, usize::MAX);
        let mut share = memory.share();
        share.tell(GRAIN - 1);
        assert_eq!(memory.total(), 0);
        share.tell(GRAIN);
        assert_eq!(memory.total(), GRAIN);
        share.tell(1);
        assert_eq!(memory.total(), GRAIN);
        share.tell(0);
        assert_eq!(memory.total(), 0);
    }
}
