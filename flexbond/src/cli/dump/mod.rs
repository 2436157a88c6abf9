//! `flexbond dump`, `m_dump`: a data stream on the screen, in a folder, or in a recording.

mod describe;
mod extent;
mod losses;
mod show;
mod sink;
mod target;
mod warmth;

use std::cell::Cell;
use std::path::PathBuf;
use std::pin::pin;
use std::time::{Duration, Instant};

use clap::Args;
use serde_json::json;

use self::losses::Losses;
use self::show::Detail;
use self::sink::{Kept, Refusal, Screen, Sink, shortened};
use self::target::Target;
use self::warmth::Warmth;
use super::carriage::Carriage;
use super::contact::Contacts;
use super::failure::{explain, note};
use super::gauge::{Gauge, Tally, amount, say};
use super::interrupt::Interrupt;
use super::metrics::{Exposition, Metrics, MetricsArgument, counters};
use super::output::Output;
use super::source::Source;
use super::{Exit, Failure, quantity, stderr};
use crate::stream::recording::{FolderWriteError, FolderWriter};
use crate::stream::{Decoder, Stream, StreamMessage};

/// Show a data stream, or write it to a folder or a recording.
#[derive(Args)]
#[command(after_long_help = HELP)]
pub(crate) struct Dump {
    #[command(flatten)]
    source: Source,

    /// Write each part of each message to a file of its own in this folder, which mflow's m_replay can replay, too
    folder: Option<PathBuf>,

    /// Leave out sub-messages from this number on; the header is number 0 (mflow counts from 1: its -s 2 is -s 1 here)
    #[arg(short, long, value_name = "SKIP", value_parser = clap::value_parser!(u32).range(1..))]
    skip: Option<u32>,

    #[command(flatten)]
    target: Target,

    /// One JSON object a line instead of text, and the summary as one
    #[arg(long)]
    json: bool,

    /// Headers over several lines
    #[arg(long, conflicts_with_all = ["json", "folder", "record"])]
    pretty: bool,

    /// Show the first bytes of what is not understood
    #[arg(short, long)]
    verbose: bool,

    #[command(flatten)]
    metrics: MetricsArgument,

    #[command(flatten)]
    carriage: Carriage,
}

const HELP: &str = "Without a folder and without --record, every message is shown: its header, the
type, shape and range of its arrays (unpacked where they are compressed), the
values of bsread channels, the configuration of detectors. All parts of a
message are kept or none: half a message is never written.

A folder has a file NNNNNN_PPP.raw per part, as mflow writes it. Files per part
are slow; --record is as fast as the disk, can be read after a crash up to the
last whole message, and knows when each message came. Both are replayed by
m_replay. A full disk ends the recording: what is kept is said, and readable.

With a PUSH source, what this program takes no other receiver gets; with -n that
is more than it shows, as some messages are under way then (--queue-size 1: few).
With a PUB source, what cannot be taken in time is dropped by the source.
Ctrl-C ends with a summary.

Exit codes:
  0  done (Ctrl-C too)
  1  failed: the disk is full, the file exists, ...
  2  usage
  3  no message came for --timeout seconds

Examples:
  What does this stream look like?
    m_dump tcp://detector:9999 -n 3 --pretty
  Record until Ctrl-C, in files of 10 GiB:
    m_dump tcp://detector:9999 --record run7.fbr --rotate-size 10G
  Only the headers of 1000 messages, into a folder:
    m_dump tcp://detector:9999 headers -s 1 -n 1000
  What a source sends to many by multicast:
    m_dump udp://192.168.0.5:9999 -m sub -n 3
  Frame numbers for a program:
    m_dump tcp://detector:9999 --json | jq .header.frame";

/// How often to look whether a source is there that lets this end in.
const LOOK: Duration = Duration::from_secs(1);

/// How long the end after Ctrl-C waits for a terminal that stands still.
const PATIENCE: Duration = Duration::from_secs(2);

/// What was odd about the messages.
#[derive(Clone, Copy)]
struct Odd {
    /// Frames that did not come.
    missing: u64,
    /// Messages that were not understood; of those that are not shown only the headers are looked at.
    malformed: u64,
    /// Messages whose arrays are packed in a way that is not known, of those that are shown.
    undecodable: u64,
    /// Messages that have data which cannot be read, of those that are shown.
    unreadable: u64,
}

/// Why receiving ended.
enum End {
    Done,
    Interrupted,
    TimedOut,
    Refused(Refusal),
}

impl Dump {
    pub(crate) fn run(&self) -> Result<Exit, Failure> {
        match self.target.record {
            // Its own thread writes, so the connections can have this one.
            Some(_) => super::with_connections(self.dump()),
            None => super::beside_connections(self.dump()),
        }
    }

