//! What is merged, a few lines at a time, and its summary.

use std::fmt::Write as _;
use std::time::Instant;

use serde_json::{Value, json};

use super::Work;
use crate::cli::{quantity, summary};
use crate::stream::merge::AlignCount;
use crate::stream::{Mode, Stream, Totals};

/// What had come and gone when it was told last.
pub(super) struct Tally {
    begin: Instant,
    last: Instant,
    sources: Vec<Totals>,
    output: Totals,
}

/// Messages and megabytes (10^6 bytes) per second.
#[derive(Clone, Copy, Debug)]
struct Speed {
    messages: f64,
    megabytes: f64,
}

impl Speed {
    fn of(now: &Totals, before: &Totals, seconds: f64) -> Self {
        Speed {
            messages: now.messages.saturating_sub(before.messages) as f64 / seconds,
            megabytes: now.bytes.saturating_sub(before.bytes) as f64 / seconds / 1e6,
        }
    }
}

impl Tally {
    pub(super) fn new(sources: usize) -> Self {
        let now = Instant::now();
        Tally {
            begin: now,
            last: now,
            sources: vec![Totals::default(); sources],
            output: Totals::default(),
        }
    }

    /// What was merged since the last time: a line for all, and one for each source.
    pub(super) fn text(&mut self, work: &Work) -> String {
        let (output, sources) = self.advance(work);
        let streams = work.merging.streams();
        let addresses: Vec<_> = streams
            .iter()
            .map(|stream| stream.endpoint().to_string())
            .collect();
        let width = addresses.iter().map(|address| address.chars().count()).max();
        let width = width.unwrap_or_default();
        let mut text = format!(
            "Data rate: {:>10.3} MB/s    Message rate: {:>10.3} Hz{}\n",
            output.megabytes,
            output.messages,
            match work.output.socket_stats().peers {
                0 => "    no receiver",
                _ => "",
            }
        );
        let mut counts = work.merging.counts();
        for ((address, speed), stream) in addresses.iter().zip(&sources).zip(streams) {
            // Writing to a string does not fail, here and below.
            let _ = write!(
                text,
                "  {address:<width$} {:>10.3} MB/s {:>10.3} Hz",
                speed.megabytes, speed.messages
            );
            if let Some(count) = counts.next() {
                let _ = write!(text, "   {}", told(&count));
            }
            let _ = match stream.socket_stats().peers {
                0 => writeln!(text, "   no source"),
                _ => writeln!(text),
            };
        }
        text
    }

    /// The same as one object.
    pub(super) fn json(&mut self, work: &Work) -> Value {
        let (output, speeds) = self.advance(work);
        let mut sources = sources_json(work);
        for (source, speed) in sources.iter_mut().zip(&speeds) {
            source["data_rate_mb_per_s"] = speed.megabytes.into();
            source["message_rate_hz"] = speed.messages.into();
        }
        json!({
            "elapsed_s": self.last.duration_since(self.begin).as_secs_f64(),
            "data_rate_mb_per_s": output.megabytes,
            "message_rate_hz": output.messages,
            "messages": self.output.messages,
            "bytes": self.output.bytes,
            "sources": sources,
        })
    }

    fn advance(&mut self, work: &Work) -> (Speed, Vec<Speed>) {
        let now = Instant::now();
        let seconds = now.duration_since(self.last).as_secs_f64().max(1e-9);
        self.last = now;
        let totals = work.output.statistics().totals();
        let output = Speed::of(&totals, &self.output, seconds);
        self.output = totals;
        let mut sources = Vec::with_capacity(self.sources.len());
        for (stream, before) in work.merging.streams().iter().zip(&mut self.sources) {
            let totals = stream.statistics().totals();
            sources.push(Speed::of(&totals, before, seconds));
            *before = totals;
        }
        (output, sources)
    }
}

/// What is merged where.
pub(super) fn begun(sources: &[Stream], output: &Stream) -> Value {
    let sources: Vec<_> = sources
        .iter()
        .map(|stream| stream.endpoint().to_string())
        .collect();
    json!({ "event": "begun", "sources": sources, "output": output.endpoint().to_string() })
}

/// What was merged in total.
pub(super) fn summary(work: &Work) -> String {
    let statistics = work.output.statistics();
    let mut text = summary::begin(statistics, &sent(work), "Messages sent:");
    for (label, count) in [
        ("Dropped incomplete:", work.dropped.incomplete),
        ("Dropped late:", work.dropped.late),
        ("Not delivered:", work.undelivered()),
    ] {
        if count > 0 {
            let _ = writeln!(text, "{label:<22}{:>14} messages", quantity::grouped(count));
        }
    }
    let mut counts = work.merging.counts();
    for stream in work.merging.streams() {
        let totals = stream.statistics().totals();
        let _ = writeln!(text, "{}", stream.endpoint());
        let mut rows = vec![
            ("  Received:", totals.messages, "messages"),
            ("  Frames missing:", totals.lost_frames, "frames"),
        ];
        if let Some(count) = counts.next() {
            rows.push(("  Numbers without it:", count.missing, "numbers"));
            rows.push(("  Late:", count.late, "messages"));
            if count.duplicates > 0 {
                rows.push(("  Twice:", count.duplicates, "messages"));
            }
            if count.pending > 0 {
                rows.push(("  Still waiting:", count.pending as u64, "messages"));
            }
        }
        if totals.malformed > 0 {
            rows.push(("  Malformed:", totals.malformed, "messages"));
        }
        for (label, value, unit) in rows {
            let _ = writeln!(text, "{label:<22}{:>14} {unit}", quantity::grouped(value));
        }
    }
    let _ = writeln!(text, "{}", summary::RULE);
    text
}

/// The same as one object.
pub(super) fn summary_json(work: &Work) -> Value {
    let statistics = work.output.statistics();
    let totals = sent(work);
    json!({
        "summary": {
            "elapsed_s": statistics.elapsed().as_secs_f64(),
            "messages": totals.messages,
            "bytes": totals.bytes,
            "dropped_incomplete": work.dropped.incomplete,
            "dropped_late": work.dropped.late,
            "undelivered": work.undelivered(),
            "sources": sources_json(work),
        }
    })
}

/// What was merged and sent, without what is left in the socket.
fn sent(work: &Work) -> Totals {
    let mut totals = work.output.statistics().totals();
    // Of a PUB's messages, somebody else may have got what one receiver did not.
    if work.output.mode() == Mode::Push {
        let sent = totals.messages.saturating_sub(work.in_socket);
        // It says their number only.
        let share = sent as f64 / totals.messages.max(1) as f64;
        totals.bytes = (totals.bytes as f64 * share).round() as u64;
        totals.messages = sent;
    }
    totals
}

fn sources_json(work: &Work) -> Vec<Value> {
    let mut counts = work.merging.counts();
    let streams = work.merging.streams().iter();
    streams
        .map(|stream| {
            let totals = stream.statistics().totals();
            let mut source = json!({
                "address": stream.endpoint().to_string(),
                "messages": totals.messages,
                "bytes": totals.bytes,
                "lost_frames": totals.lost_frames,
                "malformed": totals.malformed,
                "senders": stream.socket_stats().peers,
            });
            if let Some(count) = counts.next() {
                source["aligned"] = count.aligned.into();
                source["missing"] = count.missing.into();
                source["late"] = count.late.into();
                source["duplicates"] = count.duplicates.into();
                source["waiting"] = count.pending.into();
            }
            source
        })
        .collect()
}

fn told(count: &AlignCount) -> String {
    format!(
        "{} missing, {} late, {} waiting",
        count.missing, count.late, count.pending
    )
}
