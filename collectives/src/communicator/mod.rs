//! The communicator: a group of ranks, and every operation that they do together.

mod agree;
mod allgather;
mod allreduce;
mod alltoall;
mod barrier;
mod block;
mod broadcast;
mod channel;
mod exchange;
mod gather;
mod layout;
mod numbers;
mod point;
mod reduce;
mod reduce_scatter;
mod scan;
mod scatter;
mod scratch;
mod setup;
mod split;
mod stream;
mod tag;
mod value;
mod watch;

use std::fmt;
use std::sync::atomic::AtomicU32;
use std::sync::{Arc, OnceLock};

pub use agree::Agreement;
pub use stream::{BroadcastSink, BroadcastStream};

use agree::Ledger;
use channel::Channel;
use numbers::Numbers;
use scratch::Pool;
use setup::Succession;
use tag::{Context, Kind};

use crate::call::Call;
use crate::error::CollectiveError;
use crate::fabric::{Fabric, FabricError};
use crate::tuning::Tuning;
use crate::{Rank, Size};

/// A group of ranks that do operations together.
///
/// [`new`](Communicator::new) makes the one of all ranks of a fabric's epoch, [`split`](Communicator::split) others of
/// some of them. All ranks of a communicator call the same operations in the same order.
///
/// # Several operations at once
/// An operation takes its number when it is *called*, not when its future is first polled. So ranks agree on which is
/// which by the order in their programs, and the futures may then be awaited in any order or together:
///
/// ```
/// # use flexbond_collectives::{Communicator, CollectiveError, LocalFabric, Max, Sum};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), CollectiveError> {
/// # let fabric = LocalFabric::new(1).remove(0);
/// let communicator = Communicator::new(fabric).await?;
/// let (mut sum, mut max) = ([1.0], [2.0]);
/// let first = communicator.allreduce(&mut sum, Sum);
/// let second = communicator.allreduce(&mut max, Max);
/// tokio::try_join!(second, first)?;
/// # Ok(())
/// # }
/// ```
///
/// Where ranks cannot keep to one order, each operation gets a tag of the program's instead
/// ([`with_tag`](Communicator::with_tag)).
///
/// # Tags
/// All messages of one operation between two ranks have one 64-bit tag in the fabric; which is which follows from their
/// order.
///
/// ```text
/// bit 63        48 47          34 33  32 31                0
///     first rank  |  communicator | kind |      number
/// ```
/// First rank and communicator are both 0 in the communicator of all ranks. Others get their number from their first
/// rank, which counts from 1 in every epoch, so two communicators that share a rank differ. Kind is 0 for operations in
/// sequence, whose number counts the calls; 1 for those under a tag of the program's; 2 for point-to-point messages; 3
/// for what ranks tell each other of an operation that has stalled. First rank 0 with the highest number is for
/// [`new`](Communicator::new).
///
/// # Clones
/// A clone is the same communicator, and counts on with it.
///
/// # What is told when ranks disagree
/// The first message from each rank to each other in an operation says what its sender is doing
/// ([`Call`](crate::Call)). Another operation, element type or size, length, root, reduction, tuning, or set of counts
/// is a [`CollectiveError::Mismatch`] at once at the ranks that hear from each other; they tell all others of the
/// operation, who end with it too as soon as they wait for one of these.
///
/// Ranks that disagree do not always hear from each other: one may wait for its parent in the tree of another root, or
/// for a partner of another algorithm. Over a fabric that tells when an operation has stalled
/// ([`Fabric::stalled`](crate::Fabric::stalled)), ranks that wait in the same operation tell each other then what they
/// have called, and the error comes a moment later. Over others, and in operations under a tag of the program's, they may
/// wait for ever.
///
/// Not detected: two closures that do different things; two struct types of the same size; what point-to-point messages
/// hold; and what a rank called that had done with it before it heard from another, as one that only sends (two roots
/// of a broadcast, a leaf of a gather): who waits for such a rank waits on. An operation that one rank never calls waits until that rank fails or leaves.
///
/// # Cancel safety
/// An operation whose future is dropped before it is done is given up at this rank: the others of the operation are
/// told, and end with [`CollectiveError::Abandoned`] where they wait for this rank, directly or not; those that have
/// what they need are not disturbed. The communicator stays usable, also by that rank. The contents of the slices of
/// such an operation are unspecified. A rank that *sends* to one which has given up long messages may wait until that
/// one receives something else, as the fabric's buffers are bounded.
///
/// # Failure
/// When a rank dies, all operations of its epoch end with the same [`CollectiveError::PeerFailed`] at all survivors,
/// and the communicator and those split off from it are of no more use. [`next_epoch`](Communicator::next_epoch) gives
/// one of the survivors.
pub struct Communicator<F: Fabric> {
    group: Arc<Group<F>>,
    numbering: Numbering,
}

