//! Loom's locks and atomics under the names and with the interface of those that the crates use.

use std::fmt;

pub(super) use loom::sync::MutexGuard;
pub(super) use loom::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// As `parking_lot`'s: nothing is poisoned.
#[derive(Default)]
pub(super) struct Mutex<T>(loom::sync::Mutex<T>);

impl<T> Mutex<T> {
    pub(super) fn new(value: T) -> Self {
        Mutex(loom::sync::Mutex::new(value))
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, T> {
        self.0.lock().expect("no test panics and goes on")
    }
}

impl<T> fmt::Debug for Mutex<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Mutex")
    }
}
