//! `flexbond generate`, `m_generate`: a data stream to measure with, or that of a detector that is not there.

mod bsread;
mod camera;
mod fault;
mod picture;
mod plain;
mod recipe;
mod script;
mod shape;
mod source;
mod tempo;
#[cfg(test)]
mod trial;
mod version1;
mod version2;

use std::pin::pin;
use std::time::{Duration, Instant};

use clap::{Args, ValueEnum};
use serde_json::{Map, Value};
use tokio::time::MissedTickBehavior;

use super::argument::{self, Linger};
use super::carriage::Carriage;
use super::closing::close;
use super::contact::Contacts;
use super::failure::{explain, note};
use super::interrupt::Interrupt;
use super::metrics::{Exposition, Metrics, MetricsArgument, counters};
use super::output::Stop;
use super::quantity;
use super::report::{Details, Report};
use super::stats::join_failure;
use super::{Exit, Failure, stderr};
use crate::session::socket::{SendError, SendErrorKind};
use crate::stream::{Attach, ElementType, Mode, Stream};
use crate::transport::{Endpoint, Message};

use camera::Compression;
use fault::{Fault, FaultCounts, Faults};
use script::{Plan, Script, Step};
use shape::Shape;
use tempo::Tempo;

/// Send a data stream, to measure with, or to play a detector.
///
/// raw-1.0 and array-1.0 have a header with a growing frame number, and one block of data. dectris-v1 and dectris-v2
/// send series of images as detectors do, bsread sends pulses of an accelerator with many channels. Pictures (with
/// --shape, and those of detectors) have counts of photons, reflections and gaps between modules; a few different ones
/// are made and compressed beforehand and take turns, so that the rate is that of the transport, not of the compression.
///
/// Ends with a summary at Ctrl-C or after --count images, once everything is delivered (at most --linger seconds; a
/// second Ctrl-C ends at once).
///
/// To many receivers at once by multicast:
/// m_generate -m pub -a udp://192.168.0.5:9999 --multicast 239.1.2.3:5000
///
/// Exit codes: 0 done (Ctrl-C too), 1 failed, 2 usage, 3 messages were left when the linger was over.
#[derive(Args)]
pub(crate) struct Generate {
    /// Address to listen at, format `tcp://HOST:PORT` or, with -m pub, `udp://HOST:PORT`
    #[arg(short, long, default_value = "tcp://*:9999")]
    address: Endpoint,

    /// Connect to the address instead of listening
    #[arg(long)]
    connect: bool,

    /// Format of the messages
    #[arg(long, value_enum, default_value_t = Htype::Raw)]
    htype: Htype,

