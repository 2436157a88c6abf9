//! The queues towards the peers, in encoded form: filled by the socket, emptied by the tasks that write.

use std::sync::Arc;
use std::task::{Poll, Waker};

use bytes::Bytes;
use flexbond_transport::Message;
use flexbond_transport::pipe::PushError;
use flexbond_wire::zmtp::Batch;
use parking_lot::{Mutex, MutexGuard};
use slab::Slab;

use super::book::Book;
use super::lane::Lane;

/// The served queues of one socket, all under one lock, and the order in which its peers take turns.
///
/// One lock, for it is most of what a send costs (some 20 ns each time it is taken and given back, of 60): a message
/// takes it once, to choose a peer and to queue for it, however many peers it is for. Who writes takes it once for
/// hundreds of messages. Nothing runs under it that could be code of the application's: wakers, events and the drop of
/// shared bodies wait until it is given back.
#[derive(Debug, Default)]
pub(crate) struct Outboxes(Mutex<Boxes>);

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
#[derive(Debug)]
pub(crate) struct Queue {
    queue: Batch,
    /// Messages taken by the writer and not written whole yet.
    held: usize,
    capacity: usize,
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

impl Queue {
    fn len(&self) -> usize {
        self.queue.messages() + self.held
    }

    fn room(&self) -> usize {
        self.capacity.saturating_sub(self.len())
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
        if self.room() == 0 {
            if let Some(waker) = waker {
                register(&mut self.sender, waker);
            }
            return Err(PushError::Full(()));
        }
        add(&mut self.queue);
        Ok(self.writer.take())
    }

    /// Adds an encoded message and, when the queue is full, drops the oldest one that the writer has not taken yet.
    /// Returns whether a message was dropped: the oldest, or the new one if the writer holds all the others. What it
    /// leaves in `dropped` is to be dropped without the lock.
    pub(crate) fn add_evicting(
        &mut self,
        message: &Batch,
        dropped: &mut Vec<Bytes>,
    ) -> Result<(bool, Option<Waker>), PushError<()>> {
        if self.writer_gone {
            return Err(PushError::Closed(()));
        }
        let full = self.room() == 0;
        if full {
            if self.queue.is_empty() {
                return Ok((true, None));
            }
            self.queue.drop_front_into(1, dropped);
        }
        self.queue.append_copy(message);
        Ok((full, self.writer.take()))
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
        if self.room() == 0 && !self.writer_gone {
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
    pub(crate) fn lock(&self) -> MutexGuard<'_, Boxes> {
        self.0.lock()
    }

    /// A new queue for at most `capacity` messages (at least one).
    pub(crate) fn open(self: &Arc<Self>, capacity: usize) -> Arc<Outbox> {
        let key = self.lock().queues.insert(Queue {
            queue: Batch::default(),
            held: 0,
            capacity: capacity.max(1),
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

    /// Moves at most `limit` messages to the end of `batch`. `Ready(true)`: there were some; `Ready(false)`: there
    /// will never be one again; `Pending`: not now, `waker` is remembered.
    pub(super) fn take(&self, limit: usize, batch: &mut Batch, waker: &Waker) -> Poll<bool> {
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
            let before = queue.queue.messages();
            queue.queue.move_front(limit, batch);
            queue.held += before - queue.queue.messages();
            Poll::Ready(true)
        })
    }

    /// Moves everything to the end of `batch`.
    pub(super) fn take_all(&self, batch: &mut Batch) {
        self.with(|queue| {
            queue.held += queue.queue.messages();
            batch.append(&mut queue.queue);
        });
    }

    /// Gives back the room of `count` messages that were taken.
    pub(super) fn release(&self, count: usize) {
        wake(self.with(|queue| {
            queue.held -= count;
            // A waiting sender is woken once there is room for a good number of messages.
            let step = (queue.capacity / 4).max(1);
            if queue.room() >= step {
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
            (std::mem::take(&mut queue.queue), queue.sender.take())
        });
        drop(dropped);
        wake(sender);
    }
}
