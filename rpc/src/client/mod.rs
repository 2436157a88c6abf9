//! Clients: tower services that call what a server offers.

mod call;
mod calls;
#[expect(clippy::module_inception, reason = "the type that the module is about")]
mod client;
mod driver;
mod options;
mod shared;

pub use call::{Call, Values};
#[cfg(feature = "macros")]
pub(crate) use call::{DEFAULT_WINDOW, written};
pub use client::{Calling, Client, ClientError};
pub use options::Options;
