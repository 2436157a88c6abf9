//! Who is at the other end of a lane, and who was when the messages came that still wait.

use std::collections::VecDeque;

use flexbond_transport::Frame;

use super::Peer;

/// Who is at the other end of a lane, and who was.
///
/// A lane of the connecting side outlives its connections, and messages that came by them may wait for long. Each
/// connection may be with somebody else: a message is of whoever sent it, not of who has come since.
#[derive(Debug)]
pub(super) struct Acquaintance {
    pub(super) last: Known,
    /// Those before, of whom messages may still wait, the oldest first.
    former: VecDeque<Known>,
}

/// The peer of one connection.
#[derive(Debug)]
pub(super) struct Known {
    pub(super) peer: Peer,
    /// The name under which a ROUTER knows it.
    pub(super) alias: Frame,
    /// Once the connection is over: the place of the first message that came later.
    pub(super) end: Option<u64>,
}

impl Acquaintance {
    pub(super) fn new(peer: Peer) -> Self {
        Acquaintance {
            last: Known {
                peer,
                alias: Frame::new(),
                end: None,
            },
            former: VecDeque::new(),
        }
    }

    /// A connection begins, when so many messages had been `added` to the queue, and so many of them `finished`. Of the
    /// connections before, those are remembered of which there may be a message left: no more than there are messages.
    pub(super) fn renew(&mut self, peer: Peer, added: u64, finished: u64) {
        self.forget(finished);
        let before = self.former.back().and_then(|former| former.end);
        let next = Known {
            peer,
            // A ROUTER gives it another name, or leaves it this one.
            alias: self.last.alias.clone(),
            end: None,
        };
        let mut last = std::mem::replace(&mut self.last, next);
        if added > before.unwrap_or(finished) {
            last.end = Some(added);
            self.former.push_back(last);
        }
    }

    /// Whom the message at this place is from. In the order of the places: who is asked about a later one forgets.
    pub(super) fn at(&mut self, place: u64) -> &Known {
        self.forget(place);
        self.former.front().unwrap_or(&self.last)
    }

    fn forget(&mut self, place: u64) {
        let is_over = |known: &Known| known.end.is_some_and(|end| end <= place);
        while self.former.front().is_some_and(is_over) {
            self.former.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(id: u64) -> Peer {
        Peer::unknown(id, "inproc://test".parse().expect("an endpoint"))
    }

    #[test]
    fn every_message_is_of_who_sent_it_and_nobody_is_remembered_without_one() {
        let mut known = Acquaintance::new(peer(0));
        known.renew(peer(1), 0, 0);
        // Three of the first, none of the second, two of the third.
        known.renew(peer(2), 3, 0);
        known.renew(peer(3), 3, 1);
        known.renew(peer(4), 5, 1);
        assert_eq!(known.former.len(), 2);
        let whose: Vec<_> = (1..8).map(|place| known.at(place).peer.id()).collect();
        assert_eq!(whose, [1, 1, 3, 3, 4, 4, 4]);
        for id in 5..100 {
            known.renew(peer(id), 8, 8);
        }
        assert!(known.former.is_empty());
        for (added, id) in (9..100).zip(100..) {
            known.renew(peer(id), added, added - 2);
            assert!(known.former.len() <= 2);
        }
    }
}
