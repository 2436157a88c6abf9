//! Cases of ranks: as many processes of each contender, started as its users start them.

use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::Value;

use super::OURS;
use super::build::{OPENMPI, Programs};
use super::case::{Heading, Metric, Outcome};
use super::crew::Crew;
use super::record::Report;
use super::turns::Turns;
use crate::netlab;

/// Our program, after `peer-`.
pub(super) const PROGRAM: &str = "flexbond-collectives";
/// The address at which ours multicast.
const MULTICAST: Ipv4Addr = Ipv4Addr::new(239, 77, 1, 3);
/// How much longer than Open MPI's own limit we wait for it to end what it started.
const GRACE: Duration = Duration::from_secs(5);

/// One case and how many ranks it has.
#[derive(Clone, Debug)]
pub(super) struct RanksCase {
    pub(super) heading: Heading,
    pub(super) ranks: usize,
    /// What every rank is told.
    pub(super) words: Vec<String>,
    /// Whether ours multicast what is for all.
    pub(super) multicast: bool,
    pub(super) metrics: Vec<Metric>,
    /// How long one run may take.
    pub(super) limit: Duration,
}

/// How the ranks of a contender come to life.
enum Launch<'a> {
    /// One process for each, with the variables that torchrun sets.
    Environment(&'a Path),
    /// By Open MPI's launcher.
    Mpirun(&'a Path),
}

impl RanksCase {
    /// Measures both contenders in turn and adds records to the report. Returns whether flexbond was measured, or
    /// does not take part because its program could not be built.
    pub(super) fn hold(&self, programs: &Programs, runs: usize, report: &mut Report) -> bool {
        let mut turns = Turns::new(&self.heading, &self.metrics);
        let launches = [
            (
                OURS,
                PROGRAM,
                programs.get(PROGRAM).map(|path| Launch::Environment(path)),
            ),
            (
                OPENMPI,
                OPENMPI,
                programs.get(OPENMPI).map(|path| Launch::Mpirun(path)),
            ),
        ];
        for (name, program, launch) in launches {
            // Those that cannot be built were named then.
            if let Some(launch) = launch {
                let about = format!("what peer-{program} is told at every rank");
                turns.enter(name, &self.words.join(" "), &about, launch);
            }
        }
        turns.take(runs, report, |launch| self.once(launch))
    }

    fn once(&self, launch: &Launch<'_>) -> Result<Outcome> {
        let (crew, limit) = match launch {
            Launch::Environment(program) => (Crew::start(self.processes(program)?)?, self.limit),
            Launch::Mpirun(program) => (Crew::start([self.mpirun(program)])?, self.limit + GRACE),
        };
        let mut answers = crew.answers("mean_us", 1, limit)?.into_iter();
        Ok(Outcome {
            measured: answers.next().unwrap_or_default(),
            other: Value::Null,
        })
    }

    /// One command for each rank; rank 0 first, which prints the result.
    fn processes(&self, program: &Path) -> Result<Vec<Command>> {
        let port = spare_port()?.to_string();
        let multicast = match self.multicast {
            true => vec![format!("multicast={MULTICAST}:{port}"), "only=yes".to_owned()],
            false => Vec::new(),
        };
        let process = |rank: usize| {
            let mut command = Command::new(program);
            command
                .arg("run")
                .args(&self.words)
                .args(&multicast)
                .env("RANK", rank.to_string())
                .env("WORLD_SIZE", self.ranks.to_string())
                .env("MASTER_ADDR", Ipv4Addr::LOCALHOST.to_string())
                .env("MASTER_PORT", &port);
            command
        };
        Ok((0..self.ranks).map(process).collect())
    }

    /// By tcp, and with ranks that spin but let others run. It ends by itself when it takes too long: were it killed,
    /// its ranks could go on.
    fn mpirun(&self, program: &Path) -> Command {
        let mut command = Command::new("mpirun");
        if netlab::is_inside() {
            // There is nothing but loopback here, which Open MPI leaves out by itself.
            command.args(["--mca", "btl_tcp_if_include", "lo"]);
        }
        command
            .args([
                "--allow-run-as-root",
                "--oversubscribe",
                "--mca",
                "btl",
                "tcp,self",
            ])
            .args(["--mca", "mpi_yield_when_idle", "1"])
            .args(["--timeout", &self.limit.as_secs().to_string()])
            .args(["-n", &self.ranks.to_string()])
            .arg(program)
            .args(&self.words);
        command
    }
}

/// A port that nobody has just now.
fn spare_port() -> Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("no spare port")?;
    Ok(listener.local_addr()?.port())
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;

    use super::*;
    use crate::process::shown;

    fn case() -> RanksCase {
        RanksCase {
            heading: Heading {
                group: "collectives",
                name: "barrier, 4 ranks".to_owned(),
                transport: "lo",
                size: 0,
            },
            ranks: 4,
            words: vec!["case=barrier".to_owned(), "rounds=9".to_owned()],
            multicast: false,
            metrics: Vec::new(),
            limit: Duration::from_secs(60),
        }
    }

    #[test]
    fn every_process_knows_its_rank_and_where_to_meet() {
        let processes = case().processes(Path::new("peer")).unwrap();
        assert_eq!(processes.len(), 4);
        let variable = |process: &Command, name: &str| {
            let mut found = process.get_envs().filter(|(key, _)| *key == name);
            found.next().and_then(|(_, value)| value).map(OsStr::to_owned)
        };
        let port = variable(&processes[0], "MASTER_PORT");
        assert!(port.as_ref().is_some_and(|port| port != "0"));
        for (rank, process) in processes.iter().enumerate() {
            assert_eq!(variable(process, "RANK"), Some(rank.to_string().into()));
            assert_eq!(variable(process, "WORLD_SIZE"), Some("4".into()));
            assert_eq!(variable(process, "MASTER_ADDR"), Some("127.0.0.1".into()));
            assert_eq!(variable(process, "MASTER_PORT"), port);
            assert_eq!(shown(process), "peer run case=barrier rounds=9");
        }
    }

    #[test]
    fn all_ranks_multicast_at_one_address() {
        let case = RanksCase {
            multicast: true,
            ..case()
        };
        let processes = case.processes(Path::new("peer")).unwrap();
        let lines: Vec<String> = processes.iter().map(shown).collect();
        assert!(lines[0].starts_with("peer run case=barrier rounds=9 multicast=239.77.1.3:"));
        assert!(lines[0].ends_with(" only=yes"));
        assert!(lines.iter().all(|line| *line == lines[0]));
        assert!(!shown(&case.mpirun(Path::new("peer"))).contains("multicast"));
    }

    #[test]
    fn open_mpi_uses_tcp_and_has_a_limit() {
        assert_eq!(
            shown(&case().mpirun(Path::new("peer"))),
            "mpirun --allow-run-as-root --oversubscribe --mca btl tcp,self --mca mpi_yield_when_idle 1 --timeout 60 \
             -n 4 peer case=barrier rounds=9"
        );
    }
}
