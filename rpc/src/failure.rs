//! What a server answers when a call failed.

use std::borrow::Cow;
use std::fmt;

use flexbond_transport::Frame;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::codec::CodecError;
use crate::envelope::{Codec, Envelope, Flags};

/// Why a call failed, as its server says it.
///
/// A handler fails a call with [`Failure::failed`]: a code and a message of the application's, and details if it likes.
/// All other kinds are the server's own.
///
/// On the wire it is the body of an error message, in the codec of the call: `kind` (a text, see [`FailureKind`]),
/// `code` (an integer) and `message` (a text). Details are JSON in the first buffer. Whether the work
/// [had begun](Self::begun) is a flag of the header.
///
/// ```
/// use flexbond_rpc::{Failure, FailureKind};
///
/// let failure = Failure::failed(42, "no such star").with_details(&["Vega", "Deneb"])?;
/// assert_eq!(failure.kind(), FailureKind::Failed);
/// assert_eq!(failure.to_string(), "no such star (code 42)");
/// assert_eq!(failure.details::<Vec<String>>()?.unwrap()[0], "Vega");
/// # Ok::<(), flexbond_rpc::CodecError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub struct Failure {
    kind: FailureKind,
    code: i64,
    message: String,
    details: Option<Frame>,
    /// The work had begun, though the kind alone would say that it had not.
    begun: bool,
}

/// The kinds of [`Failure`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FailureKind {
    /// `failed`: the handler says so; the code is its own.
    Failed,
    /// `unknown_method`: the server has no such method. Nothing ran.
    UnknownMethod,
    /// `bad_arguments`: the arguments are not those of the method. Nothing ran.
    BadArguments,
    /// `panicked`: the handler panicked. The server lives on.
    Panicked,
    /// `overloaded`: the server has too much to do. Nothing ran; a retry, later, is sound.
    Overloaded,
    /// `unavailable`: the server takes no more calls, for it ends. Nothing ran; a retry elsewhere is sound.
    Unavailable,
    /// `deadline_exceeded`: the caller's deadline passed; what ran was stopped.
    DeadlineExceeded,
    /// `cancelled`: the work was given up.
    Cancelled,
    /// `too_large`: arguments are larger than the server allows; or, if the work had begun, the answer is.
    TooLarge,
    /// `unauthenticated`: the server does not know who calls.
    Unauthenticated,
    /// `permission_denied`: who calls may not.
    PermissionDenied,
    /// `malformed`: the message was not a call as the envelope has it.
    Malformed,
    /// `internal`: something in between failed, a layer of the server's for instance.
    Internal,
    /// Any other text: a newer server's.
    Other,
}

impl FailureKind {
    pub(crate) const ALL: [FailureKind; 13] = [
        FailureKind::Failed,
        FailureKind::UnknownMethod,
        FailureKind::BadArguments,
        FailureKind::Panicked,
        FailureKind::Overloaded,
        FailureKind::Unavailable,
        FailureKind::DeadlineExceeded,
        FailureKind::Cancelled,
        FailureKind::TooLarge,
        FailureKind::Unauthenticated,
        FailureKind::PermissionDenied,
        FailureKind::Malformed,
        FailureKind::Internal,
    ];

    /// All kinds that this version knows, each once, without [`Other`](Self::Other).
    pub fn all() -> impl ExactSizeIterator<Item = FailureKind> {
        Self::ALL.into_iter()
    }

    /// The kind as it stands on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            FailureKind::Failed => "failed",
            FailureKind::UnknownMethod => "unknown_method",
            FailureKind::BadArguments => "bad_arguments",
            FailureKind::Panicked => "panicked",
            FailureKind::Overloaded => "overloaded",
            FailureKind::Unavailable => "unavailable",
            FailureKind::DeadlineExceeded => "deadline_exceeded",
            FailureKind::Cancelled => "cancelled",
            FailureKind::TooLarge => "too_large",
            FailureKind::Unauthenticated => "unauthenticated",
            FailureKind::PermissionDenied => "permission_denied",
            FailureKind::Malformed => "malformed",
            FailureKind::Internal => "internal",
            FailureKind::Other => "other",
        }
    }

    fn from_text(text: &str) -> Self {
        let known = Self::ALL.into_iter().find(|kind| kind.as_str() == text);
        known.unwrap_or(FailureKind::Other)
    }

    /// Whether this kind says that nothing of the call ran, unless the failure itself says that it had
    /// [begun](Failure::begun). [`Failure::may_have_run`] heeds both.
    #[must_use]
    pub fn is_before_it_ran(self) -> bool {
        use FailureKind::{
            BadArguments, Malformed, Overloaded, PermissionDenied, TooLarge, Unauthenticated, Unavailable,
            UnknownMethod,
        };
        matches!(
            self,
            UnknownMethod
                | BadArguments
                | Overloaded
                | Unavailable
                | TooLarge
                | Malformed
                | Unauthenticated
                | PermissionDenied
        )
    }
}

