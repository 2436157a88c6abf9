//! The limits that peers may meet: which there are, what happens then, and how often it did.

use std::fmt;
use std::sync::Arc;

use flexbond_transport::{AcceptError, Endpoint};
use flexbond_wire::zmtp::ProtocolError;

use super::stats::SharedCounter;

/// A limit of [`Options`](super::Options) that a peer can meet. Its `Display` is the name of the option.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Limit {
    /// [`max_peers`](super::Options::max_peers): connections that the socket accepted.
    Peers,
    /// [`max_peers_per_endpoint`](super::Options::max_peers_per_endpoint): of these, by one bound endpoint.
    EndpointPeers,
    /// [`max_peers_per_address`](super::Options::max_peers_per_address): of these, from one remote address.
    AddressPeers,
    /// [`max_handshakes`](super::Options::max_handshakes), or those of TLS: connections in their handshake.
    Handshakes,
    /// [`handshake_timeout`](super::Options::handshake_timeout), or that of TLS.
    HandshakeTime,
    /// [`max_message_size`](super::Options::max_message_size): bytes of one message.
    MessageSize,
    /// [`max_message_parts`](super::Options::max_message_parts): parts of one message.
    MessageParts,
    /// Bytes of one command (a subscription's topic, the handshake's properties); 64 KiB, no option.
    CommandSize,
    /// [`max_subscriptions`](super::Options::max_subscriptions): topics of one peer.
    Subscriptions,
    /// [`max_subscription_bytes`](super::Options::max_subscription_bytes): bytes of all topics of one peer.
    SubscriptionBytes,
    /// [`subscription_memory`](super::Options::subscription_memory): what the topics of all peers take.
    SubscriptionMemory,
    /// [`send_hwm_bytes`](super::Options::send_hwm_bytes): bytes that wait for one peer.
    PeerSendBytes,
    /// [`recv_hwm_bytes`](super::Options::recv_hwm_bytes): bytes from one peer that wait to be received.
    PeerRecvBytes,
    /// [`send_memory`](super::Options::send_memory): bytes that wait for all peers together.
    SendMemory,
    /// [`recv_memory`](super::Options::recv_memory): bytes from all peers together that wait to be received.
    RecvMemory,
}

/// What happened to the peer that met a [`Limit`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum LimitAction {
    /// Its connection was not accepted.
    Refused,
    /// Its connection made room for a newer one, before its handshake was complete.
    Displaced,
    /// Its connection ended. A message that was not there as a whole is gone with it, none that was accepted.
    Disconnected,
    /// Its connection is read no more until the application has received some of what waits.
    Paused,
    /// Nothing more is queued for it until it has read some: what that means for the sender is the pattern's to say, as at
    /// the high-water mark (it waits, another peer's turn comes, [`SlowPeer`](super::SlowPeer)).
    Full,
}

impl Limit {
    /// All of them.
    pub const ALL: [Limit; 15] = [
        Limit::Peers,
        Limit::EndpointPeers,
        Limit::AddressPeers,
        Limit::Handshakes,
        Limit::HandshakeTime,
        Limit::MessageSize,
        Limit::MessageParts,
        Limit::CommandSize,
        Limit::Subscriptions,
        Limit::SubscriptionBytes,
        Limit::SubscriptionMemory,
        Limit::PeerSendBytes,
        Limit::PeerRecvBytes,
        Limit::SendMemory,
        Limit::RecvMemory,
    ];

