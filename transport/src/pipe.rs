//! A bounded queue between one task and another: the only place where messages wait.
//!
//! A push takes one short lock and wakes the receiver only when the queue was empty. The receiver swaps the whole
//! queue out under one lock and then works through it alone. Room is given back in steps of a quarter of the
//! capacity, so that neither side pays for a lock or a wake-up per message.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use parking_lot::Mutex;

/// Makes a pipe that holds at most `capacity` items (at least one), counting those that the receiver has taken
/// but not yet finished.
#[must_use]
pub fn pipe<T>(capacity: usize) -> (PipeSender<T>, PipeReceiver<T>) {
    let shared = Arc::new(Mutex::new(State {
        queue: VecDeque::new(),
        held: 0,
        capacity: capacity.max(1),
        sender_waker: None,
        closed_waker: None,
        receiver_waker: None,
        sender_gone: false,
        receiver_gone: false,
        discarded: 0,
        finished: 0,
        skipped: 0,
    }));
    (
        PipeSender {
            shared: Arc::clone(&shared),
        },
        PipeReceiver {
            shared,
            batch: VecDeque::new(),
            end: 0,
            unreleased: 0,
            step: release_step(capacity),
        },
    )
}

/// The sending half of a [`pipe`]. Its methods take `&self`; several tasks may push.
pub struct PipeSender<T> {
    shared: Arc<Mutex<State<T>>>,
}

/// The receiving half of a [`pipe`].
pub struct PipeReceiver<T> {
    shared: Arc<Mutex<State<T>>>,
    /// Swapped out of the queue, not yet popped.
    batch: VecDeque<T>,
    /// The place of the item behind the last of these.
    end: u64,
    /// Popped and finished, but still counted against the capacity.
    unreleased: usize,
    step: usize,
}

/// Ends a [`pipe`] from the receiving side, while the receiver itself is elsewhere and reads what waits to the end.
pub struct PipeGate<T> {
    shared: Arc<Mutex<State<T>>>,
}

impl<T> PipeGate<T> {
    /// No item is taken any more; what waits stays readable. Idempotent.
    pub fn shut(&self) {
        let mut state = self.shared.lock();
        state.receiver_gone = true;
        let wakers = [
            state.sender_waker.take(),
            state.closed_waker.take(),
            state.receiver_waker.take(),
        ];
        drop(state);
        wakers.into_iter().for_each(wake);
    }
}

struct State<T> {
    queue: VecDeque<T>,
    /// Taken by the receiver and not yet released.
    held: usize,
    capacity: usize,
    /// Set while a sender waits for room.
    sender_waker: Option<Waker>,
    /// Set while somebody waits for the receiver to go.
    closed_waker: Option<Waker>,
    /// Set while the receiver waits for an item: only ever beside an empty queue.
    receiver_waker: Option<Waker>,
    sender_gone: bool,
    receiver_gone: bool,
    /// Items that were dropped unread when the receiver went.
    discarded: usize,
    /// Items that were here and are no more.
    finished: u64,
    /// Of these, those that newer ones took the place of, while they are not among `finished`: behind what the receiver
    /// holds.
    skipped: u64,
}

/// Why an item was not taken; it is handed back.
#[derive(Debug, PartialEq, Eq)]
pub enum PushError<T> {
    /// The pipe holds as many items as it may.
    Full(T),
    /// The receiver is gone; no item will ever be taken again.
    Closed(T),
}

fn release_step(capacity: usize) -> usize {
    (capacity / 4).max(1)
}

impl<T> State<T> {
    fn len(&self) -> usize {
        self.queue.len() + self.held
    }

    fn room(&self) -> usize {
        self.capacity.saturating_sub(self.len())
    }

    fn set_capacity(&mut self, capacity: usize) -> Option<Waker> {
        self.capacity = capacity.max(1);
        if self.room() > 0 {
            self.sender_waker.take()
        } else {
            None
        }
    }

    /// Items ever added.
    fn added(&self) -> u64 {
        self.finished + self.skipped + self.len() as u64
    }

    /// The receiver has finished so many.
    fn finish(&mut self, count: usize) {
        self.held -= count;
        self.finished += count as u64;
    }

