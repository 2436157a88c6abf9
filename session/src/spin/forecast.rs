//! Whether to look for a while or to sleep at once, from how long waits have lasted.

use std::time::Duration;

/// What the waits so far say about the next one, without any clock.
///
/// To sleep and to be woken takes some 50 µs; who looks for as long as that in vain has lost about what sleeping costs
/// anyway. So this bets on the next wait: where waits have been short, it may look, for about twice as long as they
/// lasted. Where they have been long it sleeps at once, and bets that are lost make the next ones rarer.
#[derive(Debug)]
pub(super) struct Forecast {
    /// How long waits last, of late.
    usual: Duration,
    /// Bets that may be lost before there is a pause.
    trust: u32,
    /// Bets won since the last pause.
    wins: u32,
    /// Waits that sleep at once before the next bet, and how many those will be after the next loss.
    asleep: u32,
    pause: u32,
}

/// How a bet ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// What was waited for came.
    Won,
    /// It did not.
    Lost,
    /// Others had the processor for longer than the bet stood: a sleeper would have got it back sooner.
    Displaced,
}

impl Forecast {
    /// A bet stands for so long at least, which is what it takes to be woken, and at most.
    pub(super) const SHORTEST: Duration = Duration::from_micros(50);
    pub(super) const LONGEST: Duration = Duration::from_micros(100);
    /// Waits that last so long may have been short: where both sides sleep, being woken may be all that they consist of.
    /// Beyond, looking cannot pay.
    const FAR: Duration = Duration::from_micros(500);
    /// No wait counts for more: one long one is no reason to sleep through all short ones that follow.
    const MOST: Duration = Duration::from_micros(1000);
    /// Each wait's share in what is usual is one in so many.
    const SHARE: u32 = 8;
    /// So many wins are worth one loss, and that many losses are forgiven at most.
    const WINS: u32 = 32;
    const MOST_TRUST: u32 = 4;
    /// So many make the next pause half as long.
    const WINS_TO_HALVE: u32 = 128;
    /// The shortest and the longest pause, in waits.
    const FIRST_PAUSE: u32 = 8;
    const LONGEST_PAUSE: u32 = 4096;
    /// The shortest one where others need the processor. Measured with seven processes on two processors: with the usual
    /// pauses, those that looked kept others waiting for milliseconds.
    const DISPLACED: u32 = 256;

    /// Of waits that nothing is known about: the first one is worth a bet.
    pub(super) fn new() -> Self {
        Forecast {
            usual: Self::LONGEST,
            trust: 1,
            wins: 0,
            asleep: 0,
            pause: Self::FIRST_PAUSE,
        }
    }

    /// A wait begins: for how long it may look, if it may. Who does then tells how that [ended](Self::ended).
    pub(super) fn bet(&mut self) -> Option<Duration> {
        if self.usual > Self::FAR {
            return None;
        }
        if self.asleep > 0 {
            self.asleep -= 1;
            return None;
        }
        Some((2 * self.usual).clamp(Self::SHORTEST, Self::LONGEST))
    }

    /// A bet has ended.
    pub(super) fn ended(&mut self, outcome: Outcome) {
        match outcome {
            Outcome::Won => self.win(),
            Outcome::Lost if self.trust > 0 && self.usual <= Self::LONGEST => self.trust -= 1,
            Outcome::Lost => self.sleep(2),
            Outcome::Displaced => {
                self.pause = self.pause.max(Self::DISPLACED);
                self.sleep(4);
            }
        }
    }

    fn win(&mut self) {
        self.wins = self.wins.wrapping_add(1);
        if self.wins.is_multiple_of(Self::WINS) {
            self.trust = (self.trust + 1).min(Self::MOST_TRUST);
        }
        if self.wins.is_multiple_of(Self::WINS_TO_HALVE) {
            self.pause = (self.pause / 2).max(Self::FIRST_PAUSE);
        }
    }

    /// Pauses; the next pause is so many times as long.
    fn sleep(&mut self, growth: u32) {
        self.trust = 0;
        self.wins = 0;
        self.asleep = self.pause;
        self.pause = (growth * self.pause).min(Self::LONGEST_PAUSE);
    }

    /// A wait is over. It lasted so long, whether it looked or slept.
    pub(super) fn waited(&mut self, time: Duration) {
        let share = time.min(Self::MOST) / Self::SHARE;
        self.usual = self.usual - self.usual / Self::SHARE + share;
    }
}

#[cfg(test)]
mod tests;
