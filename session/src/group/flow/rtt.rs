//! The time to a receiver and back.

use std::time::Duration;

/// The time to a receiver and back, smoothed as RFC 6298 does, and the least that was seen.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rtt {
    smoothed: Option<Duration>,
    variance: Duration,
    least: Duration,
}

impl Rtt {
    /// What is assumed before the first sample.
    const INITIAL: Duration = Duration::from_millis(20);
    /// The shortest time after which silence is loss: two ticks of tokio's clock.
    const SHORTEST_TIMEOUT: Duration = Duration::from_millis(2);

    /// What takes longer is not the way but somebody who stood still, as a stopped process or a sleeping machine does. It
    /// must not keep repairs back for as long again.
    const LONGEST_SAMPLE: Duration = Duration::from_secs(1);

    pub(crate) fn new() -> Self {
        Rtt {
            smoothed: None,
            variance: Self::INITIAL / 2,
            least: Duration::MAX,
        }
    }

    pub(crate) fn add(&mut self, sample: Duration) {
        let sample = sample.min(Self::LONGEST_SAMPLE);
        self.least = self.least.min(sample);
        self.smoothed = Some(match self.smoothed {
            None => {
                self.variance = sample / 2;
                sample
            }
            Some(smoothed) => {
                self.variance = (3 * self.variance + smoothed.abs_diff(sample)) / 4;
                (7 * smoothed + sample) / 8
            }
        });
    }

    pub(crate) fn smoothed(&self) -> Duration {
        self.smoothed.unwrap_or(Self::INITIAL)
    }

    /// The least that was seen, if anything was.
    pub(crate) fn least(&self) -> Option<Duration> {
        self.smoothed.map(|_| self.least)
    }

    /// After how long silence means loss.
    pub(crate) fn timeout(&self) -> Duration {
        (self.smoothed() + 4 * self.variance).max(Self::SHORTEST_TIMEOUT)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_follows_what_it_sees() {
        let mut rtt = Rtt::new();
        assert!(rtt.timeout() > Rtt::INITIAL);
        assert_eq!(rtt.least(), None);
        for _ in 0..100 {
            rtt.add(Duration::from_millis(10));
        }
        assert_eq!(rtt.smoothed(), Duration::from_millis(10));
        assert!(rtt.timeout() < Duration::from_millis(11));
        rtt.add(Duration::from_millis(50));
        assert!(rtt.timeout() > Duration::from_millis(50));
        assert_eq!(rtt.least(), Some(Duration::from_millis(10)));
        rtt.add(Duration::from_secs(3600));
        assert!(
            rtt.smoothed() < Duration::from_millis(200),
            "somebody stood still"
        );
    }
}
