//! Layers of tower around clients and servers. Tower's own go around either as well; these know what calls are.
//!
//! | layer | what it does |
//! | --- | --- |
//! | [`Retry`] | calls again what is sound to call again, within a budget |
//! | [`Balanced`] | calls by the least busy of several servers that are there |
//! | [`Hedge`] | calls a second time when the first answer is slow, and takes the quicker one |
//! | [`ClientTrace`], [`ServerTrace`] | carry W3C trace context from caller to handler and on |
//! | [`Metrics`] | counts calls and how long they took, by method |
//!
//! They go together, the one that is written first outside:
//!
//! ```
//! # #[cfg(feature = "inproc")]
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use std::time::Duration;
//!
//! use flexbond_rpc::layers::{Balanced, Hedge, Retry};
//! use flexbond_rpc::{Failure, Methods, Server};
//! use tower::ServiceBuilder;
//!
//! let mut endpoints = Vec::new();
//! for name in ["inproc://here", "inproc://there"] {
//!     let methods = Methods::new().add("double", async |x: i64| Ok::<_, Failure>(2 * x))?;
//!     let server = Server::new(methods);
//!     endpoints.push(server.bind(name).await?);
//!     tokio::spawn(server.run());
//! }
//! let servers = Balanced::connect(endpoints)?;
//! let service = ServiceBuilder::new()
//!     .layer(Retry::new())
//!     .layer(Hedge::after(Duration::from_millis(50)))
//!     .service(servers.clone());
//! let call = servers.method("double").by(service);
//! let doubled: i64 = call.idempotent().value(&21).await?;
//! assert_eq!(doubled, 42);
//! # Ok(())
//! # }
//! # #[cfg(not(feature = "inproc"))]
//! # fn main() {}
//! ```

mod balance;
mod deadline;
mod hedge;
mod latency;
pub mod metrics;
mod retry;
#[cfg(test)]
mod scripted;
pub mod trace;

pub use balance::{Balanced, Balancing};
pub(crate) use deadline::of_whole;
pub use hedge::{Hedge, Hedged, Hedging};
pub use metrics::Metrics;
pub use retry::{Retried, Retry, Retrying};
pub use trace::{ClientTrace, ServerTrace, Trace};
