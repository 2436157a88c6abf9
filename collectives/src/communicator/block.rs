//! Blocks of slices: which is whose, and several of them at once.

use std::ops::Range;

/// The part of a value of `len` elements that belongs to rank `rank` of `size`, where the first ranks have one more
/// when they do not come out even.
pub(crate) fn block(len: usize, size: usize, rank: usize) -> Range<usize> {
    let start = |rank: usize| len / size * rank + rank.min(len % size);
    start(rank)..start(rank + 1)
}

/// Several parts of a slice at once. They are disjoint or empty.
pub(crate) fn parts<T, const N: usize>(slice: &mut [T], ranges: [Range<usize>; N]) -> [&mut [T]; N] {
    // An empty range within another would count as an overlap.
    let ranges = ranges.map(|range| if range.is_empty() { 0..0 } else { range });
    match slice.get_disjoint_mut(ranges) {
        Ok(parts) => parts,
        // A mistake in an algorithm, not in what a peer sent: ranges come from schedules.
        Err(error) => unreachable!("the ranges of a step overlap: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_cover_everything_once() {
        for size in 1..10 {
            for len in 0..30 {
                let ends: Vec<_> = (0..size).map(|rank| block(len, size, rank)).collect();
                assert_eq!((ends[0].start, ends[size - 1].end), (0, len));
                assert!(ends.windows(2).all(|pair| pair[0].end == pair[1].start));
                assert!(ends.iter().all(|range| range.len().abs_diff(len / size) <= 1));
            }
        }
    }

    #[test]
    fn parts_may_be_empty_anywhere() {
        let mut slice = [0, 1, 2, 3];
        let [first, none, last] = parts(&mut slice, [1..3, 2..2, 3..4]);
        assert_eq!((&*first, &*none, &*last), (&[1, 2][..], &[][..], &[3][..]));
    }
}
