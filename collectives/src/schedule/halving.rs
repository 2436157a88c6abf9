//! Recursive halving: a reduce-scatter in which ranges shrink by half with every exchange, and its reverse.

use std::ops::Range;

use crate::Rank;

/// Rabenseifner's algorithm for one member: what it does with a value of a given length.
///
/// *Reduce-scatter*: first [`fold`](Halving::fold), so that a power of two of members remain. Then in every round from
/// 0 on give one half of the own range to a partner and combine what comes for the half that is kept. At the end each
/// member has its [`kept`](Halving::kept) range, combined from everybody.
///
/// *Allgather*: the rounds in reverse, where what was kept is sent and what was given comes back; and at last the whole
/// value to the one that sat out. Together they are an allreduce that sends each byte about twice.
///
/// Partners are at distances 1, 2, 4, … in this order, so what is combined always comes from neighbouring runs of
/// members: with the lower rank's value on the left the operation need not be commutative, and the brackets are the
/// same as in [`Doubling`](super::Doubling).
///
/// ```
/// use flexbond_collectives::{Size, schedule::Halving};
///
/// let size = Size::new(4)?;
/// let halving = Halving::new(size.rank(1)?, 100);
/// let round = halving.round(0);
/// assert_eq!((round.with, round.keep, round.give), (size.rank(0)?, 50..100, 0..50));
/// assert_eq!(halving.kept(size.rank(1)?), 50..75);
/// # Ok::<(), flexbond_collectives::RankError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Halving {
    rank: Rank,
    len: usize,
}

/// What a member does before and after the exchanges, when there is no power of two of members.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fold {
    /// Send the own value, sit out, and receive the result.
    SitOut {
        /// The partner, the next higher rank.
        with: Rank,
    },
    /// Receive the value of one that sits out and combine it on the left; at the end send the result there.
    StandIn {
        /// The partner, the next lower rank.
        with: Rank,
    },
    /// Nothing.
    Alone,
}

/// One exchange.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct HalvingRound {
    /// The partner.
    pub with: Rank,
    /// The range that stays here, and that the partner gives.
    pub keep: Range<usize>,
    /// The range that the partner keeps.
    pub give: Range<usize>,
}

impl Halving {
    /// The halving of a value of `len` elements, as `rank` takes part in it.
    #[must_use]
    pub fn new(rank: Rank, len: usize) -> Self {
        Halving { rank, len }
    }

    /// What to do before and after the exchanges.
    #[must_use]
    pub fn fold(&self) -> Fold {
        if self.rank.index() >= 2 * self.folded() {
            Fold::Alone
        } else if self.rank.index().is_multiple_of(2) {
            Fold::SitOut {
                with: self.rank.ahead(1),
            }
        } else {
            Fold::StandIn {
                with: self.rank.behind(1),
            }
        }
    }

    /// How many exchanges there are.
    #[must_use]
    pub fn rounds(&self) -> u32 {
        self.rank.size().get().ilog2()
    }

    /// One exchange, for a member that does not sit out. The member's range is empty where elements are few.
    #[must_use]
    pub fn round(&self, round: u32) -> HalvingRound {
        let place = self.place(self.rank).unwrap_or(0);
        let partner = place ^ 1 << round;
        HalvingRound {
            with: self.at(partner),
            keep: self.range(place, round + 1),
            give: self.range(partner, round + 1),
        }
    }

    /// The range that `rank` has at the end of the reduce-scatter; empty for one that sits out.
    #[must_use]
    pub fn kept(&self, rank: Rank) -> Range<usize> {
        self.place(rank)
            .map_or(0..0, |place| self.range(place, self.rounds()))
    }

    /// The member that comes first among those that exchange: it ends up with the result of a tree.
    #[must_use]
    pub fn first(&self) -> Rank {
        self.at(0)
    }

    /// The member's place among those that exchange.
    pub(crate) fn place(&self, rank: Rank) -> Option<u32> {
        let folded = self.folded();
        if rank.index() >= 2 * folded {
            Some(rank.index() - folded)
        } else {
            (!rank.index().is_multiple_of(2)).then_some(rank.index() / 2)
        }
    }

    /// The member at a place.
    pub(crate) fn at(&self, place: u32) -> Rank {
        let folded = self.folded();
        let index = if place < folded {
            2 * place + 1
        } else {
            place + folded
        };
        // In range: a place is below the number of those that exchange.
        self.rank.behind(self.rank.index()).ahead(index)
    }

    fn folded(&self) -> u32 {
        self.rank.size().get() - (1 << self.rounds())
    }

    /// What a place is responsible for after `rounds` exchanges.
    fn range(&self, place: u32, rounds: u32) -> Range<usize> {
        let mut range = 0..self.len;
        for bit in 0..rounds {
            let middle = range.start + range.len() / 2;
            if place >> bit & 1 == 0 {
                range.end = middle;
            } else {
                range.start = middle;
            }
        }
        range
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Size;

    #[test]
    fn partners_agree_and_ranges_cover_everything_once() {
        for size in 1..=33 {
            let size = Size::new(size).unwrap();
            for len in [0, 1, 7, 64, 100] {
                let mut covered = vec![0; len];
                for rank in size.ranks() {
                    let halving = Halving::new(rank, len);
                    halving.kept(rank).for_each(|at| covered[at] += 1);
                    match halving.fold() {
                        Fold::SitOut { with } => {
                            assert_eq!(Halving::new(with, len).fold(), Fold::StandIn { with: rank });
                            continue;
                        }
                        Fold::StandIn { with } => {
                            assert_eq!(Halving::new(with, len).fold(), Fold::SitOut { with: rank });
                        }
                        Fold::Alone => {}
                    }
                    for number in 0..halving.rounds() {
                        let mine = halving.round(number);
                        let theirs = Halving::new(mine.with, len).round(number);
                        assert_eq!(
                            (theirs.with, theirs.keep, theirs.give),
                            (rank, mine.give, mine.keep)
                        );
                    }
                }
                assert!(covered.iter().all(|times| *times == 1), "{size} ranks, {len}");
            }
        }
    }
}
