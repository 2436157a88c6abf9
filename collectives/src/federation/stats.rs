//! What has passed between this party and the others.

use std::collections::BTreeMap;

use super::core::{Inflow, Outflow};
use super::error::Presence;
use super::name::ChannelName;

/// What has passed between this party and another, since this one started.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct PeerStats {
    /// What is known of it.
    pub presence: Presence,
    /// Whether messages to it wait at this party because the message server has no room for them.
    pub waits_for_room: bool,
    /// By the names of channels; channels of one name that are of two kinds are counted as one.
    pub channels: BTreeMap<ChannelName, ChannelStats>,
    /// Packets with content that were sent again.
    pub resent: u64,
    /// Packets that came too early, too late, twice, or from a process that has no place here.
    pub ignored: u64,
    /// Packets whose content broke a limit or a rule. The other party sends them again and again: its version or its
    /// limits differ in a way that must not be.
    pub refused: u64,
}

/// What has passed on one channel, both directions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ChannelStats {
    /// Messages that this program has sent.
    pub sent: u64,
    /// Their bytes.
    pub sent_bytes: u64,
    /// How many of them the other program has not received yet.
    pub waiting: u64,
    /// Their bytes.
    pub waiting_bytes: u64,
    /// How many of them have left this process, in part at least: they may come even if it ends before it is told so.
    pub departed: u64,
    /// Messages that have come, those that had waited too long when they came among them.
    pub received: u64,
    /// Their bytes.
    pub received_bytes: u64,
    /// How many of them this program has not received yet.
    pub held: u64,
    /// Their bytes.
    pub held_bytes: u64,
    /// Messages that came twice and were dropped.
    pub duplicates: u64,
    /// Messages that waited too long and were dropped, both directions.
    pub expired: u64,
    /// Messages to the other party that were dropped because it, or the message server, takes none so large: they were sent
    /// before it had said so.
    pub too_large: u64,
}

impl ChannelStats {
    pub(super) fn add_out(&mut self, flow: &Outflow) {
        let (waiting, bytes) = flow.waiting();
        self.sent += flow.sent;
        self.sent_bytes += flow.sent_bytes;
        self.waiting += waiting as u64;
        self.waiting_bytes += bytes;
        self.departed += flow.departed() as u64;
        self.expired += flow.expired;
        self.too_large += flow.too_large;
    }

    pub(super) fn add_in(&mut self, flow: &Inflow) {
        let (held, bytes) = flow.held();
        self.received += flow.received;
        self.received_bytes += flow.received_bytes;
        self.held += held as u64;
        self.held_bytes += bytes;
        self.duplicates += flow.duplicates;
        self.expired += flow.expired;
    }
}
