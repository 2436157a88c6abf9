//! The group `federation`: parties that talk by a message server, and the bars that flexbond is to reach.

use anyhow::Result;
use serde_json::Value;

use super::bars::{Bar, Reach};
use super::build::{self, Contender};
use super::case::{Better, Case, Cast, Heading, Metric, Outcome, Side, metric};
use super::record::Report;
use super::{OURS, RAW};
use crate::workspace::Workspace;

/// Whom flexbond is set beside: servers made with tonic, and redb.
pub(super) const PEERS: [&str; 4] = [UNARY, STREAMS, BATCHES, REDB];
const UNARY: &str = "tonic unary";
const STREAMS: &str = "tonic streams";
const BATCHES: &str = "tonic batches";
const REDB: &str = "redb";
/// By streams, with many messages in one of gRPC: as good as it gets.
const TONIC: [&str; 2] = [UNARY, STREAMS];

/// Bytes that may be on their way between two parties.
const ROOM: usize = 32 << 20;
/// What a server needs besides, in MiB: its program, and what its sockets have at hand.
const BASE: f64 = 24.0;
const TENSOR: usize = 256 << 20;
const VALUE: usize = 1 << 10;
/// Messages that a server stores.
const STORED: usize = 65_536;

/// One case, and who takes part.
#[derive(Clone, Debug)]
pub(super) struct FederationCase {
    pub(super) case: Case,
    pub(super) players: &'static [&'static str],
}

/// Builds our program and those of the others.
///
/// # Errors
/// When ours does not build.
pub(super) fn contenders(workspace: &Workspace, report: &mut Report) -> Result<Vec<Contender>> {
    // Names in reports, programs, and what the names of settings begin with.
    let known = [
        (OURS, "flexbond-federation", ""),
        (UNARY, "tonic-relay", "unary"),
        (STREAMS, "tonic-relay", "streaming"),
        (BATCHES, "tonic-relay", "batching"),
        (REDB, "redb", ""),
        (RAW, "raw-relay", ""),
    ];
    let programs = known.map(|(name, program, _)| (name, program));
    let mut contenders = build::contenders(workspace, &programs, report)?;
    for contender in &mut contenders {
        let ways = known.iter().find(|(name, ..)| *name == contender.name);
        contender.ways = ways.map_or("", |(.., ways)| ways);
    }
    Ok(contenders)
}

/// All cases, the most telling first.
pub(super) fn cases() -> Vec<FederationCase> {
    let mut cases = vec![
        swap(64, 1),
        one_at_a_time(1),
        tensor(1),
        store(),
        flow(false),
        flow(true),
    ];
    for parties in [2, 8, 32, 100] {
        cases.push(parties_of_one_job("all to all", "swap", parties));
    }
    for parties in [2, 8, 32, 100] {
        cases.push(parties_of_one_job("ring", "ring", parties));
    }
    for jobs in [1, 8, 32, 64] {
        cases.push(pairs(jobs));
    }
    cases.extend([swap(64, 2), one_at_a_time(2), tensor(2)]);
    cases
}

/// What is to be reached, by the titles of records.
pub(super) fn bars() -> Vec<Bar> {
    let bar = |record: &str, reach| Bar {
        record: record.to_owned(),
        reach,
    };
    let mut bars = Vec::new();
    for record in ["swap, 64 in flight tcp 1 KiB", "swap, one at a time tcp 1 KiB"] {
        for peers in [&TONIC[..1], &TONIC, &[BATCHES]] {
            bars.push(bar(record, Reach::Times { factor: 5.0, peers }));
        }
    }
    bars.extend([
        bar("tensor tcp 256 MiB", Reach::OfRaw(0.4)),
        bar(
            "tensor: memory of the server tcp 256 MiB",
            Reach::AtMost((ROOM >> 20) as f64 + BASE),
        ),
        bar(
            "stored on disk tcp 1 KiB",
            Reach::Times {
                factor: 0.5,
                peers: &[REDB],
            },
        ),
    ]);
    bars
}

