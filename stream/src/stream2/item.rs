//! CBOR of any kind, kept as it came.

use std::fmt;

use bytes::Bytes;
use minicbor::Decoder;
use serde_json::{Value, json};

use super::field::{Decode, Encode};
use super::reader::{Misfit, Reader};
use super::writer::{Encoder, Written, to_bytes};
use super::{DecodeError, json as convert, well_formed};

/// One well-formed CBOR item of any kind: user data, and fields that are not known here.
///
/// It is a slice of the message that it came in, and travels on byte for byte.
///
/// ```
/// use flexbond_stream::stream2::Item;
/// use serde_json::json;
///
/// // [1, "💙"], as a detector sends it in its test data.
/// let item = Item::decode(&b"\x82\x01\x64\xf0\x9f\x92\x99"[..])?;
/// assert_eq!(item.to_json()?, json!([1, "💙"]));
/// assert_eq!(Item::from_json(&json!([1, "💙"]))?, item);
/// # Ok::<(), flexbond_stream::stream2::DecodeError>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Item {
    bytes: Bytes,
}

impl Item {
    /// The most values of an item that are turned into JSON, all levels together.
    pub const MAX_JSON: usize = 1 << 18;

    /// Checks that `bytes` are exactly one item.
    ///
    /// # Errors
    /// [`DecodeError`]: not CBOR, nested too deep, or more than one item.
    pub fn decode(bytes: impl Into<Bytes>) -> Result<Self, DecodeError> {
        let bytes = bytes.into();
        let mut decoder = Decoder::new(&bytes);
        well_formed::item(&mut decoder)?;
        match bytes.len() - decoder.position() {
            0 => Ok(Item { bytes }),
            more => Err(DecodeError::Trailing(more)),
        }
    }

    /// An item that has been checked.
    pub(super) fn unchecked(bytes: Bytes) -> Self {
        Item { bytes }
    }

    /// The item that says the same as `value`.
    ///
    /// # Errors
    /// [`DecodeError::TooDeep`].
    pub fn from_json(value: &Value) -> Result<Self, DecodeError> {
        Item::decode(to_bytes(64, |encoder| convert::write(value, encoder)))
    }

    /// The item as JSON, for people to read and for programs that know their own user data.
    ///
    /// Tags are left out, byte strings become `{"bytes": length}`, undefined and numbers that JSON has not become null. Keys
    /// that are no texts become texts: numbers and the like as JSON writes them, others as `h'…'` with their bytes.
    ///
    /// # Errors
    /// [`DecodeError::TooMany`] past [`Item::MAX_JSON`] values.
    pub fn to_json(&self) -> Result<Value, DecodeError> {
        self.to_json_within(Self::MAX_JSON)
    }

    pub(super) fn to_json_within(&self, limit: usize) -> Result<Value, DecodeError> {
        let mut left = limit;
        convert::read(&mut self.reader(), &mut left).map_err(|_| DecodeError::TooMany { limit })
    }

    /// The bytes of the item.
    #[must_use]
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// Whether it is null or undefined.
    #[must_use]
    pub fn is_null(&self) -> bool {
        matches!(self.bytes[..], [0xf6 | 0xf7])
    }

    pub(super) fn reader(&self) -> Reader<'_> {
        Reader::new(&self.bytes)
    }
}

impl Decode for Item {
    fn read(reader: &mut Reader<'_>) -> Result<Self, Misfit> {
        reader.item()
    }
}

impl Encode for Item {
    fn write(&self, encoder: &mut Encoder) -> Written {
        encoder.writer_mut().extend_from_slice(&self.bytes);
        Ok(())
    }

    fn size(&self) -> usize {
        self.bytes.len()
    }

    fn describe(&self) -> Value {
        // A summary is to be read by people; of what is larger than this it says the size.
        const BYTES: usize = 1 << 16;
        const VALUES: usize = 1024;
        let small = self.bytes.len() <= BYTES;
        let json = small.then(|| self.to_json_within(VALUES).ok()).flatten();
        json.unwrap_or_else(|| json!({ "bytes": self.bytes.len() }))
    }
}

/// Shows at most the first 32 bytes; an item may be large.
impl fmt::Debug for Item {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 32;
        let shown = &self.bytes[..self.bytes.len().min(SHOWN)];
        write!(f, "b\"{}\"", shown.escape_ascii())?;
        if shown.len() < self.bytes.len() {
            write!(f, "… ({} bytes)", self.bytes.len())?;
        }
        Ok(())
    }
}
