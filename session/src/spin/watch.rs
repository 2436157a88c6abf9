//! Looking from within a poll.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use super::{Rivals, Spin};

/// The operations that look from within a poll.
#[derive(Debug, Default)]
pub(super) struct Watches {
    /// Those that look at this moment, and looks since the thread last let others run.
    looking: AtomicUsize,
    looks: AtomicUsize,
}

/// What an operation is to do that has found nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// Look again.
    Look,
    /// Let the other tasks of the thread run, and look again.
    Pass,
    /// Sleep until it is woken.
    Sleep,
}

/// One operation's looking.
#[derive(Debug, Default)]
pub(crate) struct Watch {
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

impl Watch {
    /// Looks of the only operation that looks before other tasks run: to go through the runtime costs more than a look.
    const IN_A_ROW: u32 = 16;

    /// Whether to ask the system itself, rather than the runtime for what it knows.
    pub(crate) fn is_direct(&self, spin: &Spin) -> bool {
        !spin.limit.is_zero() && self.state != State::Asleep
    }

    /// Nothing was found, or, with `moved`, a part of what is waited for.
    pub(crate) fn next(&mut self, spin: &Spin, moved: bool) -> Next {
        let since = match self.state {
            State::Asleep => return Next::Sleep,
            State::Fresh if !spin.begins() => {
                self.state = State::Asleep;
                return Next::Sleep;
            }
            State::Fresh => {
                spin.watches.looking.fetch_add(1, Ordering::Relaxed);
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
        let looking = spin.watches.looking.load(Ordering::Relaxed).max(1);
        let looks = spin.watches.looks.fetch_add(1, Ordering::Relaxed) + 1;
        if looks >= looking {
            spin.watches.looks.store(0, Ordering::Relaxed);
            if spin.rivals == Rivals::Many {
                std::thread::yield_now();
            }
        }
        self.looks += 1;
        if looking == 1 && !self.looks.is_multiple_of(Watch::IN_A_ROW) {
            return Next::Look;
        }
        Next::Pass
    }

    /// The operation is done, or given up.
    pub(crate) fn finish(&mut self, spin: &Spin, found: bool) {
        if let State::Looking(_) = self.state {
            if found {
                spin.hit();
            }
            self.stop(spin);
        }
        self.state = State::Fresh;
    }

    fn stop(&mut self, spin: &Spin) {
        spin.watches.looking.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn spin(limit: Duration) -> Spin {
        Spin::new(limit, Rivals::Many)
    }

    /// Looks in vain until it sleeps; how often.
    fn looks(spin: &Spin) -> usize {
        let mut watch = Watch::default();
        let looks = (0..).find(|_| watch.next(spin, false) == Next::Sleep);
        assert_eq!(watch.next(spin, false), Next::Sleep);
        watch.finish(spin, false);
        assert_eq!(spin.watches.looking.load(Ordering::Relaxed), 0);
        looks.unwrap_or_default()
    }

    #[test]
    fn off_never_looks() {
        let spin = spin(Duration::ZERO);
        assert!(!Watch::default().is_direct(&spin));
        assert_eq!(looks(&spin), 0);
    }

    #[test]
    fn what_never_pays_is_tried_less_and_less_until_it_pays_again() {
        let spin = spin(Duration::from_micros(100));
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
        let spin = spin(Duration::from_secs(10));
        let mut watch = Watch::default();
        let steps: Vec<_> = (0..2 * Watch::IN_A_ROW)
            .map(|_| watch.next(&spin, false))
            .collect();
        assert_eq!(steps.iter().filter(|next| **next == Next::Pass).count(), 2);
        let mut second = Watch::default();
        assert_eq!(second.next(&spin, false), Next::Pass, "the other one looks, too");
        second.finish(&spin, true);
        watch.finish(&spin, true);
    }
}
