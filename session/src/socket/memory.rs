//! How many bytes wait in the queues of a socket, in one direction, and how many each peer may have there.
//!
//! Nobody counts every message twice: each queue knows its own bytes, and what there is for all is divided in
//! [grains](GRAIN), under a lock that a queue takes once for each of them. So the queues never have more than there is, but
//! for what they took in before they asked: one read of a connection, or one message for a peer.

mod pool;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::task::Waker;

use parking_lot::Mutex;

pub(crate) use self::pool::Answer;
use self::pool::{Asking, GRAIN, Holding, Pool};
use super::Limit;

/// The bytes that wait in one direction, of all peers together.
#[derive(Debug)]
pub(crate) struct Memory {
    /// For one peer.
    each: usize,
    each_is: Limit,
    /// For all.
    all_is: Limit,
    pool: Mutex<Pool>,
    /// What each queue may always have.
    floor: usize,
    next_id: AtomicU64,
    /// What waits in queues, as far as they told, and what several queues share.
    told: AtomicUsize,
    shared: Arc<AtomicUsize>,
    /// Changed, like what it says, with the queues towards the peers locked.
    has_senders: AtomicBool,
}

/// What one queue has of a [`Memory`].
#[derive(Debug)]
pub(crate) struct Share {
    memory: Arc<Memory>,
    holding: Holding,
    told: usize,
    /// Nothing is added any more.
    is_retired: bool,
}

impl Memory {
    /// Memory for at most `all` bytes, and `each` of one peer; of a quarter of it, each of as many `peers` has an even part.
    pub(crate) fn new(each: (Limit, usize), all: (Limit, usize), peers: usize) -> Arc<Self> {
        let pool = Pool::new(all.1, peers);
        Arc::new(Memory {
            each_is: each.0,
            each: each.1,
            all_is: all.0,
            floor: pool.floor(),
            pool: Mutex::new(pool),
            next_id: AtomicU64::new(0),
            told: AtomicUsize::new(0),
            shared: Arc::default(),
            has_senders: AtomicBool::new(false),
        })
    }

    /// A new queue's share.
    pub(crate) fn share(self: &Arc<Self>) -> Share {
        let mut holding = Holding::new(self.next_id.fetch_add(1, Ordering::Relaxed));
        self.pool.lock().enter(&mut holding);
        Share {
            memory: Arc::clone(self),
            holding,
            told: 0,
            is_retired: false,
        }
    }

    /// The bytes that wait now, as far as they were told.
    pub(crate) fn total(&self) -> usize {
        self.told.load(Ordering::Relaxed).saturating_add(self.shared())
    }

    fn shared(&self) -> usize {
        self.shared.load(Ordering::Relaxed)
    }

    /// Where bytes are counted that several queues share.
    pub(crate) fn shared_total(&self) -> &Arc<AtomicUsize> {
        &self.shared
    }

    /// After how many bytes that were received a queue has to hear of it, so that it never waits for what is free: with less
    /// than that it waits for nobody.
    pub(crate) fn step(&self) -> usize {
        self.each.min(self.floor).min(GRAIN)
    }

    /// The senders that waited for room in any queue, if there is some now. Not with the queues locked, but after they were.
    pub(crate) fn wake_senders(&self) {
        if !self.has_senders.load(Ordering::Relaxed) {
            return;
        }
        let mut pool = self.pool.lock();
        let senders = pool.take_senders(self.shared());
        self.has_senders.store(pool.has_senders(), Ordering::Relaxed);
        drop(pool);
        senders.into_iter().for_each(Waker::wake);
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
        let total = &self.memory.told;
        if own >= self.told {
            total.fetch_add(own - self.told, Ordering::Relaxed);
        } else {
            total.fetch_sub(self.told - own, Ordering::Relaxed);
        }
        self.told = own;
    }

    /// Whether the socket has something of this queue's to be given back or told of.
    pub(crate) fn is_told(&self) -> bool {
        self.told > 0 || self.holding.has_grant()
    }

    /// Whether so many `bytes` are as many as one peer may have, or more.
    pub(crate) fn exceeds_own(&self, bytes: usize) -> Option<Limit> {
        (bytes >= self.memory.each).then_some(self.memory.each_is)
    }

