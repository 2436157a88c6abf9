//! Where messages and packets travel: inproc, ipc and tcp behind one pluggable trait, with the message type they
//! carry, and udp.
//!
//! This is the lowest layer of flexbond. It knows how to reach another end, and nothing of what is said there:
//! `flexbond-wire` gives bytes their meaning, `flexbond-session` makes sockets of many connections. There is nothing
//! below but tokio and the operating system.
//!
//! - An [`Endpoint`] says where: `tcp://*:5555`, `ipc:///run/x.sock`, `inproc://name`, or any scheme of your own.
//! - A [`Registry`] finds the [`Transport`] for its scheme. [`Registry::standard`] has those of this build;
//!   [`Registry::register`] adds others.
//! - A [`Transport`] binds a [`Listener`] or makes a [`Connection`], which is one of two kinds of [`Link`]: a
//!   [`ByteStream`] (tcp, ipc), or a [`MessageChannel`] of whole messages that are never encoded (inproc).
//! - A [`Message`] is a sequence of [`Frame`]s, small ones inline and large ones shared.
//! - A [`DatagramSocket`] is the third kind, apart from the others: packets that may be lost. `UdpSocket` is the real
//!   one, for unicast and multicast, `Tunnel` carries packets over connections where UDP is blocked or not meant, and
//!   `simnet` has one in memory that loses and delays by a seed.
//!
//! Connecting, binding and accepting are `async`; what moves data is polled. Everything that waits is bounded, in
//! [`pipe`]s or in the kernel's buffers ([`LinkOptions`]).
//!
//! # Example
//! ```
//! # #[cfg(feature = "inproc")] {
//! use std::future::poll_fn;
//!
//! use flexbond_transport::{Endpoint, Link, LinkOptions, Message, Registry};
//!
//! # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
//! let (registry, options) = (Registry::standard(), LinkOptions::default());
//! let endpoint: Endpoint = "inproc://example".parse()?;
//!
//! let mut listener = registry.bind(&endpoint, &options).await?;
//! let near = registry.connect(listener.local_endpoint(), &options).await?;
//! let far = listener.accept().await?;
//!
//! let (Link::Messages(near), Link::Messages(mut far)) = (near.link, far.link) else { unreachable!() };
//! near.tx.try_push(Message::from(["hello", "world"]), None).expect("there is room");
//! assert!(poll_fn(|cx| far.rx.poll_fill(cx)).await);
//! assert_eq!(far.rx.pop(), Some(Message::from(["hello", "world"])));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # })?;
//! # }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # A transport of your own
//! Implement [`Transport`] and [`Listener`], hand out [`Connection`]s, and register the transport under its scheme.
//! Whatever tokio can read and write becomes a [`ByteStream`] through [`IoStream`]. The tests of this crate run their
//! conformance suite over such a transport beside the built-in ones.
//!
//! # Features
//! All but `tls` and `simnet` are on by default, and each adds something only.
//!
//! | feature | adds |
//! | --- | --- |
//! | `inproc` | `Inproc`: whole messages between tasks of one process |
//! | `ipc` | `Ipc`: Unix domain sockets, by path or in Linux's abstract namespace (Unix only) |
//! | `tcp` | `Tcp`: TCP over IPv4 and IPv6 |
//! | `tls` | `Tls`: TLS 1.3 over TCP, with certificates that are checked always; builds AWS-LC with a C compiler |
//! | `udp` | `UdpSocket`: UDP over IPv4 and IPv6, unicast and multicast, with segmentation offload |
//! | `tunnel` | `Tunnel`: packets over connections of any transport |
//! | `simnet` | `simnet`: a network in memory with seeded faults, under tokio's clock or any other, for tests |

mod connection;
mod datagram;
mod endpoint;
mod error;
mod frame;
mod identity;
#[cfg(feature = "inproc")]
mod inproc;
mod io_stream;
#[cfg(all(feature = "ipc", unix))]
mod ipc;
mod message;
pub mod pipe;
mod reached;
#[cfg(any(feature = "tcp", feature = "udp", all(feature = "ipc", unix)))]
mod readiness;
#[cfg(all(doctest, feature = "tcp"))]
mod readme;
mod registry;
#[cfg(any(feature = "tcp", feature = "udp"))]
mod resolve;
#[cfg(feature = "simnet")]
pub mod simnet;
#[cfg(any(feature = "tcp", all(feature = "ipc", unix)))]
mod socket_stream;
#[cfg(feature = "tcp")]
mod tcp;
#[cfg(feature = "tls")]
mod tls;
mod transport;
#[cfg(feature = "tunnel")]
mod tunnel;
#[cfg(feature = "udp")]
mod udp;

pub use connection::{ByteStream, Connection, Link, MessageChannel};
pub use datagram::{DatagramSocket, Received, Transmit};
pub use endpoint::{Endpoint, EndpointError, Host, IpcAddress, TcpAddress, UdpAddress};
pub use error::{AcceptError, BindError, ConnectError};
pub use frame::Frame;
pub use identity::{PeerIdentity, PeerName};
#[cfg(feature = "inproc")]
pub use inproc::Inproc;
pub use io_stream::IoStream;
#[cfg(all(feature = "ipc", unix))]
pub use ipc::Ipc;
pub use message::Message;
pub use reached::Reached;
pub use registry::{RegisterError, Registry, UnknownScheme};
#[cfg(any(feature = "tcp", feature = "udp"))]
pub use resolve::ResolveError;
#[cfg(feature = "tcp")]
pub use tcp::Tcp;
#[cfg(feature = "tls")]
pub use tls::{
    ClientCertificates, Fingerprint, FingerprintError, Tls, TlsClient, TlsError, TlsIdentity, TlsOptions,
    TlsServer, TlsSettingsError, TrustRoots,
};
pub use transport::{Keepalive, LinkOptions, Listener, Transport};
#[cfg(all(any(test, fuzzing), feature = "tunnel"))]
#[doc(hidden)]
pub use tunnel::fuzz;
#[cfg(feature = "tunnel")]
pub use tunnel::{Tunnel, TunnelCounters, TunnelOptions};
#[cfg(feature = "udp")]
pub use udp::{Interface, UdpCounters, UdpOptions, UdpSocket};
