//! How far a recording or a replay is, for who looks at a terminal, and what came of it.

use std::cell::Cell;
use std::future::Future;
use std::io::{self, IsTerminal, Write};
use std::pin::pin;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use tokio::time::MissedTickBehavior;

use super::quantity;

/// How often the line is written anew.
const INTERVAL: Duration = Duration::from_millis(250);

/// What went through so far; the work counts, and the line shows it.
#[derive(Default)]
pub(crate) struct Tally {
    messages: Cell<u64>,
    bytes: Cell<u64>,
    shorts: Cell<u64>,
    more: Cell<Option<String>>,
}

impl Tally {
    pub(crate) fn add(&self, bytes: usize) {
        self.messages.set(self.messages.get() + 1);
        self.bytes.set(self.bytes.get() + bytes as u64);
    }

    pub(crate) fn messages(&self) -> u64 {
        self.messages.get()
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.get()
    }

    /// One lacks parts; how many that makes.
    pub(crate) fn add_short(&self) -> u64 {
        self.shorts.set(self.shorts.get() + 1);
        self.shorts()
    }

    pub(crate) fn shorts(&self) -> u64 {
        self.shorts.get()
    }

    /// What else there is to say.
    pub(crate) fn say(&self, more: Option<String>) {
        self.more.set(more);
    }
}

/// A line on standard error; nothing where that is no terminal.
pub(crate) struct Gauge {
    bar: ProgressBar,
    begin: Instant,
}

impl Gauge {
    /// `visible` is whether nothing else is written to the terminal.
    pub(crate) fn new(visible: bool) -> Self {
        let bar = match visible && io::stderr().is_terminal() {
            true => ProgressBar::new_spinner(),
            false => ProgressBar::hidden(),
        };
        if let Ok(style) = ProgressStyle::with_template("{spinner} {wide_msg}") {
            bar.set_style(style);
        }
        Gauge {
            bar,
            begin: Instant::now(),
        }
    }

    /// Does the work, and shows how far it is.
    pub(crate) async fn watch<T>(&self, tally: &Tally, work: impl Future<Output = T>) -> T {
        let mut work = pin!(work);
        let mut ticks = tokio::time::interval(INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut last = (Instant::now(), 0, 0);
        loop {
            tokio::select! {
                biased;
                _ = ticks.tick(), if !self.bar.is_hidden() => last = self.show(tally, last),
                result = &mut work => {
                    self.bar.finish_and_clear();
                    return result;
                }
            }
        }
    }

    fn show(&self, tally: &Tally, last: (Instant, u64, u64)) -> (Instant, u64, u64) {
        let now = (Instant::now(), tally.messages(), tally.bytes());
        let seconds = now.0.duration_since(last.0).as_secs_f64().max(1e-3);
        let more = tally.more.take();
        self.bar.set_message(format!(
            "{}, {}; {}/s, {}{}{}",
            quantity::messages(now.1),
            quantity::bytes(now.2 as f64),
            quantity::bytes((now.2 - last.2) as f64 / seconds),
            quantity::rate((now.1 - last.1) as f64 / seconds),
            if more.is_some() { "; " } else { "" },
            more.as_deref().unwrap_or_default(),
        ));
        tally.more.set(more);
        self.bar.tick();
        now
    }

    /// Since it began, in seconds.
    pub(crate) fn seconds(&self) -> f64 {
        self.begin.elapsed().as_secs_f64()
    }
}

/// A line on standard output. That nobody reads it stops no recording and no replay.
pub(crate) fn say(line: &str) {
    let mut stdout = io::stdout().lock();
    let _ = writeln!(stdout, "{line}").and_then(|()| stdout.flush());
}

/// `1,000 messages, 2.10 GB in 12.3 s: 171 MB/s, 81.3 Hz`.
pub(crate) fn amount(messages: u64, bytes: u64, seconds: f64) -> String {
    let each = |amount: f64| amount / seconds.max(1e-9);
    format!(
        "{}, {} in {seconds:.3} s: {}/s, {}",
        quantity::messages(messages),
        quantity::bytes(bytes as f64),
        quantity::bytes(each(bytes as f64)),
        quantity::rate(each(messages as f64)),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn work_goes_on_whether_anybody_looks_or_not() {
        let tally = Tally::default();
        let gauge = Gauge::new(false);
        let work = async {
            tally.add(7);
            tokio::task::yield_now().await;
            tally.add(5);
            "done"
        };
        assert_eq!(gauge.watch(&tally, work).await, "done");
        assert_eq!((tally.messages(), tally.bytes()), (2, 12));
    }

    #[test]
    fn amounts_are_read_at_a_glance() {
        assert_eq!(
            amount(1000, 2_000_000, 2.0),
            "1,000 messages, 2.00 MB in 2.000 s: 1.00 MB/s, 500 Hz"
        );
    }
}
