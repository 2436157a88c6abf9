//! A message server, without I/O, clock or randomness: it stands between each two parties of a job, and takes the place of
//! either towards the other.
//!
//! For each pair there are two [halves](half): one speaks with the first party in the place of the second, the other the
//! other way round. A half is a [`Link`](crate::federation::core::link), as parties have it between them, and the flows
//! that come and go on it. What the link of a sender's half has acknowledged is in the server's custody: in a store, if it
//! has one. The message goes when the receiver's program has it, and its sender hears so.
//!
//! A chain of servers is the same: a half may speak with another server, which takes it for the party.
//!
//! Without a store a message is kept in memory, unless it is too large for that: then its pieces are handed on as they come,
//! and its sender is asked for it again when the receiver's session breaks before it is whole there.

mod access;
mod admission;
mod arena;
mod credit;
mod custody;
mod delivery;
mod ending;
mod entry;
mod event;
mod flow;
#[cfg(any(test, fuzzing))]
pub(super) mod fuzz;
mod half;
mod intake;
mod job;
mod lanes;
mod ledger;
mod limits;
#[cfg(any(test, fuzzing))]
mod model;
mod moves;
mod numbered;
mod pieces;
mod quota;
#[expect(clippy::module_inception, reason = "the type that the module is about")]
mod relay;
mod restore;
mod routes;
mod session;
mod spare;
mod stats;
mod store;
#[cfg(test)]
mod tests;

pub(crate) use self::access::Access;
#[cfg(test)]
pub(crate) use self::event::QuotaKind;
pub(crate) use self::event::RelayEvent;
pub use self::limits::RelayLimits;
pub(crate) use self::relay::{Relay, RelaySetup, Way};
pub(crate) use self::routes::Routes;
pub use self::stats::{JobStats, PartyStats, RelayStats};
#[cfg(any(test, fuzzing))]
pub(crate) use self::store::FlowId;
#[cfg(any(test, fuzzing, feature = "federation-redb"))]
pub(crate) use self::store::{Op, PieceId, Record, Request};
