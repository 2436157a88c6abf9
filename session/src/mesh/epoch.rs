//! One epoch as a rank sees it: who is in it, and how it ended.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use super::error::MeshError;
use super::link::Link;

#[derive(Debug)]
pub(super) struct Epoch {
    pub(super) number: u32,
    /// This rank's own.
    pub(super) rank: usize,
    /// By rank.
    pub(super) seats: Vec<Seat>,
    is_over: AtomicBool,
    outcome: OnceLock<MeshError>,
}

#[derive(Debug)]
pub(super) struct Seat {
    pub(super) link: Arc<Link>,
    pub(super) name: String,
}

impl Epoch {
    pub(super) fn new(number: u32, rank: usize, seats: Vec<Seat>) -> Self {
        Epoch {
            number,
            rank,
            seats,
            is_over: AtomicBool::new(false),
            outcome: OnceLock::new(),
        }
    }

    /// The first outcome is the one for all.
    pub(super) fn end(&self, outcome: MeshError) {
        let _ = self.outcome.set(outcome);
        self.is_over.store(true, Ordering::SeqCst);
    }

    /// How it ended, if it has.
    #[inline]
    pub(super) fn outcome(&self) -> Option<MeshError> {
        match self.is_over.load(Ordering::SeqCst) {
            true => self.outcome.get().cloned(),
            false => None,
        }
    }
}
