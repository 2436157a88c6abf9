//! Sending at a given rate.

use std::time::Duration;

use tokio::time::Instant;

/// What a schedule makes up for: a receiver who was away for longer does not get all of it at once when it comes back.
const LATEST: Duration = Duration::from_secs(1);

/// A schedule of equal steps that does not drift: a late step does not delay those after it, unless it is more than a
/// second late.
pub(crate) struct Pace {
    begin: Instant,
    rate: f64,
}

impl Pace {
    /// `rate` steps per second, from now on.
    pub(crate) fn new(rate: f64) -> Self {
        Pace {
            begin: Instant::now(),
            rate,
        }
    }

    /// Waits until it is time for step `number`, counted from zero. Cancel safe.
    pub(crate) async fn wait(&mut self, number: u64) {
        let due = Duration::try_from_secs_f64(number as f64 / self.rate).ok();
        let due = due.and_then(|due| self.begin.checked_add(due));
        let now = Instant::now();
        match due {
            Some(due) if due > now => tokio::time::sleep_until(due).await,
            Some(due) if now - due > LATEST => self.begin += now - due,
            Some(_) => {}
            None => std::future::pending().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_late_step_does_not_delay_the_others() {
        let mut pace = Pace::new(100.0);
        let begin = Instant::now();
        pace.wait(10).await;
        tokio::time::advance(Duration::from_millis(300)).await;
        pace.wait(11).await;
        pace.wait(100).await;
        assert!(begin.elapsed().abs_diff(Duration::from_secs(1)) < Duration::from_millis(5));
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_much_too_late_is_not_made_up_for() {
        let mut pace = Pace::new(100.0);
        pace.wait(10).await;
        tokio::time::advance(Duration::from_secs(60)).await;
        let back = Instant::now();
        pace.wait(11).await;
        assert_eq!(back.elapsed(), Duration::ZERO);
        pace.wait(61).await;
        assert!(back.elapsed().abs_diff(Duration::from_millis(500)) < Duration::from_millis(5));
    }
}
