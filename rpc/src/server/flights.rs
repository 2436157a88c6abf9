//! How many calls are under way, and whether the server drains.
//!
//! `cargo xtask loom` goes through the orders of all that can happen at once here.

use super::sync::{AtomicUsize, Ordering};

/// The calls under way, and in the highest bit whether the server drains: both in one, so that the last call sees that it
/// is waited for, or whoever drains that there is none.
#[derive(Debug)]
pub(super) struct Flights(AtomicUsize);

const DRAINING: usize = 1 << (usize::BITS - 1);

impl Flights {
    pub(super) fn new() -> Self {
        Flights(AtomicUsize::new(0))
    }

    /// One more is under way; tells how many were.
    pub(super) fn begin(&self) -> usize {
        self.0.fetch_add(1, Ordering::AcqRel) & !DRAINING
    }

    /// One has ended; tells whether that was the last that a draining server waits for.
    pub(super) fn end(&self) -> bool {
        self.0.fetch_sub(1, Ordering::AcqRel) == DRAINING + 1
    }

    /// From now on [`end`](Self::end) tells of the last.
    pub(super) fn drain(&self) {
        self.0.fetch_or(DRAINING, Ordering::AcqRel);
    }

    pub(super) fn is_draining(&self) -> bool {
        self.0.load(Ordering::Acquire) & DRAINING != 0
    }

    pub(super) fn count(&self) -> usize {
        self.0.load(Ordering::Acquire) & !DRAINING
    }
}
