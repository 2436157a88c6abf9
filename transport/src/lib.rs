//! Where messages travel: inproc, ipc and tcp behind one pluggable trait, with the message type they carry.

mod connection;
mod datagram;
mod endpoint;
mod error;
mod frame;
#[cfg(feature = "inproc")]
mod inproc;
mod io_stream;
#[cfg(all(feature = "ipc", unix))]
mod ipc;
mod message;
pub mod pipe;
mod registry;
#[cfg(any(feature = "tcp", all(feature = "ipc", unix)))]
mod socket_stream;
#[cfg(feature = "tcp")]
mod tcp;
mod transport;

pub use connection::{ByteStream, Connection, Link, MessageChannel};
pub use datagram::{DatagramSocket, Received, Transmit};
pub use endpoint::{Endpoint, EndpointError, IpcAddress, TcpAddress, TcpHost};
pub use error::{AcceptError, BindError, ConnectError};
pub use frame::Frame;
#[cfg(feature = "inproc")]
pub use inproc::Inproc;
pub use io_stream::IoStream;
#[cfg(all(feature = "ipc", unix))]
pub use ipc::Ipc;
pub use message::Message;
pub use registry::{RegisterError, Registry, UnknownScheme};
#[cfg(feature = "tcp")]
pub use tcp::Tcp;
pub use transport::{Keepalive, LinkOptions, Listener, Transport};
