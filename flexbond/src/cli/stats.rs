//! `flexbond stats`, `m_stats`: how fast a stream arrives.

use std::time::Duration;

use clap::{Args, ValueEnum};
use tokio::time::{Instant, MissedTickBehavior};

use super::failure::explain;
use super::interrupt::Interrupt;
use super::report::{Report, Silent};
use super::{Exit, Failure, argument};
use crate::stream::{Attach, ConnectError, ConnectOptions, Mode, ReceiveError, Stream};
use crate::transport::Endpoint;

/// Show how fast a data stream arrives, and what of it is missing.
///
/// Ends with a summary at Ctrl-C. Bytes count all parts, headers included; 1 MB is 10^6 bytes. "Frames missing" are
/// gaps in the headers' frame numbers: lost on the way, or taken by another receiver of a PUSH source.
///
/// Exit codes: 0 done (Ctrl-C too), 1 failed, 2 usage, 3 timed out.
#[derive(Args)]
pub(crate) struct StatsCommand {
    /// Source address, format `tcp://HOST:PORT`; `tcp://*:PORT` waits for the source to connect
    source: Endpoint,

    /// Communication mode
    #[arg(short, long, value_enum, default_value_t = Receiving::Pull)]
    mode: Receiving,

    /// Seconds between two lines; 0 prints one for every message
    #[arg(short = 'i', long = "sampling-interval", alias = "sampling_interval", value_name = "SECONDS",
          default_value = "0.5", value_parser = argument::seconds, allow_negative_numbers = true)]
    interval: Duration,

    /// End after this many messages
    #[arg(short = 'n', long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,

    /// End when no message came for this long (exit code 3)
    #[arg(long, value_name = "SECONDS", value_parser = argument::positive_seconds, allow_negative_numbers = true)]
    timeout: Option<Duration>,

    /// Messages that may wait to be counted
    #[arg(long, value_name = "N", default_value_t = 100)]
    queue_size: usize,

    /// One JSON object a line instead of text
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum Receiving {
    Pull,
    Sub,
}

/// Messages taken between two looks at the clock and at Ctrl-C.
const TURN: usize = 256;

enum End {
    Done,
    TimedOut,
}

impl StatsCommand {
    pub(crate) fn run(&self) -> Result<Exit, Failure> {
        super::with_connections(self.measure())
    }

    async fn measure(&self) -> Result<Exit, Failure> {
        let mut interrupt = Interrupt::listen()
            .map_err(|error| Failure::new(format!("cannot listen for signals: {error}")))?;
        let options = ConnectOptions::new()
            .mode(match self.mode {
                Receiving::Pull => Mode::Pull,
                Receiving::Sub => Mode::Sub,
            })
            .attach(if is_wildcard(&self.source) {
                Attach::Bind
            } else {
                Attach::Connect
            })
            .queue_size(self.queue_size);
        let mut stream = Stream::connect(&self.source, options)
            .await
            .map_err(|error| join_failure(&error))?;
        let mut report = Report::new(self.json, "received");
        let end = match self.watch(&mut stream, &mut report, &mut interrupt).await {
            Ok(end) => report.summary(stream.statistics()).map(|()| end),
            Err(silent) => Err(silent),
        };
        match end {
            Ok(End::Done) | Err(Silent::ReaderGone) => Ok(Exit::Done),
            Ok(End::TimedOut) => {
                let seconds = self.timeout.unwrap_or_default().as_secs_f64();
                Err(Failure::timed_out(format!(
                    "no message from {} for {seconds} s",
                    self.source
                )))
            }
            Err(Silent::Failure(failure)) => Err(failure),
        }
    }

    async fn watch(
        &self,
        stream: &mut Stream,
        report: &mut Report,
        interrupt: &mut Interrupt,
    ) -> Result<End, Silent> {
        report.note(&match self.interval {
            Duration::ZERO => format!("Listening to {}, a line for every message.", self.source),
            interval => format!(
                "Listening to {}, a line every {} s.",
                self.source,
                interval.as_secs_f64()
            ),
        })?;
        let each = self.interval.is_zero();
        let mut ticks = tokio::time::interval(if each {
            Duration::from_secs(3600)
        } else {
            self.interval
        });
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        ticks.tick().await;
        let mut seen = 0;
        let mut last = Instant::now();
        loop {
            let deadline = self.timeout.and_then(|timeout| last.checked_add(timeout));
            tokio::select! {
                biased;
                _ = interrupt.wait() => return Ok(End::Done),
                _ = ticks.tick(), if !each => report.rates(stream.statistics().totals())?,
                result = stream.receive() => {
                    let turn = if each { 0 } else { TURN };
                    let mut result = Some(result);
                    for _ in 0..=turn {
                        let next = result.take().unwrap_or_else(|| stream.try_receive());
                        if !take(next.map(drop), stream)? {
                            break;
                        }
                        seen += 1;
                        if self.count == Some(seen) {
                            return Ok(End::Done);
                        }
                    }
                    if each {
                        report.rates(stream.statistics().totals())?;
                    }
                    if self.timeout.is_some() {
                        last = Instant::now();
                    }
                }
                () = sleep(deadline), if deadline.is_some() => return Ok(End::TimedOut),
            }
        }
    }
}

/// Whether a message came, good or malformed.
fn take(result: Result<(), ReceiveError>, stream: &Stream) -> Result<bool, Silent> {
    match result {
        Ok(()) => Ok(true),
        Err(ReceiveError::Malformed { error, .. }) => {
            if stream.statistics().totals().malformed == 1 {
                eprintln!("malformed message, the first: {error}");
            }
            Ok(true)
        }
        Err(ReceiveError::Socket(crate::session::socket::RecvError::WouldBlock)) => Ok(false),
        Err(error) => Err(Silent::Failure(Failure::new(explain(&error)))),
    }
}

async fn sleep(deadline: Option<Instant>) {
    if let Some(deadline) = deadline {
        tokio::time::sleep_until(deadline).await;
    }
}

/// Whether an address means every interface, which can only be listened at.
pub(super) fn is_wildcard(address: &Endpoint) -> bool {
    address.to_string().contains("://*")
}

pub(super) fn join_failure(error: &ConnectError) -> Failure {
    let text = explain(error);
    match error {
        ConnectError::Bind(crate::session::socket::BindError::Transport(
            crate::transport::BindError::InUse { .. },
        )) => Failure::new(text).hint("stop the program that listens there, or choose another address"),
        ConnectError::Options(_) | ConnectError::Connect(_) => Failure::usage(text),
        _ => Failure::new(text),
    }
}
