//! The folder that files are received into, and that nothing leads out of.
//!
//! Every step goes from an open folder to a name in it and follows no symbolic link, so that it does not matter what
//! others do to the folder meanwhile.

use std::ffi::OsStr;
use std::fs::{File, FileTimes, Permissions, TryLockError};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::time::{Duration, SystemTime};

use rustix::fs::{AtFlags, CWD, Mode, OFlags, mkdirat, openat, renameat, statat, unlinkat};
use rustix::io::Errno;

use super::path::RelativePath;
use super::protocol::Entry;

/// The folder that files are received into.
#[derive(Debug)]
pub(super) struct Folder {
    root: OwnedFd,
}

/// How often it is tried to get hold of a file that others take away.
const ATTEMPTS: usize = 10;

const IS_FOLDER: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);
const NO_LINK: OFlags = OFlags::NOFOLLOW.union(OFlags::CLOEXEC);

impl Folder {
    /// Opens the folder, and makes it if it is not there.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        std::fs::create_dir_all(path)?;
        // Whoever names a link here means what it leads to.
        let root = openat(CWD, path, IS_FOLDER, Mode::empty())?;
        Ok(Folder { root })
    }

    /// Makes a folder, and those that it is in. One that is there is as good.
    pub(super) fn make(&self, path: &RelativePath) -> io::Result<()> {
        let parent = self.parent(path)?;
        enter(&parent, path.name()).map(drop)
    }

    /// Gives a folder its permissions and the time of its last change.
    pub(super) fn settle(&self, entry: &Entry) -> io::Result<()> {
        let parent = self.parent(&entry.path)?;
        let folder = openat(&parent, entry.path.name(), IS_FOLDER | NO_LINK, Mode::empty())?;
        dress(&File::from(folder), entry)
    }

    /// Opens a file that is complete, to be read; `None` if there is none of that name.
    pub(super) fn existing(&self, path: &RelativePath) -> io::Result<Option<File>> {
        self.regular(path, path.name(), OFlags::RDONLY)
    }

    /// Opens what there is of a file that is not complete, to be read.
    pub(super) fn unfinished(&self, path: &RelativePath) -> io::Result<Option<File>> {
        self.regular(path, OsStr::from_bytes(&path.part_name()), OFlags::RDONLY)
    }

    /// Opens the file that `path` becomes when it is complete, to be written. Nobody else writes it meanwhile.
    pub(super) fn begin(&self, path: &RelativePath) -> io::Result<File> {
        let flags = OFlags::RDWR | OFlags::CREATE;
        let name = path.part_name();
        for _ in 0..ATTEMPTS {
            let file = self.regular(path, OsStr::from_bytes(&name), flags)?;
            let file = file.ok_or(io::ErrorKind::NotFound)?;
            match file.try_lock() {
                // Between opening and locking, who had it locked may have given it its name, or taken it away.
                Ok(()) if self.is_named(&file, path, OsStr::from_bytes(&name))? => return Ok(file),
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => break,
                Err(TryLockError::Error(error)) => return Err(error),
            }
        }
        Err(io::Error::other("another program receives it into this folder"))
    }

    /// Gives a file that is complete its name, once it is on the disk: whatever happens to this machine, what has the
    /// name is complete. Errors of writing that the system has put off show here, too. (For a small file that takes some
    /// 0.35 ms on a solid-state disk; without, what was reported as complete could be gone after a loss of power.)
    pub(super) fn complete(&self, part: &File, entry: &Entry) -> io::Result<()> {
        part.sync_data()?;
        dress(part, entry)?;
        let name = entry.path.part_name();
        let name = OsStr::from_bytes(&name);
        if !self.is_named(part, &entry.path, name)? {
            return Err(io::Error::other("somebody has taken it away"));
        }
        let parent = self.parent(&entry.path)?;
        renameat(&parent, name, &parent, entry.path.name())?;
        Ok(())
    }

    /// Gives a file that was complete before its permissions and the time of its last change.
    pub(super) fn refresh(&self, file: &File, entry: &Entry) -> io::Result<()> {
        dress(file, entry)?;
        self.discard(&entry.path)
    }

    /// Takes away what there is of a file that is not complete, unless another program is receiving it.
    pub(super) fn discard(&self, path: &RelativePath) -> io::Result<()> {
        let parent = self.parent(path)?;
        let name = path.part_name();
        // Locked until the name is gone.
        let part = self.unfinished(path).ok().flatten();
        if let Some(part) = &part
            && matches!(part.try_lock(), Err(TryLockError::WouldBlock))
        {
            return Ok(());
        }
        match unlinkat(&parent, OsStr::from_bytes(&name), AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// The folder that something is in; those that are not there are made.
    fn parent(&self, path: &RelativePath) -> io::Result<OwnedFd> {
        let mut at = self.root.try_clone()?;
        for name in path.folders() {
            at = enter(&at, name)?;
        }
        Ok(at)
    }

    /// Whether it is this file that has that name beside `path`.
    fn is_named(&self, file: &File, path: &RelativePath, name: &OsStr) -> io::Result<bool> {
        let open = file.metadata()?;
        match statat(self.parent(path)?, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(named) => Ok((named.st_dev, named.st_ino) == (open.dev(), open.ino())),
            Err(Errno::NOENT) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    fn regular(&self, path: &RelativePath, name: &OsStr, flags: OFlags) -> io::Result<Option<File>> {
        let parent = self.parent(path)?;
        // A pipe of this name must not be waited for.
        let flags = flags | NO_LINK | OFlags::NONBLOCK;
        let file = match openat(&parent, name, flags, Mode::from_raw_mode(0o600)) {
            Ok(file) => File::from(file),
            Err(Errno::NOENT) => return Ok(None),
            Err(Errno::LOOP) => return Err(io::Error::other("a symbolic link is in its place")),
            Err(error) => return Err(error.into()),
        };
        match file.metadata()?.is_file() {
            true => Ok(Some(file)),
            false => Err(io::Error::other("something that is no file is in its place")),
        }
    }
}

/// Opens a folder in a folder, and makes it if it is not there.
fn enter(parent: &OwnedFd, name: &OsStr) -> io::Result<OwnedFd> {
    let open = || openat(parent, name, IS_FOLDER | NO_LINK, Mode::empty());
    let opened = match open() {
        Err(Errno::NOENT) => match mkdirat(parent, name, Mode::from_raw_mode(0o777)) {
            Ok(()) | Err(Errno::EXIST) => open(),
            Err(error) => Err(error),
        },
        opened => opened,
    };
    opened.map_err(|error| match error {
        Errno::LOOP | Errno::NOTDIR => {
            let name = name.to_string_lossy();
            io::Error::other(format!(
                "{:?} is in its way, a symbolic link or no folder",
                name.as_ref()
            ))
        }
        error => error.into(),
    })
}

/// Permission bits and the time of the last change.
fn dress(file: &File, entry: &Entry) -> io::Result<()> {
    let (seconds, nanoseconds) = entry.modified;
    let whole = Duration::from_secs(seconds.unsigned_abs());
    let time = match seconds {
        0.. => SystemTime::UNIX_EPOCH.checked_add(whole),
        _ => SystemTime::UNIX_EPOCH.checked_sub(whole),
    };
    let time = time.and_then(|time| time.checked_add(Duration::from_nanos(nanoseconds.into())));
    if let Some(time) = time {
        file.set_times(FileTimes::new().set_modified(time))?;
    }
    file.set_permissions(Permissions::from_mode(entry.mode))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Write;
    use std::os::unix::fs::{MetadataExt, symlink};

    use super::super::protocol::Kind;
    use super::*;

    fn path(text: &str) -> RelativePath {
        RelativePath::parse(text.into()).unwrap()
    }

    fn entry(text: &str) -> Entry {
        Entry {
            path: path(text),
            kind: Kind::File { size: 0 },
            mode: 0o640,
            modified: (-5, 500),
        }
    }

    #[test]
    fn a_file_gets_its_name_when_it_is_complete() {
        let temporary = tempfile::tempdir().unwrap();
        let folder = Folder::open(&temporary.path().join("new/dir")).unwrap();
        let mut part = folder.begin(&path("a/b/ü")).unwrap();
        part.write_all(b"text").unwrap();
        assert!(folder.existing(&path("a/b/ü")).unwrap().is_none());
        assert!(folder.begin(&path("a/b/ü")).is_err(), "it is being written");
        folder.complete(&part, &entry("a/b/ü")).unwrap();
        let whole = temporary.path().join("new/dir/a/b/ü");
        assert_eq!(fs::read(&whole).unwrap(), b"text");
        let metadata = fs::metadata(&whole).unwrap();
        assert_eq!(
            (metadata.mode() & 0o7777, metadata.mtime(), metadata.mtime_nsec()),
            (0o640, -5, 500)
        );
        assert_eq!(
            fs::read_dir(whole.parent().unwrap()).unwrap().count(),
            1,
            "no part is left"
        );
    }

    #[test]
    fn what_somebody_else_receives_is_left_alone() {
        let temporary = tempfile::tempdir().unwrap();
        let folder = Folder::open(temporary.path()).unwrap();
        let name = path("name");
        let theirs = folder.begin(&name).unwrap();
        folder.discard(&name).unwrap();
        assert!(folder.unfinished(&name).unwrap().is_some(), "they write it");
        // They had it open when its name went to another.
        let part = temporary.path().join(".name.flexbond-part");
        fs::remove_file(&part).unwrap();
        assert!(
            !folder
                .is_named(&theirs, &name, part.file_name().unwrap())
                .unwrap()
        );
        let ours = folder.begin(&name).unwrap();
        assert!(folder.is_named(&ours, &name, part.file_name().unwrap()).unwrap());
        let error = folder.complete(&theirs, &entry("name")).unwrap_err();
        assert!(error.to_string().contains("taken it away"), "{error}");
        folder.complete(&ours, &entry("name")).unwrap();
    }

    #[test]
    fn links_lead_nowhere() {
        let temporary = tempfile::tempdir().unwrap();
        let outside = temporary.path().join("outside");
        fs::create_dir(&outside).unwrap();
        fs::write(outside.join("victim"), "mine").unwrap();
        let inside = temporary.path().join("inside");
        let folder = Folder::open(&inside).unwrap();
        symlink(&outside, inside.join("out")).unwrap();
        symlink(outside.join("victim"), inside.join("file")).unwrap();
        symlink(outside.join("victim"), inside.join(".other.flexbond-part")).unwrap();

        for error in [
            folder.begin(&path("out/new")).map(drop),
            folder.make(&path("out/new")),
            folder.make(&path("out")),
            folder.existing(&path("out/victim")).map(drop),
            folder.existing(&path("file")).map(drop),
            folder.discard(&path("out/victim")),
            folder.begin(&path("other")).map(drop),
            folder.settle(&entry("out")),
        ] {
            let text = error.unwrap_err().to_string();
            assert!(text.contains("link") || text.contains("ot a directory"), "{text}");
        }
        // A link in the place of a file is replaced, not followed.
        let part = folder.begin(&path("file")).unwrap();
        folder.complete(&part, &entry("file")).unwrap();
        assert!(!inside.join("file").is_symlink());
        assert_eq!(fs::read(outside.join("victim")).unwrap(), b"mine");
        assert_eq!(fs::read_dir(&outside).unwrap().count(), 1);
    }

    #[test]
    fn what_is_no_file_is_not_opened() {
        let temporary = tempfile::tempdir().unwrap();
        let folder = Folder::open(temporary.path()).unwrap();
        folder.make(&path("name")).unwrap();
        assert!(folder.existing(&path("name")).is_err());
        assert!(folder.make(&path("name")).is_ok(), "it is there");
        folder.begin(&path("file")).unwrap();
        folder.discard(&path("file")).unwrap();
        folder.discard(&path("file")).unwrap();
        assert!(folder.unfinished(&path("file")).unwrap().is_none());
    }
}
