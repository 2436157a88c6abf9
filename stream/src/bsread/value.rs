//! The value of a channel, and how it becomes bytes.

use flexbond_transport::Frame;
use thiserror::Error;

use crate::compression::Codec;
use crate::{Array, ElementType, Endianness};

use super::channel::{Channel, ChannelError, ChannelType, Compression, Format};

/// The value of a channel for one pulse.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Value {
    /// `bool`
    Bool(bool),
    /// `int8` to `int64`
    Int(i64),
    /// `uint8` to `uint64`
    UInt(u64),
    /// `float32` and `float64`
    Float(f64),
    /// `string`
    Text(String),
    /// Any type with a shape other than `[1]`: slowest dimension first here.
    Array(Array),
}

/// When something was measured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp {
    /// Whole seconds since 1970-01-01 UTC.
    pub seconds: i64,
    /// Nanoseconds beyond, below 10^9.
    pub nanoseconds: i64,
}

/// A value and when it was measured.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// What was measured.
    pub value: Value,
    /// When.
    pub timestamp: Timestamp,
}

/// Why values cannot be sent. Nothing was.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum EncodeError {
    /// There are not as many values as channels.
    #[error("{values} values for {channels} channels")]
    Count {
        /// Channels of the data header.
        channels: usize,
        /// Values, those that are `None` included.
        values: usize,
    },
    /// The value is of another type than the channel, or out of its range.
    #[error("the value of {channel:?} is no {expected}")]
    Type {
        /// The name of the channel.
        channel: String,
        /// The name of its type.
        expected: &'static str,
    },
    /// The array has another shape, or another type, than the channel.
    #[error("the array of {channel:?} is not of the channel's type and shape")]
    Layout {
        /// The name of the channel.
        channel: String,
    },
    /// The value is longer than LZ4 takes ([`Codec::MAX_LZ4_BLOCK`](crate::compression::Codec::MAX_LZ4_BLOCK)).
    #[error("the value of {channel:?} has {size} bytes, too many to be compressed with LZ4")]
    TooLong {
        /// The name of the channel.
        channel: String,
        /// Bytes of the value.
        size: usize,
    },
    /// The channel itself is not possible.
    #[error("channel {channel:?} is not possible")]
    Channel {
        /// The name of the channel.
        channel: String,
        /// What is wrong with it.
        #[source]
        error: ChannelError,
    },
}

impl Timestamp {
    /// Bytes of a timestamp on the wire.
    pub const SIZE: usize = 16;

    pub(super) fn encode(self, endianness: Endianness) -> Frame {
        let mut bytes = [0; Self::SIZE];
        let (seconds, nanoseconds) = match endianness {
            Endianness::Little => (self.seconds.to_le_bytes(), self.nanoseconds.to_le_bytes()),
            Endianness::Big => (self.seconds.to_be_bytes(), self.nanoseconds.to_be_bytes()),
        };
        bytes[..8].copy_from_slice(&seconds);
        bytes[8..].copy_from_slice(&nanoseconds);
        Frame::copy_from_slice(&bytes)
    }

    /// `None` when there are not 16 bytes.
    pub(super) fn decode(bytes: &[u8], endianness: Endianness) -> Option<Self> {
        let bytes: &[u8; Self::SIZE] = bytes.try_into().ok()?;
        let (first, second) = bytes.split_at(8);
        let number = |bytes| <i64 as crate::Element>::read(bytes, endianness);
        Some(Timestamp {
            seconds: number(first),
            nanoseconds: number(second),
        })
    }
}

impl Sample {
    /// A value and when it was measured.
    #[must_use]
    pub fn new(value: impl Into<Value>, timestamp: Timestamp) -> Self {
        Sample {
            value: value.into(),
            timestamp,
        }
    }
}

macro_rules! from {
    ($($from:ty => $variant:ident),* $(,)?) => {$(
        impl From<$from> for Value {
            fn from(value: $from) -> Self {
                Value::$variant(value.into())
            }
        }
    )*};
}

from! {
    bool => Bool, i8 => Int, i16 => Int, i32 => Int, i64 => Int, u8 => UInt, u16 => UInt, u32 => UInt, u64 => UInt,
    f32 => Float, f64 => Float, &str => Text, String => Text, Array => Array,
}

