//! The others in the session, as far as packets go.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Instant;

use flexbond_wire::group::{Member, ReplayWindow};

use crate::group::MemberId;

/// The others in the session, as far as packets go: where they are, and which packets of them were seen.
#[derive(Debug, Default)]
pub(super) struct Peers(BTreeMap<MemberId, Peer>);

#[derive(Debug)]
struct Peer {
    address: SocketAddr,
    max_message: u64,
    /// Whether what is sent to the group's address does not reach it.
    unicast: bool,
    window: ReplayWindow,
    /// When the newest packet came.
    newest_at: Option<Instant>,
}

impl Peers {
    /// Bit of [`Member::flags`]: what is sent to the group's address does not reach this one.
    pub(super) const UNICAST: u8 = 1;

    /// Adds somebody, or takes note of what has changed about it; true if it is new.
    pub(super) fn set(&mut self, member: &Member) -> bool {
        let peer = Peer {
            address: member.address,
            max_message: member.max_message,
            unicast: member.flags & Self::UNICAST != 0,
            window: ReplayWindow::new(),
            newest_at: None,
        };
        match self.0.get_mut(&MemberId(member.id)) {
            None => {
                self.0.insert(MemberId(member.id), peer);
                true
            }
            Some(known) => {
                *known = Peer {
                    window: known.window.clone(),
                    newest_at: known.newest_at,
                    ..peer
                };
                false
            }
        }
    }

    pub(super) fn remove(&mut self, member: MemberId) -> bool {
        self.0.remove(&member).is_some()
    }

    pub(super) fn knows(&self, member: MemberId, from: SocketAddr) -> bool {
        self.0.get(&member).is_some_and(|peer| peer.address == from)
    }

    /// Whether somebody is at this address.
    pub(super) fn is_at(&self, address: SocketAddr) -> bool {
        self.0.values().any(|peer| peer.address == address)
    }

    /// Whether a packet was neither seen before nor is too old to know.
    pub(super) fn is_fresh(&self, member: MemberId, number: u64) -> bool {
        self.0
            .get(&member)
            .is_some_and(|peer| peer.window.is_fresh(number))
    }

    /// Takes note of a packet; false if it was seen before, or is too old to know.
    pub(super) fn accept(&mut self, now: Instant, member: MemberId, number: u64) -> bool {
        let Some(peer) = self.0.get_mut(&member) else {
            return false;
        };
        if number > peer.window.newest() {
            peer.newest_at = Some(now);
        }
        peer.window.accept(number)
    }

    /// The newest packet that was seen of somebody, and when.
    pub(super) fn newest(&self, member: MemberId) -> Option<(u64, Instant)> {
        let peer = self.0.get(&member)?;
        Some((peer.window.newest(), peer.newest_at?))
    }

    pub(super) fn address(&self, member: MemberId) -> Option<SocketAddr> {
        self.0.get(&member).map(|peer| peer.address)
    }

    /// Who takes the smallest messages, and how large they may be.
    pub(super) fn least_max_message(&self) -> Option<(u64, MemberId)> {
        self.0.iter().map(|(&id, peer)| (peer.max_message, id)).min()
    }

    /// How many hear what is sent to the group's address.
    pub(super) fn reached_by_multicast(&self) -> usize {
        self.0.values().filter(|peer| !peer.unicast).count()
    }

    pub(super) fn ids(&self) -> impl Iterator<Item = MemberId> {
        self.0.keys().copied()
    }

    /// Where to send what is for those whom `wanted` picks: as [`all`](Self::all), but nobody else by itself.
    pub(super) fn some(
        &self,
        multicast: Option<SocketAddr>,
        wanted: impl Fn(MemberId) -> bool,
    ) -> Vec<SocketAddr> {
        let chosen = || self.0.iter().filter(|(id, _)| wanted(**id));
        let group = multicast.filter(|_| chosen().any(|(_, peer)| !peer.unicast));
        let alone = chosen().filter(|(_, peer)| peer.unicast || multicast.is_none());
        group
            .into_iter()
            .chain(alone.map(|(_, peer)| peer.address))
            .collect()
    }

    /// Where to send what is for all: to the group's address, if there is one, and to each whom that does not reach.
    pub(super) fn all(&self, multicast: Option<SocketAddr>) -> impl Iterator<Item = SocketAddr> {
        let group = multicast.filter(|_| self.0.values().any(|peer| !peer.unicast));
        group
            .into_iter()
            .chain(self.alone(multicast).map(|(_, address)| address))
    }

    /// Those whom what is sent to the group's address does not reach, if there is one.
    pub(super) fn alone(
        &self,
        multicast: Option<SocketAddr>,
    ) -> impl Iterator<Item = (MemberId, SocketAddr)> {
        let alone = self
            .0
            .iter()
            .filter(move |(_, peer)| peer.unicast || multicast.is_none());
        alone.map(|(&id, peer)| (id, peer.address))
    }
}
