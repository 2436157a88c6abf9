//! A generator, and a program that says how fast its messages arrive.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use super::processes::{PATIENCE, Running, spare_port};
use super::{GENERATE, MFLOW, STATS};
use crate::bench::build::Programs;
use crate::bench::case::{Better, Heading, Metric, Outcome, metric};
use crate::bench::record::Report;
use crate::bench::series::Series;
use crate::bench::turns::Turns;
use crate::bench::{OURS, RAW};

/// psi-mflow installs no scripts of these names.
const MFLOW_GENERATE: &str = "from mflow.cli.generate import main; main()";
const MFLOW_STATS: &str = "from mflow.cli.stats import main; main()";
/// Lines of rates that are not counted: queues fill, memory is taken.
const WARM_UP: usize = 2;
/// Seconds between two lines, as all have it.
const INTERVAL: f64 = 0.5;

/// One size of messages.
#[derive(Clone, Debug)]
pub(super) struct FlowCase {
    pub(super) heading: Heading,
    /// As `-s` has it, in MB of 2^20 bytes.
    megabytes: &'static str,
    metrics: [Metric; 2],
    /// Lines of rates that are counted.
    lines: usize,
}

/// Who is measured, and how.
enum Plan<'a> {
    Ours { generate: &'a Path, stats: &'a Path },
    Mflow(&'a Path),
    Raw,
}

/// What is measured.
pub(super) fn cases(quick: bool) -> Vec<FlowCase> {
    let bytes = metric("", "MB/s", Better::Higher, |outcome| outcome.number("megabytes"));
    let messages = metric("", "messages/s", Better::Higher, |outcome| {
        outcome.number("messages")
    });
    let case = |size, megabytes, first: Metric, second: Metric, suffix| FlowCase {
        heading: Heading {
            group: "streams",
            name: "m_generate -> m_stats".to_owned(),
            transport: "tcp",
            size,
        },
        megabytes,
        metrics: [first, Metric { suffix, ..second }],
        lines: if quick { 2 } else { 8 },
    };
    vec![
        case(1 << 20, "1", bytes, messages, " (messages)"),
        case(10_485, "0.01", messages, bytes, " (bytes)"),
    ]
}

/// What is equal for all.
pub(super) fn rules(quick: bool, runs: usize) -> String {
    let lines = if quick { 2 } else { 8 };
    format!(
        "streams: a generator and a receiver over tcp on loopback, each a process; the median of {lines} rates over \
         {INTERVAL} s each that the receiver prints, {runs} runs; raw is write and read of blocks of the same size"
    )
}

impl FlowCase {
    /// Measures all in turn and adds records to the report. Returns whether flexbond was measured.
    pub(super) fn hold(&self, programs: &Programs, runs: usize, report: &mut Report) -> bool {
        let mut turns = Turns::new(&self.heading, &self.metrics);
        let setting = format!("-s {}", self.megabytes);
        // Those that cannot be built were named then.
        if let (Some(generate), Some(stats)) = (programs.get(GENERATE), programs.get(STATS)) {
            let plan = Plan::Ours { generate, stats };
            turns.enter(OURS, &setting, "what m_generate is told", plan);
        }
        if let Some(python) = programs.get(MFLOW) {
            turns.enter(MFLOW, &setting, "what m_generate is told", Plan::Mflow(python));
        }
        turns.enter(RAW, "", "blocks of the size of a message", Plan::Raw);
        turns.take(runs, report, |plan| self.once(plan))
    }

    fn once(&self, plan: &Plan<'_>) -> Result<Outcome> {
        let rates = match plan {
            Plan::Ours { generate, stats } => self.processes(Command::new(generate), Command::new(stats))?,
            Plan::Mflow(python) => {
                self.processes(script(python, MFLOW_GENERATE), script(python, MFLOW_STATS))?
            }
            Plan::Raw => self.raw()?,
        };
        let median = |of: fn(&Rates) -> f64| {
            let mut series = Series::default();
            rates.iter().for_each(|rates| series.add(of(rates)));
            series.median()
        };
        Ok(Outcome {
            measured: json!({
                "megabytes": median(|rates| rates.megabytes),
                "messages": median(|rates| rates.messages),
            }),
            other: Value::Null,
        })
    }

