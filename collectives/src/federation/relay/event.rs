//! What a message server has to tell its operator.

use crate::federation::core::Refusal;
use crate::federation::name::{ChannelName, JobId, PartyId};

/// Something that an operator may want to read of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum RelayEvent {
    /// A process has taken its place in a job.
    Joined { job: JobId, party: PartyId },
    /// Nothing is heard of it any more.
    Lost { job: JobId, party: PartyId },
    /// It has ended in good order.
    Left { job: JobId, party: PartyId },
    /// Somebody was refused.
    Refused {
        job: JobId,
        party: PartyId,
        refusal: Refusal,
    },
    /// A connection of one identity has said to speak for another party.
    Forged {
        job: JobId,
        party: PartyId,
        identity: String,
    },
    /// A party of a job has ended it.
    Aborted { job: JobId, by: PartyId, reason: String },
    /// The first party of a job has come.
    Begun { job: JobId },
    /// A job is forgotten.
    Forgotten { job: JobId },
    /// A party waits for room.
    Full {
        job: JobId,
        party: PartyId,
        quota: QuotaKind,
    },
    /// A party has as many channels to another as the one that is sent to takes, which are so many; one more is not opened.
    Declined { job: JobId, party: PartyId, limit: u32 },
    /// Messages have waited too long.
    Expired {
        job: JobId,
        from: PartyId,
        to: PartyId,
        channel: ChannelName,
        count: u64,
    },
    /// A party does not keep to the protocol.
    Wrong {
        job: JobId,
        party: PartyId,
        what: &'static str,
    },
}

/// Which bound has no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum QuotaKind {
    /// The server's own.
    Server,
    /// That of a job.
    Job,
    /// That of a party, in all its jobs.
    Party,
    /// That of messages from one party to another.
    Pair,
}
