//! The dissemination barrier: after its rounds every member has heard, directly or not, from every other.

use std::iter::FusedIterator;

use crate::Rank;

/// The rounds of a barrier for one member, in order.
///
/// In round k each member tells the one 2ᵏ places ahead that it has come this far, and waits to hear the same from
/// the one 2ᵏ places behind. Who has finished all rounds knows that everybody has entered the barrier.
///
/// ```
/// use flexbond_collectives::{Size, schedule::Barrier};
///
/// let size = Size::new(6)?;
/// let mut rounds = Barrier::new(size.rank(4)?);
/// assert_eq!(rounds.len(), 3);
/// let first = rounds.next().expect("there are three rounds");
/// assert_eq!((first.send_to, first.recv_from), (size.rank(5)?, size.rank(3)?));
/// # Ok::<(), flexbond_collectives::RankError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Barrier {
    rank: Rank,
    round: u32,
}

/// One round of a barrier: send one message, then wait for one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct BarrierRound {
    /// The round's number, counted from zero. It belongs into the message, so that a fast member's next barrier is
    /// not mistaken for this one.
    pub round: u32,
    /// Whom to tell.
    pub send_to: Rank,
    /// Whom to wait for.
    pub recv_from: Rank,
}

impl Barrier {
    /// The barrier as `rank` takes part in it. A group of one has no rounds.
    #[must_use]
    pub fn new(rank: Rank) -> Self {
        Barrier { rank, round: 0 }
    }
}

impl Iterator for Barrier {
    type Item = BarrierRound;

    fn next(&mut self) -> Option<BarrierRound> {
        if self.round == self.rank.size().doublings() {
            return None;
        }
        let round = self.round;
        self.round += 1;
        // Below the size, for a round before the last doubling.
        let distance = 1 << round;
        Some(BarrierRound {
            round,
            send_to: self.rank.ahead(distance),
            recv_from: self.rank.behind(distance),
        })
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = (self.rank.size().doublings() - self.round) as usize;
        (left, Some(left))
    }
}

impl ExactSizeIterator for Barrier {}

impl FusedIterator for Barrier {}
