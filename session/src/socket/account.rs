//! What came from each peer and was not received yet, as bytes of the memory of its socket.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::task::Waker;

use super::Limit;
use super::memory::Memory;
use super::sync::Mutex;

/// The accounts of all peers of a socket, and those of them that wait for room.
#[derive(Debug)]
pub(crate) struct Accounts {
    memory: Arc<Memory>,
    /// How many wait.
    waiters: AtomicUsize,
    waiting: Mutex<VecDeque<Arc<Account>>>,
}

/// What came by one lane and was not received yet.
///
/// Two sides change it, without a lock: the connection says what has come, and whoever receives says what was fetched.
/// Both are sums since the lane was made, so neither has to know of the other; what counts in the socket's total is always
/// what was told of the one without what was returned of the other.
#[derive(Debug)]
pub(crate) struct Account {
    all: Arc<Accounts>,
    /// Only the connection changes it.
    told: AtomicU64,
    returned: AtomicU64,
    /// Bytes of what nobody can receive as it is: not there as a whole, or not decoded.
    partial: AtomicUsize,
    /// Of these, those that may be whole messages: they are decoded once there is a place for them.
    excused: AtomicUsize,
    /// Those that are not.
    stuck: AtomicUsize,
    /// It is among those that wait for room. Changed under their lock.
    waits: AtomicBool,
    waker: Mutex<Option<Waker>>,
}

impl Accounts {
    pub(crate) fn new(memory: Arc<Memory>) -> Arc<Self> {
        Arc::new(Accounts {
            memory,
            waiters: AtomicUsize::new(0),
            waiting: Mutex::new(VecDeque::new()),
        })
    }

    pub(crate) fn memory(&self) -> &Memory {
        &self.memory
    }

    /// The account of a new lane.
    pub(crate) fn open(self: &Arc<Self>) -> Arc<Account> {
        Arc::new(Account {
            all: Arc::clone(self),
            told: AtomicU64::new(0),
            returned: AtomicU64::new(0),
            partial: AtomicUsize::new(0),
            excused: AtomicUsize::new(0),
            stuck: AtomicUsize::new(0),
            waits: AtomicBool::new(false),
            waker: Mutex::new(None),
        })
    }

    /// Who has to go, if there is no room and too much of it is with what is not there as a whole: the one that has most of
    /// that. Of what is whole, the application makes room; of more than half that it cannot receive, nobody would.
    pub(crate) fn heaviest<T>(&self, partials: impl Iterator<Item = (T, usize)>) -> Option<T> {
        let (mut sum, mut most) = (0_usize, None);
        for (who, bytes) in partials {
            sum = sum.saturating_add(bytes);
            if most.as_ref().is_none_or(|(_, most)| bytes > *most) {
                most = Some((who, bytes));
            }
        }
        most.filter(|_| sum > self.memory.all() / 2).map(|(who, _)| who)
    }

    /// If there is room, it is for some of those that wait. With less than this hardly anybody could go on; there will be
    /// more: what takes the rest is received, or too much of it is with what cannot be.
    fn wake(&self) {
        if self.waiters.load(Ordering::SeqCst) > 0
            && self.memory.free() >= Memory::OWN.min(self.memory.all() / 2)
        {
            self.wake_some();
        }
    }

    /// For some of those that wait, in their order. Each that finds room says so to the next; and one that finds none looks
    /// who holds it.
    #[cold]
    fn wake_some(&self) {
        let mut woken = Vec::new();
        let mut waiting = self.waiting.lock();
        let most = 1 + self.memory.free() / Memory::GRAIN;
        while woken.len() < most
            && let Some(account) = waiting.pop_front()
        {
            account.waits.store(false, Ordering::Relaxed);
            woken.push(account);
        }
        self.waiters.store(waiting.len(), Ordering::SeqCst);
        drop(waiting);
        for account in woken {
            let waker = account.waker.lock().take();
            if let Some(waker) = waker {
                waker.wake();
            }
        }
    }
}

impl Account {
    /// What it may hold beside the total.
    pub(crate) const OWN: usize = Memory::OWN;
    /// The most that is read at once of a body that has a buffer of its own.
    const MOST: usize = 1 << 20;
    /// How many connections may take something at the same moment, each on a thread of its own, before it is counted.
    const AT_ONCE: usize = 64;

    /// A connection begins.
    pub(crate) fn enter(&self) {
        self.all.memory.enter();
    }

