//! A split to four, one of which stops to receive.

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc::Receiver;
use std::time::Instant;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::processes::{PATIENCE, Running, spare_port};
use super::{GENERATE, NONE_STALLED, PEER, SPLIT, STATS};
use crate::bench::OURS;
use crate::bench::build::Programs;
use crate::bench::case::{Better, Heading, Metric, Outcome, metric};
use crate::bench::record::Report;
use crate::bench::series::Series;
use crate::bench::turns::Turns;

const METRICS: [Metric; 4] = [
    metric("", "MB/s, slowest of 3", Better::Higher, |outcome| {
        outcome.number("megabytes")
    }),
    metric(" (messages)", "messages/s", Better::Higher, |outcome| {
        outcome.number("messages")
    }),
    metric(" (worst half second)", "MB/s", Better::Higher, |outcome| {
        outcome.number("least")
    }),
    metric(": lost by the three", "messages", Better::Lower, |outcome| {
        outcome.number("lost")
    }),
];
/// Receivers that receive all the time.
const OTHERS: usize = 3;
/// Lines of rates that are not counted.
const WARM_UP: usize = 2;
/// When one stops, in seconds: soon after what is counted has begun.
const STALL: f64 = 1.25;

/// One size and rate of messages.
#[derive(Clone, Debug)]
pub(super) struct SplitCase {
    pub(super) heading: Heading,
    /// Messages a second of the generator; as many as it can if none.
    rate: Option<&'static str>,
    /// Lines of rates that are counted.
    lines: usize,
}

struct Plan<'a> {
    generate: &'a Path,
    split: &'a Path,
    stats: &'a Path,
    /// The one that stops, if there is one.
    stalling: Option<&'a Path>,
}

pub(super) fn cases(quick: bool) -> Vec<SplitCase> {
    let case = |name: &str, size, rate| SplitCase {
        heading: Heading {
            group: "streams",
            name: format!("m_split 1 -> 4, one stalled{name}"),
            transport: "tcp",
            size,
        },
        rate,
        lines: if quick { 2 } else { 8 },
    };
    vec![
        case("", 1 << 20, None),
        case("", 64 << 10, None),
        case(", 100 messages/s", 1 << 20, Some("100")),
    ]
}

pub(super) fn rules(quick: bool, runs: usize) -> String {
    let lines = if quick { 2 } else { 8 };
    format!(
        "split: m_generate, m_split and {OTHERS} m_stats, each a process, and a fourth receiver that stops to receive \
         {STALL} s after its first message and stays connected (ten messages may wait for it, a hundred for the others); \
         the policy is m_split's own (drop-stalled, one counts as stalled after 2 s, or once 512 MiB wait for it); the median of {lines} \
         rates over half a second each of the slowest of the three, and the least of them all, {runs} runs; lost is what the \
         numbers of frames miss; none stalled: the fourth is a m_stats as well"
    )
}

impl SplitCase {
    pub(super) fn hold(&self, programs: &Programs, runs: usize, report: &mut Report) -> bool {
        let program = |name| programs.get(name).map(std::path::PathBuf::as_path);
        // Those that cannot be built were named then.
        let (Some(generate), Some(split), Some(stats), Some(peer)) =
            (program(GENERATE), program(SPLIT), program(STATS), program(PEER))
        else {
            return false;
        };
        let mut turns = Turns::new(&self.heading, &METRICS);
        let setting = match self.rate {
            Some(rate) => format!("--rate {rate}"),
            None => "as fast as it goes".to_owned(),
        };
        for (name, stalling) in [(OURS, Some(peer)), (NONE_STALLED, None)] {
            let plan = Plan {
                generate,
                split,
                stats,
                stalling,
            };
            turns.enter(name, &setting, "what m_generate is told", plan);
        }
        turns.take(runs, report, |plan| self.once(plan))
    }

