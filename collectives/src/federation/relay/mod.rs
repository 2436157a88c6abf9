//! The message server's protocol, without I/O.

pub(super) mod limits;
pub(super) mod store;
