//! What makes a PUSH a PUSH: one small state machine for each pattern, without any I/O.

mod dealer;
mod pair;
mod pipeline;
mod publisher;
mod rep;
mod req;
mod router;
mod subscriber;

use std::sync::Arc;
use std::task::Waker;

use flexbond_transport::Message;
use flexbond_transport::pipe::PipeReceiver;
use flexbond_wire::zmtp::SocketType;

use super::lane::Lane;
use super::outbox::Outboxes;
use super::route::unreachable;
use super::wakers::WakerSet;
use super::{Limit, Options, Peer, RecvError, SendErrorKind, SubscribeError};

/// The rules of one pattern: where messages go, and whose are next.
///
/// A lane's life: `open` (connecting side only, before anything is known of the peer), `feed`, then `ready` and
/// `lost` for each of its connections, `detach` at the end.
pub(crate) trait Pattern: Send + Sync + 'static {
    /// A lane is made ahead of its connection; it may queue messages.
    fn open(&self, lane: &Arc<Lane>) {
        let _ = lane;
    }

    /// Takes over what arrives by a lane. Hands it back if this pattern never receives.
    fn feed(&self, lane: &Arc<Lane>, rx: PipeReceiver<Message>) -> Option<PipeReceiver<Message>> {
        let _ = lane;
        Some(rx)
    }

    /// A handshake is complete.
    fn ready(&self, lane: &Arc<Lane>) -> Result<(), Refusal> {
        let _ = lane;
        Ok(())
    }

    /// A connection was lost; the lane stays.
    fn lost(&self, lane: &Arc<Lane>) {
        let _ = lane;
    }

    /// A lane is gone for good.
    fn detach(&self, lane: &Arc<Lane>) {
        let _ = lane;
    }

    /// Whether arriving messages go through [`inspect`](Self::inspect).
    fn inspects(&self) -> bool {
        false
    }

    /// Sees a message before it is queued for the application; returns what is to be queued.
    fn inspect(&self, lane: &Arc<Lane>, message: Message) -> Result<Option<Message>, Refusal> {
        let _ = lane;
        Ok(Some(message))
    }

    /// Queues a message for whom it concerns, and says whether there was anybody. It may be changed then; otherwise it
    /// stays as it is.
    fn try_send(&self, message: &mut Message) -> Result<Reach, Unsent>;

    /// Takes the next message; says in `from`, if given, which peer sent it.
    fn try_recv(&self, from: Option<&mut Option<Peer>>) -> Result<Option<Message>, RecvError>;

    /// Moves at most `limit` messages that are there to the end of `messages`; returns how many.
    fn recv_many(&self, messages: &mut Vec<Message>, limit: usize) -> Result<usize, RecvError> {
        for count in 0..limit {
            match self.try_recv(None) {
                Ok(Some(message)) => messages.push(message),
                // An error is for the next call.
                Ok(None) | Err(_) if count > 0 => return Ok(count),
                Ok(None) => return Ok(0),
                Err(error) => return Err(error),
            }
        }
        Ok(limit)
    }

    /// Queues a message for the peer of this lane, as `try_send` does for those it chooses; a full queue remembers
    /// `waker`.
    fn try_send_by(
        &self,
        lane: &Arc<Lane>,
        message: &mut Message,
        waker: Option<&Waker>,
    ) -> Result<(), Unsent> {
        let _ = (message, waker);
        Err(unreachable(lane))
    }

    /// Moves at most `limit` messages of one peer, the next in turn, to the end of `messages`; returns its lane and, if
    /// the lane has had others, who it is.
    fn recv_batch(&self, messages: &mut Vec<Message>, limit: usize) -> Result<Option<Batched>, RecvError> {
        let _ = (messages, limit);
        Ok(None)
    }

    /// Who to tell when `try_send` may succeed again; none if it never can.
    fn send_waiters(&self) -> Option<&WakerSet>;

    /// Who to tell when `try_recv` may succeed again; none if it never can.
    fn recv_waiters(&self) -> Option<&WakerSet>;

    /// Changes what is subscribed to.
    fn subscribe(&self, topic: &[u8], on: bool) -> Result<(), SubscribeError>;

    /// Peers gone or not from which there may still be something to receive.
    fn sources(&self) -> usize {
        0
    }

    /// Messages dropped that were for no peer in particular.
    fn dropped(&self) -> u64 {
        0
    }

    /// The socket is closed: drops what nobody will receive, and wakes who waits.
    fn close(&self) {
        if let Some(waiters) = self.send_waiters() {
            waiters.wake_all();
        }
        if let Some(waiters) = self.recv_waiters() {
            waiters.wake_all();
        }
    }
}

/// Where messages came from.
pub(crate) type Batched = (Arc<Lane>, Option<Peer>);

/// Whom a message was for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reach {
    /// It was queued, or dropped for a reason of the peer's.
    Some,
    /// Nobody: it was dropped as the pattern says.
    Nobody,
}

/// Why a message was not queued.
pub(crate) enum Unsent {
    /// Nobody has room now.
    Full,
    /// It cannot be sent as it is.
    Failed(SendErrorKind),
}

/// Why a peer's connection must end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) reason: &'static str,
    /// The limit that the peer went over, if that is why.
    pub(crate) limit: Option<Limit>,
}

impl Refusal {
    pub(crate) const fn new(reason: &'static str) -> Self {
        Refusal { reason, limit: None }
    }

    pub(crate) const fn at(limit: Limit, reason: &'static str) -> Self {
        Refusal {
            reason,
            limit: Some(limit),
        }
    }
}

/// The rules of a pattern with the given options.
pub(crate) fn pattern(socket_type: SocketType, options: &Options, boxes: &Arc<Outboxes>) -> Box<dyn Pattern> {
    let conflate = options.conflates(socket_type);
    match socket_type {
        SocketType::Push => Box::new(pipeline::Push::new(boxes, conflate, options.immediate)),
        SocketType::Pull => Box::new(pipeline::Pull::new()),
        SocketType::Pair => Box::new(pair::Pair::new(boxes, options.immediate)),
        SocketType::Dealer => Box::new(dealer::Dealer::new(boxes, conflate, options)),
        SocketType::Req => Box::new(req::Req::new(boxes, options)),
        SocketType::Rep => Box::new(rep::Rep::new()),
        SocketType::Router => Box::new(router::Router::new(options)),
        SocketType::Pub | SocketType::XPub => {
            Box::new(publisher::Publisher::new(boxes, socket_type, options))
        }
        SocketType::Sub | SocketType::XSub => Box::new(subscriber::Subscriber::new(socket_type, options)),
        other => unreachable!("{other} is not one of the patterns above, which are all"),
    }
}
