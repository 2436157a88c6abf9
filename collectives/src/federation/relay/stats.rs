//! What a message server holds, and what has passed through it.

use std::collections::BTreeMap;

use super::relay::Relay;
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

impl Relay {
    /// What the server holds, and what has passed through it. It walks over all that there is.
    pub(crate) fn stats(&self) -> RelayStats {
        let (used, granted) = self.quota.used(self.scope);
        let mut stats = RelayStats {
            jobs: BTreeMap::new(),
            held_bytes: used - granted.min(used),
            granted_bytes: granted,
            memory_bytes: self.ledger.memory,
            limit_bytes: self.limits.total(self.ledger.is_durable()),
            waiting: self.quota.waiting(),
            unreadable: self.counts.unreadable,
            foreign: self.counts.foreign,
            refused: self.counts.refused,
            forged: self.counts.forged,
        };
        for (id, index) in &self.job_ids {
            let job = &self.jobs[*index];
            let parties = job.members.iter().map(|id| (id.clone(), PartyStats::default()));
            let mut of_job = JobStats {
                parties: parties.collect(),
                is_aborted: job.aborted.is_some(),
            };
            for half in job.halves.values().map(|half| &self.halves[*half]) {
                let Some(party) = of_job.parties.get_mut(&half.party) else {
                    continue;
                };
                party.is_present |= half.is_party_present() && !half.has_left;
                party.held_bytes += half.account.held;
                party.granted_bytes += half.account.left();
                party.wrong += half.wrong;
                party.resent += half.link.resent;
                for flow in half.sources.values().map(|flow| &self.flows[*flow]) {
                    let counts = &flow.counts;
                    party.flows += 1;
                    party.received += counts.received;
                    party.received_bytes += counts.received_bytes;
                    party.settled += counts.settled;
                    party.expired += counts.expired;
                    party.held += flow.entries.len() as u64;
                    party.duplicates += counts.duplicates;
                }
            }
            stats.jobs.insert(id.clone(), of_job);
        }
        stats
    }
}
