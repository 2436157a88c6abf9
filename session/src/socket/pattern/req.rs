//! REQ (RFC 28): a request, then its reply.

use std::sync::Arc;

use flexbond_transport::pipe::PipeReceiver;
use flexbond_transport::{Frame, Message};
use flexbond_wire::zmtp::SocketType;
use parking_lot::Mutex;

use super::dealer::Dealer;
use super::{Pattern, Refusal, Unsent};
use crate::socket::lane::Lane;
use crate::socket::wakers::WakerSet;
use crate::socket::{Options, Peer, RecvError, SendErrorKind, SubscribeError};

/// A DEALER that keeps to send, receive, send, … and hides the envelope.
pub(crate) struct Req {
    dealer: Dealer,
    phase: Mutex<Phase>,
    relaxed: bool,
    correlate: bool,
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
    pub(crate) fn new(options: &Options) -> Self {
        Req {
            dealer: Dealer::new(false, options),
            phase: Mutex::new(Phase::Idle(fastrand::u32(..))),
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
        let mut phase = self.phase.lock();
        // A request that still waits in the queue goes out with the next connection; only one that was written
        // is lost with this one.
        if let Phase::Asked { lane: asked, request } = *phase
            && asked == lane.id()
            && lane.tx().is_empty()
        {
            *phase = Phase::Lost {
                peer: lane.peer(),
                request,
            };
            drop(phase);
            self.wake_all();
        }
    }

    fn detach(&self, lane: &Arc<Lane>) {
        self.dealer.detach(lane);
        let mut phase = self.phase.lock();
        if let Phase::Asked { lane: asked, request } = *phase
            && asked == lane.id()
        {
            *phase = Phase::Lost {
                peer: lane.peer(),
                request,
            };
            drop(phase);
            self.wake_all();
        }
    }

    fn try_send(&self, mut message: Message) -> Result<(), Unsent> {
        let mut phase = self.phase.lock();
        if matches!(*phase, Phase::Asked { .. }) && !self.relaxed {
            let kind = SendErrorKind::WrongState {
                socket_type: SocketType::Req,
                expected: "receive the reply",
            };
            return Err(Unsent::Failed(kind, message));
        }
        let request = phase.request().wrapping_add(1);
        message.push_front(Frame::new());
        if self.correlate {
            message.push_front(&request.to_be_bytes());
        }
        match self.dealer.try_send_to_next(message) {
            Ok(lane) => {
                if self.relaxed {
                    // Whatever has arrived answers an older request.
                    while self.dealer.try_recv().is_ok_and(|stale| stale.is_some()) {}
                }
                *phase = Phase::Asked {
                    lane: lane.id(),
                    request,
                };
                drop(phase);
                self.wake_all();
                Ok(())
            }
            Err(mut message) => {
                message.pop_front();
                if self.correlate {
                    message.pop_front();
                }
                Err(Unsent::Full(message))
            }
        }
    }

    fn try_recv(&self) -> Result<Option<(Message, Arc<Lane>)>, RecvError> {
        let mut phase = self.phase.lock();
        if let Phase::Idle(_) = *phase {
            return Err(RecvError::WrongState {
                socket_type: SocketType::Req,
                expected: "send a request",
            });
        }
        while let Some((message, lane)) = self.dealer.try_recv()? {
            let (asked, request) = match &*phase {
                Phase::Asked { lane, request } => (*lane, *request),
                Phase::Lost { peer, request } => (peer.id(), *request),
                Phase::Idle(_) => unreachable!("looked at above, under the same lock"),
            };
            if lane.id() == asked
                && let Some(body) = self.open_envelope(message, request)
            {
                *phase = Phase::Idle(request);
                return Ok(Some((body, lane)));
            }
        }
        if let Phase::Lost { peer, request } = &*phase {
            let (peer, request) = (peer.clone(), *request);
            *phase = Phase::Idle(request);
            return Err(RecvError::PeerLost(peer));
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
