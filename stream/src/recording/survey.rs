//! What a recording holds and where: from its footer, or, after a crash, from what is left.

use std::io;

use thiserror::Error;

use super::checksum::Checksum;
use super::head::{HEAD_LEN, Head, Kind, PREAMBLE_LEN, Preamble, PreambleError, u64_at};
use super::index::{
    CHUNK_LEN, CHUNK_MESSAGES, Chunk, ENTRY_LEN, Entry, TAIL_LEN, TAIL_MAGIC, TOTALS_LEN, Totals, payload,
};
use super::storage::{ReadAt, Window};
use super::{Info, search};

/// Why a file cannot be read as a recording.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The file cannot be read.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The file is shorter than the front of a recording: whoever wrote it died before the first message.
    #[error(
        "the file has {len} bytes, a recording has at least {}: there is no message in it",
        PREAMBLE_LEN
    )]
    TooShort {
        /// Its length in bytes.
        len: u64,
    },
    /// The file does not begin as a recording does.
    #[error(
        "not a recording: the first bytes are another format's; a folder of .raw files is opened by its folder"
    )]
    NotARecording,
    /// The file was written by a later version.
    #[error("the recording has format version {0}, this build reads version 1; read it with a newer build")]
    Version(u16),
    /// The front of the recording is damaged. Where whole messages follow it is read all the same, but not appended to.
    #[error(
        "the front of the recording is damaged (offset 0): without whole messages after it there is nothing to read, and nothing can be appended"
    )]
    Damaged,
}

/// What was left of a recording that was not closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Recovered {
    /// Messages that are whole.
    pub messages: u64,
    /// Where the last whole block ends, in bytes from the front.
    pub end: u64,
    /// Bytes after it: what was written of a message that was never finished.
    pub bytes_lost: u64,
}

/// A damaged place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Damage {
    /// Where it begins, in bytes from the front.
    pub offset: u64,
    /// The number of the message that was there, when that can still be read.
    pub number: Option<u64>,
}

/// Damaged places: all of them counted, the first ones kept.
#[derive(Debug, Default)]
pub(super) struct Damages {
    pub(super) count: u64,
    pub(super) first: Vec<Damage>,
}

impl Damages {
    fn add(&mut self, offset: u64, number: Option<u64>) {
        self.count += 1;
        self.keep(Damage { offset, number });
    }

    /// Takes those of `others`, and leaves none there.
    fn take(&mut self, others: &mut Damages) {
        let others = std::mem::take(others);
        self.count += others.count;
        others.first.into_iter().for_each(|damage| self.keep(damage));
    }

    fn keep(&mut self, damage: Damage) {
        if self.first.len() < Info::DAMAGES {
            self.first.push(damage);
        }
    }
}

/// Everything about a file but its messages.
#[derive(Debug)]
pub(super) struct Survey {
    /// `None` when the front is damaged.
    pub(super) preamble: Option<Preamble>,
    pub(super) salt: u32,
    pub(super) chunks: Vec<Chunk>,
    /// Messages after the last index.
    pub(super) entries: Vec<Entry>,
    pub(super) totals: Totals,
    /// Where the last whole block ends.
    pub(super) end: u64,
    pub(super) len: u64,
    pub(super) closed: bool,
    /// Damaged places that were passed.
    pub(super) damages: Damages,
}

impl Survey {
    /// Looks a file over: a few reads when it was closed, otherwise what lies after the last index.
    pub(super) fn of(source: &impl ReadAt) -> Result<Self, OpenError> {
        let len = source.size()?;
        let mut survey = Survey::begin(source, len)?;
        if let Some((footer, totals, chunks)) = survey.footer(source)? {
            (survey.totals, survey.chunks, survey.end) = (totals, chunks, len);
            survey.closed = true;
            debug_assert!(footer < len);
            return Ok(survey);
        }
        let from = survey.follow_indexes(source)?;
        survey.walk(source, from)?;
        Ok(survey)
    }

    /// Reads every block and checks every checksum.
    pub(super) fn thorough(source: &impl ReadAt) -> Result<Self, OpenError> {
        let len = source.size()?;
        let mut survey = Survey::begin(source, len)?;
        let footer = survey.footer(source)?;
        survey.walk(source, PREAMBLE_LEN as u64)?;
        if let Some((_, totals, _)) = footer {
            survey.closed = true;
            // Numbers that were left out at the very end are nowhere else.
            survey.totals.next_number = survey.totals.next_number.max(totals.next_number);
        }
        Ok(survey)
    }