fn case(name: String, traffic: &'static str, size: usize, words: &[String]) -> Case {
    let words = words.iter().cloned().chain([format!("room={ROOM}")]);
    Case {
        heading: Heading {
            group: "federation",
            name,
            transport: "tcp",
            size,
        },
        traffic,
        words: words.collect(),
        ours: None,
        measures: Side::Parties(Cast {
            servers: 1,
            processes: 2,
            present: 2,
        }),
        metrics: Vec::new(),
    }
}

/// The same by so many servers, with its name.
fn by(servers: usize, mut case: Case) -> FederationCase {
    if servers == 1 {
        let players = &[OURS, UNARY, STREAMS, BATCHES, RAW];
        return FederationCase { case, players };
    }
    case.heading.name += ", two servers";
    if let Side::Parties(cast) = &mut case.measures {
        cast.servers = servers;
    }
    let players = &[OURS];
    FederationCase { case, players }
}

/// What both parties have received, divided by two.
const SWAPS: Metric = metric("", "swaps/s", Better::Higher, |outcome| {
    Some(values(outcome)? / 2.0)
});
const CPU: Metric = metric(": CPU of the server", "µs/swap", Better::Lower, |outcome| {
    let sum = |key: &str, field: &str| -> Option<f64> {
        let all = outcome.other[key].as_array()?.iter();
        all.map(|one| one[field].as_f64()).sum()
    };
    Some(sum("servers", "cpu_seconds")? / sum("ended", "messages")? * 2e6)
});

/// Values received in a second, by all parties together.
fn values(outcome: &Outcome) -> Option<f64> {
    let rate = |one: &Value| Some(one["messages"].as_f64()? / one["seconds"].as_f64()?);
    outcome.other["parties"].as_array()?.iter().map(rate).sum()
}

fn swap(in_flight: usize, servers: usize) -> FederationCase {
    let name = format!("swap, {in_flight} in flight");
    let words = [format!("in_flight={in_flight}")];
    let case = Case {
        metrics: vec![SWAPS, CPU],
        ..case(name, "swap", VALUE, &words)
    };
    by(servers, case)
}

fn one_at_a_time(servers: usize) -> FederationCase {
    let case = Case {
        metrics: vec![
            SWAPS,
            metric(": p50", "µs", Better::Lower, |outcome| outcome.number("p50_us")),
            metric(": p99", "µs", Better::Lower, |outcome| outcome.number("p99_us")),
            CPU,
        ],
        ..case("swap, one at a time".to_owned(), "swap", VALUE, &[])
    };
    by(servers, case)
}

fn tensor(servers: usize) -> FederationCase {
    fn rate(micros: Option<f64>) -> Option<f64> {
        Some(TENSOR as f64 / micros?)
    }
    fn mebibytes(of: &Value) -> Option<f64> {
        Some(of["peak_bytes"].as_f64()? / f64::from(1 << 20))
    }
    let case = Case {
        metrics: vec![
            metric("", "MB/s", Better::Higher, |outcome| {
                rate(outcome.number("mean_us"))
            }),
            // Raw goes the same way only here.
            metric(": beside raw by a server", "MB/s", Better::Higher, |outcome| {
                let relayed = outcome.number("relayed_mean_us");
                rate(relayed.or(outcome.number("mean_us")))
            }),
            metric(": memory of the server", "MiB", Better::Lower, |outcome| {
                mebibytes(&outcome.other["servers"][0])
            }),
            metric(": memory of the sender", "MiB", Better::Lower, |outcome| {
                mebibytes(&outcome.other["ended"][0])
            }),
            metric(": memory of the receiver", "MiB", Better::Lower, |outcome| {
                mebibytes(&outcome.other["ended"][1])
            }),
        ],
        ..case(
            "tensor".to_owned(),
            "tensor",
            TENSOR,
            &["warmup_ms=100".to_owned(), "window_ms=1500".to_owned()],
        )
    };
    by(servers, case)
}

/// Each message is on disk before its sender is told so, and the sender leaves when it was told so of all.
fn store() -> FederationCase {
    let words = [
        "durable=true".to_owned(),
        "in_flight=64".to_owned(),
        format!("messages={STORED}"),
    ];
    let case = Case {
        metrics: vec![metric("", "messages/s", Better::Higher, |outcome| {
            Some(outcome.number("messages")? / outcome.number("seconds")?)
        })],
        measures: Side::Parties(Cast {
            servers: 1,
            processes: 2,
            present: 1,
        }),
        ..case("stored on disk".to_owned(), "store", VALUE, &words)
    };
    FederationCase {
        case,
        players: &[OURS, REDB],
    }
}

