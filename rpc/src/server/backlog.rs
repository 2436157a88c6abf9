//! Answers of one connection that have not left yet, without any I/O.

use std::collections::VecDeque;

use flexbond_transport::Message;

/// Answers of one connection that have not left yet: those in the socket's queue, which is bounded in messages, and
/// those that it had no room for.
///
/// The socket says how many messages wait, but not how large they are: this remembers the large ones.
#[derive(Debug, Default)]
pub(super) struct Backlog {
    kept: VecDeque<Message>,
    kept_bytes: usize,
    /// Messages ever handed to the socket.
    handed: u64,
    /// Of these, the large ones that have not left as far as is known: which, and how many bytes.
    large: VecDeque<(u64, usize)>,
    large_bytes: usize,
    /// How many large ones were left when it was last seen which have left.
    seen: usize,
}

impl Backlog {
    /// So many large ones are remembered before it is seen which have left.
    const FEW: usize = 64;
    /// What is smaller is not counted in the socket's queue: a thousand of these are four megabytes.
    const LARGE: usize = 4 << 10;

    /// Bytes that wait, as far as they count.
    pub(super) fn bytes(&self) -> usize {
        self.kept_bytes + self.large_bytes
    }

    /// Messages that the socket's queue had no room for.
    pub(super) fn len(&self) -> usize {
        self.kept.len()
    }

    /// A message was handed to the socket, where `waiting` tells how many wait now.
    pub(super) fn hand(&mut self, size: usize, waiting: impl FnOnce() -> usize) {
        self.handed += 1;
        if size >= Self::LARGE {
            self.large.push_back((self.handed, size));
            self.large_bytes += size;
            // Each time there are twice as many: of a peer that reads, few are remembered, and it costs next to nothing.
            if self.large.len() >= Self::FEW.max(2 * self.seen) {
                self.left(waiting());
            }
        }
    }

    /// Of the messages that were handed to the socket, only the last `waiting` still wait.
    pub(super) fn left(&mut self, waiting: usize) {
        let gone = self.handed.saturating_sub(waiting as u64);
        while let Some(&(number, size)) = self.large.front()
            && number <= gone
        {
            self.large.pop_front();
            self.large_bytes -= size;
        }
        self.seen = self.large.len();
        if self.seen == 0 && self.large.capacity() > 2 * Self::FEW {
            // A burst is no reason to hold its memory.
            self.large = VecDeque::new();
        }
    }

    /// The socket's queue has no room for a message.
    pub(super) fn keep(&mut self, message: Message) {
        self.kept_bytes += message.size();
        self.kept.push_back(message);
    }

    /// The next one to hand to the socket.
    pub(super) fn pop(&mut self) -> Option<Message> {
        let message = self.kept.pop_front()?;
        self.kept_bytes -= message.size();
        if self.kept.is_empty() {
            // A burst is no reason to hold its memory.
            self.kept = VecDeque::new();
        }
        Some(message)
    }

    /// It had no room after all.
    pub(super) fn undo(&mut self, message: Message) {
        self.kept_bytes += message.size();
        self.kept.push_front(message);
    }

    /// Forgets all; returns how many messages were not handed to the socket.
    pub(super) fn clear(&mut self) -> usize {
        std::mem::take(self).kept.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_messages_count_until_they_have_left() {
        let mut backlog = Backlog::default();
        for size in [10_000, 1, 20_000] {
            backlog.hand(size, || unreachable!("there are few"));
        }
        assert_eq!(backlog.bytes(), 30_000);
        backlog.left(3);
        assert_eq!(backlog.bytes(), 30_000);
        backlog.left(2);
        assert_eq!(backlog.bytes(), 20_000);
        backlog.left(1);
        assert_eq!(backlog.bytes(), 20_000);
        backlog.left(0);
        assert_eq!(backlog.bytes(), 0);
        // More than was handed to it: the socket's own.
        backlog.left(9);
    }

    #[test]
    fn of_a_peer_that_reads_few_are_remembered() {
        let mut backlog = Backlog::default();
        for handed in 1..=100_000_usize {
            backlog.hand(Backlog::LARGE, || handed.min(3));
            assert!(backlog.large.len() <= Backlog::FEW, "{handed}");
        }
        // Of one that does not, all; and that is asked rarely.
        let mut backlog = Backlog::default();
        let mut asked = 0;
        for handed in 1..=100_000_usize {
            backlog.hand(Backlog::LARGE, || {
                asked += 1;
                handed
            });
        }
        assert_eq!(backlog.large.len(), 100_000);
        assert!(asked < 20, "{asked}");
        backlog.left(0);
        assert_eq!((backlog.bytes(), backlog.large.capacity()), (0, 0));
    }

    #[test]
    fn what_is_kept_counts_whole_and_comes_in_order() {
        let mut backlog = Backlog::default();
        for text in ["one", "three", "fifth"] {
            backlog.keep(Message::from(text));
        }
        assert_eq!((backlog.len(), backlog.bytes()), (3, 13));
        let one = backlog.pop().unwrap();
        assert_eq!((one == "one".into(), backlog.bytes()), (true, 10));
        backlog.undo(one);
        assert_eq!((backlog.len(), backlog.bytes()), (3, 13));
        assert_eq!(backlog.pop(), Some("one".into()));
        assert_eq!(backlog.clear(), 2);
        assert_eq!((backlog.len(), backlog.bytes()), (0, 0));
    }
}
