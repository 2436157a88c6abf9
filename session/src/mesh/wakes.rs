//! Tasks to be woken once a lock is released.

use std::task::Waker;

/// Wakers that are collected under a lock and woken after it: to wake may run other people's code. Dropping it wakes.
#[derive(Debug, Default)]
pub(super) struct Wakes {
    /// Most often there is one, and no memory is needed.
    first: Option<Waker>,
    others: Vec<Waker>,
}

impl Wakes {
    pub(super) fn push(&mut self, waker: Waker) {
        match &self.first {
            None => self.first = Some(waker),
            Some(_) => self.others.push(waker),
        }
    }
}

impl Drop for Wakes {
    fn drop(&mut self) {
        if let Some(first) = self.first.take() {
            first.wake();
            self.others.drain(..).for_each(Waker::wake);
        }
    }
}
