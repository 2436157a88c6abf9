//! Which way bytes go to a file: through the page cache or past it, by how fast each has been lately.

use std::time::Duration;

/// Whether a recording is written past the page cache of the operating system (`O_DIRECT`, on Linux).
///
/// Through the cache, each page is allocated and copied by the kernel; past it, a thread waits for the disk. Either can
/// be several times faster. In one virtual machine, 1 GiB through the cache took 0.5 s of a core where the machine had
/// its memory already and 3.3 s where it did not, and past it 0.25 s always: with a fast disk the cache is in the way.
/// With a slow one it takes bursts at the speed of memory. Where the file system has no direct writes, everything goes
/// through the cache; so do the remainders of blocks, and what comes in small amounts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum DirectWrites {
    /// The way that is faster, by measurement while it is written: the other one is tried again now and then. Where a
    /// [`SyncPolicy`](super::SyncPolicy) has the file put on the disk, the cache has to be twice as fast; where it has not,
    /// a cache that takes 3 GB/s is fast enough, and nothing else is tried. The default.
    #[default]
    Auto,
    /// Past the cache, but for what comes in small amounts.
    Always,
    /// Through the cache.
    Never,
}

/// One of the two ways.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    Cached,
    Direct,
}

/// Takes the faster way. It is told what was written, and knows no clock.
#[derive(Debug)]
pub(super) struct Chooser {
    policy: DirectWrites,
    /// How much time of the cache counts.
    cached_weight: f64,
    now: Way,
    /// Whether `now` is being tried rather than used.
    trying: bool,
    /// Whether nothing went this way since it was changed: its first bytes may wait for the last ones of the other.
    fresh: bool,
    /// Bytes until the other way is tried, or the trial is over.
    left: u64,
    cached: Speed,
    direct: Speed,
}

// Enough that a pause of the disk or of this thread does not decide alone.
const TRIAL: u64 = 4 << 20;
// A way that is far slower shows that sooner.
const SHORT_TRIAL: u64 = 2 << 20;
// Between trials: with these, what they cost is a few per cent.
const USE: u64 = 124 << 20;
const LONGEST_USE: u64 = 4 << 30;
// Ways that differ by less count as equally fast: to change for nothing costs, too.
const CLEARLY: f64 = 1.1;
// Bytes a second. A disk is hardly faster than a cache that takes so much, and a trial holds up who writes at that speed:
// 2 GiB in messages of 64 KiB, received meanwhile, took 0.80 to 0.89 s with trials and 0.69 s without.
const ENOUGH: f64 = 3e9;
// What goes into the cache of a file that is synced has to come out of it before the file is closed.
const SYNCED: f64 = 2.0;

impl Chooser {
    /// `synced`: whether the file is put on the disk at the latest when it is closed.
    pub(super) fn new(policy: DirectWrites, synced: bool) -> Self {
        let now = match policy {
            DirectWrites::Auto | DirectWrites::Never => Way::Cached,
            DirectWrites::Always => Way::Direct,
        };
        Chooser {
            policy,
            cached_weight: if synced { SYNCED } else { 1.0 },
            now,
            trying: true,
            fresh: true,
            left: TRIAL,
            cached: Speed::default(),
            direct: Speed::default(),
        }
    }

    /// The way that the next bytes should go.
    pub(super) fn way(&self) -> Way {
        self.now
    }

    /// The file cannot be written directly: that is never tried again.
    pub(super) fn handle_refused(&mut self) {
        (self.policy, self.now) = (DirectWrites::Never, Way::Cached);
    }

    /// So many bytes went the way that was chosen, in this time.
    pub(super) fn handle_written(&mut self, bytes: u64, elapsed: Duration) {
        if self.policy != DirectWrites::Auto {
            return;
        }
        if std::mem::take(&mut self.fresh) {
            return;
        }
        let weight = match self.now {
            Way::Cached => self.cached_weight,
            Way::Direct => 1.0,
        };
        self.speed(self.now).add(bytes, elapsed.as_secs_f64() * weight);
        self.left = self.left.saturating_sub(bytes);
        let (Some(now), other) = (self.speed(self.now).rate(), self.speed(self.other()).rate()) else {
            return;
        };
        match other {
            Some(other) if self.trying && self.left == 0 => self.choose(now, other),
            _ if self.left == 0 && self.is_enough(now) => self.left = USE,
            // What is known of the other way is old: that it is faster now has to be seen.
            Some(other) if !self.trying && (self.left == 0 || now * CLEARLY < other) => {
                self.try_other(now, other);
            }
            None if self.left == 0 => self.try_other(now, now),
            _ => {}
        }
    }

    /// Whether there is no need to know how fast the other way is.
    fn is_enough(&self, now: f64) -> bool {
        self.now == Way::Cached && self.cached_weight < SYNCED && now >= ENOUGH
    }

    /// After a trial of the way that is taken now.
    fn choose(&mut self, now: f64, other: f64) {
        if now < other * CLEARLY {
            self.now = self.other();
            self.fresh = true;
        }
        let gap = now.max(other) / now.min(other);
        self.trying = false;
        self.left = ((USE as f64 * (gap / 2.0).max(1.0)) as u64).min(LONGEST_USE);
    }

    fn try_other(&mut self, now: f64, other: f64) {
        self.now = self.other();
        self.trying = true;
        self.fresh = true;
        self.left = match now > 2.0 * other {
            true => SHORT_TRIAL,
            false => TRIAL,
        };
        *self.speed(self.now) = Speed::default();
    }

    fn other(&self) -> Way {
        match self.now {
            Way::Cached => Way::Direct,
            Way::Direct => Way::Cached,
        }
    }

