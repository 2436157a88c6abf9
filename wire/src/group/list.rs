//! A list inside a packet: the sender's slice on one side, the bytes of the datagram on the other.

use std::fmt;

use super::DecodeError;
use super::reader::Reader;
use super::sink::Sink;

/// The entries of a list in a packet, without a copy: made of a slice by who encodes, and of the datagram by who
/// decodes, after every entry was checked.
///
/// ```
/// use flexbond_wire::group::List;
///
/// let failed = List::new(&[3, 5]);
/// assert_eq!(failed.iter().collect::<Vec<u32>>(), [3, 5]);
/// assert_eq!((failed.len(), failed), (2, List::new(&[3, 5])));
/// ```
#[derive(Clone, Copy)]
pub struct List<'a, T> {
    entries: Entries<'a, T>,
}

#[derive(Clone, Copy)]
enum Entries<'a, T> {
    Slice(&'a [T]),
    Wire {
        reader: Reader<'a>,
        len: usize,
        read: Read<T>,
    },
}

type Read<T> = fn(&mut Reader<'_>) -> Result<T, DecodeError>;

impl<'a, T: Copy> List<'a, T> {
    /// The list of these entries.
    #[must_use]
    pub const fn new(entries: &'a [T]) -> Self {
        List {
            entries: Entries::Slice(entries),
        }
    }

    /// How many entries it has.
    #[must_use]
    pub const fn len(&self) -> usize {
        match self.entries {
            Entries::Slice(entries) => entries.len(),
            Entries::Wire { len, .. } => len,
        }
    }

    /// Whether it has no entries.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The entries, in order.
    pub fn iter(&self) -> impl Iterator<Item = T> + use<'a, T> {
        let mut entries = self.entries;
        std::iter::from_fn(move || match &mut entries {
            Entries::Slice(slice) => {
                let (first, rest) = slice.split_first()?;
                *slice = rest;
                Some(*first)
            }
            // Every entry was read once when the list was: this cannot fail.
            Entries::Wire { reader, read, .. } if reader.len() > 0 => read(reader).ok(),
            Entries::Wire { .. } => None,
        })
    }

    /// Takes a byte of length, at most `limit`, and as many entries off a body, each of which `read` takes.
    pub(super) fn read(
        body: &mut Reader<'a>,
        field: &'static str,
        limit: usize,
        read: Read<T>,
    ) -> Result<Self, DecodeError> {
        let len = usize::from(body.u8()?);
        if len > limit {
            return Err(DecodeError::Length { field, len, limit });
        }
        let start = *body;
        for _ in 0..len {
            read(body)?;
        }
        let taken = start.len() - body.len();
        let reader = Reader::new({ start }.take(taken)?);
        Ok(List {
            entries: Entries::Wire { reader, len, read },
        })
    }

    /// Puts a byte of length, which the caller has limited, and the entries.
    pub(super) fn write<S: Sink>(&self, out: &mut S, write: impl Fn(&T, &mut S)) {
        out.put_u8(self.len() as u8);
        for entry in self.iter() {
            write(&entry, out);
        }
    }
}

impl<T: Copy> Default for List<'_, T> {
    fn default() -> Self {
        List::new(&[])
    }
}

impl<'a, T: Copy> From<&'a [T]> for List<'a, T> {
    fn from(entries: &'a [T]) -> Self {
        List::new(entries)
    }
}

impl<T: Copy + PartialEq> PartialEq for List<'_, T> {
    fn eq(&self, other: &Self) -> bool {
        self.len() == other.len() && self.iter().eq(other.iter())
    }
}

impl<T: Copy + Eq> Eq for List<'_, T> {}

impl<T: Copy + fmt::Debug> fmt::Debug for List<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_id(body: &mut Reader<'_>) -> Result<u32, DecodeError> {
        body.u32()
    }

    #[test]
    fn a_list_of_bytes_equals_the_slice_it_was_made_of() {
        let slice = [1_u32, 2, 0xffff_ffff];
        let mut bytes = bytes::BytesMut::new();
        List::new(&slice).write(&mut bytes, |id, out| out.put_u32(*id));
        bytes.extend_from_slice(b"next");
        let mut body = Reader::new(&bytes);
        let list = List::read(&mut body, "ids", 3, read_id).expect("just written");
        assert_eq!(body.len(), 4);
        assert_eq!((list, list.len()), (List::new(&slice), 3));
        assert_ne!(list, List::new(&slice[..2]));
        assert_eq!(format!("{list:?}"), format!("{slice:?}"));
        let mut body = Reader::new(&bytes);
        assert!(List::read(&mut body, "ids", 2, read_id).is_err());
        let mut body = Reader::new(&bytes[..12]);
        assert!(List::read(&mut body, "ids", 3, read_id).is_err());
    }
}
