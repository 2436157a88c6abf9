//! What was sent lately, counted in messages where a session counts pieces.

use std::collections::VecDeque;
use std::ops::Range;

/// Which pieces of what was sent belong together.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    /// What was sent so far: whole messages, and pieces of larger ones.
    sent: u64,
    /// Where those are among it that were sent in pieces, as long as they may not be delivered.
    large: VecDeque<Range<u64>>,
    /// The last of them is not all sent.
    is_open: bool,
}

impl Ledger {
    /// A message was sent as a whole.
    pub(super) fn note_whole(&mut self) {
        self.sent += 1;
    }

    /// A message is about to be sent in pieces; so many of all there were are not delivered.
    pub(super) fn begin(&mut self, undelivered: u64) {
        let delivered = self.sent.saturating_sub(undelivered);
        while self.large.front().is_some_and(|large| large.end <= delivered) {
            self.large.pop_front();
        }
        self.large.push_back(self.sent..self.sent);
        self.is_open = true;
    }

    /// A piece of it was sent.
    pub(super) fn note_piece(&mut self) {
        self.sent += 1;
        if let Some(large) = self.large.back_mut() {
            large.end = self.sent;
        }
    }

    /// All of it was sent, or the rest will not be.
    pub(super) fn end(&mut self) {
        self.is_open = false;
    }

    /// How many messages it is that are not delivered when so many pieces and whole ones are not.
    pub(super) fn messages(&self, undelivered: u64) -> u64 {
        let delivered = self.sent.saturating_sub(undelivered);
        let (mut messages, mut pieces) = (0, 0);
        for large in self.large.iter().filter(|large| large.end > delivered) {
            messages += 1;
            pieces += large.end - large.start.max(delivered);
        }
        let whole = undelivered.min(self.sent).saturating_sub(pieces);
        // Of one that is not all sent, everything that was may have been delivered.
        let is_left = self.is_open && self.large.back().is_some_and(|large| large.end <= delivered);
        whole + messages + u64::from(is_left)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn large(ledger: &mut Ledger, pieces: u64, undelivered: u64) {
        ledger.begin(undelivered);
        (0..pieces).for_each(|_| ledger.note_piece());
        ledger.end();
    }

    #[test]
    fn pieces_of_one_message_are_one() {
        let mut ledger = Ledger::default();
        ledger.note_whole();
        large(&mut ledger, 5, 1);
        ledger.note_whole();
        large(&mut ledger, 3, 7);
        // Of 1, 5 pieces, 1 and 3 pieces.
        let expected = [0, 1, 1, 1, 2, 3, 3, 3, 3, 3, 4, 4];
        for (undelivered, messages) in (0..).zip(expected) {
            assert_eq!(ledger.messages(undelivered), messages, "{undelivered}");
        }
    }

    #[test]
    fn what_is_not_all_sent_is_not_delivered() {
        let mut ledger = Ledger::default();
        ledger.begin(0);
        assert_eq!(ledger.messages(0), 1);
        ledger.note_piece();
        assert_eq!([ledger.messages(0), ledger.messages(1)], [1, 1]);
        ledger.end();
        assert_eq!([ledger.messages(0), ledger.messages(1)], [0, 1]);
    }

    #[test]
    fn what_is_delivered_is_forgotten() {
        let mut ledger = Ledger::default();
        (0..1000).for_each(|_| large(&mut ledger, 4, 8));
        assert!(ledger.large.len() <= 4, "{}", ledger.large.len());
    }
}
