//! The line from one host to another: what it is busy with, and since when.

use std::num::NonZeroU64;
use std::time::Duration;

use super::Path;

/// What a line remembers of the packets before.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Line {
    /// When the last packet will have passed the rate limit.
    free_at: Duration,
    /// When the last packet arrives that keeps the order.
    last_arrival: Duration,
}

impl Line {
    /// When a packet of `len` bytes has passed the rate limit; `None`: the queue is full.
    pub(super) fn pass(&mut self, now: Duration, len: usize, path: &Path) -> Option<Duration> {
        let Some(rate) = path.rate else { return Some(now) };
        let wait = self.free_at.saturating_sub(now);
        let waiting = bytes_in(wait, rate);
        if waiting > 0 && waiting + len as u128 > path.queue as u128 {
            return None;
        }
        self.free_at = self.free_at.max(now).saturating_add(time_for(len, rate));
        Some(self.free_at)
    }

    /// When a packet arrives that would do so at `at`, if the order is kept.
    pub(super) fn in_order(&mut self, at: Duration) -> Duration {
        self.last_arrival = self.last_arrival.max(at);
        self.last_arrival
    }
}

/// How long `len` bytes take, rounded up so that no number of packets exceeds the rate.
fn time_for(len: usize, rate: NonZeroU64) -> Duration {
    let nanos = (len as u128 * 1_000_000_000).div_ceil(u128::from(rate.get()));
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

/// How many bytes pass in `time`.
fn bytes_in(time: Duration, rate: NonZeroU64) -> u128 {
    time.as_nanos()
        .saturating_mul(u128::from(rate.get()))
        .div_ceil(1_000_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_pass_one_after_another() {
        let path = Path::default().rate(1000, 250);
        let mut line = Line::default();
        let ms = Duration::from_millis;
        assert_eq!(line.pass(ms(0), 100, &path), Some(ms(100)));
        assert_eq!(line.pass(ms(0), 100, &path), Some(ms(200)));
        assert_eq!(
            line.pass(ms(0), 100, &path),
            None,
            "200 wait, and 300 are more than 250"
        );
        assert_eq!(line.pass(ms(50), 100, &path), Some(ms(300)), "150 wait");
        assert_eq!(
            line.pass(ms(1000), 9999, &path),
            Some(ms(10_999)),
            "an empty queue takes all"
        );
    }

    #[test]
    fn without_a_rate_nothing_waits() {
        let mut line = Line::default();
        let now = Duration::from_secs(3);
        for _ in 0..3 {
            assert_eq!(line.pass(now, usize::MAX, &Path::default()), Some(now));
        }
    }

    #[test]
    fn extreme_rates_do_not_overflow() {
        for rate in [1, u64::MAX] {
            let path = Path::default().rate(rate, usize::MAX);
            let mut line = Line::default();
            for _ in 0..3 {
                line.pass(Duration::MAX, usize::MAX, &path);
                line.pass(Duration::ZERO, usize::MAX, &path);
            }
        }
    }

    #[test]
    fn the_order_is_kept() {
        let mut line = Line::default();
        let ms = Duration::from_millis;
        assert_eq!([5, 3, 7].map(|at| line.in_order(ms(at))), [ms(5), ms(5), ms(7)]);
    }
}
