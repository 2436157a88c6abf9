//! Looking for a moment before sleeping, where latency is worth a processor.

use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// Whether the operations of a mesh look again and again before they sleep. Like the sockets' it learns; but its looks
/// are system calls of its own, not questions to the runtime.
#[derive(Debug)]
pub(super) struct Spin {
    limit: Duration,
    /// Waits in a row that looked in vain.
    misses: AtomicU32,
    /// Waits that sleep at once before the next one looks, and how many those will be the next time.
    asleep: AtomicU32,
    pause: AtomicU32,
    /// Operations that look at this moment, and looks since the thread last let others run.
    looking: AtomicUsize,
    looks: AtomicUsize,
}

/// What an operation is to do that has found nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Look again.
    Look,
    /// Let the other tasks of the thread run, and look again.
    Pass,
    /// Sleep until it is woken.
    Sleep,
}

/// One operation's looking.
#[derive(Debug, Default)]
pub(super) struct Watch {
    state: State,
    looks: u32,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Fresh,
    Looking(Instant),
    Asleep,
}

impl Spin {
    /// Misses after which it pauses.
    const PATIENCE: u32 = 8;
    /// The first and the longest pause, in waits.
    const FIRST_PAUSE: u32 = 8;
    const LONGEST_PAUSE: u32 = 1024;
    /// Looks of the only operation that looks before other tasks run: to go through the runtime costs more than a look.
    const IN_A_ROW: u32 = 16;

    pub(super) fn new(limit: Duration) -> Self {
        Spin {
            limit,
            misses: AtomicU32::new(0),
            asleep: AtomicU32::new(0),
            pause: AtomicU32::new(Self::FIRST_PAUSE),
            looking: AtomicUsize::new(0),
            looks: AtomicUsize::new(0),
        }
    }

    fn begins(&self) -> bool {
        let asleep = self.asleep.load(Ordering::Relaxed);
        if self.limit.is_zero() || asleep > 0 {
            self.asleep.store(asleep.saturating_sub(1), Ordering::Relaxed);
            return false;
        }
        true
    }

    fn hit(&self) {
        self.misses.store(0, Ordering::Relaxed);
        self.pause.store(Self::FIRST_PAUSE, Ordering::Relaxed);
    }

    fn miss(&self) {
        let misses = self.misses.load(Ordering::Relaxed) + 1;
        if misses < Self::PATIENCE {
            return self.misses.store(misses, Ordering::Relaxed);
        }
        // From here on a single miss is enough for the next, longer pause.
        let pause = self.pause.load(Ordering::Relaxed);
        self.asleep.store(pause, Ordering::Relaxed);
        self.pause
            .store((2 * pause).min(Self::LONGEST_PAUSE), Ordering::Relaxed);
    }
}

impl Watch {
    /// Whether to ask the system itself, rather than the runtime for what it knows.
    pub(super) fn is_direct(&self, spin: &Spin) -> bool {
        !spin.limit.is_zero() && self.state != State::Asleep
    }

    /// Nothing was found, or, with `moved`, a part of what is waited for.
    pub(super) fn next(&mut self, spin: &Spin, moved: bool) -> Next {
        let since = match self.state {
            State::Asleep => return Next::Sleep,
            State::Fresh if !spin.begins() => {
                self.state = State::Asleep;
                return Next::Sleep;
            }
            State::Fresh => {
                spin.looking.fetch_add(1, Ordering::Relaxed);
                Instant::now()
            }
            State::Looking(_) if moved => Instant::now(),
            State::Looking(since) => since,
        };
        self.state = State::Looking(since);
        if since.elapsed() >= spin.limit {
            spin.miss();
            self.stop(spin);
            self.state = State::Asleep;
            return Next::Sleep;
        }
        let looking = spin.looking.load(Ordering::Relaxed).max(1);
        let looks = spin.looks.fetch_add(1, Ordering::Relaxed) + 1;
        if looks >= looking {
            spin.looks.store(0, Ordering::Relaxed);
            // Where there are more ranks than processors, the one that is waited for may need this very one.
            std::thread::yield_now();
        }
        self.looks += 1;
        if looking == 1 && !self.looks.is_multiple_of(Spin::IN_A_ROW) {
            return Next::Look;
        }
        Next::Pass
    }

    /// The operation is done, or given up.
    pub(super) fn finish(&mut self, spin: &Spin, found: bool) {
        if let State::Looking(_) = self.state {
            if found {
                spin.hit();
            }
            self.stop(spin);
        }
        self.state = State::Fresh;
    }

    fn stop(&mut self, spin: &Spin) {
        spin.looking.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Looks in vain until it sleeps; how often.
    fn looks(spin: &Spin) -> usize {
        let mut watch = Watch::default();
        let looks = (0..).find(|_| watch.next(spin, false) == Next::Sleep);
        assert_eq!(watch.next(spin, false), Next::Sleep);
        watch.finish(spin, false);
        assert_eq!(spin.looking.load(Ordering::Relaxed), 0);
        looks.unwrap_or_default()
    }

    #[test]
    fn off_never_looks() {
        let spin = Spin::new(Duration::ZERO);
        assert!(!Watch::default().is_direct(&spin));
        assert_eq!(looks(&spin), 0);
    }

    #[test]
    fn what_never_pays_is_tried_less_and_less_until_it_pays_again() {
        let spin = Spin::new(Duration::from_micros(100));
        for _ in 0..Spin::PATIENCE {
            assert!(looks(&spin) > 0);
        }
        for pause in [8, 16, 32] {
            for _ in 0..pause {
                assert_eq!(looks(&spin), 0);
            }
            assert!(looks(&spin) > 0, "one try after {pause} waits");
        }
        while looks(&spin) == 0 {}
        let mut watch = Watch::default();
        while watch.next(&spin, false) == Next::Sleep {
            watch = Watch::default();
        }
        watch.finish(&spin, true);
        for _ in 0..Spin::PATIENCE {
            assert!(looks(&spin) > 0, "patient again");
        }
        assert_eq!(looks(&spin), 0);
    }

    #[test]
    fn others_run_in_between() {
        let spin = Spin::new(Duration::from_secs(10));
        let mut watch = Watch::default();
        let steps: Vec<_> = (0..2 * Spin::IN_A_ROW)
            .map(|_| watch.next(&spin, false))
            .collect();
        assert_eq!(steps.iter().filter(|next| **next == Next::Pass).count(), 2);
        let mut second = Watch::default();
        assert_eq!(second.next(&spin, false), Next::Pass, "the other one looks, too");
        second.finish(&spin, true);
        watch.finish(&spin, true);
    }
}
