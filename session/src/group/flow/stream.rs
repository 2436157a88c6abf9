//! The records that a flow still has to keep, and the segments they were cut into.

use std::collections::VecDeque;
use std::ops::Range;

use bytes::Bytes;

use super::record::{RecordHeader, RecordKind};

/// The records that a flow still has to keep, as one stream of bytes, and where it was cut into segments.
///
/// Nothing is copied before a segment is written into a packet, and a segment costs eight bytes here.
#[derive(Debug)]
pub(crate) struct Stream {
    records: VecDeque<Record>,
    /// Where each segment that is kept begins in the stream; the last one ends at `cut`.
    segments: VecDeque<u64>,
    /// Number of the first segment that is kept.
    first_segment: u64,
    /// Where the next segment will begin.
    cut: u64,
    /// Where the stream ends.
    end: u64,
    /// The record in which the next segment begins.
    cursor: usize,
    /// Bytes in a segment, at most.
    segment: usize,
}

/// Where a segment lies.
#[derive(Debug)]
pub(crate) struct Place {
    record: usize,
    bytes: Range<usize>,
}

#[derive(Debug)]
struct Record {
    number: u64,
    /// Where its header begins in the stream.
    start: u64,
    header: RecordHeader,
    body: Bytes,
}

impl Record {
    fn end(&self) -> u64 {
        self.start + self.header.as_slice().len() as u64 + self.body.len() as u64
    }

    /// Copies what lies at `from` and after it into `out`; returns how much that was.
    fn copy(&self, from: u64, out: &mut [u8]) -> usize {
        let header = self.header.as_slice();
        let offset = (from - self.start) as usize;
        let mut copied = 0;
        if offset < header.len() {
            copied = out.len().min(header.len() - offset);
            out[..copied].copy_from_slice(&header[offset..offset + copied]);
        }
        let offset = (offset + copied).saturating_sub(header.len());
        let body = &self.body[offset..];
        let rest = (out.len() - copied).min(body.len());
        out[copied..copied + rest].copy_from_slice(&body[..rest]);
        copied + rest
    }
}

impl Stream {
    pub(crate) fn new(segment: usize) -> Self {
        Stream {
            records: VecDeque::new(),
            segments: VecDeque::new(),
            first_segment: 0,
            cut: 0,
            end: 0,
            cursor: 0,
            segment: segment.max(1),
        }
    }

    /// Begins with this segment. Nothing was cut yet.
    pub(crate) fn begin_at(&mut self, first: u64) {
        self.first_segment = first;
    }

    /// Adds a record at the end. Its `number` is above that of the one before.
    pub(crate) fn push(&mut self, number: u64, kind: RecordKind, body: Bytes) {
        let record = Record {
            number,
            start: self.end,
            header: RecordHeader::new(kind, body.len() as u64),
            body,
        };
        self.end = record.end();
        self.records.push_back(record);
    }

    /// Cuts the next segment, one that ends at `until` if it would go beyond; returns its number.
    pub(crate) fn cut(&mut self, until: Option<u64>) -> Option<u64> {
        let end = self.end.min(self.cut + self.segment as u64);
        let end = match until {
            Some(until) if until > self.cut => end.min(until),
            _ => end,
        };
        if end == self.cut {
            return None;
        }
        self.segments.push_back(self.cut);
        self.cut = end;
        Some(self.next_segment() - 1)
    }

    /// Where segment `number` lies, if it lies in the body of one record, as most do.
    pub(crate) fn place(&mut self, number: u64) -> Option<Place> {
        let (start, end) = self.span(number)?;
        let index = self.record_at(start);
        let record = self.records.get(index)?;
        let body = record.start + record.header.as_slice().len() as u64;
        if start < body || end > record.end() {
            return None;
        }
        self.cursor = index;
        Some(Place {
            record: index,
            bytes: (start - body) as usize..(end - body) as usize,
        })
    }

    /// What lies at this place, which must be of just now.
    pub(crate) fn at(&self, place: Place) -> &[u8] {
        &self.records[place.record].body[place.bytes]
    }

    /// Where segment `number` begins and ends in the stream.
    fn span(&self, number: u64) -> Option<(u64, u64)> {
        let index = usize::try_from(number.checked_sub(self.first_segment)?).ok()?;
        let start = *self.segments.get(index)?;
        Some((start, self.segments.get(index + 1).copied().unwrap_or(self.cut)))
    }

    /// Copies segment `number` into `out`, which has room for a whole one; returns its size, or `None` when it is not
    /// kept (any more, or yet).
    pub(crate) fn copy(&mut self, number: u64, out: &mut [u8]) -> Option<usize> {
        let (start, end) = self.span(number)?;
        let len = (end - start) as usize;
        let out = &mut out[..len];
        let mut record = self.record_at(start);
        let mut copied = 0;
        while copied < len {
            copied += self.records[record].copy(start + copied as u64, &mut out[copied..]);
            record += 1;
        }
        // The next segment that is asked for mostly begins where this one ends.
        self.cursor = record - 1;
        Some(len)
    }

    /// The index of the record that holds the byte at `position`.
    fn record_at(&self, position: u64) -> usize {
        for index in [self.cursor, self.cursor + 1] {
            if let Some(record) = self.records.get(index)
                && (record.start..record.end()).contains(&position)
            {
                return index;
            }
        }
        self.records.partition_point(|record| record.end() <= position)
    }

    /// Forgets all segments below `number`, and the records that ended in them.
    pub(crate) fn release(&mut self, number: u64) {
        while self.first_segment < number && self.segments.pop_front().is_some() {
            self.first_segment += 1;
        }
        let kept = self.segments.front().copied().unwrap_or(self.cut);
        while self.records.front().is_some_and(|record| record.end() <= kept) {
            self.records.pop_front();
            self.cursor = self.cursor.saturating_sub(1);
        }
    }

