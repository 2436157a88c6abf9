//! PAIR (RFC 31): exactly one peer, both ways.

use std::sync::Arc;

use flexbond_transport::Message;
use flexbond_transport::pipe::PipeReceiver;
use flexbond_wire::zmtp::SocketType;
use parking_lot::Mutex;

use super::{Pattern, Reach, Refusal, Unsent};
use crate::socket::fair_queue::FairQueue;
use crate::socket::lane::Lane;
use crate::socket::load_balancer::LoadBalancer;
use crate::socket::outbox::Outboxes;
use crate::socket::wakers::WakerSet;
use crate::socket::{Peer, RecvError, SubscribeError};

pub(crate) struct Pair {
    /// The lane that holds the place.
    holder: Mutex<Option<u64>>,
    out: LoadBalancer,
    queue: FairQueue,
    immediate: bool,
}

impl Pair {
    pub(crate) fn new(boxes: &Arc<Outboxes>, immediate: bool) -> Self {
        Pair {
            holder: Mutex::new(None),
            out: LoadBalancer::new(boxes, false),
            queue: FairQueue::new(),
            immediate,
        }
    }

    /// Takes the place for this lane, unless another has it.
    fn hold(&self, lane: &Lane) -> bool {
        *self.holder.lock().get_or_insert(lane.id()) == lane.id()
    }
}

impl Pattern for Pair {
    fn open(&self, lane: &Arc<Lane>) {
        if !self.immediate && self.hold(lane) {
            self.out.add(lane);
        }
    }

    fn feed(&self, lane: &Arc<Lane>, rx: PipeReceiver<Message>) -> Option<PipeReceiver<Message>> {
        self.queue.add(Arc::clone(lane), rx);
        None
    }

    fn ready(&self, lane: &Arc<Lane>) -> Result<(), Refusal> {
        if !self.hold(lane) {
            return Err(Refusal::new("this PAIR has its one peer already"));
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
        let mut holder = self.holder.lock();
        if *holder == Some(lane.id()) {
            *holder = None;
        }
    }

    fn try_send(&self, message: &mut Message) -> Result<Reach, Unsent> {
        self.out
            .try_send(message)
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
        Err(SubscribeError::Unsupported(SocketType::Pair))
    }

    fn sources(&self) -> usize {
        self.queue.sources()
    }

    fn close(&self) {
        self.queue.clear();
        self.out.close();
    }
}

#[cfg(test)]
mod tests {
    use flexbond_transport::pipe::pipe;

    use super::*;

    #[test]
    fn the_place_is_free_again_once_its_holder_is_gone() {
        let pair = Pair::new(&Arc::default(), false);
        let lane = |id| {
            Lane::direct(
                Peer::unknown(id, "inproc://test".parse().unwrap()),
                pipe(1).0,
                Arc::default(),
            )
        };
        let (first, second) = (lane(1), lane(2));
        assert!(pair.ready(&first).is_ok());
        assert!(pair.ready(&second).is_err());
        pair.detach(&second);
        assert!(pair.ready(&second).is_err(), "a refused peer frees nothing");
        pair.detach(&first);
        assert!(pair.ready(&second).is_ok());
    }
}