    fn once(&self, plan: &Plan<'_>) -> Result<Outcome> {
        let source = format!("tcp://127.0.0.1:{}", spare_port()?);
        let mut outputs = Vec::new();
        for _ in 0..=OTHERS {
            outputs.push(format!("tcp://127.0.0.1:{}", spare_port()?));
        }
        let mut split = Command::new(plan.split);
        split.args(["--json", "-i", "0.1", &source]);
        split.args(
            outputs[..OTHERS]
                .iter()
                .map(|output| format!("{output},attach=bind")),
        );
        // Little waits for the one that stops, so that it is full while the others are watched.
        split.arg(format!("{},attach=bind,queue_size=10", outputs[OTHERS]));
        let mut split = start(&mut split)?;
        let passed = split.lines()?;
        // It listens when it says so.
        passed.recv_timeout(PATIENCE).context("the split says nothing")?;
        let mut receivers = Vec::new();
        for output in &outputs[..OTHERS] {
            receivers.push(start(Command::new(plan.stats).args(["--json", output]))?);
        }
        let mut fourth = match plan.stalling {
            Some(peer) => start(Command::new(peer).args([
                "stall".to_owned(),
                format!("address={}", outputs[OTHERS]),
                format!("seconds={STALL}"),
            ]))?,
            None => start(Command::new(plan.stats).args(["--json", &outputs[OTHERS]]))?,
        };
        // Taken, so that it is not stopped by an output that nobody reads.
        let _fourth = fourth.lines()?;
        let mut generate = Command::new(plan.generate);
        generate.args(["-a", &source, "--size-bytes", &self.heading.size.to_string()]);
        // Everybody is there when the first message comes: what they miss would be lost.
        generate.args(["--delay", "1"]);
        if let Some(rate) = self.rate {
            generate.args(["--rate", rate]);
        }
        let _generate = Running::start(generate.stdin(Stdio::null()).stdout(Stdio::null()))?;

        let lines = receivers
            .iter_mut()
            .map(Running::lines)
            .collect::<Result<Vec<_>>>()?;
        let seen = lines
            .iter()
            .map(|lines| self.watch(lines))
            .collect::<Result<Vec<_>>>()?;
        if plan.stalling.is_some() {
            await_stall(&passed)?;
        }
        Ok(outcome(&seen))
    }

    /// The lines of one receiver that count.
    fn watch(&self, lines: &Receiver<String>) -> Result<Vec<Line>> {
        let mut seen: Vec<Line> = Vec::new();
        while seen.len() < WARM_UP + self.lines {
            let line = lines
                .recv_timeout(PATIENCE)
                .context("a receiver says nothing more")?;
            // Before the first message there is nothing to count, and then every half second counts.
            let line = Line::read(&line).context("a line is not understood")?;
            if line.messages > 0.0 || !seen.is_empty() {
                seen.push(line);
            }
        }
        Ok(seen.split_off(WARM_UP))
    }
}

/// Without it nothing was measured: the fourth has taken everything.
fn await_stall(passed: &Receiver<String>) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let line = passed
            .recv_timeout(left)
            .context("the split does not say that the fourth output is stalled")?;
        let line: Value = serde_json::from_str(&line)?;
        if line["outputs"][OTHERS]["stalled"] == true {
            return Ok(());
        }
    }
}

/// What a receiver says each half second.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Line {
    megabytes: f64,
    messages: f64,
    /// Since the beginning.
    lost: f64,
}

impl Line {
    fn read(line: &str) -> Option<Self> {
        let line: Value = serde_json::from_str(line).ok()?;
        let number = |key: &str| line[key].as_f64();
        Some(Line {
            megabytes: number("data_rate_mb_per_s")?,
            messages: number("message_rate_hz")?,
            lost: number("lost_frames")?,
        })
    }
}

/// The slowest receiver's rates, and what all have lost.
fn outcome(receivers: &[Vec<Line>]) -> Outcome {
    let slowest = |of: fn(&Line) -> f64| {
        let medians = receivers.iter().map(|lines| {
            let mut series = Series::default();
            lines.iter().for_each(|line| series.add(of(line)));
            series.median()
        });
        medians.fold(f64::INFINITY, f64::min)
    };
    let all = receivers.iter().flatten().map(|line| line.megabytes);
    let lost: f64 = receivers
        .iter()
        .filter_map(|lines| Some(lines.last()?.lost))
        .sum();
    Outcome {
        measured: json!({
            "megabytes": slowest(|line| line.megabytes),
            "messages": slowest(|line| line.messages),
            "least": all.fold(f64::INFINITY, f64::min),
            "lost": lost,
        }),
        other: Value::Null,
    }
}

/// Its standard input stays open: one that stalls ends with it.
fn start(command: &mut Command) -> Result<Running> {
    Running::start(command.stdin(Stdio::piped()).stdout(Stdio::piped()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read_as_m_stats_prints_them() {
        let line = r#"{"elapsed_s":1.5,"data_rate_mb_per_s":12.5,"message_rate_hz":10.0,"messages":12,"lost_frames":2}"#;
        let read = Line {
            megabytes: 12.5,
            messages: 10.0,
            lost: 2.0,
        };
        assert_eq!(Line::read(line), Some(read));
        assert_eq!(Line::read(r#"{"event":"begun"}"#), None);
    }

    #[test]
    fn the_slowest_counts_and_what_any_has_lost() {
        let line = |megabytes: f64, lost: f64| Line {
            megabytes,
            messages: megabytes / 2.0,
            lost,
        };
        let quick = vec![line(8.0, 0.0), line(9.0, 0.0), line(7.0, 0.0)];
        let slow = vec![line(4.0, 0.0), line(1.0, 1.0), line(5.0, 3.0)];
        let outcome = outcome(&[quick, slow]);
        assert_eq!(outcome.number("megabytes"), Some(4.0));
        assert_eq!(outcome.number("messages"), Some(2.0));
        assert_eq!(outcome.number("least"), Some(1.0));
        assert_eq!(outcome.number("lost"), Some(3.0));
    }
}
