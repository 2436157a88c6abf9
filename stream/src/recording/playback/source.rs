//! Anything that was recorded, whatever its format.

use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::recording::file_set::{FileSet, SetError};
use crate::recording::folder::{Folder, FolderError};
use crate::recording::{OpenError, ReadError, Reader, Recorded, Timestamp, file_name};

/// A recording: a file, the numbered files of a rotated one, or a folder.
#[derive(Debug)]
pub struct Recording(Format);

#[derive(Debug)]
enum Format {
    File(Box<Reader>),
    Files(Box<FileSet>),
    Folder(Box<Folder>),
}

/// Why a recording, or a message of it, cannot be read.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SourceError {
    /// A file is no recording, or cannot be read. One of several files of a rotated recording is left out.
    #[error("{} cannot be opened", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// Why.
        source: OpenError,
    },
    /// Messages of a rotated recording are missing: the file that had them is gone, or is not read.
    #[error("{} before {}", match first == last {
        true => format!("message {first} is missing"),
        false => format!("messages {first} to {last} are missing"),
    }, path.display())]
    MissingMessages {
        /// The number of the first one.
        first: u64,
        /// The number of the last one.
        last: u64,
        /// The file that goes on after them.
        path: PathBuf,
    },
    /// A file has the name of one of a rotated recording, and is of another one. It is left out.
    #[error("{} is of another recording than the files before it", path.display())]
    OtherRecording {
        /// The file.
        path: PathBuf,
    },
    /// A message cannot be read; the next one can.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// A message of a folder cannot be read; the next one can.
    #[error(transparent)]
    Folder(#[from] FolderError),
}

impl SourceError {
    /// Whether reading goes on after it.
    #[must_use]
    pub fn is_passed(&self) -> bool {
        !matches!(
            self,
            SourceError::Read(ReadError::Io { .. }) | SourceError::Folder(FolderError::Io { .. })
        )
    }

    /// The number of the message that cannot be read, or of the first of several; `None` where it is not known.
    pub(super) fn number(&self) -> Option<u64> {
        match self {
            SourceError::MissingMessages { first, .. }
            | SourceError::Folder(FolderError::MissingMessages { first, .. }) => Some(*first),
            SourceError::Read(ReadError::Damaged { number, .. }) => *number,
            SourceError::Read(ReadError::Unsupported { number, .. } | ReadError::TooLong { number, .. }) => {
                Some(*number)
            }
            SourceError::Folder(
                FolderError::MissingPart { message, .. }
                | FolderError::Part { message, .. }
                | FolderError::TooLong { message, .. },
            ) => Some(*message),
            SourceError::Open { .. }
            | SourceError::OtherRecording { .. }
            | SourceError::Read(ReadError::Io { .. })
            | SourceError::Folder(FolderError::Io { .. }) => None,
        }
    }
}

impl Recording {
    /// Opens what is at `path`: a folder of parts, a recording file, or, where there is no such file but
    /// `NAME.000000.EXTENSION`, the numbered files of that recording as one.
    ///
    /// # Errors
    /// [`SourceError::Open`] and [`SourceError::Folder`].
    pub fn open(path: impl AsRef<Path>) -> Result<Self, SourceError> {
        let path = path.as_ref();
        let failed = |source| SourceError::Open {
            path: path.to_owned(),
            source,
        };
        if path.is_dir() {
            return Ok(Folder::open(path)?.into());
        }
        if !path.exists() {
            let files = file_name::all_numbered(path).unwrap_or_default();
            if !files.is_empty() {
                let set = FileSet::open(files)?;
                return Ok(Recording(Format::Files(Box::new(set))));
            }
        }
        Ok(Reader::open(path).map_err(failed)?.into())
    }

    /// The numbered files of a rotated recording; none of another one.
    #[must_use]
    pub fn numbered_files(&self) -> &[PathBuf] {
        match &self.0 {
            Format::Files(set) => set.files(),
            Format::File(_) | Format::Folder(_) => &[],
        }
    }

    /// What is missing between the files of a rotated recording, and which of them cannot be opened; nothing of other
    /// recordings. Goes back to the first message.
    pub fn missing_files(&mut self) -> Vec<SourceError> {
        match &mut self.0 {
            Format::Files(set) => set.faults().into_iter().map(Into::into).collect(),
            Format::File(_) | Format::Folder(_) => Vec::new(),
        }
    }

    /// Whether there is no message in it: no whole one in a file, no part of any in a folder. Several files of a rotated
    /// recording count as something.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        match &self.0 {
            Format::File(reader) => reader.info().messages == 0 && reader.info().damaged == 0,
            Format::Files(_) => false,
            Format::Folder(folder) => folder.report().parts == 0,
        }
    }

    /// The next message; `None` at the end.
    ///
    /// # Errors
    /// [`SourceError`]; where [`SourceError::is_passed`], the next call goes on after it.
    pub fn next_message(&mut self) -> Result<Option<Recorded>, SourceError> {
        match &mut self.0 {
            Format::File(reader) => Ok(reader.next_message()?),
            Format::Files(set) => Ok(set.next_message()?),
            Format::Folder(folder) => Ok(folder.next_message()?),
        }
    }

    /// Goes to the first message whose number is `number` or more.
    ///
    /// # Errors
    /// [`SourceError`] when the file cannot be read.
    pub fn seek_number(&mut self, number: u64) -> Result<(), SourceError> {
        match &mut self.0 {
            Format::File(reader) => reader.seek_number(number)?,
            Format::Files(set) => set.seek_number(number)?,
            Format::Folder(folder) => folder.seek_number(number),
        }
        Ok(())
    }

    /// Goes to the first message that arrived at `time` or later. A folder has no index of times: it goes to its first
    /// message.
    ///
    /// # Errors
    /// [`SourceError`] when the file cannot be read.
    pub fn seek_time(&mut self, time: Timestamp) -> Result<(), SourceError> {
        match &mut self.0 {
            Format::File(reader) => reader.seek_time(time)?,
            Format::Files(set) => set.seek_time(time)?,
            Format::Folder(folder) => folder.rewind(),
        }
        Ok(())
    }

    /// Whether no message arrived before the one before it: nothing is known of the times of a folder.
    pub(super) fn times_rise(&self) -> bool {
        !matches!(self.0, Format::Folder(_))
    }

    /// Goes back to the first message.
    pub fn rewind(&mut self) {
        match &mut self.0 {
            Format::File(reader) => reader.rewind(),
            Format::Files(set) => set.rewind(),
            Format::Folder(folder) => folder.rewind(),
        }
    }
}

/// Yields errors for what cannot be read and, where [`SourceError::is_passed`], goes on after it.
impl Iterator for Recording {
    type Item = Result<Recorded, SourceError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_message().transpose()
    }
}

impl From<Reader> for Recording {
    fn from(reader: Reader) -> Self {
        Recording(Format::File(Box::new(reader)))
    }
}

impl From<Folder> for Recording {
    fn from(folder: Folder) -> Self {
        Recording(Format::Folder(Box::new(folder)))
    }
}

impl From<SetError> for SourceError {
    fn from(error: SetError) -> Self {
        match error {
            SetError::Open { path, source } => SourceError::Open { path, source },
            SetError::Missing { first, last, path } => SourceError::MissingMessages { first, last, path },
            SetError::Foreign { path } => SourceError::OtherRecording { path },
            SetError::Read(error) => SourceError::Read(error),
        }
    }
}
