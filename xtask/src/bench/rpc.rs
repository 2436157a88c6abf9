//! The group `rpc`: calls of functions in another process, and the bars that flexbond is to reach.

use super::bars::{Bar, Reach};
use super::case::{Better, Case, Heading, Metric, Outcome, Side, metric};

/// Our program, the peers' and that of the raw limit, with the names that they have in reports.
pub(super) const PROGRAMS: [(&str, &str); 5] = [
    (super::OURS, "flexbond-rpc"),
    (TARPC, TARPC),
    (TONIC, TONIC),
    (CAPNP, CAPNP),
    (super::RAW, "raw-rpc"),
];
/// Whom flexbond is set beside.
pub(super) const PEERS: [&str; 3] = [TARPC, TONIC, CAPNP];
const TARPC: &str = "tarpc";
const TONIC: &str = "tonic";
const CAPNP: &str = "capnp-rpc";

/// The name of the cases that make one call after the other.
const ONE: &str = "echo, one at a time";
/// Other ways to wait than the default, and the settings for them.
const WAYS: [(&str, &str); 2] = [
    ("without spinning", "current-thread-asleep"),
    ("spinning for 200 µs", "current-thread-spin"),
];
/// Calls under way, and connections, of the cases that have many.
const MANY: usize = 10_000;

/// All cases, the most telling first.
pub(super) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for size in [32, 4 << 10] {
        cases.push(echo("tcp", size));
    }
    cases.push(sequential("tcp"));
    for (name, setting) in WAYS {
        cases.push(waiting("tcp", name, setting));
    }
    for (name, traffic) in [
        ("array as argument and result", "both"),
        ("array as argument", "take"),
        ("array as result", "give"),
    ] {
        cases.push(array(name, traffic));
    }
    cases.push(slow());
    cases.push(idle());
    for transport in ["ipc", "inproc"] {
        cases.push(echo(transport, 32));
        cases.push(sequential(transport));
    }
    cases
}

/// What is to be reached, by the titles of records.
pub(super) fn bars() -> Vec<Bar> {
    let bar = |record: &str, reach| Bar {
        record: record.to_owned(),
        reach,
    };
    let times = |factor, peers: &'static [&'static str]| Reach::Times { factor, peers };
    let mut bars = vec![
        bar("echo, 64 in flight tcp 32 B", times(2.0, &[TARPC, TONIC])),
        bar("echo, 64 in flight tcp 4 KiB", times(1.5, &[TARPC, TONIC, CAPNP])),
    ];
    for percentile in ["p50", "p99"] {
        let record = format!("{ONE} {percentile} tcp 32 B");
        bars.push(bar(&record, times(1.0, &[TARPC])));
        bars.push(bar(&record, times(1.0 / 0.85, &[TONIC])));
        bars.push(bar(&record, Reach::OfRaw(1.0 / 1.1)));
    }
    for way in ["argument and result", "argument", "result"] {
        bars.push(bar(&format!("array as {way} tcp 64 MiB"), Reach::OfRaw(0.7)));
    }
    bars.push(bar(
        "10,000 in flight, one slow: p99 of the others, of that without it tcp 32 B",
        Reach::AtMost(1.2),
    ));
    bars.push(bar(
        "10,000 idle connections: memory of the server tcp 32 B",
        times(1.0, &[TARPC, TONIC]),
    ));
    bars
}

fn case(name: &str, transport: &'static str, size: usize, traffic: &'static str, words: &[&str]) -> Case {
    Case {
        heading: Heading {
            group: "rpc",
            name: name.to_owned(),
            transport,
            size,
        },
        traffic,
        words: words.iter().map(|word| (*word).to_owned()).collect(),
        ours: None,
        measures: Side::Connect,
        metrics: Vec::new(),
    }
}

fn echo(transport: &'static str, size: usize) -> Case {
    let mut metrics = vec![metric("", "calls/s", Better::Higher, rate)];
    // In one process the two are not to be told apart.
    if transport != "inproc" {
        metrics.push(metric(
            ": CPU of the caller",
            "µs/call",
            Better::Lower,
            |outcome| Outcome::cpu(&outcome.measured),
        ));
        metrics.push(metric(
            ": CPU of the server",
            "µs/call",
            Better::Lower,
            |outcome| {
                let seconds = outcome.other["cpu_seconds"].as_f64()?;
                Some(seconds / outcome.number("all_messages")? * 1e6)
            },
        ));
    }
    Case {
        metrics,
        ..case("echo, 64 in flight", transport, size, "echo", &["in_flight=64"])
    }
}

/// Calls of the window, for each second.
fn rate(outcome: &Outcome) -> Option<f64> {
    Some(outcome.number("messages")? / outcome.number("seconds")?)
}

