//! A member's side of a barrier: says that it has come until it hears how the round ended.

use std::time::{Duration, Instant};

use super::Outcome;

/// Says that a member has come until it hears how the round ended.
#[derive(Debug)]
pub(crate) struct Seat {
    /// The round that comes next.
    round: u64,
    /// Since when it waits, and when it says so next.
    waiting: Option<Waiting>,
    outcome: Option<Outcome>,
    /// The time from coming to the end of a round, smoothed: before that it makes no sense to ask.
    usual: Duration,
}

#[derive(Clone, Copy, Debug)]
struct Waiting {
    since: Instant,
    next: Instant,
    pause: Duration,
}

impl Seat {
    /// Pauses between saying again that it has come, the shortest (tokio's clock ticks in milliseconds) and longest.
    const SHORTEST: Duration = Duration::from_millis(1);
    const LONGEST: Duration = Duration::from_millis(100);

    /// A member whose first round is `round`.
    pub(crate) fn new(round: u64) -> Self {
        Seat {
            round,
            waiting: None,
            outcome: None,
            usual: Duration::ZERO,
        }
    }

    /// Comes to the next round. While one is still waited for, this changes nothing.
    pub(crate) fn arrive(&mut self, now: Instant) {
        if self.waiting.is_none() && self.outcome.is_none() {
            self.waiting = Some(Waiting {
                since: now,
                next: now,
                pause: (2 * self.usual).clamp(Self::SHORTEST, Self::LONGEST),
            });
        }
    }

    /// The round to say that it has come to, if it is time to say so.
    pub(crate) fn poll_arrive(&mut self, now: Instant) -> Option<u64> {
        let waiting = self.waiting.as_mut().filter(|waiting| waiting.next <= now)?;
        waiting.next = now + waiting.pause;
        waiting.pause = (2 * waiting.pause).min(Self::LONGEST);
        Some(self.round)
    }

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.waiting.map(|waiting| waiting.next)
    }

    /// The coordinator says how `round` ended.
    pub(crate) fn handle_outcome(&mut self, now: Instant, round: u64, outcome: Outcome) {
        if round != self.round {
            return;
        }
        let Some(waiting) = self.waiting.take() else {
            return;
        };
        let took = now.saturating_duration_since(waiting.since);
        self.usual = (7 * self.usual + took) / 8;
        self.round += 1;
        self.outcome = Some(outcome);
    }

    /// How the round ended that was waited for, once.
    pub(crate) fn take_outcome(&mut self) -> Option<Outcome> {
        self.outcome.take()
    }
}
