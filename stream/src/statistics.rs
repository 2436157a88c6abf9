//! What came through a stream, and how fast: plain counting, the clock is an argument.

use std::time::{Duration, Instant};

/// Totals and rates of one stream.
///
/// Only good messages count as messages; malformed ones have a counter of their own, and change nothing else.
///
/// ```
/// use std::time::{Duration, Instant};
/// use flexbond_stream::Statistics;
///
/// let start = Instant::now();
/// let mut statistics = Statistics::new();
/// for i in 0..100 {
///     statistics.handle_message(start + Duration::from_millis(10 * i), 1_000);
/// }
/// let rates = statistics.rates(start + Duration::from_secs(1));
/// assert_eq!(statistics.totals().messages, 100);
/// assert!((rates.messages_per_second - 100.0).abs() < 1.0);
/// ```
#[derive(Clone, Debug)]
pub struct Statistics {
    totals: Totals,
    first: Option<Instant>,
    last: Option<Instant>,
    last_frame: Option<u64>,
    window: Window,
}

/// Counters since the beginning. Differences of two copies describe the time between them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Totals {
    /// Good messages.
    pub messages: u64,
    /// Bytes of all parts of all good messages, headers included.
    pub bytes: u64,
    /// Messages that could not be understood; they are in no other counter.
    pub malformed: u64,
    /// Good messages whose `htype` is not known here; they are delivered raw.
    pub unknown: u64,
    /// Numbers that were left out by the `frame` fields, as long as these grow: frames lost on the way, or given to
    /// another receiver.
    pub lost_frames: u64,
    /// How often `frame` did not grow: the source began anew, or several sources send to this stream.
    pub restarts: u64,
}

/// How fast a stream is.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Rates {
    /// Good messages per second.
    pub messages_per_second: f64,
    /// Bytes per second.
    pub bytes_per_second: f64,
}

impl Statistics {
    /// Nothing yet, with rates over the last second.
    #[must_use]
    pub fn new() -> Self {
        Statistics::with_window(Duration::from_secs(1))
    }

    /// Nothing yet, with rates over the last `window` (at least 10 ms, in steps of a tenth).
    #[must_use]
    pub fn with_window(window: Duration) -> Self {
        Statistics {
            totals: Totals::default(),
            first: None,
            last: None,
            last_frame: None,
            window: Window::new(window),
        }
    }

    /// Counts one good message of `bytes` bytes, all parts together.
    pub fn handle_message(&mut self, now: Instant, bytes: usize) {
        let bytes = bytes as u64;
        self.totals.messages += 1;
        self.totals.bytes = self.totals.bytes.saturating_add(bytes);
        self.first.get_or_insert(now);
        self.last = Some(now);
        self.window.add(now, bytes);
    }

    /// Notes the number of a good message's frame.
    pub fn handle_frame(&mut self, frame: u64) {
        match self.last_frame {
            Some(last) if frame > last => {
                self.totals.lost_frames = self.totals.lost_frames.saturating_add(frame - last - 1);
            }
            Some(_) => self.totals.restarts += 1,
            None => {}
        }
        self.last_frame = Some(frame);
    }

    /// Counts a message that could not be understood.
    pub fn handle_malformed(&mut self) {
        self.totals.malformed += 1;
    }

    /// Counts a good message whose type is not known (besides [`handle_message`](Self::handle_message)).
    pub fn handle_unknown(&mut self) {
        self.totals.unknown += 1;
    }

    /// The counters.
    #[must_use]
    pub fn totals(&self) -> Totals {
        self.totals
    }

    /// How fast messages came during the window that ends `now`.
    #[must_use]
    pub fn rates(&self, now: Instant) -> Rates {
        self.window.rates(now)
    }

    /// The time from the first message to the last.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        match (self.first, self.last) {
            (Some(first), Some(last)) => last.saturating_duration_since(first),
            _ => Duration::ZERO,
        }
    }
}

impl Default for Statistics {
    fn default() -> Self {
        Statistics::new()
    }
}

const SLOTS: u64 = 10;

/// A ring of equal slices of time: constant memory at any rate.
#[derive(Clone, Debug)]
struct Window {
    /// Nanoseconds of one slice.
    slice: u64,
    /// Slices are numbered from here: the first message.
    origin: Option<Instant>,
    newest: u64,
    /// Messages and bytes of each slice, at its number modulo the length.
    slices: [(u64, u64); SLOTS as usize],
}

