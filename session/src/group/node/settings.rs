//! How a node behaves.

use std::net::SocketAddr;
use std::time::Duration;

#[cfg(feature = "group-crypto")]
use flexbond_wire::group::PresharedKey;

#[cfg(feature = "group-crypto")]
use super::Entropy;

/// How a node behaves.
#[derive(Clone, Debug)]
pub(crate) struct NodeSettings {
    /// Where to send what is for all; to each by itself, if `None`.
    pub(crate) multicast: Option<SocketAddr>,
    /// Whether it is at several addresses of its machine: it answers from the one at which it was asked.
    pub(crate) is_anywhere: bool,
    /// Bytes of payload in a segment.
    pub(crate) segment: usize,
    /// Bytes of a flow that may be on their way at once.
    pub(crate) window: u64,
    /// Memory for messages that nobody has received yet, in bytes.
    pub(crate) recv_budget: u64,
    /// The least memory with which anybody is admitted.
    pub(crate) least_budget: u64,
    /// Bytes in a message, at most.
    pub(crate) max_message: u64,
    /// Bytes of messages that may wait to be delivered to others, on each channel.
    pub(crate) send_budget: u64,
    /// How many receivers must have a segment before more is sent; all, if `None`.
    pub(crate) quorum: Option<usize>,
    /// Whether receivers that lag behind those skip what they have not got, once they do so by [`lag`](Self::lag).
    pub(crate) skip: bool,
    /// From how many receivers on what several lack is repaired by parity; never, if `None`.
    pub(crate) parity_from: Option<usize>,
    /// How long a member may keep the coordinator from sending before it is sent away; for ever, if `None`.
    pub(crate) evict_after: Option<Duration>,
    /// What is random here depends on it: it differs from one member to the other.
    pub(crate) seed: u64,
    pub(crate) heartbeat: Duration,
    pub(crate) dead_after: Duration,
    pub(crate) join_timeout: Duration,
    pub(crate) max_members: usize,
    pub(crate) name: String,
    /// The key that all in the session have, and that a joiner must have.
    #[cfg(feature = "group-crypto")]
    pub(crate) key: Option<PresharedKey>,
    /// Where a coordinator takes its session's keys from.
    #[cfg(feature = "group-crypto")]
    pub(crate) entropy: Entropy,
}

impl NodeSettings {
    /// Segments of a flow that may be on their way at once.
    pub(super) fn window_segments(&self) -> u64 {
        (self.window / self.segment as u64).max(Self::MIN_WINDOW)
    }

    /// By how many segments those may lag who skip then: by two windows, but not so far that what is kept for them leaves
    /// no room for more.
    pub(super) fn lag(&self) -> Option<u64> {
        let room = self.send_budget / (2 * self.segment as u64);
        self.skip.then_some(room.clamp(2, 2 * self.window_segments()))
    }

    const MIN_WINDOW: u64 = 16;
}
