//! How long to wait before the next attempt to connect.

use std::time::Duration;

/// Doubling pauses with jitter, so that many clients of one restarted server do not all return at once.
#[derive(Debug)]
pub(crate) struct Backoff {
    first: Duration,
    max: Duration,
    attempt: u32,
    last: Duration,
}

impl Backoff {
    /// No pause is longer, whatever the options say.
    const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

    /// Pauses from `first` on, at most `max`; without a `max` they do not grow.
    pub(crate) fn new(first: Duration, max: Option<Duration>) -> Self {
        let first = first.min(Self::LONGEST);
        Backoff {
            first,
            max: max.unwrap_or(first).clamp(first, Self::LONGEST),
            attempt: 0,
            last: Duration::ZERO,
        }
    }

    /// The next pause: 75 % to 125 % of the doubled one, never above the maximum. `random` is anywhere in 0..=1.
    pub(crate) fn next(&mut self, random: f64) -> Duration {
        let doubled = self
            .first
            .saturating_mul(1_u32.checked_shl(self.attempt).unwrap_or(u32::MAX))
            .min(self.max);
        if doubled < self.max {
            self.attempt += 1;
        }
        self.last = doubled.mul_f64(0.75 + 0.5 * random).min(self.max);
        self.last
    }

    /// A connection lived this long. After one that outlived the last pause, the next pause is short again.
    pub(crate) fn worked_for(&mut self, life: Duration) {
        if life > self.last {
            self.attempt = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn doubles_up_to_the_maximum_and_starts_over() {
        let mut backoff = Backoff::new(100 * MS, Some(500 * MS));
        let pauses: Vec<_> = (0..5).map(|_| backoff.next(0.5).as_millis()).collect();
        assert_eq!(pauses, [100, 200, 400, 500, 500]);
        backoff.worked_for(400 * MS);
        assert_eq!(backoff.next(0.5), 500 * MS, "the last pause was longer");
        backoff.worked_for(600 * MS);
        assert_eq!(backoff.next(0.5), 100 * MS);
    }

    #[test]
    fn jitter_stays_within_a_quarter() {
        let mut backoff = Backoff::new(100 * MS, None);
        assert_eq!(backoff.next(0.0), 75 * MS);
        assert_eq!(backoff.next(1.0), 100 * MS, "never above the maximum");
        let mut growing = Backoff::new(100 * MS, Some(1000 * MS));
        assert_eq!(growing.next(1.0), 125 * MS);
    }

    #[test]
    fn many_attempts_do_not_overflow() {
        let mut backoff = Backoff::new(Duration::MAX, Some(Duration::MAX));
        for _ in 0..100 {
            backoff.next(0.0);
        }
    }
}
