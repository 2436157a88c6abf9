//! `flexbond generate`, `m_generate`: a data stream to measure with.

use std::time::Duration;

use bytes::Bytes;
use clap::{Args, ValueEnum};
use tokio::time::MissedTickBehavior;

use super::argument::{self, Linger};
use super::failure::explain;
use super::interrupt::Interrupt;
use super::pace::Pace;
use super::quantity;
use super::report::{Report, Silent};
use super::stats::join_failure;
use super::{Exit, Failure};
use crate::session::socket::{SendError, SendErrorKind};
use crate::stream::{
    Attach, ConnectOptions, ElementType, Endianness, Header, Layout, Mode, Stream, StreamMessage,
};
use crate::transport::{Endpoint, Frame, Message};

/// Send a data stream, to measure with.
///
/// Every message has a header with a growing frame number, and one block of data. Ends with a summary at Ctrl-C or
/// after --count messages, once everything is delivered (at most --linger seconds; a second Ctrl-C ends at once).
///
/// Exit codes: 0 done (Ctrl-C too), 1 failed, 2 usage, 3 messages were left when the linger was over.
#[derive(Args)]
pub(crate) struct Generate {
    /// Address to listen at, format `tcp://HOST:PORT`
    #[arg(short, long, default_value = "tcp://*:9999")]
    address: Endpoint,

    /// Connect to the address instead of listening
    #[arg(long)]
    connect: bool,

    /// Size of the data, in MB of 2^20 bytes as mflow has it
    #[arg(short, long, value_name = "MB", default_value = "1", value_parser = megabytes)]
    size: usize,

    /// Size of the data in bytes (also 64K, 16M, 2G) instead
    #[arg(long, value_name = "BYTES", value_parser = argument::size, conflicts_with = "size")]
    size_bytes: Option<usize>,

    /// Communication mode
    #[arg(short, long, value_enum, default_value_t = Sending::Push)]
    mode: Sending,

    /// End after this many messages
    #[arg(short = 'n', long, value_name = "N")]
    count: Option<u64>,

    /// Messages per second; as many as possible if left out
    #[arg(long, value_name = "HZ", value_parser = rate)]
    rate: Option<f64>,

    /// Format of the messages
    #[arg(long, value_enum, default_value_t = Htype::Raw)]
    htype: Htype,

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
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Sending {
    Push,
    Pub,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Htype {
    #[value(name = "raw-1.0")]
    Raw,
    #[value(name = "array-1.0")]
    Array,
}

/// Messages sent between two looks at the clock and at Ctrl-C.
const TURN: usize = 64;
/// More than any machine here can hold in one message.
const MAX_SIZE: usize = 1 << 40;

fn megabytes(text: &str) -> Result<usize, String> {
    let megabytes: f64 = text.parse().map_err(|_| "not a number of megabytes".to_owned())?;
    let bytes = megabytes * f64::from(1 << 20);
    if (0.0..=MAX_SIZE as f64).contains(&bytes) {
        Ok(bytes as usize)
    } else {
        Err("out of range".to_owned())
    }
}

fn rate(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(rate) if rate > 0.0 && f64::is_finite(rate) => Ok(rate),
        _ => Err("not a rate above zero".to_owned()),
    }
}

impl Generate {
    pub(crate) fn run(&self) -> Result<Exit, Failure> {
        super::with_connections(self.generate())
    }

    async fn generate(&self) -> Result<Exit, Failure> {
        let mut interrupt = Interrupt::listen()
            .map_err(|error| Failure::new(format!("cannot listen for signals: {error}")))?;
        let options = ConnectOptions::new()
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
        let mut source = Source::new(self.size_bytes.unwrap_or(self.size), self.htype)?;
        let mut stream = Stream::connect(&self.address, options)
            .await
            .map_err(|error| join_failure(&error))?;
        let mut report = Report::new(self.json, "sent");
        let sent = self
            .send(&mut stream, &mut source, &mut report, &mut interrupt)
            .await;

        let statistics = stream.statistics().clone();
        let sent = sent.and_then(|interrupted| report.summary(&statistics).map(|()| interrupted));
        let stats = stream.socket_stats();
        let undelivered = stream.disconnect().await.undelivered;
        let interrupted = match sent {
            Ok(interrupted) => interrupted,
            Err(Silent::ReaderGone) => true,
            Err(Silent::Failure(failure)) => return Err(failure),
        };
        if self.mode == Sending::Pub && stats.dropped > 0 {
            eprintln!(
                "{} dropped for subscribers that were too slow",
                quantity::messages(stats.dropped)
            );
        }
        if undelivered == 0 {
            return Ok(Exit::Done);
        }
        let left = format!("{} not delivered", quantity::messages(undelivered));
        if interrupted {
            eprintln!("{left}: the receiver went away, or did not take them in time");
            return Ok(Exit::Done);
        }
        Err(Failure::timed_out(left).hint("a longer --linger waits longer for a receiver to take them"))
    }

