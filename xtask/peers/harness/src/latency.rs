//! Round-trip times, each kept.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::meter::Meter;
use crate::program::print;
use crate::usage::Usage;

/// Most round trips that are kept; enough for a window of several seconds.
const CAPACITY: usize = 4 << 20;

/// The round-trip times of a window, after a warm-up.
#[derive(Debug)]
pub struct Latencies {
    nanos: Vec<u32>,
    begun: Instant,
    warmup: Duration,
    window: Duration,
    before: Option<(Usage, Instant)>,
}

impl Latencies {
    /// Starts the warm-up.
    #[must_use]
    pub fn start(warmup: Duration, window: Duration) -> Self {
        Latencies {
            nanos: Vec::with_capacity(CAPACITY),
            begun: Instant::now(),
            warmup,
            window,
            before: None,
        }
    }

    /// Takes the time of one round trip that began at `at` and ended now; true while more are wanted.
    #[inline]
    pub fn add(&mut self, at: Instant) -> bool {
        let now = Instant::now();
        match self.before {
            None if now - self.begun >= self.warmup => self.before = Some((Usage::now(), Instant::now())),
            None => {}
            Some((_, begun)) => {
                self.nanos
                    .push(u32::try_from((now - at).as_nanos()).unwrap_or(u32::MAX));
                return now - begun < self.window && self.nanos.len() < CAPACITY;
            }
        }
        true
    }

    /// Prints mean and percentiles, in microseconds.
    pub fn print(mut self, meter: &Meter) {
        let (before, begun) = self.before.unwrap_or((Usage::now(), self.begun));
        let span = begun.elapsed();
        let count = self.nanos.len().max(1);
        let mut result = meter.result(count as u64, 0, Some(span), before);
        let times = summary(&mut self.nanos);
        for key in ["mean_us", "p50_us", "p99_us"] {
            result[key] = times[key].clone();
        }
        print(&result);
    }
}

/// Mean and percentiles of times in nanoseconds, in microseconds. Sorts them.
#[must_use]
pub fn summary(nanos: &mut [u32]) -> Value {
    nanos.sort_unstable();
    let count = nanos.len().max(1);
    let at = |share: f64| {
        let index = ((count as f64 * share) as usize).min(count - 1);
        f64::from(nanos.get(index).copied().unwrap_or_default()) / 1000.0
    };
    let sum: u64 = nanos.iter().map(|&nanos| u64::from(nanos)).sum();
    json!({
        "mean_us": sum as f64 / count as f64 / 1000.0,
        "p50_us": at(0.50),
        "p99_us": at(0.99),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_summed_up() {
        let mut nanos: Vec<u32> = (1..=100).rev().map(|micros| micros * 1000).collect();
        let times = summary(&mut nanos);
        assert_eq!(times["mean_us"], 50.5);
        assert_eq!(times["p50_us"], 51.0);
        assert_eq!(times["p99_us"], 100.0);
        assert_eq!(summary(&mut [])["p99_us"], 0.0);
    }
}
