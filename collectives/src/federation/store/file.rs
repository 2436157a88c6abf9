//! The store in its file.

use std::fs::{File, OpenOptions};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use redb::backends::FileBackend;
use redb::{
    Builder, Database, DatabaseError, ReadableDatabase, ReadableTableMetadata, StorageError, TableHandle,
};

use super::StoreError;
use super::apply::apply;
use super::failure::Failure;
use super::read::{load, restore};
use super::rows::{BEFORE, CONTENTS, FLOWS, FORMAT, JOB_FLOWS, JOBS, MESSAGES, META, NEXTS, PAIRS, PIECES};
use crate::federation::relay::{Op, PieceId, Record};

/// A commit leaves so much of the device free: removing what is settled takes new pages first.
const RESERVE: u64 = 2 << 20;
/// With more content than this, each commit writes what is needed to open the file at once after a crash. It takes a second
/// flush then; with less, looking at the whole file takes less than a second.
const LARGE: u64 = 512 << 20;
/// A file may have so many bytes, and so many times its content. It grows to about three times the most that was ever in it,
/// and one page that is in use at its end keeps it there.
const SLACK: u64 = 64 << 20;
const TIMES: u64 = 4;
/// More than this takes too long to be moved, content and rows.
const MOVABLE: u64 = 32 << 20;
/// What a row takes, about, beside content.
const OF_ROW: u64 = 100;

/// A store in a file of redb. See the module for its tables.
#[derive(Debug)]
pub(crate) struct FileStore {
    path: PathBuf,
    cache: usize,
    /// None after a failure, until the next use opens it again.
    database: Option<Database>,
    /// Bytes of content that it has.
    content: u64,
    /// Bytes that the file may have beside those for its content.
    slack: u64,
    /// Bytes that may be moved, of content and rows.
    movable: u64,
}

impl FileStore {
    /// Opens the file, or makes it. `cache` is how many bytes of it stay in memory, both directions together.
    pub(crate) fn open(path: impl Into<PathBuf>, cache: usize) -> Result<Self, StoreError> {
        let mut store = FileStore {
            path: path.into(),
            cache,
            database: None,
            content: 0,
            slack: SLACK,
            movable: MOVABLE,
        };
        store.reopen()?;
        Ok(store)
    }

    /// Bytes of content that it has.
    pub(crate) fn content(&self) -> u64 {
        self.content
    }

    fn reopen(&mut self) -> Result<(), StoreError> {
        // The one before has to give up its lock first.
        self.database = None;
        let database = self.guarded(|| open(&self.path, self.cache))?;
        self.guarded(|| {
            prepare(&database).map_err(|failure| match failure {
                Prepare::Foreign => StoreError::Foreign {
                    path: self.path.clone(),
                },
                Prepare::Newer(version) => StoreError::Newer {
                    path: self.path.clone(),
                    version,
                    known: FORMAT,
                },
                Prepare::Failed(failure) => self.explain(failure),
            })
        })?;
        self.database = Some(database);
        Ok(())
    }

    /// redb panics at some damages.
    fn guarded<T>(&self, work: impl FnOnce() -> Result<T, StoreError>) -> Result<T, StoreError> {
        catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
            Err(StoreError::Damaged {
                path: self.path.clone(),
                reason: text.unwrap_or("its pages make no sense").to_owned(),
            })
        })
    }

    fn explain(&self, failure: Failure) -> StoreError {
        let path = self.path.clone();
        match failure {
            Failure::Damaged(reason) => StoreError::Damaged { path, reason },
            Failure::Storage(error) => storage_error(path, error),
        }
    }

    /// Does something with the database. After a failure it is opened anew: redb does nothing more with one that could not
    /// be written once.
    fn with<T>(&mut self, work: impl FnOnce(&Database) -> Result<T, Failure>) -> Result<T, StoreError> {
        if self.database.is_none() {
            self.reopen()?;
        }
        let Some(database) = &self.database else {
            return Err(self.explain(Failure::Damaged("it is closed".to_owned())));
        };
        let result = self.guarded(|| work(database).map_err(|failure| self.explain(failure)));
        if matches!(
            &result,
            Err(StoreError::Io { .. } | StoreError::Full { .. } | StoreError::Damaged { .. })
        ) {
            self.database = None;
        }
        result
    }

    /// Whether there is room for so much more, on the device or in the file itself. Finding that out by failing costs
    /// opening the file again.
    fn check_room(&self, more: u64) -> Result<(), StoreError> {
        let full = || StoreError::Full {
            path: self.path.clone(),
        };
        let Some((free, taken)) = room(&self.path) else {
            return Ok(());
        };
        // What is in pages takes up to twice its bytes.
        let needed = more.saturating_mul(2).saturating_add(RESERVE);
        let unused = taken.saturating_sub(self.content.saturating_mul(2));
        match free >= needed || unused >= needed {
            true => Ok(()),
            false => Err(full()),
        }
    }
}

