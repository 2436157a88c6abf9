//! `flexbond serve`: the message server of federated jobs.

mod log;
mod numbers;

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use tokio::signal::unix::{SignalKind, signal};

use super::argument;
use super::console;
use super::failure::{Exit, Failure, explain};
use super::interrupt::Interrupt;
use super::keygen::check_private_at;
use super::metrics::MetricsArgument;
use super::output::Stop;
use super::quantity;
use crate::collectives::federation::{
    EventLevel, ServeError, Server, ServerConfig, ServerConfigError, ServerStats,
};
use crate::transport::Endpoint;
use log::{Format, Level, Log};

/// Serve messages between the parties of federated jobs, who need not reach each other, nor be there at the same time.
#[derive(Args)]
#[command(after_long_help = HELP)]
pub(crate) struct Serve {
    /// Listen here: tcp://host:port (* for every interface), tls://host:port, ipc:///path (repeatable). Instead of the
    /// configuration's; without either tcp://127.0.0.1:9370, which only this machine reaches
    #[arg(long, value_name = "ENDPOINT")]
    listen: Vec<Endpoint>,

    /// Keep messages in this file, so that they outlive the server. It is made if it is not there. Without it they are
    /// kept in memory
    #[arg(long, value_name = "FILE")]
    store: Option<PathBuf>,

    /// Read parties, keys, jobs, limits and other servers from this file (.toml or .json), again at SIGHUP
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,

    /// Check the configuration, keys, certificates and the place of the store too, and end
    #[arg(long)]
    check_config: bool,

    /// Print a configuration with every key and what it is for, and end
    #[arg(long, exclusive = true)]
    print_config: bool,

    /// Let everybody in who reaches the server, as whatever party they say to be, also from other machines
    #[arg(long)]
    insecure: bool,

    /// At the end, so long is waited for what is under way. A second Ctrl-C ends at once
    #[arg(long, value_name = "SECONDS", value_parser = argument::seconds, default_value = "10",
          allow_negative_numbers = true)]
    grace: Duration,

    #[command(flatten)]
    metrics: MetricsArgument,

    /// How lines on standard error look
    #[arg(long, value_enum, value_name = "FORMAT", default_value_t = Format::Text)]
    log_format: Format,

    /// What is told there
    #[arg(long, value_enum, value_name = "LEVEL", default_value_t = Level::Info)]
    log: Level,
}

/// Of so many parties it is said how much of theirs is lost.
const MOST_NAMED: usize = 20;

const HELP: &str = r#"What it does:
  Each party connects to the server alone, with "server": "tcp://host:9370" in its
  configuration. A message that the server has acknowledged is in its custody: its
  sender may end, and the receiver gets it when it comes, once and in order. With
  --store that holds also when the server is killed in between. Without, senders
  that are still there send theirs again to the next server.

Who may take part:
  At first everybody on this machine. For others, give the server and each party a
  key, and name them in a configuration: a key is bound to one party.
    flexbond keygen server; flexbond keygen bank-a
    flexbond serve --print-config > server.toml
  Without keys or certificates, only endpoints of this machine are accepted,
  unless --insecure is given.

Metrics:
  --metrics 9371 serves http://127.0.0.1:9371/metrics for Prometheus, and /health,
  which is {"status": "ok"} with code 200, or "draining", "store full" or "store
  trouble" with code 503.

Signals:
  SIGHUP takes over parties, jobs, servers and certificates of the configuration
  as it is now; what cannot be taken over is said, and all stays as it was.
  Ctrl-C (SIGINT) and SIGTERM end in good order, within --grace.

Output:
  Where it listens, a line each ("serving at tcp://127.0.0.1:9370"), then what
  happens, on standard error.

Exit codes:
  0         ended in good order
  1         cannot begin: an endpoint or the store is in use, ...
  2         usage: arguments or configuration cannot be used
  130, 143  ended at once by a second Ctrl-C (SIGINT) or SIGTERM

Examples:
  For parties on this machine:
    flexbond serve
  For two sites, with keys and a store:
    flexbond serve --config server.toml --listen tcp://*:9370 --store messages.redb
  Is the configuration right?
    flexbond serve --config server.toml --check-config"#;

impl Serve {
    pub(crate) fn run(&self) -> Result<Exit, Failure> {
        if self.print_config {
            return match console::print(ServerConfig::EXAMPLE) {
                Ok(()) | Err(Stop::ReaderGone) => Ok(Exit::Done),
                Err(Stop::Failure(failure)) => Err(failure),
            };
        }
        let config = self.configured().map_err(|error| unusable(&error))?;
        if let Some(keys) = &config.curve {
            check_private_at(&keys.secret_file)?;
        }
        if let Some(endpoint) = config
            .listen
            .iter()
            .find(|endpoint| endpoint.scheme() == "inproc")
        {
            let text = format!("`listen`: nobody but this process could come by {endpoint}");
            return Err(Failure::usage(text).hint("tcp://127.0.0.1:9370, or ipc:///path"));
        }
        if self.check_config {
            Server::check(&config).map_err(|error| unusable_to_serve(&error))?;
            let place = self.config.as_deref().map(Path::display);
            let place = place.map_or("the command line".to_owned(), |path| path.to_string());
            return match console::print(&format!("{place} is good\n")) {
                Ok(()) | Err(Stop::ReaderGone) => Ok(Exit::Done),
                Err(Stop::Failure(failure)) => Err(failure),
            };
        }
        super::beside_connections(self.serve(config))
    }