    /// Number of the first segment that is kept.
    pub(crate) fn first_segment(&self) -> u64 {
        self.first_segment
    }

    /// Number of the first segment that was not cut yet.
    pub(crate) fn next_segment(&self) -> u64 {
        self.first_segment + self.segments.len() as u64
    }

    /// Number of the first segment in which nothing lies before the newest record; `None` if that was not cut so far.
    pub(crate) fn first_of_newest(&self) -> Option<u64> {
        let start = self.records.back().map_or(self.end, |record| record.start);
        let before = self.segments.partition_point(|segment| *segment < start) as u64;
        (start <= self.cut).then_some(self.first_segment + before)
    }

    /// Number of the oldest record that is kept.
    pub(crate) fn oldest(&self) -> Option<u64> {
        self.records.front().map(|record| record.number)
    }

    /// Number of the oldest record of which segment `segment` or a later one holds something.
    pub(crate) fn oldest_from(&self, segment: u64) -> Option<u64> {
        let index = segment.saturating_sub(self.first_segment) as usize;
        let start = self.segments.get(index).copied().unwrap_or(self.cut);
        let index = self.records.partition_point(|record| record.end() <= start);
        self.records.get(index).map(|record| record.number)
    }

    /// Where the record ends that is cut into segments just now; `None` between two records.
    pub(crate) fn boundary(&self) -> Option<u64> {
        let index = self.records.partition_point(|record| record.end() <= self.cut);
        let record = self.records.get(index)?;
        (record.start < self.cut).then(|| record.end())
    }

    /// Number of the first record of which nothing was cut.
    pub(crate) fn first_uncut(&self) -> Option<u64> {
        self.first_after(self.cut)
    }

    /// Number of the first record that begins at `position` or after it.
    pub(crate) fn first_after(&self, position: u64) -> Option<u64> {
        let index = self.records.partition_point(|record| record.start < position);
        self.records.get(index).map(|record| record.number)
    }

    /// How far the stream was cut.
    pub(crate) fn position(&self) -> u64 {
        self.cut
    }

    /// Whether there is something to cut.
    pub(crate) fn has_uncut(&self) -> bool {
        self.cut < self.end
    }

    /// Bytes that are kept, sent or not.
    pub(crate) fn bytes(&self) -> u64 {
        self.end - self.records.front().map_or(self.end, |record| record.start)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(stream: &mut Stream, number: u64) -> Vec<u8> {
        let mut out = [0; 16];
        let len = stream.copy(number, &mut out).expect("a segment that is kept");
        out[..len].to_vec()
    }

    #[test]
    fn segments_are_full_and_may_hold_several_records() {
        let mut stream = Stream::new(8);
        for (number, body) in [(0, &b"ab"[..]), (1, b""), (5, b"cdefghijk")] {
            stream.push(number, RecordKind::Message, Bytes::from_static(body));
        }
        assert_eq!(
            [(); 4].map(|()| stream.cut(None)),
            [Some(0), Some(1), Some(2), None]
        );
        assert!(stream.place(0).is_none(), "of several records");
        assert!(stream.place(3).is_none(), "not cut yet");
        for (number, bytes) in [(2, &b"k"[..]), (1, b"cdefghij")] {
            let place = stream.place(number).expect("within one record");
            assert_eq!(stream.at(place), bytes);
        }
        assert_eq!(read(&mut stream, 0), *b"\0\x02ab\0\0\0\x09");
        assert_eq!(read(&mut stream, 2), *b"k");
        assert_eq!(read(&mut stream, 1), *b"cdefghij");
        assert_eq!(stream.copy(3, &mut [0; 8]), None);
        assert_eq!(
            [0, 1, 3].map(|segment| stream.oldest_from(segment)),
            [Some(0), Some(5), None]
        );
        stream.release(1);
        assert_eq!((stream.oldest(), stream.copy(0, &mut [0; 8])), (Some(5), None));
        assert_eq!(read(&mut stream, 1), *b"cdefghij");
        stream.release(3);
        assert_eq!(
            (stream.bytes(), stream.oldest(), stream.first_segment()),
            (0, None, 3)
        );
    }

    #[test]
    fn what_comes_before_the_newest_record_ends_with_a_segment() {
        let mut stream = Stream::new(8);
        stream.begin_at(100);
        stream.push(0, RecordKind::Message, Bytes::from_static(b"0123456789"));
        assert_eq!(stream.first_of_newest(), Some(100));
        stream.push(1, RecordKind::End, Bytes::new());
        assert_eq!(stream.cut(None), Some(100));
        assert_eq!(stream.first_of_newest(), None);
        assert_eq!(stream.cut(None), Some(101));
        assert_eq!((stream.position(), stream.first_of_newest()), (14, Some(102)));
        stream.release(102);
        assert_eq!(
            (stream.first_of_newest(), stream.next_segment()),
            (Some(102), 102)
        );
    }

    #[test]
    fn a_cut_can_end_where_a_record_does() {
        let mut stream = Stream::new(8);
        stream.push(0, RecordKind::Message, Bytes::from_static(b"0123456789"));
        assert_eq!(stream.boundary(), None);
        stream.cut(None);
        let boundary = stream.boundary();
        assert_eq!(boundary, Some(12));
        stream.push(1, RecordKind::Message, Bytes::from_static(b"next"));
        assert_eq!(stream.cut(boundary), Some(1));
        assert_eq!((stream.position(), stream.boundary()), (12, None));
        assert_eq!(read(&mut stream, 1), *b"6789");
        assert_eq!(stream.cut(boundary), Some(2));
        assert_eq!(read(&mut stream, 2), *b"\0\x04next");
        assert!(!stream.has_uncut());
    }
}