    fn release(&mut self, count: usize) -> Option<Waker> {
        self.finish(count);
        // A waiting sender is woken once a whole step is free, not for every item.
        if self.room() >= release_step(self.capacity).min(self.capacity) {
            self.sender_waker.take()
        } else {
            None
        }
    }
}

fn register(slot: &mut Option<Waker>, waker: &Waker) {
    if !slot.as_ref().is_some_and(|current| current.will_wake(waker)) {
        *slot = Some(waker.clone());
    }
}

impl<T> PipeSender<T> {
    /// Adds an item, if there is room.
    ///
    /// With a `waker`, a full pipe remembers it (the last one only) and wakes it once there is room again or the
    /// receiver is gone; there is no moment between the check and the registration in which a wake-up could be
    /// lost.
    ///
    /// # Errors
    /// Hands the item back when the pipe is full or closed.
    pub fn try_push(&self, item: T, waker: Option<&Waker>) -> Result<(), PushError<T>> {
        wake(self.try_push_asleep(item, waker)?);
        Ok(())
    }

    /// As [`try_push`](Self::try_push), but leaves it to the caller to wake the receiver, if it has to be: for callers
    /// who hold a lock that must not be held while other code runs.
    ///
    /// # Errors
    /// Hands the item back when the pipe is full or closed.
    pub fn try_push_asleep(&self, item: T, waker: Option<&Waker>) -> Result<Option<Waker>, PushError<T>> {
        let mut state = self.shared.lock();
        if state.receiver_gone {
            return Err(PushError::Closed(item));
        }
        if state.room() == 0 {
            if let Some(waker) = waker {
                register(&mut state.sender_waker, waker);
            }
            return Err(PushError::Full(item));
        }
        state.queue.push_back(item);
        Ok(state.receiver_waker.take())
    }

    /// Moves items from the front of `batch` into the pipe while there is room; returns how many.
    ///
    /// `waker` is remembered, as in [`try_push`](Self::try_push), when not all fitted.
    ///
    /// # Errors
    /// [`PushError::Closed`] when the receiver is gone; `batch` is left as it was.
    pub fn try_push_batch(&self, batch: &mut VecDeque<T>, waker: &Waker) -> Result<usize, PushError<()>> {
        let mut state = self.shared.lock();
        if state.receiver_gone {
            return Err(PushError::Closed(()));
        }
        let count = batch.len().min(state.room());
        if count < batch.len() {
            register(&mut state.sender_waker, waker);
        }
        if count == 0 {
            return Ok(0);
        }
        if state.queue.is_empty() && count == batch.len() {
            std::mem::swap(&mut state.queue, batch);
        } else if count == batch.len() {
            state.queue.append(batch);
        } else {
            state.queue.extend(batch.drain(..count));
        }
        let receiver = state.receiver_waker.take();
        drop(state);
        wake(receiver);
        Ok(count)
    }

    /// Adds an item and, when the pipe is full, drops the oldest one that the receiver has not taken yet.
    ///
    /// Returns the item that was dropped: the oldest, or the new one if the receiver holds all the others.
    ///
    /// # Errors
    /// [`PushError::Closed`] when the receiver is gone.
    pub fn push_evicting(&self, item: T) -> Result<Option<T>, PushError<T>> {
        let mut state = self.shared.lock();
        if state.receiver_gone {
            return Err(PushError::Closed(item));
        }
        let mut evicted = None;
        if state.room() == 0 {
            evicted = state.queue.pop_front();
            if evicted.is_none() {
                return Ok(Some(item));
            }
            state.skipped += 1;
        }
        state.queue.push_back(item);
        let receiver = state.receiver_waker.take();
        drop(state);
        wake(receiver);
        Ok(evicted)
    }

    /// Replaces everything that waits by `item`; returns how many items were dropped.
    ///
    /// # Errors
    /// [`PushError::Closed`] when the receiver is gone.
    pub fn push_replacing(&self, item: T) -> Result<usize, PushError<T>> {
        let mut state = self.shared.lock();
        if state.receiver_gone {
            return Err(PushError::Closed(item));
        }
        let dropped = state.queue.len();
        state.skipped += dropped as u64;
        let old = std::mem::take(&mut state.queue);
        state.queue.push_back(item);
        let receiver = state.receiver_waker.take();
        drop(state);
        drop(old);
        wake(receiver);
        Ok(dropped)
    }