    /// The limit of all peers together.
    pub(crate) fn common_limit(&self) -> Limit {
        self.memory.all_is
    }

    /// Whether there may be so many bytes and more, `unfinished` ones of a message in part included, and nobody has to be
    /// asked or told. Of these, so many are `here`.
    #[inline]
    pub(crate) fn has_room(&self, here: usize, bytes: usize, unfinished: usize) -> bool {
        here < self.memory.each && self.holding.is_settled(self.memory.floor, bytes, unfinished)
    }

    /// Asks whether there may be more than so many bytes, whatever one peer may have; for the time being, or after it has
    /// waited for long. Wakes `waker` once it is worth to ask again, also if the answer is yes.
    pub(crate) fn ask(&mut self, bytes: usize, unfinished: usize, insists: bool, waker: &Waker) -> Answer {
        let asking = Asking {
            bytes,
            unfinished,
            insists,
            waker,
        };
        let mut woken = Vec::new();
        let answer = self.memory.pool.lock().ask(&mut self.holding, asking, &mut woken);
        woken.into_iter().for_each(Waker::wake);
        answer
    }

    /// Some of what the queue held has gone: gives back what is not needed for so many bytes.
    pub(crate) fn settle(&mut self, bytes: usize) {
        let mut woken = Vec::new();
        self.memory
            .pool
            .lock()
            .settle(&mut self.holding, bytes, self.is_retired, &mut woken);
        woken.into_iter().for_each(Waker::wake);
    }

    /// Nothing is added any more; so many bytes are still there.
    pub(crate) fn retire(&mut self, bytes: usize) {
        self.is_retired = true;
        let mut woken = Vec::new();
        self.memory
            .pool
            .lock()
            .retire(&mut self.holding, bytes, &mut woken);
        woken.into_iter().for_each(Waker::wake);
    }

    /// There may be more again.
    pub(crate) fn renew(&mut self) {
        self.is_retired = false;
    }

    /// Whether so many `bytes` are as many as the queue may hold, or more, and by which limit. Of these, `own` are not shared
    /// with other queues. A `waker` is remembered if others keep it from holding more, and woken by
    /// [`Memory::wake_senders`].
    pub(crate) fn is_over(&mut self, bytes: usize, own: usize, waker: Option<&Waker>) -> Option<Limit> {
        self.tell(own);
        if let Some(limit) = self.exceeds_own(bytes) {
            return Some(limit);
        }
        let shared = self.memory.shared();
        let mut pool = self.memory.pool.lock();
        if pool.adjust(&mut self.holding, own, shared)
            && (bytes == own || pool.shares_enough(&self.holding, bytes, shared))
        {
            return None;
        }
        if let Some(waker) = waker {
            pool.add_sender(&self.holding, bytes, own, waker);
            self.memory.has_senders.store(true, Ordering::Relaxed);
        }
        Some(self.memory.all_is)
    }

    /// As [`is_over`](Self::is_over), and nothing is taken.
    pub(crate) fn would_be_over(&self, bytes: usize, own: usize) -> bool {
        let shared = self.memory.shared();
        bytes >= self.memory.each
            || !self
                .memory
                .pool
                .lock()
                .has_room(&self.holding, bytes, own, shared)
    }

    /// The queue towards a peer has `own` bytes to itself: gives back what it does not need.
    pub(crate) fn release(&mut self, own: usize) {
        self.tell(own);
        if !self.holding.is_settled(self.memory.floor, own, 0) && self.holding.has_grant() {
            self.settle(own);
        }
    }

    /// Up to how many bytes nobody has to be asked again, where there are so many of which `own` are not shared.
    pub(crate) fn next_mark(&self, bytes: usize, own: usize) -> usize {
        let room = self.holding.covered(self.memory.floor).saturating_sub(own);
        self.memory.each.min(bytes.saturating_add(room.min(GRAIN)))
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.tell(0);
        let mut woken = Vec::new();
        self.memory.pool.lock().leave(&mut self.holding, &mut woken);
        woken.into_iter().for_each(Waker::wake);
    }
}

#[cfg(test)]
mod tests;
