//! Looking for messages for a moment before sleeping, where latency is worth a processor.

mod bets;
mod forecast;
mod lookout;
mod post;
#[cfg(feature = "mesh")]
mod watch;

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use bets::Bets;
pub use lookout::{Lookout, Moved};
#[cfg(feature = "mesh")]
pub(crate) use watch::{Next, Watch};

/// How long whoever waits looks again and again before it sleeps: in a future of its own, by [`Spin::until`], or from
/// within a poll, by a `Watch` (whose looks are system calls of its own, not questions to the runtime).
///
/// It learns: where looking does not pay (messages come later, or their sender needs this very processor), it is only
/// tried now and then.
#[derive(Debug)]
pub(crate) struct Spin {
    limit: Duration,
    rivals: Rivals,
    /// Waits in a row that looked in vain.
    misses: AtomicU32,
    /// Waits that sleep at once before the next one looks, and how many those will be the next time.
    asleep: AtomicU32,
    pause: AtomicU32,
    /// In place of all that: how long each wait looks is up to those before.
    bets: Option<Box<Bets>>,
    #[cfg(feature = "mesh")]
    watches: watch::Watches,
}

/// Who else wants processors while one looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rivals {
    /// A peer, which has a processor of its own.
    Few,
    /// Several others that look, too. Where there are more of them than processors, the one that is waited for may need
    /// this very one: after each look, other threads run.
    Many,
}

impl Spin {
    /// Misses after which it pauses.
    const PATIENCE: u32 = 8;
    /// The first and the longest pause, in waits.
    const FIRST_PAUSE: u32 = 8;
    const LONGEST_PAUSE: u32 = 1024;

    pub(crate) fn new(limit: Duration, rivals: Rivals) -> Self {
        Spin {
            limit,
            rivals,
            misses: AtomicU32::new(0),
            asleep: AtomicU32::new(0),
            pause: AtomicU32::new(Self::FIRST_PAUSE),
            bets: None,
            #[cfg(feature = "mesh")]
            watches: watch::Watches::default(),
        }
    }

    /// Each wait looks for as long as those before it say that it pays; none does where there is but one processor.
    pub(crate) fn adaptive() -> Self {
        Spin {
            bets: post::has_processors().then(Box::default),
            ..Spin::new(Duration::ZERO, Rivals::Few)
        }
    }

    /// Now, where it learns from how long a wait that begins [lasts](Self::waited). It does not from those for tasks of
    /// this process (`direct`), nor where the time is fixed.
    pub(crate) fn wait(&self, direct: bool) -> Option<Instant> {
        (self.bets.is_some() && !direct).then(Instant::now)
    }

    /// The wait that began then is over.
    pub(crate) fn waited(&self, since: Option<Instant>) {
        if let (Some(since), Some(bets)) = (since, &self.bets) {
            bets.waited(since.elapsed());
        }
    }

    /// Whether this wait looks.
    fn begins(&self) -> bool {
        let asleep = self.asleep.load(Ordering::Relaxed);
        if self.limit.is_zero() || asleep > 0 {
            self.asleep.store(asleep.saturating_sub(1), Ordering::Relaxed);
            return false;
        }
        true
    }

    /// Looks until there is something, for the time allowed; before each look, all other tasks of the thread run.
    ///
    /// Where it is off or pauses, it looks once: the answer to what this task has just sent is often there by the
    /// time the others have run, and one look costs less than to sleep and be woken (REQ/REP over tcp, 16 B: 95 µs
    /// without it, 85 µs with it). Not so among tasks of one process (`direct`): there the look keeps a second thread
    /// of the runtime awake that has nothing to do (REQ/REP over inproc, two threads: 24 µs without, 39 µs with it).
    ///
    /// Cancel safe where `look` takes nothing that it does not return.
    pub(crate) async fn until<T, E>(
        &self,
        mut look: impl FnMut() -> Result<Option<T>, E>,
        direct: bool,
    ) -> Result<Option<T>, E> {
        if let Some(bets) = &self.bets
            && !direct
            && let Some(bet) = bets.place()
        {
            return bets.look(bet, look).await;
        }
        if !self.begins() {
            if direct {
                return Ok(None);
            }
            tokio::task::yield_now().await;
            return look();
        }
        let begun = Instant::now();
        while begun.elapsed() < self.limit {
            // Tokio's own: it makes the runtime ask the system for events each time.
            tokio::task::yield_now().await;
            if let Some(found) = look()? {
                self.hit();
                return Ok(Some(found));
            }
            if self.rivals == Rivals::Many {
                std::thread::yield_now();
            }
        }
        self.miss();
        Ok(None)
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

#[cfg(test)]
mod tests {
    use super::*;

    /// How often it looks in vain.
    fn looks(spin: &Spin, direct: bool) -> usize {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .expect("a runtime");
        let mut looks = 0;
        let found: Result<Option<()>, ()> = runtime.block_on(spin.until(
            || {
                looks += 1;
                Ok(None)
            },
            direct,
        ));
        assert_eq!(found, Ok(None));
        looks
    }

    fn finds(spin: &Spin) -> bool {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .expect("a runtime");
        let found: Result<Option<()>, ()> = runtime.block_on(spin.until(|| Ok(Some(())), false));
        found == Ok(Some(()))
    }

    #[test]
    fn what_never_pays_is_tried_less_and_less_until_it_pays_again() {
        let spin = Spin::new(Duration::from_micros(100), Rivals::Few);
        for _ in 0..Spin::PATIENCE {
            assert!(looks(&spin, false) > 1);
        }
        for pause in [8, 16, 32] {
            for _ in 0..pause {
                assert_eq!(looks(&spin, false), 1);
            }
            assert!(looks(&spin, false) > 1, "one try after {pause} waits");
        }
        for _ in 0..=64 {
            assert!(finds(&spin));
        }
        for _ in 0..Spin::PATIENCE {
            assert!(looks(&spin, false) > 1, "patient again");
        }
        assert_eq!(looks(&spin, false), 1);
    }

    #[test]
    fn what_adapts_looks_where_waits_are_short_and_once_where_they_are_long() {
        let taught = |time| {
            let spin = Spin {
                bets: Some(Box::default()),
                ..Spin::new(Duration::ZERO, Rivals::Few)
            };
            for _ in 0..10 {
                spin.bets.as_deref().expect("it learns").waited(time);
            }
            spin
        };
        // A machine that is busy may give it time for no more than one look.
        assert!((0..100).any(|_| looks(&taught(Duration::from_micros(10)), false) > 1));
        let spin = taught(Duration::from_micros(10));
        assert_eq!(looks(&spin, true), 0, "not for tasks of this process");
        assert_eq!(spin.wait(true), None);
        let spin = taught(Duration::from_millis(10));
        for _ in 0..100 {
            assert_eq!(looks(&spin, false), 1);
        }
        assert!(finds(&spin));
    }

    #[test]
    fn with_one_processor_nothing_adapts() {
        let several = std::thread::available_parallelism().is_ok_and(|processors| processors.get() > 1);
        let spin = Spin::adaptive();
        assert_eq!(spin.bets.is_some(), several);
        assert_eq!(spin.wait(false).is_some(), several);
    }

    #[test]
    fn off_is_one_look_or_none_where_all_is_direct() {
        assert_eq!(looks(&Spin::new(Duration::ZERO, Rivals::Few), false), 1);
        assert_eq!(looks(&Spin::new(Duration::ZERO, Rivals::Few), true), 0);
    }
}
