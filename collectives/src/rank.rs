//! The members of a group: how many there are, and which one is meant.

use std::fmt;

use thiserror::Error;

/// How many members a group has: at least one, at most [`Size::MAX`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Size(u32);

/// One member of a group: its number, counted from zero, in a group of a known [`Size`].
///
/// A rank cannot be out of range: it is made by [`Size::rank`], which checks.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Rank {
    index: u32,
    size: Size,
}

/// Why there is no such group or member.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum RankError {
    /// A group has at least one member.
    #[error("a group has at least one member")]
    EmptyGroup,
    /// A group has at most [`Size::MAX`] members.
    #[error("{size} members are more than a group can have ({})", Size::MAX)]
    GroupTooLarge {
        /// What was asked for.
        size: u32,
    },
    /// Members are counted from zero to the size less one.
    #[error("there is no rank {index} in a group of {size}")]
    OutOfRange {
        /// What was asked for.
        index: u32,
        /// The group's size.
        size: Size,
    },
    /// Two ranks that must be of one group are of groups that differ in size.
    #[error("ranks of a group of {left} and of one of {right} do not mix")]
    OtherGroup {
        /// The size of the one's group.
        left: Size,
        /// The size of the other's group.
        right: Size,
    },
}

impl Size {
    /// The most members that a group can have.
    pub const MAX: u32 = 1 << 20;

    /// A group of `size` members.
    ///
    /// # Errors
    /// [`RankError::EmptyGroup`] for zero, [`RankError::GroupTooLarge`] above [`Size::MAX`].
    pub const fn new(size: u32) -> Result<Self, RankError> {
        match size {
            0 => Err(RankError::EmptyGroup),
            1..=Self::MAX => Ok(Size(size)),
            _ => Err(RankError::GroupTooLarge { size }),
        }
    }

    /// The number of members.
    #[must_use]
    pub const fn get(self) -> u32 {
        self.0
    }

    /// The member with number `index`, counted from zero.
    ///
    /// # Errors
    /// [`RankError::OutOfRange`] when there are not so many.
    pub const fn rank(self, index: u32) -> Result<Rank, RankError> {
        if index < self.0 {
            Ok(Rank { index, size: self })
        } else {
            Err(RankError::OutOfRange { index, size: self })
        }
    }

    /// All members in order.
    pub fn ranks(self) -> impl DoubleEndedIterator<Item = Rank> + ExactSizeIterator {
        (0..self.0).map(move |index| Rank { index, size: self })
    }

    /// How often one must double to reach all members: the logarithm to base two, rounded up.
    pub(crate) const fn doublings(self) -> u32 {
        self.0.next_power_of_two().trailing_zeros()
    }
}

impl Rank {
    /// The member's number, counted from zero.
    #[must_use]
    pub const fn index(self) -> u32 {
        self.index
    }

    /// The size of the member's group.
    #[must_use]
    pub const fn size(self) -> Size {
        self.size
    }

    /// The member `distance` places further on, counted round the group. `distance` is at most the size.
    pub(crate) const fn ahead(self, distance: u32) -> Self {
        // No overflow: both are at most 2^20.
        Rank {
            index: (self.index + distance) % self.size.0,
            size: self.size,
        }
    }

    /// The member `distance` places back, counted round the group. `distance` is at most the size.
    pub(crate) const fn behind(self, distance: u32) -> Self {
        self.ahead(self.size.0 - distance)
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for Rank {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.index.fmt(f)
    }
}

/// Shows `2 of 5`.
impl fmt::Debug for Rank {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {}", self.index, self.size)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_ranks_are_checked() {
        assert_eq!(Size::new(0), Err(RankError::EmptyGroup));
        assert_eq!(
            Size::new(Size::MAX + 1),
            Err(RankError::GroupTooLarge { size: Size::MAX + 1 })
        );
        let size = Size::new(3).unwrap();
        assert_eq!(size.rank(3), Err(RankError::OutOfRange { index: 3, size }));
        assert_eq!(
            size.rank(3).unwrap_err().to_string(),
            "there is no rank 3 in a group of 3"
        );
        assert_eq!(size.ranks().map(Rank::index).collect::<Vec<_>>(), [0, 1, 2]);
        assert_eq!(format!("{:?}", size.rank(2).unwrap()), "2 of 3");
    }

    #[test]
    fn going_round_ends_where_it_began() {
        let size = Size::new(Size::MAX).unwrap();
        let last = size.rank(Size::MAX - 1).unwrap();
        assert_eq!(last.ahead(1).index(), 0);
        assert_eq!(last.ahead(Size::MAX), last);
        assert_eq!(last.behind(Size::MAX), last);
        assert_eq!(size.rank(0).unwrap().behind(1), last);
    }

    #[test]
    fn doublings_reach_everybody() {
        for (size, doublings) in [
            (1, 0),
            (2, 1),
            (3, 2),
            (4, 2),
            (5, 3),
            (8, 3),
            (9, 4),
            (Size::MAX, 20),
        ] {
            assert_eq!(Size::new(size).unwrap().doublings(), doublings, "{size}");
        }
    }
}
