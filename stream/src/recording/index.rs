//! Where messages are: the entries of an index, the chunks of a footer.

use super::Timestamp;
use super::head::{u32_at, u64_at};

/// Bytes of an [`Entry`].
pub(super) const ENTRY_LEN: usize = 24;
/// Bytes of a [`Chunk`].
pub(super) const CHUNK_LEN: usize = 48;
/// Bytes of [`Totals`].
pub(super) const TOTALS_LEN: usize = 56;
/// The last bytes of a recording that was closed: where its footer begins, and [`TAIL_MAGIC`].
pub(super) const TAIL_LEN: usize = 16;
/// The last eight bytes of a recording that was closed.
pub(super) const TAIL_MAGIC: [u8; 8] = *b"FBRECend";

/// After so many messages an index is written.
pub(super) const CHUNK_MESSAGES: usize = 4096;
/// After so many bytes an index is written: what has to be read again after a crash.
pub(super) const CHUNK_BYTES: u64 = 64 << 20;

/// Where one message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) number: u64,
    pub(super) time: Timestamp,
    pub(super) offset: u64,
}

/// Where the messages of one index are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Chunk {
    /// Where its index block is; zero when there is none.
    pub(super) index: u64,
    /// Where its first message is.
    pub(super) start: u64,
    pub(super) first_number: u64,
    pub(super) first_time: Timestamp,
    pub(super) messages: u64,
    /// Payload bytes.
    pub(super) bytes: u64,
}

/// What a recording holds altogether.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Totals {
    pub(super) messages: u64,
    /// Payload bytes.
    pub(super) bytes: u64,
    pub(super) first_number: u64,
    pub(super) last_number: u64,
    /// One more than the last number that was given, to a message that is here or to one that is missing.
    pub(super) next_number: u64,
    pub(super) first_time: Timestamp,
    pub(super) last_time: Timestamp,
}

impl Entry {
    pub(super) fn encode(self, out: &mut Vec<u8>) {
        let fields = [self.number, self.time.as_nanos().cast_unsigned(), self.offset];
        fields.iter().for_each(|field| out.extend(field.to_le_bytes()));
    }

    pub(super) fn decode(bytes: &[u8]) -> Self {
        Entry {
            number: u64_at(bytes, 0),
            time: Timestamp::from_nanos(u64_at(bytes, 8).cast_signed()),
            offset: u64_at(bytes, 16),
        }
    }
}

impl Chunk {
    pub(super) fn encode(self, out: &mut Vec<u8>) {
        let time = self.first_time.as_nanos().cast_unsigned();
        let fields = [
            self.index,
            self.start,
            self.first_number,
            time,
            self.messages,
            self.bytes,
        ];
        fields.iter().for_each(|field| out.extend(field.to_le_bytes()));
    }

    pub(super) fn decode(bytes: &[u8]) -> Self {
        Chunk {
            index: u64_at(bytes, 0),
            start: u64_at(bytes, 8),
            first_number: u64_at(bytes, 16),
            first_time: Timestamp::from_nanos(u64_at(bytes, 24).cast_signed()),
            messages: u64_at(bytes, 32),
            bytes: u64_at(bytes, 40),
        }
    }
}

/// Payload bytes of all chunks; what a file says is not believed to have a sum.
pub(super) fn payload(chunks: &[Chunk]) -> u64 {
    chunks
        .iter()
        .fold(0, |sum, chunk| sum.saturating_add(chunk.bytes))
}

impl Totals {
    /// Counts one more message.
    pub(super) fn add(&mut self, number: u64, time: Timestamp, bytes: u64) {
        if self.messages == 0 {
            (self.first_number, self.first_time) = (number, time);
        }
        self.messages += 1;
        self.bytes = self.bytes.saturating_add(bytes);
        self.last_number = number;
        self.next_number = number.saturating_add(1);
        self.last_time = time;
    }

    pub(super) fn encode(self, out: &mut Vec<u8>) {
        let times = [self.first_time, self.last_time].map(|time| time.as_nanos().cast_unsigned());
        let numbers = [self.first_number, self.last_number, self.next_number];
        let fields = [&[self.messages, self.bytes][..], &numbers, &times].concat();
        fields.iter().for_each(|field| out.extend(field.to_le_bytes()));
    }

    pub(super) fn decode(bytes: &[u8]) -> Self {
        let time = |at| Timestamp::from_nanos(u64_at(bytes, at).cast_signed());
        Totals {
            messages: u64_at(bytes, 0),
            bytes: u64_at(bytes, 8),
            first_number: u64_at(bytes, 16),
            last_number: u64_at(bytes, 24),
            next_number: u64_at(bytes, 32),
            first_time: time(40),
            last_time: time(48),
        }
    }
}

/// The parts' lengths at the front of a message's contents, as ranges of `contents`; `None` when they do not fill it
/// exactly.
pub(super) fn part_ranges(contents: &[u8], parts: usize) -> Option<Vec<std::ops::Range<usize>>> {
    let table = parts.checked_mul(4).filter(|&table| table <= contents.len())?;
    let mut ranges = Vec::with_capacity(parts);
    let mut start = table;
    for part in 0..parts {
        let len = usize::try_from(u32_at(contents, 4 * part)).ok()?;
        let end = start.checked_add(len).filter(|&end| end <= contents.len())?;
        ranges.push(start..end);
        start = end;
    }
    (start == contents.len()).then_some(ranges)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn part_lengths_must_fill_the_contents() {
        let contents = |lens: &[u32], payload: usize| {
            let mut bytes: Vec<u8> = lens.iter().flat_map(|len| len.to_le_bytes()).collect();
            bytes.resize(bytes.len() + payload, 0);
            bytes
        };
        assert_eq!(part_ranges(&contents(&[], 0), 0), Some(vec![]));
        assert_eq!(
            part_ranges(&contents(&[3, 0, 2], 5), 3),
            Some(vec![12..15, 15..15, 15..17])
        );
        for (lens, payload, parts) in [
            (&[3_u32][..], 2, 1),
            (&[3], 4, 1),
            (&[u32::MAX, u32::MAX], 1, 2),
            (&[1], 1, 2),
            (&[1], 1, usize::MAX),
        ] {
            assert_eq!(part_ranges(&contents(lens, payload), parts), None, "{lens:?}");
        }
    }

    #[test]
    fn entries_chunks_and_totals_round_trip() {
        let time = Timestamp::from_nanos(-7);
        let entry = Entry {
            number: 1,
            time,
            offset: 3,
        };
        let chunk = Chunk {
            index: 1,
            start: 2,
            first_number: 3,
            first_time: time,
            messages: 5,
            bytes: 6,
        };
        let mut totals = Totals::default();
        totals.add(4, time, 10);
        totals.add(9, Timestamp::from_nanos(8), 20);
        assert_eq!(
            (totals.first_number, totals.next_number, totals.bytes),
            (4, 10, 30)
        );
        let mut bytes = Vec::new();
        entry.encode(&mut bytes);
        chunk.encode(&mut bytes);
        totals.encode(&mut bytes);
        assert_eq!(bytes.len(), ENTRY_LEN + CHUNK_LEN + TOTALS_LEN);
        assert_eq!(Entry::decode(&bytes), entry);
        assert_eq!(Chunk::decode(&bytes[ENTRY_LEN..]), chunk);
        assert_eq!(Totals::decode(&bytes[ENTRY_LEN + CHUNK_LEN..]), totals);
    }
}
