//! When a receiver asks for what it lacks, and what of it.

use std::time::{Duration, Instant};

/// When a receiver asks for what it lacks, and what of it.
///
/// A gap is asked for once, as soon as it is no mere reordering; and again if it is still there when the repair should
/// have come long ago, or when the sender wants to know. What was asked for does not keep what is missing further on
/// from being asked for, however much of it there is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asking {
    /// How long a gap may be mere reordering.
    guard: Duration,
    /// How long a repair takes, if nothing is known.
    patience: Duration,
    /// All that is missing below was asked for.
    asked: u64,
    /// Segments above that are missing.
    unasked: u64,
    /// Since when there has been one of them, and how many segments came after it.
    gap: Option<(Instant, u64)>,
    /// When the first of what is missing was asked for.
    asked_at: Option<Instant>,
    /// Whether the next report asks for everything.
    again: bool,
    /// How long it takes from asking to the first repair, smoothed.
    repair: Option<Duration>,
    /// Whether a repair has come since it was asked.
    repaired: bool,
}

impl Asking {
    /// Later segments that make a gap a loss at once.
    const REORDERED: u64 = 3;

    pub(super) fn new(guard: Duration, delay: Duration) -> Self {
        Asking {
            guard,
            patience: 4 * guard.max(delay),
            asked: 0,
            unasked: 0,
            gap: None,
            asked_at: None,
            again: false,
            repair: None,
            repaired: false,
        }
    }

    /// The next report asks for everything.
    pub(super) fn begin_again(&mut self) {
        self.again = true;
    }

    /// So many segments are known to be missing at the end, if any are.
    pub(super) fn note_gap(&mut self, now: Instant, missing: u64) {
        self.unasked += missing;
        if missing > 0 && self.gap.is_none() {
            self.gap = Some((now, 0));
        }
    }

    /// A segment has come.
    pub(super) fn note_arrival(&mut self) {
        if let Some((_, later)) = &mut self.gap {
            *later += 1;
        }
    }

    /// A segment has come that was missing.
    pub(super) fn note_filled(&mut self, now: Instant, number: u64) {
        if number >= self.asked {
            self.unasked = self.unasked.saturating_sub(1);
            if self.unasked == 0 {
                self.gap = None;
            }
        } else if let Some(at) = self.asked_at
            && !std::mem::replace(&mut self.repaired, true)
        {
            let sample = now.saturating_duration_since(at);
            self.repair = Some(self.repair.map_or(sample, |repair| (7 * repair + sample) / 8));
        }
    }

    /// Nothing is missing below `known`.
    pub(super) fn note_whole(&mut self, known: u64) {
        self.asked = known;
        self.unasked = 0;
        self.gap = None;
        self.asked_at = None;
    }

    /// After how long it is asked again.
    fn patience(&self) -> Duration {
        let repair = self.repair.unwrap_or(self.patience);
        (3 * repair).clamp(self.guard, self.patience)
    }

    /// When to ask next.
    pub(super) fn due(&self) -> Option<Instant> {
        let first = self.gap.map(|(since, later)| match later >= Self::REORDERED {
            true => since,
            false => since + self.guard,
        });
        let again = self.asked_at.map(|at| at + self.patience());
        first.into_iter().chain(again).min()
    }

    /// The first segment that is asked for now, if it is missing.
    pub(super) fn start(&mut self, now: Instant, next: u64) -> u64 {
        self.again |= self.asked_at.is_some_and(|at| now >= at + self.patience());
        if std::mem::take(&mut self.again) {
            self.asked_at = None;
            return next;
        }
        next.max(self.asked)
    }

    /// It was asked for everything below `end` that is missing; `unasked` segments are missing above.
    pub(super) fn note_asked(&mut self, now: Instant, end: u64, unasked: u64) {
        self.asked = end;
        self.unasked = unasked;
        // What there was no room for waits no longer.
        self.gap = (unasked > 0).then_some((now, Self::REORDERED));
        if self.asked_at.is_none() {
            self.asked_at = Some(now);
            self.repaired = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GUARD: Duration = Duration::from_millis(1);

    fn asking() -> (Instant, Asking) {
        (Instant::now(), Asking::new(GUARD, 2 * GUARD))
    }

    #[test]
    fn a_gap_is_asked_for_after_the_guard_or_three_more_segments_and_then_not_for_a_while() {
        let (now, mut asking) = asking();
        assert_eq!(asking.due(), None);
        asking.note_gap(now, 2);
        assert_eq!(asking.due(), Some(now + GUARD));
        for _ in 0..3 {
            asking.note_arrival();
        }
        assert_eq!(asking.due(), Some(now));
        assert_eq!(asking.start(now, 10), 10);
        asking.note_asked(now, 15, 0);
        assert_eq!(asking.due(), Some(now + 8 * GUARD), "nothing is known of repairs");
        assert_eq!(asking.start(now, 10), 15);
        assert_eq!(asking.start(now + 8 * GUARD, 10), 10, "it did not come");
    }

    #[test]
    fn it_learns_how_long_repairs_take() {
        let (now, mut asking) = asking();
        asking.note_gap(now, 2);
        asking.note_asked(now, 15, 0);
        asking.note_filled(now + GUARD, 11);
        assert_eq!(asking.due(), Some(now + 3 * GUARD));
        asking.note_whole(15);
        assert_eq!(asking.due(), None);
    }

    #[test]
    fn what_comes_by_itself_is_not_asked_for() {
        let (now, mut asking) = asking();
        asking.note_gap(now, 1);
        asking.note_filled(now, 7);
        assert_eq!(asking.due(), None);
    }
}
