//! What a store of messages does, and what it keeps.

use bytes::Bytes;

use crate::federation::core::{FlowKey, Tag};
use crate::federation::name::{JobId, PartyId};

/// The number of a flow: one direction of a channel between two parties of a job. None is ever used twice.
pub(crate) type FlowId = u64;

/// A piece of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct PieceId {
    pub(crate) flow: FlowId,
    pub(crate) offset: u64,
    /// Where in the message it begins.
    pub(crate) at: u64,
}

/// What the core wants from the store's thread. Requests are done in their order.
#[derive(Debug, PartialEq)]
pub(crate) enum Request {
    /// [`Relay::handle_committed`](super::Relay::handle_committed) is told when it is durable.
    Commit { batch: u64, ops: Vec<Op> },
    /// [`Relay::handle_loaded`](super::Relay::handle_loaded) gets the content.
    Load(PieceId),
}

/// One change of what is kept.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Op {
    /// Keep this, or this instead of what has its key (said at each kind).
    Keep(Record),
    /// A piece, by its id, and what it holds.
    Piece { id: PieceId, content: Vec<Bytes> },
    /// A job is forgotten with all that belongs to it: its parties, flows, messages and pieces.
    JobGone { job: JobId },
    /// A message has its end: it goes with its pieces.
    Settled {
        flow: FlowId,
        offset: u64,
        expired: bool,
    },
    /// A message of which only a part has come goes with its pieces. It may come anew.
    Dropped { flow: FlowId, offset: u64 },
}

/// Something that is kept.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Record {
    /// By its id.
    Job {
        job: JobId,
        members: Vec<PartyId>,
        /// By whom it was aborted, and why.
        aborted: Option<(PartyId, String)>,
    },
    /// What one party has said to another. By its job, `from` and `to`.
    Pair {
        job: JobId,
        from: PartyId,
        to: PartyId,
        /// It has seen all.
        ready: bool,
        /// It has sent all.
        left: bool,
    },
    /// By its id. The flows of a job are found by `job` when it is forgotten.
    Flow {
        id: FlowId,
        job: JobId,
        from: PartyId,
        to: PartyId,
        key: FlowKey,
        /// The numbering that offsets are of.
        epoch: u64,
        /// The numbering that its sender has, and what is added to its offsets, wrapping.
        source: (u64, u64),
    },
    /// No message with an offset below `next` comes any more. By its flow.
    Next { flow: FlowId, next: u64 },
    /// A message, written with its first piece, or without parts the mark of one that has no content any more. By flow and
    /// offset.
    Message {
        flow: FlowId,
        offset: u64,
        tag: Option<Tag>,
        codec: u8,
        /// The lengths of its parts.
        parts: Vec<u64>,
        /// When its sender's time for it is over, in milliseconds since 1970.
        expires_unix_ms: Option<u64>,
    },
    /// A piece that is kept, and its length in bytes: shown in order when the server starts, never given to be kept.
    Piece { id: PieceId, len: u64 },
}
