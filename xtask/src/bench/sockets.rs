//! The group `sockets`: patterns over tcp, ipc and inproc.

use super::case::{Better, Case, Heading, Metric, Outcome, Side, metric};

const SIZES: [usize; 5] = [16, 128, 1 << 10, 16 << 10, 1 << 20];
const NETWORK: [&str; 2] = ["tcp", "ipc"];
const ALL: [&str; 3] = ["tcp", "ipc", "inproc"];
/// Connections of the case that has many.
const MANY: usize = 1000;

/// All cases, the most telling first.
pub(super) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for transport in ALL {
        cases.extend(SIZES.map(|size| one_way("push/pull", transport, size, &[])));
    }
    for transport in NETWORK {
        cases.extend(SIZES.map(|size| round_trip("req/rep", transport, size, &[])));
    }
    for transport in NETWORK {
        cases.extend(SIZES.map(|size| asleep(transport, size)));
    }
    cases.extend(SIZES.map(|size| round_trip("req/rep two threads", "inproc", size, &["threads=2"])));
    cases.extend(SIZES.map(|size| round_trip("req/rep one thread", "inproc", size, &["threads=1"])));
    for transport in ALL {
        cases.push(one_way("push/pull 10 parts", transport, 128, &["parts=10"]));
    }
    for subscribers in ["peers=4", "peers=32"] {
        for transport in NETWORK {
            for size in [128, 16 << 10] {
                cases.push(fan_out(transport, size, subscribers));
            }
        }
        cases.push(selective("tcp", 128, subscribers));
    }
    for size in [128, 16 << 10] {
        cases.push(one_way("fan-in 4 -> 1", "tcp", size, &["peers=4"]));
    }
    for transport in ALL {
        cases.push(in_flight(transport, 128));
    }
    // The same rate for all, so that batching at full speed does not hide what a message costs.
    for (transport, size, rate) in [
        ("tcp", 128, 100_000),
        ("ipc", 128, 100_000),
        ("tcp", 1 << 10, 100_000),
        ("tcp", 16 << 10, 20_000),
        ("ipc", 16 << 10, 20_000),
    ] {
        cases.push(paced(transport, size, rate));
    }
    cases.push(idle());
    for transport in NETWORK {
        cases.push(connect(transport));
    }
    cases.push(reconnect());
    cases
}

