//! `flexbond split`, `m_split`: one stream into many.

mod output;
mod plan;
mod reload;
mod tally;

use std::cell::Cell;
use std::collections::HashSet;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::Args;
use serde_json::{Value, json};
use tokio::time::MissedTickBehavior;

use super::argument::Linger;
use super::carriage::Carriage;
use super::closing;
use super::console::{self, Console, Reader};
use super::contact::Contacts;
use super::failure::{explain, note};
use super::group::start_failure as session_failure;
use super::interrupt::Interrupt;
use super::metrics::{Exposition, Metrics, MetricsArgument, counters};
use super::mode::Receiving;
use super::output::Stop;
use super::{Exit, Failure, argument, quantity};
use crate::session::socket::BindError as SocketBindError;
use crate::stream::split::{OutputConfig, Reloaded, SourceMode, Split, SplitConfig, SplitError};
use crate::stream::{ConnectError, ConnectOptions};
use crate::transport::BindError;
use reload::{Reloads, Text};
use tally::Tally;

/// Split an incoming stream into several streams.
///
/// Every stream gets every message, or those that its keys select; messages are always whole.
#[derive(Args)]
#[command(after_long_help = HELP)]
pub(crate) struct SplitCommand {
    /// Source address, format `tcp://HOST:PORT` or, with -m sub, `udp://HOST:PORT`; `tcp://*:PORT` waits for the source
    /// to connect
    #[arg(required_unless_present = "config", conflicts_with = "config")]
    source: Option<String>,

    /// Streams to send to, format `ADDRESS[,KEY=VALUE]...`; `tcp://*:PORT` listens, a host name is connected to
    #[arg(required_unless_present = "config", conflicts_with = "config", value_name = "STREAM",
          value_parser = output::parse)]
    streams: Vec<OutputConfig>,

    /// Configuration file; it is read again at SIGHUP
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,

    /// Read the configuration again whenever its file has changed, too
    #[arg(long)]
    watch: bool,

    /// Check the arguments or the configuration, print what they mean, and end
    #[arg(long, conflicts_with_all = ["watch", "metrics"])]
    check: bool,

    /// Communication mode of the source
    #[arg(short, long, value_enum, ignore_case = true, default_value_t = Receiving::Pull, conflicts_with = "config")]
    mode: Receiving,

    /// Messages that may wait to be received
    #[arg(long, value_name = "N", default_value_t = 100, conflicts_with = "config")]
    queue_size: usize,

    /// Seconds between two reports
    #[arg(short = 'i', long = "sampling-interval", value_name = "SECONDS", default_value = "1",
          value_parser = argument::positive_seconds, allow_negative_numbers = true)]
    interval: Duration,

    /// One JSON object a line instead of text
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    metrics: MetricsArgument,

    #[command(flatten)]
    carriage: Carriage,
}

const HELP: &str = "\
The configuration file is JSON:
  {
    \"source\": { \"address\": \"tcp://localhost:7777\", \"mode\": \"PULL\", \"queue_size\": 10 },
    \"streams\": [
      { \"address\": \"tcp://*:8888\", \"mode\": \"PUSH\" },
      { \"address\": \"tcp://*:8889\", \"mode\": \"PUB\", \"modulo\": 1000 }
    ]
  }

Keys of a stream, in the file and after the commas of an argument:
  mode         PUSH (default) or PUB
  queue_size   messages that may wait for it; default 100
  modulo       only every so many-th message, beginning with the first
  filter       only messages whose header says so: htype = dimage-1.0 && frame % 10 = 0
               (in an argument the last key, as it may contain commas)
  group        streams of the same group share their messages, one to each in turn
  policy       when it takes nothing and no more may wait:
                 drop-stalled  all go at its pace as long as it takes anything, once
                               it is twice patience_ms or 512 MiB behind; after
                               patience_ms without (250 ms where 512 MiB wait), it
                               gets nothing more before it has caught up (default)
                 wait          all wait for it, for as long as it takes
                 drop-newest   the new message is dropped for it
                 drop-oldest   the oldest message that waits is dropped
  patience_ms  see drop-stalled; default 2000
  boundaries   all (default): the beginning and end of a series go to every stream
               and do not count for modulo; counted: they are messages like others
  linger_ms    how long the end waits for what is not yet sent; default 30000
  attach       bind or connect, where the address alone says the wrong thing
  multicast    udp:// with PUB: GROUP:PORT to send to, once for all receivers
Keys of the source: address, mode (PULL or SUB), queue_size, attach, multicast.
At udp:// addresses every receiver gets every message, so the modes are PUB and SUB.

A new configuration is taken over without a pause: streams that stay keep their
receivers and what waits for them, and the source stays unless its address or mode
is another one (its queue_size then counts from the next start). A stream that gets
another mode or multicast address is closed and opened again, which at udp://
addresses takes until what waits is sent. A source that listens changes its mode at
a new start only. A configuration that cannot be used is reported, and the old one
goes on.

Ends with a summary at Ctrl-C, once what waits is sent; receivers may still connect
until then. A second Ctrl-C ends at once, with the summary, which says what was left.

Examples:
  flexbond split tcp://detector:9999 tcp://*:8888 tcp://*:8889,modulo=100
  flexbond split tcp://detector:9999 tcp://*:8888,group=a tcp://*:8889,group=a
  flexbond split -m sub tcp://source:9999 'tcp://*:8888,filter=htype = array-1.0'
  flexbond split tcp://detector:9999 udp://*:8888,mode=pub,multicast=239.1.2.3:5000
  flexbond split -c split.json --watch --metrics 9100
  flexbond split -c split.json --check

Exit codes: 0 done (Ctrl-C too), 1 failed, 2 usage or a configuration that cannot be used.";

/// What a split deals with besides messages.
struct Outside<'a> {
    console: &'a mut Console,
    interrupt: &'a mut Interrupt,
    reloads: &'a mut Reloads,
    metrics: &'a mut Metrics,
}

