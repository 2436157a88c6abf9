//! Traces that travel with calls: W3C Trace Context in their metadata.
//!
//! [`ClientTrace`] around a client sends a call's place in its trace along, and [`ServerTrace`] around a server's
//! service takes it up: while a handler runs, [`Trace::current`] is its place, and the calls that it makes by a client
//! with [`ClientTrace`] belong to the same trace. Both open a span of [`tracing`] at debug level for each call, with
//! the fields `method`, `trace_id`, `span_id` and, if the call fails, `error`.
//!
//! In the metadata it stands as <https://www.w3.org/TR/trace-context/> has it for HTTP: `traceparent`, and `tracestate`
//! if there is one. Callers in other languages write and read the same.
//!
//! ```
//! use flexbond_rpc::layers::{ClientTrace, ServerTrace, Trace};
//! use flexbond_rpc::{Call, Client, Failure, Methods, Server};
//! use tower::ServiceBuilder;
//!
//! # #[cfg(feature = "inproc")]
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let methods = Methods::new().add("trace", async |()| {
//!     let trace = Trace::current().expect("there is the layer");
//!     Ok::<_, Failure>(trace.trace_id())
//! })?;
//! let server = Server::new(ServiceBuilder::new().layer(ServerTrace).service(methods));
//! let endpoint = server.bind("inproc://traced").await?;
//! tokio::spawn(server.run());
//!
//! let client = Client::connect(endpoint)?;
//! let traced = ServiceBuilder::new().layer(ClientTrace).service(client.clone());
//! let trace = Trace::start();
//! let seen: String = trace.scope(Call::new(traced, "trace").value(&())).await?;
//! assert_eq!(seen, trace.trace_id());
//! # Ok(())
//! # }
//! # #[cfg(not(feature = "inproc"))]
//! # fn main() {}
//! ```

mod context;
mod service;

pub use context::{Trace, TraceError};
pub use service::{ClientTrace, ServerTrace, Traced, Tracing};