    /// It is over. What was `come` by it and was not received still counts; what is not whole is gone.
    pub(crate) fn leave(&self, come: u64, fetched: u64) {
        self.partial.store(0, Ordering::Relaxed);
        let (used, told) = (come.max(fetched), self.settle(fetched));
        if used < told {
            self.take_off(used, told);
        } else {
            // Also what was its own: gone connections have none, for there may be any number of them.
            self.told.store(used, Ordering::SeqCst);
            self.all.memory.add((used - told) as usize);
        }
        self.abandon();
    }

    /// As [`leave`](Self::leave), where nobody says what has come: what was counted is, until the lane is gone.
    pub(crate) fn abandon(&self) {
        self.partial.store(0, Ordering::Relaxed);
        self.excuse(0);
        self.all.memory.leave();
        self.pass();
    }

    /// By which limit so many `bytes` are as many as this peer may have waiting, if they are.
    #[inline]
    pub(crate) fn is_over(&self, bytes: usize) -> Option<Limit> {
        self.all.memory.is_over(bytes)
    }

    /// How many bytes more there may be.
    #[inline]
    pub(crate) fn free(&self) -> usize {
        self.all.memory.free()
    }

    /// How many bytes may be taken before they are counted, where so much has come as for [`tell`](Self::tell): what is
    /// counted for it already, what is left of its [own](Self::OWN), and so little of what is free that as many as there are
    /// threads may take it [at once](Self::AT_ONCE).
    #[inline]
    pub(crate) fn beside(&self, come: u64, partial: usize, fetched: u64) -> usize {
        let told = self.told.load(Ordering::Relaxed).max(fetched);
        let own = self.own(come + partial as u64, told);
        own.saturating_add(self.free() / Self::AT_ONCE)
    }

    /// What is left of its own.
    fn own(&self, used: u64, told: u64) -> usize {
        let memory = &self.all.memory;
        // Where those that are gone have left this much, there is none for new ones.
        match memory.total() < memory.all() + Memory::GRAIN {
            true => (told + Self::OWN as u64).saturating_sub(used) as usize,
            false => 0,
        }
    }

    /// What nobody can receive of what has come.
    pub(crate) fn partial(&self) -> usize {
        self.partial.load(Ordering::Relaxed)
    }

    /// Of that, what may be whole messages.
    pub(crate) fn excused(&self) -> usize {
        self.excused.load(Ordering::Relaxed)
    }

    /// Of that, what stays so however much the application receives.
    pub(crate) fn stuck(&self) -> usize {
        self.stuck.load(Ordering::Relaxed)
    }

    /// So much of what nobody can receive as it is may be whole messages, which are decoded once the application has made a
    /// place for them. Only the connection knows, and only where it is woken when there is one: what an empty queue says is
    /// true before it had its turn. Returns whether there was such an excuse and is none.
    #[inline]
    pub(crate) fn excuse(&self, excused: usize) -> bool {
        let stuck = self.partial().saturating_sub(excused);
        self.stuck.store(stuck, Ordering::Relaxed);
        let before = self.excused.load(Ordering::Relaxed);
        if before != excused {
            self.excused.store(excused, Ordering::Relaxed);
        }
        before > excused && excused == 0
    }

    /// So much has come, of messages that are whole since the lane was made and of what is `partial` now, of which so much is
    /// [`excused`](Self::excuse); so much of it was `fetched` by the application.
    #[inline]
    pub(crate) fn tell(&self, come: u64, partial: usize, excused: usize, fetched: u64) {
        self.partial.store(partial, Ordering::Relaxed);
        let is_back = self.excuse(excused);
        let used = come + partial as u64;
        let told = self.told.load(Ordering::Relaxed);
        if used > told + Self::OWN as u64 || used < told {
            self.equalize(used, fetched);
        }
        // Those that wait may have seen the excuse, and have to look again.
        if is_back && partial > Self::OWN {
            self.wake_others();
        }
    }

    /// Some of those that wait look again who holds what room there is.
    pub(crate) fn wake_others(&self) {
        if self.all.waiters.load(Ordering::SeqCst) > 0 {
            self.all.wake_some();
        }
    }

    #[cold]
    fn equalize(&self, used: u64, fetched: u64) {
        let (used, mut told) = (used.max(fetched), self.settle(fetched));
        if used < told {
            return self.take_off(used, told);
        }
        let (more, memory) = ((used - told) as usize, &self.all.memory);
        let mut fits = more;
        if !memory.try_add(more) {
            fits = more.min(memory.free());
            if !memory.try_add(fits) {
                fits = 0;
            }
            // A little is its own. What is more is there already: others took the room at the same time.
            if more - fits > 2 * Self::OWN {
                memory.add(more - fits);
                fits = more;
            }
        }
        told += fits as u64;
        self.told.store(told, Ordering::SeqCst);
    }

