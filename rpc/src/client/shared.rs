//! What a client's handles, its calls and its task share.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use flexbond_session::Endpoint;
use flexbond_session::socket::Dealer;
use flexbond_transport::Message;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::calls::Calls;
use super::options::Options;
use crate::envelope::Envelope;
use crate::error::CallError;

/// What a client's handles, its calls and its task share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) endpoint: Endpoint,
    pub(super) options: Options,
    pub(super) state: Mutex<State>,
    /// Tells the task: something waits to be sent, a deadline is near, the last handle is gone.
    pub(super) work: Notify,
    /// Told when a call has ended, or a connection was made or lost.
    pub(super) change: Notify,
    handles: AtomicUsize,
}

#[derive(Debug)]
pub(super) struct State {
    pub(super) calls: Calls,
    pub(super) link: Link,
    /// What waits for a connection, or for room in its queue.
    waiting: VecDeque<(u64, Message)>,
    /// What the task sleeps until.
    pub(super) alarm: Option<Instant>,
    closed: bool,
}

/// The connection, while there is one.
#[derive(Debug)]
pub(super) enum Link {
    Up {
        dealer: Dealer,
        /// Bytes of arguments that the server takes, as far as it said.
        max_request: usize,
    },
    Down {
        reason: String,
    },
    /// The server takes no more calls by this connection.
    Draining,
}

/// A message that belongs to no call which may still be given up.
const NO_CALL: u64 = u64::MAX;

impl Shared {
    pub(super) fn new(endpoint: Endpoint, options: Options) -> Arc<Self> {
        Arc::new(Shared {
            state: Mutex::new(State {
                calls: Calls::new(options.max_response),
                link: Link::Down {
                    reason: "not connected yet".to_owned(),
                },
                waiting: VecDeque::new(),
                alarm: None,
                closed: false,
            }),
            endpoint,
            options,
            work: Notify::new(),
            change: Notify::new(),
            handles: AtomicUsize::new(1),
        })
    }

    pub(super) fn add_handle(&self) {
        self.handles.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn drop_handle(&self) {
        if self.handles.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.work.notify_one();
        }
    }

    pub(super) fn is_abandoned(&self) -> bool {
        self.handles.load(Ordering::Acquire) == 0
    }

    /// Whether one more call may be under way.
    pub(super) fn has_room(&self) -> bool {
        let state = self.state.lock();
        state.calls.len() < self.options.max_in_flight || state.is_closed()
    }

    /// Sends something of a call that need not wait for its turn.
    pub(super) fn send(&self, envelope: &Envelope) {
        // All of these can be encoded: they have neither method nor buffers.
        if let Ok(message) = envelope.encode() {
            let mut state = self.state.lock();
            if state.send(NO_CALL, message) {
                drop(state);
                self.work.notify_one();
            }
        }
    }

    /// The caller of this call is gone.
    pub(super) fn cancel(&self, call: u64) {
        let mut state = self.state.lock();
        let tell = state.calls.cancel(call);
        drop(state);
        if tell {
            self.send(&Envelope::cancel(call));
        }
        self.change.notify_waiters();
    }

    /// Wakes without the lock.
    pub(super) fn wake(wakers: impl IntoIterator<Item = Waker>) {
        wakers.into_iter().for_each(Waker::wake);
    }
}

impl State {
    /// Sends a message or lets it wait; whether the task is to see to it.
    pub(super) fn send(&mut self, call: u64, message: Message) -> bool {
        if self.waiting.is_empty()
            && let Link::Up { dealer, .. } = &self.link
        {
            match dealer.try_send(message) {
                Ok(()) => {
                    self.calls.sent(call);
                    return false;
                }
                // There is no room, or the connection is gone, of which the task will hear.
                Err(error) => self.wait(call, error.into_message()),
            }
            return true;
        }
        match (call, &self.link) {
            // What is said of calls of a lost connection concerns nobody any more.
            (NO_CALL, Link::Down { .. } | Link::Draining) => false,
            _ => {
                self.wait(call, message);
                matches!(self.link, Link::Up { .. })
            }
        }
    }

    /// Keeps a message. Those of calls that were given up are thrown away when they are many: where there is no
    /// connection nothing else would.
    fn wait(&mut self, call: u64, message: Message) {
        const FEW: usize = 64;
        if self.waiting.len() >= FEW + 2 * self.calls.len() {
            let calls = &self.calls;
            self.waiting
                .retain(|(call, _)| *call == NO_CALL || calls.is_open(*call));
        }
        self.waiting.push_back((call, message));
    }