    fn speed(&mut self, way: Way) -> &mut Speed {
        match way {
            Way::Cached => &mut self.cached,
            Way::Direct => &mut self.direct,
        }
    }
}

/// Bytes a second, of about the last eight writes.
#[derive(Clone, Copy, Debug, Default)]
struct Speed {
    bytes: f64,
    seconds: f64,
}

impl Speed {
    const KEEP: f64 = 7.0 / 8.0;

    fn add(&mut self, bytes: u64, seconds: f64) {
        self.bytes = self.bytes * Self::KEEP + bytes as f64;
        self.seconds = self.seconds * Self::KEEP + seconds;
    }

    fn rate(&self) -> Option<f64> {
        // No clock is finer than a nanosecond.
        (self.bytes > 0.0).then(|| self.bytes / self.seconds.max(1e-9))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    /// Writes `mib` MiB with ways that are so fast (MiB a second), and returns how many went past the cache, and how
    /// long it took.
    fn run(chooser: &mut Chooser, mib: u64, cached: f64, direct: f64) -> (u64, f64) {
        let (mut past, mut seconds) = (0, 0.0);
        for _ in 0..mib {
            let rate = match chooser.way() {
                Way::Cached => cached,
                Way::Direct => direct,
            };
            past += u64::from(chooser.way() == Way::Direct);
            seconds += 1.0 / rate;
            chooser.handle_written(MIB, Duration::from_secs_f64(1.0 / rate));
        }
        (past, seconds)
    }

    #[test]
    fn the_faster_way_is_taken_and_trials_cost_little() {
        for (cached, direct) in [
            (320.0, 1_700.0),
            (2_240.0, 1_700.0),
            (2_800.0, 100.0),
            (200.0, 4_000.0),
        ] {
            let mut chooser = Chooser::new(DirectWrites::Auto, false);
            run(&mut chooser, 10, cached, direct);
            let (past, seconds) = run(&mut chooser, 10_000, cached, direct);
            let best = 10_000.0 / f64::max(cached, direct);
            assert!(seconds < best * 1.06, "{cached} {direct}: {seconds} s, {best} s");
            assert!(
                past > 0 && past < 10_000,
                "{cached} {direct}: the other way is never tried"
            );
        }
    }

    #[test]
    fn a_way_that_becomes_slow_is_left_at_once() {
        let mut chooser = Chooser::new(DirectWrites::Auto, false);
        run(&mut chooser, 100, 2_000.0, 1_000.0);
        assert_eq!(chooser.way(), Way::Cached);
        let (past, _) = run(&mut chooser, 100, 300.0, 1_000.0);
        assert!(past > 85, "{past}");
        // And one that becomes fast is found when it is tried again.
        let (past, _) = run(&mut chooser, 2_000, 2_000.0, 1_000.0);
        assert!(past < 600, "{past}");
    }

    #[test]
    fn ways_that_are_as_fast_do_not_take_turns() {
        let mut chooser = Chooser::new(DirectWrites::Auto, false);
        let (mut changes, mut last) = (0, chooser.way());
        for n in 0..2_000_u64 {
            // Within 4 % of each other.
            let rate = 1_000.0 + (n % 5) as f64 * 10.0;
            chooser.handle_written(MIB, Duration::from_secs_f64(1.0 / rate));
            changes += u32::from(chooser.way() != last);
            last = chooser.way();
        }
        assert!(changes <= 36, "{changes}");
    }

    #[test]
    fn what_was_asked_for_is_done_unless_it_is_refused() {
        for (policy, past) in [(DirectWrites::Always, 100), (DirectWrites::Never, 0)] {
            let mut chooser = Chooser::new(policy, false);
            assert_eq!(run(&mut chooser, 100, 1_000.0, 1.0).0, past);
            assert_eq!(run(&mut chooser, 100, 1.0, 1_000.0).0, past);
        }
        for policy in [DirectWrites::Auto, DirectWrites::Always] {
            let mut chooser = Chooser::new(policy, false);
            run(&mut chooser, 50, 1.0, 1_000.0);
            assert_eq!(chooser.way(), Way::Direct);
            chooser.handle_refused();
            assert_eq!(run(&mut chooser, 1_000, 1.0, 1_000.0).0, 0);
        }
    }

    #[test]
    fn a_file_that_is_synced_pays_for_the_cache_twice() {
        for (cached, synced, way) in [
            (1_500.0, false, Way::Cached),
            (1_500.0, true, Way::Direct),
            (3_000.0, true, Way::Cached),
        ] {
            let mut chooser = Chooser::new(DirectWrites::Auto, synced);
            run(&mut chooser, 50, cached, 1_000.0);
            assert_eq!(chooser.way(), way, "{cached} {synced}");
        }
    }

    #[test]
    fn a_cache_that_is_fast_enough_is_not_compared_until_it_is_slow() {
        let mut chooser = Chooser::new(DirectWrites::Auto, false);
        assert_eq!(run(&mut chooser, 10_000, 4_000.0, 1_000.0).0, 0);
        let (past, _) = run(&mut chooser, 1_000, 500.0, 1_000.0);
        assert!(past > 700, "{past}");
        let mut synced = Chooser::new(DirectWrites::Auto, true);
        assert!(run(&mut synced, 1_000, 8_000.0, 1_000.0).0 > 0);
    }

    #[test]
    fn a_clock_that_stands_still_is_no_trouble() {
        let mut chooser = Chooser::new(DirectWrites::Auto, false);
        for bytes in [0, 1, MIB, u64::MAX, 0, MIB, MIB] {
            chooser.handle_written(bytes, Duration::ZERO);
        }
    }
}
