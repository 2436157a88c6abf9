//! What a connection reports, and what it asks.

use bytes::Bytes;
use flexbond_transport::{Frame, Message};

#[cfg(feature = "curve")]
use super::curve::PublicKey;
use super::frame_codec::put_command;
use super::{ProtocolError, Secret, SocketType, Transmit, Version};

/// What a [`Connection`](super::Connection) reports from the bytes it read.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// The peer wants to be let in. Nothing more happens until
    /// [`Connection::handle_verdict`](super::Connection::handle_verdict) is called.
    Authenticate(Credentials),
    /// The handshake is complete: messages may be sent from now on, and messages may arrive.
    Ready(PeerInfo),
    /// A whole message arrived.
    Message(Message),
    /// The peer starts or ends a subscription, by command or, as older peers do, by message.
    Subscription {
        /// Whether it starts (or ends).
        subscribe: bool,
        /// The prefix; empty for everything.
        topic: Frame,
    },
}

/// What is known of the peer once the handshake is complete.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct PeerInfo {
    /// The version both sides speak.
    pub version: Version,
    /// The security mechanism, `NULL` for peers too old to have one.
    pub mechanism: String,
    /// The peer's socket type, when it told: unversioned ZMTP 1.0 peers do not.
    pub socket_type: Option<SocketType>,
    /// The peer's routing id, at most 255 bytes, often empty.
    pub routing_id: Bytes,
    /// Every property of the handshake in the order it came: `Socket-Type`, `Identity` and `X-` properties.
    pub metadata: Vec<(String, Bytes)>,
    /// Who the peer is, as told by [`Verdict::Allow`].
    pub user_id: Option<String>,
}

impl PeerInfo {
    /// The value of the property `name`, compared without regard to case.
    #[must_use]
    pub fn property(&self, name: &str) -> Option<&Bytes> {
        self.metadata
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
    }
}

/// What a peer showed to be let in.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Credentials {
    /// NULL: nothing. Its address is all there is to judge.
    Null,
    /// PLAIN: a user name and a password, in clear text (RFC 24).
    Plain {
        /// The user name, at most 255 bytes.
        username: String,
        /// The password, at most 255 bytes.
        password: Secret,
    },
    /// CURVE: the peer proved that it owns the secret half of this key (RFC 25).
    #[cfg(feature = "curve")]
    Curve {
        /// The client's long-term public key.
        public_key: PublicKey,
    },
}

impl Credentials {
    /// The name of the mechanism that they are for.
    #[must_use]
    pub const fn mechanism(&self) -> &'static str {
        match self {
            Credentials::Null => "NULL",
            Credentials::Plain { .. } => "PLAIN",
            #[cfg(feature = "curve")]
            Credentials::Curve { .. } => "CURVE",
        }
    }
}

/// The answer to [`Event::Authenticate`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Let the peer in.
    Allow {
        /// Who the peer is; ends up in [`PeerInfo::user_id`].
        user_id: Option<String>,
    },
    /// Refuse the peer.
    Deny {
        /// Told to the peer, cut to 255 bytes. A libzmq peer reports an authentication failure to its monitor when
        /// this is a ZAP status code (RFC 27): `300`, `400` or `500`.
        reason: String,
    },
    /// Refuse the peer without a word: what libzmq does on the status code `300`, a temporary failure. Its clients give
    /// up for good on an ERROR, and try again after this.
    Dismiss {
        /// Why, for this side.
        reason: String,
    },
}

impl Verdict {
    /// The error that a refusal leads to, after the command that tells the peer of it.
    pub(crate) fn refusal(
        &self,
        command: impl FnOnce(&str) -> Vec<u8>,
        out: &mut Transmit,
    ) -> Result<(), ProtocolError> {
        let reason = match self {
            Verdict::Allow { .. } => return Ok(()),
            Verdict::Deny { reason } => {
                put_command(&command(reason), out);
                reason
            }
            Verdict::Dismiss { reason } => reason,
        };
        Err(ProtocolError::Denied {
            reason: reason.clone(),
        })
    }
}
