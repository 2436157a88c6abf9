//! A recording being written: one file, or numbered files one after the other.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use flexbond_transport::Message;
use thiserror::Error;

use super::batch::Batch;
use super::chooser::Chooser;
use super::direct_file::DirectFile;
use super::encoder::{EncodeError, Encoder};
use super::file_writer::{FileWriter, Stopped};
use super::survey::Survey;
use super::{Compression, DirectWrites, OpenError, Recovered, Timestamp, UnsupportedCompression, file_name};

/// When what was written is put on the disk, so that it survives a power failure. A crash of the program alone loses
/// nothing that was written, whatever the policy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum SyncPolicy {
    /// When the operating system likes.
    Never,
    /// When a file is closed, besides. The default.
    #[default]
    OnClose,
    /// So long after a message was written at the latest, and on close.
    Every(Duration),
    /// Before the next message is written. A [`Recorder`](super::Recorder) puts messages that wait on the disk together.
    EachMessage,
}

/// When the next file is begun. A file has one message at least.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Rotation {
    /// When the file has so many bytes.
    Size(u64),
    /// When so much time lies between the arrival of the file's first message and the next one.
    Time(Duration),
}

/// How a recording is written. Every field has a default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct WriteOptions {
    /// What messages are compressed with where it pays. Default: nothing.
    pub compression: Compression,
    /// When what was written is put on the disk. Default: on close.
    pub sync: SyncPolicy,
    /// Whether it is written past the page cache of the system. Default: where that is faster.
    pub direct: DirectWrites,
    /// When the next file is begun; with one, files are named `NAME.000000.EXTENSION`, and so on. Default: never.
    pub rotation: Option<Rotation>,
}

impl WriteOptions {
    /// The defaults.
    #[must_use]
    pub fn new() -> Self {
        WriteOptions::default()
    }

    /// Sets `compression`.
    #[must_use]
    pub fn compression(mut self, compression: Compression) -> Self {
        self.compression = compression;
        self
    }

    /// Sets `sync`.
    #[must_use]
    pub fn sync(mut self, sync: SyncPolicy) -> Self {
        self.sync = sync;
        self
    }

    /// Sets `direct`.
    #[must_use]
    pub fn direct(mut self, direct: DirectWrites) -> Self {
        self.direct = direct;
        self
    }

    fn chooser(&self) -> Chooser {
        Chooser::new(self.direct, self.sync != SyncPolicy::Never)
    }

    /// Sets `rotation`.
    #[must_use]
    pub fn rotation(mut self, rotation: Rotation) -> Self {
        self.rotation = Some(rotation);
        self
    }
}

/// What to do with half a message at the end of a file that is appended to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TornTail {
    /// Refuse, and say so.
    Refuse,
    /// Cut it off.
    Truncate,
}

/// Why a recording cannot be written.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum WriteError {
    /// The file cannot be made; nothing changed. An existing file is never overwritten.
    #[error("{} cannot be created", path.display())]
    Create {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file cannot be appended to; nothing changed.
    #[error("{} cannot be appended to", path.display())]
    Append {
        /// The file.
        path: PathBuf,
        /// Why.
        source: OpenError,
    },
    /// Somebody else is recording to the file; nothing changed.
    #[error("{} is being recorded to by another program", path.display())]
    Busy {
        /// The file.
        path: PathBuf,
    },
    /// The file ends with half a message; nothing changed.
    #[error("{} ends with {} bytes of a message that was never finished, from offset {}; allow to cut them off",
        path.display(), recovered.bytes_lost, recovered.end)]
    Torn {
        /// The file.
        path: PathBuf,
        /// What is whole.
        recovered: Recovered,
    },
    /// The thread that writes cannot be started; nothing changed, and it may be possible later.
    #[error("the thread that writes cannot be started")]
    Thread {
        /// Why.
        source: io::Error,
    },
    /// The build lacks a feature.
    #[error(transparent)]
    Compression(#[from] UnsupportedCompression),
    /// The message does not fit the format; it was left out, and others can be written.
    #[error(transparent)]
    Message(#[from] EncodeError),
    /// The disk is full, or fails. Everything up to the last whole message is kept and readable; the recording is over.
    #[error("{} was stopped, {kept} messages are kept and {lost} are lost{}", path.display(),
        if *closed { "" } else { "; there was no room to close the file, it is read as after a crash" })]
    Stopped {
        /// The file.
        path: PathBuf,
        /// Messages in all files of the recording.
        kept: u64,
        /// Messages that were taken and are in no file.
        lost: u64,
        /// Whether the file has its footer.
        closed: bool,
        /// Why.
        source: io::Error,
    },
    /// An earlier write failed.
    #[error("the recording is over since an earlier error")]
    Over,
}

