//! Whose turn it is to send: ways in turn, and on each way its halves in turn.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Instant;

use super::Way;

#[derive(Debug, Default)]
struct Lane {
    /// Halves that may have something to send, and all that are on this way.
    ready: VecDeque<usize>,
    listed: BTreeSet<usize>,
    halves: BTreeSet<usize>,
    is_blocked: bool,
    is_queued: bool,
}

#[derive(Debug, Default)]
pub(super) struct Lanes {
    lanes: BTreeMap<Way, Lane>,
    /// Ways that have something to send and are not full.
    queue: VecDeque<Way>,
}

impl Lanes {
    pub(super) fn join(&mut self, way: Way, half: usize) {
        self.lanes.entry(way).or_default().halves.insert(half);
    }

    pub(super) fn leave(&mut self, way: Way, half: usize) {
        let Some(lane) = self.lanes.get_mut(&way) else {
            return;
        };
        lane.halves.remove(&half);
        if lane.listed.remove(&half) {
            lane.ready.retain(|listed| *listed != half);
        }
    }

    /// The way is gone; its halves.
    pub(super) fn remove(&mut self, way: Way) -> BTreeSet<usize> {
        self.queue.retain(|queued| *queued != way);
        self.lanes.remove(&way).unwrap_or_default().halves
    }

    /// A half may have something to send.
    pub(super) fn wake(&mut self, way: Way, half: usize) {
        let lane = self.lanes.entry(way).or_default();
        if lane.listed.insert(half) {
            lane.ready.push_back(half);
        }
        Self::queue(&mut self.queue, way, lane);
    }

    pub(super) fn set_blocked(&mut self, way: Way, is_blocked: bool) {
        // A way without halves need not be remembered, but this may be said before its first packet is read.
        let lane = self.lanes.entry(way).or_default();
        lane.is_blocked = is_blocked;
        Self::queue(&mut self.queue, way, lane);
    }

    pub(super) fn is_blocked(&self, way: Way) -> bool {
        self.lanes.get(&way).is_some_and(|lane| lane.is_blocked)
    }

    fn queue(queue: &mut VecDeque<Way>, way: Way, lane: &mut Lane) {
        if !lane.is_blocked && !lane.ready.is_empty() && !std::mem::replace(&mut lane.is_queued, true) {
            queue.push_back(way);
        }
    }

    /// The half whose turn it is. It has to [`wake`](Lanes::wake) again when it has more.
    pub(super) fn next(&mut self) -> Option<(Way, usize)> {
        while let Some(way) = self.queue.pop_front() {
            let Some(lane) = self.lanes.get_mut(&way) else {
                continue;
            };
            lane.is_queued = false;
            if lane.is_blocked {
                continue;
            }
            if let Some(half) = lane.ready.pop_front() {
                lane.listed.remove(&half);
                Self::queue(&mut self.queue, way, lane);
                return Some((way, half));
            }
        }
        None
    }

    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }
}

/// What time is awaited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Timer {
    /// Of a half's link.
    Half(usize),
    /// Of messages that wait too long.
    Flow(usize),
    /// Of a job that nobody uses.
    Job(usize),
}

/// Timers in their order. Each is set to the earliest time that was asked for: when it comes, whoever is awaited looks
/// whether it has come for it, too.
#[derive(Debug, Default)]
pub(super) struct Timers {
    set: BTreeSet<(Instant, Timer)>,
}

impl Timers {
    /// `armed` is what the timer is set to. It is moved if it has to come earlier.
    pub(super) fn arm(&mut self, timer: Timer, armed: &mut Option<Instant>, at: Instant) {
        if armed.is_none_or(|armed| at < armed) {
            self.disarm(timer, armed);
            self.set.insert((at, timer));
            *armed = Some(at);
        }
    }

    pub(super) fn disarm(&mut self, timer: Timer, armed: &mut Option<Instant>) {
        if let Some(at) = armed.take() {
            self.set.remove(&(at, timer));
        }
    }

    pub(super) fn next(&self) -> Option<Instant> {
        self.set.first().map(|(at, _)| *at)
    }

    /// A timer whose time has come. It is not set any more: its `armed` has to be cleared.
    pub(super) fn due(&mut self, now: Instant) -> Option<Timer> {
        let (at, timer) = *self.set.first()?;
        if at > now {
            return None;
        }
        self.set.pop_first();
        Some(timer)
    }
}