/// Why it is over.
enum End {
    Interrupted,
    SourceClosed,
}

impl SplitCommand {
    pub(crate) fn run(&self) -> Result<Exit, Failure> {
        // Not left to clap, which does not ask for an argument that conflicts with one that is there.
        if self.watch && self.config.is_none() {
            return Err(Failure::usage("--watch needs --config"));
        }
        let (config, text) = self.config()?;
        let outputs = config.streams.iter().map(|output| &output.address);
        let base = match &self.config {
            // What the file will name the next time is not known.
            Some(_) => self.carriage.options(["udp://"])?,
            None => self.carriage.options(outputs.chain([&config.source.address]))?,
        };
        if self.check {
            let text = match self.json {
                true => format!("{}\n", json!(config)),
                false => plan::describe(&config),
            };
            return match console::print(&text) {
                Ok(()) | Err(Stop::ReaderGone) => Ok(Exit::Done),
                Err(Stop::Failure(failure)) => Err(failure),
            };
        }
        super::beside_connections(self.split(config, text, base))
    }

    /// What is to be done, and the text of the file that says so.
    fn config(&self) -> Result<(SplitConfig, Option<String>), Failure> {
        if let Some(path) = &self.config {
            let name = path.display();
            let text = reload::read(path)
                .map_err(|error| Failure::usage(format!("cannot read the configuration {name}: {error}")))?;
            let config = parse(&text).map_err(|error| Failure::usage(format!("{name}: {error}")))?;
            return Ok((config, Some(text)));
        }
        let mut config = SplitConfig::new(self.source.clone().unwrap_or_default(), [""; 0]);
        config.source.queue_size = self.queue_size;
        config.source.mode = match self.mode {
            Receiving::Pull => SourceMode::Pull,
            Receiving::Sub => SourceMode::Sub,
        };
        config.streams.clone_from(&self.streams);
        match validate(&config) {
            Ok(()) => Ok((config, None)),
            Err(error) => Err(Failure::usage(error)),
        }
    }

    async fn split(
        &self,
        config: SplitConfig,
        text: Option<String>,
        base: ConnectOptions,
    ) -> Result<Exit, Failure> {
        let signals = |error| Failure::new(format!("cannot listen for signals: {error}"));
        let mut interrupt = Interrupt::listen().map_err(signals)?;
        let mut reloads = match (&self.config, text) {
            (Some(path), Some(text)) => Reloads::of(path.clone(), text, self.watch).map_err(signals)?,
            _ => Reloads::none(),
        };
        let mut metrics = self.metrics.serve("split").await?;
        let mut split = Split::connect_with(config, base)
            .await
            .map_err(|error| start_failure(&error))?;
        let mut console = Console::stdout(Reader::of(self.json))?;
        let outside = Outside {
            console: &mut console,
            interrupt: &mut interrupt,
            reloads: &mut reloads,
            metrics: &mut metrics,
        };
        let end = self.work(&mut split, outside).await;
        let hurried = finish(&mut split, &mut interrupt).await;
        let end = match end {
            // The last word: by now it is known what was sent, and what was not.
            Ok(end) => console.finish(self.summary(&split)).await.map(|()| end),
            Err(stop) => Err(stop),
        };
        match (end, hurried) {
            (Ok(End::SourceClosed), _) => Err(Failure::new("the source gives no more messages")),
            (Err(Stop::Failure(failure)), _) => Err(failure),
            (Ok(End::Interrupted) | Err(Stop::ReaderGone), Some(number)) => Ok(Exit::Signal(number)),
            (Ok(End::Interrupted) | Err(Stop::ReaderGone), None) => Ok(Exit::Done),
        }
    }

