//! Writing a folder that mflow's `m_replay` can replay.

use std::fs::{self, File};
use std::io::{self, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};

use flexbond_transport::Message;
use thiserror::Error;

use super::listing::Census;
use super::name::PartName;

/// Why a folder cannot be written.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum FolderWriteError {
    /// The folder cannot be made or read; nothing changed.
    #[error("{} cannot be used", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The folder has a recording already; nothing changed.
    #[error("{} has {parts} files of another recording; use an empty folder, or append to it", path.display())]
    NotEmpty {
        /// The folder.
        path: PathBuf,
        /// Files that are parts of messages.
        parts: u64,
    },
    /// The disk is full, or fails. The messages before this one are whole; what was written of it was removed.
    #[error("{} cannot be written; {kept} messages are kept, message {message} is lost", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Messages that were written.
        kept: u64,
        /// The number of the one that was not.
        message: u64,
        /// Why.
        source: io::Error,
    },
}

/// Writes messages into a folder, a file per part.
///
/// Part 0 comes last, under a name of its own until it is whole: a crash never leaves half a message that reads as a
/// whole one.
#[derive(Debug)]
pub struct FolderWriter {
    path: PathBuf,
    next: u64,
    written: u64,
    skip: Option<u32>,
}

impl FolderWriter {
    /// Writes to the folder at `path`, which is made if need be and must have no message yet.
    ///
    /// # Errors
    /// [`FolderWriteError::Folder`] and [`FolderWriteError::NotEmpty`].
    pub fn create(path: impl Into<PathBuf>) -> Result<Self, FolderWriteError> {
        let (writer, parts) = Self::open(path.into())?;
        if parts > 0 {
            let path = writer.path;
            return Err(FolderWriteError::NotEmpty { path, parts });
        }
        Ok(writer)
    }

    /// As [`create`](Self::create), and goes on after the last message that is there.
    ///
    /// # Errors
    /// [`FolderWriteError::Folder`].
    pub fn append(path: impl Into<PathBuf>) -> Result<Self, FolderWriteError> {
        Ok(Self::open(path.into())?.0)
    }

    fn open(path: PathBuf) -> Result<(Self, u64), FolderWriteError> {
        let census = fs::create_dir_all(&path).and_then(|()| Census::take(&path));
        let census = match census {
            Ok(census) => census,
            Err(source) => return Err(FolderWriteError::Folder { path, source }),
        };
        let writer = FolderWriter {
            path,
            next: census.messages.map_or(0, |(_, last)| last.saturating_add(1)),
            written: 0,
            skip: None,
        };
        Ok((writer, census.parts))
    }

    /// Leaves out the parts of each message from number `part` on, the header being part 0.
    #[must_use]
    pub fn skip_parts_from(mut self, part: u32) -> Self {
        self.skip = Some(part);
        self
    }

    /// Writes one message and returns its number.
    ///
    /// # Errors
    /// [`FolderWriteError::Write`]; the next message takes the same number.
    pub fn write(&mut self, message: &Message) -> Result<u64, FolderWriteError> {
        let number = self.next;
        let most = self
            .skip
            .map_or(usize::MAX, |skip| usize::try_from(skip).unwrap_or(usize::MAX));
        let parts = &message.frames()[..message.len().min(most)];
        for (index, bytes) in parts.iter().enumerate().rev() {
            // A message of more parts fits into no memory.
            let part = u32::try_from(index).unwrap_or(u32::MAX);
            let path = self.part(number, part);
            let written = if part == 0 {
                write_whole(&path, bytes)
            } else {
                write_new(&path, bytes)
            };
            if let Err(source) = written {
                // What was there before is somebody else's.
                let ours = index + usize::from(source.kind() == io::ErrorKind::AlreadyExists);
                self.remove(number, ours..parts.len());
                return Err(FolderWriteError::Write {
                    path,
                    kept: self.written,
                    message: number,
                    source,
                });
            }
        }
        self.next += 1;
        self.written += 1;
        Ok(number)
    }

    /// Messages written.
    #[must_use]
    pub fn messages(&self) -> u64 {
        self.written
    }

    fn part(&self, message: u64, part: u32) -> PathBuf {
        self.path.join(PartName { message, part }.canonical())
    }

    fn remove(&self, message: u64, parts: Range<usize>) {
        for part in parts {
            let path = self.part(message, u32::try_from(part).unwrap_or(u32::MAX));
            // Those that were never made are not there.
            let _ = fs::remove_file(unfinished(&path));
            let _ = fs::remove_file(path);
        }
    }
}

fn unfinished(path: &Path) -> PathBuf {
    path.with_extension("raw.unfinished")
}

/// Fails where the file is there: somebody else writes to the folder.
fn write_new(path: &Path, bytes: &[u8]) -> io::Result<()> {
    File::create_new(path)?.write_all(bytes)
}

/// As [`write_new`], and nobody sees half of it.
fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    if fs::exists(path)? {
        return Err(io::ErrorKind::AlreadyExists.into());
    }
    let unfinished = unfinished(path);
    // A crash may have left one.
    File::create(&unfinished)?.write_all(bytes)?;
    fs::rename(unfinished, path)
}
