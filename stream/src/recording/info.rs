//! What a recording holds, at a glance.

use std::fs::File;
use std::path::Path;

use serde_json::{Value, json};

use super::storage::ReadAt;
use super::survey::{Damage, Survey};
use super::{Compression, OpenError, Timestamp};

/// What a recording holds.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Info {
    /// Whole messages.
    pub messages: u64,
    /// Payload bytes of all of them.
    pub bytes: u64,
    /// Bytes of the file.
    pub file_size: u64,
    /// The number of the first message; `None` when there is none.
    pub first_number: Option<u64>,
    /// The number of the last message.
    pub last_number: Option<u64>,
    /// When the first message arrived.
    pub first_time: Option<Timestamp>,
    /// When the last message arrived.
    pub last_time: Option<Timestamp>,
    /// Whether it was closed; otherwise whoever wrote it is still writing, or died.
    pub closed_cleanly: bool,
    /// Bytes at the end that belong to no whole message.
    pub bytes_lost: u64,
    /// What messages are compressed with where it pays; `None` when the front of the file is damaged.
    pub compression: Option<Compression>,
    /// Numbers without a message: the recorder could not keep up and was allowed to drop, or the message is damaged.
    pub gaps: u64,
    /// Places that are damaged, as far as they were read; [`Info::verify`] reads all.
    pub damaged: u64,
    /// The first [`DAMAGES`](Self::DAMAGES) of them, in order.
    pub damages: Vec<Damage>,
    /// Of a rotated recording, which file this is, from zero.
    pub file_number: u32,
}

impl Info {
    /// How many damaged places are named.
    pub const DAMAGES: usize = 16;

    /// Reads what there is to know about the file at `path`: fast, whatever its length.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn read(path: impl AsRef<Path>) -> Result<Self, OpenError> {
        Ok(Self::of(&Survey::of(&File::open(path)?)?))
    }

    /// As [`read`](Self::read), from every byte, with all checksums: as long as reading the file takes.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn verify(path: impl AsRef<Path>) -> Result<Self, OpenError> {
        Self::verify_source(&File::open(path)?)
    }

    /// As [`verify`](Self::verify), of a recording that is open or in memory.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn verify_source(source: &impl ReadAt) -> Result<Self, OpenError> {
        Ok(Self::of(&Survey::thorough(source)?))
    }

    pub(super) fn of(survey: &Survey) -> Self {
        let totals = survey.totals;
        let some = totals.messages > 0;
        let preamble = survey.preamble.as_ref();
        Info {
            messages: totals.messages,
            bytes: totals.bytes,
            file_size: survey.len,
            first_number: some.then_some(totals.first_number),
            last_number: some.then_some(totals.last_number),
            first_time: some.then_some(totals.first_time),
            last_time: some.then_some(totals.last_time),
            closed_cleanly: survey.closed,
            bytes_lost: survey.len.saturating_sub(survey.end),
            compression: preamble.map(|preamble| preamble.compression),
            gaps: survey.gaps(),
            damaged: survey.damages.count,
            damages: survey.damages.first.clone(),
            file_number: preamble.map_or(0, |preamble| preamble.file_number),
        }
    }

    /// For programs. Times are nanoseconds since the Unix epoch, `null` where there is no message.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let place = |place: &Damage| json!({ "offset": place.offset, "number": place.number });
        let damages: Vec<Value> = self.damages.iter().map(place).collect();
        json!({
            "messages": self.messages,
            "bytes": self.bytes,
            "file_size": self.file_size,
            "first_number": self.first_number,
            "last_number": self.last_number,
            "first_time_ns": self.first_time.map(Timestamp::as_nanos),
            "last_time_ns": self.last_time.map(Timestamp::as_nanos),
            "closed_cleanly": self.closed_cleanly,
            "bytes_lost": self.bytes_lost,
            "compression": self.compression.map(Compression::name),
            "gaps": self.gaps,
            "damaged": self.damaged,
            "damages": damages,
            "file_number": self.file_number,
        })
    }
}
