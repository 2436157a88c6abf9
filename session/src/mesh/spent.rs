//! Tags that nobody will ask for any more in an epoch.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use super::header::Key;

/// Tags of one epoch whose messages are thrown away as they come.
///
/// An application that numbers its operations gives up all numbers below one, again and again, and after the highest
/// number begins anew. So ranges are not only added up: within each block of 2^32 tags a new range takes the place of
/// those that overlap it or begin behind it. Single tags are added.
#[derive(Debug, Default)]
pub(super) struct Spent {
    epoch: u32,
    /// First and last; they do not overlap.
    ranges: BTreeMap<u64, u64>,
}

impl Spent {
    /// Ranges that are remembered. What does not fit has no lasting effect.
    const LIMIT: usize = 4096;
    /// The bits of a tag that tell within a block.
    const WITHIN: u64 = u32::MAX as u64;

    pub(super) fn contains(&self, key: Key) -> bool {
        let before = self.ranges.range(..=key.tag).next_back();
        key.epoch == self.epoch && before.is_some_and(|(_, last)| *last >= key.tag)
    }

    /// Gives tags up; those of earlier epochs are forgotten.
    pub(super) fn add(&mut self, epoch: u32, tags: &RangeInclusive<u64>) {
        let (mut first, mut last) = (*tags.start(), *tags.end());
        if first > last || epoch < self.epoch {
            return;
        }
        if epoch > self.epoch {
            self.epoch = epoch;
            self.ranges.clear();
        }
        let before = self.ranges.range(..=first).next_back();
        if before.is_some_and(|(_, end)| *end >= last) {
            return;
        }
        if first == last {
            // One by one they become long ranges, too.
            if let Some((start, _)) = before.filter(|(_, end)| *end + 1 == first && first & Self::WITHIN > 0)
            {
                first = *start;
            }
            if let Some(end) = (last & Self::WITHIN < Self::WITHIN)
                .then(|| self.ranges.remove(&(last + 1)))
                .flatten()
            {
                last = end;
            }
        } else {
            let block = last | Self::WITHIN;
            self.ranges.retain(|start, end| *end < first || *start > block);
        }
        if self.ranges.len() < Self::LIMIT || self.ranges.contains_key(&first) {
            self.ranges.insert(first, last);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(spent: &Spent) -> Vec<(u64, u64)> {
        spent.ranges.iter().map(|(first, last)| (*first, *last)).collect()
    }

    #[test]
    fn numbers_that_grow_are_one_range_also_when_they_begin_anew() {
        const HALF: u64 = 1 << 31;
        const MAX: u64 = u32::MAX as u64;
        let mut spent = Spent::default();
        let block = 7 << 32;
        let mut give_up = |end: u64| {
            // All numbers below this one, which are half of those that there are.
            let (first, last) = (end.wrapping_sub(HALF) & MAX, end.wrapping_sub(1) & MAX);
            let runs = match first <= last {
                true => vec![(first, last)],
                false => vec![(0, last), (first, MAX)],
            };
            for (first, last) in &runs {
                spent.add(1, &(block + first..=block + last));
            }
            let kept: Vec<_> = of(&spent)
                .into_iter()
                .map(|(first, last)| (first - block, last - block))
                .collect();
            assert_eq!(kept, runs, "below {end}");
        };
        for end in [
            1,
            2,
            64,
            1000,
            HALF - 1,
            HALF,
            HALF + 1,
            HALF + 64,
            MAX - 5,
            MAX,
            0,
            2,
            9,
        ] {
            give_up(end);
        }
    }

    #[test]
    fn single_tags_add_up() {
        let mut spent = Spent::default();
        for tag in [5, 9, 7, 6, 6, 1 << 32, u64::from(u32::MAX)] {
            spent.add(1, &(tag..=tag));
        }
        assert_eq!(
            of(&spent),
            [(5, 7), (9, 9), (Spent::WITHIN, Spent::WITHIN), (1 << 32, 1 << 32)]
        );
        spent.add(1, &(8..=8));
        assert_eq!(of(&spent)[0], (5, 9));
        for (tag, is_in) in [(4, false), (5, true), (9, true), (10, false)] {
            assert_eq!(spent.contains(Key { epoch: 1, tag }), is_in);
            assert!(!spent.contains(Key { epoch: 2, tag }));
        }
        spent.add(1, &(u64::MAX..=u64::MAX));
        spent.add(1, &(u64::MAX - 1..=u64::MAX - 1));
        assert_eq!(of(&spent).last(), Some(&(u64::MAX - 1, u64::MAX)));
        spent.add(2, &(0..=0));
        assert_eq!(of(&spent), [(0, 0)]);
        spent.add(1, &(1..=1));
        assert_eq!(of(&spent), [(0, 0)], "an epoch that is over");
    }

    #[test]
    fn they_are_bounded() {
        let mut spent = Spent::default();
        for tag in 0..2 * Spent::LIMIT as u64 {
            spent.add(1, &(2 * tag..=2 * tag));
        }
        assert_eq!(spent.ranges.len(), Spent::LIMIT);
    }
}
