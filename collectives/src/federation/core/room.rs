//! How much of a message server's window each flow may take.
//!
//! A server counts what it keeps from one party for another in one sum. A flow whose messages nobody receives must not take
//! all of that: others would wait for it. So each flow may have at most a third of what the others leave, of which an eighth
//! stays free beside; one message always may be on its way. However many flows stand still, the next one gets its third of
//! what is left. Messages that a server does not keep whole take no room there, and are not counted.

use std::collections::BTreeSet;

#[derive(Debug)]
pub(crate) struct Room {
    /// The server's window; `u64::MAX` where there is no server.
    window: u64,
    /// What has become free since the last look at those that wait.
    freed: u64,
    /// Flows that have what they may.
    waiting: BTreeSet<u32>,
}

impl Default for Room {
    fn default() -> Self {
        Room::new(u64::MAX)
    }
}

impl Room {
    pub(crate) fn new(window: u64) -> Self {
        Room {
            window,
            freed: 0,
            waiting: BTreeSet::new(),
        }
    }

    /// What a flow may have when all others have so much.
    pub(crate) fn part(&self, others: u64) -> u64 {
        (self.window - self.window / 8).saturating_sub(others) / 3
    }

    /// The flow waits for room.
    pub(crate) fn wait(&mut self, flow: u32) {
        self.waiting.insert(flow);
    }

    /// So much has become free, and so much is still taken. Flows that may have room by now.
    pub(crate) fn free(&mut self, bytes: u64, left: u64) -> BTreeSet<u32> {
        self.freed = self.freed.saturating_add(bytes);
        // Not for each message: many may wait.
        if self.waiting.is_empty() || (self.freed < self.window / 64 && left > 0) {
            return BTreeSet::new();
        }
        self.freed = 0;
        std::mem::take(&mut self.waiting)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_always_something_left_for_one_more() {
        let room = Room::new(64 << 20);
        let mut taken = 0;
        for _ in 0..20 {
            let part = room.part(taken);
            assert!(part > 1000);
            taken += part;
        }
        assert!(taken < 56 << 20);
        assert_eq!(Room::default().part(u64::MAX), 0);
    }

    #[test]
    fn those_who_wait_are_looked_at_now_and_then() {
        let mut room = Room::new(6400);
        assert!(room.free(1000, 0).is_empty());
        room.wait(5);
        room.freed = 0;
        assert!(room.free(99, 1).is_empty());
        assert_eq!(room.free(1, 1), [5].into());
        room.wait(6);
        assert_eq!(room.free(1, 0), [6].into(), "nothing else will become free");
    }
}
