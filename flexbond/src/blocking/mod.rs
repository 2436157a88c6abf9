//! Sockets, remote calls with the feature `rpc` and federated parties with `federation`, for code without a runtime:
//! every call simply waits.
//!
//! The types are those of [`session::socket`](crate::session::socket), and so are their rules. Their connections live
//! on one background thread, `flexbond-io`, that the first call starts and that serves every blocking socket of the
//! process.
//!
#![cfg_attr(feature = "tcp", doc = "```")]
#![cfg_attr(not(feature = "tcp"), doc = "```no_run")]
//! use flexbond::blocking::{Pull, Push};
//!
//! let pull = Pull::new();
//! let endpoint = pull.bind("tcp://127.0.0.1:0")?;
//! let push = Push::new();
//! push.connect(&endpoint)?;
//! push.send("hello")?;
//! assert_eq!(&pull.recv()?[0], b"hello");
//! push.close()?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Within an asynchronous runtime
//!
//! A call that may wait would stop a runtime's thread, so it fails instead, at once, with
//! [`CallError::AsyncContext`]: use the asynchronous types there. That includes `spawn_blocking`, where
//! `Handle::current().block_on(socket.recv())` does the same with an asynchronous socket. Calls that never wait
//! (`try_send`, `try_recv`, `connect`, `subscribe`, …) work everywhere.
//!
//! # The end of a socket
//!
//! Dropping the last handle never waits: the socket closes in the background, within its linger. A program that ends
//! right afterwards ends the background thread too, so call `close` where the last messages matter.

mod error;
#[cfg(feature = "federation")]
mod federation;
#[cfg(feature = "rpc")]
mod rpc;
mod runtime;
mod socket;
mod typed;

pub use error::{CallError, SendError, SendErrorKind};
#[cfg(feature = "federation")]
pub use federation::{BroadcastChannel, Federation, VariableChannel};
#[cfg(feature = "rpc")]
pub use rpc::{Client, Items, call_remote_func};
pub use socket::{Monitor, Socket};
pub use typed::{Dealer, Pair, Pub, Pull, Push, Rep, Req, Router, Sub, XPub, XSub};
