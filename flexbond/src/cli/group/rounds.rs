//! How long the rounds of a barrier took.

use std::time::Duration;

/// The most rounds that can be asked for: each is remembered.
pub(super) const MOST: u64 = 10_000_000;

/// The times of the rounds that were passed, and how many failed.
#[derive(Default)]
pub(super) struct Rounds {
    nanoseconds: Vec<u64>,
    failed: u64,
}

impl Rounds {
    pub(super) fn passed(&mut self, time: Duration) {
        self.nanoseconds
            .push(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX));
    }

    pub(super) fn failed(&mut self) {
        self.failed += 1;
    }

    /// Rounds so far, those that failed among them.
    pub(super) fn count(&self) -> u64 {
        self.nanoseconds.len() as u64 + self.failed
    }

    /// One line about all of them.
    pub(super) fn summary(mut self) -> String {
        let failed = match self.failed {
            0 => String::new(),
            failed => format!(", {failed} failed"),
        };
        self.nanoseconds.sort_unstable();
        let times = &self.nanoseconds;
        let (Some(least), Some(most)) = (times.first(), times.last()) else {
            return format!("no barrier passed{failed}");
        };
        let micros = |nanoseconds: f64| format!("{:.1}", nanoseconds / 1000.0);
        let sum: u128 = times.iter().map(|time| u128::from(*time)).sum();
        format!(
            "barriers: {} passed{failed}; µs: mean {}, p50 {}, p99 {}, min {}, max {}",
            times.len(),
            micros(sum as f64 / times.len() as f64),
            micros(percentile(times, 50) as f64),
            micros(percentile(times, 99) as f64),
            micros(*least as f64),
            micros(*most as f64),
        )
    }
}

/// The smallest that at least so many percent do not exceed; of a sorted list that is not empty.
fn percentile(sorted: &[u64], percent: usize) -> u64 {
    let rank = (sorted.len() * percent).div_ceil(100);
    sorted[rank.saturating_sub(1)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_summed_up() {
        let mut rounds = Rounds::default();
        for micros in (1..=100).rev() {
            rounds.passed(Duration::from_micros(micros));
        }
        assert_eq!(
            rounds.summary(),
            "barriers: 100 passed; µs: mean 50.5, p50 50.0, p99 99.0, min 1.0, max 100.0"
        );
        let mut rounds = Rounds::default();
        rounds.failed();
        rounds.passed(Duration::from_nanos(1500));
        assert_eq!(rounds.count(), 2);
        assert_eq!(
            rounds.summary(),
            "barriers: 1 passed, 1 failed; µs: mean 1.5, p50 1.5, p99 1.5, min 1.5, max 1.5"
        );
        assert_eq!(Rounds::default().summary(), "no barrier passed");
    }
}
