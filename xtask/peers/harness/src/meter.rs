//! Counting without a clock in the hot loop: loops store their count, a thread reads it twice.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::program::{fail, print};
use crate::usage::Usage;
use crate::{Args, Transport};

/// How long the first message may take.
const PATIENCE: Duration = Duration::from_secs(8);

/// What one loop has counted. Written by that loop alone; a cache line of its own.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct Counter {
    messages: AtomicU64,
    lost: AtomicU64,
}

impl Counter {
    /// One more message.
    #[inline]
    pub fn add(&self, messages: u64) {
        let now = self.messages.load(Ordering::Relaxed) + messages;
        self.messages.store(now, Ordering::Relaxed);
    }

    /// Messages that must have been dropped on the way.
    pub fn lose(&self, messages: u64) {
        let now = self.lost.load(Ordering::Relaxed) + messages;
        self.lost.store(now, Ordering::Relaxed);
    }
}

/// All counters of a process.
#[derive(Debug)]
pub struct Meter {
    counters: Vec<Counter>,
    start: Usage,
}

impl Meter {
    /// With one counter for each loop.
    #[must_use]
    pub fn new(loops: usize) -> Arc<Meter> {
        Arc::new(Meter {
            counters: (0..loops).map(|_| Counter::default()).collect(),
            start: Usage::now(),
        })
    }

    /// The counter of the loop number `index`.
    #[must_use]
    pub fn counter(&self, index: usize) -> &Counter {
        &self.counters[index]
    }

    /// How many loops there are.
    #[must_use]
    pub fn loops(&self) -> usize {
        self.counters.len()
    }

    /// Messages counted and lost so far, by all loops.
    #[must_use]
    pub fn totals(&self) -> (u64, u64) {
        let sum = |field: fn(&Counter) -> &AtomicU64| {
            self.counters
                .iter()
                .map(|counter| field(counter).load(Ordering::Relaxed))
                .sum()
        };
        (sum(|counter| &counter.messages), sum(|counter| &counter.lost))
    }

    /// The line that reports a span of time which began with `before` and ends now.
    #[must_use]
    pub fn result(&self, messages: u64, lost: u64, span: Option<Duration>, before: Usage) -> Value {
        let now = Usage::now();
        json!({
            "messages": messages,
            "lost": lost,
            "loops": self.counters.len(),
            "seconds": span.map(|span| span.as_secs_f64()),
            "cpu_seconds": (now.cpu.saturating_sub(before.cpu)).as_secs_f64(),
            "wakeups": now.wakeups - before.wakeups,
            "peak_bytes": now.peak,
            "resident_bytes": now.resident,
            "start_bytes": self.start.resident,
        })
    }

    /// Measures: waits for the first message, lets the warm-up pass, counts for the window, prints the result.
    pub fn measure(self: &Arc<Self>, args: &Args) {
        let (meter, args) = (Arc::clone(self), args.clone());
        thread::spawn(move || {
            let begun = Instant::now();
            while meter.totals().0 == 0 {
                if begun.elapsed() > PATIENCE + args.warmup {
                    fail("no message arrived");
                }
                thread::sleep(Duration::from_micros(500));
            }
            let first = begun.elapsed();
            thread::sleep(args.warmup);
            let (before, at) = (Usage::now(), Instant::now());
            let (messages, lost) = meter.totals();
            thread::sleep(args.window);
            let (span, (messages_after, lost_after)) = (at.elapsed(), meter.totals());
            if messages_after == messages && args.window > Duration::ZERO {
                fail(if args.transport == Transport::Inproc {
                    "stalled in one process"
                } else {
                    "stalled"
                });
            }
            let mut result = meter.result(messages_after - messages, lost_after - lost, Some(span), before);
            result["first_ms"] = json!(first.as_secs_f64() * 1e3);
            // The traffic goes on until the bench has ended the other side.
            print(&result);
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn totals_are_over_all_loops() {
        let meter = Meter::new(2);
        meter.counter(0).add(3);
        meter.counter(1).add(4);
        meter.counter(1).lose(1);
        assert_eq!(meter.totals(), (7, 1));
        assert_eq!(meter.result(7, 1, None, Usage::now())["messages"], 7);
    }
}