    /// Sends what waits; ready when all of it was sent.
    pub(super) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Link::Up { dealer, .. } = &self.link else {
            return Poll::Pending;
        };
        while let Some((call, message)) = self.waiting.pop_front() {
            if call != NO_CALL && !self.calls.is_open(call) {
                continue;
            }
            let mut message = Some(message);
            match dealer.as_socket().poll_send(cx, &mut message) {
                Poll::Ready(Ok(())) => self.calls.sent(call),
                // The connection is gone, and the task will hear of it.
                Poll::Ready(Err(error)) => {
                    self.waiting.push_front((call, error.into_message()));
                    return Poll::Pending;
                }
                Poll::Pending => {
                    self.waiting.push_front((call, message.unwrap_or_default()));
                    return Poll::Pending;
                }
            }
        }
        Poll::Ready(())
    }

    /// Whether something waits that could be sent.
    pub(super) fn has_waiting(&self) -> bool {
        !self.waiting.is_empty() && matches!(self.link, Link::Up { .. })
    }

    /// The connection is lost: what was sent by it fails, and what was said of its calls is void.
    pub(super) fn lose(&mut self, endpoint: &Endpoint, reason: &str) -> Vec<Waker> {
        self.waiting.retain(|(call, _)| *call != NO_CALL);
        self.calls.fail_all(|sent| {
            sent.then(|| CallError::Disconnected {
                endpoint: endpoint.to_string(),
                reason: reason.to_owned(),
                sent: true,
            })
        })
    }

    /// Nothing is sent any more.
    pub(super) fn close(&mut self) -> Vec<Waker> {
        self.closed = true;
        self.waiting.clear();
        self.calls.fail_all(|_| Some(CallError::Closed))
    }

    pub(super) fn is_closed(&self) -> bool {
        self.closed
    }

    /// The reason why there is no connection, while there is none.
    pub(super) fn unconnected(&self) -> Option<&str> {
        match &self.link {
            Link::Down { reason } => Some(reason),
            Link::Draining => Some("the server ends and takes no more calls"),
            Link::Up { .. } => None,
        }
    }

    /// How long arguments may be, as far as the server said.
    pub(super) fn max_request(&self) -> usize {
        match &self.link {
            Link::Up { max_request, .. } => *max_request,
            Link::Down { .. } | Link::Draining => usize::MAX,
        }
    }
}

/// Whether a deadline is due before the task would look.
pub(super) fn is_sooner(deadline: Option<Instant>, alarm: Option<Instant>) -> bool {
    match (deadline, alarm) {
        (Some(deadline), Some(alarm)) => deadline < alarm,
        (deadline, None) => deadline.is_some(),
        (None, Some(_)) => false,
    }
}

/// The least time between two looks at deadlines: so many calls, each with its own, are looked at together.
pub(super) const GRAIN: Duration = Duration::from_millis(1);

#[cfg(test)]
mod tests {
    use super::super::calls::Patience;
    use super::*;

    #[test]
    fn a_call_that_was_not_sent_in_time_is_never_sent() {
        let endpoint = "inproc://late".parse().expect("an endpoint");
        let shared = Shared::new(endpoint, Options::default());
        let now = Instant::now();
        let mut state = shared.state.lock();
        let patience = Patience::Whole(Duration::from_secs(1));
        let call = state.calls.insert(now, patience, None, None);
        state.send(call, Message::from("arguments"));
        assert!(state.calls.is_open(call));
        let (told, _) = state
            .calls
            .expire(now + Duration::from_secs(2), Some("nobody there"));
        assert!(told.is_empty(), "the server knows nothing of it");
        // Its caller has not looked yet, but will hear that it was not sent.
        assert!(!state.calls.is_open(call));
    }

    #[test]
    fn calls_that_are_given_up_without_a_connection_do_not_pile_up() {
        let endpoint = "inproc://nobody".parse().expect("an endpoint");
        let shared = Shared::new(endpoint, Options::default());
        let now = Instant::now();
        let mut kept = Vec::new();
        for n in 0..10_000 {
            let mut state = shared.state.lock();
            let call = state.calls.insert(now, Patience::Endless, None, None);
            state.send(call, Message::from("arguments"));
            drop(state);
            match n % 1000 {
                0 => kept.push(call),
                _ => shared.cancel(call),
            }
        }
        let state = shared.state.lock();
        assert!(state.waiting.len() < 200, "{}", state.waiting.len());
        assert!(
            kept.iter()
                .all(|call| state.waiting.iter().any(|(known, _)| known == call))
        );
    }
}
