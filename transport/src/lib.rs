//! Where messages travel: inproc, ipc and tcp behind one pluggable trait, with the message type they carry.

mod connection;
mod endpoint;
mod error;
mod frame;
mod message;
pub mod pipe;
mod transport;

pub use connection::{ByteStream, Connection, Link, MessageChannel};
pub use endpoint::{Endpoint, EndpointError};
pub use error::{AcceptError, BindError, ConnectError};
pub use frame::Frame;
pub use message::Message;
pub use transport::{Keepalive, LinkOptions, Listener, Transport};
