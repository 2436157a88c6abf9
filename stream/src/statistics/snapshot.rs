//! The statistics of a stream at one moment, for people and for programs.

use std::fmt;
use std::time::Duration;

use serde_json::{Map, Value, json};

use super::sources::Source;
use super::{Rates, Totals, Warning};
use crate::Numbering;

/// The statistics of a stream at one moment.
///
/// Its `Display` is a few lines for people, [`to_json`](Self::to_json) an object for programs.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Snapshot {
    /// From the first message to the last.
    pub elapsed: Duration,
    /// The counters.
    pub totals: Totals,
    /// How fast it was just now.
    pub rates: Rates,
    /// Good messages by type, in the order in which the types were seen; 32 at most.
    pub htypes: Vec<HtypeCount>,
    /// Good messages of all further types.
    pub other_htypes: u64,
    /// Numbered messages by source, in the order in which the sources were seen; 64 at most.
    pub sources: Vec<SourceCount>,
    /// What the user should know.
    pub warnings: Vec<Warning>,
}

/// The messages of one type.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct HtypeCount {
    /// The type.
    pub htype: String,
    /// Good messages.
    pub messages: u64,
    /// Their bytes, all parts together.
    pub bytes: u64,
}

/// The numbered messages of one source.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SourceCount {
    /// The source by its own name; empty where it gives none.
    pub source: String,
    /// What numbers its messages.
    pub numbering: Numbering,
    /// The series that began last, where there are series.
    pub series: Option<u64>,
    /// The number that came last.
    pub last: Option<u64>,
    /// By how much its numbers grow, once that is known.
    pub stride: Option<u64>,
    /// Messages with a number.
    pub received: u64,
    /// Numbers that are missing.
    pub lost: u64,
    /// Numbers that came late.
    pub reordered: u64,
    /// Numbers that came more than once.
    pub duplicates: u64,
    /// New beginnings within a series.
    pub restarts: u64,
}

impl HtypeCount {
    pub(super) fn new(htype: &str) -> Self {
        HtypeCount {
            htype: htype.to_owned(),
            messages: 0,
            bytes: 0,
        }
    }
}

impl SourceCount {
    pub(super) fn of(source: &Source) -> Self {
        SourceCount {
            source: source.name.clone(),
            numbering: source.numbering,
            series: source.current_series(),
            last: source.last,
            stride: source.stride(),
            received: source.tally.received,
            lost: source.tally.lost,
            reordered: source.tally.reordered,
            duplicates: source.tally.duplicates,
            restarts: source.tally.restarts,
        }
    }

    fn to_json(&self) -> Value {
        json!({
            "source": self.source,
            "numbering": self.numbering.field(),
            "series": self.series,
            "last": self.last,
            "stride": self.stride,
            "received": self.received,
            "lost": self.lost,
            "reordered": self.reordered,
            "duplicates": self.duplicates,
            "restarts": self.restarts,
        })
    }
}

impl Snapshot {
    /// One object, with the names of the fields here. Seconds are numbers, types the keys of an object.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let totals = &self.totals;
        let htypes: Map<String, Value> = self
            .htypes
            .iter()
            .map(|count| {
                let value = json!({ "messages": count.messages, "bytes": count.bytes });
                (count.htype.clone(), value)
            })
            .collect();
        json!({
            "elapsed_seconds": self.elapsed.as_secs_f64(),
            "messages_per_second": self.rates.messages_per_second,
            "bytes_per_second": self.rates.bytes_per_second,
            "messages": totals.messages,
            "bytes": totals.bytes,
            "malformed": totals.malformed,
            "unknown": totals.unknown,
            "undecodable": totals.undecodable,
            "lost_frames": totals.lost_frames,
            "reordered": totals.reordered,
            "duplicates": totals.duplicates,
            "restarts": totals.restarts,
            "series": totals.series,
            "untracked": totals.untracked,
            "htypes": htypes,
            "other_htypes": self.other_htypes,
            "sources": self.sources.iter().map(SourceCount::to_json).collect::<Vec<_>>(),
            "warnings": self.warnings.iter().map(Warning::to_string).collect::<Vec<_>>(),
        })
    }
}

/// As the original prints it: 10^6 bytes are a megabyte.
impl fmt::Display for Rates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let megabytes = self.bytes_per_second / 1e6;
        write!(
            f,
            "Data rate: {megabytes:.3} MB/s    Message rate: {:.3} Hz",
            self.messages_per_second
        )
    }
}

impl fmt::Display for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let totals = &self.totals;
        let seconds = self.elapsed.as_secs_f64();
        writeln!(f, "{}", self.rates)?;
        write!(
            f,
            "{} messages, {} bytes in {seconds:.3} s",
            totals.messages, totals.bytes
        )?;
        for (count, what) in [
            (totals.lost_frames, "lost"),
            (totals.reordered, "reordered"),
            (totals.duplicates, "duplicates"),
            (totals.restarts, "restarts"),
            (totals.malformed, "malformed"),
            (totals.unknown, "of unknown type"),
            (totals.undecodable, "of unknown encoding"),
        ] {
            if count > 0 {
                write!(f, ", {count} {what}")?;
            }
        }
        for count in &self.htypes {
            // Types and sources come from the network: control characters are not for the terminal.
            let htype = count.htype.escape_debug();
            write!(
                f,
                "\n  {htype}: {} messages, {} bytes",
                count.messages, count.bytes
            )?;
        }
        if self.other_htypes > 0 {
            write!(f, "\n  other types: {} messages", self.other_htypes)?;
        }
        for warning in &self.warnings {
            write!(f, "\nwarning: {warning}")?;
        }
        Ok(())
    }
}
