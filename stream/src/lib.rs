//! Typed data streams over ØMQ-compatible sockets.
//!
//! A stream carries multipart messages over PUSH/PULL or PUB/SUB. Part 0 is a JSON header whose `htype` says what
//! the other parts are:
//!
//! | `htype` | parts after the header |
//! | --- | --- |
//! | `raw-1.0` | any |
//! | `array-1.0` | C-order buffers of one numpy type and shape, zero or more |
//! | anything else | delivered as they came, and counted |
//!
//! The formats are those of PSI's Python mflow (`psi-mflow`), which is the peer that the tests run against.
//!
//! The layer below is `flexbond-session` (sockets); above are programs such as `m_stats` and `m_generate` of the
//! `flexbond` package.
//!
#![cfg_attr(feature = "tcp", doc = "```")]
#![cfg_attr(not(feature = "tcp"), doc = "```no_run")]
//! use flexbond_stream::{Attach, ConnectOptions, Header, Mode, Stream, StreamMessage};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let sender = ConnectOptions::new().mode(Mode::Push).attach(Attach::Bind);
//! let mut sender = Stream::connect("tcp://127.0.0.1:0", sender).await?;
//! let mut receiver = Stream::connect(sender.endpoint(), ConnectOptions::new()).await?;
//!
//! let header = Header::new("raw-1.0").with("frame", 0);
//! sender.send(StreamMessage::raw(header, ["payload".into()])).await?;
//!
//! let message = receiver.receive().await?;
//! assert_eq!(message.header.frame(), Some(0));
//! assert_eq!(message.parts()[0], "payload");
//! assert_eq!(receiver.statistics().totals().messages, 1);
//! # Ok(())
//! # }
//! ```
//!
//! # Features
//!
//! | feature | default | what it adds |
//! | --- | --- | --- |
//! | `inproc` | yes | addresses `inproc://name` |
//! | `ipc` | yes | addresses `ipc:///path` and `ipc://@abstract` |
//! | `tcp` | yes | addresses `tcp://host:port` |

#[cfg(doctest)]
mod readme;

mod array;
mod element;
mod header;
mod message;
mod options;
mod statistics;
mod stream;

pub use array::{ArrayError, ArrayView, Arrays, Layout, bytes_of};
pub use element::{Element, ElementType, Endianness, UnknownElementType};
pub use header::{Header, HeaderError};
pub use message::{Body, DecodeError, StreamMessage};
pub use options::{Attach, ConnectOptions, Mode};
pub use statistics::{Rates, Statistics, Totals};
pub use stream::{ConnectError, ReceiveError, SendError, Stream};
