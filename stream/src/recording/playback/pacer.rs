//! When each message is due: plain arithmetic on times that are passed in.

use std::time::{Duration, Instant};

use crate::recording::Timestamp;

/// How fast messages follow each other.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Pace {
    /// As they arrived, so many times faster: 1 is the original timing. Not a positive number counts as 1.
    Original(f64),
    /// So many a second, evenly. Not a positive number counts as no pace.
    Rate(f64),
    /// Without waiting.
    Unpaced,
}

impl Default for Pace {
    fn default() -> Self {
        Pace::Original(1.0)
    }
}

/// Tells when each message is due.
///
/// Messages that are late are due at once; the schedule stays, so what a slow receiver has delayed is caught up with.
/// While it is paused nothing is due, and all that follows is as much later.
///
/// ```
/// use std::time::{Duration, Instant};
/// use flexbond_stream::recording::{Pace, Pacer, Timestamp};
///
/// let start = Instant::now();
/// let mut pacer = Pacer::new(Pace::Original(2.0));
/// let due = [0, 100, 300].map(|ms| pacer.due(start, 0, Timestamp::from_nanos(ms * 1_000_000)));
/// assert_eq!(due, [0, 50, 150].map(|ms| start + Duration::from_millis(ms)));
/// ```
#[derive(Clone, Debug)]
pub struct Pacer {
    pace: Pace,
    origin: Option<Origin>,
    paused: Option<Instant>,
}

#[derive(Clone, Copy, Debug)]
struct Origin {
    // When the round's first message was due, pauses included.
    start: Instant,
    first: Timestamp,
    round: u64,
    // Messages of the round that have a time.
    count: u64,
    // When the round's last message was due.
    last: Instant,
}

impl Pacer {
    /// A pacer that has seen no message.
    #[must_use]
    pub fn new(pace: Pace) -> Self {
        Pacer {
            pace,
            origin: None,
            paused: None,
        }
    }

    /// When the next message, which arrived at `time`, is due. The first is due `now`; that of a later `round` follows
    /// the last one of the round before at once (with a fixed rate: at that rate).
    pub fn due(&mut self, now: Instant, round: u64, time: Timestamp) -> Instant {
        let origin = match &mut self.origin {
            Some(origin) if origin.round == round => origin,
            before => before.insert(Origin {
                start: before
                    .as_ref()
                    .map_or(now, |origin| after(origin.last, one(self.pace))),
                first: time,
                round,
                count: 0,
                last: now,
            }),
        };
        let since = match self.pace {
            Pace::Original(speed) => scaled(time.since(origin.first), 1.0 / positive(speed).unwrap_or(1.0)),
            Pace::Rate(_) => match one(self.pace) {
                // From the start each time, so that no error adds up.
                interval if interval > Duration::ZERO => scaled(interval, origin.count as f64),
                _ => Duration::ZERO,
            },
            Pace::Unpaced => Duration::ZERO,
        };
        origin.count += 1;
        let due = after(origin.start, since);
        // Arrival times that go back, as those of a folder may, make nothing due before what came before.
        origin.last = if origin.count > 1 {
            due.max(origin.last)
        } else {
            due
        };
        match self.pace {
            Pace::Unpaced => now,
            _ => origin.last,
        }
    }

    /// Stops the schedule at `now`.
    pub fn pause(&mut self, now: Instant) {
        self.paused.get_or_insert(now);
    }

    /// Goes on at `now`; returns by how much everything that is due is later.
    pub fn resume(&mut self, now: Instant) -> Duration {
        let Some(paused) = self.paused.take() else {
            return Duration::ZERO;
        };
        let pause = now.saturating_duration_since(paused);
        if let Some(origin) = &mut self.origin {
            origin.start = after(origin.start, pause);
            origin.last = after(origin.last, pause);
        }
        pause
    }

    /// Whether it is paused.
    #[must_use]
    pub fn is_paused(&self) -> bool {
        self.paused.is_some()
    }
}

