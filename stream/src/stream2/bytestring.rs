//! Byte strings, compressed (tag 56500) or not.

use std::fmt;

use bytes::Bytes;
use minicbor::data::{Tag, Type};
use serde_json::Value;

use super::field::{Decode, Encode};
use super::reader::{Misfit, Reader};
use super::writer::{Encoder, Written, to_bytes};
use super::{DataError, Item};
use crate::compression::{Codec, MAX_ELEMENT_SIZE};

/// Dectris' tag of compressed byte strings.
const COMPRESSED: u64 = 56500;

/// A byte string as it travels.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ByteString {
    /// The bytes themselves.
    Plain(Bytes),
    /// Compressed bytes, which mean the same as what they decompress to.
    Compressed(Compressed),
}

/// Bytes compressed with an algorithm: the content of tag 56500.
#[derive(Clone, PartialEq, Eq)]
pub struct Compressed {
    algorithm: Algorithm,
    // Of known algorithms an integer, of others anything.
    modifier: Item,
    bytes: Bytes,
}

/// How bytes are compressed.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Algorithm {
    /// `bslz4`: bitshuffle and LZ4, in the framing of HDF5's bitshuffle filter.
    BitshuffleLz4,
    /// `lz4`, in the framing of HDF5's LZ4 filter.
    Lz4,
    /// One that is not known here, by its name.
    Other(String),
}

impl Algorithm {
    /// The name that travels.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Algorithm::BitshuffleLz4 => "bslz4",
            Algorithm::Lz4 => "lz4",
            Algorithm::Other(name) => name,
        }
    }

    fn from_name(name: String) -> Self {
        match name.as_str() {
            "bslz4" => Algorithm::BitshuffleLz4,
            "lz4" => Algorithm::Lz4,
            _ => Algorithm::Other(name),
        }
    }

    fn codec(&self) -> Result<Codec, DataError> {
        match self {
            Algorithm::BitshuffleLz4 => Ok(Codec::BitshuffleLz4),
            Algorithm::Lz4 => Ok(Codec::Lz4Hdf5),
            Algorithm::Other(name) => Err(DataError::Algorithm(name.clone())),
        }
    }
}

impl Compressed {
    /// Bytes that have been compressed with `algorithm`; `element_size` is that of the shuffled elements in bytes, and
    /// 0 for `lz4`.
    #[must_use]
    pub fn new(algorithm: Algorithm, element_size: u64, bytes: impl Into<Bytes>) -> Self {
        let modifier = to_bytes(9, |encoder| encoder.u64(element_size)?.ok());
        Compressed {
            algorithm,
            modifier: Item::unchecked(modifier),
            bytes: bytes.into(),
        }
    }

    /// How the bytes are compressed.
    #[must_use]
    pub fn algorithm(&self) -> &Algorithm {
        &self.algorithm
    }

    /// The size of the elements that were shuffled, in bytes; means nothing for `lz4`. `None` where another algorithm
    /// has something else in its place.
    #[must_use]
    pub fn element_size(&self) -> Option<u64> {
        u64::read(&mut self.modifier.reader()).ok()
    }

    /// The compressed bytes, a slice of the message.
    #[must_use]
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// What to decompress with, and how many bytes that makes: `expected`, where that is known, which what the bytes
    /// say must agree with. Nothing is allocated.
    fn plan(&self, expected: Option<usize>, limit: usize) -> Result<(Codec, usize, usize), DataError> {
        let codec = self.algorithm.codec()?;
        let element_size = match codec {
            Codec::Lz4Hdf5 => 1,
            _ => self
                .element_size()
                .and_then(|size| usize::try_from(size).ok())
                .filter(|size| (1..=MAX_ELEMENT_SIZE).contains(size))
                .ok_or(DataError::ElementSize)?,
        };
        let declared = codec.declared_len(&self.bytes)?;
        let size = match (expected, declared) {
            (Some(expected), Some(declared)) if expected != declared => {
                return Err(DataError::Size { declared, expected });
            }
            (Some(size), _) | (None, Some(size)) => size,
            (None, None) => return Err(DataError::UnknownSize),
        };
        if size > limit {
            return Err(DataError::TooLarge { size, limit });
        }
        Ok((codec, element_size, size))
    }
}

