//! Messages between those who receive them and the thread that writes them: bounded in number and in bytes.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use flexbond_transport::Message;
use parking_lot::{Condvar, Mutex};
use tokio::sync::Notify;

use super::Timestamp;

/// One message that waits.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) message: Message,
    pub(super) time: Timestamp,
    /// How many messages were dropped just before it.
    pub(super) dropped: u64,
}

/// What a queue has seen.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counts {
    /// Messages that wait or are being written.
    pub(super) queued: usize,
    /// Their payload bytes.
    pub(super) queued_bytes: usize,
    /// Messages that were ever taken.
    pub(super) taken: u64,
    pub(super) dropped: u64,
    /// How often a message had to wait for room.
    pub(super) waited: u64,
}

/// Why a message was not taken.
#[derive(Debug)]
pub(super) enum Refused {
    Full(Message),
    Closed,
}

#[derive(Debug)]
pub(super) struct Queue {
    state: Mutex<State>,
    filled: Condvar,
    room: Notify,
    max_messages: usize,
    max_bytes: usize,
}

#[derive(Debug, Default)]
struct State {
    waiting: VecDeque<Waiting>,
    counts: Counts,
    dropped_since: u64,
    closed: bool,
}

/// What there is to write, until it is released.
#[derive(Debug)]
pub(super) struct Taken {
    pub(super) messages: Vec<Waiting>,
    bytes: usize,
}

// So many messages are handed over together, so that the lock is not taken for each.
const TAKEN: usize = 256;
// And about this share of the bytes: so that there is room again, and something to write, while the rest is written.
const TAKEN_SHARE: usize = 4;
// And no more than this: their memory is used again while it is in the caches.
const TAKEN_BYTES: usize = 4 << 20;

impl Queue {
    pub(super) fn new(max_messages: usize, max_bytes: usize) -> Arc<Self> {
        Arc::new(Queue {
            state: Mutex::default(),
            filled: Condvar::new(),
            room: Notify::new(),
            max_messages,
            max_bytes,
        })
    }

    /// Takes a message if there is room. A message that is longer than the whole queue goes into an empty one.
    pub(super) fn try_push(&self, message: Message, time: Timestamp) -> Result<(), Refused> {
        let mut state = self.state.lock();
        if state.closed {
            return Err(Refused::Closed);
        }
        let size = message.size();
        let counts = &mut state.counts;
        let fits =
            counts.queued < self.max_messages && size <= self.max_bytes.saturating_sub(counts.queued_bytes);
        if counts.queued > 0 && !fits {
            return Err(Refused::Full(message));
        }
        counts.queued += 1;
        counts.taken += 1;
        counts.queued_bytes += size;
        let dropped = std::mem::take(&mut state.dropped_since);
        state.waiting.push_back(Waiting {
            message,
            time,
            dropped,
        });
        drop(state);
        self.filled.notify_one();
        Ok(())
    }

    /// As [`try_push`](Self::try_push), and waits for room.
    ///
    /// # Cancel safety
    /// The message of a dropped future is not taken.
    pub(super) async fn push(&self, mut message: Message, time: Timestamp) -> Result<(), Refused> {
        match self.try_push(message, time) {
            Err(Refused::Full(back)) => message = back,
            done => return done,
        }
        self.state.lock().counts.waited += 1;
        loop {
            let room = self.room.notified();
            tokio::pin!(room);
            // Before looking again, so that room made in between is not missed.
            room.as_mut().enable();
            match self.try_push(message, time) {
                Err(Refused::Full(back)) => message = back,
                done => return done,
            }
            room.await;
        }
    }

    /// Waits until at most so many bytes are queued, or none are taken any more.
    ///
    /// # Cancel safety
    /// Nothing is changed.
    pub(super) async fn shrunk_to(&self, bytes: usize) {
        loop {
            let room = self.room.notified();
            tokio::pin!(room);
            // Before looking, so that room made in between is not missed.
            room.as_mut().enable();
            {
                let state = self.state.lock();
                if state.closed || state.counts.queued_bytes <= bytes {
                    return;
                }
            }
            room.await;
        }
    }

    /// Counts a message that is left out.
    pub(super) fn drop_one(&self) {
        let mut state = self.state.lock();
        state.counts.dropped += 1;
        state.dropped_since += 1;
    }

    /// Messages to write; waits for some until `deadline`. `None` when the queue is closed and empty.
    pub(super) fn take(&self, deadline: Option<Instant>) -> Option<Taken> {
        let mut state = self.state.lock();
        while state.waiting.is_empty() {
            if state.closed {
                return None;
            }
            match deadline {
                None => self.filled.wait(&mut state),
                Some(deadline) => {
                    if self.filled.wait_until(&mut state, deadline).timed_out() {
                        break;
                    }
                }
            }
        }
        let (mut messages, mut bytes) = (Vec::new(), 0);
        let most = TAKEN_BYTES.min(self.max_bytes / TAKEN_SHARE);
        while messages.len() < TAKEN && (messages.is_empty() || bytes < most) {
            let Some(waiting) = state.waiting.pop_front() else {
                break;
            };
            bytes += waiting.message.size();
            messages.push(waiting);
        }
        Some(Taken { messages, bytes })
    }

    /// Whether a message waits that was not taken yet.
    pub(super) fn has_more(&self) -> bool {
        !self.state.lock().waiting.is_empty()
    }

