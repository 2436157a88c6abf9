//! ØMQ-compatible sockets for Rust programs on tokio.
//!
//! REQ, REP, DEALER, ROUTER, PUB, SUB, XPUB, XSUB, PUSH, PULL and PAIR, each its own type in [`socket`]. They speak
//! ZMTP 3.1 and its ancestors, so libzmq programs in any language can be at the other end. What they do beyond:
//! every future is cancel-safe, every queue is bounded and counted, and a peer that is lost is an error or event
//! that names it.
//!
//! ```
//! use flexbond_session::socket::{Rep, Req};
//!
//! # #[cfg(feature = "tcp")]
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let server = Rep::new();
//! let endpoint = server.bind("tcp://127.0.0.1:0").await?;
//! tokio::spawn(async move {
//!     while let Ok(request) = server.recv().await {
//!         let _ = server.send(format!("hello, {}", request[0].escape_ascii())).await;
//!     }
//! });
//!
//! let client = Req::new();
//! client.connect(&endpoint)?;
//! client.send("world").await?;
//! assert_eq!(&client.recv().await?[0], b"hello, world");
//! client.close().await;
//! # Ok(())
//! # }
//! # #[cfg(not(feature = "tcp"))]
//! # fn main() {}
//! ```
//!
//! # Layers
//!
//! Below: `flexbond-wire` (ZMTP, without I/O) and `flexbond-transport` (inproc, ipc, tcp, or your own). Above:
//! `flexbond-stream`, `flexbond-rpc`, `flexbond-collectives` and the facade `flexbond`. A program that needs only
//! sockets depends on this crate alone.
//!
//! # Features
//!
//! | feature | default | what it adds |
//! | --- | --- | --- |
//! | `inproc` | yes | endpoints `inproc://name`: whole messages between tasks of one process |
//! | `ipc` | yes | endpoints `ipc:///path` and `ipc://@abstract` |
//! | `tcp` | yes | endpoints `tcp://host:port` |
//! | `curve` | no | keys instead of passwords, and nothing in clear: the mechanism CURVE |
//! | `tls` | no | endpoints `tls://host:port`: make a `Tls` with certificates, register it ([`Registry::register`]) and give sockets the registry; needs a C compiler |
//! | `group` | no | [`group`]: sessions of many members over reliable UDP multicast, barriers, broadcast groups |
//! | `group-crypto` | no | keys for them; needs a C compiler |
//! | `mesh` | no | [`mesh`]: tagged messages between the ranks of one computation |
//! | `interop-tests` | no | the project's own tests against pyzmq |
//!
//! # How a message flows
//!
//! `send` picks a peer by the pattern's rules and pushes the message into that peer's queue; a task for each
//! connection takes whole batches from the queue, encodes them and writes them with one system call. On the other
//! side the task decodes what one read brought and hands the batch to the peer's inbound queue, from which `recv`
//! takes messages, one peer after the other. Between two sockets of one process (`inproc`) the two queues are one,
//! and no task is in between.
//!
//! # Cancel safety
//!
//! Every future of this crate may be dropped at any moment. A `send` that was not ready has sent nothing; a `recv`
//! that was not ready has taken nothing.

#[cfg(feature = "group")]
pub mod group;
#[cfg(feature = "mesh")]
pub mod mesh;
pub mod socket;
mod spin;

/// For those who implement [`Authenticator`](socket::Authenticator).
pub use async_trait::async_trait;
pub use flexbond_transport::{
    ByteStream, Connection, Endpoint, EndpointError, Frame, Link, LinkOptions, Listener, Message,
    MessageChannel, PeerIdentity, PeerName, Registry, Transport,
};
#[cfg(feature = "tls")]
pub use flexbond_transport::{
    ClientCertificates, Fingerprint, FingerprintError, Tls, TlsClient, TlsError, TlsIdentity, TlsOptions,
    TlsServer, TlsSettingsError, TrustRoots,
};
pub use spin::{Lookout, Moved};