    /// The file as far as it is whole, when it was not closed.
    pub(super) fn recovered(&self) -> Option<Recovered> {
        (!self.closed).then_some(Recovered {
            messages: self.totals.messages,
            end: self.end,
            bytes_lost: self.len - self.end,
        })
    }

    /// Numbers that no message has: left out when recording, or damaged.
    pub(super) fn gaps(&self) -> u64 {
        let numbers = self.totals.next_number.saturating_sub(self.first_expected());
        numbers.saturating_sub(self.totals.messages)
    }

    fn first_expected(&self) -> u64 {
        self.preamble
            .as_ref()
            .map_or(self.totals.first_number, |preamble| preamble.first_number)
    }

    fn begin(source: &impl ReadAt, len: u64) -> Result<Self, OpenError> {
        if len < PREAMBLE_LEN as u64 {
            return Err(OpenError::TooShort { len });
        }
        let mut bytes = [0; PREAMBLE_LEN];
        source.read_exact_at(&mut bytes, 0)?;
        let preamble = match Preamble::decode(&bytes) {
            Ok(preamble) => Some(preamble),
            Err(PreambleError::Version(version)) => return Err(OpenError::Version(version)),
            Err(_) => None,
        };
        let salt = match &preamble {
            Some(preamble) => preamble.salt(),
            None => salt_of_blocks(source, &bytes, len)?,
        };
        let first = preamble.as_ref().map_or(0, |preamble| preamble.first_number);
        let mut damages = Damages::default();
        if preamble.is_none() {
            damages.add(0, None);
        }
        Ok(Survey {
            damages,
            preamble,
            salt,
            chunks: Vec::new(),
            entries: Vec::new(),
            totals: Totals {
                first_number: first,
                next_number: first,
                ..Totals::default()
            },
            end: PREAMBLE_LEN as u64,
            len,
            closed: false,
        })
    }

    /// The footer, when the file ends with one that is whole: where, what and where its chunks are.
    fn footer(&self, source: &impl ReadAt) -> io::Result<Option<(u64, Totals, Vec<Chunk>)>> {
        let least = (PREAMBLE_LEN + HEAD_LEN + TOTALS_LEN + TAIL_LEN) as u64;
        if self.len < least {
            return Ok(None);
        }
        let mut tail = [0; TAIL_LEN];
        source.read_exact_at(&mut tail, self.len - TAIL_LEN as u64)?;
        let offset = u64_at(&tail, 0);
        if tail[8..] != TAIL_MAGIC {
            return Ok(None);
        }
        let Some(head) = self.head(source, offset)? else {
            return Ok(None);
        };
        let expected = u64::from(head.count)
            .checked_mul(CHUNK_LEN as u64)
            .map(|chunks| chunks + (TOTALS_LEN + TAIL_LEN) as u64);
        if head.kind != Kind::Footer || head.end(offset) != Some(self.len) || expected != Some(head.stored) {
            return Ok(None);
        }
        let Some(contents) = contents(source, offset, &head, self.len)? else {
            return Ok(None);
        };
        let totals = Totals::decode(&contents);
        let chunks = contents[TOTALS_LEN..contents.len() - TAIL_LEN]
            .chunks_exact(CHUNK_LEN)
            .map(Chunk::decode)
            .collect();
        Ok(Some((offset, totals, chunks)))
    }

    /// The head of this recording at `offset`.
    pub(super) fn head(&self, source: &impl ReadAt, offset: u64) -> io::Result<Option<Head>> {
        Ok(head_at(source, offset, self.len)?.filter(|head| head.salt == self.salt))
    }

