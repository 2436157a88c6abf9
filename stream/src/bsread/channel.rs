//! One channel, as the data header describes it.

use flexbond_transport::Frame;
use serde_json::{Map, Value as Json};
use thiserror::Error;

use crate::compression::Codec;
use crate::layout::{shape_of, shape_value};
use crate::{ArrayError, ElementType, Endianness, Layout};

/// A source of one value per pulse.
#[derive(Clone, Debug, PartialEq)]
pub struct Channel {
    name: String,
    // What the description asks for, or why it cannot be understood.
    format: Result<Format, ChannelError>,
    fields: Map<String, Json>,
}

/// How a channel's values travel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Format {
    pub(super) channel_type: ChannelType,
    /// Of strings, one byte; their length is in no header.
    pub(super) layout: Layout,
    pub(super) compression: Compression,
}

/// What a channel's values are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ChannelType {
    /// A number, or an array of them; `bool` counts as one.
    Number(ElementType),
    /// `string`: UTF-8.
    Text,
}

/// How bsread compresses values and data headers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Compression {
    /// `none`
    #[default]
    None,
    /// `lz4`: a length, then one block.
    Lz4,
    /// `bitshuffle_lz4`: as Dectris detectors.
    BitshuffleLz4,
}

/// Why the values of a channel cannot be read. Those of others can.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ChannelError {
    /// `type` is none that is known here.
    #[error("unknown type {0:?}")]
    UnknownType(String),
    /// `compression` is none that is known here.
    #[error("unknown compression {0:?}")]
    UnknownCompression(String),
    /// `encoding` is neither `little` nor `big`.
    #[error("the encoding {0:?} is neither little nor big")]
    BadEncoding(String),
    /// `shape` is not a list of whole numbers, or describes more than a machine can address.
    #[error(transparent)]
    Shape(#[from] ArrayError),
}

impl Compression {
    const ALL: [Compression; 3] = [Compression::None, Compression::Lz4, Compression::BitshuffleLz4];

    /// As a header has it: `none`, `lz4` or `bitshuffle_lz4`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Compression::None => "none",
            Compression::Lz4 => "lz4",
            Compression::BitshuffleLz4 => "bitshuffle_lz4",
        }
    }

    /// Reads a field; `Err` has what is not known.
    pub(super) fn from_field(field: Option<&Json>) -> Result<Self, String> {
        let name = match field {
            None | Some(Json::Null) => return Ok(Compression::None),
            Some(Json::String(name)) if name.is_empty() => return Ok(Compression::None),
            Some(Json::String(name)) => name,
            Some(other) => return Err(other.to_string()),
        };
        Compression::ALL
            .into_iter()
            .find(|compression| name.eq_ignore_ascii_case(compression.name()))
            .ok_or_else(|| name.clone())
    }

    pub(super) fn codec(self) -> Option<Codec> {
        match self {
            Compression::None => None,
            Compression::Lz4 => Some(Codec::Lz4Sized),
            Compression::BitshuffleLz4 => Some(Codec::BitshuffleLz4),
        }
    }

    /// Packs data whose elements have their bytes in that order.
    pub(super) fn compress(self, data: Frame, element_size: usize, endianness: Endianness) -> Frame {
        let Some(codec) = self.codec() else {
            return data;
        };
        let mut packed = codec.compress(&data, element_size);
        // The length before LZ4 is in the order of the channel for senders in Java and for the receiver in Python,
        // whose sender alone does not write it so.
        if let (Compression::Lz4, Endianness::Big, Some(length)) =
            (self, endianness, packed.first_chunk_mut::<4>())
        {
            length.reverse();
        }
        Frame::from(packed)
    }
}

impl ChannelType {
    /// The name of the type: that of numpy, or `string`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            ChannelType::Number(element) => element.name(),
            ChannelType::Text => "string",
        }
    }

    /// The type of one element; bytes for strings.
    pub(super) fn element(self) -> ElementType {
        match self {
            ChannelType::Number(element) => element,
            ChannelType::Text => ElementType::UInt8,
        }
    }
}

impl Channel {
    /// A channel of one number (or `bool`) per pulse, in this machine's byte order, not compressed.
    #[must_use]
    pub fn number(name: impl Into<String>, element: ElementType) -> Self {
        Channel::new(name.into(), ChannelType::Number(element))
    }

