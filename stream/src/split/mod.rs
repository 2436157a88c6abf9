//! One stream into many: every message, every N-th, in turn, or by what its header says.
//!
//! A [`Splitter`] decides what goes where and how much may wait, without I/O or clock; a [`Split`] moves messages by its
//! decisions, from a source to outputs that a [`SplitConfig`] names. Messages are always whole.
//!
#![cfg_attr(feature = "inproc", doc = "```")]
#![cfg_attr(not(feature = "inproc"), doc = "```no_run")]
//! use flexbond_stream::split::{Split, SplitConfig};
//! use flexbond_stream::{Attach, ConnectOptions, Header, Mode, Stream, StreamMessage};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let config: SplitConfig = r#"{
//!     "source": { "address": "inproc://detector" },
//!     "streams": [
//!         { "address": "inproc://writer" },
//!         { "address": "inproc://viewer", "modulo": 10, "policy": "drop-oldest" },
//!         { "address": "inproc://checker", "filter": "frame >= 90 && source = X06SA" }
//!     ]
//! }"#
//! .parse()?;
//!
//! let bind = |mode| ConnectOptions::new().mode(mode).attach(Attach::Bind);
//! let mut detector = Stream::connect("inproc://detector", bind(Mode::Push)).await?;
//! let _writer = Stream::connect("inproc://writer", bind(Mode::Pull)).await?;
//! let mut viewer = Stream::connect("inproc://viewer", bind(Mode::Pull)).await?;
//! let mut checker = Stream::connect("inproc://checker", bind(Mode::Pull)).await?;
//!
//! let mut split = Split::connect(config).await?;
//! for frame in 0..100 {
//!     let header = Header::new("").with("frame", frame).with("source", "X06SA");
//!     detector.send(StreamMessage::raw(header, ["pixels".into()])).await?;
//! }
//! tokio::select! {
//!     error = split.run() => panic!("{error:?}"),
//!     () = async {
//!         for frame in (0..100).step_by(10) {
//!             assert_eq!(viewer.receive().await.unwrap().header.frame(), Some(frame));
//!         }
//!         assert_eq!(checker.receive().await.unwrap().header.frame(), Some(90));
//!     } => {}
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # Rules
//!
//! Each output gets the messages that its [`Filter`] lets through, of those every `modulo`-th, beginning with the first.
//! Outputs of the same `group` share theirs, one message to each in turn; one that is full is passed over.
//!
//! What begins or ends a series (`dheader-1.0`, `dseries_end-1.0`) goes to every output, to all of a group, and does not
//! count: without it a receiver can make nothing of the images that it gets. Only a filter that such a message itself
//! contradicts (`htype = dimage-1.0`) keeps it away. [`Boundaries::Counted`] treats it like any other message.
//!
//! # When an output is full
//!
//! | [`Policy`] | the output | all others |
//! | --- | --- | --- |
//! | `drop-stalled` (default) | loses nothing while it takes anything; once it has taken nothing for `patience_ms`, it gets nothing more before it has caught up | go on for twice `patience_ms` once its queue is full, then at its pace |
//! | `wait` | loses nothing | wait for it, for ever |
//! | `drop-newest` | loses the new message | are not affected |
//! | `drop-oldest` | loses the oldest one that waits | are not affected |
//!
//! With `drop-stalled` more messages than `queue_size` may wait for an output, up to 512 MiB of them. They may grow in number
//! for twice `patience_ms` (default 2,000) from when its queue is full, and later while it has taken nothing for 250 ms: whether
//! it is slow or stands still is not known before. The system at its other end goes on taking for a while, bit by bit, when
//! nobody reads there any more, and one that is alive pauses now and then: one that writes what it gets does so for a second
//! and more. So none of the two holds up the others. Where the 512 MiB are used up, the others would have to wait, and an
//! output that has taken nothing for 250 ms (or `patience_ms`, if that is less) counts as stalled at once. So a pause of a
//! second loses nothing up to some 500 MB/s, and beyond that one of 250 ms.
//!
//! What is beyond `queue_size` is dropped when the output is found to stand still; one that is slow is some messages further
//! behind, and all others go at its pace from then on. The messages themselves are shared: several outputs that stand still
//! cost the 512 MiB once, if they get the same ones. While the split itself gets no processor, nobody stands still.
//!
//! While all outputs are stalled nothing is dropped for `drop-stalled` ones: there is nobody to be held up, and the
//! source keeps what it has. Up to `queue_size` messages wait for each output here, and as many in its socket (eight with
//! `drop-oldest`, so that what is sent is fresh). Every drop is counted.

mod config;
mod driver;
mod filter;
mod outlet;
mod output;
mod splitter;
mod watch;

pub use config::{ConfigError, OutputConfig, OutputMode, SourceConfig, SourceMode, SplitConfig, attach_of};
pub use driver::{Reloaded, Split, SplitError};
pub use filter::{Filter, FilterError, FilterErrorKind};
pub use outlet::{OutletStats, Policy};
pub use output::{OutputStats, Undelivered};
pub use splitter::{Boundaries, OutletId, Rule, Splitter};
