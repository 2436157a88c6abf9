//! Why a connection ended.

use thiserror::Error;

use super::{SocketType, Version};

/// Why a [`Connection`](super::Connection) ended.
///
/// Every variant is final: the connection is dead and answers every further poll with the same error. Whether a new
/// connection to the same endpoint is worth trying is said at each variant.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ProtocolError {
    /// The peer's greeting names another security mechanism. Trying again helps only if either side is reconfigured.
    #[error("security mechanism mismatch: ours is {ours}, theirs is {theirs}")]
    MechanismMismatch {
        /// The mechanism of this side.
        ours: String,
        /// The mechanism of the peer, as it spelt it.
        theirs: String,
    },
    /// The peer's socket type cannot talk to ours. Trying again helps only if something else listens there.
    #[error("a {ours} socket cannot talk to a {theirs} socket")]
    IncompatibleSocket {
        /// The socket type of this side.
        ours: SocketType,
        /// The socket type of the peer, as it spelt it.
        theirs: String,
    },
    /// This side refused the peer's credentials. An ERROR command is waiting in the transmit queue.
    #[error("peer refused: {reason}")]
    Denied {
        /// The reason in the verdict.
        reason: String,
    },
    /// The peer sent an ERROR command: it refused this side. Trying again with the same credentials rarely helps.
    #[error("peer reported an error: {reason}")]
    PeerError {
        /// The peer's reason; libzmq sends a ZAP status code such as `400`.
        reason: String,
    },
    /// Something in the handshake, or a frame after it, was not sealed with the key that was expected: one side has a
    /// wrong key, or somebody changed what was on its way. Trying again helps only after the former is mended.
    #[error("not authentic: {what}")]
    Unauthentic {
        /// What could not be opened.
        what: &'static str,
    },
    /// A sealed frame is authentic, but not the one that was due: one before it was taken out, or it was repeated or moved.
    /// Trying again is sound; if it happens again, somebody on the way interferes.
    #[error("a sealed frame is missing, repeated or moved: number {number} came after number {last}")]
    OutOfSequence {
        /// The number of the frame.
        number: u64,
        /// The number of the frame before it.
        last: u64,
    },
    /// The mechanism needs [`Randomness`](super::Randomness), and the connection was made without. A new one must be
    /// made by [`Connection::with_randomness`](super::Connection::with_randomness).
    #[error("the security mechanism needs randomness, and there was none")]
    NoRandomness,
    /// Every number that protects a frame of this connection was used. A new connection has new ones.
    #[error("the connection has no number left that could protect another frame")]
    NoncesUsedUp,
    /// The handshake was not complete in time. Trying again is sound.
    #[error("handshake timed out")]
    HandshakeTimeout,
    /// Nothing arrived in time after a PING. Trying again is sound.
    #[error("peer did not answer a heartbeat in time")]
    HeartbeatTimeout,
    /// The peer stayed silent for longer than it had promised in its last PING. Trying again is sound.
    #[error("peer stayed silent beyond the time to live it had announced")]
    TtlExpired,
    /// The peer is sending a message beyond the limit; nothing was allocated for it.
    #[error("message of at least {size} bytes exceeds the limit of {limit} bytes")]
    MessageTooLarge {
        /// The bytes of all its frames so far, the refused one included.
        size: u64,
        /// [`Config::max_message_size`](super::Config::max_message_size).
        limit: usize,
    },
    /// The peer is sending a message of too many frames.
    #[error("message of more than {limit} frames")]
    TooManyFrames {
        /// [`Config::max_frames`](super::Config::max_frames).
        limit: usize,
    },
    /// The peer is sending a command beyond the limit; nothing was allocated for it.
    #[error("command of {size} bytes exceeds the limit of {limit} bytes")]
    CommandTooLarge {
        /// The size in the command's header.
        size: u64,
        /// [`Config::max_command_size`](super::Config::max_command_size).
        limit: usize,
    },
    /// The peer is too old for the configured security mechanism. Trying again helps only after an upgrade.
    #[error("peer speaks ZMTP {theirs}, which has no security mechanisms; {ours} is required")]
    VersionRefused {
        /// The mechanism of this side.
        ours: String,
        /// The version of the peer.
        theirs: Version,
    },
    /// The peer broke the protocol, or is something else entirely. Trying again rarely helps.
    #[error("malformed input: {what}")]
    Malformed {
        /// What was wrong.
        what: &'static str,
    },
}

impl ProtocolError {
    pub(crate) const fn malformed(what: &'static str) -> Self {
        ProtocolError::Malformed { what }
    }

    /// Whether the two sides disagree about security: retrying without a new configuration is pointless.
    #[must_use]
    pub const fn is_security(&self) -> bool {
        matches!(
            self,
            ProtocolError::MechanismMismatch { .. }
                | ProtocolError::Denied { .. }
                | ProtocolError::PeerError { .. }
                | ProtocolError::Unauthentic { .. }
                | ProtocolError::VersionRefused { .. }
        )
    }

    /// Whether a deadline passed in silence: the peer may be back at the next attempt.
    #[must_use]
    pub const fn is_timeout(&self) -> bool {
        matches!(
            self,
            ProtocolError::HandshakeTimeout | ProtocolError::HeartbeatTimeout | ProtocolError::TtlExpired
        )
    }
}
