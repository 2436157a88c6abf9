//! What a federation needs of the way between parties.

use std::sync::Arc;
use std::task::{Context, Poll};

use flexbond_transport::Message;

use super::name::PartyId;

/// How packets get from one party to the others: the difference between the modes of a federation.
///
/// A carrier may lose packets, double them and change their order, as it does when a connection breaks; the federation
/// above it repairs that. What it must not do is to change a packet, or to hand on one whose sender it knows to be
/// another than the packet says: where parties prove who they are, that is for the carrier to check.
///
/// A packet is one message of one or more frames. Its first frame names its sender and its receiver; a carrier need not
/// read it.
pub trait Carrier: Send + 'static {
    /// Takes the packet for the party `to` out of `packet`, or waits until there is room for it. A party that cannot be
    /// reached now must not make others wait: its packets are taken and dropped, they come again.
    fn poll_send(&mut self, cx: &mut Context<'_>, to: &PartyId, packet: &mut Option<Message>) -> Poll<()>;

    /// The next packet for this party, or other news.
    fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Arrival>;

    /// Whether packets of any size are carried as quickly as small ones, without copying. Messages are not cut into
    /// pieces then. The default says no.
    fn is_memory(&self) -> bool {
        false
    }
}

/// What a carrier has for its party.
#[derive(Debug)]
#[non_exhaustive]
pub enum Arrival {
    /// A packet.
    Packet(Message),
    /// The way to that party has broken. It may be back at once; if it died, its successor is let in without waiting.
    Lost(PartyId),
    /// What is known of the server that carries packets for all parties. Without such a server, this is never said.
    Server(ServerWay),
}

/// How it stands with a message server.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ServerWay {
    /// There is a connection.
    Reached,
    /// There is none, and it is tried again and again. Why not, once that is known.
    Unreachable(Option<Arc<str>>),
    /// The server does not let this party in, or is not the one whose key the configuration names, and says this. It is
    /// tried again and again.
    Refused(Arc<str>),
}
