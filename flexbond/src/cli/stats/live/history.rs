//! The last values of a number that changes.

use std::collections::VecDeque;

/// The last values, a bounded number of them.
#[derive(Default)]
pub(super) struct History {
    values: VecDeque<u64>,
}

impl History {
    /// As many as fit side by side into a very wide terminal.
    const LENGTH: usize = 1024;

    pub(super) fn push(&mut self, value: u64) {
        if self.values.len() == Self::LENGTH {
            self.values.pop_front();
        }
        self.values.push_back(value);
    }

    /// The last `count` values, oldest first.
    pub(super) fn last(&self, count: usize) -> impl Iterator<Item = u64> {
        let skipped = self.values.len().saturating_sub(count);
        self.values.iter().skip(skipped).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_values_are_kept() {
        let mut history = History::default();
        assert_eq!(history.last(5).count(), 0);
        (0..3000).for_each(|value| history.push(value));
        assert_eq!(history.last(3).collect::<Vec<_>>(), [2997, 2998, 2999]);
        assert_eq!(history.last(9999).count(), History::LENGTH);
    }
}