    async fn dump(&self) -> Result<Exit, Failure> {
        let options = self.carriage.options([&self.source.source])?;
        let mut interrupt = Interrupt::listen()
            .map_err(|error| Failure::new(format!("cannot listen for signals: {error}")))?;
        let mut metrics = self.metrics.serve("dump").await?;
        // First: nothing is received that cannot be kept.
        let mut sink = self.sink()?;
        let mut stream = match self.source.join(options).await {
            Ok(stream) => stream,
            Err(failure) => {
                drop(sink.finish(None).await);
                return Err(failure);
            }
        };
        self.announce(&stream);
        let tally = Tally::default();
        let gauge = Gauge::new(!self.is_shown());
        let mut contacts = Contacts::default();
        let headless = Cell::new(0);
        let receiving = self.receive(
            &mut stream,
            &mut sink,
            (&tally, &headless),
            &mut metrics,
            &mut interrupt,
            &mut contacts,
        );
        let end = gauge.watch(&tally, receiving).await;
        let seconds = gauge.seconds();
        let totals = stream.statistics().totals();
        let odd = Odd {
            missing: totals.lost_frames,
            malformed: totals.malformed
                + match &sink {
                    Sink::Screen(screen) => screen.malformed,
                    _ => headless.get(),
                },
            undecodable: match &sink {
                Sink::Screen(screen) => screen.undecodable,
                _ => 0,
            },
            unreadable: match &sink {
                Sink::Screen(screen) => screen.unreadable,
                _ => 0,
            },
        };
        if self.json
            && let Sink::Screen(screen) = &mut sink
        {
            let summary = self.summary(&tally, seconds, &Kept::default(), odd);
            screen.output.text(&summary);
        }
        let (kept, finished) = sink
            .finish(matches!(end, End::Interrupted).then_some(PATIENCE))
            .await;
        let trouble = contacts.trouble(&stream);
        stream.disconnect().await;

        // Also where it failed: what is kept is what one goes on with.
        if !matches!(end, End::Refused(Refusal::ReaderGone)) {
            self.summarize(&tally, seconds, &kept, odd);
        }
        // The reason why it ended says more than what closing it then says.
        if let End::Refused(Refusal::Failed(failure)) = end {
            return Err(failure);
        }
        finished?;
        match end {
            End::TimedOut => Err(self.source.timed_out(trouble)),
            _ => Ok(Exit::Done),
        }
    }

    /// Whether messages are shown, not written.
    fn is_shown(&self) -> bool {
        self.folder.is_none() && self.target.record.is_none()
    }

    fn sink(&self) -> Result<Sink, Failure> {
        if let Some(path) = &self.target.record {
            // A source that publishes does not wait: what it sends at once goes into the queue, or is lost.
            let waits = self.target.waits() && self.source.waits();
            let warmth = waits.then(Warmth::default);
            return self
                .target
                .open(path)
                .map(|recorder| Sink::file(recorder, warmth));
        }
        if let Some(folder) = &self.folder {
            let opened = match self.target.appends() {
                true => FolderWriter::append(folder),
                false => FolderWriter::create(folder),
            };
            return opened.map(Sink::Folder).map_err(|error| {
                let failure = Failure::new(explain(&error));
                match error {
                    FolderWriteError::NotEmpty { .. } => {
                        failure.hint("--append goes on after its last message")
                    }
                    _ => failure,
                }
            });
        }
        if self.target.appends() {
            return Err(Failure::usage(
                "--append goes on with a folder or with --record FILE; there is neither",
            ));
        }
        let output =
            Output::stdout().map_err(|error| Failure::new(format!("cannot start a thread: {error}")))?;
        Ok(Sink::Screen(Box::new(Screen {
            output,
            decoder: Decoder::new(),
            json: self.json,
            detail: Detail {
                pretty: self.pretty,
                verbose: self.verbose,
            },
            parts: self.skip,
            malformed: 0,
            undecodable: 0,
            unreadable: 0,
        })))
    }

    /// Says what is done, to people.
    fn announce(&self, stream: &Stream) {
        if self.json {
            return;
        }
        let source = stream.endpoint();
        match (&self.target.record, &self.folder) {
            (Some(path), _) => say(&format!(
                "Recording {source} to {}; {}.",
                path.display(),
                self.target.policy()
            )),
            (None, Some(folder)) => say(&format!(
                "Dumping {source} to {}; while the disk works, the source waits.",
                folder.display()
            )),
            (None, None) => stderr::line(&format!("Listening to {source}.")),
        }
    }

