//! Dectris stream V2: one CBOR map per message, sent by detectors over PUSH (usually port 31001).
//!
//! | `type` | sent | what it has |
//! | --- | --- | --- |
//! | `start` | when a series is armed | [`Start`]: the detector and its settings; with `header_detail` `all` also flat fields, pixel masks and the count-rate table |
//! | `image` | per exposure | [`Image`]: number, times, and one array per channel (threshold) |
//! | `end` | when a series is over | [`End`]: the series |
//!
//! [`Message::decode`] reads the single part of such a message. Arrays and byte strings are slices of the received
//! bytes; compressed ones are decompressed only when they are asked for, and only when their size is as it should be
//! and within a limit. [`Message::encode`] gives back the very bytes that were received, so that forwarding keeps
//! fields that are not known here, their order and their encoding.
//!
//! ```
//! use flexbond_stream::stream2::{Channels, Event, Image, Message, MultiDimArray, Rational, is_stream2};
//!
//! let mut image = Image::default();
//! image.series_id = Some(7);
//! image.image_id = Some(0);
//! image.real_time = Some(Rational::new(1_000_000, 50_000_000));
//! let pixels = MultiDimArray::from_elements(&[2, 3], vec![0_u16, 1, 2, 3, 4, 5])?;
//! image.data = Some(Channels::from_iter([("threshold_1", pixels)]));
//! let sent = Message::new(Event::Image(image)).encode();
//!
//! assert!(is_stream2(&sent));
//! let received = Message::decode(sent)?;
//! let Event::Image(image) = received.event() else { panic!("an image was sent") };
//! let pixels = image.channel("threshold_1").unwrap().to_arrays()?;
//! assert_eq!(pixels.layout().shape(), [2, 3]);
//! assert_eq!(pixels.get(0).unwrap().to_slice::<u16>().unwrap().as_ref(), [0, 1, 2, 3, 4, 5]);
//! assert_eq!(received.header().htype(), "stream2-image");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # What is read
//!
//! - CBOR of RFC 8949 with or without the tag of self-described CBOR (55799), lengths definite or indefinite, numbers
//!   in any width, keys in any order.
//! - Multi-dimensional arrays (tags 40 and 1040) and typed arrays (tags 64 to 87) of RFC 8746: all integers,
//!   `float32` and `float64` as numbers; `float16` by [`MultiDimArray::to_f64`]; `float128` as bytes only.
//! - Compressed byte strings (tag 56500): `bslz4` and `lz4`; others are kept as they came, and are an error only when
//!   they are asked for.
//! - Every field is optional, because firmware and emulators differ in what they send. A field of another form than
//!   documented (an empty list for a pixel mask, say) is kept in `other`; null counts as absent. Two things are errors
//!   of the whole message: an array whose dimensions and bytes do not agree, and image data that are no arrays.
//! - Messages of another `type` are [`Event::Other`].
//!
//! # What is bounded
//!
//! Nesting ([`MAX_DEPTH`]), the entries of lists and maps that are taken apart ([`MAX_ENTRIES`]), decompressed data
//! ([`MAX_DATA`], or a limit of the caller's). Nothing is allocated because of a length that the message claims but
//! does not contain.
//!
//! # Sources
//!
//! "Stream V2" and "CBOR Tag for DECTRIS Compressed Byte Strings" in Dectris' public documentation
//! (<https://github.com/dectris/documentation>), RFC 8949 (CBOR), RFC 8746 (typed arrays).

mod array;
mod bytestring;
mod channels;
mod date;
mod error;
mod field;
mod fields;
mod goniometer;
mod header;
mod image;
mod item;
mod json;
mod message;
mod number;
mod rational;
mod reader;
mod record;
mod start;
mod typed;
mod well_formed;
mod writer;

pub use array::{MultiDimArray, Order};
pub use bytestring::{Algorithm, ByteString, Compressed};
pub use channels::Channels;
pub use date::DateTime;
pub use error::{DataError, DecodeError, ShapeError};
pub use goniometer::Axis;
pub use image::{End, Image};
pub use item::Item;
pub(crate) use message::only_part;
pub use message::{Event, Message, Other, is_stream2};
pub use number::NumberType;
pub use rational::Rational;
pub use start::Start;
pub use typed::TypedArray;

/// How deep lists, maps and tags may be nested within a field.
pub const MAX_DEPTH: usize = 64;

/// The most entries of a list or map that is taken apart: fields of a message, channels, axes.
pub const MAX_ENTRIES: usize = 1024;

/// The most bytes that one array may have after decompression, where the caller sets no other limit (1 GiB).
pub const MAX_DATA: usize = 1 << 30;
