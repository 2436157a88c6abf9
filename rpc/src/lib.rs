//! Remote calls over ØMQ-compatible sockets, tower services at both ends.
//!
//! A [`Server`] answers calls with any tower service of [`Request`]s; [`Methods`] is one, made of functions. A
//! [`Client`] is such a service, too: timeouts, retries, limits, load balancing and whatever else tower has go around
//! either. The [`envelope`] is documented byte by byte, so that a program in any language can call and be called with
//! an ØMQ socket and JSON.
//!
//! ```
//! use flexbond_rpc::{Client, Failure, Methods, Server};
//!
//! # #[cfg(feature = "inproc")]
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let methods = Methods::new().add("add", async |(a, b): (i64, i64)| Ok::<_, Failure>(a + b))?;
//! let server = Server::new(methods);
//! let endpoint = server.bind("inproc://calculator").await?;
//! tokio::spawn(server.run());
//!
//! let client = Client::connect(endpoint)?;
//! let sum: i64 = client.call("add", &(1, 2)).await?;
//! assert_eq!(sum, 3);
//! # Ok(())
//! # }
//! # #[cfg(not(feature = "inproc"))]
//! # fn main() {}
//! ```
//!
//! # Layers
//! Below it is `flexbond-session`, whose DEALER and ROUTER sockets carry envelopes. Above it is the facade `flexbond`.
//!
//! # Features
//! | feature | default | what it adds |
//! | --- | --- | --- |
//! | `inproc`, `ipc`, `tcp` | yes | endpoints of these transports |

mod buffer;
pub mod client;
mod codec;
mod credit;
pub mod envelope;
mod error;
mod failure;
pub mod layers;
mod property;
#[cfg(all(doctest, feature = "inproc"))]
mod readme;
mod request;
pub mod server;

pub use buffer::Buffer;
pub use client::{Call, Client, ClientError, Values};
pub use codec::{CodecError, Encoded};
pub use error::CallError;
pub use failure::{Failure, FailureKind};
pub use request::{Item, Items, Request, Response, Wants};
pub use server::{AddError, Context, Incoming, MethodInfo, Methods, Server};
