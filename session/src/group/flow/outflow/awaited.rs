//! Which receivers a sender waits for.

use std::time::{Duration, Instant};

use super::Outflow;
use crate::group::MemberId;
use crate::group::flow::receiver::{Place, Receiver};

impl Outflow {
    /// Below which segment so many receivers have everything as are waited for.
    pub(crate) fn held(&self) -> u64 {
        self.least_awaited(|receiver| receiver.place.next())
            .unwrap_or_else(|| self.stream.next_segment())
    }

    /// How many segments each of those has who are waited for, gaps left out.
    pub(super) fn delivered(&self) -> u64 {
        self.least_awaited(Receiver::delivered)
            .unwrap_or_else(|| self.stream.next_segment())
    }

    /// The least of those that are waited for: of all, or of the quorum with the highest.
    fn least_awaited(&self, value: impl Fn(&Receiver) -> Option<u64>) -> Option<u64> {
        let values = self
            .receivers
            .iter()
            .filter(|receiver| receiver.skipped_to.is_none())
            .filter_map(value);
        match self.settings.quorum {
            None => values.min(),
            Some(quorum) => {
                let mut values: Vec<_> = values.collect();
                values.sort_unstable_by_key(|value| std::cmp::Reverse(*value));
                values.truncate(quorum.max(1));
                values.pop()
            }
        }
    }

    /// Whether all those that are waited for have what they take and take nothing more, and others are there, who skipped
    /// and might.
    fn is_stuck(&self) -> bool {
        let next = self.stream.next_segment();
        let takes_no_more = |receiver: &Receiver| {
            let has_all = receiver.delivered().is_some_and(|delivered| delivered >= next);
            // Who has all, but confirms less, has no memory for what follows.
            let is_full = receiver.place.next().is_some_and(|at| at < next);
            has_all && (is_full || receiver.place.edge() <= next)
        };
        let mut has_skipped = false;
        self.receivers.iter().all(|receiver| {
            let skipped = receiver.skipped_to.is_some();
            has_skipped |= skipped;
            skipped || takes_no_more(receiver)
        }) && has_skipped
    }

    /// Takes note of those who skipped and have reached others; or of all, if nobody else is there who takes anything.
    fn count_skipped(&mut self) {
        let is_stuck = self.is_stuck();
        let others = self
            .receivers
            .iter()
            .filter(|receiver| receiver.skipped_to.is_none());
        let reached = others
            .map(|receiver| receiver.place.next().unwrap_or_default())
            .max();
        for receiver in &mut self.receivers {
            let begins = !matches!(receiver.place, Place::After(_));
            if begins && (is_stuck || receiver.skipped_to <= Some(reached.unwrap_or(u64::MAX))) {
                receiver.skipped_to = None;
            }
        }
    }

    pub(super) fn update_limit(&mut self) {
        let window = self.settings.window;
        let paced = window.min(self.pace.window());
        self.count_skipped();
        let limit = self.least_awaited(|receiver| {
            let next = receiver.place.next()?;
            Some(
                (receiver.delivered()? + paced)
                    .min(next + window)
                    .min(receiver.place.edge()),
            )
        });
        // Whoever skipped begins with the next record, which has to be sent for that.
        let limit = limit.filter(|_| !self.is_stuck()).unwrap_or(u64::MAX);
        // What is kept for those who are not waited for has a bound, too.
        let kept = self.stream.first_segment() + self.settings.skip.unwrap_or(2 * window);
        self.limit = limit.min(kept);
    }

    /// Whether there is room because those who were waited for take nothing more, and others may go on.
    pub(super) fn goes_past_stuck(&mut self) -> bool {
        let skips = self.settings.skip.is_some();
        if skips {
            self.update_limit();
        }
        skips && self.stream.next_segment() < self.limit
    }

    /// Lets those who lag too far begin again where the next record does; true if that makes room.
    pub(super) fn skip_laggards(&mut self, now: Instant) -> bool {
        let next = self.stream.next_segment();
        let Some(lag) = self.settings.skip else {
            return false;
        };
        if next < self.stream.first_segment() + lag {
            return false;
        }
        let awaited = if self.is_stuck() { next } else { self.held() };
        let place = self.new_place();
        let mut skipped = Vec::new();
        for receiver in &mut self.receivers {
            if let Some(at) = receiver.place.next()
                // Who sets the pace never skips.
                && at < awaited
                && next > at + lag / 2
            {
                skipped.push((receiver.id, at));
                receiver.place = place;
                receiver.skipped_to = Some(next);
            }
        }
        // It gets all that was not begun to be sent.
        let end = self.stream.first_uncut().unwrap_or(self.next_number);
        for (id, at) in skipped {
            let first = self.stream.oldest_from(at);
            self.note_missed(id, first, end);
        }
        self.release(now);
        next < self.limit
    }

    /// Takes note of who keeps the window from moving.
    pub(super) fn note_blocked(&mut self, now: Instant) {
        let next = self.stream.next_segment();
        let base = self.held();
        let window = self.settings.window;
        for receiver in &mut self.receivers {
            let blocks = receiver.place.edge() <= next
                || receiver
                    .place
                    .next()
                    .is_some_and(|at| at <= base && next >= at + window);
            if blocks {
                receiver.blocks_since.get_or_insert(now);
            } else {
                receiver.blocks_since = None;
            }
        }
    }

    /// Forgets since when anybody has kept the window from moving.
    pub(crate) fn forgive(&mut self) {
        for receiver in &mut self.receivers {
            receiver.blocks_since = None;
        }
    }

    /// Who has kept the window from moving for at least `limit`.
    pub(crate) fn blockers(&self, now: Instant, limit: Duration) -> impl Iterator<Item = MemberId> {
        self.receivers
            .iter()
            .filter(move |receiver| receiver.blocks_since.is_some_and(|since| now >= since + limit))
            .map(|receiver| receiver.id)
    }

    /// As much waits to be delivered as may wait: takes note of those who are furthest behind.
    pub(crate) fn note_full(&mut self, now: Instant) {
        let next = self.stream.next_segment();
        let least = self.held();
        for receiver in &mut self.receivers {
            if receiver.place.next().is_some_and(|at| at <= least && at < next) {
                receiver.blocks_since.get_or_insert(now);
            }
        }
    }
}