/// What all communicators of one epoch of a fabric share.
struct World<F: Fabric> {
    fabric: Arc<F>,
    epoch: u64,
    // Of that epoch: the fabric's own is that of the present one.
    size: usize,
    tuning: Arc<Tuning>,
    pool: Pool,
    // What ended the epoch; what comes first stays, so that all operations end alike.
    failed: OnceLock<Vec<usize>>,
    // The next number for a communicator whose first rank is this one.
    communicators: AtomicU32,
    // What agreements were made, in this epoch and those before.
    ledger: Arc<Ledger>,
    // The communicator of the next epoch, or the way to it.
    succession: futures_util::lock::Mutex<Succession<F>>,
}

/// The ranks of one communicator.
struct Group<F: Fabric> {
    world: Arc<World<F>>,
    place: Rank,
    context: Context,
    // The ranks in the fabric, in the order of ranks here; none where both are the same.
    members: Option<Vec<usize>>,
    numbers: Numbers,
}

#[derive(Clone, Copy)]
enum Numbering {
    Sequence,
    Tag(u32),
}

impl<F: Fabric> Communicator<F> {
    /// The communicator of all ranks of the fabric's present epoch. Every rank calls this once, also those that come
    /// in with a later epoch, and waits for all others.
    ///
    /// # Errors
    /// [`CollectiveError::OtherTuning`] when another rank is of an incompatible release; what an allgather may end
    /// with.
    ///
    /// # Cancel safety
    /// Dropped, it leaves the others without this rank.
    pub async fn new(fabric: F) -> Result<Self, CollectiveError> {
        Self::with_tuning(Arc::new(fabric), Tuning::default()).await
    }

    /// As [`new`](Communicator::new), with another tuning than the default, over a fabric that the program shares.
    ///
    /// # Errors
    /// [`CollectiveError::OtherTuning`] when the ranks' tuning differs; what an allgather may end with.
    ///
    /// # Cancel safety
    /// Dropped, it leaves the others without this rank.
    pub async fn with_tuning(fabric: Arc<F>, tuning: Tuning) -> Result<Self, CollectiveError> {
        let ledger = Arc::default();
        let (communicator, _) = setup::enter(fabric, Arc::new(tuning), ledger, None).await?;
        Ok(communicator)
    }

    /// This rank's number, below [`size`](Communicator::size).
    #[must_use]
    pub fn rank(&self) -> usize {
        self.group.place.index() as usize
    }

    /// How many ranks there are.
    #[must_use]
    pub fn size(&self) -> usize {
        self.group.place.size().get() as usize
    }

