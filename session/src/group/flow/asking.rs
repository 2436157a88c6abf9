//! When a receiver asks for what it lacks, and what of it.

use std::time::{Duration, Instant};

use fastrand::Rng;

/// When a receiver asks for what it lacks, and what of it.
///
/// A gap is asked for once, as soon as it is no mere reordering; and again if it is still there when the repair should
/// have come long ago, or when the sender wants to know. What was asked for does not keep what is missing further on
/// from being asked for, however much of it there is.
///
/// Many receivers that lack the same do not all ask at once: each waits for a random while first (RFC 5401, section
/// 6.2.1), most of them longer than it takes until the first has asked and what all lack has come.
#[derive(Clone, Debug)]
pub(super) struct Asking {
    /// How long a gap may be mere reordering.
    guard: Duration,
    /// How long a repair takes, if nothing is known.
    patience: Duration,
    /// How many others may lack the same.
    group: usize,
    rng: Rng,
    /// All that is missing below was asked for.
    asked: u64,
    /// Segments above that are missing.
    unasked: u64,
    gap: Option<Gap>,
    /// When the first of what is missing was asked for.
    asked_at: Option<Instant>,
    /// How long it waits beyond its patience.
    pause: Duration,
    /// When everything is to be asked for, whatever was asked for.
    again: Option<Instant>,
    /// How long it takes from asking to the first repair, smoothed.
    repair: Option<Duration>,
    /// Whether a repair has come since it was asked.
    repaired: bool,
}

/// Segments are missing that were not asked for.
#[derive(Clone, Copy, Debug)]
struct Gap {
    since: Instant,
    /// Segments that have come since.
    later: u64,
    /// How long it waits for others to ask.
    pause: Duration,
}

impl Asking {
    /// Later segments that make a gap a loss at once.
    const REORDERED: u64 = 3;

    /// Others to be considered: if there are fewer, all ask at once.
    const MANY: usize = 8;
    /// The longest random while, whatever the round trip.
    const LONGEST_PAUSE: Duration = Duration::from_millis(50);

    pub(super) fn new(guard: Duration, delay: Duration, group: usize, seed: u64) -> Self {
        Asking {
            group,
            rng: Rng::with_seed(seed),
            pause: Duration::ZERO,
            guard,
            patience: 4 * guard.max(delay),
            asked: 0,
            unasked: 0,
            gap: None,
            asked_at: None,
            again: None,
            repair: None,
            repaired: false,
        }
    }

    /// Forgets what was missing: the flow goes on elsewhere.
    pub(super) fn restart(&mut self) {
        let rng = self.rng.clone();
        *self = Asking {
            patience: self.patience,
            repair: self.repair,
            rng,
            ..Asking::new(self.guard, self.guard, self.group, 0)
        };
    }

    /// So many others may lack the same.
    pub(super) fn set_group(&mut self, group: usize) {
        self.group = group;
    }

    /// The sender wants to know what is missing, of this receiver alone or of all.
    pub(super) fn begin_again(&mut self, now: Instant, alone: bool) {
        if !alone && self.group >= Self::MANY && self.gap.is_some() {
            // It waits to ask already: another draw would make the while shorter.
            return;
        }
        let pause = if alone { Duration::ZERO } else { self.draw_pause() };
        let at = now + pause;
        self.again = Some(self.again.map_or(at, |again| again.min(at)));
    }

    /// A random while, most often nearly the longest: the more others there are, the fewer are far ahead of the rest.
    fn draw_pause(&mut self) -> Duration {
        if self.group < Self::MANY {
            return Duration::ZERO;
        }
        let longest = (3 * self.repair.unwrap_or(self.guard)).max(self.guard);
        let longest = longest.min(Self::LONGEST_PAUSE);
        let lambda = (self.group as f64).ln() + 1.0;
        let share = (self.rng.f64() * lambda.exp_m1()).ln_1p() / lambda;
        longest.mul_f64(share.clamp(0.0, 1.0))
    }

    /// So many segments are known to be missing at the end, if any are.
    pub(super) fn note_gap(&mut self, now: Instant, missing: u64) {
        self.unasked += missing;
        if missing > 0 && self.gap.is_none() {
            self.gap = Some(Gap {
                since: now,
                later: 0,
                pause: self.draw_pause(),
            });
        }
    }

    /// A segment has come.
    pub(super) fn note_arrival(&mut self) {
        if let Some(gap) = &mut self.gap {
            gap.later += 1;
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
        self.again = None;
    }

    /// Below which segment all was asked for that is missing, if nothing is known of `known` and above.
    pub(super) fn told(&self, known: u64) -> u64 {
        if self.unasked == 0 { known } else { self.asked }
    }

    /// After how long it is asked again.
    fn patience(&self) -> Duration {
        let repair = self.repair.unwrap_or(self.patience);
        (3 * repair).clamp(self.guard, self.patience)
    }

    /// When to ask next.
    pub(super) fn due(&self) -> Option<Instant> {
        let first = self.gap.map(|gap| match gap.later >= Self::REORDERED {
            true => gap.since + gap.pause,
            false => gap.since + gap.pause.max(self.guard),
        });
        let repeat = self.asked_at.map(|at| at + self.patience() + self.pause);
        first.into_iter().chain(repeat).chain(self.again).min()
    }

    /// The first segment that is to be asked for, if it is missing.
    pub(super) fn start(&mut self, now: Instant, next: u64) -> u64 {
        let repeat = self.asked_at.map(|at| at + self.patience() + self.pause);
        if repeat.into_iter().chain(self.again).any(|at| now >= at) {
            self.again = None;
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
        self.gap = (unasked > 0).then_some(Gap {
            since: now,
            later: Self::REORDERED,
            pause: Duration::ZERO,
        });
        if self.asked_at.is_none() {
            self.asked_at = Some(now);
            self.repaired = false;
            self.pause = self.draw_pause();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GUARD: Duration = Duration::from_millis(1);

    fn asking() -> (Instant, Asking) {
        (Instant::now(), Asking::new(GUARD, 2 * GUARD, 3, 0))
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
    fn of_many_few_ask_long_before_the_others() {
        let (now, longest) = (Instant::now(), 3 * GUARD);
        let mut pauses: Vec<Duration> = (0..1000)
            .map(|seed| {
                let mut asking = Asking::new(GUARD, GUARD, 1000, seed);
                asking.note_gap(now, 1);
                (0..3).for_each(|_| asking.note_arrival());
                asking.due().expect("a gap") - now
            })
            .collect();
        pauses.sort_unstable();
        assert!(
            pauses[0] < longest / 2 && pauses[999] <= longest,
            "{:?}",
            pauses[0]
        );
        let early = pauses.partition_point(|pause| *pause < pauses[0] + longest / 5);
        assert!(early < 30, "{early} ask before the first repair comes");
    }

    #[test]
    fn what_comes_by_itself_is_not_asked_for() {
        let (now, mut asking) = asking();
        asking.note_gap(now, 1);
        asking.note_filled(now, 7);
        assert_eq!(asking.due(), None);
    }
}