    /// Size of the data of raw-1.0 and array-1.0, in MB of 2^20 bytes as mflow has it [default: 1]
    #[arg(short, long, value_name = "MB", value_parser = argument::megabytes,
          allow_negative_numbers = true)]
    size: Option<usize>,

    /// Size of the data in bytes (also 64K, 16M, 2G) instead
    #[arg(long, value_name = "BYTES", value_parser = argument::size, conflicts_with = "size")]
    size_bytes: Option<usize>,

    /// Pictures of so many columns and rows instead, such as 2070x2167 [default for detectors: 1030x1065]
    ///
    /// bsread has a channel with pictures only where this is given. More than two dimensions are possible there and in
    /// array-1.0; the fastest one comes first.
    #[arg(long, value_name = "COLUMNSxROWS", value_parser = Shape::parse,
          conflicts_with_all = ["size", "size_bytes"])]
    shape: Option<Shape>,

    /// Type of the pixels: numpy's names; detectors have uint8, uint16 and uint32
    #[arg(long = "type", value_name = "TYPE", default_value = "uint16")]
    element: ElementType,

    /// Compression of arrays and pictures [default: bslz4 for detectors, otherwise none]
    #[arg(long, value_enum)]
    compression: Option<Compression>,

    /// What a detector says when a series begins: its number only, its configuration too, or its tables too
    #[arg(long, value_enum, default_value_t = Detail::Basic)]
    header_detail: Detail,

    /// Channels of bsread that have one number; a waveform and a text come on top
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u16).range(0..=10_000))]
    channels: u16,

    /// Communication mode
    #[arg(short, long, value_enum, ignore_case = true, default_value_t = Sending::Push)]
    mode: Sending,

    /// End after this many images: messages of raw-1.0 and array-1.0, pulses of bsread
    ///
    /// The beginnings and ends of series come on top, and so do images that are sent twice; images that are dropped on
    /// purpose count.
    #[arg(short = 'n', long, value_name = "N")]
    count: Option<u64>,

    /// Images per second; as many as possible if left out
    #[arg(long, value_name = "HZ", value_parser = rate)]
    rate: Option<f64>,

    /// Images of a series; all in one series if left out
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    images_per_series: Option<u64>,

    /// Pause between two series
    #[arg(long, value_name = "SECONDS", value_parser = argument::seconds, default_value = "0",
          allow_negative_numbers = true, requires = "images_per_series")]
    pause: Duration,

    /// Faults on purpose, each with its probability: drop=0.01,duplicate=0.01
    ///
    /// drop=P leaves an image out; its number is missing.
    ///
    /// duplicate=P sends an image twice.
    ///
    /// reorder=P sends an image after the next one.
    ///
    /// truncate=P leaves the last part of an image's message out, or half of it where it has no other beside the header.
    ///
    /// abort-series=P breaks a series off after one or more images: its end does not come. Needs --images-per-series or
    /// --count, and a detector.
    ///
    /// They happen at the same places for the same --seed, and the summary counts them.
    #[arg(long, value_name = "FAULT=P", value_delimiter = ',', value_parser = Fault::parse)]
    fault: Vec<Fault>,

    /// Seed of pictures, values and faults
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,

    /// Wait this long before the first message, so that subscribers can arrive
    #[arg(long, value_name = "SECONDS", value_parser = argument::seconds, allow_negative_numbers = true)]
    delay: Option<Duration>,

    /// How long the end waits for messages not yet delivered; -1 or inf: for ever
    #[arg(long, value_name = "SECONDS", value_parser = argument::linger, default_value = "30",
          allow_hyphen_values = true)]
    linger: Linger,

    /// Messages that may wait for each receiver
    #[arg(long, value_name = "N", default_value_t = 100)]
    queue_size: usize,

    /// Seconds between two lines
    #[arg(short = 'i', long = "sampling-interval", value_name = "SECONDS", default_value = "0.5",
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

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Sending {
    Push,
    Pub,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Htype {
    #[value(name = "raw-1.0")]
    Raw,
    #[value(name = "array-1.0")]
    Array,
    #[value(name = "dectris-v1")]
    Version1,
    #[value(name = "dectris-v2")]
    Version2,
    #[value(name = "bsread")]
    Bsread,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Detail {
    None,
    Basic,
    All,
}

/// Messages sent between two looks at the clock and at Ctrl-C.
const TURN: usize = 64;
/// How long nobody may be there before that is told.
const LONELY: Duration = Duration::from_secs(1);
/// How long the end of a series waits for room when the detector is stopped.
const STOPPING: Duration = Duration::from_secs(2);

fn rate(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(rate) if rate > 0.0 && f64::is_finite(rate) => Ok(rate),
        _ => Err("not a rate above zero".to_owned()),
    }
}

impl Htype {
    fn is_detector(self) -> bool {
        matches!(self, Htype::Version1 | Htype::Version2)
    }
}

impl Generate {
    pub(crate) fn run(&self) -> Result<Exit, Failure> {
        super::with_connections(self.generate())
    }

    async fn generate(&self) -> Result<Exit, Failure> {
        let options = self.carriage.options([&self.address])?;
        let mut interrupt = Interrupt::listen()
            .map_err(|error| Failure::new(format!("cannot listen for signals: {error}")))?;
        let options = options
            .mode(if self.mode == Sending::Push {
                Mode::Push
            } else {
                Mode::Pub
            })
            .attach(if self.connect {
                Attach::Connect
            } else {
                Attach::Bind
            })
            .linger(self.linger.0)
            .queue_size(self.queue_size);
        let mut script = self.script()?;
        let mut metrics = self.metrics.serve("generate").await?;
        let mut stream = Stream::connect(&self.address, options)
            .await
            .map_err(|error| join_failure(&error))?;
        let mut report = Report::start(self.json, "sent", false)?;
        let sent = self
            .send(
                &mut stream,
                &mut script,
                &mut report,
                &mut metrics,
                &mut interrupt,
            )
            .await;

        let statistics = stream.statistics().clone();
        report.add(details(&script));
        let sent = match sent {
            Ok(interrupted) => report.finish(&statistics).await.map(|()| interrupted),
            Err(stop) => Err(stop),
        };
        let stats = stream.socket_stats();
        let undelivered = close(stream, self.linger, &mut interrupt).await;
        let interrupted = match sent {
            Ok(interrupted) => interrupted,
            Err(Stop::ReaderGone) => true,
            Err(Stop::Failure(failure)) => return Err(failure),
        };
        if self.mode == Sending::Pub && stats.dropped > 0 {
            stderr::line(&format!(
                "{} dropped for subscribers that were too slow",
                quantity::messages(stats.dropped)
            ));
        }
        if undelivered == 0 {
            return Ok(Exit::Done);
        }
        let left = format!("{} not delivered", quantity::messages(undelivered));
        if interrupted {
            stderr::line(&format!(
                "{left}: the receiver went away, or did not take them in time"
            ));
            return Ok(Exit::Done);
        }
        Err(Failure::timed_out(left).hint("a longer --linger waits longer for a receiver to take them"))
    }

    /// What is sent when.
    fn script(&self) -> Result<Script, Failure> {
        if self.fault.iter().any(|fault| fault.is_about_series()) {
            if !self.htype.is_detector() {
                return Err(Failure::usage("abort-series needs series that have an end")
                    .hint("--htype dectris-v1 and dectris-v2 have them"));
            }
            if self.images_per_series.is_none() && self.count.is_none() {
                return Err(Failure::usage(
                    "abort-series needs --images-per-series or --count",
                ));
            }
        }
        let plan = Plan {
            count: self.count,
            images_per_series: self.images_per_series,
            pause: self.pause,
            paced: self.rate.is_some(),
        };
        Ok(Script::new(
            self.source()?,
            Faults::new(&self.fault, self.seed),
            plan,
        ))
    }

    /// Whether Ctrl-C was the end.
    async fn send(
        &self,
        stream: &mut Stream,
        script: &mut Script,
        report: &mut Report,
        metrics: &mut Metrics,
        interrupt: &mut Interrupt,
    ) -> Result<bool, Stop> {
        report.note(&format!(
            "Sending messages of {} bytes, {} at {}",
            quantity::grouped(script.source().size() as u64),
            if self.mode == Sending::Push { "push" } else { "pub" },
            stream.endpoint(),
        ))?;
        if let Some(delay) = self.delay {
            let mut delay = pin!(tokio::time::sleep(delay));
            loop {
                tokio::select! {
                    _ = interrupt.wait() => return Ok(true),
                    stop = report.broken() => return Err(stop),
                    scrape = metrics.scraped() => scrape.answer(|exposition| expose(exposition, stream, script)),
                    () = &mut delay => break,
                }
            }
        }
        let mut tempo = Tempo::new(self.rate);
        let mut contacts = Contacts::default();
        contacts.watch([&*stream]);
        let mut ticks = tokio::time::interval(self.interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        ticks.tick().await;
        let waiting = Instant::now();
        let mut lonely = self.mode == Sending::Push && !self.connect;
        while !script.is_over() {
            tokio::select! {
                biased;
                _ = interrupt.wait() => {
                    if let Some(end) = script.stop() {
                        self.send_end(stream, end).await;
                    }
                    return Ok(true);
                }
                _ = ticks.tick() => {
                    if let Some(trouble) = contacts.poll(stream) {
                        note(&trouble);
                    }
                    lonely &= stream.socket_stats().peers == 0;
                    if lonely && waiting.elapsed() >= LONELY {
                        note(&format!("no receiver has connected to {} yet", stream.endpoint()));
                        lonely = false;
                    }
                    report.rates(stream.statistics().totals())?;
                }
                stop = report.broken() => return Err(stop),
                scrape = metrics.scraped() => scrape.answer(|exposition| expose(exposition, stream, script)),
                result = turn(stream, script, &mut tempo) => {
                    result.map_err(|error| Stop::Failure(Failure::new(explain(&error))))?;
                }
            }
            // A PUB always has room; its connections need this thread now and then.
            tokio::task::yield_now().await;
        }
        Ok(false)
    }

    /// A detector that is stopped says so: behind all that waits, but not for long, and only where somebody listens.
    async fn send_end(&self, stream: &mut Stream, end: Message) {
        let end = match stream.try_send(end) {
            Err(error) if *error.kind() == SendErrorKind::WouldBlock => error.into_message(),
            // Sent; or the stream is closed, which is told elsewhere.
            _ => return,
        };
        if stream.socket_stats().peers > 0 {
            let patience = self.linger.0.map_or(STOPPING, |linger| linger.min(STOPPING));
            stderr::line("the end of the series waits for room; Ctrl-C ends at once");
            if tokio::time::timeout(patience, stream.send(end)).await.is_err() {
                stderr::line("the end of the series was not sent: the receiver takes nothing");
            }
        }
    }
}

/// Takes some steps. Cancel safe: a step that was not taken comes again.
async fn turn(stream: &mut Stream, script: &mut Script, tempo: &mut Tempo) -> Result<(), SendError> {
    for _ in 0..TURN {
        match script.next() {
            None => break,
            Some(Step::Message(message)) => match stream.try_send(message) {
                Err(error) if *error.kind() == SendErrorKind::WouldBlock => {
                    let message = error.into_message();
                    script.put_back(Step::Message(message.clone()));
                    stream.send(message).await?;
                    script.next();
                }
                result => result?,
            },
            Some(Step::Due(number)) => {
                script.put_back(Step::Due(number));
                tempo.due(number).await;
                script.next();
            }
            Some(Step::Pause(time)) => {
                script.put_back(Step::Pause(time));
                tempo.pause(time).await;
                script.next();
            }
        }
    }
    Ok(())
}

/// What was sent so far, and what was done to it on purpose, as metrics.
fn expose(exposition: &mut Exposition, stream: &Stream, script: &Script) {
    let address = stream.endpoint().to_string();
    let labels = [("address", &*address), ("role", "output")];
    counters::stream(exposition, &labels, &stream.statistics().snapshot(Instant::now()));
    counters::socket(exposition, &labels, &stream.socket_stats());
    let counts = script.faults().counts();
    for (fault, count) in [
        ("drop", counts.dropped),
        ("duplicate", counts.duplicated),
        ("reorder", counts.reordered),
        ("truncate", counts.truncated),
        ("abort-series", counts.aborted_series),
    ] {
        let labels = [("address", &*address), ("fault", fault)];
        exposition.counter(
            "flexbond_generate_faults",
            "Faults that were made on purpose.",
            &labels,
            count,
        );
    }
}

/// What the statistics of what was sent do not say.
fn details(script: &Script) -> Details {
    let counts = script.faults().counts();
    let mut fields = Map::new();
    fields.insert("images".to_owned(), Value::from(script.images()));
    fields.insert("faults".to_owned(), counts.to_json());
    let FaultCounts {
        dropped,
        duplicated,
        reordered,
        truncated,
        aborted_series,
    } = counts;
    Details {
        fields,
        lines: vec![
            ("Dropped on purpose", dropped, "images"),
            ("Sent twice", duplicated, "images"),
            ("Sent out of order", reordered, "images"),
            ("Truncated", truncated, "messages"),
            ("Aborted series", aborted_series, "series"),
        ],
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::stream::Decoder;

    #[derive(Parser)]
    struct Program {
        #[command(flatten)]
        generate: Generate,
    }

    fn generate(arguments: &str) -> Generate {
        let words = ["generate"].into_iter().chain(arguments.split_whitespace());
        Program::try_parse_from(words).unwrap().generate
    }

    #[test]
    fn rates_are_checked() {
        assert!(rate("0").is_err() && rate("inf").is_err() && rate("50.5").is_ok());
    }

    #[test]
    fn every_format_is_understood_in_every_compression() {
        for htype in ["raw-1.0", "array-1.0", "dectris-v1", "dectris-v2", "bsread"] {
            for compression in ["none", "lz4", "bslz4"] {
                if htype == "raw-1.0" && compression != "none" {
                    continue;
                }
                let arguments = format!(
                    "--htype {htype} --compression {compression} --shape 50x40 --header-detail all -n 5 \
                     --images-per-series 3"
                );
                let mut script = generate(&arguments).script().unwrap();
                let mut decoder = Decoder::new();
                let mut messages = 0;
                while let Some(step) = script.next() {
                    let Step::Message(message) = step else {
                        panic!("neither rate nor pause were asked for")
                    };
                    let message = decoder.decode(&message);
                    let message = message.unwrap_or_else(|error| panic!("{arguments}: {error}"));
                    assert!(!message.is_unknown(), "{arguments}");
                    messages += 1;
                }
                let series = if htype.starts_with("dectris") { 4 } else { 0 };
                assert_eq!(messages, 5 + series, "{arguments}");
            }
        }
    }

    #[test]
    fn what_does_not_fit_together_is_told() {
        for arguments in [
            "--compression lz4",
            "--htype dectris-v1 --shape 10x10x10",
            "--htype dectris-v2 --type float32",
            "--htype dectris-v1 --size 1",
            "--htype bsread --size-bytes 10",
            "--htype array-1.0 --shape 10x10 --type complex64",
            "--shape 1000000x1000000",
            "--fault abort-series --images-per-series 10",
            "--htype dectris-v1 --fault abort-series",
        ] {
            let failure = generate(arguments).script().err();
            assert_eq!(
                failure.map(|failure| failure.exit()),
                Some(Exit::Usage),
                "{arguments}"
            );
        }
    }
}
