//! Room for calls: who may begin one, and who waits for that, in order.

use std::collections::{BTreeMap, BTreeSet};
use std::task::{Context, Poll, Waker};

/// How many calls may be under way. A place that becomes free goes to whoever waits longest, so that nobody is woken in
/// vain, however many wait.
#[derive(Debug)]
pub(super) struct Room {
    limit: usize,
    taken: usize,
    next: u64,
    queue: BTreeMap<u64, Waker>,
    /// Whose turn it is, and who has not looked yet.
    called: BTreeSet<u64>,
}

/// What somebody has of the room.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) enum Place {
    #[default]
    None,
    /// A number in the queue.
    Queued(u64),
    /// Kept free for a call.
    Held,
}

impl Room {
    /// Room for `limit` calls, one at least.
    pub(super) fn new(limit: usize) -> Self {
        Room {
            limit: limit.max(1),
            taken: 0,
            next: 0,
            queue: BTreeMap::new(),
            called: BTreeSet::new(),
        }
    }

    /// Ready once `place` is held.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>, place: &mut Place) -> Poll<()> {
        if self.try_hold(place) {
            return Poll::Ready(());
        }
        match *place {
            Place::Held => {}
            Place::None => {
                self.queue.insert(self.next, cx.waker().clone());
                *place = Place::Queued(self.next);
                self.next += 1;
                return Poll::Pending;
            }
            Place::Queued(number) if self.called.remove(&number) => *place = Place::Held,
            Place::Queued(number) => {
                if let Some(waker) = self.queue.get_mut(&number) {
                    waker.clone_from(cx.waker());
                }
                return Poll::Pending;
            }
        }
        Poll::Ready(())
    }

    /// Holds `place` if there is room and nobody waits for it.
    pub(super) fn try_hold(&mut self, place: &mut Place) -> bool {
        if *place == Place::None && self.taken < self.limit && self.queue.is_empty() {
            self.taken += 1;
            *place = Place::Held;
        }
        *place == Place::Held
    }

    /// A call begins: at the place that was held or, without one, beyond what is allowed if need be.
    pub(super) fn enter(&mut self, place: &mut Place) {
        if *place == Place::Held {
            *place = Place::None;
        } else {
            self.taken += 1;
        }
    }

    /// A call has ended. Returns whose turn it is.
    pub(super) fn free(&mut self) -> Option<Waker> {
        if self.taken <= self.limit
            && let Some((number, waker)) = self.queue.pop_first()
        {
            self.called.insert(number);
            return Some(waker);
        }
        self.taken -= 1;
        None
    }

    /// Somebody does not want a place any more. Returns whose turn it is.
    pub(super) fn leave(&mut self, place: &mut Place) -> Option<Waker> {
        match std::mem::take(place) {
            Place::None => None,
            Place::Held => self.free(),
            Place::Queued(number) if self.called.remove(&number) => self.free(),
            Place::Queued(number) => self.queue.remove(&number).and(None),
        }
    }

    /// Lets everybody in, for nothing can be begun any more.
    pub(super) fn open(&mut self) -> impl Iterator<Item = Waker> + use<> {
        self.limit = usize::MAX;
        self.taken += self.queue.len();
        let queue = std::mem::take(&mut self.queue);
        self.called.extend(queue.keys());
        queue.into_values()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn poll(room: &mut Room, place: &mut Place) -> bool {
        room.poll(&mut Context::from_waker(Waker::noop()), place)
            .is_ready()
    }

    #[test]
    fn a_place_is_held_until_it_is_used_or_given_back() {
        let mut room = Room::new(2);
        let (mut one, mut two, mut three) = (Place::None, Place::None, Place::None);
        assert!(poll(&mut room, &mut one) && poll(&mut room, &mut two));
        assert!(poll(&mut room, &mut one), "asked twice, held once");
        assert!(!poll(&mut room, &mut three));
        room.enter(&mut one);
        assert!(!poll(&mut room, &mut three), "the call has the place");
        assert!(room.leave(&mut two).is_some());
        assert!(poll(&mut room, &mut three));
        assert_eq!((one, two, three), (Place::None, Place::None, Place::Held));
    }

    #[test]
    fn places_go_to_those_who_wait_in_their_order() {
        let mut room = Room::new(1);
        let mut first = Place::None;
        assert!(poll(&mut room, &mut first));
        room.enter(&mut first);
        let mut waiting: Vec<Place> = (0..3).map(|_| Place::None).collect();
        for place in &mut waiting {
            assert!(!poll(&mut room, place));
        }
        assert!(room.free().is_some());
        assert!(!poll(&mut room, &mut first), "nobody goes ahead of who waits");
        assert!(!poll(&mut room, &mut waiting[1]));
        // Who is called and goes hands the place on.
        assert!(room.leave(&mut waiting[0]).is_some());
        assert!(poll(&mut room, &mut waiting[1]));
        assert!(room.leave(&mut waiting[2]).is_none());
        assert!(room.leave(&mut waiting[1]).is_some());
        assert!(poll(&mut room, &mut first));
    }

    #[test]
    fn what_was_begun_beyond_the_limit_ends_first() {
        let mut room = Room::new(1);
        room.enter(&mut Place::None);
        room.enter(&mut Place::None);
        let mut place = Place::None;
        assert!(!poll(&mut room, &mut place));
        assert!(room.free().is_none());
        assert!(!poll(&mut room, &mut place));
        assert!(room.free().is_some());
        assert!(poll(&mut room, &mut place));
    }

    #[test]
    fn at_the_end_everybody_is_let_in() {
        let mut room = Room::new(1);
        let mut places = [Place::None, Place::None, Place::None];
        for place in &mut places {
            let _ = poll(&mut room, place);
        }
        assert_eq!(room.open().count(), 2);
        assert!(places.iter_mut().all(|place| poll(&mut room, place)));
        places.iter_mut().for_each(|place| drop(room.leave(place)));
    }
}
