//! Counters of a mesh.

/// What has passed between this rank and those of the current epoch, and what was turned away.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct MeshStats {
    /// Messages handed to the system.
    pub messages_sent: u64,
    /// Their bytes.
    pub bytes_sent: u64,
    /// Messages received.
    pub messages_received: u64,
    /// Their bytes.
    pub bytes_received: u64,
    /// Messages that came before they were asked for, while others were waited for.
    pub unexpected: u64,
    /// What those cost that nobody has asked for yet, in bytes (64 for each message besides its body).
    pub unexpected_bytes: usize,
    /// Times that somebody found a connection stopped because its store of unexpected messages was full.
    pub stalls: u64,
    /// Connections that ended because the peer spoke nonsense.
    pub malformed: u64,
    /// Connections from elsewhere that were turned away.
    pub refused: u64,
}

/// What has come from one rank.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counters {
    pub(super) messages: u64,
    pub(super) bytes: u64,
    pub(super) unexpected: u64,
    pub(super) stalls: u64,
    pub(super) malformed: u64,
    /// Polls that have read something.
    pub(super) reads: u64,
}
