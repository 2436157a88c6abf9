//! What came by one connection and waits to be received, in bytes: whether there may be more of it.

use std::sync::Arc;
use std::task::Waker;

use super::account::Account;
use super::core::Core;
use super::lane::Lane;
use super::memory::Memory;
use super::{Limit, LimitAction};

/// What came by one connection and waits to be received.
#[derive(Debug, Default)]
pub(crate) struct Unread {
    /// Only while messages may come.
    account: Option<Arc<Account>>,
    /// The application has to receive some before more is read.
    is_held_up: bool,
}

/// What follows for a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Room {
    /// So many bytes may be read.
    Some(usize),
    /// None, before the application has received something or others have made room.
    None,
    /// Nothing that the application could receive would make room for what is not there as a whole.
    Never,
}

impl Unread {
    /// Messages may come from here on.
    pub(crate) fn begin(&mut self, lane: &Lane) {
        self.account = lane.account().cloned();
        if let Some(account) = &self.account {
            account.enter();
        }
    }

    /// What has come by a lane is as much as its counters say, and so much that is not there as a whole or was not decoded;
    /// of which so much is [`excused`](Account::excuse).
    #[inline]
    pub(crate) fn tell(&self, lane: &Lane, partial: usize, excused: usize) {
        if let Some(account) = &self.account {
            let (come, fetched) = (lane.counters.come(), lane.counters.fetched());
            account.tell(come, partial, excused, fetched);
        }
    }

    /// So much of what was not decoded may be whole messages, for which the application makes a place.
    pub(crate) fn excuse(&self, excused: usize) {
        if let Some(account) = &self.account {
            account.excuse(excused);
        }
    }

    /// Whether some of what was not decoded is [excused](Self::excuse).
    pub(crate) fn is_excused(&self) -> bool {
        self.account.as_ref().is_some_and(|account| account.excused() > 0)
    }

    /// How many bytes may be taken before they are counted, beside those of which it would be [told](Self::tell) now.
    #[inline]
    pub(crate) fn beside(&self, lane: &Lane, partial: usize) -> usize {
        let (come, fetched) = (lane.counters.come(), lane.counters.fetched());
        let beside = |account: &Arc<Account>| account.beside(come, partial, fetched);
        self.account.as_ref().map_or(usize::MAX, beside)
    }

    /// Whether what waits is as much as the peer may have waiting. Wakes `waker` once it is less.
    #[inline]
    pub(crate) fn is_over(&mut self, lane: &Lane, waker: &Waker) -> bool {
        let Some(account) = &self.account else {
            return false;
        };
        let bytes = lane.counters.unread() + account.partial();
        match account.is_over(bytes) {
            None => {
                if account.free() >= Account::OWN {
                    self.is_held_up = false;
                }
                false
            }
            Some(limit) => self.waits(lane, limit, waker),
        }
    }

    /// One message may always be there: it is the application's turn only if it has something to receive.
    #[cold]
    fn waits(&mut self, lane: &Lane, limit: Limit, waker: &Waker) -> bool {
        let waits = lane.has_waiting(Some(waker));
        if !waits {
            // Or nothing is ever received here.
            lane.counters.none_unread();
        }
        let is_over = waits && lane.counters.unread() > 0;
        if is_over {
            self.hold_up(lane, limit);
        }
        is_over
    }

    fn hold_up(&mut self, lane: &Lane, limit: Limit) {
        if !std::mem::replace(&mut self.is_held_up, true) {
            lane.met(limit, LimitAction::Paused);
        }
    }

    /// How many bytes may be read now, of those that are wanted. Wakes `waker` when there may be room again.
    #[inline]
    pub(crate) fn room(&mut self, core: &Core, lane: &Lane, want: Want, waker: &Waker) -> Room {
        match self.window(lane, want) {
            0 => self.look_for_room(core, lane, want, waker),
            window => Room::Some(window),
        }
    }

    #[inline]
    fn window(&self, lane: &Lane, want: Want) -> usize {
        let Some(account) = &self.account else {
            return want.bytes;
        };
        let (come, fetched) = (lane.counters.come(), lane.counters.fetched());
        account.window(come, fetched, want.bytes, want.ahead)
    }

    #[cold]
    fn look_for_room(&mut self, core: &Core, lane: &Lane, want: Want, waker: &Waker) -> Room {
        let Some(account) = self.account.clone() else {
            return Room::Some(want.bytes);
        };
        // Once the application has received all that waits, it cannot do more for what was not decoded.
        let waits = want.undecoded > 0 && lane.has_waiting(Some(waker));
        let is_back = account.excuse(if waits { want.undecoded } else { 0 });
        if is_back {
            // Those that wait may have seen the excuse, and have to look again.
            account.wake_others();
        }
        let is_new = account.wait(waker) || is_back;
        let look = || Some(self.window(lane, want)).filter(|window| *window > 0);
        if let Some(window) = look() {
            return Room::Some(window);
        }
        if is_new {
            // The totals are those of a moment ago: what was received since makes room, too.
            let heaviest = core.heaviest_partial();
            if let Some(window) = look() {
                return Room::Some(window);
            }
            match heaviest {
                Some(heaviest) if heaviest.id() == lane.id() => {
                    account.pass();
                    return Room::Never;
                }
                Some(heaviest) => heaviest.end_for_room(),
                None => {}
            }
        }
        self.hold_up(lane, Limit::RecvMemory);
        Room::None
    }

    /// Nothing is read now, for another reason: what room there is is for others.
    pub(crate) fn pass(&self) {
        if let Some(account) = &self.account {
            account.pass();
        }
    }

    /// The connection is over; what was not received yet still takes memory, but for what was `lost`.
    pub(crate) fn leave(&mut self, lane: &Lane, lost: usize) {
        lane.counters.lost(lost);
        if let Some(account) = self.account.take() {
            account.leave(lane.counters.come(), lane.counters.fetched());
        }
    }
}

impl Drop for Unread {
    fn drop(&mut self) {
        if let Some(account) = self.account.take() {
            account.abandon();
        }
    }
}

/// What a connection would read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Want {
    pub(crate) bytes: usize,
    /// They count before they are there: a body that has a buffer of its own, or where little is free.
    pub(crate) ahead: bool,
    /// What was read and may be whole messages.
    pub(crate) undecoded: usize,
}

impl Want {
    /// For lists of parts of what was read already.
    pub(crate) fn lists(undecoded: usize) -> Self {
        Want {
            bytes: Memory::GRAIN,
            ahead: true,
            undecoded,
        }
    }
}
