//! What a message server holds, and what has passed through it.

use std::collections::BTreeMap;

use crate::federation::name::{JobId, PartyId};

/// What a message server holds, and what has passed through it since it started.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct RelayStats {
    /// By job.
    pub jobs: BTreeMap<JobId, JobStats>,
    /// The bytes of messages that are kept, with 128 bytes for each piece.
    pub held_bytes: u64,
    /// What parties were told that they may send, and have not sent yet.
    pub granted_bytes: u64,
    /// The bytes of messages that are in memory.
    pub memory_bytes: u64,
    /// How much may be kept and granted altogether.
    pub limit_bytes: u64,
    /// How many senders wait for room.
    pub waiting: u64,
    /// Packets that cannot be read.
    pub unreadable: u64,
    /// Packets of processes that have no place here.
    pub foreign: u64,
    /// Refusals that were sent.
    pub refused: u64,
    /// Packets of a connection that had proved to be somebody else.
    pub forged: u64,
}

/// One job at a message server.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct JobStats {
    /// By party.
    pub parties: BTreeMap<PartyId, PartyStats>,
    /// Whether it was aborted.
    pub is_aborted: bool,
}

/// One party of a job at a message server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct PartyStats {
    /// Whether it is there.
    pub is_present: bool,
    /// Channels from it to others.
    pub flows: u64,
    /// Messages from it that have come.
    pub received: u64,
    /// Their bytes.
    pub received_bytes: u64,
    /// Messages from it that have come to their end.
    pub settled: u64,
    /// How many of these had waited too long.
    pub expired: u64,
    /// Messages from it that are kept.
    pub held: u64,
    /// Their bytes, with 128 bytes for each piece.
    pub held_bytes: u64,
    /// What it was told that it may send, and has not sent yet.
    pub granted_bytes: u64,
    /// Messages from it that came twice.
    pub duplicates: u64,
    /// Items from it that were not as agreed.
    pub wrong: u64,
    /// Packets to it that were sent again.
    pub resent: u64,
}
