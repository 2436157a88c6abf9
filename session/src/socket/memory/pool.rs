//! How the memory of a socket is divided among its queues: plain accounting, without locks, tasks or clocks.
//!
//! A quarter of the memory is a reserve: each of as many queues as there may be peers has the same
//! [`floor`](Pool::floor) of it, whoever else is there. Of the rest a queue takes what it needs beyond its floor, but
//! never more than [`ALPHA`] times what is left then: the dynamic threshold of switches with shared memory (Choudhury and Hahne,
//! "Dynamic queue length thresholds for shared-memory packet switches", 1998). However many hoard, some is left.
//!
//! Who gets no more waits until others have given something back, the least demanding first. Only where all that could
//! be received would not help, because messages that are not there as a whole hold the memory, and who waits has done so
//! for long, the largest of these is given up ("longest queue drop"): nobody loses a message while another one holds more.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::Waker;

/// Bytes that a queue takes of the rest beyond what it needs, and that it may have too many before it gives them back.
pub(super) const GRAIN: usize = 64 << 10;

/// A queue may hold this many times what is left of the rest: two thirds of it, half of all, where it is alone.
const ALPHA: usize = 2;

/// The memory of one socket in one direction.
#[derive(Debug)]
pub(super) struct Pool {
    /// What is not reserved.
    rest: usize,
    /// What queues have of it.
    taken: usize,
    /// What each queue with a slot has of the reserve.
    floor: usize,
    /// How many more queues may have a slot.
    slots: usize,
    /// Queues that hold some of a message which is not there as a whole, by what they have for it.
    unfinished: BTreeMap<(usize, u64), Call>,
    unfinished_bytes: usize,
    /// Queues that wait for memory, by how much they want to have.
    waiting: BTreeMap<(usize, u64), Waiter>,
    /// Of these, the ones that hold nothing that could be received, and have waited for long.
    bare: BTreeSet<(usize, u64)>,
    /// Senders that wait for room in any queue.
    senders: Vec<Waker>,
    /// The least that they found no room for: what a queue wanted, and what it had of that, and how much one held together
    /// with what it shares.
    sought: Option<(usize, usize)>,
    sought_shared: Option<usize>,
}

/// What one queue has of a [`Pool`].
#[derive(Debug)]
pub(super) struct Holding {
    id: u64,
    has_slot: bool,
    granted: usize,
    /// What the pool was told of [`Asking::unfinished`].
    unfinished: usize,
    /// How much it waits to have.
    wants: Option<usize>,
    notice: Arc<AtomicU8>,
}

/// What the pool has to say to a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Notice {
    Nothing,
    /// There may be memory for it now.
    Look,
    /// Its unfinished message is to be given up.
    GiveUp,
}

/// How to reach a queue.
#[derive(Clone, Debug)]
struct Call {
    notice: Arc<AtomicU8>,
    waker: Waker,
}

#[derive(Debug)]
struct Waiter {
    has_slot: bool,
    granted: usize,
    unfinished: usize,
    call: Call,
}

/// What a queue holds, and who is to be woken.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asking<'a> {
    pub(super) bytes: usize,
    /// Of these, what belongs to a message that is not there as a whole.
    pub(super) unfinished: usize,
    /// It has waited for long.
    pub(super) insists: bool,
    pub(super) waker: &'a Waker,
}

impl Asking<'_> {
    /// Whether it holds nothing that could be received.
    fn is_bare(&self) -> bool {
        self.bytes == self.unfinished
    }
}

/// What the pool says to who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Granted,
    /// Some has to be received; it is told once it may ask again.
    Wait,
    /// Others have to finish what they have begun, or to give it up; it is told once it may ask again.
    Contend,
    /// Its unfinished message gets no more, now or ever.
    GiveUp,
}

impl Call {
    fn notify(self, notice: Notice) -> Waker {
        // Only the queue itself takes it back: it is not to be given up and told to look again instead.
        let _ = self.notice.fetch_max(notice as u8, Ordering::Relaxed);
        self.waker
    }
}

impl Holding {
    /// A queue that has nothing yet.
    pub(super) fn new(id: u64) -> Self {
        Holding {
            id,
            has_slot: false,
            granted: 0,
            unfinished: 0,
            wants: None,
            notice: Arc::default(),
        }
    }

