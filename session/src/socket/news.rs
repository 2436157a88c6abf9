//! Which of many sources have something new.
//!
//! `cargo xtask loom` goes through the orders of all that can happen at once here.

use std::sync::Arc;
use std::task::{Wake, Waker};

use super::sync::{AtomicBool, Mutex, Ordering};
use super::wakers::WakerSet;

/// Which sources have something new, written by their wakers.
#[derive(Debug, Default)]
pub(crate) struct News {
    /// Looked at before each message, and the list only when it is set.
    any: AtomicBool,
    keys: Mutex<Vec<usize>>,
    waiters: WakerSet,
}

struct SourceWaker {
    news: Arc<News>,
    key: usize,
}

impl Wake for SourceWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.news.keys.lock().push(self.key);
        self.news.any.store(true, Ordering::Release);
        self.news.waiters.wake_all();
    }
}

impl News {
    /// What tells of the source with this key.
    pub(crate) fn waker(self: &Arc<Self>, key: usize) -> Waker {
        let news = Arc::clone(self);
        Waker::from(Arc::new(SourceWaker { news, key }))
    }

    /// Whether there is any.
    #[inline]
    pub(crate) fn is_any(&self) -> bool {
        self.any.load(Ordering::Acquire)
    }

    /// Takes them, in the order in which they came; a source may be there more than once.
    pub(crate) fn take(&self, each: impl FnMut(usize)) {
        let mut keys = self.keys.lock();
        self.any.store(false, Ordering::Release);
        keys.drain(..).for_each(each);
    }

    /// Who is told when there is something.
    pub(crate) fn waiters(&self) -> &WakerSet {
        &self.waiters
    }
}