    /// The configuration of the file, with what the command line has in its place.
    fn configured(&self) -> Result<ServerConfig, ServerConfigError> {
        let mut config = match &self.config {
            Some(path) => ServerConfig::from_file(path)?,
            None => ServerConfig::new(),
        };
        if !self.listen.is_empty() {
            config.listen.clone_from(&self.listen);
        }
        if self.store.is_some() {
            config.store.clone_from(&self.store);
        }
        config.insecure |= self.insecure;
        config.validate()?;
        Ok(config)
    }

    async fn serve(&self, config: ServerConfig) -> Result<Exit, Failure> {
        let no_signals = |error: io::Error| Failure::new(format!("cannot listen for signals: {error}"));
        let mut interrupt = Interrupt::listen().map_err(no_signals)?;
        let mut hang_up = signal(SignalKind::hangup()).map_err(no_signals)?;
        let log = Log {
            format: self.log_format,
            level: self.log,
        };
        let mut metrics = self.metrics.serve("serve").await?;
        let is_kept = config.store.is_some();
        let knows_its_peers = config.knows_its_peers();
        let members = config.check_members();
        let mut server = Server::bind(config)
            .await
            .map_err(|error| unusable_to_serve(&error))?;
        for endpoint in server.endpoints() {
            // Who does not read it knows it already.
            let _ = console::print(&format!("serving at {endpoint}\n"));
        }
        if !knows_its_peers {
            let text = "nobody has to prove who they are: whoever reaches the server can be any party";
            log.say(EventLevel::Warn, "open", text);
        }
        warn_of_members(log, &members);
        let mut is_ending = false;
        loop {
            tokio::select! {
                event = server.next_event() => match event {
                    Some(event) => log.event(&event),
                    None => break,
                },
                scrape = metrics.scraped() => {
                    // One that has ended answers nobody.
                    if let Ok(stats) = server.stats().await {
                        scrape.answer(|exposition| numbers::fill(exposition, &stats));
                    }
                }
                _ = hang_up.recv() => self.reload(&server, log).await,
                _ = interrupt.wait(), if !is_ending => {
                    is_ending = true;
                    let text = format!("ending, within {} s; a second signal ends at once", self.grace.as_secs_f64());
                    log.say(EventLevel::Info, "ending", &text);
                    server.drain(self.grace).await;
                }
            }
        }
        let stats = server
            .ended()
            .await
            .map_err(|error| Failure::new(explain(&error)))?;
        let (level, text) = summary(&stats, is_kept);
        log.say(level, "ended", &text);
        Ok(Exit::Done)
    }

    async fn reload(&self, server: &Server, log: Log) {
        if self.config.is_none() {
            let text = "SIGHUP, and there is no --config to read again";
            return log.say(EventLevel::Warn, "reload", text);
        }
        let reloaded = match self.configured() {
            Ok(config) => {
                let members = config.check_members();
                let reloaded = server.reload(config).await;
                reloaded.map(|()| members).map_err(|error| explain(&error))
            }
            Err(error) => Err(explain(&error)),
        };
        match reloaded {
            Ok(members) => {
                log.say(EventLevel::Info, "reload", "the configuration is taken over");
                warn_of_members(log, &members);
            }
            Err(error) => {
                let text = format!("the configuration is not taken over, all stays as it was: {error}");
                log.say(EventLevel::Error, "reload", &text);
            }
        }
    }
}

/// Says who will never come.
fn warn_of_members(log: Log, members: &Result<(), ServerConfigError>) {
    if let Err(error) = members {
        log.say(EventLevel::Warn, "members", &explain(error));
    }
}

/// What the server has done, and what is left; how much that matters.
fn summary(stats: &ServerStats, is_kept: bool) -> (EventLevel, String) {
    let parties = || stats.relay.jobs.values().flat_map(|job| job.parties.values());
    let settled: u64 = parties().map(|party| party.settled).sum();
    let held: u64 = parties().map(|party| party.held).sum();
    let (level, left) = match (held, is_kept) {
        (0, _) => (EventLevel::Info, "nothing is left".to_owned()),
        (_, true) => {
            let left = format!("left in the store: {}", quantity::messages(held));
            (EventLevel::Info, left)
        }
        (_, false) => (EventLevel::Warn, lost(stats)),
    };
    let text = format!("ended: {} handed over; {left}", quantity::messages(settled));
    (level, text)
}

/// What goes with the memory, and whose it was. Who is there still has what it has sent; who has gone does not.
fn lost(stats: &ServerStats) -> String {
    let mut of_jobs = Vec::new();
    for (job, stats) in &stats.relay.jobs {
        for (party, stats) in stats.parties.iter().filter(|(_, stats)| stats.held > 0) {
            let count = quantity::messages(stats.held);
            let is_sent_again = match stats.is_present {
                true => "it sends them again if it lives",
                false => "it has gone, and nobody sends them again",
            };
            of_jobs.push(format!("{count} of {party} in job {job} ({is_sent_again})"));
        }
    }
    let others = of_jobs.len().saturating_sub(MOST_NAMED);
    of_jobs.truncate(MOST_NAMED);
    if others > 0 {
        of_jobs.push(format!("and those of {others} others"));
    }
    format!("lost with the memory: {}", of_jobs.join(", "))
}

fn unusable(error: &ServerConfigError) -> Failure {
    Failure::usage(explain(error)).hint("flexbond serve --print-config shows every key")
}

fn unusable_to_serve(error: &ServeError) -> Failure {
    match error {
        ServeError::Config(error) => unusable(error),
        error => Failure::new(explain(error)),
    }
}