impl ByteString {
    /// Compresses `data`, elements of `element_size` bytes.
    ///
    /// # Errors
    /// [`DataError::Algorithm`] for one that is not known here, [`DataError::ElementSize`] for zero and for sizes of
    /// which the data have no whole number.
    pub fn compress(algorithm: Algorithm, data: &[u8], element_size: usize) -> Result<Self, DataError> {
        let codec = algorithm.codec()?;
        if !(1..=MAX_ELEMENT_SIZE).contains(&element_size) || !data.len().is_multiple_of(element_size) {
            return Err(DataError::ElementSize);
        }
        let modifier = match algorithm {
            Algorithm::Lz4 => 0,
            _ => element_size as u64,
        };
        let bytes = codec.compress(data, element_size);
        Ok(ByteString::Compressed(Compressed::new(
            algorithm, modifier, bytes,
        )))
    }

    /// The bytes as they travel, compressed or not.
    #[must_use]
    pub fn stored(&self) -> &Bytes {
        match self {
            ByteString::Plain(bytes) => bytes,
            ByteString::Compressed(compressed) => &compressed.bytes,
        }
    }

    /// The name of the algorithm, where the bytes are compressed.
    #[must_use]
    pub fn compression(&self) -> Option<&str> {
        match self {
            ByteString::Plain(_) => None,
            ByteString::Compressed(compressed) => Some(compressed.algorithm.name()),
        }
    }

    /// The bytes that are meant: a slice of the message, or new memory that they are decompressed into.
    pub(super) fn data(&self, expected: Option<usize>, limit: usize) -> Result<Bytes, DataError> {
        match self {
            // Their number was compared when the message was read or the array made; they are there already, so that
            // no limit is needed.
            ByteString::Plain(bytes) => Ok(bytes.clone()),
            ByteString::Compressed(compressed) => {
                let (codec, element_size, size) = compressed.plan(expected, limit)?;
                Ok(codec.decompress(&compressed.bytes, element_size, size)?.into())
            }
        }
    }

    /// Writes the bytes that are meant into memory of just that size.
    pub(super) fn data_into(&self, out: &mut [u8]) -> Result<(), DataError> {
        match self {
            ByteString::Plain(bytes) => out.copy_from_slice(bytes),
            ByteString::Compressed(compressed) => {
                let (codec, element_size, _) = compressed.plan(Some(out.len()), out.len())?;
                codec.decompress_into(&compressed.bytes, element_size, out)?;
            }
        }
        Ok(())
    }
}

impl Decode for ByteString {
    fn read(reader: &mut Reader<'_>) -> Result<Self, Misfit> {
        if reader.kind()? != Type::Tag {
            return reader.bytes().map(ByteString::Plain);
        }
        if reader.tag()? != COMPRESSED {
            return Err(Misfit::Form);
        }
        let mut count = reader.list()?;
        reader.next(&mut count)?;
        let algorithm = Algorithm::from_name(reader.text()?);
        reader.next(&mut count)?;
        let modifier = reader.item()?;
        reader.next(&mut count)?;
        let bytes = reader.bytes()?;
        reader.end(&mut count)?;
        Ok(ByteString::Compressed(Compressed {
            algorithm,
            modifier,
            bytes,
        }))
    }
}

impl Encode for ByteString {
    fn write(&self, encoder: &mut Encoder) -> Written {
        match self {
            ByteString::Plain(bytes) => encoder.bytes(bytes)?.ok(),
            ByteString::Compressed(compressed) => {
                encoder.tag(Tag::new(COMPRESSED))?.array(3)?;
                encoder.str(compressed.algorithm.name())?;
                compressed.modifier.write(encoder)?;
                encoder.bytes(&compressed.bytes)?.ok()
            }
        }
    }

    fn size(&self) -> usize {
        32 + self.stored().len()
    }

    fn describe(&self) -> Value {
        Value::from(self.stored().len())
    }
}

/// Shows the size, not the bytes.
impl fmt::Debug for ByteString {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ByteString::Plain(bytes) => write!(f, "Plain({} bytes)", bytes.len()),
            ByteString::Compressed(compressed) => compressed.fmt(f),
        }
    }
}

/// Shows the size, not the bytes.
impl fmt::Debug for Compressed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Compressed")
            .field("algorithm", &self.algorithm)
            .field("modifier", &self.modifier)
            .field("size", &self.bytes.len())
            .finish()
    }
}
