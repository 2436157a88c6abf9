//! `cargo xtask netlab check`: the lab does what it says.

use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use serde_json::Value;

use super::access::{Access, access};
use super::fault::BURST;
use super::{Lab, NEEDS, ranks};
use crate::{process, setup};

/// How long a probe may be silent.
const PATIENCE: Duration = Duration::from_secs(20);
/// Where probes listen.
const PORT: u16 = 7077;
/// The group that probes join.
const GROUP: Ipv4Addr = Ipv4Addr::new(239, 77, 0, 1);
/// Loss and duplication, in percent.
const SHARE: f64 = 20.0;
/// The limited rate, in Mbit/s.
const RATE: f64 = 40.0;
/// Packets of a trial of a rate, and the bytes of each: 115 Mbit/s at the pace of the probes.
const FAST: u64 = 3000;
/// See [`FAST`].
const LARGE: u64 = 1400;
/// Bytes of Ethernet, IPv4 and UDP around a packet's payload, as a rate limit counts them.
const HEADERS: u64 = 14 + 20 + 8;

/// Proves on a lab of three hosts that it does what it says, fault by fault, with packets that it counts; and with links
/// that are cut under a computation of three ranks, that these agree on how it ends.
///
/// Numbers that are drawn at random are judged by five standard deviations: one run in a million fails by chance.
#[derive(clap::Args)]
pub(super) struct Args {
    /// With fewer packets, in a few seconds, as CI does it.
    #[arg(long)]
    pub(super) short: bool,
}

/// As the command in its short form, for CI: says what could not be checked here and why, and fails only when a lab
/// can be made and does not do what it says.
///
/// # Errors
/// When system packages are missing, or the lab does not do what it says.
pub fn check_if_possible() -> Result<Option<String>> {
    setup::ensure(&NEEDS)?;
    if let Access::Denied(why) = access() {
        return Ok(Some(format!(
            "the network lab was NOT CHECKED: network namespaces cannot be made here ({why})"
        )));
    }
    // A program of its own, because it may have to start itself again in a user namespace.
    process::run(Command::new(process::own_program()?).args(["netlab", "check", "--short"]))?;
    Ok(None)
}

/// Runs the command.
///
/// # Errors
/// Names what is not as it should be.
pub fn check(short: bool) -> Result<()> {
    let began = Instant::now();
    let mut check = Check {
        lab: Lab::new(3)?,
        program: process::own_program()?,
        packets: if short { 1_000 } else { 10_000 },
        failures: Vec::new(),
    };
    println!(
        "a lab of 3 hosts in {:.0} ms",
        began.elapsed().as_secs_f64() * 1e3
    );
    check.connectivity("no fault")?;
    check.loss()?;
    check.duplication()?;
    check.partition()?;
    check.rate()?;
    check.clearing()?;
    check.ranks()?;
    check.removal()
}

struct Check {
    lab: Lab,
    program: PathBuf,
    /// Packets of one trial.
    packets: u64,
    failures: Vec<String>,
}

impl Check {
    /// Everybody reaches everybody, alone and by the group, and nothing is lost or doubled.
    fn connectivity(&mut self, when: &str) -> Result<()> {
        for (from, to) in [(0, 1), (1, 2), (2, 0)] {
            let counts = self.trial(from, Some(to), &[to])?;
            self.expect_all(&format!("{when}: host {from} to {to}"), &counts[0]);
        }
        for (from, listeners) in [(0, [1, 2]), (2, [0, 1])] {
            let counts = self.trial(from, None, &listeners)?;
            for (host, count) in listeners.iter().zip(&counts) {
                self.expect_all(&format!("{when}: host {from} to the group, at {host}"), count);
            }
        }
        Ok(())
    }

