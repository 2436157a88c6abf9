//! Bytes on their way past the page cache: where they lie in memory is as aligned as where they go in the file.

use std::ops::Range;

/// A buffer of fixed size for the end of a file.
///
/// A byte at a multiple of the alignment in the file lies at a multiple of it in memory, so that whole blocks can be
/// written from here directly.
#[derive(Debug)]
pub(super) struct AlignedBuffer {
    // A bit larger than the buffer, which begins at `base`.
    memory: Vec<u8>,
    base: usize,
    len: usize,
    align: usize,
    // What is waiting, counted from `base`.
    waiting: Range<usize>,
}

/// What can be written next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Run<'a> {
    /// Up to the next whole block.
    Head(&'a [u8]),
    /// Whole blocks.
    Blocks(&'a [u8]),
}

impl AlignedBuffer {
    /// `align` is a power of two, and `len` a multiple of it, at least twice as large.
    pub(super) fn new(len: usize, align: usize) -> Self {
        let memory = vec![0; len + align];
        // What cannot be aligned is only slower, or refused by the kernel; no system has that.
        let base = memory.as_ptr().align_offset(align).min(align);
        AlignedBuffer {
            memory,
            base,
            len,
            align,
            waiting: 0..0,
        }
    }

    /// Forgets what waits, and begins at `offset` of the file.
    pub(super) fn begin(&mut self, offset: u64) {
        let from = (offset % self.align as u64) as usize;
        self.waiting = from..from;
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Whether something has to be written before more can be taken.
    pub(super) fn is_full(&self) -> bool {
        self.waiting.end == self.len
    }

    /// Takes what there is room for, and says how much that was.
    pub(super) fn take(&mut self, bytes: &[u8]) -> usize {
        let taken = bytes.len().min(self.len - self.waiting.end);
        let to = self.base + self.waiting.end;
        self.memory[to..to + taken].copy_from_slice(&bytes[..taken]);
        self.waiting.end += taken;
        taken
    }

    /// All that waits.
    pub(super) fn waiting(&self) -> &[u8] {
        self.at(self.waiting.clone())
    }

    /// What can be written of it without leaving a block half written.
    pub(super) fn run(&self) -> Option<Run<'_>> {
        let Range { start, end } = self.waiting;
        let block = start.next_multiple_of(self.align);
        let last = end - end % self.align;
        match block <= end && start < block {
            true => Some(Run::Head(self.at(start..block))),
            false if start < last => Some(Run::Blocks(self.at(start..last))),
            false => None,
        }
    }

    /// So many bytes from the front are written.
    pub(super) fn advance(&mut self, written: usize) {
        self.waiting.start = self.waiting.end.min(self.waiting.start + written);
    }

    /// Has what comes after the last whole block wait in `next`, which begins there and is as large.
    pub(super) fn move_tail(&mut self, next: &mut AlignedBuffer) {
        let Range { start, end } = self.waiting;
        let last = start.max(end - end % self.align);
        next.take(self.at(last..end));
        self.waiting.end = last;
    }

    fn at(&self, range: Range<usize>) -> &[u8] {
        &self.memory[self.base + range.start..self.base + range.end]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_aligned_in_memory_as_in_the_file() {
        for offset in [0, 1, 511, 512, 700, 1_024 + 13] {
            let mut buffer = AlignedBuffer::new(2_048, 512);
            buffer.begin(offset);
            let bytes: Vec<u8> = (0..6_000_u32).map(|n| n as u8 ^ (n >> 8) as u8).collect();
            let (mut rest, mut written) = (&bytes[..], Vec::new());
            while !rest.is_empty() {
                let taken = buffer.take(&rest[..rest.len().min(700)]);
                rest = &rest[taken..];
                if !buffer.is_full() {
                    continue;
                }
                while let Some(run) = buffer.run() {
                    let at = offset as usize + written.len();
                    let run = match run {
                        Run::Head(bytes) => {
                            assert_eq!((at + bytes.len()) % 512, 0);
                            bytes
                        }
                        Run::Blocks(bytes) => {
                            assert_eq!(
                                (at % 512, bytes.as_ptr().addr() % 512, bytes.len() % 512),
                                (0, 0, 0)
                            );
                            // As when the disk takes only a part.
                            &bytes[..512]
                        }
                    };
                    written.extend_from_slice(run);
                    let len = run.len();
                    buffer.advance(len);
                }
                assert!(buffer.waiting().len() < 512);
                let mut next = AlignedBuffer::new(2_048, 512);
                next.begin(offset + written.len() as u64);
                buffer.move_tail(&mut next);
                assert!(buffer.is_empty() && !next.is_full());
                buffer = next;
            }
            written.extend_from_slice(buffer.waiting());
            assert_eq!(written, bytes, "{offset}");
        }
    }
}
