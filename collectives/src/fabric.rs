//! What collectives need of the layer that carries their messages.

use std::io;
use std::ops::RangeInclusive;

use bytes::Bytes;
use futures_util::FutureExt;
use thiserror::Error;

/// Tagged messages between the ranks of one computation: what a [`Communicator`](crate::Communicator) runs over.
///
/// Ranks are `0..size` without gaps, and belong to an *epoch*. The ranks of an epoch never change: who fails or leaves
/// ends it, and [`next_epoch`](Fabric::next_epoch) begins another without them.
///
/// # What an implementation promises
/// - **Order.** Messages from one rank to another *with the same tag* arrive in the order in which their sends were
///   begun, each whole, each once. Messages with different tags may overtake each other; the wait for one tag never
///   depends on another's being received.
/// - **Early messages wait.** A message that nobody waits for yet is kept, or its sender waits; it is not lost.
/// - **Failure is told to all alike.** When a rank dies, every operation of that epoch at every survivor, pending or
///   begun later, ends with [`FabricError::PeerFailed`], and all survivors hear the same set. Of a rank that has left
///   in good order only those hear that send to it or wait for more from it ([`FabricError::PeerLeft`]).
/// - **Epochs do not mix.** A message sent in one epoch is never received in another.
///
/// All futures may be dropped at any moment; the fabric stays usable. Whether the message of a dropped send arrives is
/// open; in either case the messages after it do.
pub trait Fabric: Send + Sync + 'static {
    /// The number of this rank in the present epoch, below [`size`](Fabric::size).
    fn rank(&self) -> usize;

    /// How many ranks the present epoch has, at least one.
    fn size(&self) -> usize;

    /// The number of the present epoch. It grows. Asked before every message, so it should cost next to nothing.
    fn epoch(&self) -> u64;

    /// Sends `body` to rank `to`. Done when the fabric no longer needs the slice; the receiver may not have it yet.
    ///
    /// # Errors
    /// [`FabricError`]; whether the message arrives is open then.
    fn send(&self, to: usize, tag: u64, body: &[u8]) -> impl Future<Output = Result<(), FabricError>> + Send;

    /// Receives the next message with `tag` from rank `from` into the front of `into`, and returns its length in
    /// bytes.
    ///
    /// # Errors
    /// [`FabricError::Truncated`] when the message is longer than `into`: it waits still, and a receive with more room
    /// gets it. Other [`FabricError`]s take nothing either.
    fn recv(
        &self,
        from: usize,
        tag: u64,
        into: &mut [u8],
    ) -> impl Future<Output = Result<usize, FabricError>> + Send;

    /// Receives the next message with `tag` from rank `from`, of any length that the fabric permits.
    ///
    /// # Errors
    /// [`FabricError`]; nothing is taken.
    fn recv_bytes(&self, from: usize, tag: u64) -> impl Future<Output = Result<Bytes, FabricError>> + Send;

    /// Waits until all survivors have called this, and begins the next epoch, without those that failed or left and
    /// perhaps with new ones. [`rank`](Fabric::rank), [`size`](Fabric::size) and [`epoch`](Fabric::epoch) then answer
    /// for the new epoch.
    ///
    /// # Errors
    /// [`FabricError::Closed`], or another error that ends the fabric for this rank. The death of a further rank
    /// meanwhile is no error: the new epoch is without it.
    fn next_epoch(&self) -> impl Future<Output = Result<(), FabricError>> + Send;

    /// Whether [`multicast`](Fabric::multicast) reaches all others at about the cost of one send.
    fn has_multicast(&self) -> bool {
        false
    }

    /// Sends `body` to all other ranks at once; each receives it from this rank with `tag`, in order with other
    /// multicasts and sends of that tag.
    ///
    /// Never called where [`has_multicast`](Fabric::has_multicast) is false; the default sends to one after the other.
    ///
    /// # Errors
    /// As for [`send`](Fabric::send).
    fn multicast(&self, tag: u64, body: &[u8]) -> impl Future<Output = Result<(), FabricError>> + Send {
        async move {
            for to in (0..self.size()).filter(|to| *to != self.rank()) {
                self.send(to, tag, body).await?;
            }
            Ok(())
        }
    }

    /// Hands over a short notice (about 100 bytes) without waiting, as well as that can be done: it tells others that
    /// an operation was given up, and who does not hear of it may wait for ever. What cannot be sent at once is sent
    /// later, by a task of the fabric's own; only where too many wait already may it be dropped.
    ///
    /// The default begins a [`send`](Fabric::send) and drops it when it would wait: enough for a fabric in which sends
    /// of that length never do.
    fn post(&self, to: usize, tag: u64, notice: &[u8]) {
        let _ = self.send(to, tag, notice).now_or_never();
    }

    /// Ends when an operation that began to wait now has waited suspiciously long, say a second. Ranks in such operations
    /// then tell each other what they have called, and find out if they disagree where their messages have not shown it.
    ///
    /// The default never ends: ranks that disagree may wait for each other without an error then.
    fn stalled(&self) -> impl Future<Output = ()> + Send {
        std::future::pending()
    }

    /// Throws away the messages to this rank that have come in `epoch` with one of `tags` and wait to be received:
    /// nobody will ask for them. Does nothing when that is no longer the present epoch. Called now and then, and after
    /// each operation that failed, so that what is left over from those does not pile up.
    ///
    /// What comes with these tags later may be thrown away as it comes; otherwise a later call does it. A fabric in which
    /// it would keep other messages from arriving does the former. Numbers of operations (the lower half of a tag) begin
    /// anew after the highest, and then tags come again: what was said of ranges of tags with the same upper half holds
    /// until a range is given that overlaps them or begins before them; what was said of single tags holds for the epoch.
    ///
    /// The default keeps them.
    fn discard(&self, epoch: u64, tags: RangeInclusive<u64>) {
        let _ = (epoch, tags);
    }
}

/// Why a message was not sent or received.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum FabricError {
    /// Ranks of this epoch have died. Nothing more can be done in this epoch: go on with [`Fabric::next_epoch`].
    #[error("ranks {failed:?} have failed")]
    PeerFailed {
        /// Their ranks in this epoch, ascending; the same at all survivors.
        failed: Vec<usize>,
    },
    /// The other rank has left in good order. The epoch goes on without it.
    #[error("rank {rank} has left")]
    PeerLeft {
        /// Its rank in this epoch.
        rank: usize,
    },
    /// The epoch in which this was begun has ended meanwhile: another task of this rank has called
    /// [`Fabric::next_epoch`].
    #[error("the epoch has ended")]
    EpochEnded,
    /// The message is longer than the buffer. It waits still: a receive with more room gets it.
    #[error("a message of {len} bytes does not fit into {capacity}")]
    Truncated {
        /// The message's length in bytes.
        len: usize,
        /// The buffer's length in bytes.
        capacity: usize,
    },
    /// The message is longer than the fabric carries. Nothing was sent, the fabric stays usable.
    #[error("a message of {len} bytes is above the limit of {limit}")]
    TooLong {
        /// The message's length in bytes.
        len: usize,
        /// The fabric's limit in bytes.
        limit: usize,
    },
    /// This rank's end of the fabric is closed; no retry helps.
    #[error("the fabric is closed")]
    Closed,
    /// The operating system refused; see its error for whether a retry is sound.
    #[error("the fabric failed")]
    Io(#[from] io::Error),
}
