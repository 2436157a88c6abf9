//! `flexbond group`: sessions of many members from the shell.

mod coordinate;
mod join;
mod key;
mod passing;
mod roll;
mod rounds;
mod show;
mod transfer;

use std::net::SocketAddr;
use std::time::Duration;

use clap::{Args, Subcommand};

use super::argument;
use super::failure::{Exit, Failure, explain};
use super::interrupt::Interrupt;
use super::quantity;
use crate::group::{
    AcceptError, Interface, JoinError, JoinGroupError, Options, Over, PresharedKey, RejectReason, StartError,
};
use crate::transport::Endpoint;

/// Hold and join sessions of many members, and send files to all of them at once.
#[derive(Args)]
pub(crate) struct GroupCommand {
    #[command(subcommand)]
    command: Group,
}

#[derive(Subcommand)]
enum Group {
    Coordinate(coordinate::Coordinate),
    Join(join::Join),
    Send(transfer::Send),
    Recv(transfer::Recv),
}

impl GroupCommand {
    pub(crate) fn run(&self) -> Result<Exit, Failure> {
        match &self.command {
            Group::Coordinate(command) => command.run(),
            Group::Join(command) => command.run(),
            Group::Send(command) => command.run(),
            Group::Recv(command) => command.run(),
        }
    }
}

/// The group that barriers are passed in, or that files are sent to.
const GROUP: u16 = 0;

/// What all who are in a session have to be told.
#[derive(Args)]
struct Access {
    /// The session: udp://HOST:PORT; over connections, where UDP is blocked or all are on one machine: tcp://HOST:PORT,
    /// ipc://PATH
    #[arg(value_name = "ENDPOINT")]
    endpoint: Endpoint,

    #[command(flatten)]
    reach: Reach,
}

impl Access {
    /// To be called while signals still end the process: the file with the key may be a pipe, and what is to come out of
    /// it may never come.
    fn options(&self) -> Result<Options, Failure> {
        let mut options = Options::new();
        options.interface.clone_from(&self.reach.interface);
        options.key = self.reach.key()?;
        Ok(options)
    }
}

/// How all who are in a session reach it.
#[derive(Args)]
pub(crate) struct Reach {
    /// The network interface for multicast: its name, or one of its addresses. Default: that of the endpoint
    #[arg(long, value_name = "IP|NAME")]
    pub(crate) interface: Option<Interface>,

    /// A file with the key of the session, at least 16 bytes: nobody without it can join, read or disturb. The same for
    /// all who are in
    #[arg(long, value_name = "PATH")]
    key_file: Option<std::path::PathBuf>,
}

impl Reach {
    pub(crate) fn is_set(&self) -> bool {
        self.interface.is_some() || self.key_file.is_some()
    }

    /// Reads the key. To be called while signals still end the process, as [`Access::options`].
    pub(crate) fn key(&self) -> Result<Option<PresharedKey>, Failure> {
        self.key_file.as_deref().map(key::read).transpose()
    }
}

/// Where who holds a session sends what is for all.
#[derive(Args)]
pub(crate) struct ToAll {
    /// Send what is for all to this address, once for all; members that it does not reach are found out
    #[arg(long, value_name = "GROUP:PORT")]
    pub(crate) multicast: Option<SocketAddr>,
}

/// What who holds a session decides.
#[derive(Args)]
struct Holding {
    #[command(flatten)]
    to_all: ToAll,

    /// Who was silent for so long is dead
    #[arg(long, value_name = "SECONDS", value_parser = argument::positive_seconds, default_value = "2",
          allow_negative_numbers = true)]
    dead_after: Duration,

    /// How often a sign of life is due. Default: 0.2, or a quarter of --dead-after if that is less
    #[arg(long, value_name = "SECONDS", value_parser = argument::positive_seconds, allow_negative_numbers = true)]
    heartbeat: Option<Duration>,
}

impl Holding {
    fn apply(&self, mut options: Options) -> Options {
        options.multicast = self.to_all.multicast;
        let heartbeat = options.heartbeat.min(self.dead_after / 4);
        options
            .dead_after(self.dead_after)
            .heartbeat(self.heartbeat.unwrap_or(heartbeat))
    }
}

/// How a member calls itself, and how long it waits to be let in.
#[derive(Args)]
struct Joining {
    /// What to be called, at most 64 bytes. Default: the name of this machine
    #[arg(long, value_name = "NAME")]
    name: Option<String>,

    /// How long to try to be let in
    #[arg(long, value_name = "SECONDS", value_parser = argument::positive_seconds, default_value = "10",
          allow_negative_numbers = true)]
    timeout: Duration,
}

impl Joining {
    fn apply(&self, options: Options) -> Options {
        let name = self.name.clone().unwrap_or_else(machine);
        options.name(name).join_timeout(self.timeout)
    }
}

/// What this machine is called, cut to what a member's name may have.
fn machine() -> String {
    let mut name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    while name.len() > 64 {
        name.pop();
    }
    name
}

fn listen_for_signals() -> Result<Interrupt, Failure> {
    Interrupt::listen().map_err(|error| Failure::new(format!("cannot listen for signals: {error}")))
}

pub(crate) fn start_failure(error: &StartError) -> Failure {
    let text = explain(error);
    match error {
        StartError::Option(_) | StartError::Endpoint(_) | StartError::Unsupported { .. } => {
            Failure::usage(text)
        }
        StartError::Bind(_) => Failure::new(text)
            .hint("stop the program that has this port, or choose another endpoint; port 0 picks a free one"),
        _ => Failure::new(text),
    }
}

fn join_failure(error: &JoinError) -> Failure {
    match error {
        JoinError::Start(error) => start_failure(error),
        JoinError::NoAnswer { endpoint, timeout } => Failure::new(format!(
            "nobody answers at {endpoint} within {} s",
            timeout.as_secs_f64()
        ))
        .hint(
            "start the other side there first, or give a longer --timeout; a firewall may be in the way too",
        ),
        JoinError::Rejected {
            why: RejectReason::WrongKey | RejectReason::NeedsKey | RejectReason::NoKey,
            ..
        } => Failure::new(explain(error)).hint("give both sides the same --key-file"),
        JoinError::Rejected {
            why: RejectReason::Spent,
            ..
        } => Failure::new(explain(error)).hint("too much is lost on the way from there; try again"),
        JoinError::Rejected { .. } => {
            Failure::new(explain(error)).hint("as many may be in as all expect to come, or the session ends")
        }
        _ => Failure::new(explain(error)),
    }
}

fn join_group_failure(error: &JoinGroupError, hint: &str) -> Failure {
    match error {
        JoinGroupError::Over(over) => over_failure(over),
        _ => Failure::new(explain(error)).hint(hint),
    }
}

fn over_failure(over: &Over) -> Failure {
    match over {
        Over::CoordinatorDead => Failure::new("the coordinator is dead: nothing is heard of it any more")
            .hint("start it again, then join again"),
        _ => Failure::new(explain(over)),
    }
}

fn accept_failure(error: &AcceptError) -> Failure {
    match error {
        AcceptError::Over(over) => over_failure(over),
        _ => Failure::new(explain(error)),
    }
}

/// Whether the coordinator has ended the session for everybody.
fn is_end(over: &Over) -> bool {
    matches!(over, Over::Left | Over::Closed)
}
