//! ZMTP, the protocol ØMQ peers speak over a byte stream, as a state machine without I/O.

mod command;
mod config;
mod connection;
mod error;
mod event;
mod frame_codec;
mod greeting;
mod handshake;
mod heartbeat;
mod input;
mod mechanism;
mod metadata;
mod secret;
mod socket_type;
mod transmit;
mod version;

pub use config::{Config, ConfigError, Heartbeat, Security};
pub use connection::Connection;
pub use error::ProtocolError;
pub use event::{Credentials, Event, PeerInfo, Verdict};
pub use secret::Secret;
pub use socket_type::{SocketType, UnknownSocketType};
pub use transmit::Transmit;
pub use version::Version;