    /// The name of the option that sets it; `max_command_size` for the one that none does.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Limit::Peers => "max_peers",
            Limit::EndpointPeers => "max_peers_per_endpoint",
            Limit::AddressPeers => "max_peers_per_address",
            Limit::Handshakes => "max_handshakes",
            Limit::HandshakeTime => "handshake_timeout",
            Limit::MessageSize => "max_message_size",
            Limit::MessageParts => "max_message_parts",
            Limit::CommandSize => "max_command_size",
            Limit::Subscriptions => "max_subscriptions",
            Limit::SubscriptionBytes => "max_subscription_bytes",
            Limit::SubscriptionMemory => "subscription_memory",
            Limit::PeerSendBytes => "send_hwm_bytes",
            Limit::PeerRecvBytes => "recv_hwm_bytes",
            Limit::SendMemory => "send_memory",
            Limit::RecvMemory => "recv_memory",
        }
    }

    /// The limit that the protocol found exceeded, if that is what an error is about.
    pub(crate) fn of_protocol(error: &ProtocolError) -> Option<Self> {
        match error {
            ProtocolError::HandshakeTimeout => Some(Limit::HandshakeTime),
            ProtocolError::MessageTooLarge { .. } => Some(Limit::MessageSize),
            ProtocolError::TooManyFrames { .. } => Some(Limit::MessageParts),
            ProtocolError::CommandTooLarge { .. } => Some(Limit::CommandSize),
            _ => None,
        }
    }

    /// The limit that a listener found exceeded, what happened then, and to whom.
    pub(crate) fn of_accept(error: &AcceptError) -> Option<(Self, LimitAction, &Endpoint)> {
        #[cfg(feature = "tls")]
        if let AcceptError::Handshake { source, peer, .. } = error {
            use flexbond_transport::TlsError;
            return match **source {
                TlsError::Crowded { .. } => Some((Limit::Handshakes, LimitAction::Displaced, peer)),
                TlsError::TimedOut { .. } => Some((Limit::HandshakeTime, LimitAction::Disconnected, peer)),
                _ => None,
            };
        }
        let _ = error;
        None
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Display for LimitAction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            LimitAction::Refused => "refused",
            LimitAction::Displaced => "made room for a newer connection",
            LimitAction::Disconnected => "disconnected",
            LimitAction::Paused => "not read until some of it is received",
            LimitAction::Full => "nothing more is queued for it until it reads",
        })
    }
}

/// How often peers met each limit of a socket since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LimitCounts([u64; Limit::ALL.len()]);

impl LimitCounts {
    /// How often this one was met: for memory, how often a peer was held up by it.
    #[must_use]
    pub const fn get(&self, limit: Limit) -> u64 {
        self.0[limit as usize]
    }

    /// Each limit, and how often it was met.
    pub fn iter(&self) -> impl Iterator<Item = (Limit, u64)> + '_ {
        Limit::ALL.into_iter().zip(self.0)
    }

    /// How often any was met.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }
}

/// Reads how often peers met each limit of a socket, also when the socket is elsewhere or closed; it keeps none open. The
/// default one is of no socket.
#[derive(Clone, Debug, Default)]
pub struct LimitMeter(pub(crate) Arc<LimitCounters>);

impl LimitMeter {
    /// How often each was met until now.
    #[must_use]
    pub fn counts(&self) -> LimitCounts {
        self.0.get()
    }
}

/// Counts how often limits are met.
#[derive(Debug, Default)]
pub(crate) struct LimitCounters([SharedCounter; Limit::ALL.len()]);

impl LimitCounters {
    /// Counts once more, and returns how often it was before.
    pub(crate) fn count(&self, limit: Limit) -> u64 {
        self.0[limit as usize].add(1)
    }

    pub(crate) fn get(&self) -> LimitCounts {
        LimitCounts(std::array::from_fn(|index| self.0[index].get()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_limit_has_its_own_counter_and_name() {
        let counters = LimitCounters::default();
        for (times, limit) in Limit::ALL.into_iter().enumerate() {
            for before in 0..times as u64 {
                assert_eq!(counters.count(limit), before);
            }
        }
        let counts = counters.get();
        for (times, limit) in Limit::ALL.into_iter().enumerate() {
            assert_eq!(counts.get(limit), times as u64, "{limit}");
        }
        assert!(counts.iter().map(|(limit, _)| limit).eq(Limit::ALL));
        assert_eq!(counts.total(), (0..Limit::ALL.len() as u64).sum::<u64>());
        let names: std::collections::HashSet<_> = Limit::ALL.iter().map(Limit::to_string).collect();
        assert_eq!(names.len(), Limit::ALL.len());
    }
}
