//! The rates of a stream, a line at a time, and its summary: mflow's layout, or JSON.

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::time::Instant;

use serde_json::json;

use super::Failure;
use crate::stream::{Statistics, Totals};

/// Prints what a stream does.
pub(crate) struct Report {
    json: bool,
    /// `received` or `sent`.
    verb: &'static str,
    begin: Instant,
    last: (Instant, Totals),
}

/// Standard output is gone or broken.
pub(crate) enum Silent {
    /// Nobody reads it any more: a clean end.
    ReaderGone,
    Failure(Failure),
}

impl Report {
    pub(crate) fn new(json: bool, verb: &'static str) -> Self {
        let now = Instant::now();
        Report {
            json,
            verb,
            begin: now,
            last: (now, Totals::default()),
        }
    }

    /// A line that only people read.
    pub(crate) fn note(&self, text: &str) -> Result<(), Silent> {
        if self.json {
            Ok(())
        } else {
            print(&format!("{text}\n"))
        }
    }

    /// The rates since the last line.
    pub(crate) fn rates(&mut self, totals: Totals) -> Result<(), Silent> {
        let now = Instant::now();
        let seconds = now.duration_since(self.last.0).as_secs_f64().max(1e-9);
        let messages = (totals.messages - self.last.1.messages) as f64 / seconds;
        let megabytes = (totals.bytes - self.last.1.bytes) as f64 / seconds / 1e6;
        self.last = (now, totals);
        if self.json {
            let elapsed = now.duration_since(self.begin).as_secs_f64();
            return print(&format!(
                "{}\n",
                json!({
                    "elapsed_s": elapsed,
                    "data_rate_mb_per_s": megabytes,
                    "message_rate_hz": messages,
                    "messages": totals.messages,
                    "bytes": totals.bytes,
                })
            ));
        }
        print(&format!(
            "Data rate: {megabytes:>10.3} MB/s    Message rate: {messages:>10.3} Hz\n"
        ))
    }

    /// What came or went in total.
    pub(crate) fn summary(&self, statistics: &Statistics) -> Result<(), Silent> {
        let totals = statistics.totals();
        let seconds = statistics.elapsed().as_secs_f64();
        let per_second = |amount: f64| if seconds > 0.0 { amount / seconds } else { 0.0 };
        let megabytes = totals.bytes as f64 / 1e6;
        if self.json {
            return print(&format!(
                "{}\n",
                json!({
                    "summary": {
                        "elapsed_s": seconds,
                        "messages": totals.messages,
                        "bytes": totals.bytes,
                        "data_rate_mb_per_s": per_second(megabytes),
                        "message_rate_hz": per_second(totals.messages as f64),
                        "lost_frames": totals.lost_frames,
                        "restarts": totals.restarts,
                        "malformed": totals.malformed,
                        "unknown_htype": totals.unknown,
                    }
                })
            ));
        }
        let rule = "_".repeat(60);
        let mut text = format!("{rule}\n");
        if totals.messages == 0 {
            let _ = writeln!(text, "No messages {}.", self.verb);
        } else {
            let average = megabytes / totals.messages as f64;
            let rows = [
                ("Total elapsed time".to_owned(), format!("{seconds:.3}"), "s"),
                ("Average message size".to_owned(), format!("{average:.3}"), "MB"),
                (
                    format!("Total bytes {}", self.verb),
                    format!("{megabytes:.3}"),
                    "MB",
                ),
                (
                    "Average data rate".to_owned(),
                    format!("{:.3}", per_second(megabytes)),
                    "MB/s",
                ),
                (
                    format!("Messages {}", self.verb),
                    totals.messages.to_string(),
                    "messages",
                ),
                (
                    "Average message rate".to_owned(),
                    format!("{:.3}", per_second(totals.messages as f64)),
                    "Hz",
                ),
            ];
            for (label, value, unit) in rows {
                let _ = writeln!(text, "{:<22}{value:>10} {unit}", label + ":");
            }
        }
        let frames = [
            ("Frames missing", totals.lost_frames, "frames"),
            ("Frame restarts", totals.restarts, ""),
        ];
        let trouble = [
            ("Malformed", totals.malformed, "messages"),
            ("Unknown htype", totals.unknown, "messages"),
        ];
        // Frames missing are worth a line even when there are none; the rest only when it happened.
        for (index, (label, value, unit)) in frames.into_iter().chain(trouble).enumerate() {
            if value > 0 || (index == 0 && self.verb == "received" && totals.messages > 0) {
                let _ = writeln!(
                    text,
                    "{}",
                    format!("{:<22}{value:>10} {unit}", format!("{label}:")).trim_end()
                );
            }
        }
        let _ = writeln!(text, "{rule}");
        print(&text)
    }
}

fn print(text: &str) -> Result<(), Silent> {
    let mut stdout = io::stdout().lock();
    stdout
        .write_all(text.as_bytes())
        .and_then(|()| stdout.flush())
        .map_err(|error| match error.kind() {
            io::ErrorKind::BrokenPipe => Silent::ReaderGone,
            _ => Silent::Failure(Failure::new(format!("cannot write to standard output: {error}"))),
        })
}
