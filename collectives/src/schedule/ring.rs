//! The ring: blocks travel from neighbour to neighbour until they have been everywhere.

use crate::Rank;

/// One member's place in the ring, where the last member's next is the first.
///
/// Data is cut into as many blocks as there are members; block i belongs to rank i. In every step each member sends
/// one block to the next member and receives one from the previous.
///
/// *Allgather* ([`allgather`](Ring::allgather)): at first each member has its own block, at the end all blocks.
///
/// *Reduce-scatter* ([`reduce_scatter`](Ring::reduce_scatter)): at first each member has its own contribution to
/// all blocks; what it receives it combines with its own contribution to that block; at the end it has its own
/// block, combined from everybody. The operation must be associative and commutative: each block is combined in an
/// order of its own.
///
/// Reduce-scatter followed by allgather is an allreduce that sends each byte about twice, whatever the group's size.
///
/// ```
/// use flexbond_collectives::{Size, schedule::Ring};
///
/// let size = Size::new(3)?;
/// let ring = Ring::new(size.rank(0)?);
/// assert_eq!((ring.next(), ring.previous()), (size.rank(1)?, size.rank(2)?));
/// let sent: Vec<u32> = ring.allgather().map(|step| step.send_block.index()).collect();
/// assert_eq!(sent, [0, 2], "its own block, then the one that came in the first step");
/// # Ok::<(), flexbond_collectives::RankError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ring {
    rank: Rank,
}

/// One step on the ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RingStep {
    /// The step's number, counted from zero.
    pub step: u32,
    /// The block to send to the next member, named by its owner.
    pub send_block: Rank,
    /// The block that comes from the previous member, named by its owner.
    pub recv_block: Rank,
}

impl Ring {
    /// The ring as `rank` takes part in it.
    #[must_use]
    pub fn new(rank: Rank) -> Self {
        Ring { rank }
    }

    /// Whom to send to in every step.
    #[must_use]
    pub fn next(&self) -> Rank {
        self.rank.ahead(1)
    }

    /// Whom to receive from in every step.
    #[must_use]
    pub fn previous(&self) -> Rank {
        self.rank.behind(1)
    }

    /// The steps after which every member has every block.
    pub fn allgather(&self) -> impl ExactSizeIterator<Item = RingStep> + use<> {
        self.steps(0)
    }

    /// The steps after which every member has its own block, combined from all members.
    pub fn reduce_scatter(&self) -> impl ExactSizeIterator<Item = RingStep> + use<> {
        self.steps(1)
    }

    /// One step fewer than there are members; the first sends the block `lead` places behind the own one.
    fn steps(&self, lead: u32) -> impl ExactSizeIterator<Item = RingStep> + use<> {
        let first = self.rank.behind(lead);
        (0..self.rank.size().get() - 1).map(move |step| RingStep {
            step,
            send_block: first.behind(step),
            recv_block: first.behind(step + 1),
        })
    }
}
