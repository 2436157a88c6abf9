//! Reading a folder: whole messages in order of their numbers, and everything that is not whole by its name.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use flexbond_transport::{Frame, Message};
use thiserror::Error;

use super::lack::first_lacking;
use super::listing::{Census, FolderExtent, Listing};
use super::name::PartName;
use crate::recording::{Recorded, Timestamp};

/// What to do about parts and messages that are missing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Missing {
    /// Each is an error, and reading goes on after it. The default.
    #[default]
    Report,
    /// They are left out, and counted in the [`FolderReport`].
    Skip,
}

/// Why a message of a folder cannot be read. The next read goes on after it, unless it is the folder itself that cannot be
/// read.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum FolderError {
    /// The folder cannot be read.
    #[error("{} cannot be read", path.display())]
    Io {
        /// The folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A part cannot be read, and with it the message.
    #[error("message {message} cannot be read: {} cannot be read", path.display())]
    Part {
        /// The message's number.
        message: u64,
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Messages are missing between two others.
    #[error("{}", match first == last {
        true => format!("message {first} is missing"),
        false => format!("messages {first} to {last} are missing"),
    })]
    MissingMessages {
        /// The number of the first one.
        first: u64,
        /// The number of the last one.
        last: u64,
    },
    /// A part is missing, and with it the message: the file `{message:06}_{part:03}.raw`. The last parts are missed of the
    /// folder's last message, which a crash may have torn, where its header calls for them and another message has so
    /// many.
    #[error("message {message} has no part {part} ({message:06}_{part:03}.raw is missing)")]
    MissingPart {
        /// The message's number.
        message: u64,
        /// The part's number.
        part: u32,
    },
    /// The message is longer than [`Folder::max_message_size`] allows.
    #[error("message {message} has more than {limit} bytes; allow more to read it")]
    TooLong {
        /// The message's number.
        message: u64,
        /// The limit.
        limit: u64,
    },
}

/// What was found in a folder.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct FolderReport {
    /// Files that are parts of messages.
    pub parts: u64,
    /// The lowest number of a message; `None` when there is none.
    pub first_number: Option<u64>,
    /// The highest number of a message.
    pub last_number: Option<u64>,
    /// Files and folders that are no parts, and are not read.
    pub foreign: u64,
    /// The names of the first 16 of them.
    pub foreign_names: Vec<String>,
    /// Parts whose names have other numbers of digits than `m_dump` writes.
    pub unusual: u64,
    /// Messages found missing by what was read so far.
    pub missing_messages: u64,
    /// Messages left out so far because a part is missing or cannot be read.
    pub incomplete_messages: u64,
    /// Messages read so far that have fewer parts than their headers call for. They came like that, or the files of their
    /// last parts were removed.
    pub short_messages: u64,
}

/// Reads the messages of a folder, in order of their numbers, in bounded memory (16 MiB for names, and a message).
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    listing: Listing,
    // The first part of the next message, which was seen when the one before ended.
    ahead: Option<PartName>,
    // The message that should be next.
    expected: u64,
    missing: Missing,
    max_message_size: u64,
    /// The highest number of a part in the whole folder.
    last_part: u32,
    report: FolderReport,
}

impl Folder {
    /// The longest message that is read by default, in bytes: 4 GiB.
    pub const MAX_MESSAGE_SIZE: u64 = 4 << 30;

    /// Opens the folder at `path` and counts its files.
    ///
    /// # Errors
    /// [`FolderError::Io`].
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, FolderError> {
        Self::with_window(path.into(), Listing::WINDOW)
    }

    fn with_window(path: PathBuf, window: usize) -> Result<Self, FolderError> {
        let census = Census::take(&path).map_err(|source| io_error(&path, source))?;
        Ok(Folder {
            listing: Listing::new(&path, window),
            path,
            ahead: None,
            expected: 0,
            missing: Missing::Report,
            max_message_size: Self::MAX_MESSAGE_SIZE,
            last_part: census.last_part,
            report: FolderReport {
                parts: census.parts,
                first_number: census.messages.map(|(first, _)| first),
                last_number: census.messages.map(|(_, last)| last),
                foreign: census.foreign,
                foreign_names: census.foreign_names,
                unusual: census.unusual,
                ..FolderReport::default()
            },
        })
    }

    /// Says what to do about what is missing.
    #[must_use]
    pub fn missing(mut self, missing: Missing) -> Self {
        self.missing = missing;
        self
    }

    /// Refuses messages of more than `bytes`.
    #[must_use]
    pub fn max_message_size(mut self, bytes: u64) -> Self {
        self.max_message_size = bytes;
        self
    }

    /// What was found, and what is missing in what was read so far.
    #[must_use]
    pub fn report(&self) -> &FolderReport {
        &self.report
    }

    /// How much there is, and of when: asks for size and time of every file, and reads none.
    ///
    /// # Errors
    /// [`FolderError::Io`].
    pub fn extent(&self) -> Result<FolderExtent, FolderError> {
        FolderExtent::take(&self.path).map_err(|source| io_error(&self.path, source))
    }

    /// The next message; `None` at the end.
    ///
    /// # Errors
    /// [`FolderError`]; the next call goes on after it.
    pub fn next_message(&mut self) -> Result<Option<Recorded>, FolderError> {
        loop {
            match self.read_message() {
                Err(FolderError::MissingMessages { .. } | FolderError::MissingPart { .. })
                    if self.missing == Missing::Skip => {}
                read => return read,
            }
        }
    }

