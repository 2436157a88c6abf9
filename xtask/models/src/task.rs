//! A task that sleeps until its waker fires. One that is never woken is a deadlock, which loom finds.

use std::sync::Arc;
use std::task::{Wake, Waker};

use loom::sync::Notify;

pub(super) struct Task(Arc<Flag>);

struct Flag(Notify);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.notify();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.0.notify();
    }
}

impl Task {
    pub(super) fn new() -> Self {
        Task(Arc::new(Flag(Notify::new())))
    }

    pub(super) fn waker(&self) -> Waker {
        Waker::from(Arc::clone(&self.0))
    }

    pub(super) fn sleep(&self) {
        self.0.0.wait();
    }
}
