//! Which file something is and when it was changed, to find out whether it still is what it was.

use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::time::{Duration, SystemTime};

/// Two changes that are further apart than this have different times: file systems take theirs from a clock that ticks
/// every 10 ms or more often.
const TICK: Duration = Duration::from_millis(20);

/// Which file something is, how long, and when it was last changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    identity: Identity,
    length: u64,
    modified: (i64, i64),
    /// Nobody can set this one, which also moves when permissions change and when the file is renamed.
    changed: (i64, i64),
}

/// Which file something is: the device and the number of the inode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Identity(u64, u64);

impl Identity {
    pub(super) fn of(metadata: &Metadata) -> Self {
        Identity(metadata.dev(), metadata.ino())
    }
}

impl Stamp {
    pub(super) fn of(file: &File) -> io::Result<Self> {
        file.metadata().map(|metadata| Stamp {
            identity: Identity::of(&metadata),
            length: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        })
    }

    /// As [`of`](Self::of), but first waits until any change from now on makes another stamp.
    pub(super) async fn settled(file: &File) -> io::Result<Self> {
        let stamp = Stamp::of(file)?;
        let age = stamp
            .changed_at()
            .and_then(|at| SystemTime::now().duration_since(at).ok());
        match age {
            Some(age) if age < TICK => {
                tokio::time::sleep(TICK - age).await;
                Stamp::of(file)
            }
            _ => Ok(stamp),
        }
    }

    fn changed_at(&self) -> Option<SystemTime> {
        let (seconds, nanoseconds) = self.changed;
        let since = Duration::new(u64::try_from(seconds).ok()?, u32::try_from(nanoseconds).ok()?);
        SystemTime::UNIX_EPOCH.checked_add(since)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Write;

    use super::*;

    #[tokio::test]
    async fn whatever_happens_to_a_file_shows() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        fs::write(&path, "text").unwrap();
        let open = || File::options().read(true).write(true).open(&path).unwrap();
        let time = SystemTime::UNIX_EPOCH;
        let stamp = async || {
            open().set_modified(time).unwrap();
            let stamp = Stamp::settled(&open()).await.unwrap();
            assert_eq!(Stamp::of(&open()).unwrap(), stamp);
            stamp
        };
        let before = stamp().await;
        // The same bytes again, and the same time.
        open().write_all(b"text").unwrap();
        open().set_modified(time).unwrap();
        assert_ne!(Stamp::of(&open()).unwrap(), before);
        let before = stamp().await;
        fs::rename(&path, folder.path().join("other")).unwrap();
        fs::write(&path, "text").unwrap();
        assert_ne!(Stamp::of(&open()).unwrap(), before);
    }
}
