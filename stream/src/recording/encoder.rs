//! Messages to blocks: the recording format's writing half, without any I/O.

use bytes::Bytes;
use flexbond_transport::{Frame, Message};
use thiserror::Error;

use super::batch::Batch;
use super::checksum::{self, Checksum};
use super::head::{HEAD_LEN, Head, Kind, PREAMBLE_LEN, Preamble};
use super::index::{
    CHUNK_BYTES, CHUNK_LEN, CHUNK_MESSAGES, Chunk, ENTRY_LEN, Entry, TAIL_LEN, TAIL_MAGIC, TOTALS_LEN,
    Totals, payload,
};
use super::{Compression, Timestamp, UnsupportedCompression};

/// Why a message cannot be recorded. Nothing of it was, and the next one can be.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum EncodeError {
    /// A part is too long for the format.
    #[error("part {part} has {len} bytes, more than {}", u32::MAX)]
    PartTooLong {
        /// Which part, from zero.
        part: usize,
        /// Its length in bytes.
        len: usize,
    },
    /// There are too many parts for the format.
    #[error("the message has {0} parts, more than {max}", max = u32::MAX)]
    TooManyParts(usize),
}

/// Turns messages into the blocks of one file.
///
/// Blocks come out in a [`Batch`]; the caller writes it to the end of the file. What was encoded is complete in itself:
/// a file that ends after any block is read up to there.
#[derive(Debug)]
pub struct Encoder {
    preamble: Preamble,
    /// Bytes encoded, those of a file that is appended to included.
    offset: u64,
    /// Of messages since the last index.
    entries: Vec<Entry>,
    chunk_bytes: u64,
    last_index: u64,
    chunks: Vec<Chunk>,
    totals: Totals,
    /// The time of the last message of the file before: no message of this one is before it.
    earliest: Timestamp,
    chunk_messages: usize,
}

// No time is before it.
const BEGINNING: Timestamp = Timestamp::from_nanos(i64::MIN);
// A message of up to so many bytes is copied beside its head: cheaper than a piece of its own.
const COPIED_MESSAGE: u64 = 32 << 10;
// So is a part of a longer message.
const COPIED_PART: usize = 4 << 10;

impl Encoder {
    /// Begins a file; its preamble comes out in `batch`. `id` should be random: it tells this recording's blocks from
    /// another's.
    ///
    /// # Errors
    /// [`UnsupportedCompression`].
    pub fn new(
        id: u128,
        created: Timestamp,
        compression: Compression,
        batch: &mut Batch,
    ) -> Result<Self, UnsupportedCompression> {
        if !compression.is_supported() {
            return Err(UnsupportedCompression(compression));
        }
        let preamble = Preamble {
            created,
            first_number: 0,
            id,
            file_number: 0,
            compression,
        };
        Ok(Self::begin(preamble, batch))
    }

    /// Begins the next file of the same recording, whose numbers go on where this one's end.
    pub fn next_file(&self, created: Timestamp, batch: &mut Batch) -> Self {
        let preamble = Preamble {
            created,
            first_number: self.totals.next_number,
            file_number: self.preamble.file_number.wrapping_add(1),
            ..self.preamble.clone()
        };
        Encoder {
            earliest: self.last_time(),
            ..Self::begin(preamble, batch)
        }
    }

    fn begin(preamble: Preamble, batch: &mut Batch) -> Self {
        batch.copy(&preamble.encode());
        let first = preamble.first_number;
        Encoder {
            preamble,
            offset: PREAMBLE_LEN as u64,
            entries: Vec::new(),
            chunk_bytes: 0,
            last_index: 0,
            chunks: Vec::new(),
            totals: Totals {
                first_number: first,
                next_number: first,
                ..Totals::default()
            },
            earliest: BEGINNING,
            chunk_messages: CHUNK_MESSAGES,
        }
    }

