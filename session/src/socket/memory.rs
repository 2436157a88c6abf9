//! How many bytes wait in the queues of a socket, in one direction, and how many each peer may have there.
//!
//! What waits to be sent is a [`Share`]: each queue knows its own bytes, and tells the socket when they have changed by a
//! [grain](Memory::GRAIN), so nobody counts every message twice. What came is an [`Account`](super::account::Account), which
//! counts before it takes.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::Limit;

/// The bytes that wait in one direction, of all peers together.
#[derive(Debug)]
pub(crate) struct Memory {
    /// For one peer.
    each: usize,
    each_is: Limit,
    /// For all.
    all: usize,
    all_is: Limit,
    /// As a number with a sign: who takes off may be ahead of who adds, by a little and for a moment.
    total: Arc<AtomicUsize>,
    /// Queues, or connections, there are.
    shares: AtomicUsize,
}

/// What one queue has of a [`Memory`].
#[derive(Debug)]
pub(crate) struct Share {
    memory: Arc<Memory>,
    told: usize,
}

impl Memory {
    /// Bytes that a queue may have gained or lost before the socket's total is told; and the step in which memory is given
    /// out where it is scarce.
    pub(crate) const GRAIN: usize = 64 << 10;

    /// What came by one connection and need not be counted, so that a small message costs nothing more, and that there is
    /// always room for one.
    pub(crate) const OWN: usize = 4 << 10;

    pub(crate) fn new(each: (Limit, usize), all: (Limit, usize)) -> Arc<Self> {
        Arc::new(Memory {
            each_is: each.0,
            each: each.1,
            all_is: all.0,
            // The total is a number with a sign.
            all: all.1.min(isize::MAX as usize),
            total: Arc::default(),
            shares: AtomicUsize::new(0),
        })
    }

    /// A new queue's share.
    pub(crate) fn share(self: &Arc<Self>) -> Share {
        self.enter();
        Share {
            memory: Arc::clone(self),
            told: 0,
        }
    }

    /// One queue or connection more.
    pub(crate) fn enter(&self) {
        self.shares.fetch_add(1, Ordering::Relaxed);
    }

    /// One less.
    pub(crate) fn leave(&self) {
        self.shares.fetch_sub(1, Ordering::Relaxed);
    }

    /// The bytes that wait now, as far as they were told.
    #[inline]
    pub(crate) fn total(&self) -> usize {
        unsigned(self.total.load(Ordering::SeqCst))
    }

    /// What all may have.
    pub(crate) fn all(&self) -> usize {
        self.all
    }

    /// How many more there may be.
    #[inline]
    pub(crate) fn free(&self) -> usize {
        self.all.saturating_sub(self.total())
    }

    /// Adds bytes, if they fit.
    pub(crate) fn try_add(&self, bytes: usize) -> bool {
        let fits = |total: usize| {
            let sum = unsigned(total).saturating_add(bytes);
            (sum <= self.all).then(|| total.wrapping_add(bytes))
        };
        self.total
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, fits)
            .is_ok()
    }

    /// Adds bytes that are there already.
    pub(crate) fn add(&self, bytes: usize) {
        self.total.fetch_add(bytes, Ordering::SeqCst);
    }

    /// Takes bytes off.
    pub(crate) fn sub(&self, bytes: usize) {
        self.total.fetch_sub(bytes, Ordering::SeqCst);
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

    /// By which limit so many `bytes` are as many as a connection may have waiting, if they are. The last eighth is for those
    /// that have next to nothing.
    pub(crate) fn is_over(&self, bytes: usize) -> Option<Limit> {
        let part = match self.total() < self.all - self.all / 8 {
            true => self.part(),
            false => self.part().min(Self::GRAIN),
        };
        let (allowed, limit) = self.allowed(part);
        (bytes >= allowed).then_some(limit)
    }

    /// How much a queue may hold now: what one peer may, or its `part` of what all may.
    fn allowed(&self, part: usize) -> (usize, Limit) {
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
        if own.abs_diff(self.told) >= Memory::GRAIN || (own == 0 && self.told > 0) {
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
        let (allowed, limit) = self.memory.allowed(self.memory.part());
        (bytes >= allowed).then_some(limit)
    }

    /// Up to how many bytes nobody has to be asked again.
    pub(crate) fn next_mark(&self, bytes: usize) -> usize {
        let (allowed, _) = self.memory.allowed(self.memory.part());
        allowed.min(bytes.saturating_add(Memory::GRAIN))
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.tell(0);
        self.memory.leave();
    }
}

/// A total, which is a number with a sign, and no less than nothing.
fn unsigned(total: usize) -> usize {
    usize::try_from(total.cast_signed()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GRAIN: usize = Memory::GRAIN;

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
    fn there_is_never_more_than_all_may_have() {
        let memory = memory(usize::MAX, 1000);
        assert!(memory.try_add(600));
        assert!(!memory.try_add(401));
        assert!(!memory.try_add(usize::MAX));
        assert!(memory.try_add(400));
        assert_eq!((memory.total(), memory.free()), (1000, 0));
        // Who takes off may be ahead of who adds.
        memory.sub(1100);
        assert_eq!((memory.total(), memory.free()), (0, 1000));
        memory.add(100);
        assert!(memory.try_add(1000));
        assert!(!memory.try_add(1));
    }

    #[test]
    fn the_last_eighth_is_for_those_that_have_next_to_nothing() {
        const MIB: usize = 1 << 20;
        let memory = memory(100 * MIB, 16 * MIB);
        (0..4).for_each(|_| memory.enter());
        assert_eq!(memory.is_over(8 * MIB - 1), None);
        assert!(memory.try_add(8 * MIB));
        assert_eq!(memory.is_over(2 * MIB - 1), None);
        assert_eq!(memory.is_over(2 * MIB), Some(Limit::SendMemory));
        assert!(memory.try_add(6 * MIB));
        assert_eq!(memory.is_over(GRAIN - 1), None);
        assert_eq!(memory.is_over(GRAIN), Some(Limit::SendMemory));
        memory.sub(8 * MIB);
        assert_eq!(memory.is_over(2 * MIB), None);
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
