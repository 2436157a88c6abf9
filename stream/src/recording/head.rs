//! The fixed front of every block of a recording, and of the recording itself.

use super::{Compression, Timestamp, checksum};

/// Bytes of a [`Head`].
pub(super) const HEAD_LEN: usize = 64;
/// Bytes of a [`Preamble`].
pub(super) const PREAMBLE_LEN: usize = 64;
/// What every block begins with. No UTF-8 text contains it.
pub(super) const MARKER: [u8; 4] = *b"\xf5FBr";
/// What every recording begins with; a line ending that was translated shows, as in PNG.
pub(super) const MAGIC: [u8; 8] = *b"\x89FBREC\r\n";
/// The format's version; another one is refused.
pub(super) const VERSION: u16 = 1;

/// What a block holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Message,
    Index,
    Footer,
}

/// The front of a block: what it is and how long, sealed by a checksum of its own, so that a length is believed before
/// what it counts is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) kind: Kind,
    pub(super) compression: Compression,
    /// Parts of a message; entries of an index or a footer.
    pub(super) count: u32,
    /// Of the contents as stored.
    pub(super) checksum: u32,
    /// Bytes of the contents as stored.
    pub(super) stored: u64,
    /// Payload bytes: of the message, or of all messages of the index.
    pub(super) plain: u64,
    /// Of the message, or of the first one of the index.
    pub(super) number: u64,
    /// Likewise.
    pub(super) time: Timestamp,
    /// Where the last index before this block is; zero when there is none.
    pub(super) index: u64,
    /// The recording that the block belongs to.
    pub(super) salt: u32,
}

impl Head {
    pub(super) fn encode(&self) -> [u8; HEAD_LEN] {
        let mut bytes = [0; HEAD_LEN];
        bytes[..4].copy_from_slice(&MARKER);
        bytes[4] = match self.kind {
            Kind::Message => 1,
            Kind::Index => 2,
            Kind::Footer => 3,
        };
        bytes[5] = self.compression.code();
        bytes[8..12].copy_from_slice(&self.count.to_le_bytes());
        bytes[12..16].copy_from_slice(&self.checksum.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.stored.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.plain.to_le_bytes());
        bytes[32..40].copy_from_slice(&self.number.to_le_bytes());
        bytes[40..48].copy_from_slice(&self.time.as_nanos().to_le_bytes());
        bytes[48..56].copy_from_slice(&self.index.to_le_bytes());
        bytes[56..60].copy_from_slice(&self.salt.to_le_bytes());
        seal(&mut bytes);
        bytes
    }

    /// The head in `bytes`; `None` when there is none that can be trusted.
    pub(super) fn decode(bytes: &[u8; HEAD_LEN]) -> Option<Self> {
        if bytes[..4] != MARKER || !is_sealed(bytes) {
            return None;
        }
        let kind = match bytes[4] {
            1 => Kind::Message,
            2 => Kind::Index,
            3 => Kind::Footer,
            _ => return None,
        };
        let head = Head {
            kind,
            compression: Compression::from_code(bytes[5])?,
            count: u32_at(bytes, 8),
            checksum: u32_at(bytes, 12),
            stored: u64_at(bytes, 16),
            plain: u64_at(bytes, 24),
            number: u64_at(bytes, 32),
            time: Timestamp::from_nanos(u64_at(bytes, 40).cast_signed()),
            index: u64_at(bytes, 48),
            salt: u32_at(bytes, 56),
        };
        // A message that is not compressed has a length that follows from the rest.
        let exact = head.kind != Kind::Message
            || head.compression != Compression::None
            || head.contents_len() == Some(head.stored);
        exact.then_some(head)
    }

    /// Bytes of a message's contents before compression: a length per part, and the payload.
    pub(super) fn contents_len(&self) -> Option<u64> {
        self.plain.checked_add(4 * u64::from(self.count))
    }

    /// Where the block ends that begins at `offset`.
    pub(super) fn end(&self, offset: u64) -> Option<u64> {
        offset.checked_add(HEAD_LEN as u64)?.checked_add(self.stored)
    }
}

