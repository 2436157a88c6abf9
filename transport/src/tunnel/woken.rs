//! Which connections have something, and who is told.
//!
//! `cargo xtask loom` goes through the orders of all that can happen at once here.

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::{Wake, Waker};

use super::sync::{AtomicBool, Mutex, Ordering};

/// The connections that have something and are not in the turn yet.
#[derive(Default)]
pub(super) struct Woken(Mutex<List>);

#[derive(Default)]
struct List {
    ids: VecDeque<u64>,
    receiver: Option<Waker>,
}

/// Notes that a connection has something.
pub(super) struct Signal {
    id: u64,
    /// Whether it is in the turn, or among the woken.
    noted: AtomicBool,
    woken: Arc<Woken>,
}

impl Wake for Signal {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if self.note() {
            return;
        }
        let mut list = self.woken.0.lock();
        list.ids.push_back(self.id);
        let receiver = list.receiver.take();
        drop(list);
        if let Some(receiver) = receiver {
            receiver.wake();
        }
    }
}

impl Signal {
    /// For the connection with this number.
    pub(super) fn new(id: u64, woken: &Arc<Woken>) -> Arc<Self> {
        Arc::new(Signal {
            id,
            noted: AtomicBool::new(false),
            woken: Arc::clone(woken),
        })
    }

    /// It is about to be looked at: what comes from now on is noted again.
    pub(super) fn clear(&self) {
        self.noted.store(false, Ordering::Release);
    }

    /// It stays in the turn, or is put there. Returns whether it was noted meanwhile, and is on the list already.
    pub(super) fn note(&self) -> bool {
        self.noted.swap(true, Ordering::AcqRel)
    }
}

impl Woken {
    /// Moves them to the end of the turn.
    pub(super) fn append_to(&self, turn: &mut VecDeque<u64>) {
        turn.append(&mut self.0.lock().ids);
    }

    /// Tells `receiver` of the next one. Returns whether there are some already.
    pub(super) fn wait(&self, receiver: Waker) -> bool {
        let mut list = self.0.lock();
        list.receiver = Some(receiver);
        !list.ids.is_empty()
    }
}
