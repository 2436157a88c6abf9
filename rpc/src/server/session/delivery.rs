//! Answers of one connection on their way back, as fast as the other end reads.

use std::sync::Arc;
use std::task::{Context as TaskContext, Poll};

use flexbond_session::socket::SendErrorKind;
use flexbond_transport::{Frame, Message};

use super::super::backlog::Backlog;
use super::super::calls::Ticket;
use super::super::hub::Counters;
use super::{Session, State};
use crate::envelope::Envelope;

/// What follows when a message was taken to be sent, without the lock.
#[derive(Clone, Copy)]
#[must_use]
enum Then {
    Nothing,
    /// The server's task is to see to the rest.
    Stall,
    /// The peer does not read.
    End,
}

/// Bytes of large messages in the socket's queue from which on streams wait: enough to keep a connection busy, and few
/// enough that a reader who stops costs no more.
const AHEAD: usize = 4 << 20;

impl Session {
    /// Sends the last message of a call, unless something else has ended it.
    pub(in super::super) fn finish(self: &Arc<Self>, ticket: Ticket, envelope: &Envelope) {
        // What cannot be encoded was refused before.
        let message = envelope.encode().ok();
        let mut state = self.state.lock();
        // With the answer: the caller may use the number again as soon as it has come.
        let then = match (state.calls.end(ticket), message) {
            (true, Some(message)) => self.push(&mut state, message),
            _ => Then::Nothing,
        };
        drop(state);
        self.follow(then);
    }

    /// Sends an item of a streamed answer, once the peer has read so much that there is room. False when the call has
    /// ended.
    pub(in super::super) async fn send_item(self: &Arc<Self>, ticket: Ticket, envelope: &Envelope) -> bool {
        let Ok(message) = envelope.encode() else {
            return false;
        };
        let mut message = Some(message);
        loop {
            let room = self.room.notified();
            tokio::pin!(room);
            // Before looking, so that no change is missed.
            room.as_mut().enable();
            if let Some(sent) = self.try_item(ticket, &mut message) {
                return sent;
            }
            room.await;
        }
    }

    /// None while there is no room.
    fn try_item(self: &Arc<Self>, ticket: Ticket, message: &mut Option<Message>) -> Option<bool> {
        let mut state = self.state.lock();
        if state.gone || !state.calls.is_this(ticket) {
            return Some(false);
        }
        let then = match self.has_room(&mut state) {
            // However large it is: one at a time.
            true => self.hand_over(&mut state, message.take()?),
            false => stall(&mut state),
        };
        drop(state);
        self.follow(then);
        message.is_none().then_some(true)
    }

    fn has_room(&self, state: &mut State) -> bool {
        if state.backlog.len() > 0 {
            return false;
        }
        if state.backlog.bytes() > AHEAD {
            state.backlog.left(self.route.waiting());
        }
        state.backlog.bytes() <= AHEAD
    }

    /// Sends something that is not the end of a call.
    pub(super) fn send(self: &Arc<Self>, envelope: &Envelope) {
        // All that are sent so can be encoded.
        let Ok(message) = envelope.encode() else {
            return;
        };
        self.send_message(message);
    }

    /// The same of one that is encoded.
    pub(super) fn send_message(self: &Arc<Self>, message: Message) {
        let then = self.push(&mut self.state.lock(), message);
        self.follow(then);
    }

    /// Sends the last messages of calls that the server stops, in one go. As many are kept as there are calls: who has
    /// read its answers so far could not have read these, whatever is allowed otherwise.
    pub(super) fn send_last(self: &Arc<Self>, envelopes: &[Envelope]) {
        let mut follows = Then::Nothing;
        let mut lost = 0;
        let mut state = self.state.lock();
        // All that are sent so can be encoded.
        for message in envelopes.iter().filter_map(|envelope| envelope.encode().ok()) {
            if let then @ (Then::Stall | Then::End) = self.hand_over(&mut state, message) {
                follows = then;
            }
            lost += usize::from(state.gone);
        }
        drop(state);
        Counters::add_many(&self.hub.counters.undelivered, lost);
        self.follow(follows);
    }

    /// Sends, or keeps for when there is room. Nobody waits: how much is kept is bounded.
    fn push(&self, state: &mut State, message: Message) -> Then {
        if state.gone {
            return Then::Nothing;
        }
        let size = message.size();
        let options = &self.hub.options;
        let is_over =
            |backlog: &Backlog| backlog.bytes() > 0 && backlog.bytes() + size > options.max_unread_bytes;
        if is_over(&state.backlog) {
            // As far as is known: it may have left.
            state.backlog.left(self.route.waiting());
        }
        let kept = state.backlog.len();
        if !is_over(&state.backlog) && (kept == 0 || kept < options.max_unread) {
            return self.hand_over(state, message);
        }
        state.gone = true;
        let dropped = 1 + state.backlog.clear();
        Counters::add_many(&self.hub.counters.undelivered, dropped);
        Then::End
    }

    fn hand_over(&self, state: &mut State, mut message: Message) -> Then {
        if state.gone {
            return Then::Nothing;
        }
        if state.delimited {
            message.push_front(Frame::new());
        }
        if state.backlog.len() > 0 {
            state.backlog.keep(message);
            return Then::Nothing;
        }
        let size = message.size();
        match self.route.try_send(message) {
            Ok(()) => {
                state.backlog.hand(size, || self.route.waiting());
                Then::Nothing
            }
            Err(error) if *error.kind() == SendErrorKind::WouldBlock => {
                state.backlog.keep(error.into_message());
                stall(state)
            }
            Err(_) => {
                state.gone = true;
                Then::Nothing
            }
        }
    }

    fn follow(self: &Arc<Self>, then: Then) {
        match then {
            Then::Nothing => {}
            Then::Stall => self.hub.stalls(Arc::clone(self)),
            Then::End => {
                Counters::add(&self.hub.counters.slow_peers);
                self.route.end("it does not read its answers");
                // Nobody will hear of their ends.
                self.lost();
            }
        }
    }

    /// Sends what was kept, as far as there is room. Ready when streams may go on, too.
    pub(in super::super) fn poll_stalled(&self, cx: &mut TaskContext<'_>) -> Poll<()> {
        let mut state = self.state.lock();
        while let Some(message) = state.backlog.pop() {
            let size = message.size();
            let mut message = Some(message);
            match self.route.poll_send(cx, &mut message) {
                Poll::Ready(Ok(())) => state.backlog.hand(size, || self.route.waiting()),
                Poll::Ready(Err(_)) => {
                    state.gone = true;
                    let dropped = 1 + state.backlog.clear();
                    Counters::add_many(&self.hub.counters.undelivered, dropped);
                }
                Poll::Pending => {
                    state.backlog.undo(message.unwrap_or_default());
                    state.waker = Some(cx.waker().clone());
                    return Poll::Pending;
                }
            }
        }
        if !state.gone {
            let waiting = self.route.poll_waiting(cx);
            state.backlog.left(waiting);
            if state.backlog.bytes() > AHEAD {
                state.waker = Some(cx.waker().clone());
                return Poll::Pending;
            }
        }
        state.stalled = false;
        state.waker = None;
        drop(state);
        self.room.notify_waiters();
        Poll::Ready(())
    }
}

fn stall(state: &mut State) -> Then {
    match std::mem::replace(&mut state.stalled, true) {
        true => Then::Nothing,
        false => Then::Stall,
    }
}