/// With default options: the peers sleep while they wait, as the raw ping-pong does, and flexbond looks as long as it pays.
fn sequential(transport: &'static str) -> Case {
    Case {
        ours: Some("current-thread"),
        metrics: vec![
            metric(" p50", "µs", Better::Lower, |outcome| outcome.number("p50_us")),
            metric(" p99", "µs", Better::Lower, |outcome| outcome.number("p99_us")),
            metric(" mean", "µs", Better::Lower, |outcome| outcome.number("mean_us")),
        ],
        ..case(ONE, transport, 32, "sequential", &[])
    }
}

/// The same with options that say how flexbond waits.
fn waiting(transport: &'static str, name: &str, setting: &'static str) -> Case {
    let default = sequential(transport);
    Case {
        ours: Some(setting),
        heading: Heading {
            name: format!("{ONE}, {name}"),
            ..default.heading
        },
        ..default
    }
}

const ARRAY: usize = 64 << 20;

fn array(name: &str, traffic: &'static str) -> Case {
    let read: fn(&Outcome) -> Option<f64> = match traffic {
        "both" => |outcome| Some(2.0 * ARRAY as f64 / outcome.number("mean_us")?),
        _ => |outcome| Some(ARRAY as f64 / outcome.number("mean_us")?),
    };
    Case {
        metrics: vec![Metric {
            suffix: "",
            unit: "MB/s",
            better: Better::Higher,
            read,
        }],
        ..case(name, "tcp", ARRAY, traffic, &["warmup_ms=300", "window_ms=1000"])
    }
}

fn slow() -> Case {
    let calls = format!("in_flight={MANY}");
    Case {
        metrics: vec![
            // The setting with the quickest others is measured, not the one with the steadiest.
            metric(": p99 of the others", "ms", Better::Lower, |outcome| {
                Some(outcome.number("p99_us")? / 1e3)
            }),
            metric(
                ": p99 of the others, of that without it",
                "times",
                Better::Lower,
                |outcome| Some(outcome.number("p99_us")? / outcome.number("alone_p99_us")?),
            ),
        ],
        ..case(
            "10,000 in flight, one slow",
            "tcp",
            32,
            "slow",
            &[&calls, "warmup_ms=500", "window_ms=1500"],
        )
    }
}

fn idle() -> Case {
    let peers = format!("peers={MANY}");
    Case {
        measures: Side::Bind,
        metrics: vec![
            metric(": memory of the server", "MiB", Better::Lower, |outcome| {
                Some(outcome.number("resident_bytes")? / f64::from(1 << 20))
            }),
            metric(": CPU of the server", "% of a core", Better::Lower, |outcome| {
                Some(outcome.number("cpu_seconds")? / outcome.number("seconds")? * 100.0)
            }),
        ],
        ..case(
            "10,000 idle connections",
            "tcp",
            32,
            "idle",
            &[&peers, "warmup_ms=1000", "window_ms=1000"],
        )
    }
}

/// What is equal for all, in a line for the report.
pub(super) fn rules(runs: usize, window_ms: u64) -> String {
    format!(
        "rpc: {runs} runs of {window_ms} ms, of the cases with arrays, a slow call or idle connections longer; server and \
         caller are a process each, both with the same runtime and workers; a task for each loop of calls, which makes \
         the next one when the one before is answered; TCP_NODELAY everywhere; bytes are encoded as each library does it \
         best (tarpc: bincode and serde_bytes, tonic: prost and shared bytes, ours: postcard and serde_bytes, arrays as \
         buffers); raw frames carry nothing but a length, and a raw array is read into memory that is there already"
    )
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::bench::case::title;

    /// The titles of all records.
    fn records() -> BTreeSet<String> {
        let titles = |case: &Case| {
            let Heading {
                name,
                transport,
                size,
                ..
            } = case.heading.clone();
            let titles = case.metrics.iter().map(move |metric| {
                let record = format!("{name}{}", metric.suffix);
                title(&record, transport, size)
            });
            titles.collect::<Vec<_>>()
        };
        cases().iter().flat_map(titles).collect()
    }

    #[test]
    fn every_bar_has_its_record() {
        let records = records();
        for bar in bars() {
            assert!(records.contains(&bar.record), "{}: {records:?}", bar.record);
        }
    }

    #[test]
    fn every_case_has_a_name_of_its_own_and_something_to_read() {
        let cases = cases();
        let titles: BTreeSet<_> = cases.iter().map(|case| case.heading.title()).collect();
        assert_eq!(titles.len(), cases.len());
        assert!(cases.iter().all(|case| !case.metrics.is_empty()));
    }
}
