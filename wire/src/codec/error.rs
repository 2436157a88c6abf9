//! Why a payload could not be written or read.

use thiserror::Error;

/// A value could not be written. The value is unchanged; trying again gives the same error.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum EncodeError {
    /// Postcard has no representation for it (a map or sequence of unknown length, say).
    #[cfg(feature = "postcard")]
    #[error("value cannot be written as postcard")]
    Postcard(#[from] postcard::Error),
    /// JSON has no representation for it (a map whose keys are not text, say).
    #[cfg(feature = "json")]
    #[error("value cannot be written as JSON")]
    Json(#[from] serde_json::Error),
}

/// A payload could not be read. Trying again gives the same error: sender and receiver disagree about the type, or
/// the bytes are damaged.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// It is not postcard for this type.
    #[cfg(feature = "postcard")]
    #[error("payload is not postcard for the expected type")]
    Postcard(#[source] postcard::Error),
    /// It is not JSON for this type.
    #[cfg(feature = "json")]
    #[error("payload is not JSON for the expected type")]
    Json(#[source] serde_json::Error),
    /// Bytes are left over behind a whole value.
    #[error("{0} bytes are left over behind the value")]
    Trailing(usize),
}
