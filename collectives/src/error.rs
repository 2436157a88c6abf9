//! What collective operations can fail with.

use thiserror::Error;

use crate::call::Call;
use crate::fabric::FabricError;

/// Why a collective or point-to-point operation did not succeed at this rank.
///
/// After any error the contents of slices that were to be filled or reduced are unspecified.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum CollectiveError {
    /// Ranks have died. Every pending and every later operation of this epoch ends with this same error at all
    /// survivors, in every communicator. Go on with
    /// [`Communicator::next_epoch`](crate::Communicator::next_epoch).
    #[error("ranks {failed:?} have failed")]
    PeerFailed {
        /// Their ranks *in the fabric*, of the epoch in which they failed, ascending; also in a communicator made by
        /// `split`.
        failed: Vec<usize>,
    },
    /// A rank that was needed has left in good order. All ranks that cannot finish the operation for that reason hear
    /// it. Operations in communicators without that rank are not disturbed;
    /// [`next_epoch`](crate::Communicator::next_epoch) gives one of all that remain.
    #[error("rank {rank} has left")]
    PeerLeft {
        /// Its rank *in the fabric*.
        rank: usize,
    },
    /// The fabric has gone on to another epoch; this communicator is of the past. Use the one that `next_epoch` gave.
    #[error("the communicator is of epoch {communicator}, the fabric is in epoch {fabric}")]
    StaleEpoch {
        /// The communicator's epoch.
        communicator: u64,
        /// The present one.
        fabric: u64,
    },
    /// The ranks called different things under the same number: another operation, element type, length, root,
    /// reduction, or algorithm (when their tuning differs). A mistake in the program; a retry does not help. The
    /// communicator stays usable when all ranks go on with the same next operation.
    #[error("rank {rank} called {there}, this rank {here}")]
    Mismatch {
        /// The rank that called something else.
        rank: usize,
        /// What this rank called.
        here: Box<Call>,
        /// What the other rank called.
        there: Box<Call>,
    },
    /// A message is not as long as this rank expects: the counts of a `v` operation, or the lengths of a
    /// point-to-point pair, do not match. A mistake in the program.
    #[error("rank {rank} sent {found} bytes where {expected} were expected")]
    Length {
        /// Who sent it.
        rank: usize,
        /// How many bytes were expected; for point-to-point receives, the most that fit.
        expected: usize,
        /// How many came.
        found: usize,
    },
    /// Another rank gave the operation up: its future was dropped, or its arguments were wrong.
    #[error("rank {rank} has given up the operation")]
    Abandoned {
        /// Who.
        rank: usize,
    },
    /// A slice or list that this rank passed has the wrong length. The other ranks are told
    /// ([`Abandoned`](CollectiveError::Abandoned)).
    #[error("{what} has length {found}, not {expected}")]
    Argument {
        /// Which argument.
        what: &'static str,
        /// The right length.
        expected: usize,
        /// The length it had.
        found: usize,
    },
    /// There is no such rank in the communicator. Nothing was sent.
    #[error("there is no rank {rank} in a communicator of {size}")]
    NoSuchRank {
        /// What was asked for.
        rank: usize,
        /// The communicator's size.
        size: usize,
    },
    /// The root passed no value to send.
    #[error("the root passed no value")]
    MissingValue,
    /// A value, or what all ranks' values are together, is longer than
    /// [`Tuning::max_value`](crate::Tuning::max_value).
    #[error("values of {len} bytes are above the limit of {limit}")]
    ValueTooLong {
        /// The length in bytes.
        len: u64,
        /// The limit in bytes.
        limit: usize,
    },
    /// A value could not be encoded; the other ranks are told.
    #[error("the value cannot be encoded")]
    Encode(#[source] postcard::Error),
    /// What a rank sent is not a value of the expected type.
    #[error("what rank {rank} sent is not the expected value")]
    Decode {
        /// Who sent it.
        rank: usize,
        /// What is wrong with it.
        #[source]
        source: postcard::Error,
    },
    /// The fabric has more ranks than a communicator can address (65,536), or too many communicators were split off in
    /// this epoch (16,382 for each rank).
    #[error("{what} exceeds what a communicator can address")]
    TooMany {
        /// What is too many.
        what: &'static str,
    },
    /// Another rank's [`Tuning`](crate::Tuning) or release differs, seen when the communicator was made.
    #[error("rank {rank} has another tuning or protocol version")]
    OtherTuning {
        /// Who.
        rank: usize,
    },
    /// This rank's end of the fabric is closed.
    #[error("the fabric is closed")]
    Closed,
    /// The fabric failed in another way; see its error.
    #[error(transparent)]
    Fabric(FabricError),
}

impl From<FabricError> for CollectiveError {
    fn from(error: FabricError) -> Self {
        match error {
            FabricError::PeerFailed { failed } => CollectiveError::PeerFailed { failed },
            FabricError::PeerLeft { rank } => CollectiveError::PeerLeft { rank },
            FabricError::Closed => CollectiveError::Closed,
            other => CollectiveError::Fabric(other),
        }
    }
}