    /// Whether Ctrl-C was the end.
    async fn send(
        &self,
        stream: &mut Stream,
        source: &mut Source,
        report: &mut Report,
        interrupt: &mut Interrupt,
    ) -> Result<bool, Silent> {
        report.note(&format!(
            "Sending messages of {} bytes, {} at {}",
            quantity::grouped(source.data.len() as u64),
            if self.mode == Sending::Push { "push" } else { "pub" },
            stream.endpoint(),
        ))?;
        if let Some(delay) = self.delay {
            tokio::select! {
                _ = interrupt.wait() => return Ok(true),
                () = tokio::time::sleep(delay) => {}
            }
        }
        let pace = self.rate.map(Pace::new);
        let mut ticks = tokio::time::interval(self.interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        ticks.tick().await;
        while self.count.is_none_or(|count| source.frame < count) {
            tokio::select! {
                biased;
                _ = interrupt.wait() => return Ok(true),
                _ = ticks.tick() => report.rates(stream.statistics().totals())?,
                result = self.turn(stream, source, pace.as_ref()) => {
                    result.map_err(|error| Silent::Failure(Failure::new(explain(&error))))?;
                }
            }
            // A PUB always has room; its connections need this thread now and then.
            tokio::task::yield_now().await;
        }
        Ok(false)
    }

    /// Sends some messages. Cancel safe: the frame number grows with each message that was sent.
    async fn turn(
        &self,
        stream: &mut Stream,
        source: &mut Source,
        pace: Option<&Pace>,
    ) -> Result<(), SendError> {
        for _ in 0..TURN {
            if self.count.is_some_and(|count| source.frame >= count) {
                break;
            }
            if let Some(pace) = pace {
                pace.wait(source.frame).await;
            }
            match stream.try_send(source.message()) {
                Err(error) if *error.kind() == SendErrorKind::WouldBlock => {
                    stream.send(error.into_message()).await?;
                }
                result => result?,
            }
            source.frame += 1;
        }
        Ok(())
    }
}

/// Makes the messages; all share one block of data.
struct Source {
    /// The header's JSON up to the frame number, which comes last.
    prefix: String,
    data: Bytes,
    frame: u64,
}

impl Source {
    fn new(size: usize, htype: Htype) -> Result<Self, Failure> {
        let (element, extent) = if size.is_multiple_of(4) {
            (ElementType::Int32, size / 4)
        } else {
            (ElementType::UInt8, size)
        };
        let layout = Layout::new(element, Endianness::NATIVE, &[1, extent])
            .map_err(|error| Failure::usage(error.to_string()))?;
        let mut header = Header::new(if htype == Htype::Array {
            StreamMessage::ARRAY
        } else {
            StreamMessage::RAW
        });
        layout.describe(&mut header);
        let text = header.to_string();
        let prefix = format!("{},\"frame\":", text.trim_end_matches('}'));
        // Not all zeros, so that nothing on the way is flattered; not random, so that any receiver can check it.
        let data = (0..size).map(|index| (index % 251) as u8).collect();
        Ok(Source {
            prefix,
            data,
            frame: 0,
        })
    }

    fn message(&self) -> Message {
        let header = format!("{}{}}}", self.prefix, self.frame);
        Message::from([Frame::from(header), Frame::from(self.data.clone())])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_what_their_header_says() {
        for (size, htype) in [
            (10_485, Htype::Raw),
            (10_488, Htype::Array),
            (7, Htype::Array),
            (0, Htype::Array),
        ] {
            let mut source = Source::new(size, htype).unwrap();
            source.frame = 12;
            let message = StreamMessage::decode(&source.message()).unwrap();
            assert_eq!(message.header.frame(), Some(12));
            assert_eq!(message.parts().len(), 1);
            assert_eq!(message.parts()[0].len(), size);
            assert_eq!(message.as_arrays().is_some(), htype == Htype::Array);
        }
    }

    #[test]
    fn sizes_and_rates_are_checked() {
        assert_eq!(megabytes("0.01"), Ok(10_485));
        assert!(megabytes("-1").is_err() && megabytes("nan").is_err() && megabytes("1e300").is_err());
        assert!(rate("0").is_err() && rate("inf").is_err() && rate("50.5").is_ok());
    }
}