    /// What is with the application already need not be counted first. Returns what is told from here on, which is no less.
    fn settle(&self, fetched: u64) -> u64 {
        let told = self.told.load(Ordering::Relaxed);
        if told >= fetched {
            return told;
        }
        self.told.store(fetched, Ordering::SeqCst);
        let before = self.returned.fetch_max(fetched, Ordering::SeqCst);
        // Whoever receives may have returned what was taken off here at the same time, because it seemed to be gone: then
        // more than was told.
        let (told, before) = (told.cast_signed(), before.min(fetched).cast_signed());
        match before - told {
            0 => {}
            debt @ 1.. => self.all.memory.add(debt.unsigned_abs() as usize),
            left => {
                self.all.memory.sub(left.unsigned_abs() as usize);
                self.all.wake();
            }
        }
        fetched
    }

    /// Less is used than was told.
    fn take_off(&self, used: u64, told: u64) {
        self.told.store(used, Ordering::SeqCst);
        self.all.memory.sub((told - used) as usize);
        self.all.wake();
    }

    /// So much was `fetched` since the lane was made: there is room for others again.
    #[inline]
    pub(crate) fn collect(&self, fetched: u64) {
        // No more than was told. What has not been told yet never will be.
        let now = fetched.min(self.told.load(Ordering::SeqCst));
        if now > self.returned.load(Ordering::Relaxed) {
            self.give_back(now);
        }
    }

    #[cold]
    fn give_back(&self, now: u64) {
        let before = self.returned.fetch_max(now, Ordering::SeqCst);
        if now > before {
            self.all.memory.sub((now - before) as usize);
            self.all.wake();
        }
    }

    /// How many bytes may be read now, of so many that are `wanted`: counted `ahead`, or only once they are there. It was
    /// [told](Self::tell) just before what there is.
    #[inline]
    pub(crate) fn window(&self, come: u64, fetched: u64, wanted: usize, ahead: bool) -> usize {
        let window = match !ahead && wanted + 2 * Self::OWN <= self.free() / Self::AT_ONCE {
            // With what was not counted before it fits, though as many as there are threads read at the same time.
            true => wanted,
            false => self.reserve(come, fetched, wanted),
        };
        if window > 0 {
            self.pass();
        }
        window
    }

    /// It does not wait for room now: if there is some, it is for the next.
    #[inline]
    pub(crate) fn pass(&self) {
        if self.all.waiters.load(Ordering::Relaxed) > 0 {
            self.pass_on();
        }
    }

    #[cold]
    fn pass_on(&self) {
        if self.waits.load(Ordering::Relaxed) {
            let mut waiting = self.all.waiting.lock();
            waiting.retain(|account| !std::ptr::eq(&raw const **account, self));
            self.waits.store(false, Ordering::Relaxed);
            self.all.waiters.store(waiting.len(), Ordering::SeqCst);
        }
        self.all.wake();
    }

    /// Counts what is going to be read before it is.
    fn reserve(&self, come: u64, fetched: u64, wanted: usize) -> usize {
        let (used, told) = (come + self.partial() as u64, self.settle(fetched));
        let memory = &self.all.memory;
        let full = wanted.min(Self::MOST);
        // What is there and was not counted is counted with it.
        let free = memory.free().saturating_sub(used.saturating_sub(told) as usize);
        // Where it is scarce, little by little, but not by the byte.
        let least = full.min(Self::OWN);
        for most in [full, full.min(free).min(Memory::GRAIN)] {
            if most >= least && memory.try_add((used + most as u64).saturating_sub(told) as usize) {
                self.told.store((used + most as u64).max(told), Ordering::SeqCst);
                return most;
            }
        }
        wanted.min(self.own(used, told))
    }

    /// Waits for room: `waker` is woken when there may be some. True if it did not wait already. The caller looks once more
    /// after this.
    pub(crate) fn wait(self: &Arc<Self>, waker: &Waker) -> bool {
        *self.waker.lock() = Some(waker.clone());
        let mut waiting = self.all.waiting.lock();
        if self.waits.swap(true, Ordering::Relaxed) {
            return false;
        }
        waiting.push_back(Arc::clone(self));
        self.all.waiters.store(waiting.len(), Ordering::SeqCst);
        true
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        let (told, returned) = (*self.told.get_mut(), *self.returned.get_mut());
        self.all.memory.sub(told.wrapping_sub(returned) as usize);
        self.all.wake();
    }
}

#[cfg(test)]
mod tests;
