//! Round-trip times and their percentiles.

use std::time::Duration;

/// Most samples kept; later ones are not recorded.
const MOST: usize = 1 << 20;

/// Round-trip times of one stage.
#[derive(Debug, Default)]
pub(super) struct Latency {
    nanoseconds: Vec<u64>,
}

impl Latency {
    pub(super) fn note(&mut self, time: Duration) {
        if self.nanoseconds.len() < MOST {
            self.nanoseconds
                .push(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX));
        }
    }

    /// Median and 99th percentile; `None` without samples.
    pub(super) fn percentiles(mut self) -> Option<(Duration, Duration)> {
        self.nanoseconds.sort_unstable();
        let at = |percent: usize| {
            let index = self.nanoseconds.len().saturating_sub(1) * percent / 100;
            self.nanoseconds.get(index).copied().map(Duration::from_nanos)
        };
        Some((at(50)?, at(99)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_ranks() {
        let mut latency = Latency::default();
        assert_eq!(Latency::default().percentiles(), None);
        (0..=100)
            .rev()
            .for_each(|n| latency.note(Duration::from_nanos(n)));
        assert_eq!(
            latency.percentiles(),
            Some((Duration::from_nanos(50), Duration::from_nanos(99)))
        );
    }
}
