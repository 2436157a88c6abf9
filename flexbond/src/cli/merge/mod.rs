//! `flexbond merge`: several streams into one.

mod merging;
mod tally;

use std::cell::Cell;
use std::collections::{HashSet, VecDeque};
use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;
use std::time::{Duration, Instant};

use clap::{Args, ValueEnum};
use tokio::time::{MissedTickBehavior, timeout};

use super::argument::{self, Linger};
use super::carriage::Carriage;
use super::closing;
use super::console::{Console, Reader};
use super::contact::Contacts;
use super::failure::{explain, note};
use super::interrupt::Interrupt;
use super::metrics::{Exposition, Metrics, MetricsArgument, counters};
use super::mode::{Receiving, Sending};
use super::output::Stop;
use super::stats::join_failure;
use super::{Exit, Failure, quantity};
use crate::stream::merge::{AlignOptions, MergeError, MergeOptions, Order};
use crate::stream::split::attach_of;
use crate::stream::{Attach, ConnectOptions, Mode, Numbering, ReceiveError, SendError, Stream};
use crate::transport::{Endpoint, Message};
use merging::Merging;
use tally::Tally;

/// Merge several streams into one.
///
/// One message of each source in turn, or with --align the messages of all sources that have the same number, together.
#[derive(Args)]
#[command(after_long_help = HELP)]
pub(crate) struct MergeCommand {
    /// Source addresses, format `tcp://HOST:PORT` or, with -m sub, `udp://HOST:PORT`; `tcp://*:PORT` waits for the source
    /// to connect
    #[arg(required = true, value_name = "SOURCE")]
    sources: Vec<Endpoint>,

    /// Address to listen at for receivers of the merged stream
    #[arg(short, long, default_value = "tcp://*:9999")]
    address: Endpoint,

    /// Connect to the address instead of listening
    #[arg(long)]
    connect: bool,

    /// Communication mode of the sources
    #[arg(short, long, value_enum, ignore_case = true, default_value_t = Receiving::Pull)]
    mode: Receiving,

    /// Communication mode of the merged stream
    #[arg(long, value_enum, ignore_case = true, default_value_t = Sending::Push)]
    output_mode: Sending,

    /// Send messages with the same number together, in the order of the sources
    #[arg(long, value_enum, value_name = "NUMBER")]
    align: Option<AlignBy>,

    /// How long a number waits for the sources that have not sent it; without --align: how long a source that is silent
    /// holds up the others, once; inf: for ever
    #[arg(long, value_name = "SECONDS", value_parser = argument::linger, default_value = "1",
          allow_hyphen_values = true)]
    wait: Linger,

    /// Messages of one source that may wait for the others; it is not read on before they come
    #[arg(long, value_name = "N", default_value = "100", requires = "align",
          value_parser = clap::value_parser!(u32).range(1..))]
    max_waiting: u32,

    /// The sources are not in order, so that a higher number does not mean that a lower one will not come
    #[arg(long, requires = "align")]
    unordered: bool,

    /// What becomes of the messages of a number that some source has not sent in time
    #[arg(long, value_enum, default_value_t = Fate::Send, requires = "align")]
    incomplete: Fate,

    /// What becomes of a message that comes after its number was sent, or twice
    #[arg(long, value_enum, default_value_t = Fate::Drop, requires = "align")]
    late: Fate,

    /// End after this many messages were sent, with --align once those of the last number are
    #[arg(short = 'n', long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,

    /// Messages that may wait per source, and for each receiver
    #[arg(long, value_name = "N", default_value_t = 100)]
    queue_size: usize,

    /// How long the end waits for messages not yet delivered; -1 or inf: for ever
    #[arg(long, value_name = "SECONDS", value_parser = argument::linger, default_value = "30",
          allow_hyphen_values = true)]
    linger: Linger,

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

/// Which number messages are put together by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum AlignBy {
    /// The field `frame` of the header
    Frame,
    /// The field `pulse_id` of the header (bsread)
    #[value(name = "pulse_id", alias = "pulse-id")]
    PulseId,
    /// The image id of Dectris' stream V2
    #[value(name = "image_id", alias = "image-id")]
    ImageId,
}

/// What becomes of a message that does not fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Fate {
    /// It is sent all the same
    Send,
    /// It is dropped, and counted
    Drop,
}

const HELP: &str = "\
Messages go on as they came, byte by byte. Without --align: message 1 of the first
source, message 1 of the second, and so on. A source that is silent for longer than
--wait is passed over, and not waited for again before it has sent a message.

