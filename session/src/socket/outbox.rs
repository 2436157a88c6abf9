//! The queues towards the peers, in encoded form: filled by the socket, emptied by the tasks that write.

use std::sync::Arc;
use std::task::{Poll, Waker};

use bytes::Bytes;
use flexbond_transport::Message;
use flexbond_transport::pipe::PushError;
use flexbond_wire::zmtp::{Batch, Connection};
use parking_lot::{Mutex, MutexGuard};
use slab::Slab;

use super::Limit;
use super::book::Book;
use super::lane::Lane;
use super::memory::{Memory, Share};

/// The served queues of one socket, all under one lock, and the order in which its peers take turns.
///
/// One lock, for it is most of what a send costs (some 20 ns each time it is taken and given back, of 60): a message
/// takes it once, to choose a peer and to queue for it, however many peers it is for. Who writes takes it once for
/// hundreds of messages. Nothing runs under it that could be code of the application's: wakers, events and the drop of
/// shared bodies wait until it is given back.
#[derive(Debug, Default)]
pub(crate) struct Outboxes {
    boxes: Mutex<Boxes>,
    /// How many bytes may wait; none: as many as there are messages.
    memory: Option<Arc<Memory>>,
}

/// What [`Outboxes`] protects.
#[derive(Debug, Default)]
pub(crate) struct Boxes {
    pub(super) queues: Slab<Queue>,
    /// For patterns whose peers take turns. Emptied when the socket is closed: these lanes lead back here.
    pub(super) lanes: Vec<Arc<Lane>>,
    pub(super) next: usize,
    /// For patterns whose peers subscribe; none once the socket is closed, for its lanes lead back here, too.
    pub(super) book: Option<Book>,
}

/// The queue towards one peer, in encoded form.
///
/// As a [`pipe`](flexbond_transport::pipe) it is bounded in messages, and each side is woken only when it waits. But
/// a message is encoded straight into the buffer that will be written: nothing is moved or encoded again on its way.
/// And it is bounded in bytes, except that one message may always wait.
#[derive(Debug)]
pub(crate) struct Queue {
    queue: Batch,
    /// Messages taken by the writer and not written whole yet.
    held: usize,
    /// Their bytes, as far as they were not written, and how many of these are the queue's own.
    held_bytes: Bytage,
    capacity: usize,
    /// What it has of the socket's memory; none if that has no limit, or the writer is gone.
    share: Option<Share>,
    /// From so many bytes on, the share is asked.
    mark: usize,
    /// By which limit it has become full, until somebody has told of it.
    heavy: Heavy,
    /// Set while a sender waits for room.
    sender: Option<Waker>,
    /// Set while the writer waits for a message: only ever beside an empty queue.
    writer: Option<Waker>,
    sender_gone: bool,
    writer_gone: bool,
}

/// One of the [`Outboxes`].
#[derive(Debug)]
pub(crate) struct Outbox {
    boxes: Arc<Outboxes>,
    key: usize,
}

/// How many bytes there are, and how many of these no other queue shares.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Bytage {
    pub(super) all: usize,
    pub(super) own: usize,
}

impl Bytage {
    /// Of what was taken to be written and was not yet.
    pub(super) fn of(batch: &Batch) -> Self {
        Bytage {
            all: batch.size(),
            own: batch.size().saturating_sub(batch.shared_size()),
        }
    }

    /// Of what a connection holds for its peer.
    pub(super) fn of_connection(connection: &Connection) -> Self {
        Bytage {
            all: connection.held(),
            own: connection.held().saturating_sub(connection.held_shared()),
        }
    }

    /// Both together.
    pub(super) fn and(self, other: Self) -> Self {
        Bytage {
            all: self.all + other.all,
            own: self.own + other.own,
        }
    }
}

/// Whether a queue is full of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Heavy {
    No,
    /// And nobody was told yet.
    New(Limit),
    Known,
}

impl Queue {
    fn len(&self) -> usize {
        self.queue.messages() + self.held
    }

    fn room(&self) -> usize {
        self.capacity.saturating_sub(self.len())
    }

    fn bytes(&self) -> usize {
        self.queue.size() + self.held_bytes.all
    }

    /// Whether there is no room for a message now.
    #[inline]
    fn is_full(&mut self) -> bool {
        self.room() == 0 || (self.bytes() >= self.mark && self.is_over())
    }

    /// Asks whether there may be more bytes, once there are as many as the mark says.
    #[cold]
    fn is_over(&mut self) -> bool {
        let bytes = self.bytes();
        let own = Bytage::of(&self.queue).own + self.held_bytes.own;
        let Some(share) = &mut self.share else {
            self.mark = usize::MAX;
            return false;
        };
        share.tell(own);
        match share.is_over(bytes) {
            Some(limit) if self.queue.messages() + self.held > 0 => {
                if self.heavy == Heavy::No {
                    self.heavy = Heavy::New(limit);
                }
                true
            }
            _ => {
                self.mark = share.next_mark(bytes);
                false
            }
        }
    }

