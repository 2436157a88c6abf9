//! What threads meet at. The models of `cargo xtask loom` have another module of this name, whose locks and atomics are
//! loom's, for the same sources.

pub(super) use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

pub(super) use parking_lot::Mutex;