    /// Cancel safe but for the message that is being taken. A signal waits until that is kept; it does not wait for a
    /// screen that nobody reads.
    async fn receive(
        &self,
        stream: &mut Stream,
        sink: &mut Sink,
        (tally, headless): (&Tally, &Cell<u64>),
        metrics: &mut Metrics,
        interrupt: &mut Interrupt,
        contacts: &mut Contacts,
    ) -> End {
        let mut deadline = self.deadline();
        let mut losses = Losses::of(stream);
        let mut looks = tokio::time::interval(LOOK);
        loop {
            if self.source.count.is_some_and(|count| tally.messages() >= count) {
                return End::Done;
            }
            let message = tokio::select! {
                biased;
                _ = interrupt.wait() => return End::Interrupted,
                scrape = metrics.scraped() => {
                    scrape.answer(|exposition| {
                        expose(exposition, stream);
                        sink.expose(exposition);
                    });
                    continue;
                }
                received = stream.receive_raw() => match received {
                    Ok(message) => message,
                    Err(error) => return End::Refused(Refusal::Failed(Failure::new(explain(&error)))),
                },
                () = patience(deadline) => {
                    while let Some(loss) = losses.poll() {
                        note(&loss);
                    }
                    return End::TimedOut;
                }
                _ = looks.tick() => {
                    while let Some(loss) = losses.poll() {
                        note(&loss);
                    }
                    if let Some(trouble) = contacts.poll(stream) {
                        note(&trouble);
                    }
                    continue;
                }
            };
            let size = message.size();
            match StreamMessage::header_of(&message) {
                Ok(header) => stream.statistics_mut().handle_header(&header, size),
                Err(_) => headless.set(headless.get() + 1),
            }
            if let Some(warning) = stream.statistics_mut().poll_warning() {
                note(&warning.to_string());
            }
            let message = match self.is_shown() {
                true => message,
                false => shortened(message, self.skip),
            };
            let mut taking = pin!(sink.take(tally.messages(), message, tally));
            let taken = loop {
                tokio::select! {
                    biased;
                    taken = &mut taking => break taken,
                    _ = interrupt.wait(), if self.is_shown() => return End::Interrupted,
                    scrape = metrics.scraped() => scrape.answer(|exposition| expose(exposition, stream)),
                }
            };
            // It was received, also where it could not be kept.
            tally.add(size);
            if let Err(refusal) = taken {
                return End::Refused(refusal);
            }
            deadline = self.deadline();
        }
    }

    /// When it has been silent for too long, from now on.
    fn deadline(&self) -> Option<tokio::time::Instant> {
        let timeout = self.source.timeout?;
        tokio::time::Instant::now().checked_add(timeout)
    }

    /// The summary for programs, one object on one line.
    fn summary(&self, tally: &Tally, seconds: f64, kept: &Kept, odd: Odd) -> String {
        let mut summary = json!({
            "elapsed_s": seconds,
            "messages": tally.messages(),
            "bytes": tally.bytes(),
            "lost_frames": odd.missing,
        });
        if let Some(summary) = summary.as_object_mut() {
            let more = match self.is_shown() {
                true => json!({
                    "malformed": odd.malformed,
                    "undecodable": odd.undecodable,
                    "unreadable": odd.unreadable,
                }),
                // Nothing else of them is looked at.
                false => json!({ "without_header": odd.malformed }),
            };
            summary.extend(more.as_object().cloned().unwrap_or_default());
            if !self.is_shown() {
                let kept = kept.to_json(tally.messages());
                summary.extend(kept.as_object().cloned().unwrap_or_default());
            }
        }
        json!({ "summary": summary }).to_string()
    }

    fn summarize(&self, tally: &Tally, seconds: f64, kept: &Kept, odd: Odd) {
        if self.json {
            // The screen has it behind the messages.
            if !self.is_shown() {
                say(&self.summary(tally, seconds, kept, odd));
            }
            return;
        }
        let mut lines = vec![format!(
            "Received: {}",
            amount(tally.messages(), tally.bytes(), seconds)
        )];
        if !self.is_shown() {
            let files = match kept.files {
                Some(files) if files > 1 => format!(" in {} files", quantity::grouped(files)),
                _ => String::new(),
            };
            lines.push(format!("Kept: {}{files}", quantity::messages(kept.messages)));
        }
        if self.target.record.is_some() {
            lines.push(format!(
                "Dropped because the disk could not keep up: {}; waited for it {} times",
                quantity::messages(kept.dropped),
                quantity::grouped(kept.waited)
            ));
        }
        if kept.refused > 0 {
            lines.push(format!(
                "Left out because they have no part, or too many: {}",
                quantity::messages(kept.refused)
            ));
        }
        if !self.is_shown() && kept.lost(tally.messages()) > 0 {
            let lost = quantity::messages(kept.lost(tally.messages()));
            lines.push(format!("Lost with the error: {lost}"));
        }
        lines.push(format!("Frames missing: {}", quantity::grouped(odd.missing)));
        if odd.malformed > 0 {
            let what = match self.is_shown() {
                true => "Malformed",
                false => "Without a header that can be read",
            };
            lines.push(format!("{what}: {}", quantity::messages(odd.malformed)));
        }
        for (what, count) in [
            ("Unknown encoding", odd.undecodable),
            ("With data that cannot be read", odd.unreadable),
        ] {
            if count > 0 {
                lines.push(format!("{what}: {}", quantity::messages(count)));
            }
        }
        for line in lines {
            // The screen has the messages on standard output.
            match self.is_shown() {
                true => stderr::line(&line),
                false => say(&line),
            }
        }
    }
}

async fn patience(deadline: Option<tokio::time::Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

/// What was received so far, as metrics.
fn expose(exposition: &mut Exposition, stream: &Stream) {
    let address = stream.endpoint().to_string();
    let labels = [("address", &*address), ("role", "source")];
    counters::stream(exposition, &labels, &stream.statistics().snapshot(Instant::now()));
    counters::socket(exposition, &labels, &stream.socket_stats());
}