    /// How many items were ever added: the [place](PipeReceiver::place) of the next one.
    #[must_use]
    pub fn added(&self) -> u64 {
        self.shared.lock().added()
    }

    /// How many of the items that were added the receiver has finished, or will never see: of no earlier
    /// [place](PipeReceiver::place) is one still to come.
    #[must_use]
    pub fn finished(&self) -> u64 {
        self.shared.lock().finished
    }

    /// Whether there is room for an item now; remembers `waker` if not.
    pub fn has_room_or_register(&self, waker: &Waker) -> bool {
        let mut state = self.shared.lock();
        if state.room() == 0 && !state.receiver_gone {
            register(&mut state.sender_waker, waker);
            return false;
        }
        true
    }

    /// How many more items fit now.
    #[must_use]
    pub fn room(&self) -> usize {
        self.shared.lock().room()
    }

    /// Changes how many items the pipe holds (at least one). Items above a smaller capacity stay.
    ///
    /// The receiver keeps the step in which it gives room back until it next fills.
    pub fn set_capacity(&self, capacity: usize) {
        let sender = self.shared.lock().set_capacity(capacity);
        wake(sender);
    }

    /// How many items wait, those included that the receiver has taken but not finished.
    #[must_use]
    pub fn len(&self) -> usize {
        self.shared.lock().len()
    }

    /// As [`len`](Self::len), but nothing waits for a receiver that is gone. If something does, a `waker` is remembered
    /// (the last one only) and woken once the receiver has given room back or is gone.
    #[must_use]
    pub fn waiting(&self, waker: Option<&Waker>) -> usize {
        let mut state = self.shared.lock();
        if state.receiver_gone {
            return 0;
        }
        let len = state.len();
        if let Some(waker) = waker
            && len > 0
        {
            register(&mut state.sender_waker, waker);
        }
        len
    }

    /// Whether nothing waits and the receiver has finished everything it took.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether the receiver is gone.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.shared.lock().receiver_gone
    }

    /// Resolves once the receiver is gone; remembers the context's waker (the last one only) until then.
    pub fn poll_closed(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.shared.lock();
        if state.receiver_gone {
            return Poll::Ready(());
        }
        register(&mut state.closed_waker, cx.waker());
        Poll::Pending
    }

    /// Adds an item without regard to the capacity: for the few that must not wait, bounded by the caller.
    ///
    /// # Errors
    /// [`PushError::Closed`] when the receiver is gone.
    pub fn push_over(&self, item: T) -> Result<(), PushError<T>> {
        let mut state = self.shared.lock();
        if state.receiver_gone {
            return Err(PushError::Closed(item));
        }
        state.queue.push_back(item);
        let receiver = state.receiver_waker.take();
        drop(state);
        wake(receiver);
        Ok(())
    }

    /// How many items the receiver dropped unread when it went.
    #[must_use]
    pub fn discarded(&self) -> usize {
        self.shared.lock().discarded
    }

    /// Ends the pipe from this side: the receiver still gets what waits, then the end. Idempotent.
    pub fn close(&self) {
        let mut state = self.shared.lock();
        state.sender_gone = true;
        let receiver = state.receiver_waker.take();
        drop(state);
        wake(receiver);
    }
}

impl<T> Drop for PipeSender<T> {
    fn drop(&mut self) {
        self.close();
    }
}

impl<T> PipeReceiver<T> {
    /// Takes the oldest item and counts it as finished.
    ///
    /// Looks only at what [`poll_fill`](Self::poll_fill) has brought over.
    pub fn pop(&mut self) -> Option<T> {
        let item = self.batch.pop_front()?;
        self.unreleased += 1;
        if self.unreleased >= self.step {
            self.release_popped();
        }
        Some(item)
    }

