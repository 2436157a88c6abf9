//! Taking a path for a socket file and giving it back, beside others who do the same.
//!
//! Whoever binds holds a lock on the directory while it looks at the path, removes a stale file, binds and starts to
//! listen. So nobody ever sees a file of ours that is bound but does not listen yet, which would look stale, and
//! nobody removes a file that another has just made. The lock is on the directory itself: it needs no file of its
//! own, which would have to be left behind, and the kernel drops it with the process.

use std::fs::{self, File, TryLockError};
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use socket2::SockAddr;

use super::{listen, new, sock_addr};
use crate::{IpcAddress, LinkOptions};

/// How long to wait for others who bind in the same directory; each of them needs well under a millisecond.
const LOCK_TIMEOUT: Duration = Duration::from_secs(5);
const LOCK_PAUSE: Duration = Duration::from_millis(1);
/// How many names to try for a socket file of our own choice.
const ATTEMPTS: usize = 16;

/// Why a path could not be taken.
#[derive(Debug)]
pub(super) enum ClaimError {
    /// It is no place for a socket file; why.
    Unusable(String),
    /// The system refused; `AddrInUse` when somebody listens there.
    Io(io::Error),
}

impl From<io::Error> for ClaimError {
    fn from(error: io::Error) -> Self {
        ClaimError::Io(error)
    }
}

/// A socket file that is ours, removed when this is dropped. Belongs beside its listener, and is dropped first.
#[derive(Debug)]
pub(super) struct Claim {
    /// Absolute, because the working directory may have changed when the file is to be removed.
    path: PathBuf,
    /// Device and inode. The open listener keeps the inode from being used again.
    identity: (u64, u64),
}

impl Claim {
    fn of(path: &Path) -> io::Result<Self> {
        Ok(Claim {
            identity: identity(path)?,
            path: std::path::absolute(path)?,
        })
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        // Our listener is live here, so no binder that knows the lock would replace the file between the two calls.
        if identity(&self.path).is_ok_and(|found| found == self.identity) {
            // What cannot be removed is found stale by the next who binds there.
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    let metadata = fs::symlink_metadata(path)?;
    Ok((metadata.dev(), metadata.ino()))
}

/// Binds a path, or one of our own choice for [`IpcAddress::Any`]; says which it was. May block.
pub(super) fn bind(
    address: &IpcAddress,
    options: &LinkOptions,
) -> Result<(IpcAddress, UnixListener, Claim), ClaimError> {
    if let IpcAddress::Path { path } = address {
        let (listener, claim) = bind_path(Path::new(path), &sock_addr(address)?, options)?;
        return Ok((address.clone(), listener, claim));
    }
    let directory = std::env::temp_dir();
    for _ in 0..ATTEMPTS {
        let unique = RandomState::new().hash_one(std::process::id());
        let path = directory.join(format!("flexbond-{unique:016x}.sock"));
        let Some(text) = path.to_str().filter(|text| text.len() <= IpcAddress::MAX_LEN) else {
            let directory = directory.display();
            return Err(ClaimError::Unusable(format!(
                "the path of the temporary directory {directory} is too long or not UTF-8"
            )));
        };
        let address = IpcAddress::Path {
            path: text.to_owned(),
        };
        match bind_path(&path, &sock_addr(&address)?, options) {
            Ok((listener, claim)) => return Ok((address, listener, claim)),
            Err(ClaimError::Io(error)) if error.kind() == io::ErrorKind::AddrInUse => {}
            Err(error) => return Err(error),
        }
    }
    Err(io::Error::from(io::ErrorKind::AddrInUse).into())
}

fn bind_path(
    path: &Path,
    address: &SockAddr,
    options: &LinkOptions,
) -> Result<(UnixListener, Claim), ClaimError> {
    let _lock = lock_directory_of(path)?;
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error.into()),
        Ok(metadata) if metadata.file_type().is_socket() => {
            if is_live(address)? {
                return Err(io::Error::from(io::ErrorKind::AddrInUse).into());
            }
            match fs::remove_file(path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
                _ => {}
            }
        }
        Ok(_) => {
            let path = path.display();
            return Err(ClaimError::Unusable(format!("{path} exists and is not a socket")));
        }
    }
    let listener = listen(address, options)?;
    let claim = Claim::of(path)?;
    Ok((listener, claim))
}

fn lock_directory_of(path: &Path) -> io::Result<File> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    let directory = File::open(parent.unwrap_or(Path::new(".")))?;
    let deadline = Instant::now() + LOCK_TIMEOUT;
    // Not a blocking lock: whoever can read the directory could hold it for ever.
    loop {
        match directory.try_lock() {
            Ok(()) => return Ok(directory),
            Err(TryLockError::WouldBlock) if Instant::now() < deadline => std::thread::sleep(LOCK_PAUSE),
            Err(TryLockError::WouldBlock) => {
                return Err(io::Error::new(
                    io::ErrorKind::TimedOut,
                    format!("another process has held the lock on the directory for {LOCK_TIMEOUT:?}"),
                ));
            }
            Err(TryLockError::Error(error)) => return Err(error),
        }
    }
}

/// Whether somebody listens at a socket file, found out by connecting. In doubt somebody does.
fn is_live(address: &SockAddr) -> io::Result<bool> {
    match new()?.connect(address) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(false),
        // Gone meanwhile.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        // No permission to connect, a full backlog, a socket of another type, …
        Ok(()) | Err(_) => Ok(true),
    }
}
