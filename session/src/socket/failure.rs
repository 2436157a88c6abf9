//! Why a handshake failed, for programs.

use flexbond_wire::zmtp::ProtocolError;

use super::link_end::LinkEnd;
use super::{DenyStatus, SocketType};

/// Why a handshake failed, as far as it can be told apart; the event's `error` has it all, in words.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum HandshakeFailure {
    /// One side uses another security mechanism: one of them has to be configured anew.
    #[non_exhaustive]
    Mechanism {
        /// Ours: `NULL`, `PLAIN` or `CURVE`.
        ours: String,
        /// The peer's, as it spelt it; empty if it is too old (below ZMTP 3.0) to have any.
        theirs: String,
    },
    /// CURVE: the peer does not use the key that was expected. A server sees it of clients that were given another
    /// server's key, or somebody has changed what was on its way.
    Key,
    /// This side's authenticator turned the peer away.
    #[non_exhaustive]
    Denied {
        /// What the peer was told.
        status: DenyStatus,
    },
    /// The peer turned this side away. Under CURVE, it has proved to own its key, but the refusal itself travels in clear:
    /// somebody on the way could have put it there. What comes before that proof is [`Other`](Self::Other).
    #[non_exhaustive]
    Refused {
        /// Its reason; a status code of ZAP (`300`, `400`, `500`) from libzmq and from flexbond.
        reason: String,
    },
    /// The patterns do not fit.
    #[non_exhaustive]
    Pattern {
        /// Ours.
        ours: SocketType,
        /// The peer's, as it spelt it.
        theirs: String,
    },
    /// It took too long.
    Timeout,
    /// There were too many connections, and this one made room for a newer one before its handshake was complete: of
    /// those whose peers had said least, it was the oldest. See
    /// [`Options::max_handshakes`](super::Options::max_handshakes).
    Displaced,
    /// The peer closed the connection without a word. CURVE servers do that to clients with a wrong server key, and
    /// where the authenticator's answer was [`DenyStatus::Temporary`].
    Closed,
    /// The connection cannot have the security that the options demand: a transport of whole messages other than inproc,
    /// or PLAIN and an address that is not on this machine. Nothing was sent.
    Unprotected,
    /// Something else.
    Other,
}

impl From<&LinkEnd> for HandshakeFailure {
    fn from(end: &LinkEnd) -> Self {
        let error = match end {
            LinkEnd::Protocol(error) => error,
            LinkEnd::Denied(denial) => {
                return HandshakeFailure::Denied {
                    status: denial.status,
                };
            }
            LinkEnd::Eof | LinkEnd::ClosedInHandshake => return HandshakeFailure::Closed,
            LinkEnd::Displaced(_) => return HandshakeFailure::Displaced,
            LinkEnd::Io(_) | LinkEnd::Refused(_) | LinkEnd::Heavy | LinkEnd::Stopped => {
                return HandshakeFailure::Other;
            }
        };
        match error {
            ProtocolError::MechanismMismatch { ours, theirs } => HandshakeFailure::Mechanism {
                ours: ours.clone(),
                theirs: theirs.clone(),
            },
            ProtocolError::VersionRefused { ours, .. } => HandshakeFailure::Mechanism {
                ours: ours.clone(),
                theirs: String::new(),
            },
            ProtocolError::Unauthentic { .. } => HandshakeFailure::Key,
            ProtocolError::PeerError { reason } => HandshakeFailure::Refused {
                reason: reason.clone(),
            },
            ProtocolError::IncompatibleSocket { ours, theirs } => HandshakeFailure::Pattern {
                ours: *ours,
                theirs: theirs.clone(),
            },
            ProtocolError::HandshakeTimeout => HandshakeFailure::Timeout,
            _ => HandshakeFailure::Other,
        }
    }
}
