//! What passes through a split, a few lines at a time, and its summary.

use std::collections::{HashMap, HashSet};
use std::fmt::Write as _;
use std::time::Instant;

use serde_json::{Value, json};

use crate::cli::printable::printable;
use crate::cli::report::summary_of;
use crate::cli::{quantity, summary};
use crate::stream::split::{OutletStats, OutputMode, OutputStats, Split};
use crate::stream::{Rates, Totals};

/// What had passed when it was told last.
pub(super) struct Tally {
    begin: Instant,
    last: Instant,
    source: Totals,
    /// By address.
    outputs: HashMap<String, OutletStats>,
    /// Those of which it was told that they stand still.
    stalled: HashSet<String>,
}

/// An output, and how fast it was since it was told last.
struct Row {
    stats: OutputStats,
    rates: Rates,
}

impl Tally {
    pub(super) fn new() -> Self {
        let now = Instant::now();
        Tally {
            begin: now,
            last: now,
            source: Totals::default(),
            outputs: HashMap::new(),
            stalled: HashSet::new(),
        }
    }

    /// Outputs that have stood still for the first time.
    pub(super) fn newly_stalled(&mut self, split: &Split) -> Vec<OutputStats> {
        let stalled = split.stats().filter(|stats| stats.outlet.stalls > 0);
        stalled
            .filter(|stats| self.stalled.insert(stats.address.clone()))
            .collect()
    }

    /// What passed since the last time: a line for the source, and one for each output.
    pub(super) fn text(&mut self, split: &Split) -> String {
        let (rates, rows) = self.advance(split);
        let width = rows.iter().map(|row| row.stats.address.chars().count()).max();
        let width = width.unwrap_or_default();
        let source = match split.source_socket().peers {
            0 => "    no source",
            _ => "",
        };
        let mut text = format!(
            "Data rate: {:>10.3} MB/s    Message rate: {:>10.3} Hz{source}\n",
            rates.bytes_per_second / 1e6,
            rates.messages_per_second
        );
        for Row { stats, rates } in &rows {
            // Writing to a string does not fail.
            let _ = writeln!(
                text,
                "  {:<width$} {:>10.3} MB/s {:>10.3} Hz   {} dropped, {} waiting{}",
                printable(&stats.address),
                rates.bytes_per_second / 1e6,
                rates.messages_per_second,
                quantity::grouped(dropped(stats)),
                waiting(stats),
                state(stats),
            );
        }
        text
    }

    /// The same as one object.
    pub(super) fn json(&mut self, split: &Split) -> Value {
        let (rates, rows) = self.advance(split);
        let totals = self.source;
        let outputs: Vec<_> = rows
            .iter()
            .map(|Row { stats, rates }| {
                let mut object = output_json(stats);
                object["data_rate_mb_per_s"] = (rates.bytes_per_second / 1e6).into();
                object["message_rate_hz"] = rates.messages_per_second.into();
                object
            })
            .collect();
        json!({
            "elapsed_s": self.last.duration_since(self.begin).as_secs_f64(),
            "data_rate_mb_per_s": rates.bytes_per_second / 1e6,
            "message_rate_hz": rates.messages_per_second,
            "messages": totals.messages,
            "bytes": totals.bytes,
            "lost_frames": totals.lost_frames,
            "senders": split.source_socket().peers,
            "outputs": outputs,
        })
    }

    fn advance(&mut self, split: &Split) -> (Rates, Vec<Row>) {
        let now = Instant::now();
        let seconds = now.duration_since(self.last).as_secs_f64().max(1e-9);
        self.last = now;
        let totals = split.statistics().totals();
        let rates = rates(
            totals.messages - self.source.messages,
            totals.bytes - self.source.bytes,
            seconds,
        );
        self.source = totals;
        let mut outputs = HashMap::new();
        let mut rows = Vec::new();
        for stats in split.stats() {
            let before = self.outputs.get(&stats.address).copied().unwrap_or_default();
            outputs.insert(stats.address.clone(), stats.outlet);
            rows.push(Row {
                rates: self::rates(
                    stats.outlet.messages.saturating_sub(before.messages),
                    stats.outlet.bytes.saturating_sub(before.bytes),
                    seconds,
                ),
                stats,
            });
        }
        self.outputs = outputs;
        (rates, rows)
    }
}