fn case(name: &str, transport: &'static str, size: usize, traffic: &'static str, words: &[&str]) -> Case {
    Case {
        heading: Heading {
            group: "sockets",
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

const RATE: Metric = metric("", "messages/s", Better::Higher, Outcome::rate);
const PEAK: Metric = metric(": peak memory, both sides", "MiB", Better::Lower, |outcome| {
    let here = outcome.number("peak_bytes")?;
    Some((here + outcome.other["peak_bytes"].as_f64().unwrap_or_default()) / f64::from(1 << 20))
});
const CPU_SENDER: Metric = metric(": CPU of the sender", "s/M messages", Better::Lower, |outcome| {
    Outcome::cpu(&outcome.other)
});
const CPU_RECEIVER: Metric = metric(
    ": CPU of the receiver",
    "s/M messages",
    Better::Lower,
    |outcome| {
        // In one process it is everybody's.
        outcome
            .other
            .is_object()
            .then(|| Outcome::cpu(&outcome.measured))?
    },
);
const CPU_PROCESS: Metric = metric(": CPU of the process", "s/M messages", Better::Lower, |outcome| {
    Outcome::cpu(&outcome.measured)
});

fn one_way(name: &str, transport: &'static str, size: usize, words: &[&str]) -> Case {
    let metrics = if transport == "inproc" {
        vec![RATE, CPU_PROCESS, PEAK]
    } else {
        vec![RATE, CPU_SENDER, CPU_RECEIVER, PEAK]
    };
    Case {
        measures: Side::Bind,
        metrics,
        ..case(name, transport, size, "push-pull", words)
    }
}

fn paced(transport: &'static str, size: usize, rate: u32) -> Case {
    let name = format!("push/pull at {},000/s", rate / 1000);
    Case {
        metrics: vec![
            metric(": CPU of both sides", "s/M messages", Better::Lower, |outcome| {
                Some(Outcome::cpu(&outcome.measured)? + Outcome::cpu(&outcome.other)?)
            }),
            CPU_SENDER,
            CPU_RECEIVER,
            metric(": messages/s", "messages/s", Better::Higher, Outcome::rate),
        ],
        ..one_way(&name, transport, size, &[&format!("rate={rate}")])
    }
}

fn round_trip(name: &str, transport: &'static str, size: usize, words: &[&str]) -> Case {
    let mut metrics = vec![
        metric(" p50", "µs", Better::Lower, |outcome| outcome.number("p50_us")),
        metric(" p99", "µs", Better::Lower, |outcome| outcome.number("p99_us")),
        metric(" mean", "µs", Better::Lower, |outcome| outcome.number("mean_us")),
    ];
    if transport != "inproc" {
        metrics.push(metric(
            ": CPU of the requester",
            "s/M messages",
            Better::Lower,
            |outcome| Outcome::cpu(&outcome.measured),
        ));
        metrics.push(metric(
            ": CPU of the replier",
            "s/M messages",
            Better::Lower,
            |outcome| Outcome::cpu(&outcome.other),
        ));
    }
    Case {
        metrics,
        ..case(name, transport, size, "req-rep", words)
    }
}

/// Flexbond as it is by itself: it sleeps while it waits, as the raw ping-pong of the same runtime does.
fn asleep(transport: &'static str, size: usize) -> Case {
    Case {
        ours: Some("current-thread"),
        ..round_trip("req/rep without spinning", transport, size, &[])
    }
}

const LOST: Metric = metric(": share lost", "of all messages", Better::Lower, |outcome| {
    let lost = outcome.number("lost")?;
    Some(lost / (lost + outcome.number("messages")?).max(1.0))
});

fn fan_out(transport: &'static str, size: usize, subscribers: &str) -> Case {
    let name = format!("pub/sub 1 -> {}", subscribers.trim_start_matches("peers="));
    Case {
        metrics: vec![
            metric("", "messages/s per subscriber", Better::Higher, Outcome::rate),
            LOST,
            metric(
                ": CPU of the publisher",
                "s/M messages",
                Better::Lower,
                |outcome| Outcome::cpu(&outcome.other),
            ),
            metric(
                ": CPU of the subscribers",
                "s/M messages",
                Better::Lower,
                |outcome| Outcome::cpu(&outcome.measured),
            ),
            PEAK,
        ],
        ..case(&name, transport, size, "pub-sub", &[subscribers])
    }
}

fn selective(transport: &'static str, size: usize, subscribers: &str) -> Case {
    let count = subscribers.trim_start_matches("peers=");
    let name = format!("pub/sub 1 -> {count}, 1 of 100 topics");
    Case {
        metrics: vec![
            metric("", "messages/s published", Better::Higher, |outcome| {
                Some(outcome.rate()? * 100.0)
            }),
            LOST,
        ],
        ..case(&name, transport, size, "pub-sub", &[subscribers, "topics=100"])
    }
}

fn in_flight(transport: &'static str, size: usize) -> Case {
    Case {
        metrics: vec![metric("", "round trips/s", Better::Higher, Outcome::rate)],
        ..case(
            "dealer/router 64 in flight",
            transport,
            size,
            "dealer-router",
            &["in_flight=64"],
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
            metric(": wake-ups of the server", "1/s", Better::Lower, |outcome| {
                Some(outcome.number("wakeups")? / outcome.number("seconds")?)
            }),
            metric(": CPU of the server", "% of a core", Better::Lower, |outcome| {
                Some(outcome.number("cpu_seconds")? / outcome.number("seconds")? * 100.0)
            }),
        ],
        ..case(
            "1,000 connections, 200 messages/s",
            "tcp",
            128,
            "idle",
            &[&peers, "rate=200", "warmup_ms=1500", "window_ms=2000"],
        )
    }
}

fn connect(transport: &'static str) -> Case {
    Case {
        metrics: vec![
            metric(" p50", "µs", Better::Lower, |outcome| outcome.number("p50_us")),
            metric(" p99", "µs", Better::Lower, |outcome| outcome.number("p99_us")),
        ],
        ..case("connect and first reply", transport, 16, "connect", &[])
    }
}

fn reconnect() -> Case {
    Case {
        measures: Side::Bind,
        metrics: vec![metric("", "ms", Better::Lower, |outcome| {
            outcome.number("first_ms")
        })],
        ..case(
            "from a restarted PULL to its first message",
            "tcp",
            16,
            "reconnect",
            &["rate=1000"],
        )
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_case_has_a_name_of_its_own_and_something_to_read() {
        let cases = cases();
        let titles: BTreeSet<_> = cases.iter().map(|case| case.heading.title()).collect();
        assert_eq!(titles.len(), cases.len());
        assert!(cases.iter().all(|case| !case.metrics.is_empty()));
    }
}
