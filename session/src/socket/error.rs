//! What a socket's calls can fail with.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use flexbond_transport::{Endpoint, EndpointError, Message};
use flexbond_wire::zmtp::SocketType;
use thiserror::Error;

use super::Peer;

/// Why an endpoint was not bound. The socket is unchanged.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum BindError {
    /// The text is not an endpoint.
    #[error(transparent)]
    Endpoint(#[from] EndpointError),
    /// The transport refused; see its error for whether a retry is sound.
    #[error(transparent)]
    Transport(#[from] flexbond_transport::BindError),
    /// The socket uses PLAIN, and the endpoint may lead off this machine. Nothing was bound.
    #[error(
        "PLAIN would let passwords travel unencrypted to {endpoint}: use CURVE or tls, or set the option plain_anywhere"
    )]
    ClearText {
        /// What was to be bound.
        endpoint: Endpoint,
    },
    /// The socket was closed.
    #[error("the socket is closed")]
    Closed,
}

/// Why an endpoint was not connected to. The socket is unchanged.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The text is not an endpoint.
    #[error(transparent)]
    Endpoint(#[from] EndpointError),
    /// No transport can ever connect there.
    #[error(transparent)]
    Transport(#[from] flexbond_transport::ConnectError),
    /// The socket uses PLAIN, and the endpoint may lead off this machine. Nothing was sent.
    #[error(
        "PLAIN would send a password unencrypted to {endpoint}: use CURVE or tls, or set the option plain_anywhere"
    )]
    ClearText {
        /// What was to be connected to.
        endpoint: Endpoint,
    },
    /// There is no tokio runtime in this context to run the connection on.
    #[error("connect needs a tokio runtime: call it within one, or use the blocking façade")]
    NoRuntime,
    /// The socket was closed.
    #[error("the socket is closed")]
    Closed,
}

/// Why an endpoint was not given up. The socket is unchanged.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ReleaseError {
    /// The text is not an endpoint.
    #[error(transparent)]
    Endpoint(#[from] EndpointError),
    /// The socket is not bound or connected there.
    #[error("the socket has no endpoint {endpoint}")]
    Unknown {
        /// What was asked for.
        endpoint: Endpoint,
    },
}

/// Why a message was not sent. It was not queued, not even in part, and comes back in the error.
#[derive(Error)]
#[error("{kind}")]
pub struct SendError {
    kind: SendErrorKind,
    message: Message,
}

impl SendError {
    /// Hands a message back. For what sends messages as sockets do.
    #[must_use]
    pub fn new(kind: SendErrorKind, message: Message) -> Self {
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

/// The reason behind a [`SendError`].
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum SendErrorKind {
    /// `try_send`: no peer, or every eligible peer's queue is full. A retry is sound.
    #[error("no peer can take a message now")]
    WouldBlock,
    /// Nobody could take the message within the send timeout. A retry is sound.
    #[error("no peer could take the message within {0:?}")]
    Timeout(Duration),
    /// The pattern does not allow a send now (REQ: a reply is due; REP: no request to answer).
    #[error("{socket_type}: {expected} first")]
    WrongState {
        /// The pattern.
        socket_type: SocketType,
        /// What the pattern expects.
        expected: &'static str,
    },
    /// ROUTER with `router_mandatory`: no peer has this routing id.
    #[error("no peer with routing id {}", Shown(.0))]
    Unreachable(Bytes),
    /// A message needs at least one part (a ROUTER's: the routing id and one more).
    #[error("a message needs at least one part{}", if *.0 { " besides the routing id" } else { "" })]
    Incomplete(bool),
    /// XSUB: a subscription message whose topic is longer than a peer would accept.
    #[error("a topic has at most {limit} bytes, this one has {size}")]
    TopicTooLong {
        /// Its length.
        size: usize,
        /// The most that is accepted.
        limit: usize,
    },
    /// Larger than messages may be where this one was to go. Sockets have no such bound: the receiver has it.
    #[error("a message of {size} bytes is larger than the {limit} bytes that one may have")]
    TooLarge {
        /// Its bytes, over all parts.
        size: usize,
        /// The most that is taken.
        limit: usize,
    },
    /// More parts than messages may have where this one was to go. Sockets have no such bound: the receiver has it.
    #[error("a message of {parts} parts has more than the {limit} that one may have")]
    TooManyParts {
        /// How many it has.
        parts: usize,
        /// The most that is taken.
        limit: usize,
    },
    /// The socket conflates, which keeps single parts only.
    #[error("a conflating socket takes one-part messages only")]
    Multipart,
    /// This pattern never sends.
    #[error("{0} sockets do not send")]
    Unsupported(SocketType),
    /// The socket was closed.
    #[error("the socket is closed")]
    Closed,
}

/// Why no message was received. None was taken.
#[derive(Clone, Debug, Error)]
#[non_exhaustive]
pub enum RecvError {
    /// `try_recv`: nothing waits.
    #[error("no message waits")]
    WouldBlock,
    /// Nothing came within the receive timeout. A retry is sound.
    #[error("no message came within {0:?}")]
    Timeout(Duration),
    /// The pattern does not allow a receive now (REQ: nothing was asked; REP: the last request is unanswered).
    #[error("{socket_type}: {expected} first")]
    WrongState {
        /// The pattern.
        socket_type: SocketType,
        /// What the pattern expects.
        expected: &'static str,
    },
    /// REQ: the peer that had the request is gone, so no reply will come. The request may have been carried out.
    /// The socket may send again.
    #[error("the connection to {} was lost before its reply came", .0.endpoint())]
    PeerLost(Peer),
    /// This pattern never receives.
    #[error("{0} sockets do not receive")]
    Unsupported(SocketType),
    /// The socket was closed.
    #[error("the socket is closed")]
    Closed,
}

/// Why a subscription was not changed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum SubscribeError {
    /// Only SUB (and XPUB in manual mode) subscribe by call; an XSUB sends subscription messages.
    #[error("{0} sockets do not subscribe")]
    Unsupported(SocketType),
    /// XPUB in manual mode: no subscription message was received yet, so there is no peer to decide about.
    #[error("no peer has asked for a subscription")]
    NoPeer,
    /// A topic is longer than a peer would accept.
    #[error("a topic has at most {limit} bytes, this one has {size}")]
    TooLong {
        /// Its length.
        size: usize,
        /// The most that is accepted.
        limit: usize,
    },
    /// The socket was closed.
    #[error("the socket is closed")]
    Closed,
}

/// A routing id for people: text where it is text, otherwise hexadecimal.
struct Shown<'a>(&'a [u8]);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match std::str::from_utf8(self.0) {
            Ok(text) if !text.is_empty() && !text.contains(char::is_control) => write!(f, "{text:?}"),
            _ => {
                f.write_str("0x")?;
                self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn routing_ids_are_shown_for_people() {
        assert_eq!(
            SendErrorKind::Unreachable(Bytes::from_static(b"worker")).to_string(),
            "no peer with routing id \"worker\""
        );
        assert_eq!(
            SendErrorKind::Unreachable(Bytes::from_static(&[0, 1, 255])).to_string(),
            "no peer with routing id 0x0001ff"
        );
    }
}
