//! The tables and what stands in their rows.

use bytes::{Bytes, BytesMut};
use redb::TableDefinition;
use serde::{Deserialize, Serialize};

use crate::federation::core::{FlowKey, Tag};
use crate::federation::name::{JobId, PartyId};

/// The version of the format.
pub(super) const FORMAT: u64 = 2;
/// The version before, whose files are taken over: no message stands whole in its row there.
pub(super) const BEFORE: u64 = 1;

/// What every file has, so that others are known as such.
pub(super) const META: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");
pub(super) const JOBS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("jobs");
pub(super) const PAIRS: TableDefinition<'_, (&str, &str, &str), &[u8]> = TableDefinition::new("pairs");
pub(super) const FLOWS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("flows");
pub(super) const NEXTS: TableDefinition<'_, u64, u64> = TableDefinition::new("nexts");
pub(super) const JOB_FLOWS: TableDefinition<'_, (&str, u64), ()> = TableDefinition::new("job_flows");
pub(super) const MESSAGES: TableDefinition<'_, (u64, u64), &[u8]> = TableDefinition::new("messages");
pub(super) const PIECES: TableDefinition<'_, (u64, u64, u64), &[u8]> = TableDefinition::new("pieces");
pub(super) const CONTENTS: TableDefinition<'_, (u64, u64, u64, u32), &[u8]> =
    TableDefinition::new("contents");

/// A piece of so many bytes stands in its row. All rows are read when the server starts, so they are short.
pub(super) const INLINE: usize = 2048;
/// Bytes of a chunk: with what a page has beside it, 128 KiB.
pub(super) const CHUNK: usize = (128 << 10) - 256;

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct JobRow {
    pub(super) members: Vec<PartyId>,
    /// By whom it was aborted, and why.
    pub(super) aborted: Option<(PartyId, String)>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct PairRow {
    pub(super) ready: bool,
    pub(super) left: bool,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct FlowRow {
    pub(super) job: JobId,
    pub(super) from: PartyId,
    pub(super) to: PartyId,
    pub(super) key: FlowKey,
    pub(super) epoch: u64,
    pub(super) source: (u64, u64),
}

#[derive(Debug, Deserialize)]
pub(super) struct MessageRow {
    pub(super) tag: Option<Tag>,
    pub(super) codec: u8,
    pub(super) parts: Vec<u64>,
    pub(super) expires_unix_ms: Option<u64>,
}

/// As [`MessageRow`], to be written.
#[derive(Debug, Serialize)]
struct MessageHead<'a> {
    tag: Option<&'a Tag>,
    codec: u8,
    parts: &'a [u64],
    expires_unix_ms: Option<u64>,
}

/// A row of `messages`: the header, then the bytes of a message that has few: of its one piece, with a buffer for each
/// part.
pub(super) fn message_row(
    (tag, codec, parts): (Option<&Tag>, u8, &[u64]),
    expires_unix_ms: Option<u64>,
    content: Option<&[Bytes]>,
) -> Vec<u8> {
    let head = MessageHead {
        tag,
        codec,
        parts,
        expires_unix_ms,
    };
    let mut row = Vec::with_capacity(64 + content.map_or(0, |buffers| buffers.iter().map(Bytes::len).sum()));
    row = postcard::to_extend(&head, row).expect("names and numbers always have a representation");
    for buffer in content.into_iter().flatten() {
        row.extend_from_slice(buffer);
    }
    row
}

/// What [`message_row`] has written: the header, and the bytes, if they are in the row.
pub(super) fn read_message(row: &[u8]) -> Option<(MessageRow, Option<&[u8]>)> {
    let (message, rest) = postcard::take_from_bytes::<MessageRow>(row).ok()?;
    if rest.is_empty() {
        return Some((message, None));
    }
    (rest.len() as u64 == size(&message.parts)).then_some((message, Some(rest)))
}

/// Whether a message whose parts have these lengths, and whose first piece has these buffers, stands in one row.
pub(super) fn is_small(parts: &[u64], content: &[Bytes]) -> bool {
    let lens = content.iter().map(|buffer| buffer.len() as u64);
    lens.eq(parts.iter().copied()) && (1..=INLINE as u64).contains(&size(parts))
}

/// A row of `pieces`: the lengths of the buffers, then the bytes if they are few.
pub(super) fn piece_row(content: &[Bytes]) -> Vec<u8> {
    let lens: Vec<u64> = content.iter().map(|buffer| buffer.len() as u64).collect();
    let mut row = row(&lens);
    if size(&lens) <= INLINE as u64 {
        content.iter().for_each(|buffer| row.extend_from_slice(buffer));
    }
    row
}

/// What [`piece_row`] has written: the lengths, and the bytes that are in the row.
pub(super) fn read_piece(row: &[u8]) -> Option<(Vec<u64>, &[u8])> {
    let (lens, rest) = postcard::take_from_bytes::<Vec<u64>>(row).ok()?;
    let expected = match size(&lens) {
        size if size <= INLINE as u64 => size,
        _ => 0,
    };
    (rest.len() as u64 == expected).then_some((lens, rest))
}

/// How many bytes buffers of these lengths have.
pub(super) fn size(lens: &[u64]) -> u64 {
    lens.iter().fold(0, |sum, len| sum.saturating_add(*len))
}

/// Chunks of the buffers laid end to end. What stands whole within one buffer is not copied.
pub(super) fn chunks(content: &[Bytes]) -> impl Iterator<Item = Bytes> {
    let mut rest: std::collections::VecDeque<Bytes> = content.iter().cloned().collect();
    std::iter::from_fn(move || {
        while rest.front().is_some_and(Bytes::is_empty) {
            rest.pop_front();
        }
        let first = rest.front_mut()?;
        if first.len() >= CHUNK || rest.len() == 1 {
            let first = rest.front_mut()?;
            return Some(first.split_to(CHUNK.min(first.len())));
        }
        let mut chunk = BytesMut::with_capacity(CHUNK);
        while chunk.len() < CHUNK
            && let Some(buffer) = rest.front_mut()
        {
            chunk.extend_from_slice(&buffer.split_to(buffer.len().min(CHUNK - chunk.len())));
            if buffer.is_empty() {
                rest.pop_front();
            }
        }
        Some(chunk.freeze())
    })
}

/// The buffers, from their bytes laid end to end.
pub(super) fn buffers(lens: &[u64], mut bytes: Bytes) -> Option<Vec<Bytes>> {
    let mut content = Vec::with_capacity(lens.len());
    for len in lens {
        let len = usize::try_from(*len).ok().filter(|len| *len <= bytes.len())?;
        content.push(bytes.split_to(len));
    }
    bytes.is_empty().then_some(content)
}

pub(super) fn row(value: &impl Serialize) -> Vec<u8> {
    postcard::to_allocvec(value).expect("names and numbers always have a representation")
}