With --align the messages of one number are sent together and numbers ascend. What
has no number, such as the beginning or the end of a series, is sent after all that
came before it from its source. A number is complete when every source has sent it;
it is given up when every source that has not sent it has gone beyond it (unless
--unordered), after --wait, or when --max-waiting messages wait for sources that
have been silent for so long. The summary says how many were missing and how many
came late, for each source.

Ends with a summary at Ctrl-C or after --count messages, once everything is sent that
has come; receivers may still connect until then (at most --linger seconds). A second
Ctrl-C ends at once, with the summary, which says what was left.

Examples:
  flexbond merge tcp://camera1:9999 tcp://camera2:9999 -a tcp://*:8888
  flexbond merge tcp://left:9999 tcp://right:9999 -a tcp://*:8888 --align frame --wait 0.5
  flexbond merge -m sub tcp://a:9001 tcp://b:9001 --align pulse_id --incomplete drop
  flexbond merge -m sub udp://a:9001 udp://b:9001 --output-mode pub -a udp://192.168.0.5:9999

Exit codes: 0 done (Ctrl-C too), 1 failed, 2 usage, 3 messages were left when the linger
was over.";

/// Messages that are read from the sources in the end, at most.
const MAX_REST: usize = 100_000;

/// Why it is over.
enum End {
    Done,
    Interrupted,
    SourcesClosed,
}

/// What became of messages that are not in the statistics of any stream.
#[derive(Clone, Copy, Debug, Default)]
struct Dropped {
    /// Messages of incomplete numbers.
    incomplete: u64,
    /// Messages that came late or twice.
    late: u64,
}

/// What is merged, and where to.
struct Work {
    merging: Merging,
    output: Stream,
    /// Merged, and not sent yet.
    outgoing: VecDeque<Message>,
    /// What the output was left with when it was closed, for each receiver.
    in_socket: u64,
    dropped: Dropped,
}

impl Work {
    /// Messages that were merged and nobody got, once all is over.
    fn undelivered(&self) -> u64 {
        self.outgoing.len() as u64 + self.in_socket
    }
}

impl MergeCommand {
    pub(crate) fn run(&self) -> Result<Exit, Failure> {
        let mut known = HashSet::new();
        if let Some(source) = self
            .sources
            .iter()
            .find(|source| !known.insert(source.to_string()))
        {
            return Err(Failure::usage(format!("the source {source} is there twice")));
        }
        super::beside_connections(self.merge())
    }

    async fn merge(&self) -> Result<Exit, Failure> {
        let base = self
            .carriage
            .options(self.sources.iter().chain([&self.address]))?;
        let mut interrupt = Interrupt::listen()
            .map_err(|error| Failure::new(format!("cannot listen for signals: {error}")))?;
        let mut metrics = self.metrics.serve("merge").await?;
        let mut work = self.join(&base).await?;
        let mut console = Console::stdout(Reader::of(self.json))?;
        let worked = self.work(&mut work, &mut console, &mut metrics, &mut interrupt);
        let worked = worked.await;
        let rest = matches!(worked, Ok(End::Interrupted) | Err(Stop::ReaderGone));
        let hurried = self.finish(&mut work, rest, &mut interrupt).await;
        let end = match worked {
            // The last word: by now it is known what was sent, and what was not.
            Ok(end) => console.finish(self.summary(&work)).await.map(|()| end),
            Err(stop) => Err(stop),
        };
        let left = match work.undelivered() {
            0 => None,
            count => Some(format!("{} not delivered", quantity::messages(count))),
        };
        match (end, left, hurried) {
            (Err(Stop::Failure(failure)), ..) => Err(failure),
            (Ok(End::SourcesClosed), ..) => Err(Failure::new("no source is left")),
            (Ok(End::Interrupted) | Err(Stop::ReaderGone), _, Some(number)) => Ok(Exit::Signal(number)),
            (Ok(End::Done), Some(left), _) => {
                Err(Failure::timed_out(left)
                    .hint("a longer --linger waits longer for a receiver to take them"))
            }
            (Ok(End::Done | End::Interrupted) | Err(Stop::ReaderGone), ..) => Ok(Exit::Done),
        }
    }

