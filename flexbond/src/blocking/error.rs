//! What a blocking call can fail with, besides what its asynchronous original can.

use std::fmt;
use std::io;
use std::sync::Arc;

use thiserror::Error;

use crate::session::socket;
use crate::transport::Message;

/// Why a blocking call failed; `E` is the error of the asynchronous call behind it. Nothing was done.
#[derive(Clone, Debug, Error)]
#[non_exhaustive]
pub enum CallError<E> {
    /// The call may wait, and was made on a thread of an asynchronous runtime, which must not wait.
    #[error("a blocking call within an asynchronous runtime: use the asynchronous socket there")]
    AsyncContext,
    /// The background thread cannot be started.
    #[error("the background thread cannot be started: {0}")]
    Runtime(#[source] Arc<io::Error>),
    /// The socket's own error.
    #[error(transparent)]
    Socket(E),
}

impl<E> From<E> for CallError<E> {
    fn from(error: E) -> Self {
        CallError::Socket(error)
    }
}

impl<E> CallError<E> {
    /// The socket's own error, where it is one.
    #[must_use]
    pub fn socket(&self) -> Option<&E> {
        match self {
            CallError::Socket(error) => Some(error),
            _ => None,
        }
    }
}

/// Why a message was not sent. It was not queued, not even in part, and comes back in the error.
#[derive(Error)]
#[error("{kind}")]
pub struct SendError {
    kind: SendErrorKind,
    message: Message,
}

/// The reason behind a [`SendError`].
pub type SendErrorKind = CallError<socket::SendErrorKind>;

impl SendError {
    pub(super) fn new(kind: SendErrorKind, message: Message) -> Self {
        SendError { kind, message }
    }

    /// The reason.
    #[must_use]
    pub fn kind(&self) -> &SendErrorKind {
        &self.kind
    }

    /// The message that was not sent.
    #[must_use]
    pub fn into_message(self) -> Message {
        self.message
    }
}

impl fmt::Debug for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SendError").field(&self.kind).finish()
    }
}

impl From<socket::SendError> for SendError {
    fn from(error: socket::SendError) -> Self {
        SendError {
            kind: CallError::Socket(error.kind().clone()),
            message: error.into_message(),
        }
    }
}
