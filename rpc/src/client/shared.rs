//! What a client's handles, its calls and its task share.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use flexbond_session::Endpoint;
use flexbond_session::socket::Dealer;
use flexbond_transport::Message;
use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::calls::Calls;
use super::options::Options;
use super::room::Place;
use super::slot::Server;
use crate::envelope::Envelope;
use crate::error::CallError;
use crate::property::Limits;

/// What a client's handles, its calls and its task share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) endpoint: Endpoint,
    pub(super) options: Options,
    /// Where the client's tasks run: calls may begin outside of it.
    pub(super) runtime: Handle,
    pub(super) state: Mutex<State>,
    /// Tells the task: something waits to be sent, a deadline is near, nobody wants anything any more.
    pub(super) work: Notify,
    /// Told when a connection was made, lost or given up.
    pub(super) change: Notify,
    handles: AtomicUsize,
    /// Messages that could not be read.
    pub(super) malformed: AtomicU64,
}

#[derive(Debug)]
pub(super) struct State {
    pub(super) calls: Calls,
    pub(super) link: Link,
    /// What is said of calls that the server knows, for which there is no room. It goes before calls that wait.
    control: VecDeque<Message>,
    /// Calls that wait for a connection, or for room in its queue.
    waiting: VecDeque<Waiting>,
    /// Calls with more to say, once `control` is empty.
    stalled: BTreeSet<u64>,
    /// The deadline that the task knows of.
    watched: Option<Instant>,
    /// There is something for the task to see to.
    asks: bool,
    closed: bool,
}

/// A call that waits to be sent.
#[derive(Debug)]
struct Waiting {
    call: u64,
    /// Bytes of its arguments.
    size: usize,
    /// When the time that is left was written into it.
    written: Instant,
    message: Message,
}

/// The connection, while there is one.
#[derive(Debug)]
pub(super) enum Link {
    Up {
        dealer: Dealer,
        limits: Limits,
    },
    /// The server takes no more calls by this connection. Those under way go on.
    Draining {
        dealer: Dealer,
        limits: Limits,
    },
    Down {
        reason: String,
    },
    /// There will never be one.
    Stopped {
        reason: String,
    },
}

