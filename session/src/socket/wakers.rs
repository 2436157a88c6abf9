//! The tasks that wait for a socket.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Wake, Waker};

use parking_lot::Mutex;

/// Tasks that wait for one condition. An event wakes them all, and each looks again: a task that was cancelled in
/// between cannot take a wake-up with it.
#[derive(Debug, Default)]
pub(crate) struct WakerSet {
    waiting: AtomicBool,
    wakers: Mutex<Vec<Waker>>,
}

impl WakerSet {
    /// Remembers a task until the next [`wake_all`](Self::wake_all). The caller looks at its condition once more
    /// after this.
    pub(crate) fn register(&self, waker: &Waker) {
        let mut wakers = self.wakers.lock();
        if !wakers.iter().any(|known| known.will_wake(waker)) {
            wakers.push(waker.clone());
        }
        // SeqCst pairs with the load in `wake_all`: either the waker of an event sees this task, or the task's
        // second look (after this store) sees the event.
        self.waiting.store(true, Ordering::SeqCst);
    }

    /// Wakes every task that waits.
    pub(crate) fn wake_all(&self) {
        std::sync::atomic::fence(Ordering::SeqCst);
        if !self.waiting.load(Ordering::SeqCst) {
            return;
        }
        let wakers = {
            let mut wakers = self.wakers.lock();
            self.waiting.store(false, Ordering::SeqCst);
            std::mem::take(&mut *wakers)
        };
        wakers.into_iter().for_each(Waker::wake);
    }
}

/// A waker for a pipe that, when woken, wakes every task in a set.
pub(crate) fn forwarding_waker(set: Arc<WakerSet>) -> Waker {
    Waker::from(Arc::new(Forward(set)))
}

struct Forward(Arc<WakerSet>);

impl Wake for Forward {
    fn wake(self: Arc<Self>) {
        self.0.wake_all();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.0.wake_all();
    }
}
