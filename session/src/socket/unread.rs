//! What came by one connection and waits to be received, in bytes: whether there may be more of it.

use std::task::Waker;

use super::LimitAction;
use super::core::Core;
use super::lane::Lane;
use super::memory::Share;

/// What came by one connection and waits to be received.
#[derive(Debug, Default)]
pub(crate) struct Unread {
    /// Only while messages may come.
    share: Option<Share>,
    /// The application has to receive some before more is read.
    is_held_up: bool,
}

/// What follows for a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Room {
    /// It is read.
    Some,
    /// Not before the application has received something.
    None,
    /// Nothing that the application could receive would make room for what is not there as a whole.
    Never,
}

impl Unread {
    /// Messages may come from here on.
    pub(crate) fn begin(&mut self, core: &Core, lane: &Lane) {
        self.share = lane.take_share().or_else(|| Some(core.unread.share()));
    }

    /// Whether more may come by a lane, beside a message that has so many bytes and is `incomplete`. Wakes `waker` once it
    /// may again.
    pub(crate) fn room(&mut self, lane: &Lane, incomplete: usize, waker: &Waker) -> Room {
        let bytes = lane.counters.unread() + incomplete;
        let Some(share) = &mut self.share else {
            return Room::Some;
        };
        share.tell(bytes);
        let Some(limit) = share.is_over(bytes) else {
            self.is_held_up = false;
            return Room::Some;
        };
        let waits = lane
            .inbound()
            .is_some_and(|inbound| inbound.waiting(Some(waker)) > 0);
        if waits && bytes > incomplete {
            if !std::mem::replace(&mut self.is_held_up, true) {
                lane.met(limit, LimitAction::Paused);
            }
            return Room::None;
        }
        if !waits {
            // Or nothing is ever received here.
            lane.counters.none_unread();
        }
        // One message may always be there, unless all peers together have too much.
        match share.exceeds_part(incomplete) {
            true => Room::Never,
            false => Room::Some,
        }
    }

    /// Nothing more has come yet. What the socket's total has of this lane is to go once it was received, though nothing
    /// more may ever come: wakes `waker` then, to ask for [`room`](Self::room) again.
    pub(crate) fn rest(&mut self, lane: &Lane, incomplete: usize, waker: &Waker) {
        let (Some(share), Some(inbound)) = (&mut self.share, lane.inbound()) else {
            return;
        };
        if share.is_told() && inbound.waiting(Some(waker)) == 0 {
            lane.counters.none_unread();
            share.tell(incomplete);
        }
    }

    /// The connection is over; what was not received yet still takes memory.
    pub(crate) fn leave(&mut self, lane: &Lane) {
        let waits = || lane.inbound().is_some_and(|inbound| inbound.waiting(None) > 0);
        let bytes = if waits() { lane.counters.unread() } else { 0 };
        if let Some(mut share) = self.share.take() {
            share.tell(bytes);
            if bytes > 0 {
                lane.keep_share(share);
                if !waits() {
                    // The last was received just now, by somebody who did not see the share.
                    lane.drop_share();
                }
            }
        }
    }
}
