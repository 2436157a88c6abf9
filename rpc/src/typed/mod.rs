//! Calls by the methods of a trait: what the clients that [`service`](macro@crate::service) makes are built of.

mod caller;
mod invocation;

pub use caller::{CallService, Caller};
pub use invocation::Invocation;
