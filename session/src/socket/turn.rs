//! How much a task may send before the other tasks on its thread get their turn.

use std::future::poll_fn;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::task::Poll;

use super::pattern::Reach;

/// How much was sent since the last pause.
///
/// A sender that never pauses fills the queue to the high-water mark before the task that writes runs at all, on a
/// runtime of one thread: a thousand messages of 16 KiB, none of which is in the cache any more when it is written.
///
/// Where a full queue means that messages are dropped, a turn also ends long before a queue of `hwm` messages can be
/// full: a peer that takes everything must not lose anything because the task that writes to it had no turn.
#[derive(Debug)]
pub(crate) struct Turn {
    spent: AtomicUsize,
    /// How much of it is a turn, and what a message costs besides its bytes: of the present company.
    limit: AtomicUsize,
    message: AtomicUsize,
    company: AtomicU8,
    /// Where a full queue means that messages are dropped: how many it holds.
    hwm: Option<usize>,
}

/// Where a socket's peers are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Company {
    /// In this process, all of them, and they take messages by themselves: no task has to run in between.
    Direct,
    /// Some are in this process, and tasks write to some.
    Mixed,
    /// Elsewhere.
    Remote,
}

impl Turn {
    /// Bytes sent in one go. More of them fill larger writes; but a quick receiver then sleeps for longer in between,
    /// and to wake a processor from a deep sleep costs the sender tens of microseconds. Measured over tcp and ipc for
    /// messages of 128 B to 16 KiB and limits of 32 to 256 KiB, the median of this one is at most a fifth
    /// below the best for each of them, while larger ones fell, for one size or another, into the state, two to three
    /// times slower, in which every write wakes a sleeper.
    const LIMIT: usize = 48 << 10;
    /// The same where all peers are in this process. Measured on a runtime of two threads for 16 B to 16 KiB and
    /// limits of 24 KiB to 2 MiB: the best or within a tenth of it for each size.
    const DIRECT_LIMIT: usize = 128 << 10;
    /// What a message costs that was for nobody. With the price of others, a publisher of whose messages one in a
    /// hundred matches woke the writers of 32 subscribers for two messages each.
    const NOBODY: usize = 16;
    /// Tokio lets a task receive 128 messages before it makes it yield: where the peers of a socket that drops messages
    /// may be tasks of the same thread, a turn is shorter than that, or the rest of each turn would pile up.
    const NEAR_HWM: usize = 200;

    /// What a message costs at least.
    const MESSAGE: usize = 64;
    /// From this size on, four messages are a turn: they fill several writes anyway, and 64 KiB one by one is half as
    /// quick as four by four. From 1 MiB on, one is: the memory of each is used again for the next while it is still
    /// in the cache.
    const LARGE: usize = 32 << 10;

    /// A turn for a socket that waits when its queues are full, or that drops messages when one of its queues holds
    /// `hwm` of them.
    pub(crate) fn new(hwm: Option<usize>) -> Self {
        let turn = Turn {
            spent: AtomicUsize::new(0),
            limit: AtomicUsize::new(0),
            message: AtomicUsize::new(0),
            company: AtomicU8::new(0),
            hwm,
        };
        turn.join(Company::Direct);
        turn
    }

    /// From now on the peers are there.
    pub(crate) fn join(&self, company: Company) {
        let (limit, hwm) = match company {
            Company::Direct => (Self::DIRECT_LIMIT, self.hwm.map(|hwm| hwm.min(Self::NEAR_HWM))),
            Company::Mixed => (Self::LIMIT, self.hwm.map(|hwm| hwm.min(Self::NEAR_HWM))),
            Company::Remote => (Self::LIMIT, self.hwm),
        };
        let share = hwm.map_or(0, |hwm| (2 * limit).div_ceil(hwm.max(1)));
        self.limit.store(limit, Ordering::Relaxed);
        self.message.store(share.max(Self::MESSAGE), Ordering::Relaxed);
        self.company.store(company as u8, Ordering::Relaxed);
    }

    /// Whether all peers are in this process and take messages by themselves.
    pub(crate) fn is_direct(&self) -> bool {
        self.company.load(Ordering::Relaxed) == Company::Direct as u8
    }

    /// Whether it is time to [`pass`](Self::pass); a new turn begins then.
    #[inline]
    pub(crate) fn is_over(&self) -> bool {
        let over = self.spent.load(Ordering::Relaxed) > self.limit.load(Ordering::Relaxed);
        if over {
            self.spent.store(0, Ordering::Relaxed);
        }
        over
    }

    /// Takes note of a message of `size` bytes that was sent.
    #[inline]
    pub(crate) fn spend(&self, size: usize, reach: Reach) {
        let cost = match reach {
            Reach::Some if size < Self::LARGE => self.message.load(Ordering::Relaxed) + size,
            Reach::Some => self.message.load(Ordering::Relaxed) + self.cost_of_large(size),
            // To make a large message takes time, too.
            Reach::Nobody => Self::NOBODY + size / 64,
        };
        // Senders that race each other may lose a note: nobody depends on the exact number.
        let spent = self.spent.load(Ordering::Relaxed).saturating_add(cost);
        self.spent.store(spent, Ordering::Relaxed);
    }

    #[cold]
    fn cost_of_large(&self, size: usize) -> usize {
        (self.limit.load(Ordering::Relaxed) / 4).max(size / 16)
    }

    /// Lets the tasks run that are waiting to.
    pub(crate) async fn pass(&self) {
        if self.is_direct() {
            // Tokio's own puts the sender behind everybody else of this worker without waking another worker for it:
            // the receiver runs here, where the memory of what it drops serves the next messages. With the other way
            // the two run side by side and contend for the allocator (4 KiB: 0.4 to 2.5 M/s, with this 2.7 M/s).
            return tokio::task::yield_now().await;
        }
        // Unlike tokio's, this does not make the runtime ask the system for events first.
        let mut passed = false;
        poll_fn(|cx| {
            if std::mem::replace(&mut passed, true) {
                return Poll::Ready(());
            }
            cx.waker().wake_by_ref();
            Poll::Pending
        })
        .await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_turn_ends_after_so_many_bytes_or_messages() {
        let messages = |turn: &Turn, size, reach, company| {
            turn.join(company);
            (0..)
                .position(|_| {
                    turn.spend(size, reach);
                    turn.is_over()
                })
                .unwrap_or_default()
        };
        let turn = Turn::new(None);
        let sizes = |size| messages(&turn, size, Reach::Some, Company::Remote);
        assert_eq!(sizes(64 << 20), 0);
        assert_eq!(sizes(1 << 20), 0);
        assert_eq!(sizes(64 << 10), 3);
        assert_eq!(sizes(16 << 10), 2);
        assert!((500..700).contains(&sizes(16)));
        for company in [Company::Direct, Company::Mixed, Company::Remote] {
            for hwm in [1, 2, 10, 1000, 100_000] {
                let messages = messages(&Turn::new(Some(hwm)), 0, Reach::Some, company);
                assert!(messages <= hwm / 2, "{messages} of {hwm}");
                assert!(
                    messages <= 128 || company == Company::Remote,
                    "{messages} of {hwm}"
                );
            }
            let unheard = |size| messages(&turn, size, Reach::Nobody, company);
            assert!((1000..10_000).contains(&unheard(16)), "{}", unheard(16));
            assert!(unheard(1 << 20) < 10);
        }
    }
}
