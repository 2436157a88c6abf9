//! How much a task may send before the other tasks on its thread get their turn.

use std::future::poll_fn;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;

/// How much was sent since the last pause.
///
/// A sender that never pauses fills the queue to the high-water mark before the task that writes runs at all, on a
/// runtime of one thread: a thousand messages of 16 KiB, none of which is in the cache any more when it is written.
#[derive(Debug, Default)]
pub(crate) struct Turn(AtomicUsize);

impl Turn {
    /// Bytes sent in one go: they fit into a core's own cache, and fill a large write. Smaller writes wake a quick
    /// receiver more often, which costs the sender more than the write.
    const LIMIT: usize = 256 << 10;
    /// What a message costs besides its bytes.
    const MESSAGE: usize = 64;
    /// Large messages are several in a turn, for the same reason.
    const LARGE: usize = 64 << 10;

    /// What a message of `size` bytes costs.
    fn cost(size: usize) -> usize {
        Self::MESSAGE + size.min(Self::LARGE).max(size / 16)
    }

    /// Takes note of a message of `size` bytes; true when it is time to [`pass`].
    #[inline]
    pub(crate) fn spend(&self, size: usize) -> bool {
        // Senders that race each other may lose a note: nobody depends on the exact number.
        let spent = self.0.load(Ordering::Relaxed).saturating_add(Self::cost(size));
        let over = spent > Self::LIMIT;
        self.0.store(if over { 0 } else { spent }, Ordering::Relaxed);
        over
    }
}

/// Lets the tasks run that are waiting to.
///
/// Unlike tokio's `yield_now` it does not make the runtime ask the system for events first.
pub(crate) async fn pass() {
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
        let turn = Turn::default();
        let turns = |size| (0..).position(|_| turn.spend(size)).unwrap_or_default();
        assert_eq!(turns(64 << 20), 0);
        assert_eq!(turns(1 << 20), 3);
        assert_eq!(turns(16 << 10), 15);
        assert!((2000..4000).contains(&turns(16)));
    }
}
