//! What waits to be written to one peer.

use std::collections::VecDeque;
use std::task::{Context, Poll};

use flexbond_transport::Message;
use flexbond_transport::pipe::PipeReceiver;

/// The queue towards one peer, as the task that writes sees it.
///
/// A message is kept until the last of its bytes was handed to the system. When the connection breaks before that,
/// the message goes out again, whole, over the next one: the peer cannot have received all of it.
#[derive(Debug)]
pub(crate) struct Outbound {
    rx: PipeReceiver<Message>,
    /// Encoded messages and the stream position at which each ends.
    in_flight: VecDeque<(u64, Message)>,
    /// Messages of a broken connection, to be sent before all others.
    again: VecDeque<Message>,
    /// The most that is taken from the queue at once, where what waits may still be evicted or replaced.
    batch: Option<usize>,
}

impl Outbound {
    pub(crate) fn new(rx: PipeReceiver<Message>, batch: Option<usize>) -> Self {
        Outbound {
            rx,
            batch,
            in_flight: VecDeque::new(),
            again: VecDeque::new(),
        }
    }

    /// `Ready(true)`: [`next`](Self::next) has a message. `Ready(false)`: there will never be one again.
    pub(crate) fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        if self.again.is_empty() {
            self.rx.fill_up_to(self.batch(), Some(cx.waker()))
        } else {
            Poll::Ready(true)
        }
    }

    /// The next message; [`sent`](Self::sent) or [`done`](Self::done) follows.
    pub(crate) fn next(&mut self) -> Option<Message> {
        self.again.pop_front().or_else(|| self.rx.pop_held())
    }

    /// Keeps a message that was encoded, until the stream has been written up to `end`.
    pub(crate) fn sent(&mut self, message: Message, end: u64) {
        self.in_flight.push_back((end, message));
    }

    /// The stream was written up to `position`.
    pub(crate) fn written(&mut self, position: u64) {
        let mut count = 0;
        while self.in_flight.front().is_some_and(|&(end, _)| end <= position) {
            self.in_flight.pop_front();
            count += 1;
        }
        if count > 0 {
            self.rx.release(count);
        }
    }

    /// A message was handed over in another way.
    pub(crate) fn done(&mut self) {
        self.rx.release(1);
    }

    /// A message could not be handed over; it is next again.
    pub(crate) fn undo(&mut self, message: Message) {
        self.again.push_front(message);
    }

    /// The connection is lost: what was not written whole will be sent again.
    pub(crate) fn rewind(&mut self) {
        let mut again: VecDeque<_> = self.in_flight.drain(..).map(|(_, message)| message).collect();
        again.append(&mut self.again);
        self.again = again;
        // Exact numbers from here on: a REQ looks at them to learn whether its request was sent.
        self.rx.settle();
    }

    /// Whether messages must not be taken ahead of time, for newer ones may take their place.
    pub(crate) fn is_evicting(&self) -> bool {
        self.batch.is_some()
    }

    /// The most messages to encode before they are written.
    pub(crate) fn batch(&self) -> usize {
        self.batch.unwrap_or(usize::MAX)
    }

    /// Drops the waiting messages that `stale` says so of.
    pub(crate) fn discard(&mut self, stale: impl Fn(&Message) -> bool) {
        while let Poll::Ready(true) = self.rx.fill(None) {
            while let Some(message) = self.rx.pop_held() {
                self.again.push_back(message);
            }
        }
        let before = self.again.len();
        self.again.retain(|message| !stale(message));
        self.rx.release(before - self.again.len());
        self.rx.settle();
    }

    /// How many messages wait, or were not written whole yet.
    pub(crate) fn len(&self) -> usize {
        self.rx.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use flexbond_transport::pipe::pipe;

    use super::*;

    fn next(outbound: &mut Outbound) -> Option<Message> {
        let _ = outbound.poll_fill(&mut Context::from_waker(Waker::noop()));
        outbound.next()
    }

    #[test]
    fn what_was_not_written_whole_goes_out_again_in_order() {
        let (tx, rx) = pipe(10);
        let mut outbound = Outbound::new(rx, None);
        for text in ["a", "b", "c"] {
            tx.try_push(Message::from(text), None).unwrap();
        }
        for end in [10, 20] {
            let message = next(&mut outbound).unwrap();
            outbound.sent(message, end);
        }
        outbound.written(15);
        assert_eq!(outbound.len(), 2);
        outbound.rewind();
        assert_eq!(next(&mut outbound), Some(Message::from("b")));
        assert_eq!(next(&mut outbound), Some(Message::from("c")));
        assert_eq!(next(&mut outbound), None);
    }

    #[test]
    fn a_second_break_keeps_the_order_too() {
        let (tx, rx) = pipe(10);
        let mut outbound = Outbound::new(rx, None);
        for text in ["a", "b", "c"] {
            tx.try_push(Message::from(text), None).unwrap();
        }
        for end in [1, 2] {
            let message = next(&mut outbound).unwrap();
            outbound.sent(message, end);
        }
        outbound.rewind();
        let message = next(&mut outbound).unwrap();
        outbound.sent(message, 1);
        outbound.rewind();
        let order: Vec<_> = std::iter::from_fn(|| next(&mut outbound)).collect();
        assert_eq!(
            order,
            [Message::from("a"), Message::from("b"), Message::from("c")]
        );
    }
}
