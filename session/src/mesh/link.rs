//! What a rank has of another one: the connection between them and its two directions.

use std::fmt;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use flexbond_transport::{ByteStream, Endpoint};
use parking_lot::Mutex;

use super::inbound::Inbound;
use super::outbound::Outbound;

/// Another rank, in all epochs that it lives to see; or this rank itself, without a connection.
pub(super) struct Link {
    pub(super) id: u32,
    /// Where it listens.
    pub(super) endpoint: Endpoint,
    /// Made when it is needed, and never a second time.
    stream: OnceLock<Box<dyn ByteStream>>,
    /// A connection was asked for.
    asked: AtomicBool,
    /// The other side is being let in at this moment.
    opening: AtomicBool,
    /// The connection ended, which was told to the server.
    broken: AtomicBool,
    /// The rank has gone in good order.
    left: AtomicBool,
    pub(super) inbound: Mutex<Inbound>,
    pub(super) outbound: Mutex<Outbound>,
}

impl Link {
    pub(super) fn new(id: u32, endpoint: Endpoint, max_message: usize, unexpected_limit: usize) -> Self {
        Link {
            id,
            endpoint,
            stream: OnceLock::new(),
            asked: AtomicBool::new(false),
            opening: AtomicBool::new(false),
            broken: AtomicBool::new(false),
            left: AtomicBool::new(false),
            inbound: Mutex::new(Inbound::new(max_message, unexpected_limit)),
            outbound: Mutex::default(),
        }
    }

    #[inline]
    pub(super) fn stream(&self) -> Option<&dyn ByteStream> {
        self.stream.get().map(|stream| &**stream)
    }

    /// Hands the stream back if there is one already.
    pub(super) fn connected(&self, stream: Box<dyn ByteStream>) -> Result<(), Box<dyn ByteStream>> {
        self.stream.set(stream)
    }

    /// True once, for who is to see to a connection.
    pub(super) fn ask(&self) -> bool {
        !self.asked.swap(true, Ordering::AcqRel)
    }

    pub(super) fn set_opening(&self, opening: bool) {
        self.opening.store(opening, Ordering::SeqCst);
    }

    /// True once, for who is to tell the server.
    pub(super) fn break_off(&self) -> bool {
        !self.broken.swap(true, Ordering::AcqRel)
    }

    pub(super) fn leave(&self) {
        self.left.store(true, Ordering::SeqCst);
    }

    /// Whether the rank has gone in good order.
    pub(super) fn has_left(&self) -> bool {
        self.left.load(Ordering::SeqCst)
    }

    /// Whether it has gone without ever having been connected.
    pub(super) fn is_vacant(&self) -> bool {
        self.has_left() && !self.opening.load(Ordering::SeqCst) && self.stream.get().is_none()
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link")
            .field("id", &self.id)
            .field("endpoint", &self.endpoint)
            .field("connected", &self.stream.get().is_some())
            .finish_non_exhaustive()
    }
}