    /// Takes at most `limit` items, as [`pop`](Self::pop) does, and adds them to the end of `items`.
    pub fn pop_many(&mut self, limit: usize, items: &mut Vec<T>)
    where
        T: Default,
    {
        let count = limit.min(self.batch.len());
        // Out of their places, which are emptied at once. Drained, each would cross the stack in an `Option`, and the
        // processor would wait for it there (two thirds of this function's time, 10 % of a subscriber's).
        items.extend(self.batch.iter_mut().take(count).map(std::mem::take));
        self.batch.drain(..count);
        self.unreleased += count;
        if self.unreleased >= self.step {
            self.release_popped();
        }
    }

    /// A handle that ends the pipe while this receiver is elsewhere.
    #[must_use]
    pub fn gate(&self) -> PipeGate<T> {
        PipeGate {
            shared: Arc::clone(&self.shared),
        }
    }

    /// How many items [`pop`](Self::pop) can take without another fill.
    #[must_use]
    pub fn ready(&self) -> usize {
        self.batch.len()
    }

    /// Of the item that [`pop`](Self::pop) takes next, how many were added before it; as far as another fill is not needed
    /// for that.
    #[must_use]
    pub fn place(&self) -> u64 {
        self.end - self.batch.len() as u64
    }

    /// Brings over all that waits. `Ready(true)`: [`pop`](Self::pop) has something; `Ready(false)`: the sender is
    /// gone and everything was taken; `Pending`: nothing yet, the context's waker is remembered.
    pub fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        self.fill(Some(cx.waker()))
    }

    /// As [`poll_fill`](Self::poll_fill) with the waker given directly, or none at all.
    pub fn fill(&mut self, waker: Option<&Waker>) -> Poll<bool> {
        if !self.batch.is_empty() {
            return Poll::Ready(true);
        }
        let mut state = self.shared.lock();
        let sender = match std::mem::take(&mut self.unreleased) {
            0 => None,
            count => state.release(count),
        };
        state.finished += std::mem::take(&mut state.skipped);
        self.end = state.added();
        std::mem::swap(&mut state.queue, &mut self.batch);
        state.held += self.batch.len();
        self.step = release_step(state.capacity);
        let outcome = if !self.batch.is_empty() {
            Poll::Ready(true)
        } else if state.sender_gone || state.receiver_gone {
            Poll::Ready(false)
        } else {
            if let Some(waker) = waker {
                register(&mut state.receiver_waker, waker);
            }
            Poll::Pending
        };
        drop(state);
        wake(sender);
        outcome
    }

    /// Changes how many items the pipe holds (at least one). Items above a smaller capacity stay.
    pub fn set_capacity(&mut self, capacity: usize) {
        let mut state = self.shared.lock();
        state.finish(std::mem::take(&mut self.unreleased));
        let sender = state.set_capacity(capacity);
        self.step = release_step(state.capacity);
        drop(state);
        wake(sender);
    }

    /// How many items the pipe holds at most.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.shared.lock().capacity
    }

    /// How many items wait or are held, as [`PipeSender::len`] counts them.
    #[must_use]
    pub fn len(&self) -> usize {
        self.shared.lock().len() - self.unreleased
    }

    /// Whether nothing waits and nothing is held.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Ends the pipe from this side: what waits is dropped and counted in the result. Idempotent.
    pub fn close(&mut self) -> usize {
        let mut state = self.shared.lock();
        state.receiver_gone = true;
        let old = std::mem::take(&mut state.queue);
        let dropped = old.len() + self.batch.len();
        state.discarded += dropped;
        let sender = state.sender_waker.take();
        let watcher = state.closed_waker.take();
        drop(state);
        wake(sender);
        wake(watcher);
        self.batch.clear();
        dropped
    }

    fn release_popped(&mut self) {
        let sender = self.shared.lock().release(std::mem::take(&mut self.unreleased));
        wake(sender);
    }
}

impl<T> Drop for PipeReceiver<T> {
    fn drop(&mut self) {
        self.close();
    }
}

fn wake(waker: Option<Waker>) {
    if let Some(waker) = waker {
        waker.wake();
    }
}

impl<T> fmt::Debug for PipeSender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PipeSender")
            .field("len", &self.len())
            .finish_non_exhaustive()
    }
}

impl<T> fmt::Debug for PipeGate<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PipeGate").finish_non_exhaustive()
    }
}

impl<T> fmt::Debug for PipeReceiver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PipeReceiver")
            .field("len", &self.len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