    /// A channel of one string per pulse.
    #[must_use]
    pub fn text(name: impl Into<String>) -> Self {
        Channel::new(name.into(), ChannelType::Text)
    }

    fn new(name: String, channel_type: ChannelType) -> Self {
        let mut fields = Map::new();
        fields.insert("name".to_owned(), name.clone().into());
        fields.insert("type".to_owned(), channel_type.name().into());
        fields.insert("shape".to_owned(), vec![1].into());
        fields.insert("encoding".to_owned(), Endianness::NATIVE.name().into());
        Channel {
            name,
            format: Format::from_fields(&fields),
            fields,
        }
    }

    /// Sets the extents of an array channel, fastest dimension first. A shape that no array can have is told when a
    /// value is encoded.
    #[must_use]
    pub fn shape(self, shape: &[usize]) -> Self {
        self.with("shape", shape_value(shape.iter()))
    }

    /// Sets the order of the bytes of values and timestamps (`encoding`).
    #[must_use]
    pub fn endianness(self, endianness: Endianness) -> Self {
        self.with("encoding", endianness.name())
    }

    /// Sets how values are compressed.
    #[must_use]
    pub fn compression(self, compression: Compression) -> Self {
        self.with("compression", compression.name())
    }

    /// Sets any field of the description, such as `modulo` or `offset`.
    #[must_use]
    pub fn with(mut self, field: impl Into<String>, value: impl Into<Json>) -> Self {
        self.fields.insert(field.into(), value.into());
        match self.fields.get("name").and_then(Json::as_str) {
            Some(name) => self.name = name.to_owned(),
            // A channel has a name, whatever is set.
            None => drop(self.fields.insert("name".to_owned(), self.name.clone().into())),
        }
        self.format = Format::from_fields(&self.fields);
        self
    }

    /// `None` when the description has no name.
    pub(super) fn from_fields(fields: Map<String, Json>) -> Option<Self> {
        Some(Channel {
            name: fields.get("name")?.as_str()?.to_owned(),
            format: Format::from_fields(&fields),
            fields,
        })
    }

    /// The name of the channel.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What its values are.
    ///
    /// # Errors
    /// [`ChannelError`] when something of the description is not understood.
    pub fn channel_type(&self) -> Result<ChannelType, ChannelError> {
        self.format().map(|format| format.channel_type)
    }

    /// Type, byte order and shape (slowest dimension first) of its values; of strings, that of a single byte.
    ///
    /// # Errors
    /// [`ChannelError`] when something of the description is not understood.
    pub fn layout(&self) -> Result<&Layout, ChannelError> {
        self.format().map(|format| &format.layout)
    }

    /// Every field of the description, known or not, in order: `modulo` and `offset` are here.
    #[must_use]
    pub fn fields(&self) -> &Map<String, Json> {
        &self.fields
    }

    pub(super) fn format(&self) -> Result<&Format, ChannelError> {
        self.format.as_ref().map_err(Clone::clone)
    }
}

