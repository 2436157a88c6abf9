//! What a call carries besides its arguments: a trace context, a token, a tenant.

use std::fmt;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use flexbond_transport::Frame;

use super::MetadataError;

/// Names and values beside a call's arguments or its answer: a trace context, a token, a tenant.
///
/// Names are lower-case ASCII, 1 to 255 bytes of letters, digits, `-`, `_` and `.`; values are any bytes. A name may
/// occur once. On the wire each entry is the name's length in one byte, the name, the value's length in four bytes
/// (most significant first), and the value, as in the properties of ZMTP.
///
/// ```
/// use flexbond_rpc::envelope::Metadata;
///
/// let mut metadata = Metadata::new();
/// metadata.insert("Authorization", "Bearer 7")?;
/// assert_eq!(metadata.get("authorization"), Some(&b"Bearer 7"[..]));
/// assert_eq!(metadata.to_frame(), &b"\x0dauthorization\x00\x00\x00\x08Bearer 7"[..]);
/// # Ok::<(), flexbond_rpc::envelope::MetadataError>(())
/// ```
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Metadata(Vec<(Box<str>, Bytes)>);

impl Metadata {
    /// The most entries of one message.
    pub const MAX_ENTRIES: usize = 64;
    /// The most bytes that the entries of one message take together.
    pub const MAX_LEN: usize = 16 << 10;

    /// Nothing.
    #[must_use]
    pub const fn new() -> Self {
        Metadata(Vec::new())
    }

    /// Sets a value, in place of the one that this name had. Letters of the name become lower-case.
    ///
    /// # Errors
    /// [`MetadataError`] when the name is not one, or there would be too much; nothing is changed.
    pub fn insert(&mut self, name: &str, value: impl Into<Bytes>) -> Result<(), MetadataError> {
        let name = checked(name.as_bytes())?;
        let value = value.into();
        let known = self.0.iter().position(|(known, _)| *known == name);
        let freed = known.map_or(0, |index| entry_len(&self.0[index].0, &self.0[index].1));
        let len = self.encoded_len() - freed + entry_len(&name, &value);
        if len > Self::MAX_LEN {
            return Err(MetadataError::TooLong { len });
        }
        match known {
            Some(index) => self.0[index].1 = value,
            None if self.0.len() == Self::MAX_ENTRIES => return Err(MetadataError::TooMany),
            None => self.0.push((name, value)),
        }
        Ok(())
    }

    /// The value of a name, given in any case.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        let found = self.0.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.map(|(_, value)| &value[..])
    }

    /// The value of a name, if it is UTF-8.
    #[must_use]
    pub fn get_str(&self, name: &str) -> Option<&str> {
        std::str::from_utf8(self.get(name)?).ok()
    }

    /// Takes an entry out.
    pub fn remove(&mut self, name: &str) -> Option<Bytes> {
        let index = self
            .0
            .iter()
            .position(|(known, _)| known.eq_ignore_ascii_case(name))?;
        Some(self.0.swap_remove(index).1)
    }

    /// Names and values.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.0.iter().map(|(name, value)| (&**name, &value[..]))
    }

    /// How many entries there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn encoded_len(&self) -> usize {
        self.0.iter().map(|(name, value)| entry_len(name, value)).sum()
    }

    /// The entries as they are sent.
    #[must_use]
    pub fn to_frame(&self) -> Frame {
        let mut bytes = BytesMut::with_capacity(self.encoded_len());
        for (name, value) in &self.0 {
            // Neither is longer than its length can say: `insert` and `decode` saw to that.
            bytes.put_u8(name.len() as u8);
            bytes.put_slice(name.as_bytes());
            bytes.put_u32(value.len() as u32);
            bytes.put_slice(value);
        }
        Frame::from(bytes.freeze())
    }

    /// Reads entries as they were received. Values are slices of the frame, not copies.
    ///
    /// # Errors
    /// [`MetadataError`] for entries that are cut off, too many, too long, misnamed or named twice.
    pub fn decode(frame: Frame) -> Result<Self, MetadataError> {
        if frame.len() > Self::MAX_LEN {
            return Err(MetadataError::TooLong { len: frame.len() });
        }
        let mut rest = frame.into_bytes();
        let mut metadata = Metadata::new();
        while !rest.is_empty() {
            let len = usize::from(rest.get_u8());
            let name = split(&mut rest, len)?;
            let name = checked(&name)?;
            let len = rest.try_get_u32().map_err(|_| MetadataError::Truncated)?;
            let value = split(&mut rest, usize::try_from(len).unwrap_or(usize::MAX))?;
            if metadata.get(&name).is_some() {
                return Err(MetadataError::Twice { name });
            }
            if metadata.0.len() == Self::MAX_ENTRIES {
                return Err(MetadataError::TooMany);
            }
            metadata.0.push((name, value));
        }
        Ok(metadata)
    }
}

impl fmt::Debug for Metadata {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Values may be secrets.
        f.debug_set()
            .entries(self.0.iter().map(|(name, _)| name))
            .finish()
    }
}

fn entry_len(name: &str, value: &[u8]) -> usize {
    1 + name.len() + 4 + value.len()
}

fn split(rest: &mut Bytes, len: usize) -> Result<Bytes, MetadataError> {
    if len > rest.len() {
        return Err(MetadataError::Truncated);
    }
    Ok(rest.split_to(len))
}

/// The name in lower case, if it is one.
fn checked(name: &[u8]) -> Result<Box<str>, MetadataError> {
    let is_name = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.".contains(byte);
    match std::str::from_utf8(name) {
        Ok(text) if (1..=255).contains(&name.len()) && name.iter().all(is_name) => {
            Ok(text.to_ascii_lowercase().into())
        }
        _ => Err(MetadataError::Name {
            name: name.escape_ascii().to_string().into(),
        }),
    }
}