    /// Up to how many bytes it holds nothing that it was not given.
    pub(super) fn covered(&self, floor: usize) -> usize {
        self.granted.saturating_add(if self.has_slot { floor } else { 0 })
    }

    /// Whether there is nothing to say to the pool, and the other way round.
    #[inline]
    pub(super) fn is_settled(&self, floor: usize, bytes: usize, unfinished: usize) -> bool {
        let covered = self.covered(floor);
        bytes < covered
            && self.granted <= self.most(floor, bytes)
            && (self.unfinished == 0 || unfinished + GRAIN > self.unfinished)
            && self.wants.is_none()
            && self.notice.load(Ordering::Relaxed) == Notice::Nothing as u8
    }

    /// Whether it has anything that it could give back.
    pub(super) fn has_grant(&self) -> bool {
        self.granted > 0 || self.wants.is_some()
    }

    /// What it should have of the rest, so that it may hold so many bytes and some more.
    fn target(&self, floor: usize, bytes: usize) -> usize {
        let floor = if self.has_slot { floor } else { 0 };
        bytes.saturating_sub(floor).saturating_add(GRAIN)
    }

    /// Whether its floor is enough.
    fn needs_nothing(&self, floor: usize, bytes: usize) -> bool {
        self.has_slot && bytes < floor
    }

    /// What it may have of the rest before it gives some back.
    fn most(&self, floor: usize, bytes: usize) -> usize {
        match self.needs_nothing(floor, bytes) {
            true => 0,
            false => self.target(floor, bytes).saturating_add(GRAIN),
        }
    }

    fn call(&self, waker: &Waker) -> Call {
        Call {
            notice: Arc::clone(&self.notice),
            waker: waker.clone(),
        }
    }
}

impl Pool {
    /// `all` bytes for as many as `queues` that each have a floor.
    pub(super) fn new(all: usize, queues: usize) -> Self {
        let reserve = all / 4;
        Pool {
            rest: all - reserve,
            taken: 0,
            floor: reserve / queues.max(1),
            slots: queues,
            unfinished: BTreeMap::new(),
            unfinished_bytes: 0,
            waiting: BTreeMap::new(),
            bare: BTreeSet::new(),
            senders: Vec::new(),
            sought: None,
            sought_shared: None,
        }
    }

    /// What each queue may always hold.
    pub(super) fn floor(&self) -> usize {
        self.floor
    }

    /// A new queue's part of the reserve, if there is one.
    pub(super) fn enter(&mut self, holding: &mut Holding) {
        if !holding.has_slot && self.slots > 0 {
            self.slots -= 1;
            holding.has_slot = true;
        }
    }

    /// Whether a queue that had `want` of the rest would have no more than it may, if `others` had so much of it.
    fn fits(&self, want: usize, others: usize) -> bool {
        let left = self
            .rest
            .checked_sub(others)
            .and_then(|left| left.checked_sub(want));
        left.is_some_and(|left| want <= left.saturating_mul(ALPHA))
    }

    /// Gives a queue what it needs for so many bytes, if it may have that, beside `shared` bytes that belong to no queue
    /// alone; takes back what it needs no more. Whether it has enough now.
    pub(super) fn adjust(&mut self, holding: &mut Holding, bytes: usize, shared: usize) -> bool {
        self.enter(holding);
        if bytes < holding.covered(self.floor) {
            if holding.granted > holding.most(self.floor, bytes) {
                let keep = match holding.needs_nothing(self.floor, bytes) {
                    true => 0,
                    false => holding.target(self.floor, bytes),
                };
                self.give_back(holding, holding.granted - keep);
            }
            return true;
        }
        let want = holding.target(self.floor, bytes);
        if !self.fits(want, (self.taken - holding.granted).saturating_add(shared)) {
            return false;
        }
        self.taken += want - holding.granted;
        holding.granted = want;
        true
    }

    fn give_back(&mut self, holding: &mut Holding, bytes: usize) {
        holding.granted -= bytes;
        self.taken -= bytes;
        if let Some(want) = holding.wants
            && let Some(waiter) = self.waiting.get_mut(&(want, holding.id))
        {
            waiter.granted = holding.granted;
        }
        if holding.unfinished > holding.granted
            && let Some(call) = self.forget_unfinished(holding)
        {
            self.insert_unfinished(holding, holding.granted, call);
        }
    }