/// The front of a recording.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Preamble {
    pub(super) created: Timestamp,
    /// The number of the first message: of a rotated recording, each file goes on where the one before ended.
    pub(super) first_number: u64,
    /// Shared by all files of a recording.
    pub(super) id: u128,
    /// Of a rotated recording, from zero.
    pub(super) file_number: u32,
    /// What messages are compressed with where it pays.
    pub(super) compression: Compression,
}

/// Why a preamble cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PreambleError {
    Magic,
    Version(u16),
    Damaged,
}

impl Preamble {
    /// What marks the blocks of this file: a payload that holds another recording is not taken for this one.
    pub(super) fn salt(&self) -> u32 {
        // Any part of the identity will do.
        (self.id as u32) ^ self.file_number
    }

    pub(super) fn encode(&self) -> [u8; PREAMBLE_LEN] {
        let mut bytes = [0; PREAMBLE_LEN];
        bytes[..8].copy_from_slice(&MAGIC);
        bytes[8..10].copy_from_slice(&VERSION.to_le_bytes());
        bytes[10] = self.compression.code();
        bytes[12..16].copy_from_slice(&self.file_number.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.created.as_nanos().to_le_bytes());
        bytes[24..32].copy_from_slice(&self.first_number.to_le_bytes());
        bytes[32..48].copy_from_slice(&self.id.to_le_bytes());
        seal(&mut bytes);
        bytes
    }

    pub(super) fn decode(bytes: &[u8; PREAMBLE_LEN]) -> Result<Self, PreambleError> {
        if bytes[..8] != MAGIC {
            return Err(PreambleError::Magic);
        }
        if !is_sealed(bytes) {
            return Err(PreambleError::Damaged);
        }
        let version = u16::from_le_bytes([bytes[8], bytes[9]]);
        if version != VERSION {
            return Err(PreambleError::Version(version));
        }
        let mut id = [0; 16];
        id.copy_from_slice(&bytes[32..48]);
        Ok(Preamble {
            created: Timestamp::from_nanos(u64_at(bytes, 16).cast_signed()),
            first_number: u64_at(bytes, 24),
            id: u128::from_le_bytes(id),
            file_number: u32_at(bytes, 12),
            // What is not known here shows at the messages that are compressed with it.
            compression: Compression::from_code(bytes[10]).unwrap_or_default(),
        })
    }
}

/// A little-endian number at `at`, which must be within `bytes`.
pub(super) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let mut number = [0; 8];
    number.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(number)
}

/// As [`u64_at`].
pub(super) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let mut number = [0; 4];
    number.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(number)
}

fn seal(bytes: &mut [u8; 64]) {
    let sum = checksum::of(&bytes[..60]);
    bytes[60..].copy_from_slice(&sum.to_le_bytes());
}

fn is_sealed(bytes: &[u8; 64]) -> bool {
    u32_at(bytes, 60) == checksum::of(&bytes[..60])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head() -> Head {
        Head {
            kind: Kind::Message,
            compression: Compression::None,
            count: 2,
            checksum: 7,
            stored: 108,
            plain: 100,
            number: 9,
            time: Timestamp::from_nanos(-3),
            index: 64,
            salt: 5,
        }
    }

    #[test]
    fn heads_and_preambles_round_trip_and_every_flipped_bit_shows() {
        let bytes = head().encode();
        assert_eq!(Head::decode(&bytes), Some(head()));
        let preamble = Preamble {
            created: Timestamp::from_nanos(17),
            first_number: 3,
            id: 0x1234_5678_9abc_def0,
            file_number: 2,
            compression: Compression::Lz4,
        };
        let front = preamble.encode();
        assert_eq!(Preamble::decode(&front), Ok(preamble));
        for bit in 0..512 {
            let (mut bytes, mut front) = (bytes, front);
            bytes[bit / 8] ^= 1 << (bit % 8);
            front[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Head::decode(&bytes), None, "bit {bit}");
            assert!(Preamble::decode(&front).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn a_length_that_contradicts_the_rest_is_no_head() {
        for head in [
            Head {
                stored: 107,
                ..head()
            },
            Head {
                plain: u64::MAX,
                stored: u64::MAX,
                ..head()
            },
        ] {
            assert_eq!(Head::decode(&head.encode()), None);
        }
    }
}
