//! The tasks that wait for a socket.

use std::sync::Arc;
use std::task::{Wake, Waker};

use parking_lot::Mutex;

/// Tasks that wait for one condition. An event wakes them all, and each looks again: a task that was cancelled in
/// between cannot take a wake-up with it.
#[derive(Debug, Default)]
pub(crate) struct WakerSet(Mutex<Vec<Waker>>);

impl WakerSet {
    /// Remembers a task until the next [`wake_all`](Self::wake_all). The caller looks at its condition once more
    /// after this.
    pub(crate) fn register(&self, waker: &Waker) {
        let mut wakers = self.0.lock();
        if !wakers.iter().any(|known| known.will_wake(waker)) {
            wakers.push(waker.clone());
        }
    }

    /// Wakes every task that waits.
    pub(crate) fn wake_all(&self) {
        let wakers = std::mem::take(&mut *self.0.lock());
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
