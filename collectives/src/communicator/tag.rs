//! How the messages of different communicators and operations are kept apart.
//! The layout is that of the docs of [`Communicator`](super::Communicator#tags).

use std::ops::RangeInclusive;

use crate::error::CollectiveError;

/// What kind of messages a tag is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Sequence = 0,
    Tagged = 1,
    Point = 2,
    Stalled = 3,
}

/// The part of a tag that belongs to a communicator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Context(u64);

/// The most ranks that a fabric may have.
pub(crate) const MAX_RANKS: usize = 1 << 16;
/// Communicators of one first rank are numbered below this.
const MAX_COMMUNICATORS: u32 = (1 << 14) - 1;

impl Context {
    /// The communicator of all ranks.
    pub(crate) const WORLD: Context = Context(0);

    /// The setup of an epoch.
    pub(crate) const SETUP: Context = Context((MAX_COMMUNICATORS as u64) << 34);

    /// The context whose id was given out by the rank `first` of the fabric.
    pub(crate) fn new(first: usize, communicator: u32) -> Result<Self, CollectiveError> {
        if first >= MAX_RANKS {
            return Err(CollectiveError::TooMany {
                what: "the number of ranks",
            });
        }
        if communicator >= MAX_COMMUNICATORS {
            return Err(CollectiveError::TooMany {
                what: "the number of communicators",
            });
        }
        Ok(Context((first as u64) << 48 | u64::from(communicator) << 34))
    }

    pub(crate) fn tag(self, kind: Kind, number: u32) -> u64 {
        self.0 | (kind as u64) << 32 | u64::from(number)
    }
}

/// The numbers before `end`, half of all that there are; in two runs where they wrap around.
pub(crate) fn before(end: u32) -> impl Iterator<Item = RangeInclusive<u32>> {
    let last = end.wrapping_sub(1);
    let first = end.wrapping_sub(1 << 31);
    let runs = if first <= last {
        [Some(first..=last), None]
    } else {
        [Some(0..=last), Some(first..=u32::MAX)]
    };
    runs.into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn tags_do_not_collide() {
        let mut seen = HashSet::new();
        let contexts = [(0, 1), (0, 2), (1, 1), (MAX_RANKS - 1, MAX_COMMUNICATORS - 1)]
            .map(|(first, communicator)| Context::new(first, communicator).unwrap());
        for context in contexts.into_iter().chain([Context::WORLD, Context::SETUP]) {
            for kind in [Kind::Sequence, Kind::Tagged, Kind::Point, Kind::Stalled] {
                for number in [0, 1, u32::MAX] {
                    assert!(seen.insert(context.tag(kind, number)));
                }
            }
        }
        assert!(Context::new(MAX_RANKS, 1).is_err());
        assert!(Context::new(0, MAX_COMMUNICATORS).is_err());
    }

    #[test]
    fn what_is_before_wraps_around() {
        let runs = |end| before(end).collect::<Vec<_>>();
        assert_eq!(runs(0), [1 << 31..=u32::MAX]);
        assert_eq!(runs(1), [0..=0, (1 << 31) + 1..=u32::MAX]);
        assert_eq!(runs(1 << 31), [0..=(1 << 31) - 1]);
        assert_eq!(runs(u32::MAX), [(1 << 31) - 1..=u32::MAX - 1]);
    }
}
