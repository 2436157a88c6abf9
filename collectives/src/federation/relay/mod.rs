//! The message server's protocol, without I/O.
#![allow(dead_code)]

pub(super) mod access;
pub(super) mod event;
pub(super) mod limits;
pub(super) mod routes;
pub(super) mod stats;
pub(super) mod store;

use std::time::Instant;

use bytes::Bytes;
use flexbond_transport::Message;

pub(crate) use self::access::Access;
pub(crate) use self::event::RelayEvent;
pub use self::limits::RelayLimits;
pub(crate) use self::routes::Routes;
pub use self::stats::{JobStats, PartyStats, RelayStats};
use self::store::{PieceId, Record, Request};

/// The way of a packet: the connection it came on (opaque number given by the driver), or the server that a route names.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub(crate) enum Way {
    Party(u64),
    Server(usize),
}

pub(crate) struct RelaySetup {
    pub(crate) incarnation: u64,
    pub(crate) limits: RelayLimits,
    pub(crate) access: Access,
    pub(crate) routes: Routes,
    pub(crate) durable: bool,
    pub(crate) epochs: u64,
}

pub(crate) struct Relay;

#[allow(clippy::unused_self, clippy::needless_pass_by_value, unused_variables)]
impl Relay {
    pub(crate) fn new(setup: RelaySetup, now: Instant) -> Relay {
        Relay
    }
    pub(crate) fn restore(&mut self, record: Record) {}
    pub(crate) fn handle_packet(&mut self, now: Instant, way: Way, identity: Option<&str>, packet: Message) {}
    pub(crate) fn handle_lost(&mut self, way: Way) {}
    pub(crate) fn handle_committed(&mut self, batch: u64) {}
    pub(crate) fn handle_loaded(&mut self, piece: PieceId, content: Vec<Bytes>) {}
    pub(crate) fn handle_timeout(&mut self, now: Instant) {}
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        None
    }
    pub(crate) fn poll_transmit(&mut self, now: Instant) -> Option<(Way, Message)> {
        None
    }
    pub(crate) fn set_blocked(&mut self, way: Way, is_blocked: bool) {}
    pub(crate) fn poll_store(&mut self) -> Option<Request> {
        None
    }
    pub(crate) fn poll_event(&mut self) -> Option<RelayEvent> {
        None
    }
    pub(crate) fn stats(&self) -> RelayStats {
        RelayStats::default()
    }
    pub(crate) fn set_routes(&mut self, routes: Routes) {}
    pub(crate) fn set_access(&mut self, access: Access) {}
    pub(crate) fn drain(&mut self) {}
    pub(crate) fn is_drained(&self) -> bool {
        true
    }
}
