//! `flexbond stats`, `m_stats`: how fast a stream arrives, and what of it does not.

#[cfg(feature = "tui")]
mod live;
mod notices;
mod view;

use std::time::Duration;

use clap::Args;
use tokio::time::{Instant, MissedTickBehavior};

use super::carriage::Carriage;
use super::failure::explain;
use super::group::start_failure;
use super::interrupt::Interrupt;
use super::metrics::{Exposition, Metrics, MetricsArgument, counters};
use super::output::Stop;
use super::report::Report;
use super::source::Source;
use super::{Exit, Failure, argument, stderr};
use crate::session::socket::RecvError;
use crate::stream::{ConnectError, Numbering, ReceiveError, Stream, StreamMessage, Stride};

use notices::Notices;
use view::{View, Wish};

/// Show how fast a data stream arrives, and what of it is missing.
///
/// Understands raw-1.0, array-1.0, Dectris' stream V1 and V2, and bsread; other types are counted. Ends with a summary
/// at Ctrl-C. Bytes count all parts, headers included; 1 MB is 10^6 bytes. "Frames missing" are gaps in the numbers of
/// frames, images and pulses: lost on the way, or taken by another receiver of a PUSH source, of which a warning tells.
/// With --json each line has rates, totals, types (htypes) and sources with their series and gaps.
///
/// Where a source sends to many by multicast: m_stats udp://192.168.0.5:9999 -m sub
///
/// Exit codes: 0 done (Ctrl-C too), 1 failed, 2 usage, 3 timed out.
#[derive(Args)]
pub(crate) struct StatsCommand {
    #[command(flatten)]
    source: Source,

    /// Seconds between two lines; 0 prints one for every message
    #[arg(short = 'i', long = "sampling-interval", alias = "sampling_interval", value_name = "SECONDS",
          default_value = "0.5", value_parser = argument::seconds, allow_negative_numbers = true)]
    interval: Duration,

    /// By how much the numbers of frames, images and pulses grow, such as 10 where every tenth one is sent; learn: found
    /// out from the first ones [default: 1 for frames and images, learn for pulses]
    #[arg(long, value_name = "N", value_parser = stride)]
    stride: Option<Stride>,

    /// One JSON object a line instead of text
    #[arg(long)]
    json: bool,

    /// Show rates, their history, gaps, types and sources live in the terminal; q or Ctrl-C ends with the summary
    #[cfg(feature = "tui")]
    #[arg(long, conflicts_with = "json")]
    tui: bool,

    #[command(flatten)]
    metrics: MetricsArgument,

    #[command(flatten)]
    carriage: Carriage,
}

/// Messages taken between two looks at the clock and at Ctrl-C.
const TURN: usize = 256;
/// Between two looks of the live view.
const SHORTEST: Duration = Duration::from_millis(100);

enum End {
    Done,
    TimedOut,
}

impl StatsCommand {
    pub(crate) fn run(&self) -> Result<Exit, Failure> {
        super::with_connections(self.measure())
    }

    async fn measure(&self) -> Result<Exit, Failure> {
        let options = self.carriage.options([&self.source.source])?;
        let mut interrupt = Interrupt::listen()
            .map_err(|error| Failure::new(format!("cannot listen for signals: {error}")))?;
        let mut metrics = self.metrics.serve("stats").await?;
        let mut stream = self.source.join(options).await?;
        if let Some(stride) = self.stride {
            for numbering in [Numbering::Frame, Numbering::Image, Numbering::PulseId] {
                stream.statistics_mut().set_stride(numbering, stride);
            }
        }
        let mut report = Report::start(self.json, "received", self.interval.is_zero())?;
        let mut notices = Notices::default();
        let mut view = self.view()?;
        let end = self
            .watch(
                &mut stream,
                &mut report,
                &mut notices,
                &mut view,
                &mut metrics,
                &mut interrupt,
            )
            .await;
        // The terminal is as it was before anything is printed.
        view.close();
        notices.take().for_each(|notice| stderr::line(&notice));
        report.add(notices.details(&stream));
        let end = match end {
            Ok(end) => report.finish(stream.statistics()).await.map(|()| end),
            Err(stop) => Err(stop),
        };
        match end {
            Ok(End::Done) | Err(Stop::ReaderGone) => Ok(Exit::Done),
            Ok(End::TimedOut) => Err(self.source.timed_out(notices.trouble(&stream))),
            Err(Stop::Failure(failure)) => Err(failure),
        }
    }

    #[cfg(feature = "tui")]
    fn view(&self) -> Result<View, Failure> {
        if self.tui {
            View::live(&self.source.source.to_string())
        } else {
            Ok(View::Lines)
        }
    }

