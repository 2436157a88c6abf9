//! The message server: it takes messages for parties that are not there, or cannot be reached, and hands them over.
//!
//! [`Server`] is the server; all that it does is in the relay, which knows nothing of sockets, files and clocks. Here are
//! those: a ROUTER that parties and other servers connect to, a DEALER to each other server, a thread that has the store,
//! and a task that moves packets between them. The task never waits for anybody: a packet for which its receiver has no room
//! waits alone.

mod admission;
mod check;
mod config;
mod driver;
mod error;
#[cfg(feature = "federation-redb")]
mod keeper;
mod moves;
mod parsed;
mod repeats;
mod report;
#[expect(clippy::module_inception, reason = "the type that the module is about")]
mod server;
mod sockets;
#[cfg(all(test, feature = "tcp"))]
mod tests;
mod ways;

pub use self::config::{JobEntry, PartyEntry, ServerConfig, ServerEntry, ServerKeys};
pub use self::error::{ServeError, ServerConfigError};
pub use self::report::{EventLevel, ServerEvent, ServerStats, StoreStats};
pub use self::server::Server;