    fn loss(&mut self) -> Result<()> {
        self.lab.loss(1, SHARE)?;
        self.expect(
            "loss turns segmentation offload off",
            !self.lab.has_segmentation(0)?,
        );
        let kept = binomial(self.packets, 1.0 - SHARE / 100.0);
        let when = format!("{SHARE} % loss at host 1");
        let counts = self.trial(0, None, &[1, 2])?;
        self.expect_in(&format!("{when}: group, at 1"), counts[0].distinct, &kept);
        self.expect_all(&format!("{when}: group, at 2"), &counts[1]);
        let counts = self.trial(2, Some(1), &[1])?;
        self.expect_in(&format!("{when}: host 2 to 1"), counts[0].distinct, &kept);
        let counts = self.trial(1, Some(2), &[2])?;
        self.expect_all(&format!("{when}: host 1 to 2"), &counts[0]);
        self.lab.loss(1, 0.0)?;
        let counts = self.trial(0, None, &[1])?;
        self.expect_all("loss taken away: group, at 1", &counts[0]);
        Ok(())
    }

    fn duplication(&mut self) -> Result<()> {
        self.lab.duplicate(2, SHARE)?;
        let doubled = binomial(self.packets, SHARE / 100.0);
        let when = format!("{SHARE} % duplicates at host 2");
        let counts = self.trial(0, None, &[1, 2])?;
        self.expect_all(&format!("{when}: group, at 1"), &counts[0]);
        for (how, count) in [
            ("group", counts[1].clone()),
            ("host 1 to 2", self.trial(1, Some(2), &[2])?.remove(0)),
        ] {
            let copies = count.packets.saturating_sub(count.distinct);
            self.expect_in(&format!("{when}: {how}, copies"), copies, &doubled);
            self.expect_exactly(
                &format!("{when}: {how}, different ones"),
                count.distinct,
                self.packets,
            );
        }
        self.lab.duplicate(2, 0.0)?;
        let counts = self.trial(0, None, &[2])?;
        self.expect_all("duplication taken away: group, at 2", &counts[0]);
        Ok(())
    }

    fn partition(&mut self) -> Result<()> {
        self.lab.partition(2)?;
        let counts = self.trial(0, None, &[1, 2])?;
        self.expect_all("host 2 cut off: group, at 1", &counts[0]);
        self.expect_exactly("host 2 cut off: group, at 2", counts[1].packets, 0);
        let counts = self.trial(2, None, &[0, 1])?;
        for (host, count) in counts.iter().enumerate() {
            self.expect_exactly(
                &format!("host 2 cut off: group from 2, at {host}"),
                count.packets,
                0,
            );
        }
        let counts = self.trial(2, Some(1), &[1])?;
        self.expect_exactly("host 2 cut off: host 2 to 1", counts[0].packets, 0);
        self.lab.heal(2)?;
        for (from, to) in [(0, 2), (2, 0)] {
            let counts = self.trial(from, Some(to), &[to])?;
            self.expect_all(&format!("healed: host {from} to {to}"), &counts[0]);
        }
        Ok(())
    }

    fn rate(&mut self) -> Result<()> {
        self.lab.rate(0, RATE)?;
        for (from, to) in [(0, 1), (1, 0)] {
            let (count, rate) = self.fast(from, to)?;
            let what = format!("{RATE} Mbit/s at host 0: host {from} to {to}");
            // A sender at the limited link is held back and loses nothing. A busy machine may leave some of the rate
            // unused; more than it must not pass.
            let (low, high) = (RATE * 0.5, RATE * 1.1);
            let numbers = format!(
                "{} of {FAST} sent, {rate:.1} Mbit/s, must be {low:.1} to {high:.1}",
                count.packets
            );
            judge(&mut self.failures, &what, &numbers, (low..=high).contains(&rate));
        }
        self.expect_no_limit("hosts 1 to 2, not limited", 1, 2)?;
        self.lab.rate(0, 0.0)?;
        self.expect_no_limit("limit taken away: host 0 to 1", 0, 1)?;
        self.expect_no_limit("limit taken away: host 1 to 0", 1, 0)
    }

    /// All faults at once, and then none.
    fn clearing(&mut self) -> Result<()> {
        self.lab.loss(1, SHARE)?;
        self.lab.duplicate(2, SHARE)?;
        self.lab.partition(0)?;
        self.lab.rate(2, RATE)?;
        self.lab.clear()?;
        self.expect(
            "clearing turns segmentation offload on",
            self.lab.has_segmentation(0)?,
        );
        self.connectivity("all cleared")?;
        self.expect_no_limit("all cleared: host 2 to 1", 2, 1)
    }

