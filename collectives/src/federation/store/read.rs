//! What is in the file.

use bytes::{Bytes, BytesMut};
use redb::{Database, ReadOnlyTable, ReadableDatabase, ReadableTable};
use serde::de::DeserializeOwned;

use super::failure::Failure;
use super::rows::{
    CONTENTS, FLOWS, FlowRow, JOBS, JobRow, MESSAGES, MessageRow, NEXTS, PAIRS, PIECES, PairRow, buffers,
    read_message, read_piece, size,
};
use crate::federation::name::{JobId, PartyId};
use crate::federation::relay::{PieceId, Record};

/// Tells everything, see [`FileStore::restore`](super::FileStore::restore).
pub(super) fn restore(database: &Database, visit: &mut dyn FnMut(Record)) -> Result<(), Failure> {
    let reading = database.begin_read()?;
    for entry in reading.open_table(JOBS)?.iter()? {
        let (job, row) = entry?;
        let job =
            JobId::new(job.value()).map_err(|error| Failure::Damaged(format!("table jobs: {error}")))?;
        let JobRow { members, aborted } = read(row.value(), "jobs")?;
        visit(Record::Job {
            job,
            members,
            aborted,
        });
    }
    for entry in reading.open_table(PAIRS)?.iter()? {
        let (key, row) = entry?;
        let (job, from, to) = key.value();
        let wrong = |error| Failure::Damaged(format!("table pairs: {error}"));
        let job = JobId::new(job).map_err(wrong)?;
        let (from, to) = (
            PartyId::new(from).map_err(wrong)?,
            PartyId::new(to).map_err(wrong)?,
        );
        let PairRow { ready, left } = read(row.value(), "pairs")?;
        visit(Record::Pair {
            job,
            from,
            to,
            ready,
            left,
        });
    }
    for entry in reading.open_table(FLOWS)?.iter()? {
        let (id, row) = entry?;
        let FlowRow {
            job,
            from,
            to,
            key,
            epoch,
            source,
        } = read(row.value(), "flows")?;
        let id = id.value();
        visit(Record::Flow {
            id,
            job,
            from,
            to,
            key,
            epoch,
            source,
        });
    }
    for entry in reading.open_table(NEXTS)?.iter()? {
        let (flow, next) = entry?;
        visit(Record::Next {
            flow: flow.value(),
            next: next.value(),
        });
    }
    for entry in reading.open_table(MESSAGES)?.iter()? {
        let (key, row) = entry?;
        let (flow, offset) = key.value();
        let (message, bytes) = read_message(row.value()).ok_or_else(|| unreadable("messages"))?;
        let MessageRow {
            tag,
            codec,
            parts,
            expires_unix_ms,
        } = message;
        visit(Record::Message {
            flow,
            offset,
            tag,
            codec,
            parts,
            expires_unix_ms,
        });
        if let Some(bytes) = bytes {
            visit(Record::Piece {
                id: PieceId { flow, offset, at: 0 },
                len: bytes.len() as u64,
            });
        }
    }
    for entry in reading.open_table(PIECES)?.iter()? {
        let (key, row) = entry?;
        let (flow, offset, at) = key.value();
        let (lens, _) = read_piece(row.value()).ok_or_else(|| unreadable("pieces"))?;
        visit(Record::Piece {
            id: PieceId { flow, offset, at },
            len: size(&lens),
        });
    }
    Ok(())
}

/// What [`FileStore::load`](super::FileStore::load) returns.
pub(super) fn load(database: &Database, pieces: &[PieceId]) -> Result<Vec<Option<Vec<Bytes>>>, Failure> {
    let reading = database.begin_read()?;
    let messages = reading.open_table(MESSAGES)?;
    let rows = reading.open_table(PIECES)?;
    let contents = reading.open_table(CONTENTS)?;
    let load = |piece: &PieceId| match load_whole(&messages, *piece)? {
        None => load_one(&rows, &contents, *piece),
        whole => Ok(whole),
    };
    pieces.iter().map(load).collect()
}

/// The piece of a message that stands whole in its row.
fn load_whole(
    messages: &ReadOnlyTable<(u64, u64), &'static [u8]>,
    piece: PieceId,
) -> Result<Option<Vec<Bytes>>, Failure> {
    if piece.at > 0 {
        return Ok(None);
    }
    let Some(row) = messages.get((piece.flow, piece.offset))? else {
        return Ok(None);
    };
    let (message, bytes) = read_message(row.value()).ok_or_else(|| unreadable("messages"))?;
    let Some(bytes) = bytes else {
        return Ok(None);
    };
    let content = buffers(&message.parts, Bytes::copy_from_slice(bytes));
    Ok(Some(content.ok_or_else(|| unreadable("messages"))?))
}

fn load_one(
    pieces: &ReadOnlyTable<(u64, u64, u64), &'static [u8]>,
    contents: &ReadOnlyTable<(u64, u64, u64, u32), &'static [u8]>,
    piece: PieceId,
) -> Result<Option<Vec<Bytes>>, Failure> {
    let PieceId { flow, offset, at } = piece;
    let Some(row) = pieces.get((flow, offset, at))? else {
        return Ok(None);
    };
    let (lens, inline) = read_piece(row.value()).ok_or_else(|| unreadable("pieces"))?;
    let size = size(&lens);
    let bytes = if inline.len() as u64 == size {
        Bytes::copy_from_slice(inline)
    } else {
        let mut bytes = BytesMut::new();
        for entry in contents.range((flow, offset, at, 0)..=(flow, offset, at, u32::MAX))? {
            let (_, chunk) = entry?;
            if bytes.is_empty() {
                bytes.reserve(usize::try_from(size).unwrap_or(0).min(1 << 30));
            }
            bytes.extend_from_slice(chunk.value());
            if bytes.len() as u64 > size {
                break;
            }
        }
        bytes.freeze()
    };
    let content = buffers(&lens, bytes).ok_or_else(|| unreadable("contents"))?;
    Ok(Some(content))
}

fn read<T: DeserializeOwned>(row: &[u8], table: &str) -> Result<T, Failure> {
    postcard::from_bytes(row).map_err(|_| unreadable(table))
}

fn unreadable(table: &str) -> Failure {
    Failure::Damaged(format!("a row of table {table} cannot be read"))
}
