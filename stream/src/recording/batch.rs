//! Encoded blocks on their way to a file: short bytes together, long ones shared.

use std::io::{self, IoSlice};
use std::ops::Range;

use bytes::Bytes;

/// Bytes to be written in order, as few pieces as possible: short ones are copied side by side, long ones stay where
/// they are.
#[derive(Debug, Default)]
pub struct Batch {
    copied: Vec<u8>,
    pieces: Vec<Piece>,
    len: u64,
}

#[derive(Debug)]
enum Piece {
    // A part of `copied`.
    Copied(Range<usize>),
    Shared(Bytes),
}

impl Batch {
    // The kernel takes at most 1024 pieces at once (IOV_MAX).
    const MAX_SLICES: usize = 1024;

    /// An empty batch.
    #[must_use]
    pub fn new() -> Self {
        Batch::default()
    }

    /// Bytes of all pieces.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether there is nothing to write.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Forgets everything, and keeps the memory for the next use.
    pub fn clear(&mut self) {
        self.copied.clear();
        self.pieces.clear();
        self.len = 0;
    }

    /// The pieces, in order.
    pub fn pieces(&self) -> impl Iterator<Item = &[u8]> {
        self.pieces.iter().map(|piece| match piece {
            Piece::Copied(range) => &self.copied[range.clone()],
            Piece::Shared(bytes) => bytes,
        })
    }

    /// All pieces as one.
    #[must_use]
    pub fn to_vec(&self) -> Vec<u8> {
        self.pieces().flatten().copied().collect()
    }

    /// Adds a copy of `bytes`, and says where it lies, for [`copied_mut`](Self::copied_mut).
    pub(super) fn copy(&mut self, bytes: &[u8]) -> Range<usize> {
        let range = self.copied.len()..self.copied.len() + bytes.len();
        self.copied.extend_from_slice(bytes);
        self.len += bytes.len() as u64;
        match self.pieces.last_mut() {
            Some(Piece::Copied(last)) => last.end = range.end,
            _ => self.pieces.push(Piece::Copied(range.clone())),
        }
        range
    }

    /// Adds `bytes` as they are.
    pub(super) fn share(&mut self, bytes: Bytes) {
        self.len += bytes.len() as u64;
        self.pieces.push(Piece::Shared(bytes));
    }

    /// Where copies lie.
    pub(super) fn copied(&self) -> &[u8] {
        &self.copied
    }

    /// As [`copied`](Self::copied), to fill in what was not known yet.
    pub(super) fn copied_mut(&mut self) -> &mut [u8] {
        &mut self.copied
    }

    /// Hands everything to `write`, which takes what it can of the slices and says how much that was.
    pub(super) fn write_with(
        &self,
        mut write: impl FnMut(&[IoSlice<'_>]) -> io::Result<usize>,
    ) -> io::Result<()> {
        let mut pieces = self.pieces().map(IoSlice::new).filter(|slice| !slice.is_empty());
        loop {
            let mut slices: Vec<IoSlice<'_>> = pieces.by_ref().take(Self::MAX_SLICES).collect();
            if slices.is_empty() {
                return Ok(());
            }
            let mut rest = &mut slices[..];
            while !rest.is_empty() {
                match write(rest) {
                    Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                    Ok(written) => IoSlice::advance_slices(&mut rest, written),
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) => return Err(error),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_keep_their_order_and_short_writes_go_on() {
        let mut batch = Batch::new();
        let mut expected = Vec::new();
        for n in 0..3_000_u32 {
            let bytes = n.to_le_bytes();
            expected.extend(bytes);
            if n % 3 == 0 {
                batch.share(Bytes::copy_from_slice(&bytes));
            } else {
                batch.copy(&bytes);
            }
        }
        batch.copy(&[]);
        assert_eq!(
            (batch.len(), batch.to_vec()),
            (expected.len() as u64, expected.clone())
        );
        for most in [1, 5, 4096, usize::MAX] {
            let (mut out, mut calls) = (Vec::new(), 0);
            let written = batch.write_with(|slices| {
                assert!(slices.len() <= Batch::MAX_SLICES);
                calls += 1;
                if calls % 7 == 0 {
                    return Err(io::ErrorKind::Interrupted.into());
                }
                let before = out.len();
                out.extend(slices.iter().flat_map(|slice| slice.iter().copied()).take(most));
                Ok(out.len() - before)
            });
            assert!(written.is_ok());
            assert_eq!(out, expected);
        }
        batch.clear();
        assert!(batch.is_empty() && batch.write_with(|_| unreachable!()).is_ok());
    }
}