    /// A computation ends alike at all its ranks when paths between them go dead.
    fn ranks(&mut self) -> Result<()> {
        ranks::check(&mut self.lab, &mut self.failures)
    }

    /// Dropping the lab ends what runs in it. The last of the checks, because the lab is gone then.
    fn removal(self) -> Result<()> {
        let Check {
            lab, mut failures, ..
        } = self;
        let mut left = lab.command(1, "sleep").arg("1000").spawn()?;
        let holders = lab.holders();
        drop(lab);
        let ended = wait_until(|| matches!(left.try_wait(), Ok(Some(_))));
        let gone = wait_until(|| {
            holders
                .iter()
                .all(|pid| !Path::new(&format!("/proc/{pid}/ns/net")).exists())
        });
        for (what, is_so) in [
            ("the end of the lab ends a program in it", ended),
            ("the end of the lab removes its namespaces", gone),
        ] {
            judge(&mut failures, what, "", is_so);
        }
        if !failures.is_empty() {
            bail!(
                "the network lab does not do what it says: {}",
                failures.join("; ")
            );
        }
        println!("the network lab does what it says");
        Ok(())
    }

    /// Sends this check's number of packets from a host, to another one or to the group, and returns what each
    /// listener counted.
    fn trial(&self, from: usize, to: Option<usize>, listeners: &[usize]) -> Result<Vec<Count>> {
        self.send(from, to, listeners, &[&self.packets.to_string(), "64"])
    }

    /// Sends large packets at a pace above the limit, and returns what arrived and at which rate after the first
    /// burst, in Mbit/s.
    fn fast(&self, from: usize, to: usize) -> Result<(Count, f64)> {
        let count = self
            .send(from, Some(to), &[to], &[&FAST.to_string(), &LARGE.to_string()])?
            .remove(0);
        let bytes = (count.packets * (LARGE + HEADERS)).saturating_sub(u64::from(BURST));
        let rate = bytes as f64 * 8.0 / 1e6 / count.seconds;
        Ok((count, rate))
    }

    fn send(
        &self,
        from: usize,
        to: Option<usize>,
        listeners: &[usize],
        traffic: &[&str],
    ) -> Result<Vec<Count>> {
        let mut probes = Vec::new();
        for &host in listeners {
            let mut command = self.probe(host, "receive");
            command.arg(PORT.to_string());
            if to.is_none() {
                command.arg(GROUP.to_string());
            }
            probes.push(Probe::start(&mut command)?);
        }
        for probe in &probes {
            probe.line().context("a receiver did not start")?;
        }
        let to = SocketAddrV4::new(to.map_or(GROUP, |host| self.lab.address(host)), PORT);
        let mut command = self.probe(from, "send");
        command.arg(to.to_string()).args(traffic);
        Probe::start(&mut command)?
            .line()
            .with_context(|| format!("host {from} did not send"))?;
        for probe in &mut probes {
            probe.end_input();
        }
        probes.iter().map(|probe| Count::read(&probe.line()?)).collect()
    }

    fn probe(&self, host: usize, role: &str) -> Command {
        let mut command = self.lab.command(host, &self.program);
        command.args(["netlab", "probe", role]);
        command
    }

    fn expect(&mut self, what: &str, is_so: bool) {
        judge(&mut self.failures, what, "", is_so);
    }

    fn expect_all(&mut self, what: &str, count: &Count) {
        let Count {
            packets, distinct, ..
        } = *count;
        let numbers = format!(
            "{distinct} of {} sent, {} copies, must be all and none",
            self.packets,
            packets.saturating_sub(distinct)
        );
        let is_so = distinct == self.packets && packets == distinct;
        judge(&mut self.failures, what, &numbers, is_so);
    }

    fn expect_exactly(&mut self, what: &str, found: u64, wanted: u64) {
        let numbers = format!("{found} of {} sent, must be {wanted}", self.packets);
        judge(&mut self.failures, what, &numbers, found == wanted);
    }

    fn expect_in(&mut self, what: &str, found: u64, wanted: &RangeInclusive<u64>) {
        let (low, high) = (wanted.start(), wanted.end());
        let numbers = format!("{found} of {} sent, must be {low} to {high}", self.packets);
        judge(&mut self.failures, what, &numbers, wanted.contains(&found));
    }

