//! What a rank has of another one: the connection between them and its two directions.

use std::fmt;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use flexbond_transport::{ByteStream, Endpoint};
use parking_lot::Mutex;

use super::inbound::Inbound;
use super::outbound::Outbound;
use super::posts::Posts;

/// Another rank, in all epochs that it lives to see; or this rank itself, without a connection.
pub(super) struct Link {
    pub(super) id: u32,
    /// Where it listens.
    pub(super) endpoint: Endpoint,
    /// Made when it is needed, and never a second time.
    stream: OnceLock<Box<dyn ByteStream>>,
    /// The last epoch in which a connection was asked for. What came of it in an earlier one may have been forgotten.
    asked: AtomicU32,
    /// A task sees to the connection.
    dialing: AtomicBool,
    /// The other side is being let in at this moment.
    opening: AtomicBool,
    /// The last epoch in which the server was told that the connection has ended, or that there is none. It forgets that
    /// when another death ends the epoch.
    broken: AtomicU32,
    /// A task [watches](super::watch) the path.
    watching: AtomicBool,
    /// The other side does.
    watched: AtomicBool,
    /// The rank has gone in good order.
    left: AtomicBool,
    pub(super) inbound: Mutex<Inbound>,
    pub(super) outbound: Mutex<Outbound>,
    pub(super) posts: Mutex<Posts>,
}

impl Link {
    pub(super) fn new(id: u32, endpoint: Endpoint, max_message: usize, unexpected_limit: usize) -> Self {
        Link {
            id,
            endpoint,
            stream: OnceLock::new(),
            asked: AtomicU32::new(0),
            dialing: AtomicBool::new(false),
            opening: AtomicBool::new(false),
            broken: AtomicU32::new(0),
            watching: AtomicBool::new(false),
            watched: AtomicBool::new(false),
            left: AtomicBool::new(false),
            inbound: Mutex::new(Inbound::new(max_message, unexpected_limit)),
            outbound: Mutex::default(),
            posts: Mutex::default(),
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

    /// True once in each epoch, for who is to see to a connection.
    pub(super) fn ask(&self, epoch: u32) -> bool {
        self.asked.fetch_max(epoch, Ordering::AcqRel) < epoch
    }

    /// True for who is to dial, until that has [ended](Self::end_dialing).
    pub(super) fn begin_dialing(&self) -> bool {
        !self.dialing.swap(true, Ordering::AcqRel)
    }

    pub(super) fn end_dialing(&self) {
        self.dialing.store(false, Ordering::Release);
    }

    pub(super) fn set_opening(&self, opening: bool) {
        self.opening.store(opening, Ordering::SeqCst);
    }

    /// True once in each epoch, for who is to tell the server.
    pub(super) fn break_off(&self, epoch: u32) -> bool {
        self.broken.fetch_max(epoch, Ordering::AcqRel) < epoch
    }

    /// How often something has moved in either direction, where somebody waits for that. Where somebody is at it in this
    /// very moment, nobody waits.
    pub(super) fn standing(&self) -> Option<u64> {
        let inbound = self.inbound.try_lock()?;
        let outbound = self.outbound.try_lock()?;
        let is_awaited = inbound.is_awaited() || outbound.is_awaited();
        is_awaited.then(|| inbound.counters.reads.wrapping_add(outbound.writes))
    }

    /// True for who is to watch, until that has [ended](Self::end_watching).
    pub(super) fn begin_watching(&self) -> bool {
        !self.watching.swap(true, Ordering::AcqRel)
    }

    pub(super) fn end_watching(&self) {
        self.watching.store(false, Ordering::Release);
    }

    /// True for the one connection by which the other side watches, until that has [ended](Self::end_watched).
    pub(super) fn begin_watched(&self) -> bool {
        !self.watched.swap(true, Ordering::AcqRel)
    }

    pub(super) fn end_watched(&self) {
        self.watched.store(false, Ordering::Release);
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