    async fn work(&self, split: &mut Split, outside: Outside<'_>) -> Result<End, Stop> {
        let Outside {
            console,
            interrupt,
            reloads,
            metrics,
        } = outside;
        match self.json {
            true => console.print_json(&begun(split))?,
            false => console.print(begun_text(split, self.interval))?,
        }
        let mut tally = Tally::new();
        let mut contacts = Contacts::default();
        contacts.watch(split.streams());
        // Outputs that refused a message since the last report.
        let mut refused = HashSet::new();
        let mut ticks = tokio::time::interval(self.interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        ticks.tick().await;
        loop {
            tokio::select! {
                biased;
                _ = interrupt.wait() => return Ok(End::Interrupted),
                _ = ticks.tick() => {
                    refused.clear();
                    match self.json {
                        true => console.print_json(&tally.json(split))?,
                        false => console.print(tally.text(split))?,
                    }
                    for stats in tally.newly_stalled(split) {
                        note(&format!(
                            "{}: takes nothing, and gets nothing more before it has caught up; a larger queue_size or \
                             patience_ms lets it pause for longer, policy=wait for as long as it likes",
                            stats.address
                        ));
                        if self.json {
                            console.print_json(&json!({ "event": "stalled", "address": stats.address }))?;
                        }
                    }
                    while let Some(warning) = split.statistics_mut().poll_warning() {
                        note(&format!("warning: {warning}"));
                    }
                    for stream in split.streams() {
                        if let Some(trouble) = contacts.poll(stream) {
                            note(&trouble);
                        }
                    }
                }
                text = reloads.next() => {
                    self.reload(split, text, console).await?;
                    contacts = Contacts::default();
                    contacts.watch(split.streams());
                }
                scrape = metrics.scraped() => scrape.answer(|exposition| expose(exposition, split)),
                error = split.run() => match error {
                    SplitError::Receive(_) => return Ok(End::SourceClosed),
                    SplitError::Send { address, kind } => {
                        if refused.insert(address.clone()) {
                            note(&format!("{address}: a message was refused: {kind}"));
                        }
                    }
                    error => return Err(Stop::Failure(Failure::new(explain(&error)))),
                },
            }
        }
    }

    /// Goes over to a new configuration, or says why not.
    async fn reload(&self, split: &mut Split, text: Text, console: &mut Console) -> Result<(), Stop> {
        let config = text.and_then(|text| parse(&text));
        let reloaded = match config {
            Ok(config) => split.reload(config).await.map_err(|error| {
                let text = explain(&error);
                match error {
                    SplitError::Connect { address, .. } if address == split.config().source.address => {
                        format!("{text}; the source that is used listens there, and changes its mode at a new start only")
                    }
                    _ => text,
                }
            }),
            Err(error) => Err(error),
        };
        match reloaded {
            Ok(reloaded) if self.json => console.print_json(&changes(&reloaded)),
            Ok(reloaded) => console.print(changes_text(&reloaded)),
            Err(error) => {
                note(&format!(
                    "the new configuration is not used, the old one goes on: {error}"
                ));
                match self.json {
                    true => console.print_json(&json!({ "event": "reload-failed", "error": error })),
                    false => Ok(()),
                }
            }
        }
    }

    fn summary(&self, split: &Split) -> String {
        match self.json {
            true => format!("{}\n", tally::summary_json(split)),
            false => tally::summary(split),
        }
    }
}

/// Sends what waits, and says what it waits for and what is left. Returns the signal that has ended it, if one has.
async fn finish(split: &mut Split, interrupt: &mut Interrupt) -> Option<u8> {
    let stats: Vec<_> = split.stats().collect();
    let waiting: u64 = stats.iter().map(tally::waiting).sum();
    let lingers = split.config().streams.iter().map(|output| output.linger_ms);
    let linger = Duration::from_millis(lingers.max().unwrap_or_default());
    let (limit, ends) = (
        closing::limit(Linger(Some(linger))),
        closing::interrupt_ends(interrupt),
    );
    if waiting > 0 {
        let waiting = quantity::messages(waiting);
        note(&format!(
            "sending {waiting} that still wait, {limit}; {ends} at once"
        ));
        for stats in stats
            .iter()
            .filter(|stats| stats.socket.peers == 0 && tally::waiting(stats) > 0)
        {
            note(&format!("{}: there is no receiver", stats.address));
        }
    }
    let is_said = Cell::new(waiting > 0);
    let (undelivered, hurried) = tokio::select! {
        undelivered = split.finish() => (undelivered, None),
        never = closing::explain(&is_said, &limit, ends) => match never {},
        number = interrupt.another() => (split.finish_now().await, Some(number)),
    };
    if undelivered.messages > 0 {
        let left = quantity::messages(undelivered.messages);
        note(&format!(
            "{left} not delivered: {}",
            closing::reason(hurried.is_some())
        ));
    }
    hurried
}

fn parse(text: &str) -> Result<SplitConfig, String> {
    let config = text.parse::<SplitConfig>().map_err(|error| explain(&error))?;
    validate(&config)?;
    Ok(config)
}

fn validate(config: &SplitConfig) -> Result<(), String> {
    config.validate().map_err(|error| error.to_string())?;
    plan::check_addresses(config)
}

fn start_failure(error: &SplitError) -> Failure {
    let SplitError::Connect { address, error } = error else {
        return Failure::usage(explain(error));
    };
    let mut text = explain(error);
    if !text.contains(address) {
        text = format!("{address}: {text}");
    }
    match error {
        ConnectError::Bind(SocketBindError::Transport(BindError::InUse { .. })) => {
            Failure::new(text).hint("stop the program that listens there, or choose another address")
        }
        ConnectError::Options(_)
        | ConnectError::Connect(_)
        | ConnectError::NotForAll { .. }
        | ConnectError::TooLittleMemory { .. } => Failure::usage(text),
        ConnectError::Session(error) => session_failure(error),
        _ => Failure::new(text),
    }
}

fn begun(split: &Split) -> Value {
    let outputs: Vec<_> = split
        .stats()
        .map(|stats| {
            json!({
                "address": stats.address,
                "endpoint": stats.endpoint.to_string(),
                "mode": tally::mode(stats.mode),
            })
        })
        .collect();
    let source = split.source_endpoint().to_string();
    json!({ "event": "begun", "source": source, "outputs": outputs })
}

fn begun_text(split: &Split, interval: Duration) -> String {
    let mut text = format!(
        "Splitting {}, a report every {} s.\n",
        split.source_endpoint(),
        interval.as_secs_f64()
    );
    for stats in split.stats() {
        text.push_str(&format!("  {} at {}\n", tally::mode(stats.mode), stats.endpoint));
    }
    text
}

fn changes(reloaded: &Reloaded) -> Value {
    json!({
        "event": "reloaded",
        "added": reloaded.added,
        "removed": reloaded.removed,
        "changed": reloaded.changed,
        "replaced": reloaded.replaced,
        "source": reloaded.source,
    })
}

fn changes_text(reloaded: &Reloaded) -> String {
    let mut parts = Vec::new();
    for (what, addresses) in [
        ("added", &reloaded.added),
        ("removed", &reloaded.removed),
        ("changed", &reloaded.changed),
        ("closed and opened again", &reloaded.replaced),
    ] {
        if !addresses.is_empty() {
            parts.push(format!("{what} {}", addresses.join(" ")));
        }
    }
    if reloaded.source {
        parts.push("another source".to_owned());
    }
    let parts = match parts.is_empty() {
        true => "nothing changed".to_owned(),
        false => parts.join(", "),
    };
    format!("New configuration: {parts}\n")
}

/// The counters of the source and of each output.
fn expose(exposition: &mut Exposition, split: &Split) {
    let source = split.config().source.address.clone();
    let snapshot = split.statistics().snapshot(Instant::now());
    let labels = [("address", &*source), ("role", "source")];
    counters::stream(exposition, &labels, &snapshot);
    counters::socket(exposition, &labels, &split.source_socket());
    for stats in split.stats() {
        let labels = [("address", &*stats.address), ("role", "output")];
        for (name, help, value) in [
            (
                "flexbond_output_messages",
                "Messages handed to an output.",
                stats.outlet.messages,
            ),
            ("flexbond_output_bytes", "Their bytes.", stats.outlet.bytes),
            (
                "flexbond_output_dropped_messages",
                "Messages dropped for an output that was full or stalled.",
                stats.outlet.dropped,
            ),
            (
                "flexbond_output_stalls",
                "Times that an output stalled.",
                stats.outlet.stalls,
            ),
        ] {
            exposition.counter(name, help, &labels, value);
        }
        exposition.gauge(
            "flexbond_output_waiting_messages",
            "Messages that wait for an output.",
            &labels,
            stats.outlet.queued as f64,
        );
        exposition.gauge(
            "flexbond_output_stalled",
            "1 while an output takes nothing, and gets nothing.",
            &labels,
            f64::from(u8::from(stats.outlet.stalled)),
        );
        counters::socket(exposition, &labels, &stats.socket);
    }
}
