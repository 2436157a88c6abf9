//! Time as far as this process was there to see it.

use std::time::{Duration, Instant};

/// Time as far as this process was there to see it.
///
/// A process that was stopped, or a machine that slept, finds that everybody has been silent for a long time: because
/// nobody was there to listen. So a step of time that is longer than what lies between two looks counts as that much
/// only, and others get the time to be heard.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Attention {
    /// When somebody last looked.
    last: Instant,
    /// The time that was attended until then.
    attended: Duration,
    /// The longest time between two looks that still counts in full.
    step: Duration,
}

impl Attention {
    pub(crate) fn new(now: Instant, step: Duration) -> Self {
        Attention {
            last: now,
            attended: Duration::ZERO,
            step,
        }
    }

    /// Looks: the attended time until `now`.
    pub(crate) fn look(&mut self, now: Instant) -> Duration {
        let passed = now.saturating_duration_since(self.last);
        self.last = self.last.max(now);
        self.attended += passed.min(self.step);
        self.attended
    }

    /// When the attended time reaches `at`, if somebody looks often enough: the next look is due no later than that,
    /// nor later than a step from the last one.
    pub(crate) fn instant(&self, at: Duration) -> Instant {
        self.last + at.saturating_sub(self.attended).min(self.step)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_that_nobody_saw_does_not_count() {
        let start = Instant::now();
        let step = Duration::from_secs(1);
        let mut attention = Attention::new(start, step);
        assert_eq!(attention.look(start + step / 2), step / 2);
        assert_eq!(attention.look(start + 100 * step), step / 2 + step);
        // A clock that goes back changes nothing.
        assert_eq!(attention.look(start), step / 2 + step);
        assert_eq!(attention.look(start + 100 * step), step / 2 + step);
        assert_eq!(attention.instant(2 * step), start + 100 * step + step / 2);
        assert_eq!(attention.instant(20 * step), start + 101 * step);
        assert_eq!(attention.instant(step), start + 100 * step);
    }
}
