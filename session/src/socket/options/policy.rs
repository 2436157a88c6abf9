//! Options that are a choice between ways to go on.

use std::time::Duration;

/// How long a receiver looks again and again for a message before it sleeps.
///
/// Waking a thread that sleeps takes some 30 to 50 µs, twice in a round trip; one that looks is there at once. The price
/// is a processor that is busy while it looks, although the other tasks of its thread still run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Spin {
    /// It looks once more, after the other tasks of its thread had their turn, and sleeps.
    #[default]
    Off,
    /// As long as it pays: about twice as long as waits have lasted of late, 100 µs at most, and only where they are that
    /// short; otherwise it sleeps at once, and looks again now and then, more rarely the less it pays. A socket that
    /// nothing comes to costs nothing.
    ///
    /// Never where the process may use one processor only, nor for peers that are all in this process.
    Auto,
    /// So long, at most [`Options::MAX_SPIN`](super::Options::MAX_SPIN), each time the socket waits. It learns, too:
    /// where looking never pays (messages come later, or who sends them needs this very processor), it is tried less and
    /// less. Best on a runtime of one thread; where several workers wait for the system's events, another one may have to
    /// be woken.
    For(Duration),
}

impl From<Duration> for Spin {
    /// For so long; not at all for none.
    fn from(time: Duration) -> Self {
        match time.is_zero() {
            true => Spin::Off,
            false => Spin::For(time),
        }
    }
}

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
