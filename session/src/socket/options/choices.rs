//! What some options choose between.

/// What a ROUTER reports about its peers by an empty message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum RouterNotify {
    /// Nothing.
    #[default]
    Off,
    /// New peers.
    Connect,
    /// Lost peers.
    Disconnect,
    /// Both.
    Both,
}

/// Which subscription messages an XPUB delivers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum XpubVerbosity {
    /// The first subscription to a topic and the cancellation that ends the last.
    #[default]
    Changes,
    /// Every subscription, and the cancellation that ends the last.
    Verbose,
    /// Every subscription and every cancellation.
    Verboser,
}

/// What a publisher does with a message for a peer whose queue is full.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum SlowPeer {
    /// Drops the new message for that peer, and counts it.
    #[default]
    DropNewest,
    /// Drops the oldest waiting message for that peer, and counts it.
    DropOldest,
    /// Makes `send` wait until every matching peer has room (`ZMQ_XPUB_NODROP`). One slow peer then slows all.
    Wait,
    /// Ends the connection to that peer.
    Disconnect,
}

/// When a connecting endpoint gives up for good.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReconnectStop {
    /// When nobody listens.
    pub refused: bool,
    /// When the handshake fails. A CURVE client goes on trying after what breaks the protocol, for instance a refusal by
    /// somebody who has not proved to be the server: whoever is on the way can send that.
    pub handshake: bool,
}