/// One way, from 64 channels, to a party that is there.
fn flow(is_durable: bool) -> FederationCase {
    let name = if is_durable {
        "one way, kept on disk"
    } else {
        "one way"
    };
    let words = [format!("durable={is_durable}"), "in_flight=64".to_owned()];
    let case = Case {
        metrics: vec![metric("", "messages/s", Better::Higher, |outcome| {
            let receiver = &outcome.other["parties"][1];
            Some(receiver["messages"].as_f64()? / receiver["seconds"].as_f64()?)
        })],
        ..case(name.to_owned(), "flow", VALUE, &words)
    };
    FederationCase {
        case,
        players: if is_durable {
            &[OURS]
        } else {
            &[OURS, UNARY, STREAMS, BATCHES]
        },
    }
}

fn parties_of_one_job(name: &str, traffic: &'static str, parties: usize) -> FederationCase {
    // Until thousands of pairs have met.
    let warmup = (30 * parties).max(500);
    let words = [format!("parties={parties}"), format!("warmup_ms={warmup}")];
    let case = Case {
        metrics: vec![metric("", "values/s", Better::Higher, values)],
        ..case(format!("{name}, {parties} parties"), traffic, VALUE, &words)
    };
    FederationCase {
        case,
        players: &[OURS, STREAMS],
    }
}

/// Jobs of two parties.
fn pairs(jobs: usize) -> FederationCase {
    let words = [format!("jobs={jobs}"), "in_flight=4".to_owned()];
    let case = Case {
        metrics: vec![SWAPS, CPU],
        ..case(format!("jobs of two, {jobs}"), "swap", VALUE, &words)
    };
    FederationCase {
        case,
        players: &[OURS, STREAMS],
    }
}

/// What is equal for all, in a line for the report.
pub(super) fn rules(runs: usize, window_ms: u64) -> String {
    format!(
        "federation: {runs} runs of {window_ms} ms, of tensors longer; the server and two processes with the parties, all \
         with the same runtime and workers; a connection for each party, a task for each channel; a swap is done when each \
         party has the other's value; {} MiB may be on their way between two parties; the gRPC servers keep to mailboxes as \
         ours does, take each message once and keep it until it is received: by two calls a value (unary), by streams with a \
         gRPC message for each value (streams), and with up to 64 in one (batches); raw passes on bytes and keeps nothing, \
         its tensor goes without a server; what is stored is {STORED} messages of 64 channels to a party that is not there, \
         until their sender was told that all are on disk; redb: a row for each, in the best of four sizes of transactions",
        ROOM >> 20
    )
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::json;

    use super::*;
    use crate::bench::case::title;

    #[test]
    fn every_bar_has_its_record() {
        let mut records = BTreeSet::new();
        for FederationCase { case, .. } in cases() {
            for metric in &case.metrics {
                let record = format!("{}{}", case.heading.name, metric.suffix);
                records.insert(title(&record, case.heading.transport, case.heading.size));
            }
        }
        for bar in bars() {
            assert!(records.contains(&bar.record), "{}: {records:?}", bar.record);
        }
    }

    #[test]
    fn all_parties_count() {
        let one = |messages: u32, seconds: f64| json!({ "messages": messages, "seconds": seconds });
        let outcome = Outcome {
            measured: Value::Null,
            other: json!({
                "parties": [one(10, 1.0), one(10, 0.5)],
                "ended": [one(30, 0.0), one(10, 0.0)],
                "servers": [{ "cpu_seconds": 0.002 }],
            }),
        };
        assert_eq!((SWAPS.read)(&outcome), Some(15.0));
        assert_eq!((CPU.read)(&outcome), Some(100.0));
    }

    #[test]
    fn who_takes_part_is_known() {
        for FederationCase { case, players } in cases() {
            assert_eq!(players[0], OURS, "{}", case.heading.title());
            let is_known = |name: &&str| [OURS, RAW].contains(name) || PEERS.contains(name);
            assert!(players.iter().all(is_known));
        }
    }
}
