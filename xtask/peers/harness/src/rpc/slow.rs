//! Many calls under way, without and with a slow one among them.

use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;

use super::Args;
use crate::latency::summary;
use crate::meter::Meter;
use crate::program::{fail, print};
use crate::usage::Usage;

/// Phases. Those without and with the slow call take turns, so that what changes by itself meets both.
const ALONE: u8 = 1;
const SETTLING: u8 = 2;
const WITH_SLOW: u8 = 3;
const OVER: u8 = 4;
/// How often each of the two has its turn.
const TURNS: u32 = 3;

/// What all loops share.
#[derive(Debug)]
pub(super) struct Phases {
    phase: AtomicU8,
    /// Loops that have handed in their times.
    done: AtomicUsize,
    /// Without the slow call, and with it.
    times: Mutex<[Vec<u32>; 2]>,
    slow: Duration,
}

/// The times of one loop.
#[derive(Debug)]
pub(super) struct Times<'a> {
    phases: &'a Phases,
    is_slow: bool,
    times: [Vec<u32>; 2],
}

impl Phases {
    /// Begins with a warm-up; a thread goes from phase to phase and prints the result.
    pub(super) fn start(args: &Args, meter: &Arc<Meter>) -> Arc<Self> {
        let phases = Arc::new(Phases {
            phase: AtomicU8::new(0),
            done: AtomicUsize::new(0),
            times: Mutex::default(),
            slow: (args.window + args.warmup) / TURNS,
        });
        let (shared, args, meter) = (Arc::clone(&phases), args.clone(), Arc::clone(meter));
        thread::spawn(move || shared.pass(&args, &meter));
        phases
    }

    /// The loop number `index` begins; the first one makes the slow call.
    pub(super) fn begin(&self, index: usize) -> Times<'_> {
        Times {
            phases: self,
            is_slow: index == 0,
            times: Default::default(),
        }
    }

    fn pass(&self, args: &Args, meter: &Meter) {
        let begun = Instant::now();
        thread::sleep(args.warmup);
        let before = Usage::now();
        for (phase, time) in [
            (ALONE, args.window),
            (SETTLING, args.warmup),
            (WITH_SLOW, args.window),
        ] {
            self.phase.store(phase, Ordering::Release);
            thread::sleep(time);
        }
        self.phase.store(OVER, Ordering::Release);
        let patience = Duration::from_secs(10);
        let since = Instant::now();
        while self.done.load(Ordering::Acquire) + 1 < args.in_flight {
            if since.elapsed() > patience {
                fail("not all calls are answered");
            }
            thread::sleep(Duration::from_millis(1));
        }
        let [mut alone, mut with] = std::mem::take(&mut *self.lock());
        let count = alone.len() + with.len();
        let (alone, with) = (summary(&mut alone), summary(&mut with));
        let mut result = meter.result(count as u64, 0, Some(begun.elapsed()), before);
        result["alone_p50_us"] = alone["p50_us"].clone();
        result["alone_p99_us"] = alone["p99_us"].clone();
        result["p50_us"] = with["p50_us"].clone();
        result["p99_us"] = with["p99_us"].clone();
        result["all_messages"] = json!(meter.totals().0);
        print(&result);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, [Vec<u32>; 2]> {
        self.times.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Times<'_> {
    /// None when it is over; else what the slow call takes, if it is its turn.
    pub(super) fn next(&mut self) -> Option<Option<Duration>> {
        let phase = self.phases.phase.load(Ordering::Acquire);
        if phase == OVER {
            let mut all = self.phases.lock();
            for (all, own) in all.iter_mut().zip(&self.times) {
                all.extend_from_slice(own);
            }
            drop(all);
            self.phases.done.fetch_add(1, Ordering::AcqRel);
            return None;
        }
        Some((self.is_slow && phase == SETTLING).then_some(self.phases.slow))
    }

    /// The phase, and the time.
    pub(super) fn now(&self) -> (u8, Instant) {
        (self.phases.phase.load(Ordering::Relaxed), Instant::now())
    }

    /// A call that began then is answered. It counts if it was all of one phase.
    pub(super) fn add(&mut self, phase: u8, at: Instant) {
        if self.phases.phase.load(Ordering::Relaxed) != phase {
            return;
        }
        let nanos = u32::try_from(at.elapsed().as_nanos()).unwrap_or(u32::MAX);
        match phase {
            ALONE => self.times[0].push(nanos),
            WITH_SLOW => self.times[1].push(nanos),
            _ => {}
        }
    }
}
