//! Why merged streams gave no message.

use std::time::Duration;

use thiserror::Error;

use crate::ReceiveError;

/// Why no message, or no set of messages, came. The next call is not affected.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum MergeError {
    /// One of the streams failed, or brought a malformed message, which counts as its turn. A stream that is closed
    /// says so once, and is left out from then on.
    #[error("stream {stream} gave no message")]
    Stream {
        /// Which one, from zero.
        stream: usize,
        /// What is wrong.
        #[source]
        error: Box<ReceiveError>,
    },
    /// Nothing can be given without waiting. A retry is sound.
    #[error("no message waits")]
    WouldBlock,
    /// Nothing came in time. A retry is sound.
    #[error("no message came within {0:?}")]
    Timeout(Duration),
    /// There is no stream, or all of them are closed.
    #[error("no stream is left")]
    Closed,
}
