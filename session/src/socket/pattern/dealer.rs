//! DEALER (RFC 28): any number of requests at once, to many peers in turn; answers from all in turn.

use std::sync::Arc;

use flexbond_transport::pipe::PipeReceiver;
use flexbond_transport::{Frame, Message};
use flexbond_wire::zmtp::SocketType;

use super::{Pattern, Reach, Refusal, Unsent};
use crate::socket::fair_queue::FairQueue;
use crate::socket::lane::Lane;
use crate::socket::load_balancer::LoadBalancer;
use crate::socket::outbox::Outboxes;
use crate::socket::wakers::WakerSet;
use crate::socket::{Options, Peer, RecvError, SendErrorKind, SubscribeError};

pub(crate) struct Dealer {
    out: LoadBalancer,
    queue: FairQueue,
    conflate: bool,
    immediate: bool,
    probe: bool,
}

impl Dealer {
    pub(crate) fn new(boxes: &Arc<Outboxes>, conflate: bool, options: &Options) -> Self {
        Dealer {
            out: LoadBalancer::new(boxes, conflate),
            queue: FairQueue::new(),
            conflate,
            immediate: options.immediate,
            probe: options.probe_router,
        }
    }

    /// As [`FairQueue::try_recv_with`].
    pub(super) fn try_recv_with<R>(&self, see: impl FnOnce(&Arc<Lane>, u64) -> R) -> Option<(R, Message)> {
        self.queue.try_recv_with(see)
    }

    /// Queues the message for the next peer with room, and says by which lane.
    pub(super) fn try_send_to_next(&self, message: &mut Message) -> Option<u64> {
        self.out.try_send(message)
    }
}

/// Sends the empty message by which a ROUTER learns of a new peer (`ZMQ_PROBE_ROUTER`).
pub(super) fn probe(lane: &Lane) {
    // A queue that is full has other messages to say the same.
    let _ = lane.tx().try_push(&mut Message::from(Frame::new()), None);
}

impl Pattern for Dealer {
    fn open(&self, lane: &Arc<Lane>) {
        if !self.immediate {
            self.out.add(lane);
        }
    }

    fn feed(&self, lane: &Arc<Lane>, rx: PipeReceiver<Message>) -> Option<PipeReceiver<Message>> {
        self.queue.add(Arc::clone(lane), rx);
        None
    }

    fn ready(&self, lane: &Arc<Lane>) -> Result<(), Refusal> {
        if self.probe {
            probe(lane);
        }
        self.out.add(lane);
        Ok(())
    }

    fn lost(&self, lane: &Arc<Lane>) {
        if self.immediate {
            self.out.remove(lane);
        }
    }

    fn detach(&self, lane: &Arc<Lane>) {
        self.out.remove(lane);
    }

    fn try_send(&self, message: &mut Message) -> Result<Reach, Unsent> {
        if self.conflate && message.len() > 1 {
            return Err(Unsent::Failed(SendErrorKind::Multipart));
        }
        self.try_send_to_next(message)
            .map(|_| Reach::Some)
            .ok_or(Unsent::Full)
    }

    fn try_recv(&self, from: Option<&mut Option<Peer>>) -> Result<Option<Message>, RecvError> {
        Ok(self.queue.try_recv(from))
    }

    fn recv_many(&self, messages: &mut Vec<Message>, limit: usize) -> Result<usize, RecvError> {
        Ok(self.queue.recv_many(messages, limit))
    }

    fn send_waiters(&self) -> Option<&WakerSet> {
        Some(self.out.waiters())
    }

    fn recv_waiters(&self) -> Option<&WakerSet> {
        Some(self.queue.waiters())
    }

    fn subscribe(&self, _topic: &[u8], _on: bool) -> Result<(), SubscribeError> {
        Err(SubscribeError::Unsupported(SocketType::Dealer))
    }

    fn sources(&self) -> usize {
        self.queue.sources()
    }

    fn close(&self) {
        self.queue.clear();
        self.out.close();
    }
}