/// What was recorded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Summary {
    /// Messages in all files.
    pub messages: u64,
    /// Their payload bytes.
    pub bytes: u64,
    /// Files.
    pub files: u64,
    /// Messages that were left out because the disk could not keep up; see [`Overflow`](super::Overflow).
    pub dropped: u64,
}

/// Writes a recording, on the thread that calls it.
///
/// Messages are gathered, up to 1 MiB, and written together, past the page cache where that is faster
/// ([`DirectWrites`]): then by a thread of its own, which has up to 2 MiB more. [`flush`](Self::flush) writes what there is.
/// [`finish`](Self::finish) closes the recording; dropping it flushes and leaves it as a crash would.
#[derive(Debug)]
pub struct Writer {
    path: PathBuf,
    file_path: PathBuf,
    options: WriteOptions,
    // None once a write has failed.
    file: Option<FileWriter<DirectFile>>,
    first_time: Option<Timestamp>,
    // Since when something waits to be put on the disk, where it may not wait for ever.
    unsynced: Option<Instant>,
    // Of the files before this one, and of this one before it was appended to.
    earlier: Summary,
}

impl Writer {
    /// Begins a recording at `path`, which must not exist; neither, when it is rotated, may any numbered file of it.
    ///
    /// # Errors
    /// [`WriteError::Create`] and [`WriteError::Compression`].
    pub fn create(path: impl Into<PathBuf>, options: WriteOptions) -> Result<Self, WriteError> {
        let path = path.into();
        let mut batch = Batch::new();
        let now = SystemTime::now().into();
        let encoder = Encoder::new(fastrand::u128(..), now, options.compression, &mut batch)?;
        let file_path = match options.rotation {
            Some(_) => {
                // Found now rather than in the middle of the recording; a file of the very name would hide the others.
                let there = file_name::all_numbered(&path).unwrap_or_default();
                if let Some(path) = there.into_iter().next().or(path.exists().then(|| path.clone())) {
                    let source = io::ErrorKind::AlreadyExists.into();
                    return Err(WriteError::Create { path, source });
                }
                file_name::numbered(&path, 0)
            }
            None => path.clone(),
        };
        let file = create(&file_path, encoder, batch, options, None)?;
        Ok(Writer {
            path,
            file_path,
            options,
            file: Some(file),
            first_time: None,
            unsynced: None,
            earlier: Summary {
                files: 1,
                ..Summary::default()
            },
        })
    }

    /// Goes on with the recording in the file at `path`, closed or not. Numbers go on, and so does its compression;
    /// it is not rotated.
    ///
    /// # Errors
    /// [`WriteError::Append`], [`WriteError::Busy`], and [`WriteError::Torn`] where half a message would have to be cut off and `torn` does
    /// not allow it.
    pub fn append(
        path: impl Into<PathBuf>,
        options: WriteOptions,
        torn: TornTail,
    ) -> Result<Self, WriteError> {
        let path = path.into();
        let failed = |source: OpenError| WriteError::Append {
            path: path.clone(),
            source,
        };
        let opened = OpenOptions::new().read(true).write(true).open(&path);
        let file = opened.map_err(|error| failed(error.into()))?;
        lock(&file, &path)?;
        let survey = Survey::of(&file).map_err(failed)?;
        if let Some(recovered) = survey.recovered().filter(|recovered| recovered.bytes_lost > 0)
            && torn == TornTail::Refuse
        {
            return Err(WriteError::Torn { path, recovered });
        }
        if let Some(preamble) = &survey.preamble
            && !preamble.compression.is_supported()
        {
            return Err(UnsupportedCompression(preamble.compression).into());
        }
        let first_time = (survey.totals.messages > 0).then_some(survey.totals.first_time);
        let file = DirectFile::new(file, options.chooser());
        let file = FileWriter::resume(file, survey).map_err(failed)?;
        Ok(Writer {
            file_path: path.clone(),
            path,
            options: WriteOptions {
                rotation: None,
                ..options
            },
            file: Some(file),
            first_time,
            unsynced: None,
            earlier: Summary {
                files: 1,
                ..Summary::default()
            },
        })
    }

