//! This party's place in the job: one process at a time has it.
//!
//! The place is a record in the stream, which its holder writes again as a sign of life, each time on the condition that
//! nobody else has. A process that finds the record of another waits until no new one has come for as long as a party may
//! be silent; then it takes the place, and the other one, should it live, sees that it has lost it.

use std::time::{Duration, Instant};

use bytes::Bytes;

use super::record::{Claim, read, write};
use crate::federation::limits::Limits;
use crate::federation::name::PartyId;

#[derive(Debug)]
pub(super) struct Seat {
    claim: Claim,
    heartbeat: Duration,
    dead_after: Duration,
    stage: Stage,
    /// Whether this process has had the place before.
    had_place: bool,
    /// The place of the last record; 0 for none.
    last: u64,
    /// What is said has changed.
    is_news: bool,
    /// When to write or ask next; none while something is on its way.
    due: Option<Instant>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Stage {
    /// Whose place it is is not known.
    Asking,
    /// Another process has it, whose last sign came at that time.
    Waiting(Instant),
    Taking,
    Held,
    Lost,
}

/// What the seat wants done.
#[derive(Debug, PartialEq)]
pub(super) enum Step {
    /// Read the record.
    Look,
    /// Write it, if the last is at this place.
    Write { after: u64, record: Vec<u8> },
}

impl Seat {
    pub(super) fn new(claim: Claim, had_place: bool, limits: &Limits, now: Instant) -> Self {
        Seat {
            claim,
            heartbeat: limits.heartbeat,
            dead_after: limits.dead_after,
            stage: Stage::Asking,
            had_place,
            last: 0,
            is_news: false,
            due: Some(now),
        }
    }

    pub(super) fn is_held(&self) -> bool {
        self.stage == Stage::Held
    }

    pub(super) fn is_lost(&self) -> bool {
        self.stage == Stage::Lost
    }

    /// Whether another process has the place.
    pub(super) fn is_taken(&self) -> bool {
        matches!(self.stage, Stage::Waiting(_))
    }

    pub(super) fn due(&self) -> Option<Instant> {
        self.due
    }

    /// This party sees all others.
    pub(super) fn say_ready(&mut self, now: Instant) {
        if !std::mem::replace(&mut self.claim.is_ready, true) {
            self.news(now);
        }
    }

    /// This party ends in good order: where its last message is to each of the others.
    pub(super) fn say_left(&mut self, now: Instant, last: Vec<(PartyId, u64)>) {
        if self.claim.left.is_none() {
            self.claim.left = Some(last);
            self.news(now);
        }
    }

    fn news(&mut self, now: Instant) {
        self.is_news = true;
        if self.stage == Stage::Held && self.due.is_some() {
            self.due = Some(now);
        }
    }

    /// Whether all that was said is written.
    pub(super) fn is_told(&self) -> bool {
        self.is_held() && !self.is_news
    }

    pub(super) fn poll(&mut self, now: Instant) -> Option<Step> {
        if self.due.is_none_or(|due| now < due) {
            return None;
        }
        self.due = None;
        match self.stage {
            Stage::Asking | Stage::Waiting(_) => Some(Step::Look),
            Stage::Taking | Stage::Held => {
                self.is_news = false;
                Some(Step::Write {
                    after: self.last,
                    record: write(&self.claim),
                })
            }
            Stage::Lost => None,
        }
    }

    /// The record, as it was found.
    pub(super) fn found(&mut self, now: Instant, record: Option<(u64, Bytes)>) {
        let (seq, claim) = match record {
            Some((seq, payload)) => (seq, read::<Claim>(&payload).map(|(claim, _)| claim)),
            None => (0, None),
        };
        let is_ours = claim
            .as_ref()
            .is_some_and(|claim| claim.incarnation == self.claim.incarnation);
        let is_free = claim.as_ref().is_none_or(|claim| claim.left.is_some());
        self.stage = match self.stage {
            _ if is_ours => Stage::Taking,
            // Who comes after this one has taken its place, and may even have left.
            _ if self.had_place && claim.is_some() => Stage::Lost,
            _ if is_free => Stage::Taking,
            Stage::Waiting(since) if seq == self.last && now >= since + self.dead_after => Stage::Taking,
            Stage::Waiting(since) if seq == self.last => Stage::Waiting(since),
            _ => Stage::Waiting(now),
        };
        self.last = seq;
        self.due = match self.stage {
            Stage::Lost => None,
            Stage::Waiting(_) => Some(now + self.heartbeat),
            _ => Some(now),
        };
    }

    /// The record is written: the place is this one's.
    pub(super) fn written(&mut self, now: Instant, seq: u64) {
        self.stage = Stage::Held;
        self.had_place = true;
        self.last = seq;
        self.due = match (self.is_news, &self.claim.left) {
            (true, _) => Some(now),
            // Who has left gives no more signs of life.
            (false, Some(_)) => None,
            (false, None) => Some(now + self.heartbeat),
        };
    }

    /// Somebody else has written.
    pub(super) fn overtaken(&mut self, now: Instant) {
        self.is_news = true;
        if self.stage == Stage::Taking {
            self.stage = Stage::Asking;
        }
        self.due = Some(now);
    }

    /// It was not written, and may be later.
    pub(super) fn unwritten(&mut self, now: Instant) {
        self.is_news = true;
        self.due = Some(now + self.heartbeat);
    }
}