    /// Goes on at the end of a file whose messages are known; `entries` are those since the last index.
    pub(super) fn resume(
        preamble: Preamble,
        offset: u64,
        chunks: Vec<Chunk>,
        entries: Vec<Entry>,
        totals: Totals,
    ) -> Self {
        Encoder {
            preamble,
            offset,
            // An index is a chain, so what it leads to are the chunks that have one.
            last_index: chunks
                .iter()
                .rev()
                .map(|chunk| chunk.index)
                .find(|&index| index != 0)
                .unwrap_or(0),
            chunk_bytes: totals.bytes.saturating_sub(payload(&chunks)),
            entries,
            chunks,
            totals,
            earliest: BEGINNING,
            chunk_messages: CHUNK_MESSAGES,
        }
    }

    /// Encodes one message, all parts of it, and returns its number. `time` is when it arrived; one before that of the
    /// message before counts as the same.
    ///
    /// # Errors
    /// [`EncodeError`]; nothing changed.
    pub fn encode(
        &mut self,
        message: &Message,
        time: Timestamp,
        batch: &mut Batch,
    ) -> Result<u64, EncodeError> {
        let count = u32::try_from(message.len()).map_err(|_| EncodeError::TooManyParts(message.len()))?;
        let long = message.iter().position(|part| u32::try_from(part.len()).is_err());
        if let Some(part) = long {
            let len = message.frames()[part].len();
            return Err(EncodeError::PartTooLong { part, len });
        }
        let time = time.max(self.last_time());
        let (number, offset) = (self.totals.next_number, self.offset);
        let plain = message.size() as u64;
        let mut head = Head {
            kind: Kind::Message,
            compression: Compression::None,
            count,
            checksum: 0,
            stored: plain + 4 * u64::from(count),
            plain,
            number,
            time,
            index: self.last_index,
            salt: self.preamble.salt(),
        };
        if let Some(compressed) = self.compress(message, head.stored) {
            head.compression = self.preamble.compression;
            self.push(head, vec![Bytes::from(compressed)], batch);
        } else if head.stored <= COPIED_MESSAGE {
            self.push_copied(head, message, batch);
        } else {
            self.push_shared(head, message, batch);
        }
        self.entries.push(Entry { number, time, offset });
        self.totals.add(number, time, plain);
        self.chunk_bytes = self.chunk_bytes.saturating_add(self.offset - offset);
        if self.entries.len() >= self.chunk_messages || self.chunk_bytes >= CHUNK_BYTES {
            self.write_index(batch);
        }
        Ok(number)
    }

    /// An index after so many messages, so that tests need few.
    #[cfg(test)]
    pub(super) fn chunk_messages(mut self, messages: usize) -> Self {
        self.chunk_messages = messages;
        self
    }

    /// Leaves out `messages` numbers: they show as missing.
    pub fn skip(&mut self, messages: u64) {
        self.totals.next_number = self.totals.next_number.saturating_add(messages);
    }

    /// Ends the file: the last index, and the footer. Nothing may follow.
    pub fn finish(&mut self, batch: &mut Batch) {
        self.write_index(batch);
        let offset = self.offset;
        let mut contents = Vec::with_capacity(TOTALS_LEN + self.chunks.len() * CHUNK_LEN + TAIL_LEN);
        self.totals.encode(&mut contents);
        self.chunks.iter().for_each(|chunk| chunk.encode(&mut contents));
        contents.extend(offset.to_le_bytes());
        contents.extend(TAIL_MAGIC);
        let head = Head {
            kind: Kind::Footer,
            compression: Compression::None,
            // One per 64 MiB or 4096 messages at least: no file has so many that they do not fit.
            count: self.chunks.len() as u32,
            checksum: 0,
            stored: contents.len() as u64,
            plain: self.totals.bytes,
            number: self.totals.first_number,
            time: self.totals.first_time,
            index: self.last_index,
            salt: self.preamble.salt(),
        };
        self.push(head, vec![Bytes::from(contents)], batch);
    }