    /// Sends what is merged, and with `rest` what has come until now, for as long as linger says or until there is another
    /// signal, which is returned.
    async fn finish(&self, work: &mut Work, rest: bool, interrupt: &mut Interrupt) -> Option<u8> {
        let begin = Instant::now();
        let (limit, ends) = (closing::limit(self.linger), closing::interrupt_ends(interrupt));
        let is_said = Cell::new(false);
        let gently = async {
            if rest {
                let say = || {
                    is_said.set(true);
                    note(&format!("sending what still waits, {limit}; {ends} at once"));
                };
                self.send_rest(work, say).await;
            }
            let linger = self.linger.0.map(|linger| linger.saturating_sub(begin.elapsed()));
            work.output.finish_within(linger).await
        };
        let (closed, hurried) = tokio::select! {
            closed = gently => (closed, None),
            never = closing::explain(&is_said, &limit, ends) => match never {},
            number = interrupt.another() => {
                (work.output.finish_within(Some(Duration::ZERO)).await, Some(number))
            }
        };
        work.in_socket = closed.undelivered;
        if rest && work.undelivered() > 0 {
            let left = quantity::messages(work.undelivered());
            note(&format!(
                "{left} not delivered: {}",
                closing::reason(hurried.is_some())
            ));
        }
        hurried
    }

    async fn join(&self, base: &ConnectOptions) -> Result<Work, Failure> {
        let options = |mode: Mode, attach: Attach| {
            base.clone()
                .mode(mode)
                .attach(attach)
                .queue_size(self.queue_size)
                .linger(self.linger.0)
        };
        // The output first: what the sources bring can be sent.
        let attach = match self.connect {
            true => Attach::Connect,
            false => Attach::Bind,
        };
        let output = Stream::connect(&self.address, options(self.output_mode.into(), attach)).await;
        let output = output.map_err(|error| join_failure(&error))?;
        let mut streams = Vec::with_capacity(self.sources.len());
        for source in &self.sources {
            let options = options(self.mode.into(), attach_of(&source.to_string()));
            let stream = Stream::connect(source, options).await;
            streams.push(stream.map_err(|error| join_failure(&error))?);
        }
        let merging = match self.align {
            Some(align) => Merging::aligned(streams, self.alignment(align)),
            None => {
                let order = self.wait.0.map_or(Order::Strict, Order::SkipSilent);
                Merging::in_turn(streams, MergeOptions::new().order(order))
            }
        };
        Ok(Work {
            merging,
            output,
            outgoing: VecDeque::new(),
            in_socket: 0,
            dropped: Dropped::default(),
        })
    }

    fn alignment(&self, align: AlignBy) -> AlignOptions {
        let numbering = match align {
            AlignBy::Frame => Numbering::Frame,
            AlignBy::PulseId => Numbering::PulseId,
            AlignBy::ImageId => Numbering::Image,
        };
        AlignOptions::new()
            .numbering(numbering)
            .wait(self.wait.0.unwrap_or(Duration::MAX))
            .max_pending(self.max_waiting as usize)
            .ordered(!self.unordered)
    }

