//! How often something is told that a peer can make happen as often as it likes.

use std::time::Duration;

use tokio::time::Instant;

/// How often one kind of event is told: many at once, but few in the long run.
#[derive(Debug, Default)]
pub(super) struct Pace {
    /// Of [`BURST`](Self::BURST), since when.
    spent: u32,
    since: Option<Instant>,
    /// Not told since the last that was.
    untold: u64,
}

impl Pace {
    /// So many are told at once.
    pub(super) const BURST: u32 = 64;
    /// And one more each time this has passed.
    pub(super) const STEP: Duration = Duration::from_millis(100);

    /// It happened: `None` if it is not told, otherwise how many were not before it. What happens `quietly` is never
    /// told.
    pub(super) fn tell(&mut self, now: Instant, quietly: bool) -> Option<u64> {
        let since = *self.since.get_or_insert(now);
        let steps = now.saturating_duration_since(since).as_millis() / Self::STEP.as_millis();
        if steps > 0 {
            let steps = u32::try_from(steps).unwrap_or(u32::MAX);
            self.spent = self.spent.saturating_sub(steps);
            self.since = Some(now);
        }
        if quietly || self.spent >= Self::BURST {
            self.untold += 1;
            return None;
        }
        self.spent += 1;
        Some(std::mem::take(&mut self.untold))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_are_told_at_once_and_then_one_at_each_step_with_the_number_of_those_between() {
        let mut pace = Pace::default();
        let start = Instant::now();
        for _ in 0..Pace::BURST {
            assert_eq!(pace.tell(start, false), Some(0));
        }
        for n in 1..=5 {
            for _ in 0..10 {
                assert_eq!(pace.tell(start + (n - 1) * Pace::STEP, false), None);
            }
            assert_eq!(pace.tell(start + n * Pace::STEP, false), Some(10));
        }
        assert_eq!(pace.tell(start + Duration::from_secs(60), true), None);
        for n in 0..Pace::BURST {
            let untold = pace.tell(start + Duration::from_secs(60), false);
            assert_eq!(untold, Some(u64::from(n == 0)));
        }
        assert_eq!(pace.tell(start + Duration::from_secs(60), false), None);
    }
}
