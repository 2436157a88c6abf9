//! How much a task may send before the other tasks on its thread get their turn.

use std::future::poll_fn;
use std::sync::atomic::{AtomicUsize, Ordering};
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
    remote: Costs,
    mixed: Costs,
    direct: Costs,
}

/// Where a socket's peers are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Company {
    /// In this process, all of them, and they take messages by themselves: no task has to run in between.
    Direct,
    /// Some are in this process, and tasks write to some.
    Mixed,
    /// Elsewhere.
    Remote,
}

/// What counts towards a turn, and how much of it is one.
#[derive(Debug)]
struct Costs {
    limit: usize,
    /// What a message costs besides its bytes.
    message: usize,
}

impl Costs {
    /// What a message costs at least.
    const MESSAGE: usize = 64;
    /// From this size on, four messages are a turn: they fill several writes anyway, and 64 KiB one by one is half as
    /// quick as four by four. From 1 MiB on, one is: the memory of each is used again for the next while it is still
    /// in the cache.
    const LARGE: usize = 32 << 10;

    fn new(limit: usize, hwm: Option<usize>) -> Self {
        let share = hwm.map_or(0, |hwm| (2 * limit).div_ceil(hwm.max(1)));
        Costs {
            limit,
            message: share.max(Self::MESSAGE),
        }
    }

    /// What a message of `size` bytes costs.
    fn of(&self, size: usize) -> usize {
        let bytes = if size < Self::LARGE {
            size
        } else {
            (self.limit / 4).max(size / 16)
        };
        self.message + bytes
    }
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

    /// A turn for a socket that waits when its queues are full, or that drops messages when one of its queues holds
    /// `hwm` of them.
    pub(crate) fn new(hwm: Option<usize>) -> Self {
        Turn {
            spent: AtomicUsize::new(0),
            remote: Costs::new(Self::LIMIT, hwm),
            mixed: Costs::new(Self::LIMIT, hwm.map(|hwm| hwm.min(Self::NEAR_HWM))),
            direct: Costs::new(Self::DIRECT_LIMIT, hwm.map(|hwm| hwm.min(Self::NEAR_HWM))),
        }
    }

    /// Whether it is time to [`pass`]; a new turn begins then.
    #[inline]
    pub(crate) fn is_over(&self, company: Company) -> bool {
        let over = self.spent.load(Ordering::Relaxed) > self.costs(company).limit;
        if over {
            self.spent.store(0, Ordering::Relaxed);
        }
        over
    }

    /// Takes note of a message of `size` bytes that was sent.
    #[inline]
    pub(crate) fn spend(&self, size: usize, reach: Reach, company: Company) {
        let cost = match reach {
            Reach::Some => self.costs(company).of(size),
            // To make a large message takes time, too.
            Reach::Nobody => Self::NOBODY + size / 64,
        };
        // Senders that race each other may lose a note: nobody depends on the exact number.
        let spent = self.spent.load(Ordering::Relaxed).saturating_add(cost);
        self.spent.store(spent, Ordering::Relaxed);
    }

    #[inline]
    fn costs(&self, company: Company) -> &Costs {
        match company {
            Company::Direct => &self.direct,
            Company::Mixed => &self.mixed,
            Company::Remote => &self.remote,
        }
    }
}

/// Lets the tasks run that are waiting to.
pub(crate) async fn pass(company: Company) {
    if company == Company::Direct {
        // Tokio's own puts the sender behind everybody else of this worker without waking another worker for it: the
        // receiver runs here, where the memory of what it drops serves the next messages. With the other way the two
        // run side by side and contend for the allocator (4 KiB: 0.4 to 2.5 M/s, with this 2.7 M/s).
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_turn_ends_after_so_many_bytes_or_messages() {
        let messages = |turn: &Turn, size, reach, company| {
            (0..)
                .position(|_| {
                    turn.spend(size, reach, company);
                    turn.is_over(company)
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