    async fn work(
        &self,
        work: &mut Work,
        console: &mut Console,
        metrics: &mut Metrics,
        interrupt: &mut Interrupt,
    ) -> Result<End, Stop> {
        match self.json {
            true => console.print_json(&tally::begun(work.merging.streams(), &work.output))?,
            false => console.print(format!(
                "Merging {} sources to {}, a report every {} s.\n",
                self.sources.len(),
                work.output.endpoint(),
                self.interval.as_secs_f64()
            ))?,
        }
        let mut tally = Tally::new(work.merging.streams().len());
        let mut ticks = tokio::time::interval(self.interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        ticks.tick().await;
        let mut malformed = false;
        let mut contacts = Contacts::default();
        contacts.watch(work.merging.streams().iter().chain([&work.output]));
        loop {
            let idle = work.outgoing.is_empty();
            let sent = work.output.statistics().totals().messages;
            if idle && self.count.is_some_and(|count| sent >= count) {
                return Ok(End::Done);
            }
            tokio::select! {
                biased;
                _ = interrupt.wait() => return Ok(End::Interrupted),
                _ = ticks.tick() => {
                    match self.json {
                        true => console.print_json(&tally.json(work))?,
                        false => console.print(tally.text(work))?,
                    }
                    warn(work.merging.streams_mut());
                    for stream in work.merging.streams().iter().chain([&work.output]) {
                        if let Some(trouble) = contacts.poll(stream) {
                            note(&trouble);
                        }
                    }
                }
                scrape = metrics.scraped() => scrape.answer(|exposition| expose(exposition, work)),
                sent = send(&mut work.output, &mut work.outgoing), if !idle => {
                    sent.map_err(|error| Stop::Failure(Failure::new(explain(&error))))?;
                }
                merged = work.merging.receive(), if idle => match merged {
                    Ok(merged) => self.take(merged, work),
                    Err(MergeError::Stream { stream, error }) => {
                        let address = &self.sources[stream];
                        match *error {
                            ReceiveError::Malformed { error, .. } if !malformed => {
                                malformed = true;
                                note(&format!(
                                    "{address}: malformed message dropped, the first: {}",
                                    explain(&error)
                                ));
                            }
                            ReceiveError::Malformed { .. } => {}
                            error => note(&format!("{address}: {}", explain(&error))),
                        }
                    }
                    Err(MergeError::Closed) => return Ok(End::SourcesClosed),
                    Err(error) => return Err(Stop::Failure(Failure::new(explain(&error)))),
                },
            }
        }
    }

    /// Sends what has come until now, for as long as linger says; calls `say` where that takes time.
    async fn send_rest(&self, work: &mut Work, say: impl FnOnce()) {
        // Bounded, because sources may go on sending.
        for _ in 0..MAX_REST {
            let Some(merged) = work.merging.remaining() else {
                break;
            };
            self.take(merged, work);
        }
        let mut sending = pin!(send_all(&mut work.output, &mut work.outgoing));
        let at_once = timeout(Duration::ZERO, &mut sending);
        if at_once.await.is_ok() {
            return;
        }
        say();
        match self.linger.0 {
            Some(linger) => drop(timeout(linger, sending).await),
            None => sending.await,
        }
    }

    /// Decides what is sent.
    fn take(&self, merged: merging::Merged, work: &mut Work) {
        let dropped = match merged.fit {
            merging::Fit::Good => None,
            merging::Fit::Incomplete => {
                (self.incomplete == Fate::Drop).then_some(&mut work.dropped.incomplete)
            }
            merging::Fit::Late => (self.late == Fate::Drop).then_some(&mut work.dropped.late),
        };
        match dropped {
            Some(dropped) => *dropped += merged.messages.len() as u64,
            None => work.outgoing.extend(merged.messages),
        }
    }

    fn summary(&self, work: &Work) -> String {
        match self.json {
            true => format!("{}\n", tally::summary_json(work)),
            false => tally::summary(work),
        }
    }
}

/// Tells what should be known of the sources, once.
fn warn(sources: &mut [Stream]) {
    for source in sources {
        while let Some(warning) = source.statistics_mut().poll_warning() {
            note(&format!("warning: {}: {warning}", source.endpoint()));
        }
    }
}

/// Sends the next message. Cancel safe: it is among the others until it is sent.
async fn send(output: &mut Stream, outgoing: &mut VecDeque<Message>) -> Result<(), SendError> {
    poll_fn(|cx| {
        let mut next = outgoing.pop_front();
        let sent = output.poll_send(cx, &mut next);
        if let (Poll::Pending, Some(message)) = (&sent, next) {
            outgoing.push_front(message);
        }
        sent
    })
    .await
}

/// Sends all of them, unless one is refused.
async fn send_all(output: &mut Stream, outgoing: &mut VecDeque<Message>) {
    while !outgoing.is_empty() {
        if let Err(error) = send(output, outgoing).await {
            note(&explain(&error));
            return;
        }
    }
}

/// The counters of the sources and of the merged stream.
fn expose(exposition: &mut Exposition, work: &Work) {
    let now = Instant::now();
    let mut counts = work.merging.counts();
    for stream in work.merging.streams() {
        let address = stream.endpoint().to_string();
        let labels = [("address", &*address), ("role", "source")];
        counters::stream(exposition, &labels, &stream.statistics().snapshot(now));
        counters::socket(exposition, &labels, &stream.socket_stats());
        let Some(count) = counts.next() else { continue };
        for (name, help, value) in [
            (
                "flexbond_merge_missing_messages",
                "Numbers that were sent without a message of this source.",
                count.missing,
            ),
            (
                "flexbond_merge_late_messages",
                "Messages that came after their number was sent.",
                count.late,
            ),
        ] {
            exposition.counter(name, help, &labels, value);
        }
        exposition.gauge(
            "flexbond_merge_waiting_messages",
            "Messages that wait for those of other sources.",
            &labels,
            count.pending as f64,
        );
    }
    let address = work.output.endpoint().to_string();
    let labels = [("address", &*address), ("role", "output")];
    counters::stream(exposition, &labels, &work.output.statistics().snapshot(now));
    counters::socket(exposition, &labels, &work.output.socket_stats());
}