    /// Whether it has become full of bytes, and nobody was told.
    pub(crate) fn is_newly_heavy(&self) -> bool {
        matches!(self.heavy, Heavy::New(_))
    }

    /// What was taken and not yet written has changed.
    fn hold(&mut self, held: Bytage) {
        self.held_bytes = held;
        let own = Bytage::of(&self.queue).own + held.own;
        let bytes = self.bytes();
        if let Some(share) = &mut self.share {
            share.tell(own);
            self.mark = self.mark.min(share.next_mark(bytes));
        }
    }

    /// Whether there is room for a good number of messages.
    fn has_step(&mut self) -> bool {
        let step = (self.capacity / 4).max(1);
        // Of the bytes as much as of the messages, for otherwise it would be full again with the next.
        let bytes = self.bytes();
        let is_over = |share: &Share| share.is_over(bytes.saturating_add(bytes / 4)).is_some();
        let relieved =
            self.heavy == Heavy::No || self.len() == 0 || !self.share.as_ref().is_some_and(is_over);
        if relieved && !matches!(self.heavy, Heavy::New(_)) {
            self.heavy = Heavy::No;
        }
        relieved && self.room() >= step
    }

    /// Adds a message, if there is room, and returns the writer, to be woken without the lock. With a `waker`, a full
    /// queue remembers it (the last one only) and wakes it once there is room again.
    #[inline]
    pub(crate) fn try_add(
        &mut self,
        waker: Option<&Waker>,
        add: impl FnOnce(&mut Batch),
    ) -> Result<Option<Waker>, PushError<()>> {
        if self.writer_gone {
            return Err(PushError::Closed(()));
        }
        if self.is_full() {
            if let Some(waker) = waker {
                register(&mut self.sender, waker);
            }
            return Err(PushError::Full(()));
        }
        add(&mut self.queue);
        Ok(self.writer.take())
    }

    /// Adds an encoded message and, when the queue is full, drops the oldest ones that the writer has not taken yet.
    /// Returns how many messages were dropped: the oldest, or the new one if the writer holds all the others. What it
    /// leaves in `dropped` is to be dropped without the lock.
    pub(crate) fn add_evicting(
        &mut self,
        message: &Batch,
        dropped: &mut Vec<Bytes>,
    ) -> Result<(u64, Option<Waker>), PushError<()>> {
        if self.writer_gone {
            return Err(PushError::Closed(()));
        }
        let mut evicted = 0;
        // Several, where they are smaller than what there is room for.
        while self.is_full() {
            if self.queue.is_empty() {
                return Ok((evicted + 1, None));
            }
            self.queue.drop_front_into(1, dropped);
            evicted += 1;
        }
        self.queue.append_copy(message);
        Ok((evicted, self.writer.take()))
    }

    /// Replaces everything that waits by what `add` adds; returns how many messages were dropped. What it leaves in
    /// `dropped` is to be dropped without the lock.
    pub(crate) fn replace(
        &mut self,
        dropped: &mut Vec<Bytes>,
        add: impl FnOnce(&mut Batch),
    ) -> Result<(usize, Option<Waker>), PushError<()>> {
        if self.writer_gone {
            return Err(PushError::Closed(()));
        }
        let count = self.queue.messages();
        self.queue.clear_into(dropped);
        add(&mut self.queue);
        Ok((count, self.writer.take()))
    }

    /// Whether there is room for a message now; remembers `waker` if not.
    pub(crate) fn has_room_or_register(&mut self, waker: &Waker) -> bool {
        if self.is_full() && !self.writer_gone {
            register(&mut self.sender, waker);
            return false;
        }
        true
    }
}

impl Boxes {
    /// Takes a lane out of the turn.
    pub(super) fn remove(&mut self, index: usize) -> Arc<Lane> {
        if self.next > index {
            self.next -= 1;
        }
        self.lanes.remove(index)
    }
}

fn register(slot: &mut Option<Waker>, waker: &Waker) {
    if !slot.as_ref().is_some_and(|current| current.will_wake(waker)) {
        *slot = Some(waker.clone());
    }
}

/// Wakes a task, if there is one.
#[inline]
pub(crate) fn wake(waker: Option<Waker>) {
    if let Some(waker) = waker {
        waker.wake();
    }
}