    #[cfg(not(feature = "tui"))]
    fn view(&self) -> Result<View, Failure> {
        Ok(View::Lines)
    }

    async fn watch(
        &self,
        stream: &mut Stream,
        report: &mut Report,
        notices: &mut Notices,
        view: &mut View,
        metrics: &mut Metrics,
        interrupt: &mut Interrupt,
    ) -> Result<End, Stop> {
        // A line for every message is for lines only.
        let each = self.interval.is_zero() && view.is_lines();
        if view.is_lines() {
            report.note(&match each {
                true => format!("Listening to {}, a line for every message.", stream.endpoint()),
                false => format!(
                    "Listening to {}, a line every {} s.",
                    stream.endpoint(),
                    self.interval.as_secs_f64()
                ),
            })?;
        }
        let mut ticks = tokio::time::interval(match self.interval {
            _ if each => Duration::from_secs(3600),
            Duration::ZERO => SHORTEST,
            interval => interval,
        });
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        ticks.tick().await;
        notices.poll_contact(stream);
        view.show(stream, notices)?;
        let mut seen = 0;
        let mut last = Instant::now();
        loop {
            let deadline = self.source.timeout.and_then(|timeout| last.checked_add(timeout));
            tokio::select! {
                biased;
                _ = interrupt.wait() => return Ok(End::Done),
                wish = view.wish() => match wish {
                    Wish::End => return Ok(End::Done),
                    Wish::Show => view.show(stream, notices)?,
                },
                _ = ticks.tick(), if !each => {
                    notices.poll_contact(stream);
                    view.tick(stream, report, notices)?;
                    view.tell(notices);
                }
                stop = report.broken() => return Err(stop),
                scrape = metrics.scraped() => scrape.answer(|exposition| expose(exposition, stream)),
                result = stream.receive() => {
                    let turn = if each { 0 } else { TURN };
                    let mut result = Some(result);
                    for _ in 0..=turn {
                        let next = result.take().unwrap_or_else(|| stream.try_receive());
                        if !take(next, notices)? {
                            break;
                        }
                        while let Some(event) = stream.poll_series_event() {
                            notices.handle_series(event);
                        }
                        seen += 1;
                        if self.source.count == Some(seen) {
                            notices.poll(stream);
                            return Ok(End::Done);
                        }
                    }
                    notices.poll(stream);
                    if each {
                        view.tick(stream, report, notices)?;
                    } else {
                        view.tell(notices);
                    }
                    if self.source.timeout.is_some() {
                        last = Instant::now();
                    }
                }
                () = sleep(deadline), if deadline.is_some() => return Ok(End::TimedOut),
            }
        }
    }
}

fn stride(text: &str) -> Result<Stride, String> {
    match text {
        "learn" => Ok(Stride::Learned),
        _ => match text.parse() {
            Ok(stride) => Ok(Stride::Fixed(stride)),
            Err(_) => Err("a whole number from 1 on, or learn".to_owned()),
        },
    }
}

/// What was received so far, as metrics.
fn expose(exposition: &mut Exposition, stream: &Stream) {
    let address = stream.endpoint().to_string();
    let labels = [("address", &*address), ("role", "source")];
    let now = std::time::Instant::now();
    counters::stream(exposition, &labels, &stream.statistics().snapshot(now));
    counters::socket(exposition, &labels, &stream.socket_stats());
}

/// Whether a message came, good or malformed.
fn take(result: Result<StreamMessage, ReceiveError>, notices: &mut Notices) -> Result<bool, Stop> {
    match result {
        Ok(message) => {
            if let Some(encoding) = message.unknown_encoding() {
                notices.handle_undecodable(&encoding);
            }
            Ok(true)
        }
        Err(ReceiveError::Malformed { error, .. }) => {
            notices.handle_malformed(&error);
            Ok(true)
        }
        Err(ReceiveError::Socket(RecvError::WouldBlock)) => Ok(false),
        Err(error) => Err(Stop::Failure(Failure::new(explain(&error)))),
    }
}

async fn sleep(deadline: Option<Instant>) {
    if let Some(deadline) = deadline {
        tokio::time::sleep_until(deadline).await;
    }
}

pub(super) fn join_failure(error: &ConnectError) -> Failure {
    let text = explain(error);
    match error {
        ConnectError::Bind(crate::session::socket::BindError::Transport(
            crate::transport::BindError::InUse { .. },
        )) => Failure::new(text).hint("stop the program that listens there, or choose another address"),
        ConnectError::Options(_)
        | ConnectError::Connect(_)
        | ConnectError::NotForAll { .. }
        | ConnectError::TooLittleMemory { .. } => Failure::usage(text),
        ConnectError::Session(error) => start_failure(error),
        _ => Failure::new(text),
    }
}
