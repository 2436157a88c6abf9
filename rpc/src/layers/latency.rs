//! How long calls take, as far as is remembered.

use std::time::Duration;

/// Durations, counted in buckets that grow by a fourth of a power of two, so that what is read is at most a fifth too
/// much. Older ones count for less and less.
#[derive(Debug)]
pub(super) struct Latencies {
    buckets: [u32; BUCKETS],
    total: u32,
}

/// Four for each power of two of microseconds, up to an hour and more.
const BUCKETS: usize = 4 * 32;
/// So many count; then all count half.
const MEMORY: u32 = 2048;
/// With fewer, nothing can be said.
const ENOUGH: u32 = 64;

impl Latencies {
    pub(super) fn new() -> Self {
        Latencies {
            buckets: [0; BUCKETS],
            total: 0,
        }
    }

    pub(super) fn add(&mut self, latency: Duration) {
        self.buckets[bucket(latency)] += 1;
        self.total += 1;
        if self.total >= MEMORY {
            self.buckets.iter_mut().for_each(|count| *count /= 2);
            self.total = self.buckets.iter().sum();
        }
    }

    /// What a part of them, of 0 to 1, does not exceed, if enough are known.
    pub(super) fn quantile(&self, part: f64) -> Option<Duration> {
        if self.total < ENOUGH {
            return None;
        }
        let rank = (f64::from(self.total) * part).ceil().max(1.0) as u32;
        let mut seen = 0;
        let bucket = self.buckets.iter().position(|count| {
            seen += count;
            seen >= rank
        });
        bucket.map(end)
    }
}

fn bucket(latency: Duration) -> usize {
    let micros = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX).max(4);
    let power = micros.ilog2();
    let quarter = (micros >> (power - 2)) & 3;
    ((power as usize - 2) * 4 + quarter as usize).min(BUCKETS - 1)
}

/// Where a bucket ends.
fn end(bucket: usize) -> Duration {
    let (power, quarter) = (bucket / 4, bucket as u64 % 4);
    Duration::from_micros((4 + quarter + 1) << power)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_duration_is_below_the_end_of_its_bucket_and_not_by_much() {
        for micros in [0, 1, 4, 5, 7, 8, 100, 1023, 1024, 1_000_000, 1 << 33] {
            let end = end(bucket(Duration::from_micros(micros))).as_micros() as u64;
            assert!(end > micros, "{micros} in {end}");
            assert!(end <= micros * 5 / 4 + 5, "{micros} in {end}");
        }
        assert_eq!(bucket(Duration::MAX), BUCKETS - 1);
    }

    #[test]
    fn a_part_of_them_is_below_its_quantile() {
        let mut latencies = Latencies::new();
        for n in 1..=63 {
            latencies.add(Duration::from_millis(n));
        }
        assert_eq!(latencies.quantile(0.5), None, "too few");
        for n in 64..=100 {
            latencies.add(Duration::from_millis(n));
        }
        for (part, expected) in [(0.0, 1), (0.5, 50), (0.95, 95), (1.0, 100)] {
            let found = latencies.quantile(part).unwrap().as_millis();
            assert!(
                found >= expected && found <= expected * 5 / 4 + 1,
                "{part} {found}"
            );
        }
    }

    #[test]
    fn what_was_long_ago_is_forgotten() {
        let mut latencies = Latencies::new();
        for _ in 0..100_000 {
            latencies.add(Duration::from_secs(1));
        }
        for _ in 0..20 * MEMORY {
            latencies.add(Duration::from_millis(1));
        }
        assert!(latencies.quantile(0.99).unwrap() < Duration::from_millis(2));
    }
}