    /// Finds the last index through the last block, and all others from there; returns where to go on reading.
    fn follow_indexes(&mut self, source: &impl ReadAt) -> io::Result<u64> {
        let front = PREAMBLE_LEN as u64;
        let Some((offset, head)) = search::last_head(source, self.salt, front, self.len)? else {
            return Ok(front);
        };
        let whole = head.end(offset).is_some_and(|end| end <= self.len);
        let mut next = if head.kind == Kind::Index && whole {
            offset
        } else {
            head.index
        };
        let mut chunks = Vec::new();
        let mut from = front;
        let mut before = self.len;
        while next != 0 {
            // Backwards only, so this ends; a link that leads nowhere makes everything be read from the front.
            let Some((chunk, head, last)) = self
                .chunk_at(source, next)
                .map(|chunk| chunk.filter(|_| next < before))?
            else {
                return Ok(front);
            };
            if chunks.is_empty() {
                // At most the length of the file, as was checked.
                from = head.end(next).unwrap_or(front);
                self.totals.last_number = last.number;
                self.totals.next_number = last.number.saturating_add(1);
                self.totals.last_time = last.time;
            }
            before = next;
            next = head.index;
            chunks.push(chunk);
        }
        chunks.reverse();
        if let Some(first) = chunks.first() {
            (self.totals.first_number, self.totals.first_time) = (first.first_number, first.first_time);
        }
        self.totals.messages = chunks.iter().map(|chunk| chunk.messages).sum();
        self.totals.bytes = payload(&chunks);
        self.chunks = chunks;
        self.end = from;
        Ok(from)
    }

    fn chunk_at(&self, source: &impl ReadAt, offset: u64) -> io::Result<Option<(Chunk, Head, Entry)>> {
        let Some((head, entries)) = self.index_at(source, offset)? else {
            return Ok(None);
        };
        let (Some(first), Some(last)) = (entries.first(), entries.last()) else {
            return Ok(None);
        };
        let chunk = Chunk {
            index: offset,
            start: first.offset,
            first_number: first.number,
            first_time: first.time,
            messages: entries.len() as u64,
            bytes: head.plain,
        };
        Ok(Some((chunk, head, *last)))
    }

    /// The entries of the index at `offset`, when it is whole.
    pub(super) fn index_at(
        &self,
        source: &impl ReadAt,
        offset: u64,
    ) -> io::Result<Option<(Head, Vec<Entry>)>> {
        let Some(head) = self.head(source, offset)?.filter(|head| {
            head.kind == Kind::Index && u64::from(head.count) * ENTRY_LEN as u64 == head.stored
        }) else {
            return Ok(None);
        };
        let entries = contents(source, offset, &head, self.len)?
            .map(|contents| contents.chunks_exact(ENTRY_LEN).map(Entry::decode).collect());
        Ok(entries.map(|entries| (head, entries)))
    }

    /// Reads all blocks from `from` on and checks them. What is damaged is passed; the end is after the last whole one.
    fn walk(&mut self, source: &impl ReadAt, from: u64) -> io::Result<()> {
        let mut offset = from;
        // Damage counts only once something whole follows: at the end it is a message that was never finished.
        let mut pending = Damages::default();
        let mut buffer = Vec::new();
        let mut window = Window::default();
        while let Some(head) = self.next_head(source, &mut window, &mut offset, &mut pending)? {
            let at = offset;
            let end = head.end(at).filter(|&end| end <= self.len);
            let whole = match end {
                Some(_) => checked(source, at, &head, &mut buffer)?,
                None => false,
            };
            match end {
                Some(end) if whole => {
                    self.damages.take(&mut pending);
                    self.end = end;
                    self.handle_block(at, &head);
                    offset = end;
                }
                // The head is right, so its length is: what follows begins after it.
                Some(end) => {
                    pending.add(at, (head.kind == Kind::Message).then_some(head.number));
                    offset = end;
                }
                None => {
                    pending.add(at, None);
                    offset = at + 1;
                }
            }
        }
        Ok(())
    }

    /// Moves `offset` to the next block and returns its head.
    fn next_head(
        &self,
        source: &impl ReadAt,
        window: &mut Window,
        offset: &mut u64,
        pending: &mut Damages,
    ) -> io::Result<Option<Head>> {
        if *offset + HEAD_LEN as u64 > self.len {
            return Ok(None);
        }
        let bytes = window.get(source, *offset, HEAD_LEN, self.len)?;
        if let Some(head) = decode(&bytes).filter(|head| head.salt == self.salt) {
            return Ok(Some(head));
        }
        pending.add(*offset, None);
        match search::next_head(source, self.salt, *offset + 1, self.len)? {
            Some((at, head)) => {
                *offset = at;
                Ok(Some(head))
            }
            None => Ok(None),
        }
    }

