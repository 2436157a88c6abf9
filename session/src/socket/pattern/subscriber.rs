//! SUB and XSUB (RFC 29): everything that begins with a topic asked for.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use bytes::Bytes;
use flexbond_transport::Message;
use flexbond_transport::pipe::PipeReceiver;
use flexbond_wire::zmtp::SocketType;
use parking_lot::Mutex;

use super::{Pattern, Reach, Refusal, Unsent};
use crate::socket::fair_queue::FairQueue;
use crate::socket::lane::Lane;
use crate::socket::subscription::{Subscription, message_of};
use crate::socket::trie::Trie;
use crate::socket::wakers::WakerSet;
use crate::socket::{Options, Peer, RecvError, SendErrorKind, SubscribeError};

/// The longest topic: what fits into one command of a peer with default limits.
const MAX_TOPIC: usize = 60 << 10;

pub(crate) struct Subscriber {
    socket_type: SocketType,
    queue: FairQueue,
    wanted: Mutex<Wanted>,
    invert: bool,
}

struct Wanted {
    /// How often each topic was subscribed to.
    counts: BTreeMap<Bytes, usize>,
    topics: Trie<()>,
    /// The peers to tell of changes.
    lanes: HashMap<u64, Arc<Lane>>,
}

impl Wanted {
    /// Counts a change; true if the peers must hear of it: every subscription, but only the last cancellation.
    fn change(&mut self, subscribe: bool, topic: &[u8]) -> bool {
        if subscribe {
            *self.counts.entry(Bytes::copy_from_slice(topic)).or_default() += 1;
            self.topics.add(topic, ());
            return true;
        }
        let Some(count) = self.counts.get_mut(topic) else {
            return false;
        };
        *count -= 1;
        if *count > 0 {
            return false;
        }
        self.counts.remove(topic);
        self.topics.remove(topic, ());
        true
    }

    /// Tells every peer. What a peer cannot be told now it learns from the replay when it is ready again.
    fn tell_all(&self, message: &Message) {
        for lane in self.lanes.values() {
            match lane.tx().try_push(&mut message.clone(), None) {
                Ok(()) => lane.counters.sent(1, message.size()),
                Err(_) => lane.drop_messages(1),
            }
        }
    }
}

impl Subscriber {
    pub(crate) fn new(socket_type: SocketType, options: &Options) -> Self {
        Subscriber {
            socket_type,
            queue: FairQueue::new(),
            wanted: Mutex::new(Wanted {
                counts: BTreeMap::new(),
                topics: Trie::default(),
                lanes: HashMap::new(),
            }),
            invert: options.invert_matching,
        }
    }
}

impl Subscriber {
    /// The publisher filters; this catches what was under way when a topic was cancelled, and publishers that do not.
    fn wants(&self, wanted: &Wanted, message: &Message) -> bool {
        message
            .get(0)
            .is_some_and(|frame| wanted.topics.matches(frame) != self.invert)
    }
}

impl Pattern for Subscriber {
    fn feed(&self, lane: &Arc<Lane>, rx: PipeReceiver<Message>) -> Option<PipeReceiver<Message>> {
        self.queue.add(Arc::clone(lane), rx);
        None
    }

    /// Sends all subscriptions again. Their queue has no high-water mark, so none can be lost here.
    fn ready(&self, lane: &Arc<Lane>) -> Result<(), Refusal> {
        let mut wanted = self.wanted.lock();
        for topic in wanted.counts.keys() {
            if lane.tx().try_push(&mut message_of(true, topic), None).is_err() {
                return Err(Refusal::new("its queue has no room for the subscriptions"));
            }
        }
        wanted.lanes.insert(lane.id(), Arc::clone(lane));
        Ok(())
    }

    fn lost(&self, lane: &Arc<Lane>) {
        self.wanted.lock().lanes.remove(&lane.id());
    }

    fn detach(&self, lane: &Arc<Lane>) {
        self.lost(lane);
    }

    /// XSUB: a subscription message, or any other message for the publishers.
    fn try_send(&self, message: &mut Message) -> Result<Reach, Unsent> {
        if self.socket_type == SocketType::Sub {
            return Err(Unsent::Failed(SendErrorKind::Unsupported(SocketType::Sub)));
        }
        let mut wanted = self.wanted.lock();
        let tell = match Subscription::of(message) {
            Some(Subscription { topic, .. }) if topic.len() > MAX_TOPIC => {
                let kind = SendErrorKind::TopicTooLong {
                    size: topic.len(),
                    limit: MAX_TOPIC,
                };
                return Err(Unsent::Failed(kind));
            }
            Some(Subscription { subscribe, topic }) => wanted.change(subscribe, topic),
            None => true,
        };
        if tell {
            wanted.tell_all(message);
        }
        Ok(Reach::Some)
    }

    fn try_recv(&self, mut from: Option<&mut Option<Peer>>) -> Result<Option<Message>, RecvError> {
        while let Some(message) = self.queue.try_recv(from.as_deref_mut()) {
            if self.socket_type == SocketType::XSub || self.wants(&self.wanted.lock(), &message) {
                return Ok(Some(message));
            }
        }
        Ok(None)
    }

    fn recv_many(&self, messages: &mut Vec<Message>, limit: usize) -> Result<usize, RecvError> {
        let before = messages.len();
        loop {
            let taken = self.queue.recv_many(messages, limit - (messages.len() - before));
            if self.socket_type != SocketType::XSub {
                let wanted = self.wanted.lock();
                let mut kept = before;
                for index in before..messages.len() {
                    if self.wants(&wanted, &messages[index]) {
                        if kept < index {
                            messages.swap(kept, index);
                        }
                        kept += 1;
                    }
                }
                messages.truncate(kept);
            }
            if taken == 0 || messages.len() > before {
                return Ok(messages.len() - before);
            }
        }
    }

    fn send_waiters(&self) -> Option<&WakerSet> {
        // An XSUB's sends never wait.
        None
    }

    fn recv_waiters(&self) -> Option<&WakerSet> {
        Some(self.queue.waiters())
    }

    fn subscribe(&self, topic: &[u8], on: bool) -> Result<(), SubscribeError> {
        if topic.len() > MAX_TOPIC {
            return Err(SubscribeError::TooLong {
                size: topic.len(),
                limit: MAX_TOPIC,
            });
        }
        let mut wanted = self.wanted.lock();
        if wanted.change(on, topic) {
            wanted.tell_all(&message_of(on, topic));
        }
        Ok(())
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
    use flexbond_transport::pipe::pipe;

    use super::*;

    #[test]
    fn every_subscription_is_told_but_only_the_last_cancellation() {
        let subscriber = Subscriber::new(SocketType::Sub, &Options::new());
        let (tx, mut rx) = pipe(100);
        let lane = Lane::direct(
            Peer::unknown(1, "inproc://test".parse().unwrap()),
            tx,
            Arc::default(),
        );
        subscriber.subscribe(b"early", true).unwrap();
        subscriber.ready(&lane).unwrap();
        for on in [true, true, false, false, false] {
            subscriber.subscribe(b"t", on).unwrap();
        }
        let _ = rx.fill(None);
        let told: Vec<_> = std::iter::from_fn(|| rx.pop()).collect();
        assert_eq!(
            told,
            [
                message_of(true, b"early"),
                message_of(true, b"t"),
                message_of(true, b"t"),
                message_of(false, b"t")
            ]
        );
    }
}
