//! What a relay keeps, and what it asks of who keeps it.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::federation::core::{FlowKey, Tag};
use crate::federation::name::{JobId, PartyId};

/// A flow of a relay; never used twice.
pub(crate) type FlowId = u64;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct PieceId {
    pub(crate) flow: FlowId,
    pub(crate) offset: u64,
    pub(crate) at: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum JobState {
    Open,
    Aborted { by: PartyId, reason: String },
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Op {
    Job {
        job: JobId,
        members: Vec<PartyId>,
        state: JobState,
    },
    JobGone {
        job: JobId,
    },
    Party {
        job: JobId,
        party: PartyId,
        ready: bool,
        left: bool,
    },
    Flow {
        id: FlowId,
        job: JobId,
        from: PartyId,
        to: PartyId,
        key: FlowKey,
        epoch: u64,
        next: u64,
    },
    Message {
        flow: FlowId,
        offset: u64,
        tag: Option<Tag>,
        codec: u8,
        parts: Vec<u64>,
        expires_unix_ms: Option<u64>,
    },
    Piece {
        id: PieceId,
        content: Vec<Bytes>,
    },
    Settled {
        flow: FlowId,
        offset: u64,
        expired: bool,
    },
    Dropped {
        flow: FlowId,
        offset: u64,
    },
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Record {
    Job {
        job: JobId,
        members: Vec<PartyId>,
        state: JobState,
    },
    Party {
        job: JobId,
        party: PartyId,
        ready: bool,
        left: bool,
    },
    Flow {
        id: FlowId,
        job: JobId,
        from: PartyId,
        to: PartyId,
        key: FlowKey,
        epoch: u64,
        next: u64,
    },
    Message {
        flow: FlowId,
        offset: u64,
        tag: Option<Tag>,
        codec: u8,
        parts: Vec<u64>,
        expires_unix_ms: Option<u64>,
    },
    Piece {
        id: PieceId,
        len: u64,
    },
}
