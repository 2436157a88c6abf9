//! Remote calls over ØMQ-compatible sockets.
//!
//! This release holds the [`envelope`]: how a call, its answer, the items of a streamed answer, credit and
//! cancellation are laid out in the frames of one [`Message`](flexbond_transport::Message). It is documented byte by
//! byte and independent of any language. Clients and servers on top of it are the subject of later releases.
//!
//! ```
//! use std::time::Duration;
//!
//! use flexbond_rpc::envelope::{Envelope, Kind, Method};
//!
//! let call = Envelope::request(7, Method::new("telescope.point")?, "12h 30m")
//!     .with_deadline(Duration::from_millis(250));
//! let message = call.encode()?; // send it through any socket
//!
//! let received = Envelope::decode(message)?;
//! assert_eq!(received.header.kind, Kind::Request);
//! assert_eq!(received.header.deadline, Some(Duration::from_millis(250)));
//! let answer = Envelope::response(received.header.call, "done");
//! assert_eq!(answer.body, "done");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Layers
//! Below it is `flexbond-transport`, whose messages carry envelopes; the sockets of `flexbond-session` send them. Above
//! it is the facade `flexbond`.
//!
//! # Features
//! None.

pub mod envelope;
