//! Whether a socket is closed, and how many tasks it has.
//!
//! `cargo xtask loom` goes through the orders of all that can happen at once here.

use super::sync::{AtomicUsize, Ordering};

/// The tasks of a socket, and in the highest bit whether it is closed: both in one, so that the last task sees that the
/// socket is closed, or whoever closes it that there is no task.
#[derive(Debug)]
pub(super) struct Ending(AtomicUsize);

const CLOSED: usize = 1 << (usize::BITS - 1);

impl Ending {
    pub(super) fn new() -> Self {
        Ending(AtomicUsize::new(0))
    }

    /// There is one task more.
    pub(super) fn begin(&self) {
        self.0.fetch_add(1, Ordering::AcqRel);
    }

    /// There is one task less; tells whether that was the last of a closed socket.
    pub(super) fn end(&self) -> bool {
        self.0.fetch_sub(1, Ordering::AcqRel) == CLOSED + 1
    }

    /// Closes the socket; tells whether it was not.
    pub(super) fn close(&self) -> bool {
        self.0.fetch_or(CLOSED, Ordering::AcqRel) & CLOSED == 0
    }

    pub(super) fn is_closed(&self) -> bool {
        self.0.load(Ordering::Acquire) & CLOSED != 0
    }

    /// Whether it is closed and has no task.
    pub(super) fn is_over(&self) -> bool {
        self.0.load(Ordering::Acquire) == CLOSED
    }
}
