//! The time to a receiver and back.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

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

/// When packets were sent, as far as receivers may still tell that they were the newest that they had seen.
#[derive(Debug, Default)]
pub(super) struct Departures(VecDeque<Burst>);

/// Packets that were sent at the same time.
#[derive(Clone, Copy, Debug)]
struct Burst {
    at: Instant,
    first: u64,
    last: u64,
}

impl Departures {
    const MAX_BURSTS: usize = 256;

    /// Packet `number` is sent now.
    pub(super) fn note(&mut self, now: Instant, number: u64) {
        match self.0.back_mut() {
            Some(burst) if burst.at == now && burst.last + 1 == number => burst.last = number,
            _ => {
                if self.0.len() == Self::MAX_BURSTS {
                    self.0.pop_front();
                }
                self.0.push_back(Burst {
                    at: now,
                    first: number,
                    last: number,
                });
            }
        }
    }

    /// When a packet was sent.
    pub(super) fn of(&self, number: u64) -> Option<Instant> {
        let index = self.0.partition_point(|burst| burst.last < number);
        let burst = self.0.get(index)?;
        (burst.first <= number).then_some(burst.at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_knows_when_recent_packets_were_sent() {
        let began = Instant::now();
        let at = |millis| began + Duration::from_millis(millis);
        let mut departures = Departures::default();
        for (millis, number) in [(0, 3), (0, 4), (0, 6), (5, 7)] {
            departures.note(at(millis), number);
        }
        assert_eq!(
            [2, 3, 4, 5, 6, 7, 8].map(|number| departures.of(number)),
            [
                None,
                Some(at(0)),
                Some(at(0)),
                None,
                Some(at(0)),
                Some(at(5)),
                None
            ]
        );
        for millis in 10..10 + Departures::MAX_BURSTS as u64 {
            departures.note(at(millis), millis);
        }
        assert_eq!((departures.of(7), departures.of(10)), (None, Some(at(10))));
    }

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