    /// Everything arrives at a pace that a limit would have cut down.
    fn expect_no_limit(&mut self, what: &str, from: usize, to: usize) -> Result<()> {
        let (count, rate) = self.fast(from, to)?;
        let low = RATE * 1.25;
        let numbers = format!(
            "{} of {FAST} sent, {rate:.1} Mbit/s, must be all and more than {low:.1}",
            count.packets
        );
        let is_so = count.packets == FAST && rate > low;
        judge(&mut self.failures, what, &numbers, is_so);
        Ok(())
    }
}

pub(super) fn judge(failures: &mut Vec<String>, what: &str, numbers: &str, is_so: bool) {
    let line = if numbers.is_empty() {
        what.to_owned()
    } else {
        format!("{what}: {numbers}")
    };
    println!("{} {line}", if is_so { "ok    " } else { "FAILED" });
    if !is_so {
        failures.push(line);
    }
}

/// What a receiver counted. Packets that found its buffer full came through the lab and count as well.
#[derive(Clone, Debug)]
struct Count {
    packets: u64,
    distinct: u64,
    seconds: f64,
}

impl Count {
    fn read(line: &Value) -> Result<Self> {
        let number = |key: &str| {
            line[key]
                .as_u64()
                .with_context(|| format!("no `{key}` in {line}"))
        };
        let dropped = number("dropped")?;
        Ok(Count {
            packets: number("packets")? + dropped,
            distinct: number("distinct")? + dropped,
            seconds: line["seconds"].as_f64().context("no `seconds`")?,
        })
    }
}

/// How many of `trials` succeed when each does with probability `share`: the range of five standard deviations.
fn binomial(trials: u64, share: f64) -> RangeInclusive<u64> {
    let mean = trials as f64 * share;
    let reach = 5.0 * (mean * (1.0 - share)).sqrt();
    let low = (mean - reach).floor().max(0.0);
    let high = (mean + reach).ceil().min(trials as f64);
    low as u64..=high as u64
}

/// Whether something becomes so before long.
pub(super) fn wait_until(mut is_so: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        if Instant::now() > deadline {
            return false;
        }
        thread::sleep(Duration::from_millis(2));
    }
    true
}

/// A program that runs, and prints JSON. Killed when dropped.
pub(super) struct Probe {
    child: Child,
    /// With the moment at which each came.
    lines: Receiver<(Instant, Value)>,
}

impl Probe {
    pub(super) fn start(command: &mut Command) -> Result<Self> {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start `{}`", process::shown(command)))?;
        let output = child.stdout.take().context("no standard output")?;
        let (tx, lines) = channel();
        thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                if let Ok(value) = serde_json::from_str(&line) {
                    // Nobody listens once the trial is over.
                    let _ = tx.send((Instant::now(), value));
                }
            }
        });
        Ok(Probe { child, lines })
    }

    fn line(&self) -> Result<Value> {
        let (_, line) = self
            .hear(PATIENCE)
            .ok_or_else(|| anyhow!("a probe gave no answer"))?;
        Ok(line)
    }

    /// The next line and when it came; none if there is none in time.
    pub(super) fn hear(&self, patience: Duration) -> Option<(Instant, Value)> {
        self.lines.recv_timeout(patience).ok()
    }

    pub(super) fn end_input(&mut self) {
        self.child.stdin = None;
    }

    pub(super) fn has_ended(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(Some(_)))
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        // It may be gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chance_has_its_bounds() {
        assert_eq!(binomial(1000, 0.2), 136..=264);
        assert_eq!(binomial(1000, 0.0), 0..=0);
        assert_eq!(binomial(1000, 1.0), 1000..=1000);
    }

    #[test]
    fn packets_that_met_a_full_buffer_did_arrive() {
        let line =
            serde_json::json!({ "packets": 5, "distinct": 4, "bytes": 1, "seconds": 0.5, "dropped": 2 });
        let count = Count::read(&line).unwrap();
        assert_eq!((count.packets, count.distinct), (7, 6));
        assert!(Count::read(&serde_json::json!({})).is_err());
    }
}