    /// Whether a queue could have so many bytes, some of which belong to no queue alone.
    pub(super) fn has_room(&self, holding: &Holding, bytes: usize, own: usize, shared: usize) -> bool {
        let covered = holding.covered(self.floor);
        let others = self.taken - holding.granted;
        let own_fits =
            own < covered || self.fits(holding.target(self.floor, own), others.saturating_add(shared));
        own_fits && (bytes == own || self.shares_enough(holding, bytes, shared))
    }

    /// Whether a queue holds no more than it may, together with what it shares with others.
    pub(super) fn shares_enough(&self, holding: &Holding, bytes: usize, shared: usize) -> bool {
        let left = self.rest.saturating_sub(self.taken.saturating_add(shared));
        let floor = if holding.has_slot { self.floor } else { 0 };
        bytes < left.saturating_mul(ALPHA).saturating_add(floor)
    }

    /// As [`adjust`](Self::adjust), for a queue that can wait; who has to look after that is added to `woken`.
    pub(super) fn ask(
        &mut self,
        holding: &mut Holding,
        asking: Asking<'_>,
        woken: &mut Vec<Waker>,
    ) -> Answer {
        let Asking {
            bytes, unfinished, ..
        } = asking;
        self.stop_waiting(holding);
        let told = holding.unfinished;
        let notice = holding.notice.swap(Notice::Nothing as u8, Ordering::Relaxed);
        if notice == Notice::GiveUp as u8 && unfinished > 0 && unfinished + GRAIN > told {
            return Answer::GiveUp;
        }
        let granted = self.adjust(holding, bytes, 0);
        self.note_unfinished(holding, asking);
        let answer = match granted {
            true => Answer::Granted,
            false if asking.is_bare() && !self.fits(holding.target(self.floor, bytes), 0) => Answer::GiveUp,
            false => {
                self.wait(holding, asking);
                let others = self.unfinished_bytes - holding.unfinished;
                match !asking.is_bare() || self.fits(holding.target(self.floor, bytes), others) {
                    true => Answer::Wait,
                    false => Answer::Contend,
                }
            }
        };
        self.relieve(woken);
        // It may be the one.
        match holding.notice.load(Ordering::Relaxed) == Notice::GiveUp as u8 {
            true => Answer::GiveUp,
            false => answer,
        }
    }

    fn wait(&mut self, holding: &mut Holding, asking: Asking<'_>) {
        let want = holding.target(self.floor, asking.bytes);
        let key = (want, holding.id);
        holding.wants = Some(want);
        if asking.is_bare() && asking.insists {
            self.bare.insert(key);
        }
        let waiter = Waiter {
            has_slot: holding.has_slot,
            granted: holding.granted,
            unfinished: holding.unfinished,
            call: holding.call(asking.waker),
        };
        self.waiting.insert(key, waiter);
    }

    fn stop_waiting(&mut self, holding: &mut Holding) {
        if let Some(want) = holding.wants.take() {
            self.waiting.remove(&(want, holding.id));
            self.bare.remove(&(want, holding.id));
        }
    }

    /// Takes note of what would be free without the unfinished message.
    fn note_unfinished(&mut self, holding: &mut Holding, asking: Asking<'_>) {
        self.forget_unfinished(holding);
        let now = match asking.unfinished {
            0 => 0,
            bytes => holding.target(self.floor, bytes).min(holding.granted),
        };
        self.insert_unfinished(holding, now, holding.call(asking.waker));
    }

    fn insert_unfinished(&mut self, holding: &mut Holding, bytes: usize, call: Call) {
        if bytes > 0 {
            holding.unfinished = bytes;
            self.unfinished_bytes += bytes;
            self.unfinished.insert((bytes, holding.id), call);
        }
    }

    fn forget_unfinished(&mut self, holding: &mut Holding) -> Option<Call> {
        let key = (std::mem::take(&mut holding.unfinished), holding.id);
        let call = self.unfinished.remove(&key)?;
        self.unfinished_bytes -= key.0;
        Some(call)
    }