    fn processes(&self, mut generate: Command, mut stats: Command) -> Result<Vec<Rates>> {
        let address = format!("tcp://127.0.0.1:{}", spare_port()?);
        generate.args(["-a", &address, "-s", self.megabytes]);
        let _generate = Running::start(generate.stdin(Stdio::null()).stdout(Stdio::null()))?;
        let mut stats = Running::start(stats.args([&address]).stdin(Stdio::null()).stdout(Stdio::piped()))?;
        let lines = stats.lines()?;
        let mut rates = Vec::new();
        while rates.len() < WARM_UP + self.lines {
            let line = lines
                .recv_timeout(PATIENCE)
                .context("the receiver says nothing more")?;
            // Nothing has come before the two have met.
            rates.extend(Rates::read(&line).filter(|rates| rates.messages > 0.0));
        }
        Ok(rates.split_off(WARM_UP))
    }

    /// What the system does with blocks of this size.
    fn raw(&self) -> Result<Vec<Rates>> {
        let size = self.heading.size;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("no spare port")?;
        let mut sender = TcpStream::connect(listener.local_addr()?)?;
        let (mut receiver, _) = listener.accept()?;
        let writer = thread::spawn(move || {
            let block = vec![1; size];
            // It ends when nobody reads any more.
            while sender.write_all(&block).is_ok() {}
        });
        let mut block = vec![0; size.max(1 << 18)];
        let mut rates = Vec::new();
        while rates.len() < WARM_UP + self.lines {
            let begin = Instant::now();
            let mut bytes = 0_usize;
            while begin.elapsed().as_secs_f64() < INTERVAL {
                bytes += receiver.read(&mut block)?;
            }
            let per_second = bytes as f64 / begin.elapsed().as_secs_f64();
            rates.push(Rates {
                megabytes: per_second / 1e6,
                messages: per_second / size as f64,
            });
        }
        drop(receiver);
        if writer.join().is_err() {
            bail!("the writer failed");
        }
        Ok(rates.split_off(WARM_UP))
    }
}

/// A line of a receiver.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Rates {
    megabytes: f64,
    messages: f64,
}

impl Rates {
    /// `Data rate:   3415.000 MB/s    Message rate:   3256.100 Hz`
    fn read(line: &str) -> Option<Self> {
        let rest = line.trim().strip_prefix("Data rate:")?;
        let (bytes, rest) = rest.split_once("MB/s")?;
        let messages = rest.trim().strip_prefix("Message rate:")?.strip_suffix("Hz")?;
        Some(Rates {
            megabytes: bytes.trim().parse().ok()?,
            messages: messages.trim().parse().ok()?,
        })
    }
}

fn script(python: &Path, text: &str) -> Command {
    let mut command = Command::new(python);
    command.args(["-u", "-c", text]);
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_read_as_mflow_prints_them() {
        let line = "Data rate:   3415.250 MB/s    Message rate:   3256.100 Hz";
        let rates = Rates {
            megabytes: 3415.25,
            messages: 3256.1,
        };
        assert_eq!(Rates::read(line), Some(rates));
        assert_eq!(
            Rates::read("Listening to tcp://127.0.0.1:9999, a line every 0.5 s."),
            None
        );
        assert_eq!(Rates::read("Data rate: x MB/s    Message rate: 1 Hz"), None);
    }

    #[test]
    fn both_sizes_have_both_metrics() {
        for case in cases(true) {
            let names: Vec<&str> = case.metrics.iter().map(|metric| metric.suffix).collect();
            assert!(names[0].is_empty() && !names[1].is_empty(), "{names:?}");
            assert_ne!(case.metrics[0].unit, case.metrics[1].unit);
        }
    }
}
