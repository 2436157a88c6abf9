//! PUSH and PULL (RFC 30): each message to one of many, in turn.

use std::sync::Arc;

use flexbond_transport::Message;
use flexbond_transport::pipe::PipeReceiver;
use flexbond_wire::zmtp::SocketType;

use super::{Pattern, Reach, Refusal, Unsent};
use crate::socket::fair_queue::FairQueue;
use crate::socket::lane::Lane;
use crate::socket::load_balancer::LoadBalancer;
use crate::socket::outbox::Outboxes;
use crate::socket::wakers::WakerSet;
use crate::socket::{Peer, RecvError, SendErrorKind, SubscribeError};

pub(crate) struct Push {
    out: LoadBalancer,
    conflate: bool,
    immediate: bool,
}

impl Push {
    pub(crate) fn new(boxes: &Arc<Outboxes>, conflate: bool, immediate: bool) -> Self {
        Push {
            out: LoadBalancer::new(boxes, conflate),
            conflate,
            immediate,
        }
    }
}

impl Pattern for Push {
    fn open(&self, lane: &Arc<Lane>) {
        if !self.immediate {
            self.out.add(lane);
        }
    }

    fn ready(&self, lane: &Arc<Lane>) -> Result<(), Refusal> {
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
        self.out
            .try_send(message)
            .map(|_| Reach::Some)
            .ok_or(Unsent::Full)
    }

    fn try_recv(&self, _: Option<&mut Option<Peer>>) -> Result<Option<Message>, RecvError> {
        Err(RecvError::Unsupported(SocketType::Push))
    }

    fn send_waiters(&self) -> Option<&WakerSet> {
        Some(self.out.waiters())
    }

    fn recv_waiters(&self) -> Option<&WakerSet> {
        None
    }

    fn subscribe(&self, _topic: &[u8], _on: bool) -> Result<(), SubscribeError> {
        Err(SubscribeError::Unsupported(SocketType::Push))
    }

    fn close(&self) {
        self.out.close();
    }
}

pub(crate) struct Pull {
    queue: FairQueue,
}

impl Pull {
    pub(crate) fn new() -> Self {
        Pull {
            queue: FairQueue::new(),
        }
    }
}

impl Pattern for Pull {
    fn feed(&self, lane: &Arc<Lane>, rx: PipeReceiver<Message>) -> Option<PipeReceiver<Message>> {
        self.queue.add(Arc::clone(lane), rx);
        None
    }

    fn try_send(&self, _: &mut Message) -> Result<Reach, Unsent> {
        Err(Unsent::Failed(SendErrorKind::Unsupported(SocketType::Pull)))
    }

    fn try_recv(&self, from: Option<&mut Option<Peer>>) -> Result<Option<Message>, RecvError> {
        Ok(self.queue.try_recv(from))
    }

    fn recv_many(&self, messages: &mut Vec<Message>, limit: usize) -> Result<usize, RecvError> {
        Ok(self.queue.recv_many(messages, limit))
    }

    fn send_waiters(&self) -> Option<&WakerSet> {
        None
    }

    fn recv_waiters(&self) -> Option<&WakerSet> {
        Some(self.queue.waiters())
    }

    fn subscribe(&self, _topic: &[u8], _on: bool) -> Result<(), SubscribeError> {
        Err(SubscribeError::Unsupported(SocketType::Pull))
    }

    fn sources(&self) -> usize {
        self.queue.sources()
    }

    fn close(&self) {
        self.queue.clear();
    }
}
