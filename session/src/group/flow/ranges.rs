//! Runs of numbers, as reports of missing segments hold them.

use std::ops::Range;

/// `len` numbers from `start` on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Run {
    pub(crate) start: u64,
    pub(crate) len: u16,
}

impl Run {
    /// Those of its numbers that are in `range`: a run that somebody sends may be of any length.
    pub(crate) fn numbers_in(self, range: Range<u64>) -> impl Iterator<Item = u64> {
        let end = self.start.saturating_add(self.len.into());
        self.start.max(range.start)..end.min(range.end)
    }
}

/// Gathers ascending numbers into at most `limit` runs; what does not fit is left out.
pub(crate) fn runs(numbers: impl Iterator<Item = u64>, limit: usize) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::new();
    for number in numbers {
        let full = runs.len() == limit;
        match runs.last_mut() {
            Some(run) if run.start + u64::from(run.len) == number && run.len < u16::MAX => run.len += 1,
            _ if full => break,
            _ => runs.push(Run {
                start: number,
                len: 1,
            }),
        }
    }
    runs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_make_one_run() {
        let numbers = [1, 2, 3, 7, 9, 10];
        let all = runs(numbers.into_iter(), 8);
        assert_eq!(
            all.iter()
                .flat_map(|run| run.numbers_in(0..100))
                .collect::<Vec<_>>(),
            numbers
        );
        let some = all.iter().flat_map(|run| run.numbers_in(3..10));
        assert_eq!(some.collect::<Vec<_>>(), [3, 7, 9]);
        let last = Run {
            start: u64::MAX - 1,
            len: 9,
        };
        assert_eq!(last.numbers_in(0..u64::MAX).count(), 1);
        assert_eq!(all.len(), 3);
        assert_eq!(runs(numbers.into_iter(), 2), all[..2]);
        assert_eq!(runs(0..70_000, 2).len(), 2);
    }
}
