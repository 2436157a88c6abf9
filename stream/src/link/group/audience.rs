//! Who is at the other ends of a session, and what was counted.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use flexbond_session::group::JoinError;
use flexbond_session::socket::Stats;
use parking_lot::Mutex;
use tokio::sync::broadcast;

use crate::link::Change;

/// Who is at the other ends of a session, and what was counted.
///
/// For who holds the session they are its members. For a member it is who holds it, whose number is another one each time
/// that the session is joined.
#[derive(Debug)]
pub(super) struct Audience {
    clients: Mutex<BTreeSet<u64>>,
    changes: broadcast::Sender<Change>,
    /// Why this end is not in the session, when it tried last.
    refusal: Mutex<Option<Arc<JoinError>>>,
    pub(super) sent: Counted,
    pub(super) received: Counted,
    dropped: AtomicU64,
    arrivals: AtomicU64,
    returns: AtomicU64,
}

/// Messages and their bytes.
#[derive(Debug, Default)]
pub(super) struct Counted {
    messages: AtomicU64,
    bytes: AtomicU64,
}

impl Counted {
    pub(super) fn add(&self, bytes: usize) {
        self.messages.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }
}

impl Audience {
    /// Changes that wait for somebody to ask; more, and the oldest are missed.
    const CHANGES: usize = 1024;

    pub(super) fn new() -> Self {
        Audience {
            clients: Mutex::default(),
            changes: broadcast::Sender::new(Self::CHANGES),
            refusal: Mutex::default(),
            sent: Counted::default(),
            received: Counted::default(),
            dropped: AtomicU64::new(0),
            arrivals: AtomicU64::new(0),
            returns: AtomicU64::new(0),
        }
    }

    pub(super) fn join(&self, client: u64) {
        if self.clients.lock().insert(client) {
            self.arrivals.fetch_add(1, Ordering::Relaxed);
            self.tell(Change::Ready(client));
        }
    }

    pub(super) fn leave(&self, client: u64) {
        if self.clients.lock().remove(&client) {
            self.tell(Change::Lost(client));
        }
    }

    /// This end is in the session again.
    pub(super) fn note_return(&self) {
        self.returns.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn note_dropped(&self, messages: u64) {
        self.dropped.fetch_add(messages, Ordering::Relaxed);
    }

    /// Nothing more will change.
    pub(super) fn close(&self) {
        self.clients.lock().clear();
        self.tell(Change::Closed);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.clients.lock().is_empty()
    }

    pub(super) fn clients(&self) -> Vec<u64> {
        self.clients.lock().iter().copied().collect()
    }

    pub(super) fn changes(&self) -> broadcast::Receiver<Change> {
        self.changes.subscribe()
    }

    pub(super) fn set_refusal(&self, refusal: Option<JoinError>) {
        *self.refusal.lock() = refusal.map(Arc::new);
    }

    pub(super) fn refusal(&self) -> Option<Arc<JoinError>> {
        self.refusal.lock().clone()
    }

    pub(super) fn stats(&self) -> Stats {
        let mut stats = Stats::default();
        stats.messages_sent = self.sent.messages.load(Ordering::Relaxed);
        stats.bytes_sent = self.sent.bytes.load(Ordering::Relaxed);
        stats.messages_received = self.received.messages.load(Ordering::Relaxed);
        stats.bytes_received = self.received.bytes.load(Ordering::Relaxed);
        stats.dropped = self.dropped.load(Ordering::Relaxed);
        stats.peers = self.clients.lock().len() as u64;
        stats.handshakes = self.arrivals.load(Ordering::Relaxed);
        stats.reconnects = self.returns.load(Ordering::Relaxed);
        stats
    }

    fn tell(&self, change: Change) {
        // Nobody may want to know.
        let _ = self.changes.send(change);
    }
}
