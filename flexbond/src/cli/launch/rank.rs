//! The processes: started, signalled, and how each ended.

use std::ffi::OsString;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::process::ExitStatusExt;
use std::process::{ExitStatus, Stdio};

use rustix::io::Errno;
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::process::{Child, Command};
use tokio::task::JoinSet;

use super::relay::{Relay, Target};
use crate::cli::Failure;

/// How a process ended.
#[derive(Debug)]
pub(super) struct Ended {
    rank: u32,
    status: ExitStatus,
}

impl Ended {
    /// The exit code, as a shell has it.
    pub(super) fn code(&self) -> u8 {
        match (self.status.code(), self.status.signal()) {
            // Exit codes are bytes, and signal numbers small.
            (Some(code), _) => code as u8,
            (None, signal) => 128 + signal.unwrap_or_default() as u8,
        }
    }
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.status.code(), self.status.signal()) {
            (Some(code), _) => write!(f, "rank {} ended with code {code}", self.rank),
            (None, signal) => {
                let signal = signal.unwrap_or_default();
                write!(f, "rank {} was ended by signal {signal}", self.rank)
            }
        }
    }
}

/// Where the processes meet.
pub(super) struct Place {
    pub(super) port: u16,
    pub(super) multicast: Option<SocketAddr>,
    pub(super) interface: Option<IpAddr>,
}

/// The processes that run.
pub(super) struct Ranks {
    waiting: JoinSet<Ended>,
    /// The process group of each that runs.
    groups: Vec<Option<Pid>>,
}

impl Ranks {
    /// Starts all, or none.
    pub(super) fn start(
        command: &[OsString],
        count: u32,
        place: &Place,
        relay: Option<&Relay>,
    ) -> Result<Self, Failure> {
        let mut ranks = Ranks {
            waiting: JoinSet::new(),
            groups: Vec::new(),
        };
        for rank in 0..count {
            // Those that run already are killed when `ranks` is dropped.
            let mut child = spawn(command, rank, count, place, relay.is_some())?;
            ranks.groups.push(child.id().and_then(group));
            if let Some(relay) = relay {
                if let Some(output) = child.stdout.take() {
                    relay.pass(rank, output, Target::Output);
                }
                if let Some(error) = child.stderr.take() {
                    relay.pass(rank, error, Target::Error);
                }
            }
            ranks.waiting.spawn(async move {
                let status = child.wait().await;
                Ended {
                    rank,
                    // It cannot fail for a child that nobody else has waited for.
                    status: status.unwrap_or_else(|_| ExitStatus::from_raw(1 << 8)),
                }
            });
        }
        Ok(ranks)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// The next that ends; what it leaves behind is killed. Cancel safe.
    pub(super) async fn next(&mut self) -> Option<Ended> {
        let ended = self.waiting.join_next().await?.ok()?;
        if let Some(group) = self.groups.get_mut(ended.rank as usize).and_then(Option::take) {
            // There is nothing left in most.
            let _ = kill_process_group(group, Signal::KILL);
        }
        Some(ended)
    }

    /// Sends a signal to all that run, and to what they have started.
    pub(super) fn signal(&self, signal: Signal) {
        for group in self.groups.iter().flatten() {
            // Who has just ended hears nothing.
            let _ = kill_process_group(*group, signal);
        }
    }
}

impl Drop for Ranks {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
    }
}

fn group(id: u32) -> Option<Pid> {
    i32::try_from(id).ok().and_then(Pid::from_raw)
}

fn spawn(command: &[OsString], rank: u32, count: u32, place: &Place, piped: bool) -> Result<Child, Failure> {
    let Some((program, arguments)) = command.split_first() else {
        return Err(Failure::usage("no program to start"));
    };
    let port = place.port;
    let stream = || if piped { Stdio::piped() } else { Stdio::inherit() };
    Command::new(program)
        .args(arguments)
        .env("RANK", rank.to_string())
        .env("LOCAL_RANK", rank.to_string())
        .env("WORLD_SIZE", count.to_string())
        .env("MASTER_ADDR", "127.0.0.1")
        .env("MASTER_PORT", port.to_string())
        .env("FLEXBOND_ENDPOINT", format!("tcp://127.0.0.1:{port}"))
        .envs(
            place
                .multicast
                .map(|group| ("FLEXBOND_MULTICAST", group.to_string())),
        )
        .envs(
            place
                .interface
                .map(|address| ("FLEXBOND_INTERFACE", address.to_string())),
        )
        .stdin(Stdio::null())
        .stdout(stream())
        .stderr(stream())
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| {
            let program = program.to_string_lossy();
            let failure = Failure::new(format!("cannot start {program}: {error}"));
            match Errno::from_io_error(&error) {
                Some(Errno::NOENT) => failure.hint("is it installed, and in PATH?"),
                Some(Errno::MFILE) => failure.hint(
                    "raise the limit with `ulimit -n`: each process takes up to three of these files here; \
                     with --no-prefix one",
                ),
                Some(Errno::NFILE) => failure.hint("all that runs on this machine has too many open"),
                _ => failure,
            }
        })
}
