//! Sending at a given rate.

use std::time::Duration;

use tokio::time::Instant;

/// A schedule of equal steps that does not drift: a late step does not delay those after it.
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
    pub(crate) async fn wait(&self, number: u64) {
        let due = Duration::try_from_secs_f64(number as f64 / self.rate).ok();
        let due = due.and_then(|due| self.begin.checked_add(due));
        match due {
            Some(due) if due > Instant::now() => tokio::time::sleep_until(due).await,
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
        let pace = Pace::new(100.0);
        let begin = Instant::now();
        pace.wait(10).await;
        tokio::time::advance(Duration::from_millis(300)).await;
        pace.wait(11).await;
        pace.wait(100).await;
        assert!(begin.elapsed().abs_diff(Duration::from_secs(1)) < Duration::from_millis(5));
    }
}
