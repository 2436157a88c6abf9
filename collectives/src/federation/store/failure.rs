//! What redb fails with, before it is known of which file.

use redb::{CommitError, CompactionError, StorageError, TableError, TransactionError};

/// What redb and this module can fail with, before it is known of which file.
pub(super) enum Failure {
    Storage(StorageError),
    Damaged(String),
}

impl<E: Into<StorageFailure>> From<E> for Failure {
    fn from(error: E) -> Self {
        match error.into() {
            StorageFailure::Storage(error) => Failure::Storage(error),
            StorageFailure::Other(reason) => Failure::Damaged(reason),
        }
    }
}

/// The errors of redb that are about its storage, and the others.
pub(super) enum StorageFailure {
    Storage(StorageError),
    Other(String),
}

impl From<StorageError> for StorageFailure {
    fn from(error: StorageError) -> Self {
        StorageFailure::Storage(error)
    }
}

macro_rules! storage_failure {
    ($($error:ident),*) => {$(
        impl From<$error> for StorageFailure {
            fn from(error: $error) -> Self {
                match error {
                    $error::Storage(error) => StorageFailure::Storage(error),
                    other => StorageFailure::Other(other.to_string()),
                }
            }
        }
    )*};
}

storage_failure!(CommitError, CompactionError, TableError, TransactionError);
