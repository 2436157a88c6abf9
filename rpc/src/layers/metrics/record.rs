//! What is counted of one method.

use std::error::Error;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::error::CallError;
use crate::failure::{Failure, FailureKind};

/// How calls end: with an answer, dropped before it, with a failure of each kind, without its server, or otherwise.
pub const OUTCOMES: [&str; 18] = [
    "ok",
    "dropped",
    "failed",
    "unknown_method",
    "bad_arguments",
    "panicked",
    "overloaded",
    "unavailable",
    "deadline_exceeded",
    "cancelled",
    "too_large",
    "unauthenticated",
    "permission_denied",
    "malformed",
    "internal",
    "other",
    "disconnected",
    "error",
];

pub(super) const OK: usize = 0;
pub(super) const DROPPED: usize = 1;
const DISCONNECTED: usize = 16;
const ERROR: usize = 17;

/// Upper bounds of the buckets, in microseconds.
const BOUNDS: [u64; 18] = [
    100, 250, 500, 1000, 2500, 5000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000,
    5_000_000, 10_000_000, 30_000_000, 60_000_000,
];

/// What is counted of one method.
#[derive(Debug, Default)]
pub(super) struct Record {
    outcomes: [AtomicU64; OUTCOMES.len()],
    buckets: [AtomicU64; BOUNDS.len()],
    micros: AtomicU64,
}

/// What was counted of one method. It ended so often each way, and took so long.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct MethodMetrics {
    /// The method's name; empty for those that are not told apart.
    pub name: String,
    /// Calls by outcome, in the order of [`OUTCOMES`].
    pub outcomes: [u64; OUTCOMES.len()],
    /// Time that all calls took together.
    pub duration: Duration,
    /// Upper bounds, and how many calls took at most as long: each counts those before, too.
    pub buckets: Vec<(Duration, u64)>,
}

impl Record {
    pub(super) fn count(&self, outcome: usize, took: Duration) {
        // In whole microseconds, rounded up: what is within a bound stays there.
        let micros = u64::try_from(took.as_nanos().div_ceil(1000)).unwrap_or(u64::MAX);
        self.outcomes[outcome].fetch_add(1, Ordering::Relaxed);
        self.micros.fetch_add(micros, Ordering::Relaxed);
        if let Some(bucket) = self.buckets.get(BOUNDS.partition_point(|bound| *bound < micros)) {
            bucket.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(super) fn snapshot(&self, name: &str) -> MethodMetrics {
        let mut so_far = 0;
        let buckets = BOUNDS.iter().zip(&self.buckets).map(|(bound, bucket)| {
            so_far += bucket.load(Ordering::Relaxed);
            (Duration::from_micros(*bound), so_far)
        });
        // Buckets first: there are never more of them than of calls, though each count is taken by itself.
        let buckets = buckets.collect();
        MethodMetrics {
            name: name.to_owned(),
            buckets,
            duration: Duration::from_micros(self.micros.load(Ordering::Relaxed)),
            outcomes: std::array::from_fn(|outcome| self.outcomes[outcome].load(Ordering::Relaxed)),
        }
    }
}

impl MethodMetrics {
    /// Calls that ended, however they did.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.outcomes.iter().sum()
    }

    /// Calls that ended so; see [`OUTCOMES`]. None ended in a way that there is not.
    #[must_use]
    pub fn count(&self, outcome: &str) -> u64 {
        let index = OUTCOMES.iter().position(|known| *known == outcome);
        index.map_or(0, |index| self.outcomes[index])
    }

    /// A bound within which this part of all calls ended, from 0 to 1: half for the median, 0.99 for all but the
    /// slowest hundredth. None without calls, or if it is more than a minute.
    #[must_use]
    pub fn quantile(&self, part: f64) -> Option<Duration> {
        let rank = (part.clamp(0.0, 1.0) * self.total() as f64).ceil().max(1.0) as u64;
        let within = self.buckets.iter().find(|(_, count)| *count >= rank);
        within.map(|(bound, _)| *bound)
    }
}

/// How a call with this error ended.
pub(super) fn outcome(error: &(dyn Error + 'static)) -> usize {
    let kind = match (error.downcast_ref::<Failure>(), error.downcast_ref::<CallError>()) {
        (Some(failure), _) => failure.kind(),
        (_, Some(CallError::Failure(failure))) => failure.kind(),
        (_, Some(CallError::DeadlineExceeded { .. })) => FailureKind::DeadlineExceeded,
        (_, Some(CallError::TooLarge { .. })) => FailureKind::TooLarge,
        (_, Some(CallError::Disconnected { .. } | CallError::Unconnected { .. })) => return DISCONNECTED,
        (_, Some(_)) => return ERROR,
        (None, None) => match Failure::of_tower(error) {
            Some(failure) => failure.kind(),
            None => return ERROR,
        },
    };
    let known = OUTCOMES.iter().position(|outcome| *outcome == kind.as_str());
    known.unwrap_or(ERROR)
}

/// Whether a call that ended with this error had come to a method, which therefore exists.
pub(super) fn proves_method(error: &(dyn Error + 'static)) -> bool {
    let failure = match (error.downcast_ref::<Failure>(), error.downcast_ref::<CallError>()) {
        (Some(failure), _) | (_, Some(CallError::Failure(failure))) => failure,
        _ => return false,
    };
    // What says by its kind alone that the call may have run says so of any name.
    let has_begun = failure.kind().is_before_it_ran() && failure.may_have_run();
    has_begun || matches!(failure.kind(), FailureKind::Failed | FailureKind::Panicked)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_has_its_place() {
        assert_eq!((OUTCOMES[OK], OUTCOMES[DROPPED]), ("ok", "dropped"));
        assert_eq!(
            (OUTCOMES[DISCONNECTED], OUTCOMES[ERROR]),
            ("disconnected", "error")
        );
        for kind in FailureKind::ALL {
            let failure = Failure::new(kind, "");
            assert_eq!(OUTCOMES[outcome(&failure)], kind.as_str());
            assert_eq!(OUTCOMES[outcome(&CallError::Failure(failure))], kind.as_str());
        }
        assert_eq!(OUTCOMES[outcome(&CallError::Closed)], "error");
        assert_eq!(OUTCOMES[outcome(&std::fmt::Error)], "error");
        let shed = tower::load_shed::error::Overloaded::new();
        assert_eq!(OUTCOMES[outcome(&shed)], "overloaded");
    }
}
