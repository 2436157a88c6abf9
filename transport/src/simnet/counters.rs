//! What has happened in a simulated network.

/// What has happened in a simulated network, in packets unless said otherwise.
///
/// Every copy ends somewhere: `copies + duplicated` is the sum of `delivered`, `too_large`, `queue_full`, `lost`,
/// `flooded`, `cut`, `overflowed` and what is still [in flight](super::Network::in_flight).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counters {
    /// Sent, to one address or to a group.
    pub sent: u64,
    /// Bytes sent.
    pub sent_bytes: u64,
    /// Not sent after all, because the sender is paused.
    pub silenced: u64,
    /// Copies of what was sent, one for each receiver: one for an address, one for each member of a group.
    pub copies: u64,
    /// Larger than the path allows.
    pub too_large: u64,
    /// Dropped at the full queue of a line with a rate.
    pub queue_full: u64,
    /// Lost.
    pub lost: u64,
    /// Dropped because too much was under way in the whole network.
    pub flooded: u64,
    /// Made a second time.
    pub duplicated: u64,
    /// Held back, so that later ones overtake.
    pub reordered: u64,
    /// Changed.
    pub corrupted: u64,
    /// Stopped at the border of a partition.
    pub cut: u64,
    /// Dropped at the full receive buffer of a paused host.
    pub overflowed: u64,
    /// Sent to a group without members.
    pub unheard: u64,
    /// Delivered.
    pub delivered: u64,
    /// Bytes delivered.
    pub delivered_bytes: u64,
    /// Delivered to an address where no [`SimSocket`](super::SimSocket) listens.
    pub unlistened: u64,
    /// Delivered to a [`SimSocket`](super::SimSocket), and dropped because its receive buffer was full.
    pub unread: u64,
}
