//! ZMTP, the protocol ØMQ peers speak over a byte stream, as a state machine without I/O.
//!
//! A [`Connection`] is one side of one connection. Its [`Config`] says what the socket is; what it learns and receives
//! comes out as [`Event`]s; what it has to say waits in its [`Transmit`] queue. The crate's documentation has an
//! example.
//!
//! # Versions
//!
//! ZMTP 3.1 (RFC 37), 3.0 (RFC 23), 2.0 (RFC 15) and 1.0 (RFC 13), found in the greeting. Where an RFC and libzmq
//! disagree, libzmq 4.3.5 on the wire wins, and the tests replay what it said:
//!
//! - the padding of the greeting and its as-server byte mean nothing;
//! - a long header in front of a short body is accepted, reserved flags are ignored;
//! - property names are compared without regard to case, and a missing `Socket-Type` is no error;
//! - commands may come between the parts of a message;
//! - subscriptions are commands to peers of 3.1 and messages to older ones, and both are accepted from anyone; a peer
//!   that is too old to subscribe at all counts as subscribed to everything;
//! - a PLAIN server's ERROR is spelt `^RROR`, the only way a libzmq client understands it; `ERROR` is understood, too;
//! - a PONG returns at most 16 bytes of the PING's context.
//!
//! Stricter than libzmq: a routing id is at most 255 bytes from any peer, a malformed command ends the connection, an
//! ERROR command ends it at any time, ZMTP 2.0 peers of the wrong socket type are refused, a first
//! message with impossible flags (an HTTP request, say) is not taken for ZMTP 1.0, and every size has a limit.
//!
//! # Limits
//!
//! Sizes in a frame's header are compared with [`Config::max_message_size`], [`Config::max_frames`] and
//! [`Config::max_command_size`] before anything is allocated, and a body's buffer grows with what really arrived. The
//! transmit queue is limited by whoever calls [`Connection::send`]. The memory of received bodies of 32 KiB to 4 MiB
//! is used again once their last clone is dropped; at most 16 MiB of it wait, in the whole process. So do at most 16 MiB
//! of the rolling buffers of 128 KiB in which smaller ones came.

mod batch;
mod body;
mod command;
mod config;
mod connection;
#[cfg(feature = "curve")]
pub mod curve;
mod error;
mod event;
mod frame_codec;
mod greeting;
mod handshake;
mod heartbeat;
mod input;
mod mechanism;
mod metadata;
mod randomness;
mod receiving;
mod sealed;
mod secret;
mod secret_array;
mod sending;
mod socket_type;
mod transmit;
mod version;

pub use batch::Batch;
pub use config::{Config, ConfigError, Heartbeat, Security};
pub use connection::Connection;
pub use error::ProtocolError;
pub use event::{Credentials, Event, PeerInfo, Verdict};
pub use randomness::Randomness;
pub use secret::Secret;
pub use socket_type::{SocketType, UnknownSocketType};
pub use transmit::Transmit;
pub use version::Version;
