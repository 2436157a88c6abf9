//! Sessions of many members over reliable multicast.

mod barrier;
mod driver;
mod flow;
mod membership;
mod node;

/// A member of a session, unique in it for all time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct MemberId(pub(crate) u32);
