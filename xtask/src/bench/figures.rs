//! What is read from the results of all hosts of a session.

use serde_json::Value;

use super::case::{Better, Metric, Outcome, metric};

pub(super) const P50: Metric = metric(" p50", "µs", Better::Lower, |outcome| outcome.number("p50_us"));
pub(super) const P99: Metric = metric(" p99", "µs", Better::Lower, |outcome| outcome.number("p99_us"));
pub(super) const MEAN: Metric = metric(" mean", "µs", Better::Lower, |outcome| outcome.number("mean_us"));

/// Of the slowest receiver.
pub(super) const GOODPUT: Metric = metric("", "MB/s per receiver", Better::Higher, |outcome| {
    let rates = others(outcome).map(|host| host["mb_per_second"].as_f64());
    // One without a number makes the whole worthless.
    rates.reduce(|least, rate| Some(least?.min(rate?))).flatten()
});
/// From the first message until the sender knows that everybody has all.
pub(super) const UNTIL_ACKNOWLEDGED: Metric =
    metric(": until all is acknowledged", "MB/s", Better::Higher, |outcome| {
        let is_reliable = outcome.measured["role"] == "coordinator";
        is_reliable.then(|| outcome.number("mb_per_second"))?
    });
pub(super) const PEAK: Metric = metric(
    ": peak memory of the largest process",
    "MiB",
    Better::Lower,
    |outcome| {
        let peaks = others(outcome).chain([&outcome.measured]);
        let peak = peaks
            .filter_map(|host| host["peak_bytes"].as_f64())
            .reduce(f64::max)?;
        Some(peak / f64::from(1 << 20))
    },
);
pub(super) const IDLE_CPU: Metric = metric(
    ": CPU of all processes",
    "% of a core",
    Better::Lower,
    |outcome| {
        let shares = others(outcome)
            .chain([&outcome.measured])
            .map(|host| Some(host["idle_cpu_seconds"].as_f64()? / host["idle_seconds"].as_f64()? * 100.0));
        shares.sum()
    },
);

/// The results of all hosts but the first one.
fn others(outcome: &Outcome) -> impl Iterator<Item = &Value> {
    outcome.other.as_array().into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_slowest_receiver_counts() {
        let receiver = |rate: f64| json!({ "mb_per_second": rate, "peak_bytes": 2 << 20 });
        let outcome = Outcome {
            measured: json!({ "role": "coordinator", "mb_per_second": 70.0, "peak_bytes": 3 << 20 }),
            other: json!([receiver(90.0), receiver(80.0)]),
        };
        assert_eq!((GOODPUT.read)(&outcome), Some(80.0));
        assert_eq!((UNTIL_ACKNOWLEDGED.read)(&outcome), Some(70.0));
        assert_eq!((PEAK.read)(&outcome), Some(3.0));
        let without = Outcome {
            measured: json!({ "role": "send", "mb_per_second": 900.0 }),
            other: json!([receiver(90.0), {}]),
        };
        assert_eq!((GOODPUT.read)(&without), None);
        assert_eq!((UNTIL_ACKNOWLEDGED.read)(&without), None);
    }

    #[test]
    fn idle_processes_are_summed_up() {
        let host = |cpu: f64| json!({ "idle_seconds": 2.0, "idle_cpu_seconds": cpu });
        let mut outcome = Outcome {
            measured: host(0.5),
            other: json!([host(0.25), host(0.25)]),
        };
        assert_eq!((IDLE_CPU.read)(&outcome), Some(50.0));
        outcome.other = json!([host(0.25), Value::Null]);
        assert_eq!((IDLE_CPU.read)(&outcome), None);
    }
}
