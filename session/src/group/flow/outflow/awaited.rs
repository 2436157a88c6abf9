//! Which receivers a sender waits for.

use std::time::{Duration, Instant};

use super::Outflow;
use crate::group::MemberId;
use crate::group::flow::receiver::{Place, Receiver};

impl Outflow {
    /// Below which segment so many receivers have everything as are waited for.
    pub(super) fn held(&self) -> u64 {
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

    /// Takes note of those who skipped and whom others have reached; or of all, if nobody else is there.
    fn count_skipped(&mut self) {
        let others = self
            .receivers
            .iter()
            .filter(|receiver| receiver.skipped_to.is_none());
        let reached = others
            .map(|receiver| receiver.place.next().unwrap_or_default())
            .max();
        for receiver in &mut self.receivers {
            let begins = !matches!(receiver.place, Place::After(_));
            if begins && receiver.skipped_to <= Some(reached.unwrap_or(u64::MAX)) {
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
        let limit = limit.unwrap_or(u64::MAX);
        // What is kept for those who are not waited for has a bound, too.
        let kept = self.stream.first_segment() + self.settings.skip.unwrap_or(2 * window);
        self.limit = limit.min(kept);
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
        let awaited = self.held();
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
