//! When images are due: a rate, and pauses that it does not make up for.

use std::time::Duration;

use tokio::time::Instant;

use super::super::pace::Pace;

/// The rate of images between pauses.
pub(super) struct Tempo {
    rate: Option<f64>,
    pace: Option<Pace>,
    /// When the pause that was begun is over.
    until: Option<Instant>,
}

impl Tempo {
    /// From now on; without a rate, nothing is waited for but pauses.
    pub(super) fn new(rate: Option<f64>) -> Self {
        Tempo {
            rate,
            pace: rate.map(Pace::new),
            until: None,
        }
    }

    /// Waits until it is time for the image of this number since the beginning, or the last pause. Cancel safe.
    pub(super) async fn due(&mut self, number: u64) {
        if let Some(pace) = &mut self.pace {
            pace.wait(number).await;
        }
    }

    /// Waits, and begins to count anew. Cancel safe: who asks again waits for what is left.
    pub(super) async fn pause(&mut self, time: Duration) {
        let until = match self.until {
            Some(until) => until,
            None => match Instant::now().checked_add(time) {
                Some(until) => *self.until.insert(until),
                None => std::future::pending().await,
            },
        };
        tokio::time::sleep_until(until).await;
        self.until = None;
        self.pace = self.rate.map(Pace::new);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_pause_that_is_interrupted_is_not_longer_and_nothing_is_made_up_for() {
        let begin = Instant::now();
        let mut tempo = Tempo::new(Some(10.0));
        tempo.due(5).await;
        let pause = Duration::from_secs(2);
        for _ in 0..3 {
            let waited = tokio::time::timeout(Duration::from_millis(500), tempo.pause(pause)).await;
            assert!(waited.is_err());
        }
        tempo.pause(pause).await;
        tempo.due(5).await;
        assert!(begin.elapsed().abs_diff(Duration::from_secs(3)) < Duration::from_millis(20));
    }
}
