//! Clients: tower services that call what a server offers.

mod call;
mod calling;
mod calls;
#[expect(clippy::module_inception, reason = "the type that the module is about")]
mod client;
mod driver;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzz;
mod options;
mod room;
mod shared;
mod slot;
mod turn;

pub use call::{Call, Values};
#[cfg(feature = "macros")]
pub(crate) use call::{DEFAULT_WINDOW, written};
pub use calling::Calling;
pub use client::{Client, ClientError};
pub use options::Options;
#[cfg(feature = "macros")]
pub(crate) use turn::Turn;