/// As it stands in the body.
#[derive(Serialize, Deserialize)]
struct Wire<'a> {
    kind: Cow<'a, str>,
    #[serde(default)]
    code: i64,
    #[serde(default)]
    message: Cow<'a, str>,
}

impl Failure {
    /// A handler's own: a code and a message for the caller.
    #[must_use]
    pub fn failed(code: i64, message: impl Into<String>) -> Self {
        Failure {
            code,
            ..Self::new(FailureKind::Failed, message)
        }
    }

    /// One of the other kinds, for layers and handlers of raw requests.
    #[must_use]
    pub fn new(kind: FailureKind, message: impl Into<String>) -> Self {
        Failure {
            kind,
            code: 0,
            message: message.into(),
            details: None,
            begun: false,
        }
    }

    /// The same, and says that the work of the call had begun: whatever its kind, the call may have had effects.
    ///
    /// A server says so of all that its [`Methods`](crate::Methods)' functions fail with, also of what they pass on from
    /// calls of their own; layers in front of them, which refuse a call before it runs, do not.
    ///
    /// ```
    /// use flexbond_rpc::{Failure, FailureKind};
    ///
    /// let refused = Failure::new(FailureKind::Overloaded, "come back later");
    /// assert!(!refused.may_have_run());
    /// assert!(refused.begun().may_have_run());
    /// ```
    #[must_use]
    pub fn begun(mut self) -> Self {
        self.begun = self.kind.is_before_it_ran();
        self
    }

    /// Whether the call may have had effects. If not, a retry is sound whatever it does.
    #[must_use]
    pub fn may_have_run(&self) -> bool {
        self.begun || !self.kind.is_before_it_ran()
    }

    /// What the errors of tower's own layers mean, of which nothing else is known.
    pub(crate) fn of_tower(error: &(dyn std::error::Error + 'static)) -> Option<Self> {
        if error.is::<tower::timeout::error::Elapsed>() {
            let message = "the time that a layer allows is over";
            return Some(Failure::new(FailureKind::DeadlineExceeded, message));
        }
        if error.is::<tower::load_shed::error::Overloaded>() {
            let message = "a layer has no room for more calls";
            return Some(Failure::new(FailureKind::Overloaded, message));
        }
        None
    }

    /// The same with details that a program can read.
    ///
    /// # Errors
    /// [`CodecError`] when they cannot be written as JSON.
    pub fn with_details<T: Serialize + ?Sized>(mut self, details: &T) -> Result<Self, CodecError> {
        let json = serde_json::to_vec(details).map_err(|error| CodecError::encode(Codec::Json, &error))?;
        self.details = Some(Frame::from(json));
        Ok(self)
    }

    /// What kind of failure.
    #[must_use]
    pub fn kind(&self) -> FailureKind {
        self.kind
    }

    /// The handler's code; 0 in other kinds than [`FailureKind::Failed`].
    #[must_use]
    pub fn code(&self) -> i64 {
        self.code
    }

    /// What went wrong, for people.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The details, if there are any.
    ///
    /// # Errors
    /// [`CodecError`] when they are not those of a `T`.
    pub fn details<T: DeserializeOwned>(&self) -> Result<Option<T>, CodecError> {
        let Some(json) = &self.details else {
            return Ok(None);
        };
        serde_json::from_slice(json)
            .map(Some)
            .map_err(|error| CodecError::decode(Codec::Json, &error))
    }

    /// The answer to `call`. A caller whose codec is raw or its own gets JSON.
    pub(crate) fn to_envelope(&self, call: u64, codec: Codec) -> Envelope {
        let codec = match codec {
            Codec::Raw | Codec::Application(_) => Codec::Json,
            named => named,
        };
        let wire = Wire {
            kind: self.kind.as_str().into(),
            code: self.code,
            message: self.message.as_str().into(),
        };
        // Texts and a number can be written in each codec.
        let body = codec.encode_plain(&wire).unwrap_or_default();
        let flags = match self.begun {
            true => Flags::BEGUN,
            false => Flags::NONE,
        };
        let mut envelope = Envelope::error(call, body).with_codec(codec).with_flags(flags);
        envelope.buffers.extend(self.details.clone());
        envelope
    }

    /// Reads an error message.
    pub(crate) fn from_envelope(envelope: Envelope) -> Result<Self, CodecError> {
        let wire: Wire<'_> = envelope.header.codec.decode_plain(&envelope.body)?;
        let failure = Failure {
            kind: FailureKind::from_text(&wire.kind),
            code: wire.code,
            message: wire.message.into_owned(),
            details: envelope.buffers.into_iter().next(),
            begun: false,
        };
        Ok(match envelope.header.flags.contains(Flags::BEGUN) {
            true => failure.begun(),
            false => failure,
        })
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.kind == FailureKind::Failed {
            return write!(f, "{} (code {})", self.message, self.code);
        }
        write!(f, "{}: {}", self.kind, self.message)
    }
}

impl fmt::Display for FailureKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.as_str().replace('_', " "))
    }
}
