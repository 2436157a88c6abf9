//! The socket types of ØMQ and which of them may talk to each other.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

/// What a socket is; a peer learns it during the handshake.
///
/// ```
/// use flexbond_wire::zmtp::SocketType;
///
/// let dealer: SocketType = "dealer".parse()?;
/// assert_eq!(dealer.to_string(), "DEALER");
/// assert!(dealer.accepts(SocketType::Router));
/// assert!(!dealer.accepts(SocketType::Pull));
/// # Ok::<(), flexbond_wire::zmtp::UnknownSocketType>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum SocketType {
    /// One peer, both directions (RFC 31).
    Pair,
    /// Publishes to subscribers (RFC 29).
    Pub,
    /// Receives what it subscribed to (RFC 29).
    Sub,
    /// Asks, then waits for the answer (RFC 28).
    Req,
    /// Answers (RFC 28).
    Rep,
    /// Asks many peers, without waiting (RFC 28).
    Dealer,
    /// Talks to peers by routing id (RFC 28).
    Router,
    /// Receives work (RFC 30).
    Pull,
    /// Hands out work (RFC 30).
    Push,
    /// A publisher that sees subscriptions (RFC 29).
    XPub,
    /// A subscriber that sends its subscriptions as messages (RFC 29).
    XSub,
}

impl SocketType {
    /// Every socket type, in the order of [`code`](SocketType::code).
    pub const ALL: [SocketType; 11] = [
        SocketType::Pair,
        SocketType::Pub,
        SocketType::Sub,
        SocketType::Req,
        SocketType::Rep,
        SocketType::Dealer,
        SocketType::Router,
        SocketType::Pull,
        SocketType::Push,
        SocketType::XPub,
        SocketType::XSub,
    ];

    /// The name on the wire, in capitals.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            SocketType::Pair => "PAIR",
            SocketType::Pub => "PUB",
            SocketType::Sub => "SUB",
            SocketType::Req => "REQ",
            SocketType::Rep => "REP",
            SocketType::Dealer => "DEALER",
            SocketType::Router => "ROUTER",
            SocketType::Pull => "PULL",
            SocketType::Push => "PUSH",
            SocketType::XPub => "XPUB",
            SocketType::XSub => "XSUB",
        }
    }

    /// The byte that stands for this type in a ZMTP/2.0 greeting (RFC 15).
    #[must_use]
    pub const fn code(self) -> u8 {
        // The declaration order is libzmq's numbering.
        self as u8
    }

    /// The type that `code` stands for in a ZMTP/2.0 greeting.
    #[must_use]
    pub fn from_code(code: u8) -> Option<SocketType> {
        SocketType::ALL.get(usize::from(code)).copied()
    }

    /// Whether a socket of this type may talk to a `peer` of that type.
    #[must_use]
    pub const fn accepts(self, peer: SocketType) -> bool {
        use SocketType::{Dealer, Pair, Pub, Pull, Push, Rep, Req, Router, Sub, XPub, XSub};
        match self {
            Pair => matches!(peer, Pair),
            Pub | XPub => matches!(peer, Sub | XSub),
            Sub | XSub => matches!(peer, Pub | XPub),
            Req => matches!(peer, Rep | Router),
            Rep => matches!(peer, Req | Dealer),
            Dealer => matches!(peer, Rep | Dealer | Router),
            Router => matches!(peer, Req | Dealer | Router),
            Pull => matches!(peer, Push),
            Push => matches!(peer, Pull),
        }
    }

    /// Whether the handshake announces the routing id, as libzmq does for REQ, DEALER and ROUTER only.
    pub(crate) const fn announces_routing_id(self) -> bool {
        matches!(self, SocketType::Req | SocketType::Dealer | SocketType::Router)
    }

    /// Whether a peer's messages that start with 00 or 01 are subscriptions.
    pub(crate) const fn publishes(self) -> bool {
        matches!(self, SocketType::Pub | SocketType::XPub)
    }

    /// Whether our own messages that start with 00 or 01 are subscriptions.
    pub(crate) const fn subscribes(self) -> bool {
        matches!(self, SocketType::Sub | SocketType::XSub)
    }
}

impl fmt::Display for SocketType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// The text is not the name of a socket type.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("unknown socket type {0:?}")]
pub struct UnknownSocketType(
    /// The text.
    pub String,
);

/// Parses a name in capitals, small letters or a mixture.
impl FromStr for SocketType {
    type Err = UnknownSocketType;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        SocketType::ALL
            .into_iter()
            .find(|kind| kind.as_str().eq_ignore_ascii_case(text))
            .ok_or_else(|| UnknownSocketType(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_codes_round_trip() {
        for (index, kind) in SocketType::ALL.into_iter().enumerate() {
            assert_eq!(usize::from(kind.code()), index);
            assert_eq!(SocketType::from_code(kind.code()), Some(kind));
            assert_eq!(kind.as_str().to_lowercase().parse(), Ok(kind));
            assert_eq!(kind.as_str().parse(), Ok(kind));
        }
        assert_eq!(SocketType::from_code(11), None);
        assert!("CLIENT".parse::<SocketType>().is_err());
    }

    #[test]
    fn compatibility_is_symmetric() {
        let mut pairs = 0;
        for ours in SocketType::ALL {
            for theirs in SocketType::ALL {
                assert_eq!(ours.accepts(theirs), theirs.accepts(ours), "{ours} {theirs}");
                pairs += usize::from(ours.accepts(theirs));
            }
        }
        // REQ 2, REP 2, DEALER 3, ROUTER 3, PUB and XPUB 2 each, SUB and XSUB 2 each, PUSH, PULL, PAIR.
        assert_eq!(pairs, 21);
    }
}
