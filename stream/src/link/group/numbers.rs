//! What of each sender's messages did not come.

use std::collections::BTreeMap;

use flexbond_session::group::MemberId;

/// Which message of each sender comes next.
///
/// A session leaves messages out for who is too slow, and says so only where one was cut off; their numbers tell how
/// many. What a sender sent before its first message came was not for this end.
#[derive(Debug, Default)]
pub(super) struct Numbers(BTreeMap<MemberId, u64>);

impl Numbers {
    /// Senders that are known, at most. Those who came first are forgotten first: most likely they are gone.
    const SENDERS: usize = 4096;

    /// A message has begun to come. Returns how many of the same sender were left out before it.
    pub(super) fn handle(&mut self, from: MemberId, number: u64) -> u64 {
        let expected = self.0.insert(from, number.wrapping_add(1));
        if self.0.len() > Self::SENDERS {
            self.0.pop_first();
        }
        expected.map_or(0, |expected| number.saturating_sub(expected))
    }

    /// The session is over: others may have the same names in the next one.
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: MemberId = MemberId::COORDINATOR;

    #[test]
    fn what_is_left_out_is_counted() {
        let mut numbers = Numbers::default();
        let left_out = [7, 8, 9, 12, 13, 14, 114].map(|number| numbers.handle(A, number));
        assert_eq!(left_out, [0, 0, 0, 2, 0, 0, 99]);
    }

    #[test]
    fn whoever_comes_anew_begins_anew() {
        let mut numbers = Numbers::default();
        numbers.handle(A, 5);
        numbers.clear();
        assert_eq!(numbers.handle(A, 100), 0);
        // No sender does this, and it does no harm.
        assert_eq!(
            [3, u64::MAX, 0].map(|number| numbers.handle(A, number)),
            [0, u64::MAX - 4, 0]
        );
    }
}
