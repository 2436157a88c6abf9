//! How much may be on its way at once.

use std::time::{Duration, Instant};

/// How many segments may be on their way at once.
///
/// As BBR does, it measures how fast segments are delivered and lets twice as many be on their way as that takes in
/// one round trip; loss alone does not slow it down, because a group of many receivers always loses something. Until
/// the rate stops to grow, the window doubles with each round trip. Delivered is what has come, in order or not: a
/// single segment that is lost again and again does not make the rate seem less.
#[derive(Debug)]
pub(crate) struct Pace {
    window: u64,
    growing: bool,
    /// Rounds in which the rate did not grow by a quarter.
    flat_rounds: u32,
    /// Segments in a second, in the last rounds.
    rates: [f64; Self::ROUNDS],
    round: usize,
    round_end: u64,
    round_began: Option<(Instant, u64)>,
    /// Whether there was always something to send in this round.
    busy: bool,
}

impl Pace {
    const ROUNDS: usize = 10;
    /// What may always be on its way, and what is beside twice the delivery of a round trip: reports come in steps.
    const LEAST: u64 = 64;
    /// The shortest round that says something of the rate.
    const SHORTEST_ROUND: Duration = Duration::from_micros(500);
    /// A host that has something else to do answers so much later than the least round trip makes believe.
    const TURN: Duration = Duration::from_millis(4);

    pub(crate) fn new() -> Self {
        Pace {
            window: 2 * Self::LEAST,
            growing: true,
            flat_rounds: 0,
            rates: [0.0; Self::ROUNDS],
            round: 0,
            round_end: 0,
            round_began: None,
            busy: false,
        }
    }

    /// How many segments may be on their way.
    pub(crate) fn window(&self) -> u64 {
        self.window
    }

    /// The window was what kept the sender from sending more.
    pub(crate) fn note_limited(&mut self) {
        self.busy = true;
    }

    /// All receivers now have `delivered` segments, of `sent` so far.
    pub(crate) fn handle_progress(&mut self, now: Instant, delivered: u64, sent: u64, rtt: Option<Duration>) {
        let Some((began, first)) = self.round_began else {
            self.round_began = Some((now, delivered));
            self.round_end = sent;
            return;
        };
        let elapsed = now.saturating_duration_since(began);
        if delivered < self.round_end || elapsed < Self::SHORTEST_ROUND {
            return;
        }
        let rate = delivered.saturating_sub(first) as f64 / elapsed.as_secs_f64();
        let best = self.best_rate();
        self.round_began = Some((now, delivered));
        self.round_end = sent;
        if !self.busy && rate < best {
            return;
        }
        self.round += 1;
        self.rates[self.round % Self::ROUNDS] = rate;
        if self.growing {
            self.grow(rate > 1.25 * best);
        } else if let Some(rtt) = rtt {
            let on_its_way = self.best_rate() * (rtt + Self::TURN).as_secs_f64();
            self.window = Self::LEAST + (2.0 * on_its_way) as u64;
        }
        self.busy = false;
    }

    fn grow(&mut self, faster: bool) {
        if !self.busy {
            return;
        }
        self.flat_rounds = if faster { 0 } else { self.flat_rounds + 1 };
        if self.flat_rounds == 3 {
            self.growing = false;
        } else {
            self.window = self.window.saturating_mul(2).min(1 << 20);
        }
    }

    fn best_rate(&self) -> f64 {
        self.rates.iter().copied().fold(0.0, f64::max)
    }
}
