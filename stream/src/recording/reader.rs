//! One recording file: its messages in order, from any place on.

use std::fs::File;
use std::io;
use std::path::Path;

use flexbond_transport::{Frame, Message};
use thiserror::Error;

use super::compression::RestoreError;
use super::head::{HEAD_LEN, Head, Kind, PREAMBLE_LEN};
use super::index::{Entry, part_ranges};
use super::storage::{ReadAt, Window};
use super::survey::{Survey, decode};
use super::{Info, OpenError, Recorded, Recovered, Timestamp, UnsupportedCompression, checksum, search};

/// Why a message of a recording cannot be read. The next read goes on with the message after it.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ReadError {
    /// The file cannot be read.
    #[error("the recording cannot be read at offset {offset}")]
    Io {
        /// Where, in bytes from the front.
        offset: u64,
        /// Why.
        source: io::Error,
    },
    /// Bytes changed after they were written. Whatever message was there is lost; what follows is not.
    #[error("damaged from offset {offset} to {end}{}: reading goes on after it", named(.number))]
    Damaged {
        /// Where the damage begins, in bytes from the front.
        offset: u64,
        /// Where the next block begins.
        end: u64,
        /// The message's number, when its head is whole.
        number: Option<u64>,
    },
    /// The message is compressed with what this build does not have.
    #[error("message {number} at offset {offset} cannot be unpacked")]
    Unsupported {
        /// Where, in bytes from the front.
        offset: u64,
        /// The message's number.
        number: u64,
        /// With what it is compressed.
        #[source]
        error: UnsupportedCompression,
    },
    /// The message is longer than [`Reader::max_message_size`] allows.
    #[error("message {number} at offset {offset} has {size} bytes, more than {limit}; allow more to read it")]
    TooLong {
        /// Where, in bytes from the front.
        offset: u64,
        /// The message's number.
        number: u64,
        /// Its payload bytes.
        size: u64,
        /// The limit.
        limit: u64,
    },
}

// Bytes of the parts' lengths that are unpacked whatever the limit is.
const TABLE: u64 = 64 << 10;

fn named(number: &Option<u64>) -> String {
    number.map_or_else(String::new, |number| format!(", message {number}"))
}

/// Reads the messages of one recording file, in order, from any place on.
///
/// Opening needs a few reads when the file was closed. After a crash it needs those of the bytes since the last index,
/// at most 64 MiB and a message; a file whose indexes are damaged is read whole.
///
/// What is written after it was opened is not seen: a recording that is still written is read as far as it was whole then.
///
/// As an iterator it yields errors for what is damaged and goes on with what follows.
#[derive(Debug)]
pub struct Reader<S = File> {
    source: S,
    survey: Survey,
    position: u64,
    window: Window,
    max_message_size: u64,
}

impl Reader<File> {
    /// Opens the file at `path`.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn open(path: impl AsRef<Path>) -> Result<Self, OpenError> {
        Reader::new(File::open(path)?)
    }
}

impl<S: ReadAt> Reader<S> {
    /// The longest message that is read by default, in payload bytes: 4 GiB.
    pub const MAX_MESSAGE_SIZE: u64 = 4 << 30;

