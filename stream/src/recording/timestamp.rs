//! When a message arrived.

use std::fmt;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// A moment, in nanoseconds since the Unix epoch. Shown as UTC, `2026-11-22T01:00:00.000000000Z`.
///
/// ```
/// use flexbond_stream::recording::Timestamp;
///
/// let time = Timestamp::from_nanos(1_500_000_000);
/// assert_eq!(time.to_string(), "1970-01-01T00:00:01.500000000Z");
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

impl Timestamp {
    /// `nanos` nanoseconds after (or, negative, before) the epoch.
    #[must_use]
    pub const fn from_nanos(nanos: i64) -> Self {
        Timestamp(nanos)
    }

    /// Nanoseconds since the epoch.
    #[must_use]
    pub const fn as_nanos(self) -> i64 {
        self.0
    }

    /// How long after `earlier` this is; zero when it is not after it.
    #[must_use]
    pub fn since(self, earlier: Timestamp) -> Duration {
        let nanos = i128::from(self.0) - i128::from(earlier.0);
        // At most 2^64, so it fits when it is not negative.
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(0))
    }

    /// This moment and `duration` more, at most the last moment that can be said (in the year 2262).
    #[must_use]
    pub fn saturating_add(self, duration: Duration) -> Self {
        let nanos = i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX);
        Timestamp(self.0.saturating_add(nanos))
    }
}

impl From<SystemTime> for Timestamp {
    fn from(time: SystemTime) -> Self {
        match time.duration_since(UNIX_EPOCH) {
            Ok(after) => Timestamp(i64::try_from(after.as_nanos()).unwrap_or(i64::MAX)),
            Err(before) => {
                Timestamp(i64::try_from(before.duration().as_nanos()).map_or(i64::MIN, |nanos| -nanos))
            }
        }
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const DAY: i64 = 86_400;
        let (seconds, nanos) = (self.0.div_euclid(1_000_000_000), self.0.rem_euclid(1_000_000_000));
        let (days, second) = (seconds.div_euclid(DAY), seconds.rem_euclid(DAY));
        // Years begin in March here, so that a leap day is the last of one; eras of 400 years repeat.
        let shifted = days + 719_468;
        let (era, day) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
        let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
        let day = day - (365 * year + year / 4 - year / 100);
        let month = (5 * day + 2) / 153;
        let day = day - (153 * month + 2) / 5 + 1;
        let (month, next) = if month < 10 {
            (month + 3, 0)
        } else {
            (month - 9, 1)
        };
        let year = year + era * 400 + next;
        let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
        write!(
            f,
            "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{nanos:09}Z"
        )
    }
}

/// Tells the time of arrival: the wall clock as it was at first, carried on by the monotonic clock.
///
/// A wall clock that is set back or forward in the middle of a recording bends no interval and no order.
#[derive(Clone, Copy, Debug)]
pub struct ArrivalClock {
    wall: Timestamp,
    start: Instant,
}

impl ArrivalClock {
    /// A clock that shows the wall time now.
    #[must_use]
    pub fn start() -> Self {
        ArrivalClock {
            wall: SystemTime::now().into(),
            start: Instant::now(),
        }
    }

    /// The time at `now`.
    #[must_use]
    pub fn at(&self, now: Instant) -> Timestamp {
        self.wall
            .saturating_add(now.saturating_duration_since(self.start))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_the_calendar() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00"),
            (951_782_399, "2000-02-28T23:59:59"),
            (951_782_400, "2000-02-29T00:00:00"),
            (951_868_800, "2000-03-01T00:00:00"),
            (1_767_225_599, "2025-12-31T23:59:59"),
            (1_767_225_600, "2026-01-01T00:00:00"),
            (4_107_542_400, "2100-03-01T00:00:00"),
            (-1, "1969-12-31T23:59:59"),
        ] {
            let shown = Timestamp::from_nanos(seconds * 1_000_000_000 + 7).to_string();
            assert_eq!(shown, format!("{text}.000000007Z"));
        }
        let _ = (
            Timestamp::from_nanos(i64::MIN).to_string(),
            Timestamp::from_nanos(i64::MAX).to_string(),
        );
    }

    #[test]
    fn differences_never_overflow() {
        let (first, last) = (Timestamp::from_nanos(i64::MIN), Timestamp::from_nanos(i64::MAX));
        assert_eq!(last.since(first), Duration::from_nanos(u64::MAX));
        assert_eq!(first.since(last), Duration::ZERO);
        assert_eq!(last.saturating_add(Duration::MAX), last);
        let before = UNIX_EPOCH - Duration::from_nanos(5);
        assert_eq!(Timestamp::from(before).as_nanos(), -5);
    }
}
