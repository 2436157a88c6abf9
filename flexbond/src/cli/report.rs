//! The rates of a stream, a line at a time, and its summary: mflow's layout, or JSON.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};

use super::Failure;
use super::console::{Console, Reader};
use super::output::Stop;
use super::printable::printable;
use super::summary::RULE;
use crate::stream::{Snapshot, Statistics, Totals};

/// Prints what a stream does. A reader who stalls misses lines, and holds up nothing.
pub(crate) struct Report {
    console: Console,
    json: bool,
    /// `received` or `sent`.
    verb: &'static str,
    begin: Instant,
    last: (Instant, Totals),
    details: Details,
}

/// What the statistics do not say.
#[derive(Default)]
pub(crate) struct Details {
    /// For programs.
    pub(crate) fields: Map<String, Value>,
    /// For people: label, number and unit; only where the number is not zero.
    pub(crate) lines: Vec<(&'static str, u64, &'static str)>,
}

impl Report {
    /// Reports of what is `received` or `sent`: now and then, or one for every message.
    pub(crate) fn start(json: bool, verb: &'static str, for_every_message: bool) -> Result<Self, Failure> {
        let console = match for_every_message {
            true => Console::stdout_of_lines(Reader::of(json)),
            false => Console::stdout(Reader::of(json)),
        };
        let now = Instant::now();
        Ok(Report {
            console: console?,
            json,
            verb,
            begin: now,
            last: (now, Totals::default()),
            details: Details::default(),
        })
    }

    /// A line that only people read.
    pub(crate) fn note(&mut self, text: &str) -> Result<(), Stop> {
        if self.json {
            Ok(())
        } else {
            self.console.print(format!("{text}\n"))
        }
    }

    /// Waits until nothing can be printed any more, and says why. Cancel safe.
    pub(crate) async fn broken(&mut self) -> Stop {
        self.console.broken().await
    }

    /// The rates since the last line.
    pub(crate) fn rates(&mut self, totals: Totals) -> Result<(), Stop> {
        self.line(totals, Map::new())
    }

    /// The rates since the last line; for programs also all that is known, and `more`.
    pub(crate) fn rates_with(
        &mut self,
        statistics: &Statistics,
        more: impl FnOnce() -> Map<String, Value>,
    ) -> Result<(), Stop> {
        if !self.json {
            return self.rates(statistics.totals());
        }
        let mut fields = fields_of(&statistics.snapshot(Instant::now()));
        fields.extend(more());
        self.line(statistics.totals(), fields)
    }

    fn line(&mut self, totals: Totals, more: Map<String, Value>) -> Result<(), Stop> {
        let now = Instant::now();
        let seconds = now.duration_since(self.last.0).as_secs_f64().max(1e-9);
        let messages = (totals.messages - self.last.1.messages) as f64 / seconds;
        let megabytes = (totals.bytes - self.last.1.bytes) as f64 / seconds / 1e6;
        self.last = (now, totals);
        if self.json {
            let elapsed = now.duration_since(self.begin).as_secs_f64();
            let line = json!({
                "elapsed_s": elapsed,
                "data_rate_mb_per_s": megabytes,
                "message_rate_hz": messages,
                "messages": totals.messages,
                "bytes": totals.bytes,
            });
            return self.console.print_json(&with(line, more));
        }
        self.console.print(format!(
            "Data rate: {megabytes:>10.3} MB/s    Message rate: {messages:>10.3} Hz\n"
        ))
    }

    /// What the summary is to have besides the statistics.
    pub(crate) fn add(&mut self, details: Details) {
        self.details = details;
    }

    /// Prints what came or went in total, and waits until all is read, but not long.
    pub(crate) async fn finish(self, statistics: &Statistics) -> Result<(), Stop> {
        let summary = self.summary(statistics);
        self.console.finish(summary).await
    }

    fn is_receiver(&self) -> bool {
        self.verb == "received"
    }