    /// Reads a recording from `source`: a file, or bytes in memory.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn new(source: S) -> Result<Self, OpenError> {
        let survey = Survey::of(&source)?;
        Ok(Reader {
            source,
            survey,
            position: PREAMBLE_LEN as u64,
            window: Window::default(),
            max_message_size: Self::MAX_MESSAGE_SIZE,
        })
    }

    /// Refuses messages of more than `bytes` of payload.
    #[must_use]
    pub fn max_message_size(mut self, bytes: u64) -> Self {
        self.max_message_size = bytes;
        self
    }

    /// What the recording holds.
    #[must_use]
    pub fn info(&self) -> Info {
        Info::of(&self.survey)
    }

    /// What is left of it, when it was not closed.
    #[must_use]
    pub fn recovered(&self) -> Option<Recovered> {
        self.survey.recovered()
    }

    /// The recording that the file is of; `None` when the front of the file is damaged.
    pub(super) fn recording_id(&self) -> Option<u128> {
        self.survey.preamble.as_ref().map(|preamble| preamble.id)
    }

    /// The number that its first message should have; `None` likewise.
    pub(super) fn first_expected(&self) -> Option<u64> {
        self.survey
            .preamble
            .as_ref()
            .map(|preamble| preamble.first_number)
    }

    /// The number that the next file should begin with.
    pub(super) fn next_number(&self) -> u64 {
        self.survey.totals.next_number
    }

    /// The next message; `None` at the end.
    ///
    /// # Errors
    /// [`ReadError`]; the next call goes on after what is damaged. [`ReadError::Io`] stays where it is.
    pub fn next_message(&mut self) -> Result<Option<Recorded>, ReadError> {
        loop {
            let offset = self.position;
            let Some((head, end)) = self.next_head()? else {
                return Ok(None);
            };
            if head.kind != Kind::Message {
                self.position = end;
                continue;
            }
            let message = self.read_message(offset, &head, end)?;
            return Ok(Some(Recorded {
                number: head.number,
                time: head.time,
                message,
                lacks: None,
            }));
        }
    }

    /// Goes to the first message whose number is `number` or more. Where that one is not there and something before it is
    /// damaged, it goes there: it may have been it.
    ///
    /// # Errors
    /// [`ReadError::Io`].
    pub fn seek_number(&mut self, number: u64) -> Result<(), ReadError> {
        self.seek(
            |chunk_number, _| chunk_number <= number,
            |entry| entry.number < number,
            |entry| entry.number == number,
        )
    }

    /// Goes to the first message that arrived at `time` or later, or to what is damaged just before it.
    ///
    /// # Errors
    /// [`ReadError::Io`].
    pub fn seek_time(&mut self, time: Timestamp) -> Result<(), ReadError> {
        // Several messages may have one time, so what is damaged before one of them may have had it, too.
        self.seek(
            |_, chunk_time| chunk_time < time,
            |entry| entry.time < time,
            |_| false,
        )
    }

    /// Goes back to the first message.
    pub fn rewind(&mut self) {
        self.position = PREAMBLE_LEN as u64;
    }

    /// `before` tells, of a chunk's first number and time, whether it begins no later than what is sought; `skip` tells
    /// whether a message is before it, and `exact` whether it is the very one that is sought. Where that is not among
    /// those that can be read, it may be in what is damaged before the next one, and that is read first.
    fn seek(
        &mut self,
        before: impl Fn(u64, Timestamp) -> bool,
        skip: impl Fn(&Entry) -> bool,
        exact: impl Fn(&Entry) -> bool,
    ) -> Result<(), ReadError> {
        if let Some(first) = self.survey.entries.first()
            && before(first.number, first.time)
        {
            // These were found by reading, so what is damaged is not among them.
            let at = self.survey.entries.partition_point(&skip);
            let entry = self.survey.entries.get(at);
            let last = at.checked_sub(1).map(|last| self.survey.entries[last].offset);
            self.position = match (entry, last) {
                (None, _) => self.survey.end,
                (Some(entry), Some(last)) if !exact(entry) => {
                    self.position = last;
                    return self.pass(skip, exact);
                }
                (Some(entry), _) => entry.offset,
            };
            return Ok(());
        }
        let Some(chunk) = self
            .survey
            .chunk_before(|chunk| before(chunk.first_number, chunk.first_time))
            .copied()
        else {
            self.rewind();
            return Ok(());
        };
        let io = |source| ReadError::Io {
            offset: chunk.index,
            source,
        };
        let index = match chunk.index {
            0 => None,
            offset => self.survey.index_at(&self.source, offset).map_err(io)?,
        };
        if let Some((head, entries)) = index {
            let at = entries.partition_point(&skip);
            let after = head.end(chunk.index).unwrap_or(self.survey.end);
            self.position = entries.get(at).map_or(after, |entry| entry.offset);
            return Ok(());
        }
        self.position = chunk.start.max(PREAMBLE_LEN as u64);
        self.pass(skip, exact)
    }

    /// Passes messages as long as `skip` says so, by their heads alone: for chunks without an index.
    fn pass(
        &mut self,
        skip: impl Fn(&Entry) -> bool,
        exact: impl Fn(&Entry) -> bool,
    ) -> Result<(), ReadError> {
        // Where the first damage is since the last message that was passed.
        let mut damage = None;
        loop {
            let offset = self.position;
            match self.next_head() {
                Ok(None) => {
                    self.position = damage.unwrap_or(offset);
                    return Ok(());
                }
                Ok(Some((head, end))) => {
                    let entry = Entry {
                        number: head.number,
                        time: head.time,
                        offset,
                    };
                    if head.kind == Kind::Message {
                        if !skip(&entry) {
                            self.position = damage.filter(|_| !exact(&entry)).unwrap_or(offset);
                            return Ok(());
                        }
                        damage = None;
                    }
                    self.position = end;
                }
                // What is damaged is told when it is read.
                Err(ReadError::Damaged { .. }) => damage = damage.or(Some(offset)),
                Err(error) => return Err(error),
            }
        }
    }

    /// The head at the position, and where its block ends; `None` at the end. Goes past what is no block, as an error.
    fn next_head(&mut self) -> Result<Option<(Head, u64)>, ReadError> {
        let (offset, limit) = (self.position, self.survey.end);
        let io = |source| ReadError::Io { offset, source };
        if offset >= limit {
            return Ok(None);
        }
        let head = if limit - offset < HEAD_LEN as u64 {
            None
        } else {
            let bytes = self
                .window
                .get(&self.source, offset, HEAD_LEN, limit)
                .map_err(io)?;
            decode(&bytes).filter(|head| head.salt == self.survey.salt)
        };
        let block = head.and_then(|head| {
            let end = head.end(offset).filter(|&end| end <= limit)?;
            Some((head, end))
        });
        if block.is_some() {
            return Ok(block);
        }
        let next = search::next_head(&self.source, self.survey.salt, offset + 1, limit).map_err(io)?;
        let end = next.map_or(limit, |(at, _)| at);
        self.position = end;
        Err(ReadError::Damaged {
            offset,
            end,
            number: None,
        })
    }

    fn read_message(&mut self, offset: u64, head: &Head, end: u64) -> Result<Message, ReadError> {
        let number = head.number;
        let damaged = ReadError::Damaged {
            offset,
            end,
            number: Some(number),
        };
        let limit = self.max_message_size;
        let plain = head.contents_len().and_then(|len| usize::try_from(len).ok());
        let (Some(plain), Ok(stored)) = (plain, usize::try_from(head.stored)) else {
            self.position = end;
            return Err(damaged);
        };
        // The parts' lengths are in the file, unless they are compressed: then a few bytes may stand for many of them.
        let table = 4 * u64::from(head.count);
        let hidden = head.compression != super::Compression::None && table > limit.max(TABLE);
        if head.plain > limit || head.stored > limit.saturating_add(table) || hidden {
            self.position = end;
            let size = if hidden {
                head.plain.saturating_add(table)
            } else {
                head.plain
            };
            return Err(ReadError::TooLong {
                offset,
                number,
                size,
                limit,
            });
        }
        let contents = self
            .window
            .get(&self.source, offset + HEAD_LEN as u64, stored, self.survey.end)
            .map_err(|source| ReadError::Io { offset, source })?;
        self.position = end;
        if checksum::of(&contents) != head.checksum {
            return Err(damaged);
        }
        let contents = match head.compression {
            super::Compression::None => contents,
            compression => match compression.restore(&contents, plain) {
                Ok(contents) => contents.into(),
                Err(RestoreError::Damaged) => return Err(damaged),
                Err(RestoreError::Unsupported(error)) => {
                    return Err(ReadError::Unsupported {
                        offset,
                        number,
                        error,
                    });
                }
            },
        };
        // A part costs four bytes at least, so this is bounded by what was read.
        let parts = usize::try_from(head.count)
            .ok()
            .and_then(|count| part_ranges(&contents, count));
        let Some(parts) = parts else {
            return Err(damaged);
        };
        Ok(parts
            .into_iter()
            .map(|range| Frame::from(contents.slice(range)))
            .collect())
    }
}

impl<S: ReadAt> Iterator for Reader<S> {
    type Item = Result<Recorded, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_message().transpose()
    }
}
