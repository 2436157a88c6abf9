//! What came by one connection and waits to be received, in bytes: whether there may be more of it.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Waker};
use std::time::Duration;

use flexbond_wire::zmtp;
use tokio::time::{Sleep, sleep};

use super::core::Core;
use super::lane::Lane;
use super::memory::{Answer, Share};
use super::{Limit, LimitAction};

/// How long a connection waits for what others have begun to be there as a whole, before the largest of it is given up.
const PATIENCE: Duration = Duration::from_millis(500);

/// What came by one connection and waits to be received.
#[derive(Debug, Default)]
pub(crate) struct Unread {
    /// Only while messages may come.
    share: Option<Share>,
    waste: Waste,
    /// Something has to be received before more is read, from this peer or from others.
    is_held_up: bool,
    /// Looks again when this is over.
    patience: Option<Pin<Box<Sleep>>>,
    /// It waits for what others have begun.
    contends: bool,
}

/// What is left of it once the connection is over.
#[derive(Debug)]
pub(crate) struct Left {
    share: Share,
    waste: Waste,
}

/// Bytes beside those of messages, in read buffers that live on for these messages only.
#[derive(Debug, Default)]
struct Waste {
    /// Up to which message that arrived, and how many bytes.
    kept: VecDeque<(u64, usize)>,
    /// Of these together.
    bytes: usize,
    /// For the message that is not there as a whole.
    unfinished: usize,
    /// How many messages had arrived when this was looked at last.
    arrived: u64,
}

/// What follows for a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Room {
    /// It is read.
    Some,
    /// Not before something was received.
    None,
    /// What is not there as a whole is given up, for nothing that the application could receive would make room for it.
    Never,
}

impl Waste {
    /// Takes note of so many bytes that messages keep, the last one of those that `arrived` or the one that is unfinished.
    fn add(&mut self, bytes: usize, arrived: u64, is_unfinished: bool) {
        self.unfinished += bytes;
        if self.unfinished > 0 && (self.arrived != arrived || !is_unfinished) {
            let bytes = std::mem::take(&mut self.unfinished);
            self.bytes += bytes;
            match self.kept.back_mut() {
                Some((last, more)) if *last == arrived => *more += bytes,
                _ => self.kept.push_back((arrived, bytes)),
            }
        }
        self.arrived = arrived;
    }

    /// So many messages were received.
    fn drop_until(&mut self, received: u64) {
        while let Some((_, bytes)) = self.kept.pop_front_if(|(last, _)| *last <= received) {
            self.bytes -= bytes;
        }
    }

    /// Nothing waits.
    fn clear(&mut self, arrived: u64) {
        self.kept.clear();
        self.bytes = 0;
        self.arrived = arrived;
    }
}

impl Unread {
    /// Messages may come from here on.
    pub(crate) fn begin(&mut self, core: &Core, lane: &Lane) {
        let left = lane.take_left();
        let (share, waste) = match left {
            Some(Left { mut share, waste }) => {
                share.renew();
                (share, waste)
            }
            None => (core.unread.share(), Waste::default()),
        };
        (self.share, self.waste) = (Some(share), waste);
    }

    /// Whether more may come by a lane. Wakes `waker` once it may again.
    pub(crate) fn room(&mut self, lane: &Lane, zmtp: &mut zmtp::Connection, waker: &Waker) -> Room {
        let Some(share) = &mut self.share else {
            return Room::Some;
        };
        let unfinished = zmtp.incomplete();
        let waste = zmtp.take_waste();
        if waste > 0 || self.waste.bytes + self.waste.unfinished > 0 {
            self.waste
                .add(waste, lane.counters.messages_arrived(), unfinished > 0);
            self.waste.drop_until(lane.counters.messages_received.get());
        }
        let unread = lane.counters.unread();
        share.tell(unread + unfinished);
        let here = unfinished + self.waste.unfinished;
        let all = here + zmtp.awaited();
        let waiting = unread + lane.counters.places() + self.waste.bytes;
        if share.has_room(waiting + here, waiting + all, all) {
            self.is_held_up = false;
            return Room::Some;
        }
        self.look(lane, here, all, waker)
    }

    /// As [`room`](Self::room), once it is not plain that there is room. Of the unfinished message so much is `here`.
    #[cold]
    fn look(&mut self, lane: &Lane, here: usize, unfinished: usize, waker: &Waker) -> Room {
        let waiting = self.watch(lane, waker);
        let Some(share) = &mut self.share else {
            return Room::Some;
        };
        let mut cx = Context::from_waker(waker);
        let is_over = |patience: &mut Pin<Box<Sleep>>| patience.as_mut().poll(&mut cx).is_ready();
        let is_over = self.patience.as_mut().is_some_and(is_over);
        let insists = is_over && self.contends;
        let answer = share.ask(waiting + unfinished, unfinished, insists, waker);
        let contends = answer == Answer::Contend;
        // It has its time from when it began to contend.
        let again = is_over || contends != std::mem::replace(&mut self.contends, contends);
        let limit = match answer {
            Answer::GiveUp => return Room::Never,
            Answer::Contend | Answer::Wait => Some(share.common_limit()),
            // One message may always be there.
            Answer::Granted if waiting > 0 => share.exceeds_own(waiting + here),
            Answer::Granted => None,
        };
        // Who receives the last few bytes does not tell, though they may be all that keeps a read buffer.
        let is_told = waiting.saturating_sub(self.waste.bytes) >= lane.step();
        match limit {
            Some(_) if contends || !is_told => self.look_later(again, waker),
            _ => self.patience = None,
        }
        if contends {
            // Nobody is told: this hangs on others, one of whom may be.
            return Room::None;
        }
        self.hold_up(lane, limit)
    }

