//! Runs of numbers, as reports of missing segments hold them.

/// `len` numbers from `start` on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Run {
    pub(crate) start: u64,
    pub(crate) len: u16,
}

impl Run {
    pub(crate) fn numbers(self) -> impl Iterator<Item = u64> {
        (0..u64::from(self.len)).map_while(move |offset| self.start.checked_add(offset))
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
            all.iter().flat_map(|run| run.numbers()).collect::<Vec<_>>(),
            numbers
        );
        assert_eq!(all.len(), 3);
        assert_eq!(runs(numbers.into_iter(), 2), all[..2]);
        assert_eq!(runs(0..70_000, 2).len(), 2);
    }
}
