//! A clock that stands still while the split itself does.

use std::time::{Duration, Instant};

/// The time in which outputs could take something and the split would have seen it.
///
/// A process that gets no processor for a while, or is stopped, finds on its return that all this time nobody took anything.
/// That says nothing about its outputs.
#[derive(Debug, Default)]
pub(super) struct Watch {
    /// The real time that was read last.
    last: Option<Instant>,
    /// The time that does not count.
    skipped: Duration,
    /// When there will be something to do at the latest.
    asleep: Asleep,
    /// When it was late the last time, in the time that counts.
    late_at: Option<Instant>,
    /// How often it was late while hardly any time counted.
    in_a_row: u32,
}

#[derive(Clone, Copy, Debug, Default)]
enum Asleep {
    /// It is at work and reads the time again soon.
    #[default]
    No,
    /// By real time.
    Until(Instant),
    /// Nothing is held: whatever comes, comes.
    Idle,
}

/// How late it may be. What is left of a longer delay passes while everybody is looked at again.
const TOLERANCE: Duration = Duration::from_millis(20);
/// Delays of which none counts, one after the other. On a machine where each wake comes late, a deadline would never pass
/// otherwise, and everybody was looked at each time.
const MOST_IN_A_ROW: u32 = 4;

impl Watch {
    /// The time that counts, when it really is `now`.
    pub(super) fn read(&mut self, now: Instant) -> Instant {
        let expected = match (std::mem::take(&mut self.asleep), self.last) {
            (Asleep::Idle, _) | (_, None) => now,
            (Asleep::No, Some(last)) => last,
            (Asleep::Until(deadline), Some(last)) => deadline.max(last),
        };
        let late = now.saturating_duration_since(expected);
        if late > TOLERANCE && self.is_excused() {
            // It is shortly before the deadline: those who were late with it get to move first.
            let slept = self
                .last
                .map_or(Duration::ZERO, |last| expected.saturating_duration_since(last));
            self.skipped += late + slept.min(TOLERANCE);
            self.late_at = Some(self.counted(now));
        }
        self.last = Some(now);
        self.counted(now)
    }

    /// Whether another delay does not count, either. All are told apart from those before by the time that counted since.
    fn is_excused(&mut self) -> bool {
        let counted = self.last.map(|last| self.counted(last));
        let since = counted
            .zip(self.late_at)
            .map(|(now, late)| now.saturating_duration_since(late));
        self.in_a_row = match since {
            Some(since) if since <= TOLERANCE => self.in_a_row + 1,
            _ => 1,
        };
        if self.in_a_row > MOST_IN_A_ROW {
            self.late_at = None;
            return false;
        }
        true
    }

    /// Notes that there is nothing to do before `deadline`, which is of the time that counts; says when that is.
    pub(super) fn sleep_until(&mut self, deadline: Option<Instant>) -> Option<Instant> {
        let until = deadline.and_then(|deadline| deadline.checked_add(self.skipped));
        self.asleep = until.map_or(Asleep::Idle, Asleep::Until);
        until
    }

    /// Notes that there is nothing to do before something happens.
    pub(super) fn sleep(&mut self) {
        self.asleep = Asleep::Idle;
    }

    fn counted(&self, now: Instant) -> Instant {
        // What is skipped has passed since the first time that was read.
        now.checked_sub(self.skipped).unwrap_or(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn who_is_in_time_reads_the_time_as_it_is() {
        let mut watch = Watch::default();
        let start = Instant::now();
        assert_eq!(watch.read(start), start);
        assert_eq!(watch.read(start + 5 * MS), start + 5 * MS);
        assert_eq!(watch.sleep_until(Some(start + 250 * MS)), Some(start + 250 * MS));
        assert_eq!(watch.read(start + 251 * MS), start + 251 * MS);
        // Woken before.
        watch.sleep_until(Some(start + 500 * MS));
        assert_eq!(watch.read(start + 300 * MS), start + 300 * MS);
        // However long nothing comes, that is no delay.
        watch.sleep();
        assert_eq!(watch.read(start + 9000 * MS), start + 9000 * MS);
        watch.sleep_until(None);
        assert_eq!(watch.read(start + 20_000 * MS), start + 20_000 * MS);
    }

    #[test]
    fn a_deadline_passes_also_where_each_wake_comes_late() {
        let mut watch = Watch::default();
        let mut real = Instant::now();
        let deadline = real + 250 * MS;
        watch.read(real);
        let mut wakes = 0;
        while watch.counted(real) < deadline {
            real = watch.sleep_until(Some(deadline)).unwrap() + 50 * MS;
            watch.read(real);
            // At work, and in time.
            real += 2 * MS;
            watch.read(real);
            wakes += 1;
            assert!(wakes < 10, "it never passes");
        }
        assert_eq!(wakes, MOST_IN_A_ROW + 1);
        // Seldom ones are excused, however many.
        for _ in 0..20 {
            let before = watch.read(real);
            real += 10_000 * MS;
            assert_eq!(watch.read(real), before);
            for _ in 0..10 {
                real += 10 * MS;
                watch.read(real);
            }
        }
    }

    #[test]
    fn a_delay_of_ones_own_does_not_count() {
        let mut watch = Watch::default();
        let start = Instant::now();
        watch.read(start);
        watch.sleep_until(Some(start + 250 * MS));
        // A second late: it is just before the deadline.
        assert_eq!(watch.read(start + 1250 * MS), start + 230 * MS);
        assert_eq!(watch.sleep_until(Some(start + 250 * MS)), Some(start + 1270 * MS));
        assert_eq!(watch.read(start + 1270 * MS), start + 250 * MS);
        // At work, too.
        assert_eq!(watch.read(start + 2270 * MS), start + 250 * MS);
        assert_eq!(watch.read(start + 2275 * MS), start + 255 * MS);
    }
}