    /// The epoch of the fabric that the communicator is of.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.group.world.epoch
    }

    /// The number that a rank of this communicator has in the fabric, if there is such a rank. Errors about failed ranks
    /// name these.
    #[must_use]
    pub fn fabric_rank(&self, rank: usize) -> Option<usize> {
        (rank < self.size()).then(|| self.peer(rank))
    }

    /// What carries the messages. A program that has to close its fabric in good order keeps a clone, drops its
    /// communicators, and takes the fabric out of the clone ([`Arc::into_inner`]).
    #[must_use]
    pub fn fabric(&self) -> &Arc<F> {
        &self.group.world.fabric
    }

    /// What algorithms are chosen by.
    #[must_use]
    pub fn tuning(&self) -> &Tuning {
        &self.group.world.tuning
    }

    /// The same ranks, whose operations go under `tag` instead of being numbered in the order of calls. For operations
    /// that different ranks begin in different orders. No two operations with the same tag may be in flight at once, and
    /// after an error or a dropped future a tag is spent for the epoch: some of what was sent under it may still come.
    ///
    /// Ranks do not look whether such an operation has [stalled](crate::Fabric::stalled): where they have called
    /// different things and do not hear from each other, they wait until one of them fails or leaves.
    #[must_use]
    pub fn with_tag(&self, tag: u32) -> Self {
        Communicator {
            group: Arc::clone(&self.group),
            numbering: Numbering::Tag(tag),
        }
    }

    /// Goes on without those that have failed: waits until all survivors have called this (on any communicator of the
    /// old epoch), and gives the communicator of all ranks of the new epoch. Where the epoch after this communicator's
    /// has begun already, gives the same communicator as the call that began it.
    ///
    /// A rank that fails meanwhile is left out too. Ranks that have joined the fabric late come in here.
    ///
    /// # Errors
    /// [`CollectiveError::Closed`] and other errors of the fabric; [`CollectiveError::OtherTuning`] when a new rank's
    /// tuning differs.
    ///
    /// # Cancel safety
    /// Dropped, it leaves the others waiting for this rank until it calls this again, which goes on with what was begun,
    /// fails or leaves.
    pub async fn next_epoch(&self) -> Result<Self, CollectiveError> {
        let (communicator, _) = setup::succeed(&self.group.world, self.whole_rank()).await?;
        Ok(communicator)
    }

    /// Begins an operation: takes its number, and checks that the communicator is of use.
    fn open(&self, call: Call) -> Result<Channel<'_, F>, CollectiveError> {
        self.open_tagged(call).1
    }

    fn open_tagged(&self, call: Call) -> (u64, Result<Channel<'_, F>, CollectiveError>) {
        // Also a call that fails takes a number, as it does at the other ranks.
        let (tag, number) = match self.numbering {
            Numbering::Sequence => {
                let number = self.group.numbers.begin();
                (self.group.context.tag(Kind::Sequence, number), Some(number))
            }
            Numbering::Tag(tag) => (self.group.context.tag(Kind::Tagged, tag), None),
        };
        // Made first, so that the number ends in any case.
        let channel = Channel::new(self, tag, number, call);
        let result = match self.check() {
            Ok(()) => Ok(channel),
            Err(error) => channel.finish(Err(error)),
        };
        (tag, result)
    }

    /// Ends an operation at this rank, and throws away what came for it, or for earlier ones, and was not taken.
    fn close(&self, tag: u64, number: Option<u32>, has_failed: bool) {
        let Some(number) = number else {
            if has_failed {
                self.fabric().discard(self.epoch(), tag..=tag);
            }
            return;
        };
        if let Some(end) = self.group.numbers.end(number, has_failed) {
            let context = self.group.context;
            for numbers in tag::before(end) {
                let (first, last) = (*numbers.start(), *numbers.end());
                for kind in [Kind::Sequence, Kind::Stalled] {
                    let tags = context.tag(kind, first)..=context.tag(kind, last);
                    self.fabric().discard(self.epoch(), tags);
                }
            }
        }
    }

    /// Why nothing can be done any more, if that is so.
    fn check(&self) -> Result<(), CollectiveError> {
        let world = &self.group.world;
        if let Some(failed) = world.failed.get() {
            return Err(CollectiveError::PeerFailed {
                failed: failed.clone(),
            });
        }
        self.present().map(drop)
    }

    /// The fabric, as long as it is in the communicator's epoch: another task of this rank may have gone on.
    fn present(&self) -> Result<&F, CollectiveError> {
        let world = &self.group.world;
        let fabric = world.fabric.epoch();
        if fabric == world.epoch {
            return Ok(&world.fabric);
        }
        Err(match world.failed.get() {
            Some(failed) => CollectiveError::PeerFailed {
                failed: failed.clone(),
            },
            None => CollectiveError::StaleEpoch {
                communicator: world.epoch,
                fabric,
            },
        })
    }

    /// Under which tag ranks tell each other of an operation in sequence that has stalled.
    fn stalled_tag(&self, number: u32) -> u64 {
        self.group.context.tag(Kind::Stalled, number)
    }

    fn is_current(&self) -> bool {
        self.check().is_ok()
    }

    /// Remembers who has failed, and makes errors alike.
    fn note(&self, error: CollectiveError) -> CollectiveError {
        match error {
            CollectiveError::PeerFailed { failed } => CollectiveError::PeerFailed {
                failed: self.group.world.failed.get_or_init(|| failed).clone(),
            },
            CollectiveError::Fabric(FabricError::EpochEnded) => match self.present() {
                Ok(_) => error,
                Err(past) => past,
            },
            other => other,
        }
    }

    /// The number in the fabric of a rank that there is.
    fn peer(&self, rank: usize) -> usize {
        match &self.group.members {
            Some(members) => members[rank],
            None => rank,
        }
    }

    fn place(&self) -> Rank {
        self.group.place
    }

    fn pool(&self) -> &Pool {
        &self.group.world.pool
    }

    /// This rank's number in the fabric, in the communicator's epoch.
    fn whole_rank(&self) -> usize {
        self.peer(self.rank())
    }

    /// Whether a multicast reaches this communicator's ranks and no others.
    fn has_multicast(&self) -> bool {
        self.group.members.is_none() && self.fabric().has_multicast()
    }
}

impl<F: Fabric> Group<F> {
    fn new(
        world: Arc<World<F>>,
        (rank, size): (usize, usize),
        context: Context,
        members: Option<Vec<usize>>,
    ) -> Result<Self, CollectiveError> {
        let place = (|| {
            let size = Size::new(u32::try_from(size).ok().filter(|_| size <= tag::MAX_RANKS)?).ok()?;
            size.rank(u32::try_from(rank).ok()?).ok()
        })()
        .ok_or(CollectiveError::TooMany {
            what: "the number of ranks",
        })?;
        Ok(Group {
            world,
            place,
            context,
            members,
            numbers: Numbers::default(),
        })
    }
}

impl<F: Fabric> Clone for Communicator<F> {
    fn clone(&self) -> Self {
        Communicator {
            group: Arc::clone(&self.group),
            numbering: self.numbering,
        }
    }
}

impl<F: Fabric> fmt::Debug for Communicator<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Communicator")
            .field("place", &self.group.place)
            .field("epoch", &self.epoch())
            .finish_non_exhaustive()
    }
}