impl Outboxes {
    pub(crate) fn new(memory: Option<Arc<Memory>>) -> Arc<Self> {
        Arc::new(Outboxes {
            boxes: Mutex::default(),
            memory,
        })
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Boxes> {
        self.boxes.lock()
    }

    /// How many bytes may wait, if that has a limit.
    pub(crate) fn memory(&self) -> Option<&Arc<Memory>> {
        self.memory.as_ref()
    }

    /// A new queue for at most `capacity` messages (at least one).
    pub(crate) fn open(self: &Arc<Self>, capacity: usize) -> Arc<Outbox> {
        let share = self.memory.as_ref().map(Memory::share);
        let key = self.lock().queues.insert(Queue {
            queue: Batch::default(),
            held: 0,
            held_bytes: Bytage::default(),
            capacity: capacity.max(1),
            mark: share.as_ref().map_or(usize::MAX, |share| share.next_mark(0)),
            share,
            heavy: Heavy::No,
            sender: None,
            writer: None,
            sender_gone: false,
            writer_gone: false,
        });
        Arc::new(Outbox {
            boxes: Arc::clone(self),
            key,
        })
    }
}

impl Drop for Outbox {
    fn drop(&mut self) {
        let queue = self.boxes.lock().queues.try_remove(self.key);
        drop(queue);
    }
}

impl Outbox {
    /// Which of the [`Boxes::queues`] it is.
    #[inline]
    pub(crate) fn key(&self) -> usize {
        self.key
    }

    fn with<R>(&self, f: impl FnOnce(&mut Queue) -> R) -> R {
        // The entry lives as long as this handle to it.
        f(&mut self.boxes.lock().queues[self.key])
    }

    /// Adds a message, as [`Queue::try_add`]; its large frames are moved out of it.
    pub(crate) fn try_push(&self, message: &mut Message, waker: Option<&Waker>) -> Result<(), PushError<()>> {
        self.with(|queue| queue.try_add(waker, |batch| batch.push(message)))
            .map(wake)
    }

    /// How many messages wait, those included that are being written.
    pub(crate) fn len(&self) -> usize {
        self.with(|queue| queue.len())
    }

    /// Their bytes, those written already left out.
    pub(crate) fn bytes(&self) -> usize {
        self.with(|queue| queue.bytes())
    }

    /// By which limit the queue has become full of bytes, if nobody was told yet.
    pub(crate) fn take_heavy(&self) -> Option<Limit> {
        self.with(|queue| match queue.heavy {
            Heavy::New(limit) => {
                queue.heavy = Heavy::Known;
                Some(limit)
            }
            Heavy::No | Heavy::Known => None,
        })
    }

    /// As [`len`](Self::len), but nothing waits for a writer that is gone; if something does, remembers `waker`, the
    /// last one only, and wakes it once some have left.
    pub(crate) fn waiting(&self, waker: Option<&Waker>) -> usize {
        self.with(|queue| {
            if queue.writer_gone {
                return 0;
            }
            let len = queue.len();
            if let Some(waker) = waker
                && len > 0
            {
                register(&mut queue.sender, waker);
            }
            len
        })
    }

    /// Ends the queue from the sender's side: what waits is still written. Idempotent.
    pub(crate) fn close(&self) {
        wake(self.with(|queue| {
            queue.sender_gone = true;
            queue.writer.take()
        }));
    }

    /// Moves at most `limit` messages, and no more than so many `bytes` or one message, to the end of `batch`.
    /// `Ready(true)`: there were some; `Ready(false)`: there will never be one again; `Pending`: not now, `waker` is
    /// remembered.
    pub(super) fn take(&self, limit: usize, bytes: usize, batch: &mut Batch, waker: &Waker) -> Poll<bool> {
        self.with(|queue| {
            if queue.queue.is_empty() {
                if queue.sender_gone {
                    return Poll::Ready(false);
                }
                register(&mut queue.writer, waker);
                // Who waits needs no memory of its own.
                batch.lend_memory(&mut queue.queue);
                return Poll::Pending;
            }
            let limit = match queue.queue.size() <= bytes {
                true => limit,
                false => limit.min(queue.queue.messages_within(bytes)),
            };
            let (before, waited) = (queue.queue.messages(), Bytage::of(&queue.queue));
            queue.queue.move_front(limit, batch);
            queue.held += before - queue.queue.messages();
            let left = Bytage::of(&queue.queue);
            queue.held_bytes.all += waited.all - left.all;
            queue.held_bytes.own += waited.own - left.own;
            Poll::Ready(true)
        })
    }

    /// Moves everything to the end of `batch`.
    pub(super) fn take_all(&self, batch: &mut Batch) {
        self.with(|queue| {
            queue.held += queue.queue.messages();
            let bytes = Bytage::of(&queue.queue);
            queue.held_bytes.all += bytes.all;
            queue.held_bytes.own += bytes.own;
            batch.append(&mut queue.queue);
        });
    }

    /// Gives back the room of `count` messages that were taken; of all that were, `left` is not written yet.
    pub(super) fn release(&self, count: usize, left: Bytage) {
        wake(self.with(|queue| {
            queue.held -= count;
            queue.hold(left);
            // A waiting sender is woken once there is room for a good number of messages.
            if queue.has_step() {
                queue.sender.take()
            } else {
                None
            }
        }));
    }

    /// No message is taken any more. What waits is dropped.
    pub(super) fn end(&self) {
        let (dropped, sender) = self.with(|queue| {
            queue.writer_gone = true;
            queue.held_bytes = Bytage::default();
            queue.share = None;
            (std::mem::take(&mut queue.queue), queue.sender.take())
        });
        drop(dropped);
        wake(sender);
    }
}
