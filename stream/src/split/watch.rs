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

impl Watch {
    /// The time that counts, when it really is `now`.
    pub(super) fn read(&mut self, now: Instant) -> Instant {
        let expected = match (std::mem::take(&mut self.asleep), self.last) {
            (Asleep::Idle, _) | (_, None) => now,
            (Asleep::No, Some(last)) => last,
            (Asleep::Until(deadline), Some(last)) => deadline.max(last),
        };
        let late = now.saturating_duration_since(expected);
        if late > TOLERANCE {
            // It is shortly before the deadline: those who were late with it get to move first.
            let slept = self
                .last
                .map_or(Duration::ZERO, |last| expected.saturating_duration_since(last));
            self.skipped += late + slept.min(TOLERANCE);
        }
        self.last = Some(now);
        self.counted(now)
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
