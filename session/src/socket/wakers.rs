//! The tasks that wait for a socket.

use std::sync::Arc;
#[cfg(feature = "mesh")]
use std::task::{Context, Poll};
use std::task::{Wake, Waker};

use super::sync::Mutex;

/// Tasks that wait for one condition. An event wakes them all, and each looks again: a task that was cancelled in
/// between cannot take a wake-up with it.
///
/// A task that was cancelled leaves its waker behind until the next event. So that a socket without events does not
/// collect them, all are woken when they become many: the living register again, the others are forgotten.
#[derive(Debug)]
pub(crate) struct WakerSet(Mutex<Waiting>);

#[derive(Debug)]
struct Waiting {
    wakers: Vec<Waker>,
    /// Who was woken only to see who lives, and has not registered again yet.
    asked: Vec<Waker>,
    /// How many of those have.
    living: usize,
    limit: usize,
}

/// Wakers that may wait before the first look at who lives.
const FIRST_LIMIT: usize = 64;

impl Default for WakerSet {
    fn default() -> Self {
        WakerSet(Mutex::new(Waiting {
            wakers: Vec::new(),
            asked: Vec::new(),
            living: 0,
            limit: FIRST_LIMIT,
        }))
    }
}

impl WakerSet {
    /// Remembers a task until the next [`wake_all`](Self::wake_all). The caller looks at its condition once more
    /// after this.
    pub(crate) fn register(&self, waker: &Waker) {
        let mut waiting = self.0.lock();
        if waiting.wakers.iter().any(|known| known.will_wake(waker)) {
            return;
        }
        if let Some(index) = waiting.asked.iter().position(|known| known.will_wake(waker)) {
            waiting.asked.swap_remove(index);
            waiting.living += 1;
        }
        waiting.wakers.push(waker.clone());
        if waiting.wakers.len() > waiting.limit {
            let wakers = std::mem::take(&mut waiting.wakers);
            waiting.asked.clone_from(&wakers);
            waiting.limit = FIRST_LIMIT + 2 * std::mem::take(&mut waiting.living);
            drop(waiting);
            wakers.into_iter().for_each(Waker::wake);
        }
    }

    /// What `look` finds, now or after an event.
    #[cfg(feature = "mesh")]
    pub(crate) fn poll_until<T>(&self, cx: &mut Context<'_>, mut look: impl FnMut() -> Option<T>) -> Poll<T> {
        if let Some(found) = look() {
            return Poll::Ready(found);
        }
        self.register(cx.waker());
        look().map_or(Poll::Pending, Poll::Ready)
    }

    /// Waits until `look` finds something. Cancel safe where `look` takes nothing that it does not return.
    #[cfg(feature = "mesh")]
    pub(crate) async fn until<T>(&self, mut look: impl FnMut() -> Option<T>) -> T {
        std::future::poll_fn(|cx| self.poll_until(cx, &mut look)).await
    }

    /// Wakes every task that waits.
    pub(crate) fn wake_all(&self) {
        let mut waiting = self.0.lock();
        // One is the usual number: the list keeps its memory then.
        let last = waiting.wakers.pop();
        let others = match waiting.wakers.is_empty() {
            true => Vec::new(),
            false => std::mem::take(&mut waiting.wakers),
        };
        waiting.asked.clear();
        waiting.living = 0;
        drop(waiting);
        others.into_iter().chain(last).for_each(Waker::wake);
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
