//! One receive, as the receiving side of a connection knows it.

use std::num::NonZeroU32;

use bytes::Bytes;

use super::header::Key;

/// One receive.
pub(super) struct Claim<'a> {
    pub(super) key: Key,
    pub(super) target: Target<'a>,
    /// Its place among those that wait.
    pub(super) ticket: Option<u64>,
    /// The frame at the head is this one's.
    pub(super) is_reading: bool,
}

/// Where a message goes.
pub(super) enum Target<'a> {
    Slice(&'a mut [u8]),
    /// Memory of its own, as much as the message needs.
    Own(Vec<u8>),
}

/// What a receive has come to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// So many bytes of the slice.
    Filled(usize),
    /// For who brought no slice.
    Whole(Bytes),
    /// It comes another way.
    Announced { number: NonZeroU32, length: usize },
    /// It does not fit, and waits still.
    Truncated { length: usize, room: usize },
    /// The connection has nothing now.
    Dry,
    /// Another receive has to do something first, and wakes this one.
    Behind,
    /// The connection has ended.
    Ended,
}

impl<'a> Claim<'a> {
    pub(super) fn new(key: Key, target: Target<'a>) -> Self {
        Claim {
            key,
            target,
            ticket: None,
            is_reading: false,
        }
    }

    pub(super) fn tag(&self) -> u64 {
        self.key.tag
    }

    /// Whether it has waited before.
    pub(super) fn has_waited(&self) -> bool {
        self.ticket.is_some()
    }

    pub(super) fn room(&self) -> usize {
        match &self.target {
            Target::Slice(slice) => slice.len(),
            Target::Own(_) => usize::MAX,
        }
    }
}
