//! Recursive doubling: everybody combines values with partners at distances 1, 2, 4, …, and all end with the result.

use std::iter::FusedIterator;

use crate::Rank;

/// The steps of an allreduce by recursive doubling for one member, in order.
///
/// With a power of two of members there are only exchanges. Otherwise, of the first members as many pairs are
/// formed as there are members too many: the even one of a pair folds its value into the odd one's, sits out, and
/// gets the result at the end.
///
/// Always combine the value of the lower rank with that of the higher one, in this order: then the operands stay in
/// the order of ranks, and the operation has to be associative but not commutative.
///
/// ```
/// use flexbond_collectives::{Size, schedule::{Doubling, DoublingStep}};
///
/// let size = Size::new(3)?;
/// let steps: Vec<_> = Doubling::new(size.rank(1)?).collect();
/// assert_eq!(steps, [
///     DoublingStep::FoldRecv { from: size.rank(0)? },
///     DoublingStep::Exchange { with: size.rank(2)? },
///     DoublingStep::UnfoldSend { to: size.rank(0)? },
/// ]);
/// # Ok::<(), flexbond_collectives::RankError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Doubling {
    rank: Rank,
    state: State,
}

/// One step of recursive doubling.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DoublingStep {
    /// Send the own value and sit out until the result comes.
    FoldSend {
        /// The partner, the next higher rank.
        to: Rank,
    },
    /// Receive the value of one that sits out, and combine it with the own one.
    FoldRecv {
        /// The partner, the next lower rank.
        from: Rank,
    },
    /// Send what was combined so far, receive the same from the partner, and combine the two.
    Exchange {
        /// The partner.
        with: Rank,
    },
    /// Send the result to the one that sat out.
    UnfoldSend {
        /// The partner, the next lower rank.
        to: Rank,
    },
    /// Receive the result.
    UnfoldRecv {
        /// The partner, the next higher rank.
        from: Rank,
    },
}

#[derive(Clone, Copy, Debug)]
enum State {
    Fold,
    Exchange { bit: u32 },
    Unfold,
    Done,
}

impl Doubling {
    /// The allreduce as `rank` takes part in it. A group of one has no steps.
    #[must_use]
    pub fn new(rank: Rank) -> Self {
        Doubling {
            rank,
            state: State::Fold,
        }
    }

    /// The largest power of two that is not above the size: how many members exchange.
    fn active(&self) -> u32 {
        1 << self.rank.size().get().ilog2()
    }

    /// How many members sit out.
    fn folded(&self) -> u32 {
        self.rank.size().get() - self.active()
    }

    /// Whether this member is one of a pair of which one sits out.
    fn is_paired(&self) -> bool {
        self.rank.index() < 2 * self.folded()
    }

    fn sits_out(&self) -> bool {
        self.is_paired() && self.rank.index().is_multiple_of(2)
    }

    /// The partner at distance 2ᵇ among those that exchange, who are numbered without gaps.
    fn partner(&self, bit: u32) -> Rank {
        let folded = self.folded();
        let index = self.rank.index();
        let place = if self.is_paired() {
            index / 2
        } else {
            index - folded
        };
        let other = place ^ (1 << bit);
        let index = if other < folded {
            2 * other + 1
        } else {
            other + folded
        };
        // In range: `other` is below `active`, so the index is below `active + folded`, the size.
        self.rank.behind(self.rank.index()).ahead(index)
    }
}

impl Iterator for Doubling {
    type Item = DoublingStep;

    fn next(&mut self) -> Option<DoublingStep> {
        loop {
            match self.state {
                State::Fold if self.sits_out() => {
                    self.state = State::Unfold;
                    return Some(DoublingStep::FoldSend {
                        to: self.rank.ahead(1),
                    });
                }
                State::Fold => {
                    self.state = State::Exchange { bit: 0 };
                    if self.is_paired() {
                        let from = self.rank.behind(1);
                        return Some(DoublingStep::FoldRecv { from });
                    }
                }
                State::Exchange { bit } if 1 << bit < self.active() => {
                    self.state = State::Exchange { bit: bit + 1 };
                    let with = self.partner(bit);
                    return Some(DoublingStep::Exchange { with });
                }
                State::Exchange { .. } => self.state = State::Unfold,
                State::Unfold => {
                    self.state = State::Done;
                    if self.sits_out() {
                        let from = self.rank.ahead(1);
                        return Some(DoublingStep::UnfoldRecv { from });
                    }
                    if self.is_paired() {
                        let to = self.rank.behind(1);
                        return Some(DoublingStep::UnfoldSend { to });
                    }
                }
                State::Done => return None,
            }
        }
    }
}

impl FusedIterator for Doubling {}