impl Shared {
    pub(super) fn new(endpoint: Endpoint, options: Options, runtime: Handle) -> Arc<Self> {
        Arc::new(Shared {
            state: Mutex::new(State {
                calls: Calls::new(options.max_in_flight, options.max_response),
                link: Link::Down {
                    reason: "not connected yet".to_owned(),
                },
                control: VecDeque::new(),
                waiting: VecDeque::new(),
                stalled: BTreeSet::new(),
                watched: None,
                asks: false,
                closed: false,
            }),
            endpoint,
            options,
            runtime,
            work: Notify::new(),
            change: Notify::new(),
            handles: AtomicUsize::new(1),
            malformed: AtomicU64::new(0),
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

    /// Whether neither a handle nor a call is left.
    pub(super) fn is_abandoned(&self) -> bool {
        self.handles.load(Ordering::Acquire) == 0 && self.state.lock().calls.len() == 0
    }

    /// Does something with the state; then tells, without the lock, whom it concerns.
    pub(super) fn with<T>(&self, act: impl FnOnce(&mut State, &mut Vec<Waker>) -> T) -> T {
        let mut wakers = Vec::new();
        let mut state = self.state.lock();
        let done = act(&mut state, &mut wakers);
        let next = state.calls.poll_timeout();
        let mut asks = std::mem::take(&mut state.asks);
        if next.is_some_and(|next| state.watched.is_none_or(|watched| next < watched)) {
            // The task will look: others need not tell it, too.
            state.watched = next;
            asks = true;
        }
        // The last call may be what the task waits for.
        asks |= matches!(state.link, Link::Draining { .. });
        asks |= state.calls.len() == 0 && self.handles.load(Ordering::Acquire) == 0;
        drop(state);
        if asks {
            self.work.notify_one();
        }
        wakers.into_iter().for_each(Waker::wake);
        done
    }

    /// The caller of this call is gone.
    pub(super) fn cancel(&self, call: u64) {
        self.with(|state, wakers| {
            let server = state.calls.cancel(call, wakers);
            state.forget(call);
            state.stop(call, server);
        });
    }

    /// Polls for a place for one more call. When nothing can be called any more, why.
    pub(super) fn poll_place(&self, cx: &mut Context<'_>, place: &mut Place) -> Poll<Result<(), CallError>> {
        let mut state = self.state.lock();
        if let Some(error) = state.refusal(&self.endpoint) {
            return Poll::Ready(Err(error));
        }
        state.calls.room.poll(cx, place).map(Ok)
    }

    /// A place is not wanted any more.
    pub(super) fn leave(&self, place: &mut Place) {
        if *place != Place::None {
            self.with(|state, wakers| wakers.extend(state.calls.room.leave(place)));
        }
    }

    /// Nothing is sent any more.
    pub(super) fn close(&self) {
        self.with(|state, wakers| state.close(&self.endpoint, wakers));
        self.change.notify_waiters();
    }

    /// Whether nothing is sent any more.
    pub(super) fn is_closed(&self) -> bool {
        self.state.lock().closed
    }
}

impl State {
    /// Sends a call, or lets it wait.
    pub(super) fn send(
        &mut self,
        now: Instant,
        call: u64,
        size: usize,
        mut message: Message,
        wakers: &mut Vec<Waker>,
    ) {
        if let Link::Up { dealer, .. } = &self.link {
            if self.waiting.is_empty() && self.control.is_empty() {
                match dealer.try_send(message) {
                    Ok(()) => return self.calls.sent(now, call, wakers),
                    // There is no room, or the connection is gone, of which the task will hear.
                    Err(error) => message = error.into_message(),
                }
            }
            self.asks = true;
        }
        self.wait(Waiting {
            call,
            size,
            written: now,
            message,
        });
    }

    /// Keeps a call. Those that were given up are thrown away when they are many: where there is no connection nothing
    /// else would.
    fn wait(&mut self, waiting: Waiting) {
        const FEW: usize = 64;
        if self.waiting.len() >= FEW + 2 * self.calls.len() {
            self.forget_ended();
        }
        self.waiting.push_back(waiting);
    }

    /// Lets go of the bytes of a call that was given up, if it waits; its entry is thrown away with others.
    fn forget(&mut self, call: u64) {
        let Some(first) = self.waiting.front() else {
            return;
        };
        // They wait in the order of their numbers, which begin anew after the last.
        let first = first.call >> 32;
        let order = |call: u64| ((call >> 32) as u32).wrapping_sub(first as u32);
        let found = self
            .waiting
            .binary_search_by_key(&order(call), |waiting| order(waiting.call));
        if let Ok(index) = found {
            self.waiting[index].message = Message::default();
        }
    }

    /// Throws away what waits of calls that have ended.
    fn forget_ended(&mut self) {
        let calls = &self.calls;
        self.waiting.retain(|waiting| calls.is_open(waiting.call));
    }

    /// Sends something of a call that the server knows.
    pub(super) fn tell(&mut self, envelope: &Envelope) {
        // All that is told so can be encoded: there is neither a method nor a buffer.
        if let Ok(message) = envelope.encode() {
            self.tell_message(message);
        }
    }

    /// The same, encoded.
    pub(super) fn tell_message(&mut self, mut message: Message) {
        // What is said of calls of a lost connection concerns nobody any more.
        let Some(dealer) = self.link.dealer() else {
            return;
        };
        if self.control.is_empty() {
            match dealer.try_send(message) {
                Ok(()) => return,
                Err(error) => message = error.into_message(),
            }
        }
        self.control.push_back(message);
        self.asks = true;
    }

    /// Tells the server that a call is over, if it does not know.
    pub(super) fn stop(&mut self, call: u64, server: Server) {
        if server == Server::MustStop {
            self.tell(&Envelope::cancel(call));
        }
    }

    /// Whether an item of streamed arguments may be sent; none when no more are wanted. Not while others wait to be
    /// sent, however many the server would take: they would pile up.
    pub(super) fn poll_leave(&mut self, now: Instant, cx: &mut Context<'_>, call: u64) -> Option<bool> {
        let leave = self.calls.poll_leave(cx, call)?;
        if self.control.is_empty() || !leave {
            return Some(leave);
        }
        if self.stalled.insert(call) {
            self.calls.stall(now, [call]);
        }
        Some(false)
    }

    /// Sends what waits; ready when all of it was sent.
    pub(super) fn poll_flush(
        &mut self,
        now: Instant,
        cx: &mut Context<'_>,
        wakers: &mut Vec<Waker>,
    ) -> Poll<()> {
        let (Link::Up { dealer, .. } | Link::Draining { dealer, .. }) = &self.link else {
            return Poll::Pending;
        };
        let mut send = |message: &mut Message| {
            let mut slot = Some(std::mem::take(message));
            match dealer.as_socket().poll_send(cx, &mut slot) {
                Poll::Ready(Ok(())) => true,
                // The connection is gone, and the task will hear of it.
                Poll::Ready(Err(error)) => {
                    *message = error.into_message();
                    false
                }
                Poll::Pending => {
                    *message = slot.unwrap_or_default();
                    false
                }
            }
        };
        let before = self.control.len();
        while let Some(message) = self.control.front_mut() {
            if !send(message) {
                if self.control.len() < before {
                    self.calls.stall(now, self.stalled.iter().copied());
                }
                return Poll::Pending;
            }
            self.control.pop_front();
        }
        self.calls.resume(now, std::mem::take(&mut self.stalled), wakers);
        while matches!(self.link, Link::Up { .. })
            && let Some(waiting) = self.waiting.front_mut()
        {
            let call = waiting.call;
            let deadline = self.calls.deadline(call);
            // What comes too late is not sent; that its time is over is seen in a moment.
            if self.calls.is_open(call) && deadline.is_none_or(|deadline| deadline > now) {
                waiting.write_again(now, deadline);
                if !send(&mut waiting.message) {
                    return Poll::Pending;
                }
                self.calls.sent(now, call, wakers);
            }
            self.waiting.pop_front();
        }
        Poll::Ready(())
    }

    /// Whether something waits that could be sent.
    pub(super) fn has_waiting(&self) -> bool {
        match &self.link {
            Link::Up { .. } => !self.control.is_empty() || !self.waiting.is_empty(),
            Link::Draining { .. } => !self.control.is_empty(),
            Link::Down { .. } | Link::Stopped { .. } => false,
        }
    }

    /// The other end took the connection, and has said nothing yet.
    pub(super) fn await_handshake(&mut self) {
        if let Link::Down { reason } = &mut self.link {
            *reason =
                "the other end took the connection and has not answered the handshake of ZMTP".to_owned();
        }
    }

    /// There is a connection. Calls that are too large for this server end here: sent, they would end it.
    pub(super) fn connected(&mut self, dealer: Dealer, limits: Limits, wakers: &mut Vec<Waker>) {
        self.link = Link::Up { dealer, limits };
        let calls = &mut self.calls;
        self.waiting.retain(|waiting| {
            if !calls.is_open(waiting.call) {
                return false;
            }
            let checked = limits.check(waiting.size, &waiting.message);
            let fits = checked.is_ok();
            if let Err(error) = checked {
                // It was never sent, so there is nobody to tell.
                let _ = calls.fail(waiting.call, error, wakers);
            }
            fits
        });
    }

    /// The server takes no more calls by this connection. What was not sent fails, if nobody is to wait for the next.
    pub(super) fn drain(&mut self, endpoint: &Endpoint, waits: bool, wakers: &mut Vec<Waker>) {
        let Link::Up { dealer, limits } = &self.link else {
            return;
        };
        self.link = Link::Draining {
            dealer: dealer.clone(),
            limits: *limits,
        };
        if !waits {
            let error = CallError::Unconnected {
                endpoint: endpoint.to_string(),
                reason: DRAINS.to_owned(),
            };
            self.calls.fail_all(|sent| (!sent).then(|| error.clone()), wakers);
            self.forget_ended();
        }
    }

    /// Whether the server that drains has nothing more to do for this client.
    pub(super) fn is_drained(&self) -> bool {
        matches!(self.link, Link::Draining { .. }) && !self.calls.is_any_running()
    }

    /// There is no connection any more: what was sent by it fails, and what was said of its calls is void. What was not
    /// sent fails, too, if there will be no other, or nobody is to wait for it.
    pub(super) fn lose(&mut self, endpoint: &Endpoint, link: Link, waits: bool, wakers: &mut Vec<Waker>) {
        let now = Instant::now();
        self.control.clear();
        self.calls.resume(now, std::mem::take(&mut self.stalled), wakers);
        let (reason, waits) = match &link {
            Link::Down { reason } => (reason.clone(), waits),
            Link::Stopped { reason } => (reason.clone(), false),
            Link::Up { .. } | Link::Draining { .. } => return,
        };
        self.link = link;
        let endpoint = endpoint.to_string();
        self.calls.fail_all(
            |sent| match sent {
                true => Some(CallError::Disconnected {
                    endpoint: endpoint.clone(),
                    reason: reason.clone(),
                    sent,
                }),
                false if waits => None,
                false => Some(CallError::Unconnected {
                    endpoint: endpoint.clone(),
                    reason: reason.clone(),
                }),
            },
            wakers,
        );
        self.forget_ended();
    }

    /// Nothing is sent any more: neither what waits nor what comes.
    fn close(&mut self, endpoint: &Endpoint, wakers: &mut Vec<Waker>) {
        self.closed = true;
        let reason = self.unconnected().unwrap_or("the client is closed").to_owned();
        if self.link.dealer().is_some() {
            self.link = Link::Down {
                reason: reason.clone(),
            };
        }
        self.control.clear();
        self.waiting.clear();
        let refusal = self.refusal(endpoint).unwrap_or(CallError::Closed);
        let endpoint = endpoint.to_string();
        let error = |sent| match sent {
            true => CallError::Disconnected {
                endpoint: endpoint.clone(),
                reason: reason.clone(),
                sent,
            },
            false => refusal.clone(),
        };
        self.calls.fail_all(|sent| Some(error(sent)), wakers);
        self.calls
            .resume(Instant::now(), std::mem::take(&mut self.stalled), wakers);
        wakers.extend(self.calls.room.open());
    }

    /// Why no call can ever be made, if none can.
    pub(super) fn refusal(&self, endpoint: &Endpoint) -> Option<CallError> {
        match &self.link {
            Link::Stopped { reason } => Some(CallError::Unconnected {
                endpoint: endpoint.to_string(),
                reason: reason.clone(),
            }),
            _ => self.closed.then_some(CallError::Closed),
        }
    }

    /// The reason why calls cannot be sent now, if they cannot.
    pub(super) fn unconnected(&self) -> Option<&str> {
        match &self.link {
            Link::Down { reason } | Link::Stopped { reason } => Some(reason),
            Link::Draining { .. } => Some(DRAINS),
            Link::Up { .. } => None,
        }
    }

    /// What the server takes, as far as it said.
    pub(super) fn limits(&self) -> Limits {
        match &self.link {
            Link::Up { limits, .. } | Link::Draining { limits, .. } => *limits,
            Link::Down { .. } | Link::Stopped { .. } => Limits::default(),
        }
    }

    /// Ends the calls whose time is over; returns when to look again.
    pub(super) fn look_at_the_clock(&mut self, now: Instant, wakers: &mut Vec<Waker>) -> Option<Instant> {
        let link = &self.link;
        let unsent = || match link {
            Link::Down { reason } | Link::Stopped { reason } => reason.clone(),
            Link::Draining { .. } => DRAINS.to_owned(),
            Link::Up { .. } => "the connection has no room".to_owned(),
        };
        let is_due = self.calls.poll_timeout().is_some_and(|next| next <= now);
        for call in self.calls.expire(now, unsent, wakers) {
            self.tell(&Envelope::cancel(call));
        }
        if is_due {
            self.forget_ended();
        }
        self.watched = self.calls.poll_timeout();
        self.watched.map(|next| next.max(now + GRAIN))
    }
}

impl Waiting {
    /// Writes the time that is left, which is less than when the call began to wait.
    fn write_again(&mut self, now: Instant, deadline: Option<Instant>) {
        if now.saturating_duration_since(self.written) < GRAIN {
            return;
        }
        self.written = now;
        let (Some(deadline), Ok(mut envelope)) = (deadline, Envelope::decode(self.message.clone())) else {
            return;
        };
        // A call whose time has no end for the server has none here either: what is watched is each sign of life.
        if envelope.header.deadline.is_some() {
            envelope.header.deadline = Some(deadline.saturating_duration_since(now));
            if let Ok(message) = envelope.encode() {
                self.message = message;
            }
        }
    }
}

impl Link {
    /// What the calls under way are served by.
    fn dealer(&self) -> Option<&Dealer> {
        match self {
            Link::Up { dealer, .. } | Link::Draining { dealer, .. } => Some(dealer),
            Link::Down { .. } | Link::Stopped { .. } => None,
        }
    }
}

/// Why calls wait for the next connection while there is one.
const DRAINS: &str = "the server ends and takes no more calls";

/// The least time between two looks at deadlines: so many calls, each with its own, are looked at together.
const GRAIN: Duration = Duration::from_millis(1);

#[cfg(test)]
mod tests;
