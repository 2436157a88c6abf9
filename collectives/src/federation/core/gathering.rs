//! The memory that pieces of a message are laid end to end in.

#[cfg_attr(
    not(all(target_os = "linux", target_pointer_width = "64")),
    path = "gathering/unmapped.rs"
)]
mod mapped;

use std::sync::Arc;

use bytes::{Bytes, BytesMut};

pub(crate) use self::mapped::Kept;
use self::mapped::Mapped;

/// As much has to be here before addresses for more are reserved.
const LARGE: usize = 8 << 20;

/// A part of a message, of which some has come.
///
/// Memory is taken for what has come, not for what was announced: that need not come. It doubles when it is full. Once
/// 8 MiB are here, the addresses of all of it are reserved at once, and the system gives memory as they are written, in
/// huge pages where it can; or it is the memory of the last one. To get small pages one by one was half of what a receiver
/// did.
#[derive(Debug, Default)]
pub(super) struct Gathering {
    grown: BytesMut,
    mapped: Option<Mapped>,
}

impl Gathering {
    /// How many bytes have come.
    pub(super) fn len(&self) -> usize {
        self.mapped.as_ref().map_or(self.grown.len(), Mapped::len)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The memory that was taken.
    #[cfg(any(test, fuzzing))]
    pub(super) fn room(&self) -> usize {
        self.mapped.as_ref().map_or(self.grown.capacity(), Mapped::len)
    }

    /// Adds a piece. All that is added has at most `len` bytes.
    pub(super) fn add(&mut self, piece: &[u8], len: usize, kept: &Arc<Kept>) {
        if self.mapped.is_none() && len >= 2 * LARGE {
            self.mapped = match self.grown.len() {
                // What is there already costs nothing.
                0 => Mapped::again(len, kept),
                1..LARGE => None,
                _ => Mapped::new(len, kept),
            };
            if let Some(mapped) = &mut self.mapped {
                mapped.add(&std::mem::take(&mut self.grown));
            }
        }
        if let Some(mapped) = &mut self.mapped {
            return mapped.add(piece);
        }
        let grown = &mut self.grown;
        if piece.len() > grown.capacity() - grown.len() {
            let more = grown.len().max(piece.len()).min(len - grown.len());
            grown.reserve(more);
        }
        grown.extend_from_slice(piece);
    }

    /// What has come; it is empty then.
    pub(super) fn take(&mut self) -> Bytes {
        match self.mapped.take() {
            Some(mapped) => mapped.freeze(),
            None => std::mem::take(&mut self.grown).freeze(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gather(all: &Bytes, piece: usize, kept: &Arc<Kept>) -> Bytes {
        let mut gathering = Gathering::default();
        for piece in all.chunks(piece) {
            gathering.add(piece, all.len(), kept);
            let most = (2 * gathering.len()).max(64);
            assert!(gathering.room() <= most, "{} of {}", gathering.room(), all.len());
        }
        let whole = gathering.take();
        assert!(gathering.is_empty());
        whole
    }

    fn bytes(len: usize, first: usize) -> Bytes {
        (first..first + len).map(|at| (at % 251) as u8).collect()
    }

    #[test]
    fn pieces_of_all_sizes_are_laid_end_to_end() {
        let kept = Arc::default();
        for (len, piece) in [(10, 3), (100_000, 999), (17 << 20, (1 << 20) - 1)] {
            let all = bytes(len, 0);
            assert!(gather(&all, piece, &kept) == all);
        }
    }

    #[test]
    fn memory_is_used_again_when_nobody_has_it() {
        let kept = Arc::<Kept>::default();
        let all = [bytes(17 << 20, 0), bytes(16 << 20, 7)];
        let first = gather(&all[0], 1 << 20, &kept);
        let second = gather(&all[1], 1 << 20, &kept);
        assert!(first == all[0] && second == all[1]);
        drop(first);
        let third = gather(&all[1], 1 << 20, &kept);
        drop(second);
        assert!(third == all[1]);
        drop(kept);
        assert!(third == all[1]);
    }
}