    fn summary(&self, statistics: &Statistics) -> String {
        let snapshot = statistics.snapshot(Instant::now());
        let totals = snapshot.totals;
        let seconds = snapshot.elapsed.as_secs_f64();
        let per_second = |amount: f64| if seconds > 0.0 { amount / seconds } else { 0.0 };
        let megabytes = totals.bytes as f64 / 1e6;
        if self.json {
            let mut summary = with(summary_of(&snapshot), self.details.fields.clone());
            if let (false, Some(fields)) = (self.is_receiver(), summary.as_object_mut()) {
                fields.retain(|name, _| {
                    !RECEIVED.contains(&name.as_str()) || self.details.fields.contains_key(name)
                });
            }
            return format!("{}\n", json!({ "summary": summary }));
        }
        let mut text = format!("{RULE}\n");
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
            // What was put into a queue, or taken out of one, in no time says nothing of any rate.
            let rates = snapshot.elapsed >= SHORTEST;
            for (label, value, unit) in rows {
                if label.ends_with(" rate") && !rates {
                    continue;
                }
                let _ = writeln!(text, "{:<22}{value:>10} {unit}", label + ":");
            }
        }
        // Frames missing are worth a line even when there are none; the rest only when it happened.
        if self.is_receiver() && totals.messages > 0 || totals.lost_frames > 0 {
            line(&mut text, "Frames missing", totals.lost_frames, "frames");
        }
        let more = [
            ("Frames out of order", totals.reordered, "frames"),
            ("Frames repeated", totals.duplicates, "frames"),
            ("Frame restarts", totals.restarts, ""),
            ("Series", totals.series, "series"),
            ("Malformed", totals.malformed, "messages"),
            ("Unknown htype", totals.unknown, "messages"),
            ("Unknown encoding", totals.undecodable, "messages"),
        ];
        for (label, value, unit) in more.into_iter().chain(self.details.lines.iter().copied()) {
            if value > 0 {
                line(&mut text, label, value, unit);
            }
        }
        // A stream of a single type has said already what there is to say.
        if snapshot.htypes.len() > 1 {
            // Which one comes first may change from run to run.
            let mut counts: Vec<_> = snapshot.htypes.iter().collect();
            counts.sort_by(|one, other| one.htype.cmp(&other.htype));
            for count in counts {
                let label = format!("of type {}", printable(&count.htype));
                line(&mut text, &label, count.messages, "messages");
            }
        }
        if snapshot.other_htypes > 0 {
            line(&mut text, "of other types", snapshot.other_htypes, "messages");
        }
        let _ = writeln!(text, "{RULE}");
        text
    }
}

fn line(text: &mut String, label: &str, value: u64, unit: &str) {
    let line = format!("{:<22}{value:>10} {unit}", format!("{label}:"));
    // Writing to a string always succeeds.
    let _ = writeln!(text, "{}", line.trim_end());
}

/// The shortest time of which a rate is told to people.
const SHORTEST: Duration = Duration::from_millis(5);

/// Names of [`Snapshot::to_json`] that the lines have their own for.
const OURS: [&str; 5] = [
    "elapsed_seconds",
    "messages_per_second",
    "bytes_per_second",
    "messages",
    "bytes",
];

/// Names of [`Snapshot::to_json`] that are about messages which were received: a sender looks into none of its own.
const RECEIVED: [&str; 13] = [
    "malformed",
    "unknown_htype",
    "undecodable",
    "lost_frames",
    "reordered",
    "duplicates",
    "restarts",
    "series",
    "untracked",
    "htypes",
    "other_htypes",
    "sources",
    "warnings",
];

/// What came or went in total, for programs.
pub(crate) fn summary_of(snapshot: &Snapshot) -> Value {
    let totals = snapshot.totals;
    let seconds = snapshot.elapsed.as_secs_f64();
    let per_second = |amount: f64| if seconds > 0.0 { amount / seconds } else { 0.0 };
    let summary = json!({
        "elapsed_s": seconds,
        "messages": totals.messages,
        "bytes": totals.bytes,
        "data_rate_mb_per_s": per_second(totals.bytes as f64 / 1e6),
        "message_rate_hz": per_second(totals.messages as f64),
    });
    with(summary, fields_of(snapshot))
}

fn fields_of(snapshot: &Snapshot) -> Map<String, Value> {
    match snapshot.to_json() {
        Value::Object(fields) => fields
            .into_iter()
            .filter(|(name, _)| !OURS.contains(&name.as_str()))
            .map(|(name, value)| match name.as_str() {
                "unknown" => ("unknown_htype".to_owned(), value),
                _ => (name, value),
            })
            .collect(),
        _ => Map::new(),
    }
}

fn with(object: Value, more: Map<String, Value>) -> Value {
    match object {
        Value::Object(mut fields) => {
            fields.extend(more);
            Value::Object(fields)
        }
        other => other,
    }
}
