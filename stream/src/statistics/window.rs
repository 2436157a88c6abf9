//! Rates over the last moments: a ring of equal slices of time.

use std::time::{Duration, Instant};

use super::Rates;

const SLOTS: u64 = 10;

/// A ring of equal slices of time: constant memory at any rate.
#[derive(Clone, Debug)]
pub(super) struct Window {
    /// Nanoseconds of one slice.
    slice: u64,
    /// Slices are numbered from here: the first message.
    origin: Option<Instant>,
    newest: u64,
    /// Messages and bytes of each slice, at its number modulo the length.
    slices: [(u64, u64); SLOTS as usize],
}

impl Window {
    pub(super) fn new(window: Duration) -> Self {
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

    pub(super) fn add(&mut self, now: Instant, bytes: u64) {
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

    pub(super) fn rates(&self, now: Instant) -> Rates {
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