    /// Looks again after a while, and then after another.
    fn look_later(&mut self, again: bool, waker: &Waker) {
        if again || self.patience.is_none() {
            let patience = self.patience.insert(Box::pin(sleep(PATIENCE)));
            let _ = patience.as_mut().poll(&mut Context::from_waker(waker));
        }
    }

    fn hold_up(&mut self, lane: &Lane, limit: Option<Limit>) -> Room {
        let was_held_up = std::mem::replace(&mut self.is_held_up, limit.is_some());
        match limit {
            None => Room::Some,
            Some(limit) => {
                if !was_held_up {
                    lane.met(limit, LimitAction::Paused);
                }
                Room::None
            }
        }
    }

    /// How much waits to be received. Wakes `waker` once it is less; looked at only after that is sure.
    fn watch(&mut self, lane: &Lane, waker: &Waker) -> usize {
        if lane
            .inbound()
            .is_none_or(|inbound| inbound.waiting(Some(waker)) == 0)
        {
            // Or nothing is ever received here.
            lane.counters.none_unread();
            self.waste.clear(lane.counters.messages_arrived());
        }
        self.waste.drop_until(lane.counters.messages_received.get());
        lane.counters.unread() + lane.counters.places() + self.waste.bytes
    }

    /// Nothing more has come yet. What the socket has of this lane is to go once it was received, though nothing more may
    /// ever come: wakes `waker` then, to ask for [`room`](Self::room) again.
    pub(crate) fn rest(&mut self, lane: &Lane, zmtp: &zmtp::Connection, waker: &Waker) {
        if self.share.as_ref().is_some_and(Share::is_told) {
            let unfinished = zmtp.incomplete();
            let bytes = self.watch(lane, waker) + unfinished + zmtp.awaited() + self.waste.unfinished;
            if let Some(share) = &mut self.share {
                share.tell(lane.counters.unread() + unfinished);
                share.settle(bytes);
            }
        }
    }

    /// The connection is over; what was not received yet still takes memory.
    pub(crate) fn leave(&mut self, lane: &Lane, zmtp: &mut zmtp::Connection) {
        let Unread {
            share: Some(mut share),
            mut waste,
            ..
        } = std::mem::take(self)
        else {
            return;
        };
        let waits = || lane.inbound().is_some_and(|inbound| inbound.waiting(None) > 0);
        zmtp.end_reading();
        if waste.arrived == lane.counters.messages_arrived() {
            // What kept it goes with the connection.
            waste.unfinished = 0;
        }
        waste.add(zmtp.take_waste(), lane.counters.messages_arrived(), false);
        waste.drop_until(lane.counters.messages_received.get());
        let unread = lane.counters.unread();
        let bytes = unread + lane.counters.places() + waste.bytes;
        if bytes > 0 && waits() {
            share.tell(unread);
            share.retire(bytes);
            lane.keep_left(Left { share, waste });
            if !waits() {
                // The last was received just now, by somebody who did not see the share.
                lane.drop_left();
            }
        }
    }
}

impl Left {
    /// Some of it was received.
    pub(crate) fn settle(&mut self, lane: &Lane) {
        self.waste.drop_until(lane.counters.messages_received.get());
        let unread = lane.counters.unread();
        self.share.tell(unread);
        self.share
            .settle(unread + lane.counters.places() + self.waste.bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waste_counts_until_the_messages_that_keep_it_were_received() {
        let mut waste = Waste::default();
        waste.add(100, 3, false);
        waste.add(10, 3, false);
        // Kept by the parts of a message that has not arrived.
        waste.add(1000, 3, true);
        assert_eq!((waste.bytes, waste.unfinished), (110, 1000));
        waste.drop_until(2);
        assert_eq!((waste.bytes, waste.unfinished), (110, 1000));
        waste.drop_until(3);
        assert_eq!((waste.bytes, waste.unfinished), (0, 1000));
        // It has, and another one has begun.
        waste.add(0, 4, true);
        assert_eq!((waste.bytes, waste.unfinished), (1000, 0));
        waste.add(7, 4, true);
        waste.clear(4);
        assert_eq!((waste.bytes, waste.unfinished), (0, 7));
        waste.add(0, 5, false);
        waste.drop_until(5);
        assert_eq!((waste.bytes, waste.unfinished), (0, 0));
    }
}
