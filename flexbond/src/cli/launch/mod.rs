//! `flexbond launch`: the ranks of a program on this machine.

mod lines;
mod rank;
mod relay;
mod signals;

use std::ffi::OsString;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::time::Duration;

use clap::Args;
use rustix::process::Signal;
use tokio::time::{Instant, sleep_until};

use super::argument;
use super::{Exit, Failure};
use rank::{Ended, Place, Ranks};
use relay::Relay;
use signals::{Arrived, Signals};

/// Start N processes of a program on this machine, each with its rank in the environment, to try things out.
///
/// Ends when all have ended. When one fails, the others may end by themselves for a while, then they are ended; the
/// exit code is that of the first that failed.
#[derive(Args)]
#[command(after_long_help = HELP)]
pub(crate) struct Launch {
    /// How many to start
    #[arg(short = 'n', long = "ranks", value_name = "N", value_parser = clap::value_parser!(u32).range(1..=4096))]
    ranks: u32,

    /// End all of them (exit code 3) when they have not ended after this long
    #[arg(long, value_name = "SECONDS", value_parser = argument::positive_seconds, allow_negative_numbers = true)]
    timeout: Option<Duration>,

    /// How long the others have to end when one has failed, and again between being asked to end and being killed
    #[arg(long, value_name = "SECONDS", value_parser = argument::seconds, default_value = "3",
          allow_negative_numbers = true)]
    grace: Duration,

    /// Have the ranks send what is for all of them to this multicast address, if they use collectives
    #[arg(long, value_name = "GROUP:PORT", value_parser = argument::multicast)]
    multicast: Option<SocketAddr>,

    /// An address of the network interface for --multicast; the default is 127.0.0.1
    #[arg(long, value_name = "IP", requires = "multicast")]
    interface: Option<IpAddr>,

    /// Leave the output as it is, without `[rank] ` before each line
    #[arg(long)]
    no_prefix: bool,

    /// The program and its arguments
    #[arg(
        value_name = "CMD",
        required = true,
        trailing_var_arg = true,
        allow_hyphen_values = true
    )]
    command: Vec<OsString>,
}

const HELP: &str = "Environment of each process:
  RANK, LOCAL_RANK     its number, from 0
  WORLD_SIZE           how many there are
  MASTER_ADDR          127.0.0.1
  MASTER_PORT          a tcp port that was free a moment ago
  FLEXBOND_ENDPOINT    tcp://127.0.0.1:MASTER_PORT
  FLEXBOND_MULTICAST   that of --multicast
  FLEXBOND_INTERFACE   that of --interface

Signals:
  Ctrl-C and termination are passed on to all, a terminal that goes away (unless
  started with nohup) and Ctrl-\\ as termination; a second one kills them. Each
  process has a process group of its own: what it has started itself and leaves
  behind is killed when it ends. Only if flexbond itself is killed (signal 9),
  nobody is left to end them.

Streams:
  Standard input is empty. When nobody reads the output any more, as behind
  `| head -1`, the processes hear of it when they write there, as in any pipe;
  what they write to standard error still comes.

Exit codes:
  0         all ended with 0
  2         usage
  3         timed out
  128 + n   ended by signal n; 130 is Ctrl-C
  others    that of the first process that failed (128 + n if signal n ended it);
            1 if one cannot be started

Examples:
  Four processes that say who they are:
    flexbond launch -n 4 -- sh -c 'echo rank $RANK of $WORLD_SIZE'
  A program that meets its peers at FLEXBOND_ENDPOINT, for a minute at most:
    flexbond launch -n 2 --timeout 60 -- ./solver --steps 100
  Eight that broadcast long messages by multicast:
    flexbond launch -n 8 --multicast 239.1.2.3:5000 -- ./solver --steps 100";

/// How long the last lines of processes that have ended are waited for.
const LAST_LINES: Duration = Duration::from_secs(1);

impl Launch {
    pub(crate) fn run(&self) -> Result<Exit, Failure> {
        // The processes that it starts get the limits that it was given.
        super::to_its_end(super::current_thread()?, self.launch())
    }

