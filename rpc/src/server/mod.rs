//! Servers: any tower service of [`Request`](crate::Request)s, at any endpoint.

mod at_once;
mod backlog;
mod calls;
mod context;
mod flights;
mod handler;
mod hub;
mod methods;
mod options;
mod portion;
#[expect(clippy::module_inception, reason = "the type that the module is about")]
mod server;
mod session;
mod sync;
mod upload;
mod work;

pub use context::{Connection, Context};
pub use handler::{Answering, Handler, Incoming, OfArguments, OfContext};
pub use methods::{AddError, MethodInfo, Methods};
pub use options::Options;
pub use server::{Server, ServerStats, Stopped};