    fn handle_block(&mut self, offset: u64, head: &Head) {
        match head.kind {
            Kind::Message => {
                let entry = Entry {
                    number: head.number,
                    time: head.time,
                    offset,
                };
                self.totals.add(head.number, head.time, head.plain);
                self.entries.push(entry);
                if self.entries.len() > CHUNK_MESSAGES {
                    // An index was expected by now; it is damaged.
                    self.close_chunk(0);
                }
            }
            Kind::Index if !self.entries.is_empty() => self.close_chunk(offset),
            Kind::Index | Kind::Footer => {}
        }
    }

    fn close_chunk(&mut self, index: u64) {
        if let Some(first) = self.entries.first() {
            self.chunks.push(Chunk {
                index,
                start: first.offset,
                first_number: first.number,
                first_time: first.time,
                messages: self.entries.len() as u64,
                bytes: self.totals.bytes.saturating_sub(payload(&self.chunks)),
            });
        }
        self.entries.clear();
    }

    /// The chunk that has the first message for which `before` is false, or is the last one before it.
    pub(super) fn chunk_before(&self, before: impl Fn(&Chunk) -> bool) -> Option<&Chunk> {
        let next = self.chunks.partition_point(before);
        self.chunks.get(next.saturating_sub(1))
    }
}

pub(super) fn decode(bytes: &[u8]) -> Option<Head> {
    Head::decode(bytes.first_chunk::<HEAD_LEN>()?)
}

fn head_at(source: &impl ReadAt, offset: u64, len: u64) -> io::Result<Option<Head>> {
    if offset.checked_add(HEAD_LEN as u64).is_none_or(|end| end > len) {
        return Ok(None);
    }
    let mut bytes = [0; HEAD_LEN];
    source.read_exact_at(&mut bytes, offset)?;
    Ok(Head::decode(&bytes))
}

/// The recording that the blocks of a file are of, whose front, `front`, is damaged: they say so themselves.
fn salt_of_blocks(source: &impl ReadAt, front: &[u8; PREAMBLE_LEN], len: u64) -> Result<u32, OpenError> {
    // So far the damage may reach; what has no block before is no recording.
    const REACH: u64 = 16 << 20;
    let next = PREAMBLE_LEN as u64;
    if let Some(head) = head_at(source, next, len)? {
        return Ok(head.salt);
    }
    // A sector that is lost reads as nothing. Another front is that of another format, which may well hold recordings: an
    // archive, say.
    let lost = [0, 0xff]
        .iter()
        .any(|nothing| front.iter().all(|byte| byte == nothing));
    if Preamble::decode(front) == Err(PreambleError::Magic) && !lost {
        return Err(OpenError::NotARecording);
    }
    match search::next_head(source, None, next, len.min(REACH))? {
        Some((_, head)) => Ok(head.salt),
        None => Err(OpenError::Damaged),
    }
}

/// The contents of an index or footer, when they are within the file and whole.
fn contents(source: &impl ReadAt, offset: u64, head: &Head, len: u64) -> io::Result<Option<Vec<u8>>> {
    if head.end(offset).is_none_or(|end| end > len) {
        return Ok(None);
    }
    let Ok(stored) = usize::try_from(head.stored) else {
        return Ok(None);
    };
    let mut contents = vec![0; stored];
    source.read_exact_at(&mut contents, offset + HEAD_LEN as u64)?;
    Ok((super::checksum::of(&contents) == head.checksum).then_some(contents))
}

/// Whether the contents of the block at `offset`, which are within the file, are whole. `buffer` is reused.
fn checked(source: &impl ReadAt, offset: u64, head: &Head, buffer: &mut Vec<u8>) -> io::Result<bool> {
    const STEP: u64 = 1 << 20;
    let mut sum = Checksum::new();
    let start = offset + HEAD_LEN as u64;
    let mut done = 0;
    while done < head.stored {
        let step = STEP.min(head.stored - done);
        // At most STEP.
        buffer.resize(step as usize, 0);
        source.read_exact_at(buffer, start + done)?;
        sum.update(buffer);
        done += step;
    }
    Ok(sum.finish() == head.checksum)
}