    async fn launch(&self) -> Result<Exit, Failure> {
        let mut signals =
            Signals::listen().map_err(|error| Failure::new(format!("cannot listen for signals: {error}")))?;
        let mut relay = match self.no_prefix {
            true => None,
            false => Some(
                Relay::start().map_err(|error| Failure::new(format!("cannot start a thread: {error}")))?,
            ),
        };
        let place = Place {
            port: free_port()?,
            multicast: self.multicast,
            interface: self.interface,
        };
        let mut ranks = Ranks::start(&self.command, self.ranks, &place, relay.as_ref())?;
        let mut watch = Watch::new(self.grace);
        let timeout = self.timeout.and_then(|limit| Instant::now().checked_add(limit));
        while !ranks.is_empty() {
            tokio::select! {
                Some(ended) = ranks.next() => watch.ended(ended, &ranks),
                arrived = signals.next() => watch.signalled(arrived, &ranks),
                () = at(watch.deadline) => watch.due(&ranks),
                () = at(timeout), if !watch.timed_out => watch.timeout(&ranks),
            }
        }
        if let Some(relay) = relay.take() {
            tokio::select! {
                () = relay.finish(LAST_LINES) => {}
                _ = signals.next() => {}
            }
        }
        watch.conclude(self.timeout.unwrap_or_default())
    }
}

async fn at(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

/// A port that nobody uses at the moment.
fn free_port() -> Result<u16, Failure> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .and_then(|listener| listener.local_addr())
        .map(|address| address.port())
        .map_err(|error| Failure::new(format!("cannot find a free port: {error}")))
}

/// What has happened, and what is to be done when.
struct Watch {
    grace: Duration,
    failed: Option<Ended>,
    signal: Option<Signal>,
    timed_out: bool,
    /// What is sent to all at the deadline.
    next: Signal,
    deadline: Option<Instant>,
}

impl Watch {
    fn new(grace: Duration) -> Self {
        Watch {
            grace,
            failed: None,
            signal: None,
            timed_out: false,
            next: Signal::TERM,
            deadline: None,
        }
    }

    fn is_ending(&self) -> bool {
        self.failed.is_some() || self.signal.is_some() || self.timed_out
    }

    fn soon(&mut self, next: Signal) {
        self.next = next;
        self.deadline = Instant::now().checked_add(self.grace);
    }

    fn ended(&mut self, ended: Ended, ranks: &Ranks) {
        if ended.code() == 0 || self.is_ending() {
            return;
        }
        if !ranks.is_empty() {
            let seconds = self.grace.as_secs_f64();
            eprintln!("flexbond: {ended}; the others have {seconds} s to end");
        }
        self.failed = Some(ended);
        self.soon(Signal::TERM);
    }

    fn signalled(&mut self, arrived: Arrived, ranks: &Ranks) {
        if self.signal.is_some() {
            ranks.signal(Signal::KILL);
            return;
        }
        self.signal = Some(arrived.signal);
        ranks.signal(arrived.passed_on);
        self.soon(Signal::KILL);
    }

    fn timeout(&mut self, ranks: &Ranks) {
        self.timed_out = true;
        ranks.signal(Signal::TERM);
        self.soon(Signal::KILL);
    }

    fn due(&mut self, ranks: &Ranks) {
        ranks.signal(self.next);
        match self.next {
            Signal::KILL => self.deadline = None,
            _ => self.soon(Signal::KILL),
        }
    }

    fn conclude(self, limit: Duration) -> Result<Exit, Failure> {
        match (self.failed, self.signal) {
            (Some(ended), _) => Err(Failure::child(ended.code(), ended.to_string())),
            // Signal numbers are small.
            (None, Some(signal)) => Ok(Exit::Signal(signal.as_raw() as u8)),
            (None, None) if self.timed_out => Err(Failure::timed_out(format!(
                "not all had ended after {} s",
                limit.as_secs_f64()
            ))
            .hint("a longer --timeout gives them more time")),
            (None, None) => Ok(Exit::Done),
        }
    }
}