impl Value {
    /// The value of one element; `None` for types that are no single number.
    pub(super) fn from_element(bytes: &[u8], element: ElementType, endianness: Endianness) -> Option<Self> {
        macro_rules! read {
            ($number:ty) => {
                Value::from(<$number as crate::Element>::read(bytes, endianness))
            };
        }
        Some(match element {
            ElementType::Bool => Value::Bool(bytes.iter().any(|&byte| byte != 0)),
            ElementType::Int8 => read!(i8),
            ElementType::Int16 => read!(i16),
            ElementType::Int32 => read!(i32),
            ElementType::Int64 => read!(i64),
            ElementType::UInt8 => read!(u8),
            ElementType::UInt16 => read!(u16),
            ElementType::UInt32 => read!(u32),
            ElementType::UInt64 => read!(u64),
            ElementType::Float32 => read!(f32),
            ElementType::Float64 => read!(f64),
            ElementType::Float16 | ElementType::Complex64 | ElementType::Complex128 => return None,
        })
    }

    /// The bytes of the value for a channel, compressed as it asks.
    pub(super) fn encode(self, channel: &Channel) -> Result<Frame, EncodeError> {
        let format = channel.format().map_err(|error| EncodeError::Channel {
            channel: channel.name().to_owned(),
            error,
        })?;
        let data = match self {
            Value::Array(array) => array_bytes(&array, format).ok_or_else(|| EncodeError::Layout {
                channel: channel.name().to_owned(),
            })?,
            scalar => scalar.scalar_bytes(format).ok_or_else(|| EncodeError::Type {
                channel: channel.name().to_owned(),
                expected: format.channel_type.name(),
            })?,
        };
        if format.compression == Compression::Lz4 && data.len() > Codec::MAX_LZ4_BLOCK {
            return Err(EncodeError::TooLong {
                channel: channel.name().to_owned(),
                size: data.len(),
            });
        }
        let (unit, endianness) = (format.layout.element().size(), format.layout.endianness());
        Ok(format.compression.compress(data, unit, endianness))
    }

    fn scalar_bytes(self, format: &Format) -> Option<Frame> {
        if format.channel_type == ChannelType::Text {
            return match self {
                Value::Text(text) => Some(Frame::from(text)),
                _ => None,
            };
        }
        if format.layout.size() != format.layout.element().size() {
            return None;
        }
        macro_rules! integer {
            ($number:ty) => {
                match self {
                    Value::Int(value) => <$number>::try_from(value).ok()?,
                    Value::UInt(value) => <$number>::try_from(value).ok()?,
                    _ => return None,
                }
                .to_be_bytes()
                .to_vec()
            };
        }
        let float = match self {
            Value::Float(value) => Some(value),
            Value::Int(value) => Some(value as f64),
            Value::UInt(value) => Some(value as f64),
            _ => None,
        };
        let mut bytes = match format.layout.element() {
            ElementType::Bool => match self {
                Value::Bool(value) => vec![u8::from(value)],
                _ => return None,
            },
            ElementType::Int8 => integer!(i8),
            ElementType::Int16 => integer!(i16),
            ElementType::Int32 => integer!(i32),
            ElementType::Int64 => integer!(i64),
            ElementType::UInt8 => integer!(u8),
            ElementType::UInt16 => integer!(u16),
            ElementType::UInt32 => integer!(u32),
            ElementType::UInt64 => integer!(u64),
            ElementType::Float32 => (float? as f32).to_be_bytes().to_vec(),
            ElementType::Float64 => float?.to_be_bytes().to_vec(),
            ElementType::Float16 | ElementType::Complex64 | ElementType::Complex128 => return None,
        };
        if format.layout.endianness() == Endianness::Little {
            bytes.reverse();
        }
        Some(Frame::from(bytes))
    }
}

fn array_bytes(array: &Array, format: &Format) -> Option<Frame> {
    let (ours, theirs) = (array.layout(), &format.layout);
    let fits = format.channel_type != ChannelType::Text
        && ours.element() == theirs.element()
        && ours.shape() == theirs.shape();
    fits.then(|| array.to_endianness(theirs.endianness()).into_data())
}