    /// Records one message that arrived at `time`, and returns its number.
    ///
    /// # Errors
    /// [`WriteError::Message`] leaves this message out. After [`WriteError::Stopped`] the recording is over: what was
    /// written before is kept.
    pub fn write(&mut self, message: &Message, time: Timestamp) -> Result<u64, WriteError> {
        let number = self.push(message, time)?;
        self.flush_group(true)?;
        Ok(number)
    }

    /// After messages that came together: as [`flush`](Self::flush), but what was gathered goes with the next ones where
    /// there are `more` and the sync policy can wait.
    pub(super) fn flush_group(&mut self, more: bool) -> Result<(), WriteError> {
        let due = match self.options.sync {
            SyncPolicy::EachMessage => true,
            SyncPolicy::Every(_) => self
                .sync_deadline()
                .is_some_and(|deadline| Instant::now() >= deadline),
            SyncPolicy::Never | SyncPolicy::OnClose => false,
        };
        match more && !due {
            true => Ok(()),
            false => self.flush(),
        }
    }

    /// As [`write`](Self::write), without putting it on the disk yet: for messages that come in groups.
    pub(super) fn push(&mut self, message: &Message, time: Timestamp) -> Result<u64, WriteError> {
        if self.must_rotate(time) {
            self.rotate()?;
        }
        let file = self.file.as_mut().ok_or(WriteError::Over)?;
        let number = file.push(message, time)?;
        self.first_time.get_or_insert(time);
        let full = file.is_full();
        if let SyncPolicy::Every(_) = self.options.sync {
            self.unsynced.get_or_insert_with(Instant::now);
        }
        if full {
            self.with_file(FileWriter::write_blocks)?;
        }
        Ok(number)
    }

    /// Leaves out `messages` numbers: they show as missing.
    pub fn skip(&mut self, messages: u64) {
        if let Some(file) = &mut self.file {
            file.encoder_mut().skip(messages);
            self.earlier.dropped += messages;
        }
    }

    /// Hands everything to the operating system: from here on a crash of this program does not lose it. Where the sync
    /// policy says so, it is on the disk as well.
    ///
    /// # Errors
    /// [`WriteError::Stopped`].
    pub fn flush(&mut self) -> Result<(), WriteError> {
        self.with_file(FileWriter::flush)?;
        match self.options.sync {
            SyncPolicy::Every(interval) if self.unsynced.is_some_and(|since| since.elapsed() >= interval) => {
                self.sync()
            }
            SyncPolicy::EachMessage => self.sync(),
            SyncPolicy::Every(_) | SyncPolicy::Never | SyncPolicy::OnClose => Ok(()),
        }
    }

    /// Puts everything that was flushed on the disk.
    ///
    /// # Errors
    /// [`WriteError::Stopped`].
    pub fn sync(&mut self) -> Result<(), WriteError> {
        self.unsynced = None;
        self.with_file(FileWriter::sync)
    }

    /// When [`flush`](Self::flush) has to be called at the latest for the sync policy to hold.
    #[must_use]
    pub fn sync_deadline(&self) -> Option<Instant> {
        match self.options.sync {
            SyncPolicy::Every(interval) => self.unsynced?.checked_add(interval),
            _ => None,
        }
    }

    /// What was recorded so far.
    #[must_use]
    pub fn summary(&self) -> Summary {
        let (messages, bytes) = self
            .file
            .as_ref()
            .map_or((0, 0), |file| (file.encoder().messages(), file.encoder().bytes()));
        Summary {
            messages: self.earlier.messages + messages,
            bytes: self.earlier.bytes + bytes,
            ..self.earlier
        }
    }

    /// The file that is written now.
    #[must_use]
    pub fn file_path(&self) -> &Path {
        &self.file_path
    }

    /// Closes the recording.
    ///
    /// # Errors
    /// [`WriteError::Stopped`] when the rest or the footer cannot be written; whole messages are kept.
    pub fn finish(mut self) -> Result<Summary, WriteError> {
        self.close_file()?;
        let summary = self.summary();
        self.file = None;
        Ok(summary)
    }

