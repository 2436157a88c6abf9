//! The header in front of every message between two ranks.

use std::num::NonZeroU32;

/// What a rank says before a message: 24 bytes, little endian.
///
/// | bytes | what |
/// | --- | --- |
/// | 0..4 | epoch |
/// | 4..8 | zero, or the number of an announcement: the body comes another way, and does not follow |
/// | 8..16 | tag |
/// | 16..24 | length of the body |
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) key: Key,
    /// The number of the announcement that this is.
    pub(super) announced: Option<NonZeroU32>,
    /// Bytes of the body.
    pub(super) length: usize,
}

/// What a receive is for, besides the peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key {
    pub(super) epoch: u32,
    pub(super) tag: u64,
}

/// Why bytes are no header: the peer speaks something else, or is hostile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HeaderError {
    TooLong,
}

impl Header {
    pub(super) const LEN: usize = 24;

    pub(super) fn encode(self) -> [u8; Self::LEN] {
        let mut bytes = [0; Self::LEN];
        bytes[..4].copy_from_slice(&self.key.epoch.to_le_bytes());
        let announced = self.announced.map_or(0, NonZeroU32::get);
        bytes[4..8].copy_from_slice(&announced.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.key.tag.to_le_bytes());
        bytes[16..].copy_from_slice(&(self.length as u64).to_le_bytes());
        bytes
    }

    /// Bytes that follow.
    pub(super) fn following(self) -> usize {
        match self.announced {
            Some(_) => 0,
            None => self.length,
        }
    }

    /// A header whose message has at most `max_message` bytes.
    pub(super) fn decode(bytes: &[u8; Self::LEN], max_message: usize) -> Result<Self, HeaderError> {
        let [e0, e1, e2, e3, a0, a1, a2, a3, rest @ ..] = *bytes;
        let [t0, t1, t2, t3, t4, t5, t6, t7, length @ ..] = rest;
        let length = usize::try_from(u64::from_le_bytes(length)).map_err(|_| HeaderError::TooLong)?;
        if length > max_message {
            return Err(HeaderError::TooLong);
        }
        Ok(Header {
            key: Key {
                epoch: u32::from_le_bytes([e0, e1, e2, e3]),
                tag: u64::from_le_bytes([t0, t1, t2, t3, t4, t5, t6, t7]),
            },
            announced: NonZeroU32::new(u32::from_le_bytes([a0, a1, a2, a3])),
            length,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded(epoch: u32, number: u32, tag: u64, length in 0..usize::MAX) {
            let announced = NonZeroU32::new(number);
            let header = Header { key: Key { epoch, tag }, announced, length };
            prop_assert_eq!(header.following(), if number == 0 { length } else { 0 });
            prop_assert_eq!(Header::decode(&header.encode(), usize::MAX), Ok(header));
            prop_assert_eq!(Header::decode(&header.encode(), length), Ok(header));
            if length > 0 {
                prop_assert_eq!(Header::decode(&header.encode(), length - 1), Err(HeaderError::TooLong));
            }
        }

        #[test]
        fn arbitrary_bytes_are_a_header_or_an_error(bytes: [u8; Header::LEN], limit: usize) {
            if let Ok(header) = Header::decode(&bytes, limit) {
                prop_assert!(header.length <= limit);
                prop_assert_eq!(header.encode(), bytes);
            }
        }
    }
}
