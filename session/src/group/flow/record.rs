//! How messages lie in the stream of a flow: a short header, then the body.

/// The longest header of a record: a kind and a length of up to ten bytes.
pub(crate) const MAX_HEADER: usize = 11;

/// What a record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RecordKind {
    /// A whole message.
    Message,
    /// The first part of a streamed message; more follow.
    FirstChunk,
    /// A further part of a streamed message; more follow.
    Chunk,
    /// The last part of a streamed message.
    LastChunk,
    /// Nothing more comes.
    End,
    /// Never sent: the rest of a streamed message will not come.
    Cut,
}

impl RecordKind {
    const SENT: [RecordKind; 5] = [
        RecordKind::Message,
        RecordKind::FirstChunk,
        RecordKind::Chunk,
        RecordKind::LastChunk,
        RecordKind::End,
    ];

    fn code(self) -> u8 {
        self as u8
    }

    fn from_code(code: u8) -> Option<Self> {
        Self::SENT.get(usize::from(code)).copied()
    }
}

/// The header of a record: its kind, then the length of its body in groups of seven bits, low ones first.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RecordHeader {
    bytes: [u8; MAX_HEADER],
    len: u8,
}

impl RecordHeader {
    pub(crate) fn new(kind: RecordKind, body: u64) -> Self {
        let mut bytes = [0; MAX_HEADER];
        bytes[0] = kind.code();
        let mut len = 1;
        let mut rest = body;
        loop {
            let low = (rest & 0x7F) as u8;
            rest >>= 7;
            bytes[len] = if rest == 0 { low } else { low | 0x80 };
            len += 1;
            if rest == 0 {
                break;
            }
        }
        RecordHeader {
            bytes,
            len: len as u8,
        }
    }

    pub(crate) fn as_slice(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }
}

/// A header that comes byte by byte.
#[derive(Debug, Default)]
pub(crate) struct HeaderReader {
    kind: Option<RecordKind>,
    length: u64,
    shift: u32,
}

/// The stream holds something that is no record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BadHeader;

impl HeaderReader {
    /// Takes a byte; gives the kind and the length of the body once it was the last one.
    pub(crate) fn push(&mut self, byte: u8) -> Result<Option<(RecordKind, u64)>, BadHeader> {
        let Some(kind) = self.kind else {
            self.kind = Some(RecordKind::from_code(byte).ok_or(BadHeader)?);
            return Ok(None);
        };
        let low = u64::from(byte & 0x7F);
        // Ten groups of seven bits; of the last one only a single bit fits.
        if self.shift > 63 || (self.shift == 63 && low > 1) {
            return Err(BadHeader);
        }
        self.length |= low << self.shift;
        self.shift += 7;
        if byte & 0x80 != 0 {
            return Ok(None);
        }
        let header = (kind, self.length);
        *self = HeaderReader::default();
        Ok(Some(header))
    }

    /// Whether a header has begun.
    #[cfg(test)]
    pub(crate) fn is_inside(&self) -> bool {
        self.kind.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8]) -> Result<Option<(RecordKind, u64)>, BadHeader> {
        let mut reader = HeaderReader::default();
        for (index, &byte) in bytes.iter().enumerate() {
            if let Some(header) = reader.push(byte)? {
                assert_eq!(index + 1, bytes.len());
                assert!(!reader.is_inside());
                return Ok(Some(header));
            }
        }
        Ok(None)
    }

    #[test]
    fn a_header_is_read_as_it_was_written() {
        for kind in RecordKind::SENT {
            for shift in 0..64 {
                for body in [1 << shift, (1_u64 << shift) - 1, u64::MAX >> shift] {
                    let header = RecordHeader::new(kind, body);
                    assert_eq!(read(header.as_slice()), Ok(Some((kind, body))));
                }
            }
        }
    }

    #[test]
    fn what_is_no_header_is_refused() {
        assert_eq!(read(&[5]), Err(BadHeader));
        assert_eq!(read(&[0, 0x80]), Ok(None));
        let mut long = vec![0];
        long.extend([0xFF; 9]);
        long.push(2);
        assert_eq!(read(&long), Err(BadHeader));
        long.pop();
        long.extend([0x80, 0]);
        assert_eq!(read(&long), Err(BadHeader));
    }
}