    /// Goes to message `number`, or to the first one after it; what is missing before it is not told.
    pub fn seek_number(&mut self, number: u64) {
        self.listing.seek(number);
        self.ahead = None;
        self.expected = number;
    }

    /// Goes back to the first message.
    pub fn rewind(&mut self) {
        self.seek_number(0);
    }

    fn read_message(&mut self) -> Result<Option<Recorded>, FolderError> {
        let Some(first) = self.next_part()? else {
            return Ok(None);
        };
        let number = first.message;
        if number > self.expected {
            // It is read by the next call.
            self.ahead = Some(first);
            let missing = (self.expected, number - 1);
            self.expected = number;
            let count = (missing.1 - missing.0).saturating_add(1);
            self.report.missing_messages = self.report.missing_messages.saturating_add(count);
            return Err(FolderError::MissingMessages {
                first: missing.0,
                last: missing.1,
            });
        }
        self.expected = number.saturating_add(1);
        let mut parts = vec![first];
        let mut missing = (first.part != 0).then_some(0);
        while let Some(next) = self.next_part()? {
            if next.message != number {
                self.ahead = Some(next);
                break;
            }
            let wanted = parts.last().map_or(0, |last| last.part + 1);
            if next.part != wanted {
                missing = missing.or(Some(wanted));
            }
            parts.push(next);
        }
        let loaded = match missing {
            Some(part) => Err(FolderError::MissingPart {
                message: number,
                part,
            }),
            None => match self.load(number, &parts) {
                Ok(read) => self.complete(read),
                failed => failed,
            },
        };
        if let Err(FolderError::Part { .. } | FolderError::MissingPart { .. }) = &loaded {
            self.report.incomplete_messages += 1;
        }
        loaded.map(Some)
    }

    /// Refuses the last message where it has fewer parts than its header calls for.
    fn complete(&mut self, mut recorded: Recorded) -> Result<Recorded, FolderError> {
        let lacking = first_lacking(&recorded.message).and_then(|part| u32::try_from(part).ok());
        // Where no message has such a part, all were left out on purpose: `m_dump --skip`.
        let Some(part) = lacking.filter(|&part| part <= self.last_part) else {
            return Ok(recorded);
        };
        // Recorders write one message after the other: what a crash tore is the last.
        if Some(recorded.number) == self.report.last_number {
            return Err(FolderError::MissingPart {
                message: recorded.number,
                part,
            });
        }
        self.report.short_messages += 1;
        recorded.lacks = Some(part);
        Ok(recorded)
    }

    fn load(&self, number: u64, parts: &[PartName]) -> Result<Recorded, FolderError> {
        let mut time = Timestamp::default();
        let mut size = 0_u64;
        let mut message = Message::new();
        for part in parts {
            let (path, mut file) = self.open_part(*part)?;
            let failed = |source| part_error(number, &path, source);
            let metadata = file.metadata().map_err(failed)?;
            if part.part == 0 {
                time = metadata.modified().map(Timestamp::from).unwrap_or_default();
            }
            size = size.saturating_add(metadata.len());
            if size > self.max_message_size {
                return Err(FolderError::TooLong {
                    message: number,
                    limit: self.max_message_size,
                });
            }
            // The length was just checked; a file that grows meanwhile is cut there.
            let mut bytes = Vec::with_capacity(usize::try_from(metadata.len()).unwrap_or(0));
            file.by_ref()
                .take(metadata.len())
                .read_to_end(&mut bytes)
                .map_err(failed)?;
            message.push_back(Frame::from(bytes));
        }
        Ok(Recorded {
            number,
            time,
            message,
            lacks: None,
        })
    }

    fn open_part(&self, part: PartName) -> Result<(PathBuf, File), FolderError> {
        let path = self.path.join(part.canonical());
        let failed = |path: &Path, source| part_error(part.message, path, source);
        match File::open(&path) {
            Ok(file) => Ok((path, file)),
            Err(error) if error.kind() == io::ErrorKind::NotFound && self.report.unusual > 0 => {
                let found = find(&self.path, part).map_err(|source| io_error(&self.path, source))?;
                let path = found.unwrap_or(path);
                let file = File::open(&path).map_err(|source| failed(&path, source))?;
                Ok((path, file))
            }
            Err(source) => Err(failed(&path, source)),
        }
    }

    fn next_part(&mut self) -> Result<Option<PartName>, FolderError> {
        match self.ahead.take() {
            Some(part) => Ok(Some(part)),
            None => self.listing.next().map_err(|source| io_error(&self.path, source)),
        }
    }
}

impl Iterator for Folder {
    type Item = Result<Recorded, FolderError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_message().transpose()
    }
}

fn io_error(path: &Path, source: io::Error) -> FolderError {
    FolderError::Io {
        path: path.to_owned(),
        source,
    }
}

fn part_error(message: u64, path: &Path, source: io::Error) -> FolderError {
    FolderError::Part {
        message,
        path: path.to_owned(),
        source,
    }
}

/// The file of a part whose name has another number of digits. Slow, and rare.
fn find(folder: &Path, part: PartName) -> io::Result<Option<PathBuf>> {
    // Names that a program with other widths would write.
    for message_width in 1..=20 {
        for part_width in 1..=10 {
            let name = format!("{:0message_width$}_{:0part_width$}.raw", part.message, part.part);
            let path = folder.join(name);
            if fs::exists(&path)? {
                return Ok(Some(path));
            }
        }
    }
    Ok(None)
}
