//! <!-- intro -->
//! flexbond is what programs talk with, between threads, processes and machines: ØMQ-compatible sockets, typed data
//! streams, remote calls, reliable multicast with collectives, and federated channels, as one stack of small crates over
//! inproc, ipc, tcp, TLS and UDP. Its sockets speak ZMTP 3.1, so a program in any language with a ØMQ library can be at the
//! other end; its streams speak the formats of mflow, bsread and Dectris. It is written in Rust from the wire up: nothing of
//! libzmq is linked in.
//! <!-- /intro -->
//!
//! This crate is the facade: one dependency for all parts, a [`prelude`], sockets for code without a runtime
//! ([`blocking`]), and the programs `flexbond`, `m_stats`, `m_generate`, `m_dump`, `m_replay` and `m_split`. Below it,
//! each part is a crate of its own: a program that needs only sockets can depend on `flexbond-session` alone. Nothing
//! is above it but your program. [`security`] says what protects messages, and what does not.
//!
#![cfg_attr(feature = "inproc", doc = "```")]
#![cfg_attr(not(feature = "inproc"), doc = "```no_run")]
//! use flexbond::prelude::*;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let workers = Push::new();
//! workers.bind("inproc://work").await?;
//!
//! let worker = Pull::new();
//! worker.connect("inproc://work")?;
//! workers.send(["resize", "picture.png"]).await?;
//!
//! let task = worker.recv().await?;
//! assert_eq!(&task[1], b"picture.png");
//! # Ok(())
//! # }
//! ```
//!
//! # Features
//!
//! | feature | default | what it adds |
//! | --- | --- | --- |
//! | `inproc` | yes | endpoints `inproc://name`: between tasks and threads of one process, without copying |
//! | `ipc` | yes | endpoints `ipc:///path` and `ipc://@abstract`: between processes of one machine |
//! | `tcp` | yes | endpoints `tcp://host:port` |
//! | `tls` | with `cli` | endpoints `tls://host:port`: TLS over tcp ([`transport`]`::Tls`); builds AWS-LC with a C compiler |
//! | `collectives` | yes | [`collectives`]: barrier, broadcast, allreduce and the others, among the ranks of one computation |
//! | `federation` | yes | [`collectives`]`::federation`: channels by name between the parties of a federated job |
//! | `group` | yes | [`group`]: sessions of many members over reliable UDP multicast; with `stream`, streams over them |
//! | `curve` | yes | keys instead of passwords, and nothing in clear: the mechanism CURVE |
//! | `group-crypto` | yes | group sessions with a key; builds AWS-LC with a C compiler |
//! | `rpc` | yes | [`rpc`]: functions called on other machines, by name or as the methods of a trait ([`service`](macro@service)) |
//! | `stream` | yes | [`stream`]: typed data streams with statistics, and recordings of them |
//! | `recording-zstd` | no | recordings compressed with Zstandard; builds its C library with a C compiler |
//! | `hdf5` | no | arrays of recordings exported to HDF5 |
//! | `ndarray` | no | arrays of streams and calls as views of the `ndarray` crate |
//! | `blocking` | yes | [`blocking`]: sockets, with `rpc` calls, and with `federation` channels of parties, for code without a runtime |
//! | `cli` | yes | the programs, and all features above but `blocking`; libraries want `default-features = false` |
//! | `tui` | yes | `m_stats --tui`: a stream live in the terminal |
//! | `interop-tests` | no | this crate's own tests against pyzmq and Python mflow |

#[cfg(doctest)]
mod readme;

#[cfg(feature = "blocking")]
pub mod blocking;
#[cfg(feature = "cli")]
#[doc(hidden)]
pub mod cli;
pub mod prelude;
pub mod security;

#[cfg(feature = "collectives")]
pub use flexbond_collectives as collectives;
#[cfg(feature = "rpc")]
pub use flexbond_rpc as rpc;
/// Makes a typed client and a server of a trait: [`rpc::service`](macro@flexbond_rpc::service), which says all about it,
/// for crates that depend on `flexbond`.
///
#[cfg_attr(feature = "inproc", doc = "```")]
#[cfg_attr(not(feature = "inproc"), doc = "```no_run")]
/// use flexbond::rpc::{Failure, Server};
///
/// #[flexbond::service]
/// pub trait Calculator {
///     /// Adds two numbers.
///     async fn add(&self, a: f64, b: f64) -> Result<f64, Failure>;
/// }
///
/// struct Mine;
///
/// impl Calculator for Mine {
///     async fn add(&self, a: f64, b: f64) -> Result<f64, Failure> {
///         Ok(a + b)
///     }
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let server = Server::new(Mine.into_methods());
/// let endpoint = server.bind("inproc://sums").await?;
/// tokio::spawn(server.run());
///
/// let calculator = CalculatorClient::connect(endpoint)?;
/// assert_eq!(calculator.add(1.0, 2.0).await?, 3.0);
/// # Ok(())
/// # }
/// ```
#[cfg(feature = "rpc")]
pub use flexbond_rpc::expansion::service_of_flexbond as service;
pub use flexbond_session as session;
#[cfg(feature = "group")]
pub use flexbond_session::group;
#[cfg(feature = "stream")]
pub use flexbond_stream as stream;
pub use flexbond_transport as transport;
pub use flexbond_wire as wire;