/// What passed in total, once all outputs are closed.
pub(super) fn summary(split: &Split) -> String {
    let statistics = split.statistics();
    let totals = statistics.totals();
    let mut text = summary::begin(statistics, &totals, "Received:");
    let _ = writeln!(
        text,
        "{:<22}{:>14} frames",
        "Frames missing:",
        quantity::grouped(totals.lost_frames)
    );
    if totals.unknown > 0 {
        let unknown = quantity::grouped(totals.unknown);
        let _ = writeln!(text, "{:<22}{unknown:>14} messages", "Without header:");
    }
    for stats in split.stats() {
        let _ = writeln!(text, "{}", printable(&stats.address));
        let (messages, bytes) = sent(&stats);
        let messages = quantity::grouped(messages);
        let megabytes = bytes as f64 / 1e6;
        let _ = writeln!(
            text,
            "{:<22}{messages:>14} messages, {megabytes:.3} MB",
            "  Sent:"
        );
        if stats.undelivered > 0 {
            let why = match is_untaken(&stats) {
                true => "; no receiver came",
                false => "",
            };
            let left = quantity::grouped(stats.undelivered);
            let _ = writeln!(text, "{:<22}{left:>14} messages{why}", "  Not delivered:");
        }
        let dropped = quantity::grouped(dropped(&stats));
        let _ = write!(text, "{:<22}{dropped:>14} messages", "  Dropped:");
        let _ = match stats.outlet.stalls {
            0 => writeln!(text),
            1 => writeln!(text, ", stalled once"),
            stalls => writeln!(text, ", stalled {stalls} times"),
        };
    }
    let _ = writeln!(text, "{}", summary::RULE);
    text
}

/// The same as one object.
pub(super) fn summary_json(split: &Split) -> Value {
    let outputs = split.stats().map(|stats| {
        let mut output = output_json(&stats);
        output["undelivered"] = stats.undelivered.into();
        output
    });
    let outputs: Vec<_> = outputs.collect();
    // Named as in the lines, and as the other programs name them.
    let mut fields = summary_of(&split.statistics().snapshot(Instant::now()));
    fields["outputs"] = outputs.into();
    json!({ "summary": fields })
}

fn rates(messages: u64, bytes: u64, seconds: f64) -> Rates {
    let mut rates = Rates::default();
    rates.messages_per_second = messages as f64 / seconds;
    rates.bytes_per_second = bytes as f64 / seconds;
    rates
}

fn output_json(stats: &OutputStats) -> Value {
    let OutputStats { outlet, socket, .. } = stats;
    let (messages, bytes) = sent(stats);
    json!({
        "address": stats.address,
        "endpoint": stats.endpoint.to_string(),
        "mode": mode(stats.mode),
        "messages": messages,
        "bytes": bytes,
        "dropped": dropped(stats),
        "waiting": waiting(stats),
        "stalled": outlet.stalled,
        "stalls": outlet.stalls,
        "receivers": socket.peers,
        "reconnects": socket.reconnects,
    })
}

pub(super) fn mode(mode: OutputMode) -> &'static str {
    match mode {
        OutputMode::Push => "push",
        OutputMode::Pub => "pub",
    }
}

/// Whether its socket has taken messages and no receiver ever came for them. A PUB keeps none for who may come.
fn is_untaken(stats: &OutputStats) -> bool {
    stats.mode == OutputMode::Push && stats.socket.handshakes == 0
}

/// Messages that were handed to receivers' connections, and their bytes.
fn sent(stats: &OutputStats) -> (u64, u64) {
    match is_untaken(stats) {
        true => (0, 0),
        false => (stats.outlet.messages, stats.outlet.bytes),
    }
}

/// Messages that wait, here and for a receiver that has not come.
pub(super) fn waiting(stats: &OutputStats) -> u64 {
    let queued = stats.outlet.queued as u64;
    match is_untaken(stats) {
        true => queued.saturating_add(stats.outlet.messages),
        false => queued,
    }
}

/// Here, and in the socket: for slow subscribers, and with receivers that went away.
fn dropped(stats: &OutputStats) -> u64 {
    stats.outlet.dropped.saturating_add(stats.socket.dropped)
}

fn state(stats: &OutputStats) -> &'static str {
    match (stats.socket.peers, stats.outlet.stalled) {
        (0, true) => ", stalled: no receiver",
        (0, false) => ", no receiver",
        (_, true) => ", stalled",
        (_, false) => "",
    }
}
