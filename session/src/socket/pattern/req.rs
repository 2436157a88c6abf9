//! REQ (RFC 28): a request, then its reply.

use std::sync::Arc;

use flexbond_transport::pipe::PipeReceiver;
use flexbond_transport::{Frame, Message};
use flexbond_wire::zmtp::SocketType;
use parking_lot::Mutex;

use super::dealer::Dealer;
use super::{Pattern, Reach, Refusal, Unsent};
use crate::socket::lane::Lane;
use crate::socket::outbox::Outboxes;
use crate::socket::wakers::WakerSet;
use crate::socket::{Options, Peer, RecvError, SendErrorKind, SubscribeError};

/// A DEALER that keeps to send, receive, send, … and hides the envelope.
pub(crate) struct Req {
    dealer: Dealer,
    state: Mutex<State>,
    relaxed: bool,
    correlate: bool,
}

struct State {
    phase: Phase,
    /// The reply to the current request, found while a send in its place was tried and had to wait.
    reply: Option<(Message, Peer)>,
}

enum Phase {
    /// Nothing is asked. The number of the last request.
    Idle(u32),
    /// A request is with the peer of this lane.
    Asked { lane: u64, request: u32 },
    /// The peer went away with the request.
    Lost { peer: Peer, request: u32 },
}

impl Phase {
    fn request(&self) -> u32 {
        match self {
            Phase::Idle(request) | Phase::Asked { request, .. } | Phase::Lost { request, .. } => *request,
        }
    }
}

impl Req {
    pub(crate) fn new(boxes: &Arc<Outboxes>, options: &Options) -> Self {
        Req {
            dealer: Dealer::new(boxes, false, options),
            state: Mutex::new(State {
                phase: Phase::Idle(fastrand::u32(..)),
                reply: None,
            }),
            relaxed: options.req_relaxed,
            correlate: options.req_correlate,
        }
    }

    /// The body of a reply, if it is one: `[number,] empty, body…`.
    fn open_envelope(&self, mut message: Message, request: u32) -> Option<Message> {
        if self.correlate && message.pop_front()?.as_slice() != request.to_be_bytes() {
            return None;
        }
        if !message.pop_front()?.is_empty() || message.is_empty() {
            return None;
        }
        Some(message)
    }

    /// Takes everything that has arrived; returns the reply to the current request if it is there, and whose it is if
    /// that `is_asked`.
    fn take_reply(&self, phase: &Phase, is_asked: bool) -> Option<(Message, Option<Peer>)> {
        let (asked, request) = match phase {
            Phase::Asked { lane, request } => (Some(*lane), *request),
            Phase::Lost { peer, request } => (Some(peer.id()), *request),
            Phase::Idle(request) => (None, *request),
        };
        let see = |lane: &Arc<Lane>, place| (lane.id(), is_asked.then(|| lane.peer_at(place)));
        while let Some(((lane, peer), message)) = self.dealer.try_recv_with(see) {
            if Some(lane) == asked
                && let Some(body) = self.open_envelope(message, request)
            {
                return Some((body, peer));
            }
        }
        None
    }

    /// The peer of this lane went away; if it had the request, nobody will answer.
    fn lose(&self, lane: &Arc<Lane>) {
        let mut state = self.state.lock();
        if let Phase::Asked { lane: asked, request } = state.phase
            && asked == lane.id()
        {
            state.phase = Phase::Lost {
                peer: lane.peer(),
                request,
            };
            drop(state);
            self.wake_all();
        }
    }

    fn wake_all(&self) {
        if let Some(waiters) = self.dealer.recv_waiters() {
            waiters.wake_all();
        }
        if let Some(waiters) = self.dealer.send_waiters() {
            waiters.wake_all();
        }
    }
}

impl Pattern for Req {
    fn open(&self, lane: &Arc<Lane>) {
        self.dealer.open(lane);
    }

    fn feed(&self, lane: &Arc<Lane>, rx: PipeReceiver<Message>) -> Option<PipeReceiver<Message>> {
        self.dealer.feed(lane, rx)
    }

    fn ready(&self, lane: &Arc<Lane>) -> Result<(), Refusal> {
        self.dealer.ready(lane)
    }

    fn lost(&self, lane: &Arc<Lane>) {
        self.dealer.lost(lane);
        // A request that still waits in the queue goes out with the next connection; only one that was written
        // is lost with this one.
        if lane.tx().is_empty() {
            self.lose(lane);
        }
    }

    fn detach(&self, lane: &Arc<Lane>) {
        self.dealer.detach(lane);
        self.lose(lane);
    }

    fn try_send(&self, message: &mut Message) -> Result<Reach, Unsent> {
        let mut state = self.state.lock();
        if matches!(state.phase, Phase::Asked { .. }) && !self.relaxed {
            let kind = SendErrorKind::WrongState {
                socket_type: SocketType::Req,
                expected: "receive the reply",
            };
            return Err(Unsent::Failed(kind));
        }
        // Whatever has arrived is stale once this request is out: it has to go before the request does, for the
        // answer may be quick. The reply to the current request is kept in case this one has to wait.
        if let Some((reply, Some(peer))) = self.take_reply(&state.phase, true) {
            state.reply.get_or_insert((reply, peer));
            while self.take_reply(&state.phase, false).is_some() {}
        }
        let request = state.phase.request().wrapping_add(1);
        message.push_front(Frame::new());
        if self.correlate {
            message.push_front(&request.to_be_bytes());
        }
        match self.dealer.try_send_to_next(message) {
            Some(lane) => {
                *state = State {
                    phase: Phase::Asked { lane, request },
                    reply: None,
                };
                drop(state);
                self.wake_all();
                Ok(Reach::Some)
            }
            None => {
                message.pop_front();
                if self.correlate {
                    message.pop_front();
                }
                Err(Unsent::Full)
            }
        }
    }

    fn try_recv(&self, from: Option<&mut Option<Peer>>) -> Result<Option<Message>, RecvError> {
        let mut state = self.state.lock();
        let request = state.phase.request();
        if let Phase::Idle(_) = state.phase {
            return Err(RecvError::WrongState {
                socket_type: SocketType::Req,
                expected: "send a request",
            });
        }
        let kept = state.reply.take().map(|(message, peer)| (message, Some(peer)));
        let reply = kept.or_else(|| self.take_reply(&state.phase, from.is_some()));
        if let Some((message, peer)) = reply {
            state.phase = Phase::Idle(request);
            if let Some(from) = from {
                *from = peer;
            }
            return Ok(Some(message));
        }
        if let Phase::Lost { peer, .. } = &state.phase {
            let error = RecvError::PeerLost(peer.clone());
            state.phase = Phase::Idle(request);
            return Err(error);
        }
        Ok(None)
    }

    fn send_waiters(&self) -> Option<&WakerSet> {
        self.dealer.send_waiters()
    }

    fn recv_waiters(&self) -> Option<&WakerSet> {
        self.dealer.recv_waiters()
    }

    fn subscribe(&self, _topic: &[u8], _on: bool) -> Result<(), SubscribeError> {
        Err(SubscribeError::Unsupported(SocketType::Req))
    }

    fn sources(&self) -> usize {
        self.dealer.sources()
    }

    fn close(&self) {
        self.dealer.close();
    }
}
