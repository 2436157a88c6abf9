//! Typed data streams over ØMQ-compatible sockets.
//!
//! A stream carries multipart messages over PUSH/PULL or PUB/SUB. Part 0 is a JSON header whose `htype` says what
//! the other parts are:
//!
//! | `htype` | parts after the header | [`Body`] |
//! | --- | --- | --- |
//! | `raw-1.0` | any | [`Raw`](Body::Raw) |
//! | `array-1.0` | C-order buffers of one numpy type and shape, zero or more, compressed or not | [`Arrays`](Body::Arrays) |
//! | `dheader-1.0`, `dimage-1.0`, `dseries_end-1.0` | series of a Dectris detector, see [`detector`] | [`DetectorHeader`](Body::DetectorHeader), [`DetectorImage`](Body::DetectorImage), [`DetectorEnd`](Body::DetectorEnd) |
//! | none: CBOR of Dectris stream V2 | one part and no header, see [`stream2`] | [`Stream2`](Body::Stream2) |
//! | `bsr_m-1.1`, `bsr_m-1.0` | values of one pulse, see [`bsread`] | [`Bsread`](Body::Bsread) |
//! | one that was [registered](Stream::register) | what its [`Handler`] understands | [`Custom`](Body::Custom) |
//! | anything else | delivered as they came, and counted | [`Unknown`](Body::Unknown) |
//!
//! The formats are those of PSI's Python mflow (`psi-mflow`) and bsread (`psi-bsread`), which are the peers that the
//! tests run against, and of Dectris detectors. Data are packed as [`Encoding`] and [`compression`] say, and stay so until
//! they are asked for. What a [`Stream`] receives is understood by its [`Decoder`], which has no input or output of its
//! own.
//!
//! The layer below is `flexbond-session` (sockets, and sessions of many members); above are programs such as `m_stats` and `m_generate` of the
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
//! # Many streams
//!
//! [`merge`] makes one stream of many, in turn or by the numbers of frames; [`split`] makes many of one, by rules, with a
//! policy for each output that is blocked. [`Statistics`] count what is missing and warn when a second receiver takes
//! it; a [`ConnectionWatch`] tells when nobody has been connected for a while.
//!
//! # Features
//!
//! | feature | default | what it adds |
//! | --- | --- | --- |
//! | `inproc` | yes | addresses `inproc://name` |
//! | `ipc` | yes | addresses `ipc:///path` and `ipc://@abstract` |
//! | `tcp` | yes | addresses `tcp://host:port` |
//! | `multicast` | no | addresses `udp://host:port`: every message to all receivers, over reliable multicast |
//! | `multicast-crypto` | no | `multicast` with a key; builds AWS-LC with a C compiler |
//! | `recording` | yes | `recording`: files and folders of messages, written, read, played back and exported |
//! | `recording-zstd` | no | recordings compressed with Zstandard; builds its C library with a C compiler |
//! | `hdf5` | no | arrays of recordings exported to HDF5 |
//! | `ndarray` | no | `ArrayView::to_ndarray` and `Array::from_ndarray` |

#[cfg(doctest)]
mod readme;

mod alarm;
mod array;
mod arrays;
pub mod bsread;
mod checksum;
pub mod compression;
mod connections;
mod decoder;
pub mod detector;
mod dtype;
mod element;
mod encoding;
mod fields;
mod frame_id;
mod handler;
mod header;
mod json_object;
mod layout;
mod link;
pub mod merge;
mod message;
mod options;
#[cfg(feature = "recording")]
pub mod recording;
pub mod split;
mod statistics;
mod stream;
pub mod stream2;

pub use array::{Array, ArrayView, bytes_of};
pub use arrays::Arrays;
pub use connections::{ConnectionEvent, ConnectionMonitor, ConnectionWatch};
pub use decoder::{Decoder, DecoderCounters};
pub use element::{Element, ElementType, Endianness, UnknownElementType};
pub use encoding::{Encoding, LoadError, UnknownEncoding};
pub use frame_id::{FrameId, Numbering};
pub use handler::{Custom, Handled, Handler, HandlerError};
pub use header::{Header, HeaderError};
pub use layout::{ArrayError, Layout};
#[cfg(feature = "multicast")]
pub use link::group::framing::FramingError;
#[cfg(all(any(test, fuzzing), feature = "multicast"))]
#[doc(hidden)]
pub use link::group::fuzz;
pub use message::{Body, DecodeError, StreamMessage};
pub use options::{Attach, ConnectOptions, Mode};
pub use statistics::{
    HtypeCount, Rates, SharedSource, SharingDetector, SharingPattern, Snapshot, SourceCount, Statistics,
    Stride, Totals, Warning,
};
pub use stream::{ConnectError, ReceiveError, SendError, Stream};
