//! The bytes on their way to the peer.
use std::io::IoSlice;

/// The bytes on their way to the peer.
#[derive(Debug, Default)]
pub struct Transmit {}

impl Transmit {
    /// The bytes queued and not yet sent.
    #[must_use]
    pub fn len(&self) -> usize {
        0
    }
    /// Whether everything was sent.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        true
    }
    /// The bytes ever queued.
    #[must_use]
    pub fn total(&self) -> u64 {
        0
    }
    /// The bytes ever sent.
    #[must_use]
    pub fn sent(&self) -> u64 {
        0
    }
    /// Fills `out` with the next bytes to send; returns how many slices were filled.
    pub fn slices<'a>(&'a self, out: &mut [IoSlice<'a>]) -> usize {
        let _ = out;
        0
    }
    /// The first `n` bytes were sent.
    pub fn advance(&mut self, n: usize) {
        let _ = n;
    }
}