    fn close_file(&mut self) -> Result<(), WriteError> {
        self.with_file(FileWriter::flush)?;
        self.with_file(FileWriter::finish)?;
        if self.options.sync != SyncPolicy::Never {
            self.sync()?;
        }
        Ok(())
    }

    fn must_rotate(&self, time: Timestamp) -> bool {
        let (Some(rotation), Some(first), Some(file)) = (self.options.rotation, self.first_time, &self.file)
        else {
            return false;
        };
        match rotation {
            Rotation::Size(bytes) => file.encoder().offset() >= bytes,
            Rotation::Time(interval) => time.since(first) >= interval,
        }
    }

    fn rotate(&mut self) -> Result<(), WriteError> {
        self.close_file()?;
        let Some(file) = self.file.take() else {
            return Err(WriteError::Over);
        };
        let encoder = file.encoder();
        self.earlier.messages += encoder.messages();
        self.earlier.bytes += encoder.bytes();
        let mut batch = Batch::new();
        let next = encoder.next_file(SystemTime::now().into(), &mut batch);
        self.file_path = file_name::numbered(&self.path, self.earlier.files);
        let created = create(
            &self.file_path,
            next,
            batch,
            self.options,
            Some(file.into_storage()),
        );
        self.file = Some(created.map_err(|error| self.not_rotated(error))?);
        self.earlier.files += 1;
        self.first_time = None;
        Ok(())
    }

    /// The next file cannot be made: those before are closed, and the message that asked for it is lost.
    fn not_rotated(&self, error: WriteError) -> WriteError {
        match error {
            WriteError::Create { path, source } => WriteError::Stopped {
                path,
                kept: self.earlier.messages,
                lost: 1,
                closed: true,
                source,
            },
            other => other,
        }
    }

    fn with_file(
        &mut self,
        act: impl FnOnce(&mut FileWriter<DirectFile>) -> Result<(), Stopped>,
    ) -> Result<(), WriteError> {
        let file = self.file.as_mut().ok_or(WriteError::Over)?;
        act(file).map_err(|stopped| {
            self.file = None;
            self.earlier.messages += stopped.kept;
            WriteError::Stopped {
                path: self.file_path.clone(),
                kept: self.earlier.messages,
                lost: stopped.lost,
                closed: stopped.closed,
                source: stopped.error,
            }
        })
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        // As with a buffered file: whoever wants to know calls `flush` or `finish`.
        if let Some(file) = &mut self.file {
            let _ = file.flush();
        }
    }
}

fn create(
    path: &Path,
    encoder: Encoder,
    batch: Batch,
    options: WriteOptions,
    before: Option<DirectFile>,
) -> Result<FileWriter<DirectFile>, WriteError> {
    let failed = |source| WriteError::Create {
        path: path.to_owned(),
        source,
    };
    let opened = OpenOptions::new()
        .read(true)
        .write(true)
        .create_new(true)
        .open(path);
    let file = opened.map_err(failed)?;
    lock(&file, path)?;
    let file = match before {
        Some(before) => before.followed_by(file),
        None => DirectFile::new(file, options.chooser()),
    };
    let writer = FileWriter::begin(file, encoder, batch).map_err(|error| {
        // Made just now, and empty.
        let _ = std::fs::remove_file(path);
        failed(error)
    })?;
    if options.sync != SyncPolicy::Never {
        sync_folder(path);
    }
    Ok(writer)
}

/// Keeps other writers from the file, where the system can; readers come and go.
fn lock(file: &File, path: &Path) -> Result<(), WriteError> {
    if cfg!(windows) {
        // There a lock would keep readers away, too.
        return Ok(());
    }
    match file.try_lock() {
        Err(TryLockError::WouldBlock) => Err(WriteError::Busy {
            path: path.to_owned(),
        }),
        // Not every file system has locks.
        Ok(()) | Err(TryLockError::Error(_)) => Ok(()),
    }
}

/// Puts the name of a new file on the disk, where the system can.
fn sync_folder(path: &Path) {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let folder = File::open(folder.unwrap_or(Path::new(".")));
    // Not every file system knows this; the file itself is synced in any case.
    let _ = folder.and_then(|folder| folder.sync_all());
}
