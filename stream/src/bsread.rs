//! bsread: the values of many channels that belong to one pulse of an accelerator.
//!
//! A message has a main header (`bsr_m-1.1`, or 1.0), a data header (`bsr_d-1.1`, or 1.0) that lists the channels, and
//! two parts per channel: the value, and its timestamp of 16 bytes. Two empty parts mean that the channel has no value
//! for this pulse; senders of version 1.0 have one empty part for it, and may end a message with one. Their data header
//! may say the `encoding` of all channels.
//!
//! The data header comes with every message and is parsed only when it has changed; a [`Decoder`](crate::Decoder) keeps
//! what it has parsed. `hash` of the main header is the MD5 of the data header as it travels. A hash that does not fit is
//! [counted](crate::DecoderCounters::hash_mismatches) and harms nothing: what decides is whether the bytes have changed.
//!
//! ```
//! use std::sync::Arc;
//! use flexbond_stream::bsread::{Channel, Compression, DataHeader, Pulse, Sample, Timestamp, Value};
//! use flexbond_stream::{Array, Body, ElementType, StreamMessage};
//!
//! let channels = vec![
//!     Channel::number("SINEG01:CHARGE", ElementType::Float64),
//!     // Fastest dimension first: 4 columns, 2 rows.
//!     Channel::number("SATES21:FPICTURE", ElementType::UInt16).shape(&[4, 2]).compression(Compression::BitshuffleLz4),
//!     Channel::text("SATES21:STATE"),
//! ];
//! let data_header = Arc::new(DataHeader::new(channels));
//! let now = Timestamp { seconds: 1_700_000_000, nanoseconds: 5 };
//! let picture = Array::from_elements(&[2, 4], vec![1_u16, 2, 3, 4, 5, 6, 7, 8])?;
//! let pulse = Pulse::new(4711, now, &data_header, [
//!     Some(Sample::new(0.25, now)),
//!     Some(Sample::new(picture.clone(), now)),
//!     None,
//! ])?;
//!
//! let received = StreamMessage::decode(&StreamMessage::from(pulse).encode())?;
//! let Body::Bsread(pulse) = &received.body else { panic!("another htype") };
//! assert_eq!(pulse.pulse_id(), Some(4711));
//! assert_eq!(pulse.get("SINEG01:CHARGE").unwrap().value()?, Some(Value::Float(0.25)));
//! assert_eq!(pulse.get("SATES21:FPICTURE").unwrap().value()?, Some(Value::Array(picture)));
//! assert_eq!(pulse.get("SATES21:STATE").unwrap().value()?, None);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod arrangement;
mod channel;
mod data_header;
mod pulse;
mod reading;
mod value;

use thiserror::Error;

use crate::HeaderError;
use crate::compression::DecompressError;

pub use channel::{Channel, ChannelError, ChannelType, Compression};
pub use data_header::DataHeader;
pub(crate) use data_header::HeaderCache;
pub use pulse::Pulse;
pub use reading::{Reading, ReadingError};
pub use value::{EncodeError, Sample, Timestamp, Value};

/// Why a bsread message is malformed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum BsreadError {
    /// There is no part after the main header, or it is empty and none was seen before with this `hash`.
    #[error("the data header is missing")]
    NoDataHeader,
    /// `dh_compression` is none that is known here.
    #[error("the data header is compressed with {0:?}, which is not known")]
    UnknownCompression(String),
    /// The data header cannot be decompressed.
    #[error("the data header cannot be decompressed")]
    Decompress(#[from] DecompressError),
    /// The data header is no JSON object with an `htype`.
    #[error("the data header is not understood")]
    Header(#[from] HeaderError),
    /// The data header has another `htype`.
    #[error("the second part is {0:?}, not a data header")]
    Htype(String),
    /// The data header has no list of channels, or one of them has no name.
    #[error("the data header has no list of named channels")]
    NoChannels,
    /// There are not two parts for each channel.
    #[error("{actual} parts, {channels} channels ask for {expected}", expected = 2 + 2 * .channels)]
    PartCount {
        /// Channels of the data header.
        channels: usize,
        /// How many parts there are, headers included.
        actual: usize,
    },
}