impl Window {
    fn new(window: Duration) -> Self {
        let window = u64::try_from(window.max(Duration::from_millis(10)).as_nanos()).unwrap_or(u64::MAX);
        Window {
            slice: window / SLOTS,
            origin: None,
            newest: 0,
            slices: [(0, 0); SLOTS as usize],
        }
    }

    /// The slice that `now` is in. A clock that steps back stays in the newest one.
    fn number(&self, now: Instant) -> u64 {
        let since = now
            .saturating_duration_since(self.origin.unwrap_or(now))
            .as_nanos();
        (u64::try_from(since).unwrap_or(u64::MAX) / self.slice).max(self.newest)
    }

    fn add(&mut self, now: Instant, bytes: u64) {
        self.origin.get_or_insert(now);
        let number = self.number(now);
        for stale in (self.newest + 1).max((number + 1).saturating_sub(SLOTS))..=number {
            self.slices[index(stale)] = (0, 0);
        }
        self.newest = number;
        let slice = &mut self.slices[index(number)];
        slice.0 += 1;
        slice.1 = slice.1.saturating_add(bytes);
    }

    fn rates(&self, now: Instant) -> Rates {
        let Some(origin) = self.origin else {
            return Rates::default();
        };
        let oldest = (self.number(now) + 1).saturating_sub(SLOTS);
        let oldest_kept = (self.newest + 1).saturating_sub(SLOTS);
        let (mut messages, mut bytes) = (0_u64, 0_u64);
        for number in oldest.max(oldest_kept)..=self.newest {
            let slice = self.slices[index(number)];
            messages += slice.0;
            bytes = bytes.saturating_add(slice.1);
        }
        let begin = origin + Duration::from_nanos(self.slice.saturating_mul(oldest));
        // A stream younger than one slice would show absurd rates.
        let span = now
            .saturating_duration_since(begin)
            .max(Duration::from_nanos(self.slice))
            .as_secs_f64();
        Rates {
            messages_per_second: messages as f64 / span,
            bytes_per_second: bytes as f64 / span,
        }
    }
}

fn index(number: u64) -> usize {
    // Smaller than SLOTS, so it fits.
    (number % SLOTS) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn rates_follow_the_window() {
        let start = Instant::now();
        let mut statistics = Statistics::new();
        assert_eq!(statistics.rates(start), Rates::default());
        for i in 0..1000_u32 {
            statistics.handle_message(start + i * MS, 10);
        }
        let rates = statistics.rates(start + 1000 * MS);
        assert!((950.0..1050.0).contains(&rates.messages_per_second), "{rates:?}");
        assert!((9500.0..10500.0).contains(&rates.bytes_per_second), "{rates:?}");
        assert_eq!(
            statistics.rates(start + 5000 * MS),
            Rates::default(),
            "all of it is older than the window"
        );
        statistics.handle_message(start + 5000 * MS, 10);
        let rates = statistics.rates(start + 5000 * MS);
        assert!(rates.messages_per_second < 2.0, "{rates:?}");
        assert_eq!(statistics.elapsed(), 5000 * MS);
    }

    #[test]
    fn a_young_stream_and_a_clock_that_steps_back_do_no_harm() {
        let start = Instant::now() + 100 * MS;
        let mut statistics = Statistics::new();
        statistics.handle_message(start, 1);
        statistics.handle_message(start - 50 * MS, 1);
        assert_eq!(statistics.totals().messages, 2);
        assert!(statistics.rates(start - 100 * MS).messages_per_second <= 20.0);
        assert!(statistics.rates(start + u32::MAX * MS) == Rates::default());
    }

    #[test]
    fn gaps_are_losses_and_steps_back_are_restarts() {
        let mut statistics = Statistics::new();
        for frame in [5, 6, 9, 10, 0, 1, u64::MAX, 0, u64::MAX] {
            statistics.handle_frame(frame);
        }
        let totals = statistics.totals();
        assert_eq!(totals.restarts, 2);
        assert_eq!(totals.lost_frames, u64::MAX, "saturated, not overflown");

        let mut statistics = Statistics::new();
        [1, 2, 5, 5]
            .into_iter()
            .for_each(|frame| statistics.handle_frame(frame));
        assert_eq!(
            (statistics.totals().lost_frames, statistics.totals().restarts),
            (2, 1)
        );
    }
}
