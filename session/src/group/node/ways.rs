//! From which of this machine's addresses others are spoken to.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

/// From which of this machine's addresses others are spoken to: the ones at which they speak to it. Known only where a
/// node is at several, as at `0.0.0.0`; the system would choose one of them, and whoever has asked at another takes
/// nothing that comes from there.
#[derive(Debug, Default)]
pub(super) struct Ways {
    /// Of those who are in.
    known: BTreeMap<SocketAddr, IpAddr>,
    /// Who is being answered, and where it has asked.
    asked: Option<(SocketAddr, IpAddr)>,
}

impl Ways {
    /// What comes now is from there, and has come to this address of the machine.
    pub(super) fn begin(&mut self, from: SocketAddr, at: Option<IpAddr>) {
        self.asked = at.map(|at| (from, at));
    }

    /// Nothing comes any more.
    pub(super) fn end(&mut self) {
        self.asked = None;
    }

    /// Whoever is being answered is in.
    pub(super) fn keep(&mut self) {
        self.known.extend(self.asked);
    }

    /// Nobody is there any more.
    pub(super) fn forget(&mut self, address: SocketAddr) {
        self.known.remove(&address);
    }

    /// From where to speak to this address; from where the system likes, if `None`.
    pub(super) fn to(&self, address: SocketAddr) -> Option<IpAddr> {
        match self.asked {
            Some((from, at)) if from == address => Some(at),
            _ => self.known.get(&address).copied(),
        }
    }
}
