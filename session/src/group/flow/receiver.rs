//! What the sender of a flow knows of one of its receivers.

use std::time::Instant;

use super::rtt::Rtt;
use crate::group::MemberId;

/// A receiver as the sender knows it.
#[derive(Debug)]
pub(super) struct Receiver {
    pub(super) id: MemberId,
    pub(super) place: Place,
    pub(super) rtt: Rtt,
    /// What it lacks below was asked for.
    pub(super) known: u64,
    /// Segments that it has above those that all below it has, too.
    pub(super) early: u64,
    /// Since when it has kept the window from moving.
    pub(super) blocks_since: Option<Instant>,
    /// It skipped to this segment, or begins there: it is ahead of the others, but no quicker, until one of them gets there.
    pub(super) skipped_to: Option<u64>,
}

impl Receiver {
    pub(super) fn new(id: MemberId, place: Place) -> Self {
        Receiver {
            id,
            place,
            rtt: Rtt::new(),
            known: 0,
            early: 0,
            blocks_since: None,
            skipped_to: None,
        }
    }

    /// How many segments it has, as if it had had all before it began.
    pub(super) fn delivered(&self) -> Option<u64> {
        Some(self.place.next()? + self.early)
    }
}

/// How far a receiver is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// It begins where the record ends that is being cut, at this place of the stream.
    After(u64),
    /// It is to begin with this segment, and has not said yet that it knows.
    Start { segment: u64, announced: bool },
    /// It has everything below `next`, and takes what is below `edge`.
    At { next: u64, edge: u64 },
}

impl Place {
    /// What a receiver takes before it has said how much it takes.
    const FIRST_WINDOW: u64 = 64;

    /// Everything below it is not needed any more.
    pub(super) fn next(self) -> Option<u64> {
        match self {
            Place::After(_) => None,
            Place::Start { segment, .. } => Some(segment),
            Place::At { next, .. } => Some(next),
        }
    }

    pub(super) fn edge(self) -> u64 {
        match self {
            Place::After(_) => u64::MAX,
            Place::Start { segment, .. } => segment + Self::FIRST_WINDOW,
            Place::At { edge, .. } => edge,
        }
    }
}
