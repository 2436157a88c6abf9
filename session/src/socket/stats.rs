//! Counters of a socket and of each of its peers.

use std::sync::atomic::{AtomicU64, Ordering};

use super::{LimitCounts, Peer};

/// What has passed through a socket since it was made, over all peers, those included that have gone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Messages taken for sending.
    pub messages_sent: u64,
    /// Their payload bytes.
    pub bytes_sent: u64,
    /// Messages handed to the application.
    pub messages_received: u64,
    /// Their payload bytes.
    pub bytes_received: u64,
    /// Messages dropped: for slow or unknown peers, at the end of linger, with a peer that went away.
    pub dropped: u64,
    /// Peers now.
    pub peers: u64,
    /// Handshakes completed.
    pub handshakes: u64,
    /// Connections lost and made again.
    pub reconnects: u64,
    /// Accepted connections that made room for newer ones before their handshake was complete
    /// ([`Options::max_handshakes`](super::Options::max_handshakes)).
    pub displaced: u64,
    /// Bytes of messages that wait for peers, to within 64 KiB for each; see
    /// [`Options::send_memory`](super::Options::send_memory).
    pub queued_bytes: u64,
    /// Bytes from peers that wait to be received, without up to 8 KiB of each connection and with what is about to be read;
    /// see [`Options::recv_memory`](super::Options::recv_memory).
    pub unread_bytes: u64,
    /// How often peers met each limit.
    pub limits: LimitCounts,
}

/// What has passed between a socket and one peer.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct PeerStats {
    /// Which one.
    pub peer: Peer,
    /// Whether its handshake is complete now.
    pub ready: bool,
    /// Messages queued for it, sent ones included.
    pub messages_sent: u64,
    /// Their payload bytes.
    pub bytes_sent: u64,
    /// Messages received from it by the application.
    pub messages_received: u64,
    /// Their payload bytes.
    pub bytes_received: u64,
    /// Messages that were for it and were dropped.
    pub dropped: u64,
    /// Messages that wait to be sent to it.
    pub queued: u64,
    /// Their bytes, headers included; 0 over inproc.
    pub queued_bytes: u64,
    /// Bytes from it that wait to be received; 0 over inproc.
    pub unread_bytes: u64,
    /// Times its connection was lost and made again.
    pub reconnects: u64,
}

/// Counters with one writer at a time (whoever holds the lock of the queue they count).
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) messages_sent: Counter,
    pub(crate) bytes_sent: Counter,
    pub(crate) messages_received: Counter,
    pub(crate) bytes_received: Counter,
    /// What the lists of parts took of the messages that were received, beside their bytes.
    pub(crate) lists_received: Counter,
    /// What the messages needed that came by a task: what is beyond that of those received waits.
    arrived: Counter,
    pub(crate) dropped: SharedCounter,
    pub(crate) handshakes: SharedCounter,
}

impl Counters {
    pub(crate) fn sent(&self, messages: usize, bytes: usize) {
        self.messages_sent.add(messages as u64);
        self.bytes_sent.add(bytes as u64);
    }

    pub(crate) fn received(&self, messages: usize, bytes: usize) {
        self.messages_received.add(messages as u64);
        self.bytes_received.add(bytes as u64);
    }

    /// Messages came that need so many bytes. The task that takes them is the only one to call this.
    pub(crate) fn arrived(&self, bytes: usize) {
        // What was received without having come this way (a notice of the socket's own) makes no debt.
        let before = self.arrived.get().max(self.fetched());
        self.arrived.set(before + bytes as u64);
    }

    /// The bytes that came and were not received yet.
    pub(crate) fn unread(&self) -> usize {
        self.arrived.get().saturating_sub(self.fetched()) as usize
    }

    /// Nothing waits: messages may go otherwise than by being received. As [`arrived`](Self::arrived), for one task only.
    pub(crate) fn none_unread(&self) {
        self.arrived.set(self.fetched());
    }

    /// The bytes that came, since the lane was made: no fewer than were [received](Self::fetched), though not all of these
    /// came as [`arrived`](Self::arrived) says.
    #[inline]
    pub(crate) fn come(&self) -> u64 {
        self.arrived.get().max(self.fetched())
    }

    /// Messages that came with so many bytes are gone: nobody will receive them. As [`arrived`](Self::arrived), for one
    /// task only.
    pub(crate) fn lost(&self, bytes: usize) {
        let left = self.arrived.get().saturating_sub(bytes as u64);
        self.arrived.set(left.max(self.fetched()));
    }

    /// The bytes that were received.
    #[inline]
    pub(crate) fn fetched(&self) -> u64 {
        self.lists_received.get() + self.bytes_received.get()
    }

    /// Adds all of `other`, whose owner is gone.
    pub(crate) fn absorb(&self, other: &Counters) {
        self.messages_sent
            .0
            .fetch_add(other.messages_sent.get(), Ordering::Relaxed);
        self.bytes_sent
            .0
            .fetch_add(other.bytes_sent.get(), Ordering::Relaxed);
        self.messages_received
            .0
            .fetch_add(other.messages_received.get(), Ordering::Relaxed);
        self.bytes_received
            .0
            .fetch_add(other.bytes_received.get(), Ordering::Relaxed);
        self.dropped.add(other.dropped.get());
        self.handshakes.add(other.handshakes.get());
    }
}

/// A counter whose writer holds a lock anyway: a plain store instead of a locked addition per message.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self, n: u64) {
        self.0
            .store(self.0.load(Ordering::Relaxed) + n, Ordering::Relaxed);
    }

    pub(crate) fn set(&self, n: u64) {
        self.0.store(n, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A counter for rare events, with any number of writers.
#[derive(Debug, Default)]
pub(crate) struct SharedCounter(AtomicU64);

impl SharedCounter {
    /// Returns the value before.
    pub(crate) fn add(&self, n: u64) -> u64 {
        self.0.fetch_add(n, Ordering::Relaxed)
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}
