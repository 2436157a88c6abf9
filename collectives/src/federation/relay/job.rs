//! A job, and its parties as they come and go.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use super::Way;
use super::quota::ScopeId;
use crate::federation::name::{JobId, PartyId};

/// How many incarnations that had to go are remembered.
const MAX_RETIRED: usize = 8;

#[derive(Debug)]
pub(super) struct Job {
    pub(super) id: JobId,
    /// The server's incarnation in this job: a job that was forgotten and begins again has another, so that nobody goes on
    /// where its halves were.
    pub(super) incarnation: u64,
    /// Sorted.
    pub(super) members: Vec<PartyId>,
    /// As `members`.
    pub(super) parties: Vec<Party>,
    /// By the party that a half speaks with, and the one whose place it takes, as numbers of members.
    pub(super) halves: BTreeMap<(usize, usize), usize>,
    pub(super) scope: ScopeId,
    /// By whom and why.
    pub(super) aborted: Option<(PartyId, String)>,
    /// When a party was last heard, or the job was aborted.
    pub(super) touched: Instant,
    pub(super) armed: Option<Instant>,
}

/// One party, over all its halves.
#[derive(Debug, Default)]
pub(super) struct Party {
    incarnation: Option<u64>,
    retired: VecDeque<u64>,
    heard: Option<Instant>,
    way: Option<Way>,
    /// Whether it counts among those that take part in the job.
    pub(super) has_joined: bool,
    /// How many of its halves hear it.
    pub(super) present: usize,
    /// Its process has said to one of its halves that it leaves.
    pub(super) has_left: bool,
}

/// What may be said of the process that a packet is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Process {
    /// It is the party, since before.
    Known,
    /// It may take the party's place.
    New,
    /// Another one is the party, and alive.
    Second,
    /// Another one has taken its place.
    Superseded,
}

impl Job {
    pub(super) fn new(
        id: JobId,
        incarnation: u64,
        members: Vec<PartyId>,
        scope: ScopeId,
        now: Instant,
    ) -> Self {
        let parties = members.iter().map(|_| Party::default()).collect();
        Job {
            id,
            incarnation,
            members,
            parties,
            halves: BTreeMap::new(),
            scope,
            aborted: None,
            touched: now,
            armed: None,
        }
    }

    pub(super) fn member(&self, party: &PartyId) -> Option<usize> {
        self.members.binary_search(party).ok()
    }
}

impl Party {
    pub(super) fn judge(&self, now: Instant, incarnation: u64, dead_after: Duration) -> Process {
        if self.incarnation == Some(incarnation) {
            return Process::Known;
        }
        if self.retired.contains(&incarnation) {
            return Process::Superseded;
        }
        let is_alive = self.heard.is_some_and(|heard| now < heard + dead_after);
        if is_alive {
            return Process::Second;
        }
        Process::New
    }

    pub(super) fn incarnation(&self) -> Option<u64> {
        self.incarnation
    }

    /// Another process is the party from now on.
    pub(super) fn begin(&mut self, incarnation: u64) {
        self.has_left = false;
        if let Some(old) = self.incarnation.replace(incarnation) {
            if self.retired.len() == MAX_RETIRED {
                self.retired.pop_front();
            }
            self.retired.push_back(old);
        }
    }

    pub(super) fn heard(&mut self, now: Instant, way: Way) {
        self.heard = Some(now);
        self.way = Some(way);
    }

    /// A connection is gone. If it was the one on which the party was last heard, another process may take its place.
    pub(super) fn lost(&mut self, way: Way) {
        if self.way == Some(way) {
            self.heard = None;
        }
    }
}
