//! The coordinator's side of a barrier: counts who has come.

use std::collections::{BTreeMap, VecDeque};

use super::Outcome;
use crate::group::MemberId;

/// Counts who has come, and decides how each round ends.
#[derive(Debug)]
pub(crate) struct Hub {
    round: u64,
    seats: BTreeMap<MemberId, Place>,
    /// Seats that the round still waits for.
    awaited: usize,
    /// Seats that take part in the round and have come.
    arrived: usize,
    /// How the last rounds ended: who has not heard it yet asks again.
    outcomes: VecDeque<(u64, Outcome)>,
    signals: VecDeque<Signal>,
    /// Because of whom no round is complete any more.
    given_up: Option<MemberId>,
}

#[derive(Clone, Copy, Debug)]
struct Place {
    /// The first round it takes part in.
    first: u64,
    arrived: bool,
}

/// What is to be said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Signal {
    /// To whom; all, if `None`.
    pub(crate) to: Option<MemberId>,
    pub(crate) round: u64,
    pub(crate) outcome: Outcome,
}

impl Hub {
    /// A member is at most one round behind: it comes to the next only when it knows how the last one ended. One more
    /// for packets that come late.
    const OUTCOMES: usize = 2;

    pub(crate) fn new() -> Self {
        Hub {
            round: 1,
            seats: BTreeMap::new(),
            awaited: 0,
            arrived: 0,
            outcomes: VecDeque::new(),
            signals: VecDeque::new(),
            given_up: None,
        }
    }

    /// A barrier whose first round is `first`.
    pub(crate) fn beginning_with(first: u64) -> Self {
        Hub {
            round: first,
            ..Hub::new()
        }
    }

    /// The first round of another barrier of the same number: so far from those of this one that nobody can take one for
    /// the other. `None` once all numbers are used up.
    pub(crate) fn beyond(&self) -> Option<u64> {
        const APART: u64 = 1 << 32;
        (self.round / APART + 2).checked_mul(APART)
    }

    /// Whether `member` takes part.
    pub(crate) fn is_seated(&self, member: MemberId) -> bool {
        self.seats.contains_key(&member)
    }

    /// Lets `member` take part: at once while nobody waits, or while the coordinator takes part itself and has not come;
    /// otherwise from the next round on, so that those who wait need not wait for it. Returns its first round.
    pub(crate) fn add(&mut self, member: MemberId) -> u64 {
        if let Some(place) = self.seats.get(&member) {
            return place.first;
        }
        let host = self.seats.get(&MemberId::COORDINATOR);
        let is_open = self.arrived == 0 || host.is_some_and(|host| !host.arrived);
        let first = self.round + u64::from(!is_open);
        self.awaited += usize::from(first == self.round);
        self.seats.insert(
            member,
            Place {
                first,
                arrived: false,
            },
        );
        first
    }

    /// `member` has come to `round`.
    pub(crate) fn handle_arrive(&mut self, member: MemberId, round: u64) {
        let Some(place) = self.seats.get_mut(&member) else {
            return;
        };
        if round < self.round {
            let outcome = self.outcomes.iter().find(|(ended, _)| *ended == round);
            self.signals.extend(outcome.map(|(_, outcome)| Signal {
                to: Some(member),
                round,
                outcome: outcome.clone(),
            }));
            return;
        }
        // It may come early to the first round that it takes part in, but nobody to a later one.
        if round > self.round.max(place.first) || round < place.first || place.arrived {
            return;
        }
        place.arrived = true;
        if round == self.round {
            self.awaited -= 1;
            self.arrived += 1;
            self.release_if_complete();
        }
    }

    /// `member` is gone: of its own will, or lost. Those who wait for a lost one are told.
    pub(crate) fn remove(&mut self, member: MemberId, lost: bool) {
        let Some(place) = self.seats.remove(&member) else {
            return;
        };
        if place.first <= self.round {
            let count = if place.arrived {
                &mut self.arrived
            } else {
                &mut self.awaited
            };
            *count -= 1;
        }
        if lost && place.first <= self.round && !place.arrived && self.arrived > 0 {
            self.end(Outcome::Aborted(vec![member]));
        } else if self.awaited + self.arrived == 0 && !self.seats.is_empty() {
            // All who are left begin with the next round.
            self.begin_round();
        } else {
            self.release_if_complete();
        }
    }

    fn release_if_complete(&mut self) {
        if let Some(member) = self.given_up {
            if self.arrived > 0 {
                self.end(Outcome::Aborted(vec![member]));
            }
        } else if self.awaited == 0 && self.arrived > 0 {
            self.end(Outcome::Released);
        }
    }

    fn end(&mut self, outcome: Outcome) {
        let round = self.round;
        self.signals.push_back(Signal {
            to: None,
            round,
            outcome: outcome.clone(),
        });
        if self.outcomes.len() == Self::OUTCOMES {
            self.outcomes.pop_front();
        }
        self.outcomes.push_back((round, outcome));
        self.begin_round();
    }

    fn begin_round(&mut self) {
        self.round += 1;
        (self.awaited, self.arrived) = (0, 0);
        for place in self.seats.values_mut() {
            if place.first == self.round && place.arrived {
                // It has been waiting since before its first round began.
                self.arrived += 1;
                continue;
            }
            place.arrived = false;
            self.awaited += usize::from(place.first <= self.round);
        }
        self.release_if_complete();
    }

    /// No round is complete any more, because of `member`: those who wait are told, and those who come. How the last
    /// rounds ended is still said to who has not heard it.
    pub(crate) fn give_up(&mut self, member: MemberId) {
        self.given_up = Some(member);
        self.release_if_complete();
    }

    /// Who takes part.
    pub(crate) fn seats(&self) -> impl Iterator<Item = MemberId> {
        self.seats.keys().copied()
    }

    /// How the last round ended, if one has.
    pub(crate) fn last(&self) -> Option<(u64, Outcome)> {
        self.outcomes.back().cloned()
    }

    /// What is to be said next.
    pub(crate) fn poll_signal(&mut self) -> Option<Signal> {
        self.signals.pop_front()
    }

    /// The round that has not ended yet.
    #[cfg(test)]
    pub(crate) fn round(&self) -> u64 {
        self.round
    }
}
