//! Bytes to meaning and back: ZMTP 3.1 and its ancestors, payload codecs and the datagrams of group sessions, without
//! any I/O.
//!
//! This crate turns the bytes of a connection into messages and messages into bytes, and does the same for the
//! datagrams of groups. It opens no socket, starts no
//! task, reads no clock and draws no random number: time and chance are arguments, bytes go in and out through buffers. That
//! makes every rule of the protocol testable in memory, and usable under any runtime.
//!
//! Below it is `flexbond-transport`, from which it takes only the message type; above it is `flexbond-session`, which
//! drives these state machines and adds the socket patterns.
//!
//! # Example
//!
//! Two peers in one process exchange a message. A program would write the bytes to a socket; here they are carried
//! over by hand.
//!
//! ```
//! use std::io::IoSlice;
//! use std::sync::Arc;
//! use std::time::Instant;
//!
//! use flexbond_transport::Message;
//! use flexbond_wire::zmtp::{Config, Connection, Event, ProtocolError, SocketType};
//!
//! /// Carries what `from` has to say over to `to`, and returns what `to` makes of it.
//! fn carry(from: &mut Connection, to: &mut Connection) -> Result<Vec<Event>, ProtocolError> {
//!     let now = Instant::now();
//!     let mut events = Vec::new();
//!     while !from.transmit().is_empty() {
//!         let mut slices = [IoSlice::new(&[]); 16];
//!         let filled = from.transmit().slices(&mut slices);
//!         let mut carried = 0;
//!         for slice in &slices[..filled] {
//!             to.read_buffer().extend_from_slice(slice);
//!             to.handle_read(now);
//!             carried += slice.len();
//!             while let Some(event) = to.poll_event(now)? {
//!                 events.push(event);
//!             }
//!         }
//!         from.transmit().advance(carried);
//!     }
//!     Ok(events)
//! }
//!
//! let now = Instant::now();
//! let mut push = Connection::new(Arc::new(Config::new(SocketType::Push)), now);
//! let mut pull = Connection::new(Arc::new(Config::new(SocketType::Pull)), now);
//! while !(push.is_ready() && pull.is_ready()) {
//!     carry(&mut push, &mut pull)?;
//!     carry(&mut pull, &mut push)?;
//! }
//!
//! push.send(&Message::from(["weather", "21.5"]));
//! let events = carry(&mut push, &mut pull)?;
//! assert_eq!(events, [Event::Message(Message::from(["weather", "21.5"]))]);
//! # Ok::<(), ProtocolError>(())
//! ```
//!
//! # What is here
//!
//! - [`zmtp`]: ZMTP 3.1 with downgrade to 3.0, 2.0 and 1.0, the mechanisms NULL, PLAIN and CURVE, heartbeats,
//!   metadata.
//! - `codec`: how a value becomes the payload of a frame.
//! - `group`: the datagrams of group sessions, plain and sealed. Its documentation describes the format.
//! - [`spare`]: memory for large bodies that was used before.
//!
//! # Features
//!
//! Each adds something only; ZMTP is always there.
//!
//! | feature | default | adds |
//! | --- | --- | --- |
//! | `postcard` | yes | the codec for Rust peers, compact and binary |
//! | `json` | yes | the codec any language reads |
//! | `group` | yes | the datagrams of group sessions, with CRC-32C |
//! | `curve` | no | the mechanism CURVE; its documentation says what it protects |
//! | `group-crypto` | no | pre-shared keys and datagrams sealed with AES-256-GCM; building it takes a C compiler |
//!
//! Without either codec there is no `codec` module and no dependency on serde.

#[cfg(any(feature = "postcard", feature = "json"))]
pub mod codec;
#[cfg(feature = "group")]
pub mod group;
pub mod spare;
pub mod zmtp;