    /// Makes room: what was taken is written.
    pub(super) fn release(&self, taken: Taken) {
        let Taken { messages, bytes } = taken;
        let count = messages.len();
        // Outside the lock: the last of many large buffers may be freed here.
        drop(messages);
        let mut state = self.state.lock();
        state.counts.queued -= count;
        state.counts.queued_bytes -= bytes;
        drop(state);
        self.room.notify_waiters();
    }

    /// Takes no more; what waits is still written.
    pub(super) fn close(&self) {
        self.state.lock().closed = true;
        self.filled.notify_one();
        self.room.notify_waiters();
    }

    /// Takes no more and forgets what waits.
    pub(super) fn abandon(&self) {
        let mut state = self.state.lock();
        state.closed = true;
        let waiting = std::mem::take(&mut state.waiting);
        (state.counts.queued, state.counts.queued_bytes) = (0, 0);
        drop(state);
        drop(waiting);
        self.room.notify_waiters();
    }

    /// Messages that were dropped after the last one that was taken.
    pub(super) fn dropped_last(&self) -> u64 {
        std::mem::take(&mut self.state.lock().dropped_since)
    }

    pub(super) fn counts(&self) -> Counts {
        self.state.lock().counts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(len: usize) -> Message {
        Message::from(vec![0; len])
    }

    #[test]
    fn both_limits_hold_and_a_giant_goes_alone() {
        let time = Timestamp::default();
        let queue = Queue::new(3, 100);
        for len in [40, 40] {
            queue.try_push(message(len), time).unwrap();
        }
        assert!(matches!(queue.try_push(message(30), time), Err(Refused::Full(_))));
        queue.try_push(message(20), time).unwrap();
        assert!(matches!(queue.try_push(message(0), time), Err(Refused::Full(_))));
        for _ in 0..3 {
            let taken = queue.take(None).unwrap();
            assert_eq!(taken.messages.len(), 1);
            assert!(
                matches!(queue.try_push(message(90), time), Err(Refused::Full(_))),
                "still being written"
            );
            queue.release(taken);
        }
        queue.try_push(message(1_000), time).unwrap();
        assert!(matches!(queue.try_push(message(1), time), Err(Refused::Full(_))));
        assert_eq!(queue.counts().queued_bytes, 1_000);
    }

    #[test]
    fn long_messages_are_taken_a_few_at_a_time() {
        let queue = Queue::new(100, 100);
        for _ in 0..5 {
            queue.try_push(message(20), Timestamp::default()).unwrap();
        }
        assert!(matches!(
            queue.try_push(message(20), Timestamp::default()),
            Err(Refused::Full(_))
        ));
        let taken = queue.take(None).unwrap();
        assert_eq!((taken.messages.len(), taken.bytes), (2, 40));
        queue.release(taken);
        for _ in 0..2 {
            queue.try_push(message(20), Timestamp::default()).unwrap();
        }
    }

    #[test]
    fn what_was_dropped_is_told_with_the_next_message() {
        let queue = Queue::new(9, 100);
        queue.try_push(message(1), Timestamp::default()).unwrap();
        queue.drop_one();
        queue.drop_one();
        queue.try_push(message(1), Timestamp::default()).unwrap();
        queue.drop_one();
        let dropped: Vec<u64> = queue
            .take(None)
            .unwrap()
            .messages
            .iter()
            .map(|waiting| waiting.dropped)
            .collect();
        assert_eq!(
            (dropped, queue.dropped_last(), queue.counts().dropped),
            (vec![0, 2], 1, 3)
        );
    }

    #[tokio::test]
    async fn who_wants_few_to_wait_goes_on_when_few_do_or_nothing_is_taken() {
        let queue = Queue::new(9, 100);
        let shrunk = |bytes| {
            tokio::spawn({
                let queue = queue.clone();
                async move { queue.shrunk_to(bytes).await }
            })
        };
        for len in [20, 20, 20] {
            queue.try_push(message(len), Timestamp::default()).unwrap();
        }
        let (soon, late, over) = (shrunk(60), shrunk(20), shrunk(0));
        soon.await.unwrap();
        let taken = queue.take(None).unwrap();
        assert_eq!(taken.bytes, 40);
        tokio::task::yield_now().await;
        assert!(!late.is_finished(), "what is being written waits as well");
        queue.release(taken);
        late.await.unwrap();
        assert!(!over.is_finished());
        queue.abandon();
        over.await.unwrap();
    }

    #[tokio::test]
    async fn a_push_waits_for_room_and_a_dropped_one_takes_none() {
        let queue = Queue::new(1, 100);
        let time = Timestamp::default();
        queue.push(message(1), time).await.unwrap();
        {
            let waiting = queue.push(message(2), time);
            tokio::pin!(waiting);
            assert!(
                std::future::poll_fn(|cx| std::task::Poll::Ready(waiting.as_mut().poll(cx).is_pending()))
                    .await
            );
        }
        let other = tokio::spawn({
            let queue = queue.clone();
            async move { queue.push(message(3), time).await }
        });
        tokio::task::yield_now().await;
        let taken = queue.take(None).unwrap();
        queue.release(taken);
        other.await.unwrap().unwrap();
        let taken = queue.take(None).unwrap();
        assert_eq!(taken.messages[0].message.size(), 3);
        queue.close();
        queue.release(taken);
        assert!(queue.take(None).is_none());
        assert!(matches!(queue.push(message(1), time).await, Err(Refused::Closed)));
    }
}
