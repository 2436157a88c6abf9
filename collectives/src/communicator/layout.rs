//! Where each rank's part is in a slice that holds those of all, and whether slices are as long as they should be.

use std::ops::Range;

use super::channel::Channel;
use crate::error::CollectiveError;
use crate::fabric::Fabric;

/// Where each rank's part is among all, in bytes. Only the root knows, and asks.
pub(super) enum Layout {
    /// All are as long.
    Equal(usize),
    /// One after the other.
    Counted(Vec<Range<usize>>),
}

impl Layout {
    /// Of parts as long as `mine`, which all together are `all` elements long at the root.
    pub(super) fn equal<T, F: Fabric>(
        channel: &Channel<'_, F>,
        root: usize,
        mine: &[T],
        all: &[T],
    ) -> Result<Self, CollectiveError> {
        channel.check_rank(root)?;
        if channel.rank() == root {
            expect_len("all", all.len(), mine.len().saturating_mul(channel.size()))?;
        }
        Ok(Layout::Equal(size_of_val(mine)))
    }

    /// Of parts of which the root has counted the elements.
    pub(super) fn counted<T, F: Fabric>(
        channel: &Channel<'_, F>,
        root: usize,
        mine: &[T],
        counts: &[usize],
        all: &[T],
    ) -> Result<Self, CollectiveError> {
        channel.check_rank(root)?;
        let mut ranges = Vec::new();
        if channel.rank() == root {
            ranges = byte_ranges::<T>(counts, channel.size(), all.len())?;
            expect_len("mine", mine.len(), counts[root])?;
        }
        Ok(Layout::Counted(ranges))
    }

    pub(super) fn range(&self, rank: usize) -> Range<usize> {
        match self {
            Layout::Equal(len) => rank * len..(rank + 1) * len,
            Layout::Counted(ranges) => ranges[rank].clone(),
        }
    }
}

/// Checks the length of an argument.
pub(super) fn expect_len(what: &'static str, found: usize, expected: usize) -> Result<(), CollectiveError> {
    if found == expected {
        Ok(())
    } else {
        Err(CollectiveError::Argument {
            what,
            expected,
            found,
        })
    }
}

/// Where each rank's elements are among all, in bytes, when they lie one after the other.
pub(super) fn byte_ranges<T>(
    counts: &[usize],
    size: usize,
    len: usize,
) -> Result<Vec<Range<usize>>, CollectiveError> {
    expect_len("counts", counts.len(), size)?;
    let total = counts
        .iter()
        .fold(0, |sum: usize, count| sum.saturating_add(*count));
    expect_len("the slice of all ranks' elements", len, total)?;
    let mut end = 0;
    Ok(counts
        .iter()
        .map(|count| {
            // No overflow: the sum of the counts is the length of a slice.
            let start = end;
            end += count * size_of::<T>();
            start..end
        })
        .collect())
}

/// The ranks of a subtree that begins with rank `first` and has `count` members, counted round: two runs, of which the
/// second is empty where they do not wrap around.
pub(super) fn round_runs(first: usize, count: usize, size: usize) -> [Range<usize>; 2] {
    let end = (first + count).min(size);
    [first..end, 0..first + count - end]
}