impl FileStore {
    /// Tells everything that is there: jobs before their parties and flows, flows before their messages, messages before
    /// their pieces, these without contents.
    pub(crate) fn restore(&mut self, visit: &mut dyn FnMut(Record)) -> Result<(), StoreError> {
        let mut content = 0;
        self.with(|database| {
            restore(database, &mut |record| {
                if let Record::Piece { len, .. } = &record {
                    content += len;
                }
                visit(record);
            })
        })?;
        self.content = content;
        Ok(())
    }

    /// Does all of it, in order, or nothing.
    ///
    /// # Errors
    /// [`StoreError::Full`] and [`StoreError::Io`] may pass; a retry is sound.
    pub(crate) fn commit(&mut self, ops: &[Op]) -> Result<(), StoreError> {
        let more = ops.iter().map(Self::weight).sum();
        if more > 0 {
            self.check_room(more)?;
        }
        let is_large = self.content > LARGE;
        let change = self.with(|database| {
            let mut transaction = database.begin_write()?;
            transaction.set_quick_repair(is_large);
            let change = apply(&transaction, ops)?;
            transaction.commit()?;
            Ok(change)
        })?;
        self.content = self
            .content
            .saturating_add(change.added)
            .saturating_sub(change.removed);
        Ok(())
    }

    /// What a change takes of the room, about.
    pub(crate) fn weight(op: &Op) -> u64 {
        match op {
            Op::Piece { content, .. } => content.iter().map(|buffer| buffer.len() as u64 + 64).sum(),
            Op::Keep(Record::Message { .. }) => 256,
            _ => 0,
        }
    }

    /// Gives back to the device what the file has far too much of, if little is to be moved for that, which takes about a
    /// second at most. Whether it was so. Where it fails, as on a device that has no room for it, what is kept is there all
    /// the same, and what is wrong with the file is told by who needs it next.
    pub(crate) fn shrink(&mut self) -> bool {
        if self.length() <= self.content.saturating_mul(TIMES) + self.slack {
            return false;
        }
        let Ok(rows) = self.with(count) else {
            return false;
        };
        if self.content.saturating_add(rows.saturating_mul(OF_ROW)) > self.movable {
            return false;
        }
        let Some(mut database) = self.database.take() else {
            return false;
        };
        // Without it, the next use opens the file again.
        let compact = || database.compact().map_err(|error| self.explain(error.into()));
        if self.guarded(compact).is_err() {
            return false;
        }
        self.database = Some(database);
        // What is beside the content, for once, is not moved again and again.
        self.slack = self.slack.max(self.length());
        true
    }

    fn length(&self) -> u64 {
        std::fs::metadata(&self.path).map_or(0, |file| file.len())
    }

    #[cfg(test)]
    pub(crate) fn set_slack(&mut self, slack: u64) {
        self.slack = slack;
    }

    #[cfg(test)]
    pub(crate) fn set_movable(&mut self, movable: u64) {
        self.movable = movable;
    }

    /// The buffers of each of these pieces; none of one that is not there.
    pub(crate) fn load(&mut self, pieces: &[PieceId]) -> Result<Vec<Option<Vec<Bytes>>>, StoreError> {
        self.with(|database| load(database, pieces))
    }
}

fn open(path: &Path, cache: usize) -> Result<Database, StoreError> {
    let failed = |source| StoreError::Open {
        path: path.to_owned(),
        source,
    };
    let is_new = !path.try_exists().map_err(failed)?;
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt;

        // What parties say to each other is nobody else's affair.
        options.mode(0o600);
    }
    let file = options.open(path).map_err(failed)?;
    if !file.metadata().map_err(failed)?.is_file() {
        return Err(failed(io::Error::other("it is no regular file")));
    }
    let backend = FileBackend::new(file).map_err(|error| open_error(path, error))?;
    let database = Builder::new().set_cache_size(cache).create_with_backend(backend);
    let database = database.map_err(|error| open_error(path, error))?;
    if is_new {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        let folder = File::open(folder.unwrap_or(Path::new(".")));
        folder.and_then(|folder| folder.sync_all()).map_err(failed)?;
    }
    Ok(database)
}

