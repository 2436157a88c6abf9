//! Where a lane's messages wait: in a queue that a task writes from, or in the peer's own hands.

use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use flexbond_transport::Message;
use flexbond_transport::pipe::{PipeSender, PushError};
use slab::Slab;

use super::outbox::{Outbox, Queue};

/// Where a lane's messages wait.
#[derive(Debug)]
pub(crate) enum Out {
    /// Encoded, for the task that serves the lane.
    Served(Arc<Outbox>),
    /// As they are, in the queue that the peer reads (inproc).
    Direct(PipeSender<Message>),
}

impl Out {
    /// Takes `message`, if there is room; otherwise it stays as it is, and a full queue remembers `waker`, the last
    /// one only, and wakes it once there is room again.
    #[inline]
    pub(crate) fn try_push(&self, message: &mut Message, waker: Option<&Waker>) -> Result<(), PushError<()>> {
        match self {
            Out::Served(queue) => queue.try_push(message, waker),
            Out::Direct(pipe) => put_back(message, |message| pipe.try_push(message, waker)),
        }
    }

    /// As [`try_push`](Self::try_push), by who has the lock already; returns who is to be woken without it.
    #[inline]
    pub(crate) fn try_push_in(
        &self,
        queues: &mut Slab<Queue>,
        message: &mut Message,
        waker: Option<&Waker>,
    ) -> Result<Option<Waker>, PushError<()>> {
        match self {
            Out::Served(outbox) => queues[outbox.key()].try_add(waker, |batch| batch.push(message)),
            Out::Direct(pipe) => put_back(message, |message| pipe.try_push_asleep(message, waker)),
        }
    }

    /// The queue of a lane that a task serves.
    #[inline]
    pub(crate) fn queue<'a>(&self, queues: &'a mut Slab<Queue>) -> Option<&'a mut Queue> {
        match self {
            Out::Served(outbox) => queues.get_mut(outbox.key()),
            Out::Direct(_) => None,
        }
    }

    /// How many messages wait.
    pub(crate) fn len(&self) -> usize {
        match self {
            Out::Served(queue) => queue.len(),
            Out::Direct(pipe) => pipe.len(),
        }
    }

    /// Their bytes; those that wait in this process are not counted.
    pub(crate) fn bytes(&self) -> usize {
        match self {
            Out::Served(queue) => queue.bytes(),
            Out::Direct(_) => 0,
        }
    }

    /// How many messages wait for a peer that still takes them; remembers `waker`, the last one only, if there are any,
    /// and wakes it once some have left.
    pub(crate) fn waiting(&self, waker: Option<&Waker>) -> usize {
        match self {
            Out::Served(queue) => queue.waiting(waker),
            Out::Direct(pipe) => pipe.waiting(waker),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Ends the queue from this side. Idempotent.
    pub(crate) fn close(&self) {
        match self {
            Out::Served(queue) => queue.close(),
            Out::Direct(pipe) => pipe.close(),
        }
    }

    /// Messages that a direct peer dropped unread when it went.
    pub(crate) fn discarded(&self) -> usize {
        match self {
            Out::Served(_) => 0,
            Out::Direct(pipe) => pipe.discarded(),
        }
    }

    /// Resolves once a direct peer is gone.
    pub(crate) fn poll_closed(&self, cx: &mut Context<'_>) -> Poll<()> {
        match self {
            Out::Served(_) => Poll::Pending,
            Out::Direct(pipe) => pipe.poll_closed(cx),
        }
    }
}

/// Runs `push` with the message, which comes back if it was not taken.
fn put_back<T>(
    message: &mut Message,
    push: impl FnOnce(Message) -> Result<T, PushError<Message>>,
) -> Result<T, PushError<()>> {
    push(std::mem::take(message)).map_err(|error| {
        let (kind, back) = match error {
            PushError::Full(back) => (PushError::Full(()), back),
            PushError::Closed(back) => (PushError::Closed(()), back),
        };
        *message = back;
        kind
    })
}
