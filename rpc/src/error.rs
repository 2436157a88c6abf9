//! Why a call has no answer.

use std::time::Duration;

use thiserror::Error;
use tower::BoxError;

use crate::codec::CodecError;
use crate::envelope::{DecodeError, EncodeError, MethodError};
use crate::failure::{Failure, FailureKind};

/// Why a call has no answer. [`may_have_run`](CallError::may_have_run) says whether a retry can repeat its effects; each
/// variant says why.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum CallError {
    /// The server answered that the call failed. Its [kind](Failure::kind) says whether the call had begun.
    #[error(transparent)]
    Failure(#[from] Failure),
    /// No answer came in time. If the call was sent, it may have run, and the server was told to stop.
    #[error("no answer within {timeout:?}{}", reason(.unconnected))]
    DeadlineExceeded {
        /// How long the caller waited: for the whole call or, of a stream without a timeout of its own, for the next
        /// item.
        timeout: Duration,
        /// Why the call was never sent; none if it was.
        unconnected: Option<String>,
    },
    /// The connection was lost before the answer came. If the call was sent, it may have run.
    #[error("connection to {endpoint} lost: {reason}{}", if *.sent { "; the call may have run" } else { "; the call was not sent" })]
    Disconnected {
        /// Whose connection.
        endpoint: String,
        /// Why.
        reason: String,
        /// Whether the call went out before that.
        sent: bool,
    },
    /// There is no connection, and the client does not wait for one, or there will never be one: the socket's options
    /// say that no other attempt is made. Nothing was sent.
    #[error("not connected to {endpoint}: {reason}")]
    Unconnected {
        /// Whose connection.
        endpoint: String,
        /// Why.
        reason: String,
    },
    /// The arguments or the answer are too large. Arguments were not sent; of an answer, the call ran.
    #[error("{size} bytes are more than the {limit} that {} may have", if *.answer { "an answer" } else { "arguments" })]
    TooLarge {
        /// Their bytes, buffers included.
        size: usize,
        /// The most allowed.
        limit: usize,
        /// Whether it is the answer.
        answer: bool,
    },
    /// The name is not that of a method. Nothing was sent.
    #[error(transparent)]
    Method(#[from] MethodError),
    /// The arguments cannot be written. Nothing was sent. An item of streamed arguments is an
    /// [`Upload`](Self::Upload).
    #[error("arguments: {0}")]
    Arguments(CodecError),
    /// The call cannot be sent as it is. Nothing was sent.
    #[error(transparent)]
    Encode(#[from] EncodeError),
    /// A one-way call cannot have streamed arguments, for nothing comes back that says how many to send. Nothing was
    /// sent.
    #[error("a one-way call cannot have streamed arguments: want an answer")]
    OneWayItems,
    /// An item of streamed arguments could not be sent: it failed, cannot be written, or is too large. The call ran
    /// already, and the server was told to stop.
    #[error("item {number} of the arguments: {source}")]
    Upload {
        /// Which one, counted from zero.
        number: u32,
        /// What was wrong with it.
        source: Box<CallError>,
    },
    /// The answer is not of the type that was asked for. The call ran.
    #[error("answer: {0}")]
    Answer(CodecError),
    /// What came is no answer as the envelope has it. The call may have run, and the server was told to stop.
    #[error("malformed answer: {0}")]
    Malformed(DecodeError),
    /// The answer is a stream and was not asked for as one, or the other way round. The call may have run, and the
    /// server was told to stop.
    #[error("the answer {}", if *.stream { "is a stream: ask for it as one" } else { "is no stream" })]
    Shape {
        /// What it is.
        stream: bool,
    },
    /// A stream ended before its end. The call ran, and the server was told to stop.
    #[error("the stream ended after {received} of {sent} items")]
    Incomplete {
        /// Items that came.
        received: u32,
        /// Items that were sent.
        sent: u32,
    },
    /// The server sent more items of a stream than it had leave for. The call ran, and the server was told to stop.
    #[error("item {number} of the stream came without leave")]
    Flooded {
        /// Which one, counted from zero.
        number: u32,
    },
    /// A layer between caller and connection failed. Whether the call ran is not known.
    #[error("{0}")]
    Layer(String),
    /// The client was closed, with its runtime for instance, before the call was sent.
    #[error("the client is closed")]
    Closed,
}

fn reason(unconnected: &Option<String>) -> String {
    match unconnected {
        Some(reason) => format!("; the call was not sent: {reason}"),
        None => String::new(),
    }
}

impl CallError {
    /// Whether the call may have had effects. If not, a retry is sound whatever it does.
    #[must_use]
    pub fn may_have_run(&self) -> bool {
        match self {
            CallError::Failure(failure) => failure.may_have_run(),
            CallError::DeadlineExceeded { unconnected, .. } => unconnected.is_none(),
            CallError::Disconnected { sent, .. } => *sent,
            CallError::TooLarge { answer, .. } => *answer,
            CallError::Upload { .. }
            | CallError::Answer(_)
            | CallError::Malformed(_)
            | CallError::Shape { .. }
            | CallError::Incomplete { .. }
            | CallError::Flooded { .. }
            | CallError::Layer(_) => true,
            CallError::Unconnected { .. }
            | CallError::Method(_)
            | CallError::Arguments(_)
            | CallError::Encode(_)
            | CallError::OneWayItems
            | CallError::Closed => false,
        }
    }

    /// What the server answered, if it did.
    #[must_use]
    pub fn failure(&self) -> Option<&Failure> {
        match self {
            CallError::Failure(failure) => Some(failure),
            _ => None,
        }
    }

    /// What a layer made of an error, taken back: those of this crate as they are, those of tower by their meaning.
    #[must_use]
    pub fn from_boxed(error: BoxError) -> Self {
        let error = match error.downcast::<CallError>() {
            Ok(error) => return *error,
            Err(error) => error,
        };
        match error.downcast::<Failure>() {
            Ok(failure) => CallError::Failure(*failure),
            Err(error) => match Failure::of_tower(&*error) {
                Some(failure) => CallError::Failure(failure),
                None => CallError::Layer(chain(&*error)),
            },
        }
    }

    /// As a server answers it.
    pub(crate) fn into_failure(self) -> Failure {
        match self {
            CallError::Failure(failure) => failure,
            CallError::DeadlineExceeded { .. } => {
                Failure::new(FailureKind::DeadlineExceeded, self.to_string())
            }
            CallError::TooLarge { answer, .. } => {
                let failure = Failure::new(FailureKind::TooLarge, self.to_string());
                match answer {
                    true => failure.begun(),
                    false => failure,
                }
            }
            other => Failure::new(FailureKind::Internal, other.to_string()),
        }
    }
}

impl From<CallError> for Failure {
    fn from(error: CallError) -> Self {
        error.into_failure()
    }
}

/// An error and what is behind it, in one line.
fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let cause = error.to_string();
        if !text.contains(&cause) {
            text.push_str(": ");
            text.push_str(&cause);
        }
        source = error.source();
    }
    text
}