fn open_error(path: &Path, error: DatabaseError) -> StoreError {
    let path = path.to_owned();
    match error {
        DatabaseError::DatabaseAlreadyOpen | DatabaseError::LockProtocolMismatch => {
            StoreError::InUse { path }
        }
        DatabaseError::UpgradeRequired(version) => StoreError::Damaged {
            path,
            reason: format!("its pages are of version {version} of redb, which cannot be read"),
        },
        DatabaseError::Storage(StorageError::Io(source)) if source.kind() == io::ErrorKind::InvalidData => {
            StoreError::Foreign { path }
        }
        DatabaseError::Storage(error) => storage_error(path, error),
        other => StoreError::Damaged {
            path,
            reason: other.to_string(),
        },
    }
}

fn storage_error(path: PathBuf, error: StorageError) -> StoreError {
    match error {
        StorageError::Io(source) => match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
                StoreError::Full { path }
            }
            io::ErrorKind::UnexpectedEof => StoreError::Damaged {
                path,
                reason: "it is shorter than it says".to_owned(),
            },
            _ => StoreError::Io { path, source },
        },
        StorageError::PreviousIo => StoreError::Io {
            path,
            source: io::Error::other("an earlier failure"),
        },
        other => StoreError::Damaged {
            path,
            reason: other.to_string(),
        },
    }
}

enum Prepare {
    Foreign,
    Newer(u64),
    Failed(Failure),
}

impl<E: Into<Failure>> From<E> for Prepare {
    fn from(error: E) -> Self {
        Prepare::Failed(error.into())
    }
}

/// Looks whether the database is a store, and makes one of an empty database.
fn prepare(database: &Database) -> Result<(), Prepare> {
    let reading = database.begin_read()?;
    let tables = reading.list_tables()?;
    let mut names = tables.map(|table| table.name().to_owned()).collect::<Vec<_>>();
    let is_empty = names.is_empty() && reading.list_multimap_tables()?.next().is_none();
    names.retain(|name| name == META.name());
    if !is_empty {
        if names.is_empty() {
            return Err(Prepare::Foreign);
        }
        let meta = reading.open_table(META).map_err(|_| Prepare::Foreign)?;
        let version = meta.get("format")?.map(|format| format.value());
        return match version {
            Some(FORMAT) => Ok(()),
            // What is there is read as it is. The version before must not read what comes.
            Some(BEFORE) => {
                drop((meta, reading));
                let transaction = database.begin_write()?;
                transaction.open_table(META)?.insert("format", FORMAT)?;
                Ok(transaction.commit()?)
            }
            Some(version) if version > FORMAT => Err(Prepare::Newer(version)),
            _ => Err(Prepare::Foreign),
        };
    }
    drop(reading);
    let transaction = database.begin_write()?;
    transaction.open_table(META)?.insert("format", FORMAT)?;
    transaction.open_table(JOBS)?;
    transaction.open_table(PAIRS)?;
    transaction.open_table(FLOWS)?;
    transaction.open_table(NEXTS)?;
    transaction.open_table(JOB_FLOWS)?;
    transaction.open_table(MESSAGES)?;
    transaction.open_table(PIECES)?;
    transaction.open_table(CONTENTS)?;
    Ok(transaction.commit()?)
}

/// How many rows there are. The database knows, and looks at none.
fn count(database: &Database) -> Result<u64, Failure> {
    let reading = database.begin_read()?;
    let mut rows = 0;
    for table in reading.list_tables()? {
        rows += reading.open_untyped_table(table)?.len()?;
    }
    Ok(rows)
}

/// Bytes that are free on the device of a file, and bytes of it that the file has.
#[cfg(unix)]
fn room(path: &Path) -> Option<(u64, u64)> {
    use std::os::unix::fs::MetadataExt;

    let device = rustix::fs::statvfs(path).ok()?;
    let free = device.f_bavail.saturating_mul(device.f_frsize);
    let taken = std::fs::metadata(path).ok()?.blocks().saturating_mul(512);
    Some((free, taken))
}

#[cfg(not(unix))]
fn room(_: &Path) -> Option<(u64, u64)> {
    None
}
