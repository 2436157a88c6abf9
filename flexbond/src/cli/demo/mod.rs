//! `flexbond demo`: real sockets, streams, calls, groups and channels, real messages, and a table of what they did.

mod calling;
mod dealing;
mod grouping;
mod latency;
mod payload;
mod pipeline;
mod publishing;
mod reducing;
mod requests;
mod stage;
mod streaming;
mod swapping;
mod table;

use std::io::{self, IsTerminal, Write};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use tokio::sync::oneshot;

use super::interrupt::Interrupt;
use super::quantity;
use super::{Exit, Failure};
use stage::{Outcome, Stage, Watch};

/// Move real messages on this machine through every part of flexbond, check every one, and show how fast it went.
///
/// Sockets in four patterns over three transports, then a data stream, remote calls, a group session, an allreduce, and two
/// parties that swap values by a message server. Each stage runs two threads, one at each end, that share nothing but the
/// connections between them. Every message carries its number and a check value; a message that is lost, damaged or out of
/// order is reported, and the exit code is 1.
///
/// Exit codes: 0 all arrived, 1 something did not, 130 ended by Ctrl-C (with a table of what was done so far).
#[derive(Args)]
pub(crate) struct Demo {
    /// A fifth of the time for each stage
    #[arg(long)]
    quick: bool,
}

/// How long each stage sends.
const TIME: Duration = Duration::from_millis(600);
/// How often the live rate is shown.
const TICK: Duration = Duration::from_millis(100);

impl Demo {
    pub(crate) fn run(&self) -> Result<Exit, Failure> {
        let time = if self.quick { TIME / 5 } else { TIME };
        let runtime = super::current_thread()?;
        let begin = Instant::now();
        let mut done = Vec::new();
        let signal = runtime.block_on(async {
            let mut interrupt = Interrupt::listen()
                .map_err(|error| Failure::new(format!("cannot listen for signals: {error}")))?;
            show(time, &mut done, &mut interrupt).await
        })?;
        conclude(&done, begin.elapsed(), signal)
    }
}

/// Runs the stages one after the other; returns the signal that ended them early.
async fn show(
    time: Duration,
    done: &mut Vec<(Stage, Outcome)>,
    interrupt: &mut Interrupt,
) -> Result<Option<u8>, Failure> {
    let stages = Stage::all();
    let bar = live(stages.len());
    for stage in stages {
        let watch = Arc::new(Watch::default());
        let mut outcome = start(stage, time, &watch)?;
        let mut ticks = tokio::time::interval(TICK);
        let begin = Instant::now();
        let mut signal = None;
        let outcome = loop {
            tokio::select! {
                outcome = &mut outcome => break outcome,
                _ = ticks.tick() => {
                    let messages = watch.messages.load(Ordering::Relaxed) as f64;
                    let rate = messages / begin.elapsed().as_secs_f64().max(0.01);
                    bar.set_message(format!("{stage}: {} messages/s", quantity::count(rate)));
                }
                number = interrupt.wait(), if signal.is_none() => {
                    signal = Some(number);
                    watch.stop.store(true, Ordering::Relaxed);
                }
            }
        };
        // The sender is gone only if the stage's thread panicked.
        let outcome = outcome.unwrap_or_else(|_| Outcome::failed("the stage broke off"));
        bar.inc(1);
        if bar.is_hidden() {
            eprintln!("{stage}: {} messages/s", quantity::count(outcome.rate()));
        }
        done.push((stage, outcome));
        if signal.is_some() {
            bar.finish_and_clear();
            return Ok(signal);
        }
    }
    bar.finish_and_clear();
    Ok(None)
}

/// Runs a stage beside this thread.
fn start(stage: Stage, time: Duration, watch: &Arc<Watch>) -> Result<oneshot::Receiver<Outcome>, Failure> {
    let (tx, rx) = oneshot::channel();
    let watch = Arc::clone(watch);
    std::thread::Builder::new()
        .name("demo".to_owned())
        .spawn(move || {
            // Nobody listens only when the program is about to end.
            let _ = tx.send(stage.run(time, &watch));
        })
        .map_err(|error| Failure::new(format!("cannot start a thread: {error}")))?;
    Ok(rx)
}

fn live(stages: usize) -> ProgressBar {
    if !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(stages as u64);
    if let Ok(style) = ProgressStyle::with_template("{bar:20} {pos}/{len} {msg}") {
        bar.set_style(style);
    }
    bar
}

/// Shows the table and says what it amounts to.
fn conclude(done: &[(Stage, Outcome)], elapsed: Duration, signal: Option<u8>) -> Result<Exit, Failure> {
    let messages: u64 = done.iter().map(|(_, outcome)| outcome.messages).sum();
    let bytes: u64 = done
        .iter()
        .filter(|(stage, _)| stage.moves_bytes())
        .map(|(_, outcome)| outcome.bytes)
        .sum();
    let moved = format!(
        "{} messages, {} through ipc, tcp and udp, in {:.1} s",
        quantity::grouped(messages),
        quantity::bytes(bytes as f64),
        elapsed.as_secs_f64()
    );
    let faults: Vec<_> = done
        .iter()
        .filter_map(|(stage, outcome)| Some((stage, outcome.fault.as_ref()?)))
        .collect();
    let mut text = format!("{}\n", table::table(done));
    if faults.is_empty() {
        text += &format!("{moved}: nothing was lost, damaged or out of order.\n");
    }
    // A reader that has gone away has seen what it wanted.
    let _ = io::stdout().lock().write_all(text.as_bytes());
    for (stage, fault) in &faults {
        eprintln!("flexbond: {stage}: {fault}");
    }
    match signal {
        _ if !faults.is_empty() => Err(Failure::new(format!(
            "{moved}: {} of {} stages failed",
            faults.len(),
            done.len()
        ))),
        Some(number) => {
            eprintln!(
                "flexbond: interrupted after {} of {} stages",
                done.len(),
                Stage::all().len()
            );
            Ok(Exit::Signal(number))
        }
        None => Ok(Exit::Done),
    }
}
