//! REP (RFC 28): a request, then its reply to whoever asked.

use std::sync::Arc;

use flexbond_transport::Message;
use flexbond_transport::pipe::{PipeReceiver, PushError};
use flexbond_wire::zmtp::SocketType;
use parking_lot::Mutex;

use super::{Pattern, Reach, Unsent};
use crate::socket::fair_queue::FairQueue;
use crate::socket::lane::Lane;
use crate::socket::wakers::WakerSet;
use crate::socket::{Peer, RecvError, SendErrorKind, SubscribeError};

pub(crate) struct Rep {
    queue: FairQueue,
    /// Who asked, and the envelope that leads back over all hops.
    asked: Mutex<Option<(Arc<Lane>, Message)>>,
}

impl Rep {
    pub(crate) fn new() -> Self {
        Rep {
            queue: FairQueue::new(),
            asked: Mutex::new(None),
        }
    }
}

/// Splits a request into its envelope, the empty delimiter included, and its body; `None` if it is not a request.
fn split(mut message: Message) -> Option<(Message, Message)> {
    let delimiter = message.iter().position(|frame| frame.is_empty())?;
    let body = message.split_off(delimiter + 1);
    (!body.is_empty()).then_some((message, body))
}

impl Pattern for Rep {
    fn feed(&self, lane: &Arc<Lane>, rx: PipeReceiver<Message>) -> Option<PipeReceiver<Message>> {
        self.queue.add(Arc::clone(lane), rx);
        None
    }

    /// Never waits: a reply for a peer that is gone, or that takes no more, is dropped and counted, as in libzmq.
    fn try_send(&self, message: &mut Message) -> Result<Reach, Unsent> {
        let mut asked = self.asked.lock();
        let Some((lane, mut reply)) = asked.take() else {
            let kind = SendErrorKind::WrongState {
                socket_type: SocketType::Rep,
                expected: "receive a request",
            };
            return Err(Unsent::Failed(kind));
        };
        let size = message.size();
        reply.extend(std::mem::take(message));
        match lane.try_push(&mut reply, None) {
            Ok(()) => lane.counters.sent(1, size),
            Err(PushError::Full(()) | PushError::Closed(())) => lane.drop_messages(1),
        }
        drop(asked);
        self.queue.waiters().wake_all();
        Ok(Reach::Some)
    }

    fn try_recv(&self, from: Option<&mut Option<Peer>>) -> Result<Option<Message>, RecvError> {
        let mut asked = self.asked.lock();
        if asked.is_some() {
            return Err(RecvError::WrongState {
                socket_type: SocketType::Rep,
                expected: "send the reply",
            });
        }
        let is_asked = from.is_some();
        let see = |lane: &Arc<Lane>, place| (Arc::clone(lane), is_asked.then(|| lane.peer_at(place)));
        while let Some(((lane, peer), message)) = self.queue.try_recv_with(see) {
            if let Some((envelope, body)) = split(message) {
                if let Some(from) = from {
                    *from = peer;
                }
                *asked = Some((lane, envelope));
                return Ok(Some(body));
            }
        }
        Ok(None)
    }

    fn send_waiters(&self) -> Option<&WakerSet> {
        // Nothing to wait for: it fails or succeeds at once.
        None
    }

    fn recv_waiters(&self) -> Option<&WakerSet> {
        Some(self.queue.waiters())
    }

    fn subscribe(&self, _topic: &[u8], _on: bool) -> Result<(), SubscribeError> {
        Err(SubscribeError::Unsupported(SocketType::Rep))
    }

    fn sources(&self) -> usize {
        self.queue.sources()
    }

    fn close(&self) {
        self.queue.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_envelope_ends_at_the_first_empty_frame() {
        let (envelope, body) = split(Message::from(["a", "b", "", "x", "", "y"])).unwrap();
        assert_eq!(envelope, Message::from(["a", "b", ""]));
        assert_eq!(body, Message::from(["x", "", "y"]));
        assert!(split(Message::from(["a", "b"])).is_none(), "no delimiter");
        assert!(split(Message::from(["a", ""])).is_none(), "no body");
    }
}
