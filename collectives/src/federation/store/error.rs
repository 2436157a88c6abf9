//! Why the store cannot do what it is asked to.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

/// Why the message server's file cannot be used, or not now. What was committed before is there.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The file cannot be opened or made.
    #[error("cannot open the store {}", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// Another process has it open.
    #[error("the store {} is in use by another process; stop it, or choose another file", path.display())]
    InUse {
        /// The file.
        path: PathBuf,
    },
    /// It is something else.
    #[error("{} is no store of a message server; choose another file", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// A newer version has written it.
    #[error("the store {} has format {version}, which is newer than {known}; use a newer flexbond", path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its version.
        version: u64,
        /// The newest version that can be read.
        known: u64,
    },
    /// Its content makes no sense. Restore a backup, or begin with a new file: parties that are still there send again what
    /// they have.
    #[error("the store {} is damaged: {reason}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong, and where.
        reason: String,
    },
    /// There is no room on its device. Nothing was written; a retry is sound when there is room.
    #[error("there is no room on the device of the store {}", path.display())]
    Full {
        /// The file.
        path: PathBuf,
    },
    /// The system cannot read or write it. Nothing was written; a retry is sound.
    #[error("cannot use the store {}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}