/// The time between two messages at a fixed rate; zero otherwise.
fn one(pace: Pace) -> Duration {
    match pace {
        Pace::Rate(rate) => positive(rate).map_or(Duration::ZERO, |rate| {
            Duration::try_from_secs_f64(1.0 / rate).unwrap_or(Duration::MAX)
        }),
        _ => Duration::ZERO,
    }
}

fn positive(number: f64) -> Option<f64> {
    (number.is_finite() && number > 0.0).then_some(number)
}

fn scaled(duration: Duration, factor: f64) -> Duration {
    if factor == 1.0 {
        return duration;
    }
    Duration::try_from_secs_f64(duration.as_secs_f64() * factor).unwrap_or(Duration::MAX)
}

fn after(start: Instant, duration: Duration) -> Instant {
    // Thirty years stand for "never": what lies beyond cannot be added to an instant everywhere.
    const NEVER: Duration = Duration::from_secs(30 * 365 * 86_400);
    start.checked_add(duration.min(NEVER)).unwrap_or(start)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn time(ms: i64) -> Timestamp {
        Timestamp::from_nanos(ms * 1_000_000)
    }

    #[test]
    fn the_original_timing_keeps_intervals_and_catches_up() {
        let start = Instant::now();
        let mut pacer = Pacer::new(Pace::default());
        // However late each is asked for.
        for (asked, arrived) in [(0, 5_000), (70, 5_010), (71, 5_100), (500, 5_101)] {
            let due = pacer.due(start + ms(asked), 0, time(arrived));
            assert_eq!(due, start + ms(arrived as u64 - 5_000));
        }
        // A clock that was set back delays nothing and turns nothing around.
        assert_eq!(pacer.due(start, 0, time(4_000)), start + ms(101));
    }

    #[test]
    fn a_rate_is_even_and_its_error_does_not_add_up() {
        let start = Instant::now();
        let mut pacer = Pacer::new(Pace::Rate(3.0));
        let due: Vec<Instant> = (0..30_001).map(|_| pacer.due(start, 0, time(0))).collect();
        assert!(
            due.windows(2)
                .all(|pair| pair[1] - pair[0] > ms(333) && pair[1] - pair[0] < ms(334))
        );
        let error = (due[30_000] - start).abs_diff(Duration::from_secs(10_000));
        assert!(error < ms(1), "{error:?}");
    }

    #[test]
    fn rounds_follow_each_other() {
        let start = Instant::now();
        let mut pacer = Pacer::new(Pace::Original(1.0));
        for round in 0..3 {
            for arrived in [100, 150, 200] {
                let due = pacer.due(start, round, time(arrived));
                assert_eq!(due, start + ms(round * 100 + arrived as u64 - 100));
            }
        }
        let mut pacer = Pacer::new(Pace::Rate(10.0));
        for (n, round) in [0, 0, 1, 1, 2].into_iter().enumerate() {
            assert_eq!(pacer.due(start, round, time(0)), start + ms(100 * n as u64));
        }
    }

    #[test]
    fn a_pause_moves_all_that_follows() {
        let start = Instant::now();
        let mut pacer = Pacer::new(Pace::default());
        assert_eq!(pacer.due(start, 0, time(0)), start);
        pacer.pause(start + ms(40));
        pacer.pause(start + ms(60));
        assert!(pacer.is_paused());
        assert_eq!(pacer.resume(start + ms(140)), ms(100));
        assert_eq!(pacer.resume(start + ms(150)), Duration::ZERO);
        assert_eq!(pacer.due(start, 0, time(50)), start + ms(150));
        assert_eq!(
            pacer.due(start, 1, time(0)),
            start + ms(150),
            "the next round as well"
        );
    }

    #[test]
    fn odd_numbers_do_no_harm() {
        let start = Instant::now();
        for pace in [0.0, -1.0, f64::NAN, f64::INFINITY, f64::MIN_POSITIVE, f64::MAX] {
            for pace in [Pace::Original(pace), Pace::Rate(pace), Pace::Unpaced] {
                let mut pacer = Pacer::new(pace);
                for arrived in [i64::MIN, 0, i64::MAX, 5] {
                    assert!(pacer.due(start, 0, Timestamp::from_nanos(arrived)) >= start);
                }
            }
        }
    }
}
