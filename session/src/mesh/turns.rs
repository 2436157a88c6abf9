//! Whose turn it is among the sends of a rank to itself that wait for room.

use super::header::Key;

/// Sends that wait, in the order of their first polls. Those with the same key take turns; others need not wait for them.
#[derive(Debug, Default)]
pub(super) struct Turns {
    waiting: Vec<(u64, Key)>,
    last: u64,
}

impl Turns {
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Whether nobody has waited for the same for longer.
    pub(super) fn is_first(&self, ticket: Option<u64>, key: Key) -> bool {
        let first = self.waiting.iter().find(|(_, other)| *other == key);
        first.is_none_or(|(first, _)| Some(*first) == ticket)
    }

    /// Takes a place behind the others, for who has none yet.
    pub(super) fn wait(&mut self, ticket: &mut Option<u64>, key: Key) {
        if ticket.is_none() {
            self.last += 1;
            self.waiting.push((self.last, key));
            *ticket = Some(self.last);
        }
    }

    /// Gives a place up.
    pub(super) fn leave(&mut self, ticket: &mut Option<u64>) {
        if let Some(ticket) = ticket.take() {
            self.waiting.retain(|(other, _)| *other != ticket);
        }
    }
}