    /// Bytes of the file when all that was encoded is written.
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Messages of this file.
    #[must_use]
    pub fn messages(&self) -> u64 {
        self.totals.messages
    }

    /// Payload bytes of this file.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.totals.bytes
    }

    /// The number that the next message gets.
    #[must_use]
    pub fn next_number(&self) -> u64 {
        self.totals.next_number
    }

    /// The time of the last message, of this file or the one before.
    fn last_time(&self) -> Timestamp {
        match self.totals.messages {
            0 => self.earliest,
            _ => self.totals.last_time,
        }
    }

    fn compress(&self, message: &Message, contents_len: u64) -> Option<Vec<u8>> {
        if self.preamble.compression == Compression::None {
            return None;
        }
        let mut contents = Vec::with_capacity(usize::try_from(contents_len).ok()?);
        contents.extend(table(message));
        message.iter().for_each(|part| contents.extend_from_slice(part));
        self.preamble.compression.compress(&contents)
    }

    fn push(&mut self, mut head: Head, contents: Vec<Bytes>, batch: &mut Batch) {
        let mut sum = Checksum::new();
        contents.iter().for_each(|piece| sum.update(piece));
        head.checksum = sum.finish();
        head.stored = contents.iter().map(|piece| piece.len() as u64).sum();
        batch.copy(&head.encode());
        for piece in contents {
            if piece.len() <= COPIED_PART {
                batch.copy(&piece);
            } else {
                batch.share(piece);
            }
        }
        self.offset += HEAD_LEN as u64 + head.stored;
    }

    /// A short message: one copy, one checksum.
    fn push_copied(&mut self, mut head: Head, message: &Message, batch: &mut Batch) {
        let at = batch.copy(&[0; HEAD_LEN]);
        for part in message {
            // Every part was checked to fit.
            batch.copy(&(part.len() as u32).to_le_bytes());
        }
        for part in message {
            batch.copy(part);
        }
        head.checksum = checksum::of(&batch.copied()[at.end..]);
        batch.copied_mut()[at].copy_from_slice(&head.encode());
        self.offset += HEAD_LEN as u64 + head.stored;
    }

    /// A long message: its long parts stay where they are.
    fn push_shared(&mut self, head: Head, message: &Message, batch: &mut Batch) {
        let mut contents = vec![Bytes::from(table(message).collect::<Vec<u8>>())];
        contents.extend(message.iter().filter(|part| !part.is_empty()).map(shared));
        self.push(head, contents, batch);
    }

    fn write_index(&mut self, batch: &mut Batch) {
        let Some(first) = self.entries.first().copied() else {
            return;
        };
        let chunk = Chunk {
            index: self.offset,
            start: first.offset,
            first_number: first.number,
            first_time: first.time,
            messages: self.entries.len() as u64,
            bytes: self.totals.bytes.saturating_sub(payload(&self.chunks)),
        };
        let mut contents = Vec::with_capacity(self.entries.len() * ENTRY_LEN);
        self.entries.iter().for_each(|entry| entry.encode(&mut contents));
        let head = Head {
            kind: Kind::Index,
            compression: Compression::None,
            // At most CHUNK_MESSAGES.
            count: self.entries.len() as u32,
            checksum: 0,
            stored: contents.len() as u64,
            plain: chunk.bytes,
            number: first.number,
            time: first.time,
            index: self.last_index,
            salt: self.preamble.salt(),
        };
        self.push(head, vec![Bytes::from(contents)], batch);
        self.last_index = chunk.index;
        self.chunks.push(chunk);
        self.entries.clear();
        self.chunk_bytes = 0;
    }
}

fn table(message: &Message) -> impl Iterator<Item = u8> {
    // Every part was checked to fit.
    message.iter().flat_map(|part| (part.len() as u32).to_le_bytes())
}

fn shared(part: &Frame) -> Bytes {
    part.as_shared()
        .map_or_else(|| Bytes::copy_from_slice(part), Bytes::clone)
}
