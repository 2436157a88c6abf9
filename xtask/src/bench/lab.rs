//! Cases that take place in a lab: the same program on every host.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::Result;
use serde_json::Value;

use super::build::Programs;
use super::case::{Heading, Metric, Outcome};
use super::crew::Crew;
use super::record::Report;
use super::turns::Turns;
use crate::netlab::{self, Lab};
use crate::process;

/// One case, its lab, and who takes part.
#[derive(Clone, Debug)]
pub(super) struct LabCase {
    pub(super) heading: Heading,
    pub(super) network: Network,
    /// How many hosts: host 0 coordinates or sends.
    pub(super) hosts: usize,
    pub(super) players: Vec<Player>,
    pub(super) metrics: Vec<Metric>,
    /// How long one run may take.
    pub(super) limit: Duration,
}

/// What connects the hosts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Network {
    /// They are processes that share one loopback interface.
    Loopback,
    /// They are network namespaces on one bridge.
    Bridge {
        /// The share of packets that each host loses, in percent.
        loss: f64,
        /// Whether packets travel in large pieces; never with loss.
        segmentation: bool,
    },
}

/// A contender of one case.
#[derive(Clone, Debug)]
pub(super) struct Player {
    /// The name in reports.
    pub(super) name: &'static str,
    /// The program's name, after `peer-`.
    pub(super) program: &'static str,
    /// What it is told on every host.
    pub(super) words: Vec<String>,
    /// How many hosts have results: the first ones.
    pub(super) answers: usize,
}

/// A program and what it is told.
struct Plan<'a> {
    program: &'a Path,
    player: &'a Player,
}

impl LabCase {
    /// Makes the lab, measures all contenders in turn in it and adds records to the report. Returns whether flexbond
    /// was measured, or could not be because nobody was.
    pub(super) fn hold(&self, programs: &Programs, runs: usize, report: &mut Report) -> bool {
        let lab = match self.lab() {
            Ok(lab) => lab,
            Err(error) => {
                report.miss(&self.heading, "everybody", &format!("no lab: {error:#}"));
                return true;
            }
        };
        let mut turns = Turns::new(&self.heading, &self.metrics);
        for player in &self.players {
            // Those that cannot be built were named then.
            if let Some(program) = programs.get(player.program) {
                let about = format!("what peer-{} is told on every host", player.program);
                turns.enter(
                    player.name,
                    &player.words.join(" "),
                    &about,
                    Plan { program, player },
                );
            }
        }
        turns.take(runs, report, |plan| self.once(&lab, plan))
    }

    fn lab(&self) -> Result<Lab> {
        let Network::Bridge { loss, segmentation } = self.network else {
            return Lab::loopback(self.hosts);
        };
        let mut lab = Lab::new(self.hosts)?;
        if !segmentation {
            lab.segmentation(false)?;
        }
        if loss > 0.0 {
            for host in 0..self.hosts {
                lab.loss(host, loss)?;
            }
        }
        Ok(lab)
    }

    fn once(&self, lab: &Lab, plan: &Plan<'_>) -> Result<Outcome> {
        let crew = Crew::start((0..self.hosts).map(|host| {
            let mut command = lab.command(host, plan.program);
            command.arg("host").args(&plan.player.words);
            command
        }))?;
        let mut answers = crew
            .answers("seconds", plan.player.answers, self.limit)?
            .into_iter();
        Ok(Outcome {
            measured: answers.next().unwrap_or_default(),
            other: Value::Array(answers.collect()),
        })
    }
}

/// Gets the right to make labs, for which this whole program may be started again in a user namespace, and then does
/// not return. To be asked when everything is built, because there is no network to load anything from in there.
///
/// # Errors
/// When the machine allows no labs, with the reason.
pub(super) fn permit() -> Result<()> {
    netlab::prepare()?;
    if netlab::is_inside() {
        // A new namespace begins without any network, and cases of sockets need this much.
        process::output(Command::new("ip").args(["link", "set", "lo", "up"]))?;
    }
    Ok(())
}