    /// Wakes those who may go on, as many as there is memory for.
    fn relieve(&mut self, woken: &mut Vec<Waker>) {
        let (mut promised, mut slots) = (0, self.slots);
        while let Some((&(want, id), waiter)) = self.waiting.first_key_value() {
            let fits = self.fits(want, self.taken - waiter.granted + promised);
            if !fits && (waiter.has_slot || slots == 0) {
                break;
            }
            match fits {
                true => promised += want - waiter.granted,
                // It may have a floor now.
                false => slots -= 1,
            }
            self.bare.remove(&(want, id));
            if let Some((_, waiter)) = self.waiting.pop_first() {
                woken.push(waiter.call.notify(Notice::Look));
            }
        }
        // Who has nothing that could be received can only hope for others.
        while let Some(key) = self.bare.first()
            && let Some(waiter) = self.waiting.get(key)
            && !self.fits(key.0, self.unfinished_bytes.saturating_sub(waiter.unfinished))
            && let Some(((bytes, id), call)) = self.unfinished.pop_last()
        {
            self.unfinished_bytes -= bytes;
            let is_itself = key.1 == id;
            woken.push(call.notify(Notice::GiveUp));
            if is_itself {
                break;
            }
        }
    }

    /// The queue gets no more: what it holds stays until it is [given back](Self::settle). Its slot is for others, as soon as
    /// there is as much of the rest.
    pub(super) fn retire(&mut self, holding: &mut Holding, bytes: usize, woken: &mut Vec<Waker>) {
        self.stop_waiting(holding);
        self.forget_unfinished(holding);
        self.settle(holding, bytes, true, woken);
    }

    /// Takes back what a queue does not need for so many bytes.
    pub(super) fn settle(
        &mut self,
        holding: &mut Holding,
        bytes: usize,
        retired: bool,
        woken: &mut Vec<Waker>,
    ) {
        if !retired {
            if bytes == 0 {
                self.give_back(holding, holding.granted);
            } else if bytes < holding.covered(self.floor) {
                self.adjust(holding, bytes, 0);
            }
        } else if bytes <= holding.granted {
            self.give_back(holding, holding.granted - bytes);
            self.leave_slot(holding);
        } else if bytes - holding.granted <= self.rest - self.taken {
            self.taken += bytes - holding.granted;
            holding.granted = bytes;
            self.leave_slot(holding);
        }
        self.relieve(woken);
    }

    fn leave_slot(&mut self, holding: &mut Holding) {
        if std::mem::take(&mut holding.has_slot) {
            self.slots += 1;
        }
    }

    /// The queue is gone.
    pub(super) fn leave(&mut self, holding: &mut Holding, woken: &mut Vec<Waker>) {
        self.stop_waiting(holding);
        self.forget_unfinished(holding);
        self.give_back(holding, holding.granted);
        self.leave_slot(holding);
        self.relieve(woken);
    }

    /// Remembers a sender, who found no room in a queue with so many `bytes`, until somebody gave something back. Of these,
    /// `own` are not shared with other queues.
    pub(super) fn add_sender(&mut self, holding: &Holding, bytes: usize, own: usize, waker: &Waker) {
        if own < holding.covered(self.floor) {
            self.sought_shared = Some(self.sought_shared.map_or(bytes, |least| least.min(bytes)));
        } else {
            let sought = (holding.target(self.floor, own), holding.granted);
            self.sought = Some(self.sought.map_or(sought, |least| least.min(sought)));
        }
        if !self.senders.iter().any(|known| known.will_wake(waker)) {
            self.senders.push(waker.clone());
        }
    }

    /// The senders that waited, if there is something for one of them: a grain more than it was refused, so that it is not
    /// back with the next message.
    pub(super) fn take_senders(&mut self, shared: usize) -> Vec<Waker> {
        let fits = self.sought.is_some_and(|(want, had)| {
            let others = self.taken.saturating_sub(had).saturating_add(shared);
            self.fits(want.saturating_add(GRAIN), others)
        });
        let left = self.rest.saturating_sub(self.taken.saturating_add(shared));
        let shares_enough = |bytes: usize| bytes.saturating_add(GRAIN) < left.saturating_mul(ALPHA);
        if !fits && !self.sought_shared.is_some_and(shares_enough) {
            return Vec::new();
        }
        (self.sought, self.sought_shared) = (None, None);
        std::mem::take(&mut self.senders)
    }

    /// Whether a sender waits.
    pub(super) fn has_senders(&self) -> bool {
        !self.senders.is_empty()
    }
}

#[cfg(test)]
mod tests;
