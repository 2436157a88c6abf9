//! Many streams into one: in turn, or by the numbers of their frames.
//!
//! [`Merge`] gives message 1 of stream 1, message 1 of stream 2, and so on; [`AlignedMerge`] gives sets of messages
//! with the same number, one of each stream. Both are thin: [`RoundRobin`] and [`Aligner`] decide, without I/O or
//! clock, and can be driven with anything.
//!
#![cfg_attr(feature = "inproc", doc = "```")]
#![cfg_attr(not(feature = "inproc"), doc = "```no_run")]
//! use flexbond_stream::merge::Merge;
//! use flexbond_stream::{Attach, ConnectOptions, Header, Mode, Stream, StreamMessage};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let mut sources = Vec::new();
//! let mut streams = Vec::new();
//! for address in ["inproc://left-camera", "inproc://right-camera"] {
//!     let push = ConnectOptions::new().mode(Mode::Push).attach(Attach::Bind);
//!     let mut source = Stream::connect(address, push).await?;
//!     streams.push(Stream::connect(address, ConnectOptions::new()).await?);
//!     for frame in 0..2 {
//!         source.send(StreamMessage::raw(Header::new("").with("frame", frame), [])).await?;
//!     }
//!     sources.push(source);
//! }
//!
//! let mut merge = Merge::new(streams);
//! for (frame, stream) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
//!     let merged = merge.receive().await?;
//!     assert_eq!((merged.message.header.frame(), merged.stream), (Some(frame), stream));
//! }
//! # Ok(())
//! # }
//! ```

mod aligner;
mod alignment;
mod epochs;
mod error;
mod rotation;
mod round_robin;

pub use aligner::{AlignCount, AlignOptions, AlignedSet, Aligner, Rejected, Rejection};
pub use alignment::{Aligned, AlignedMerge};
pub use error::MergeError;
pub use rotation::{Merge, MergeOptions, Merged};
pub use round_robin::{Order, RoundRobin};