impl Format {
    fn from_fields(fields: &Map<String, Json>) -> Result<Self, ChannelError> {
        let channel_type = match fields.get("type") {
            // Senders in Java leave out what is the default.
            None | Some(Json::Null) => ChannelType::Number(ElementType::Float64),
            Some(Json::String(name)) => {
                let lower = name.to_ascii_lowercase();
                match lower.as_str() {
                    "string" => ChannelType::Text,
                    // Senders of version 1.0 name the types of Java and of EPICS, whose `long` has 32 bits.
                    "double" => ChannelType::Number(ElementType::Float64),
                    "float" => ChannelType::Number(ElementType::Float32),
                    "integer" | "long" => ChannelType::Number(ElementType::Int32),
                    "uinteger" | "ulong" => ChannelType::Number(ElementType::UInt32),
                    "short" => ChannelType::Number(ElementType::Int16),
                    "ushort" => ChannelType::Number(ElementType::UInt16),
                    "byte" => ChannelType::Number(ElementType::Int8),
                    "ubyte" => ChannelType::Number(ElementType::UInt8),
                    "boolean" => ChannelType::Number(ElementType::Bool),
                    _ => ChannelType::Number(
                        lower
                            .parse()
                            .map_err(|_| ChannelError::UnknownType(name.clone()))?,
                    ),
                }
            }
            Some(other) => return Err(ChannelError::UnknownType(other.to_string())),
        };
        let endianness = match fields.get("encoding") {
            None | Some(Json::Null) => Endianness::Little,
            Some(Json::String(name)) if name.eq_ignore_ascii_case("little") => Endianness::Little,
            Some(Json::String(name)) if name.eq_ignore_ascii_case("big") => Endianness::Big,
            Some(Json::String(other)) => return Err(ChannelError::BadEncoding(other.clone())),
            Some(other) => return Err(ChannelError::BadEncoding(other.to_string())),
        };
        let compression =
            Compression::from_field(fields.get("compression")).map_err(ChannelError::UnknownCompression)?;
        let shape = match (channel_type, fields.get("shape")) {
            (ChannelType::Text, _) | (_, None | Some(Json::Null)) => vec![1],
            (ChannelType::Number(_), shape) => shape_of(shape)?,
        };
        Ok(Format {
            channel_type,
            layout: Layout::fastest_first(channel_type.element(), endianness, &shape)?,
            compression,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn channel(text: &str) -> Channel {
        Channel::from_fields(serde_json::from_str(text).unwrap()).unwrap()
    }

    #[test]
    fn what_is_left_out_has_a_default() {
        let least = channel(r#"{"name":"a"}"#);
        assert_eq!(
            least.channel_type(),
            Ok(ChannelType::Number(ElementType::Float64))
        );
        let layout = least.layout().unwrap();
        assert_eq!(
            (layout.shape(), layout.endianness()),
            (&[1][..], Endianness::Little)
        );
        let full = channel(
            r#"{"name":"b","type":"Int16","shape":[5,3],"encoding":"BIG","compression":"LZ4","modulo":10}"#,
        );
        let format = full.format().unwrap();
        assert_eq!(format.layout.shape(), [3, 5]);
        assert_eq!((format.layout.size(), format.compression), (30, Compression::Lz4));
        assert_eq!(full.fields()["modulo"], 10);
    }

    #[test]
    fn names_of_version_1_0_are_understood() {
        for (name, element) in [
            ("double", ElementType::Float64),
            ("Integer", ElementType::Int32),
            ("Float64", ElementType::Float64),
            ("Long", ElementType::Int32),
            ("ULong", ElementType::UInt32),
            ("UShort", ElementType::UInt16),
            ("boolean", ElementType::Bool),
        ] {
            let channel = channel(&format!(r#"{{"name":"a","type":"{name}"}}"#));
            assert_eq!(channel.channel_type(), Ok(ChannelType::Number(element)), "{name}");
        }
        assert_eq!(
            channel(r#"{"name":"a","type":"String"}"#).channel_type(),
            Ok(ChannelType::Text)
        );
    }

    #[test]
    fn what_is_not_understood_is_an_error_of_the_channel() {
        let error = |text: &str| channel(text).channel_type().unwrap_err();
        assert_eq!(
            error(r#"{"name":"a","type":"float128"}"#),
            ChannelError::UnknownType("float128".to_owned())
        );
        assert_eq!(
            error(r#"{"name":"a","compression":"zstd"}"#),
            ChannelError::UnknownCompression("zstd".to_owned())
        );
        assert_eq!(
            error(r#"{"name":"a","encoding":"middle"}"#),
            ChannelError::BadEncoding("middle".to_owned())
        );
        for shape in ["[-1]", "[1.5]", "5.5", "[18446744073709551615]"] {
            let text = format!(r#"{{"name":"a","shape":{shape}}}"#);
            assert!(matches!(error(&text), ChannelError::Shape(_)), "{shape}");
        }
        assert!(Channel::from_fields(Map::new()).is_none());
    }

    #[test]
    fn a_channel_keeps_its_name() {
        let channel = Channel::text("x").with("name", 5);
        assert_eq!(
            (channel.name(), &channel.fields()["name"]),
            ("x", &Json::from("x"))
        );
        assert_eq!(channel.with("name", "y").name(), "y");
    }
}
