//! What waits to be written to one peer.

use std::sync::Arc;
use std::task::{Context, Poll};

use flexbond_transport::Message;
use flexbond_wire::zmtp::Batch;

use super::outbox::{Bytage, Outbox};

/// The queue towards one peer, as the task that writes sees it.
///
/// A message counts as waiting until the last of its bytes was handed to the system. When the connection breaks
/// before that, the message goes out again, whole, over the next one: the peer cannot have received all of it.
#[derive(Debug)]
pub(crate) struct Outbound {
    queue: Arc<Outbox>,
    /// Taken from the queue, to be sent before all that is still there.
    again: Batch,
    /// The most that is taken from the queue at once, where what waits may still be evicted or replaced.
    limit: Option<usize>,
}

impl Outbound {
    pub(crate) fn new(queue: Arc<Outbox>, limit: Option<usize>) -> Self {
        Outbound {
            queue,
            again: Batch::default(),
            limit,
        }
    }

    /// Moves what waits to the end of `batch`. `Ready(true)`: there was something; `Ready(false)`: there will never
    /// be anything again.
    pub(crate) fn poll_take(&mut self, cx: &mut Context<'_>, batch: &mut Batch) -> Poll<bool> {
        self.poll_take_within(cx, batch, usize::MAX)
    }

    /// As [`poll_take`](Self::poll_take), but no more than so many bytes, or one message.
    pub(crate) fn poll_take_within(
        &mut self,
        cx: &mut Context<'_>,
        batch: &mut Batch,
        bytes: usize,
    ) -> Poll<bool> {
        if !self.again.is_empty() {
            self.again.move_front(self.again.messages_within(bytes), batch);
            return Poll::Ready(true);
        }
        self.queue
            .take(self.limit.unwrap_or(usize::MAX), bytes, batch, cx.waker())
    }

    /// So many bytes are on their `way` now, which need not be as many as were taken.
    pub(crate) fn hold(&mut self, way: Bytage) {
        self.queue.release(0, way.and(Bytage::of(&self.again)));
    }

    /// The next message; [`written`](Self::written) or [`undo`](Self::undo) follows.
    pub(crate) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Message>> {
        loop {
            if let Some(message) = self.again.pop_front() {
                return Poll::Ready(Some(message));
            }
            let limit = self.limit.unwrap_or(usize::MAX);
            match self.queue.take(limit, usize::MAX, &mut self.again, cx.waker()) {
                Poll::Ready(true) => {}
                Poll::Ready(false) => return Poll::Ready(None),
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    /// `count` messages were handed over; so many bytes are on their `way` still.
    pub(crate) fn written(&mut self, count: usize, way: Bytage) {
        if count > 0 {
            self.queue.release(count, way.and(Bytage::of(&self.again)));
        }
    }

    /// These messages were lost on the way; they are next again.
    pub(crate) fn rewind(&mut self, mut unsent: Batch) {
        unsent.append(&mut self.again);
        self.again = unsent;
        self.hold(Bytage::default());
    }

    /// The message could not be handed over; it is next again.
    pub(crate) fn undo(&mut self, mut message: Message) {
        let mut batch = Batch::default();
        batch.push(&mut message);
        self.rewind(batch);
    }

    /// Whether messages must not be taken ahead of time, for newer ones may take their place.
    pub(crate) fn is_evicting(&self) -> bool {
        self.limit.is_some()
    }

    /// Drops the waiting messages that `stale` says so of.
    pub(crate) fn discard(&mut self, stale: impl Fn(&Message) -> bool) {
        self.queue.take_all(&mut self.again);
        let mut kept = Batch::default();
        let mut dropped = 0;
        while let Some(mut message) = self.again.pop_front() {
            if stale(&message) {
                dropped += 1;
            } else {
                kept.push(&mut message);
            }
        }
        self.again = kept;
        self.written(dropped, Bytage::default());
    }

    /// How many messages wait, or were not written whole yet.
    pub(crate) fn len(&self) -> usize {
        self.queue.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Drop for Outbound {
    fn drop(&mut self) {
        self.queue.end();
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;
    use crate::socket::outbox::Outboxes;

    fn filled(capacity: usize, texts: &[&str]) -> (Arc<Outbox>, Outbound) {
        let queue = Arc::new(Outboxes::default()).open(capacity);
        for text in texts {
            queue.try_push(&mut Message::from(*text), None).unwrap();
        }
        let outbound = Outbound::new(Arc::clone(&queue), None);
        (queue, outbound)
    }

    fn take(outbound: &mut Outbound) -> Batch {
        let mut batch = Batch::default();
        let _ = outbound.poll_take(&mut Context::from_waker(Waker::noop()), &mut batch);
        batch
    }

    fn texts(mut batch: Batch) -> Vec<Message> {
        std::iter::from_fn(|| batch.pop_front()).collect()
    }

    #[test]
    fn what_was_not_written_whole_goes_out_again_in_order() {
        let (queue, mut outbound) = filled(10, &["a", "b"]);
        let mut batch = take(&mut outbound);
        queue.try_push(&mut Message::from("c"), None).unwrap();
        batch.drop_front(1);
        outbound.written(1, Bytage::default());
        assert_eq!(outbound.len(), 2);
        outbound.rewind(batch);
        assert_eq!(outbound.len(), 2);
        assert_eq!(texts(take(&mut outbound)), [Message::from("b")]);
        assert_eq!(texts(take(&mut outbound)), [Message::from("c")]);
    }

    #[test]
    fn a_second_break_keeps_the_order_too() {
        let (_queue, mut outbound) = filled(10, &["a", "b", "c"]);
        let batch = take(&mut outbound);
        outbound.rewind(batch);
        let mut batch = take(&mut outbound);
        let mut sent = Batch::default();
        batch.move_front(1, &mut sent);
        outbound.rewind(batch);
        outbound.rewind(sent);
        assert_eq!(texts(take(&mut outbound)), ["a", "b", "c"].map(Message::from));
    }

    #[test]
    fn what_is_held_still_counts_and_what_is_written_makes_room() {
        let (queue, mut outbound) = filled(2, &["a", "b"]);
        let _batch = take(&mut outbound);
        assert!(queue.try_push(&mut Message::from("c"), None).is_err());
        outbound.written(1, Bytage::default());
        assert!(queue.try_push(&mut Message::from("c"), None).is_ok());
        assert_eq!(queue.len(), 2);
    }

    #[test]
    fn stale_messages_are_discarded_wherever_they_wait() {
        let (queue, mut outbound) = filled(10, &["a", "stale"]);
        let batch = take(&mut outbound);
        outbound.rewind(batch);
        for text in ["stale", "b"] {
            queue.try_push(&mut Message::from(text), None).unwrap();
        }
        outbound.discard(|message| *message == Message::from("stale"));
        assert_eq!(texts(take(&mut outbound)), ["a", "b"].map(Message::from));
        assert_eq!(outbound.len(), 2);
    }

    #[test]
    fn the_end_of_the_writer_closes_the_queue() {
        let (queue, outbound) = filled(2, &["a"]);
        drop(outbound);
        assert_eq!(
            queue.try_push(&mut Message::from("b"), None),
            Err(flexbond_transport::pipe::PushError::Closed(()))
        );
    }
}
