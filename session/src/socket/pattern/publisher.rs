//! PUB and XPUB (RFC 29): every message to all who subscribed to a prefix of it.

use std::sync::Arc;
use std::task::Waker;

use bytes::Bytes;
use flexbond_transport::Message;
use flexbond_transport::pipe::{PipeReceiver, PushError};
use flexbond_wire::zmtp::{Batch, SocketType};
use parking_lot::Mutex;

use super::{Pattern, Reach, Refusal, Unsent};
use crate::socket::book::Book;
use crate::socket::fair_queue::FairQueue;
use crate::socket::lane::Lane;
use crate::socket::outbox::{Boxes, Outboxes, Queue};
use crate::socket::subscription::{Subscription, message_of};
use crate::socket::trie::{Added, Removed};
use crate::socket::wakers::{WakerSet, forwarding_waker};
use crate::socket::{
    Limit, LimitAction, Options, Peer, RecvError, SendErrorKind, SlowPeer, SubscribeError, XpubVerbosity,
};

pub(crate) struct Publisher {
    socket_type: SocketType,
    boxes: Arc<Outboxes>,
    queue: FairQueue,
    /// Manual mode: the peer whose subscription message was received last.
    asking: Mutex<Option<Arc<Lane>>>,
    waiters: Arc<WakerSet>,
    room: Waker,
    verbosity: XpubVerbosity,
    manual: bool,
    welcome: Option<Bytes>,
    slow_peer: SlowPeer,
    conflate: bool,
    invert: bool,
    max_subscriptions: usize,
    max_subscription_bytes: usize,
    subscription_memory: usize,
}

impl Publisher {
    pub(crate) fn new(boxes: &Arc<Outboxes>, socket_type: SocketType, options: &Options) -> Self {
        let waiters = Arc::new(WakerSet::default());
        let queue = FairQueue::new();
        boxes.lock().book = Some(Book::default());
        Publisher {
            socket_type,
            boxes: Arc::clone(boxes),
            queue,
            asking: Mutex::new(None),
            room: forwarding_waker(Arc::clone(&waiters)),
            waiters,
            verbosity: options.xpub_verbosity,
            manual: options.xpub_manual && socket_type == SocketType::XPub,
            welcome: options.xpub_welcome.clone(),
            slow_peer: options.slow_peer,
            conflate: options.conflates(socket_type),
            invert: options.invert_matching,
            max_subscriptions: options.max_subscriptions,
            max_subscription_bytes: options.max_subscription_bytes,
            subscription_memory: options.subscription_memory,
        }
    }

    fn delivers(&self) -> bool {
        self.socket_type == SocketType::XPub
    }

    /// Whether the application hears of it.
    fn is_news(&self, subscribe: bool, first_or_last: bool) -> bool {
        match self.verbosity {
            XpubVerbosity::Changes => first_or_last,
            XpubVerbosity::Verbose => subscribe || first_or_last,
            XpubVerbosity::Verboser => true,
        }
    }

    /// Whether a peer may subscribe to this topic; if so, who has to go for it.
    fn admit(&self, book: &Book, lane: &Arc<Lane>, topic: &[u8]) -> Result<Option<Arc<Lane>>, Refusal> {
        if book.has(lane, topic) {
            return Ok(None);
        }
        let (topics, bytes) = book.extent(lane);
        if topics >= self.max_subscriptions {
            return Err(Refusal::at(
                Limit::Subscriptions,
                "it has more subscriptions than max_subscriptions",
            ));
        }
        if bytes.saturating_add(topic.len()) > self.max_subscription_bytes {
            return Err(Refusal::at(
                Limit::SubscriptionBytes,
                "its subscriptions have more bytes than max_subscription_bytes",
            ));
        }
        match book.overflow(lane, topic.len(), self.subscription_memory) {
            Some(largest) if largest.id() == lane.id() => {
                Err(Refusal::at(Limit::SubscriptionMemory, TOO_MUCH))
            }
            largest => Ok(largest.cloned()),
        }
    }

    /// The topics of a peer ended, each with whether it was the last one's.
    fn cancelled(&self, lane: &Lane, topics: Vec<(Bytes, bool)>) {
        for (topic, last) in topics {
            if self.delivers() && self.is_news(false, last) {
                // Behind the subscriptions it follows, and no more of them than those.
                let _ = lane
                    .inbound()
                    .map(|inbound| inbound.push_over(message_of(false, &topic)));
            }
        }
        // A send may have waited for this peer alone.
        self.waiters.wake_all();
    }

    /// Gives the message to one peer as its policy says; returns who is to be woken, and whether a message was
    /// dropped.
    fn deliver(
        &self,
        lane: &Lane,
        queue: &mut Queue,
        message: &Batch,
        size: usize,
        bodies: &mut Vec<Bytes>,
    ) -> (Option<Waker>, Option<Loss>) {
        let outcome = if self.conflate {
            let replaced = queue.replace(bodies, |batch| batch.append_copy(message));
            replaced.map(|(count, writer)| {
                lane.count_replaced(count);
                (writer, None)
            })
        } else if self.slow_peer == SlowPeer::DropOldest {
            let added = queue.add_evicting(message, bodies);
            added.map(|(evicted, writer)| (writer, (evicted > 0).then_some(Loss::Of(evicted))))
        } else {
            let added = queue.try_add(None, |batch| batch.append_copy(message));
            added.map(|writer| (writer, None))
        };
        match outcome {
            Ok(outcome) => {
                lane.counters.sent(1, size);
                outcome
            }
            Err(PushError::Full(())) if self.slow_peer == SlowPeer::Disconnect => (None, Some(Loss::AndEnd)),
            Err(_) => (None, Some(Loss::Of(1))),
        }
    }
}

/// Why the one goes whose topics take most.
const TOO_MUCH: &str = "all subscriptions take more than subscription_memory, and its own take most";

/// What a slow peer did not get.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Loss {
    /// So many messages: the oldest that waited, or the newest.
    Of(u64),
    /// The newest, and its connection is to end.
    AndEnd,
}

/// What follows on a message once no lock is held any more: it may run code of the application's.
#[derive(Default)]
struct Aftermath {
    woken: Vec<Waker>,
    losses: Vec<(Arc<Lane>, Loss)>,
    bodies: Vec<Bytes>,
}

impl Aftermath {
    fn settle(self) {
        self.woken.into_iter().for_each(Waker::wake);
        for (lane, loss) in self.losses {
            lane.tell_if_heavy();
            let count = match loss {
                Loss::Of(count) => count,
                Loss::AndEnd => {
                    lane.end("it was too slow (policy: disconnect)");
                    1
                }
            };
            lane.drop_messages(count);
        }
    }
}

impl Pattern for Publisher {
    fn feed(&self, lane: &Arc<Lane>, rx: PipeReceiver<Message>) -> Option<PipeReceiver<Message>> {
        if !self.delivers() {
            return Some(rx);
        }
        self.queue.add(Arc::clone(lane), rx);
        None
    }

    fn ready(&self, lane: &Arc<Lane>) -> Result<(), Refusal> {
        if let Some(book) = &mut self.boxes.lock().book {
            book.enter(lane);
        }
        if let Some(welcome) = &self.welcome {
            let _ = lane.tx().try_push(&mut Message::from(welcome.clone()), None);
        }
        Ok(())
    }

    /// The connection's subscriptions end with it; a peer that comes back sends them again.
    fn lost(&self, lane: &Arc<Lane>) {
        let book = |boxes: &mut Boxes| boxes.book.as_mut().map(|book| book.leave(lane));
        let topics = book(&mut self.boxes.lock()).unwrap_or_default();
        self.cancelled(lane, topics);
    }

    fn detach(&self, lane: &Arc<Lane>) {
        self.lost(lane);
        let mut asking = self.asking.lock();
        if asking.as_ref().is_some_and(|asking| asking.id() == lane.id()) {
            *asking = None;
        }
    }

    fn inspects(&self) -> bool {
        true
    }

    fn inspect(&self, lane: &Arc<Lane>, message: Message) -> Result<Option<Message>, Refusal> {
        let Some(Subscription { subscribe, topic }) = Subscription::of(&message) else {
            return Ok(self.delivers().then_some(message));
        };
        if self.manual {
            // The application decides, and only it can tell which requests are too many.
            return Ok(Some(message));
        }
        let mut boxes = self.boxes.lock();
        let Some(book) = &mut boxes.book else {
            return Ok(None);
        };
        let news = if subscribe {
            let largest = self.admit(book, lane, topic)?;
            let ended = largest.map(|largest| (book.leave(&largest), largest));
            // `Nothing`: the same peer again. Deployed peers count on their side; only a verbose XPUB hears of it.
            let added = book.add(lane, topic);
            drop(boxes);
            if let Some((topics, largest)) = ended {
                largest.met(Limit::SubscriptionMemory, LimitAction::Disconnected);
                largest.end(TOO_MUCH);
                self.cancelled(&largest, topics);
            }
            self.is_news(true, added == Added::First)
        } else {
            let removed = book.remove(lane, topic);
            drop(boxes);
            // A send may have waited for this peer alone.
            self.waiters.wake_all();
            match removed {
                Removed::Nothing => false,
                removed => self.is_news(false, removed == Removed::Last),
            }
        };
        Ok((self.delivers() && news).then_some(message))
    }

    fn try_send(&self, message: &mut Message) -> Result<Reach, Unsent> {
        if message.is_empty() {
            return Err(Unsent::Failed(SendErrorKind::Incomplete(false)));
        }
        if self.conflate && message.len() > 1 {
            return Err(Unsent::Failed(SendErrorKind::Multipart));
        }
        let mut boxes = self.boxes.lock();
        let Boxes { queues, book, .. } = &mut *boxes;
        let Some(book) = book else {
            return Ok(Reach::Nobody);
        };
        book.find(message, self.invert);
        let Book {
            subscribers,
            matching,
            encoded,
            ..
        } = book;
        if matching.is_empty() {
            return Ok(Reach::Nobody);
        }
        let lanes = || matching.iter().map(|place| &subscribers[*place].lane);
        if self.slow_peer == SlowPeer::Wait && !self.conflate {
            let full = |lane: &&Arc<Lane>| {
                let queue = lane.tx().queue(queues);
                queue.is_some_and(|queue| !queue.has_room_or_register(&self.room))
            };
            if let Some(lane) = lanes().find(full) {
                let lane = Arc::clone(lane);
                drop(boxes);
                lane.tell_if_heavy();
                return Err(Unsent::Full);
            }
        }
        // Once for all: what is left for each peer is a copy of a few bytes, or a reference to many.
        let size = message.size();
        encoded.push(message);
        if let (Some(memory), [_, _, ..]) = (self.boxes.memory(), &matching[..]) {
            encoded.share(memory.shared());
        }
        let mut after = Aftermath::default();
        for lane in lanes() {
            // Publishers look into what arrives, so that all their lanes are served by a task.
            if let Some(queue) = lane.tx().queue(queues) {
                let (writer, loss) = self.deliver(lane, queue, encoded, size, &mut after.bodies);
                after.woken.extend(writer);
                after.losses.extend(loss.map(|loss| (Arc::clone(lane), loss)));
            }
        }
        encoded.clear_into(&mut after.bodies);
        drop(boxes);
        after.settle();
        Ok(Reach::Some)
    }

    fn try_recv(&self, from: Option<&mut Option<Peer>>) -> Result<Option<Message>, RecvError> {
        if !self.delivers() {
            return Err(RecvError::Unsupported(self.socket_type));
        }
        let received = self.queue.try_recv_with(|lane, place| {
            if let Some(from) = from {
                *from = Some(lane.peer_at(place));
            }
            self.manual.then(|| Arc::clone(lane))
        });
        Ok(received.map(|(lane, message)| {
            if lane.is_some() && Subscription::of(&message).is_some() {
                *self.asking.lock() = lane;
            }
            message
        }))
    }

    fn recv_many(&self, messages: &mut Vec<Message>, limit: usize) -> Result<usize, RecvError> {
        if self.delivers() && !self.manual {
            return Ok(self.queue.recv_many(messages, limit));
        }
        // Manual mode: the peer that asked last is who is subscribed next, so it is one at a time.
        let message = self.try_recv(None)?;
        let count = usize::from(message.is_some());
        messages.extend(message);
        Ok(count)
    }

    fn send_waiters(&self) -> Option<&WakerSet> {
        Some(&self.waiters)
    }

    fn recv_waiters(&self) -> Option<&WakerSet> {
        Some(self.queue.waiters())
    }

    /// Manual mode: subscribes the peer that asked last, to this topic or another.
    fn subscribe(&self, topic: &[u8], on: bool) -> Result<(), SubscribeError> {
        if !self.manual {
            return Err(SubscribeError::Unsupported(self.socket_type));
        }
        let asking = self.asking.lock();
        let lane = asking.as_ref().ok_or(SubscribeError::NoPeer)?;
        let mut boxes = self.boxes.lock();
        let Some(book) = &mut boxes.book else {
            return Ok(());
        };
        if !on {
            book.remove(lane, topic);
            drop(boxes);
            self.waiters.wake_all();
        } else if lane.is_ready() {
            book.add(lane, topic);
        }
        Ok(())
    }

    fn sources(&self) -> usize {
        self.queue.sources()
    }

    fn close(&self) {
        let book = self.boxes.lock().book.take();
        drop(book);
        self.queue.clear();
        self.waiters.wake_all();
    }
}

#[cfg(test)]
mod tests {
    use std::task::{Context, Poll};

    use flexbond_transport::pipe::pipe;

    use super::*;
    use crate::socket::account::Accounts;
    use crate::socket::memory::Memory;
    use crate::socket::outbound::Outbound;

    /// A peer that is ready, and what was sent to it.
    fn peer(publisher: &Publisher, id: u64, capacity: usize) -> (Arc<Lane>, Outbound) {
        let tx = publisher.boxes.open(capacity);
        let rx = Outbound::new(Arc::clone(&tx), None);
        let (inbound, inbound_rx) = pipe(100);
        let peer = Peer::unknown(id, "inproc://test".parse().unwrap());
        let limits = [Limit::PeerRecvBytes, Limit::RecvMemory].map(|limit| (limit, usize::MAX));
        let account = Accounts::new(Memory::new(limits[0], limits[1])).open();
        let lane = Lane::served(peer, tx, (inbound, account), Arc::default());
        lane.set_ready(true);
        assert!(publisher.ready(&lane).is_ok());
        drop(publisher.feed(&lane, inbound_rx));
        (lane, rx)
    }

    fn received(rx: &mut Outbound) -> Vec<Message> {
        let mut cx = Context::from_waker(Waker::noop());
        std::iter::from_fn(|| match rx.poll_next(&mut cx) {
            Poll::Ready(message) => message,
            Poll::Pending => None,
        })
        .collect()
    }

    fn subscribe(publisher: &Publisher, lane: &Arc<Lane>, topic: &str) -> Option<Message> {
        publisher
            .inspect(lane, message_of(true, topic.as_bytes()))
            .unwrap()
    }

    #[test]
    fn overlapping_topics_deliver_once() {
        let publisher = Publisher::new(&Arc::default(), SocketType::Pub, &Options::new());
        let (lane, mut rx) = peer(&publisher, 1, 10);
        for topic in ["", "a", "ab"] {
            subscribe(&publisher, &lane, topic);
        }
        assert!(publisher.try_send(&mut Message::from("abc")).is_ok());
        assert_eq!(received(&mut rx), [Message::from("abc")]);
    }

    #[test]
    fn a_slow_peer_loses_its_own_messages_only() {
        let publisher = Publisher::new(&Arc::default(), SocketType::Pub, &Options::new());
        let (slow, mut slow_rx) = peer(&publisher, 1, 1);
        let (quick, mut quick_rx) = peer(&publisher, 2, 10);
        subscribe(&publisher, &slow, "");
        subscribe(&publisher, &quick, "");
        for text in ["1", "2", "3"] {
            assert!(publisher.try_send(&mut Message::from(text)).is_ok());
        }
        assert_eq!(received(&mut slow_rx).len(), 1);
        assert_eq!(received(&mut quick_rx).len(), 3);
        assert_eq!(slow.counters.dropped.get(), 2);
    }

    #[test]
    fn waiting_sends_to_all_or_to_none() {
        let publisher = Publisher::new(
            &Arc::default(),
            SocketType::XPub,
            &Options::new().slow_peer(SlowPeer::Wait),
        );
        let (slow, _slow_rx) = peer(&publisher, 1, 1);
        let (quick, mut quick_rx) = peer(&publisher, 2, 10);
        subscribe(&publisher, &slow, "");
        subscribe(&publisher, &quick, "");
        assert!(publisher.try_send(&mut Message::from("1")).is_ok());
        assert!(matches!(
            publisher.try_send(&mut Message::from("2")),
            Err(Unsent::Full)
        ));
        assert_eq!(received(&mut quick_rx).len(), 1);
    }

    #[test]
    fn verbosity_decides_what_an_xpub_hears() {
        let heard = |verbosity| {
            let publisher = Publisher::new(
                &Arc::default(),
                SocketType::XPub,
                &Options::new().xpub_verbosity(verbosity),
            );
            let (a, _a) = peer(&publisher, 1, 1);
            let (b, _b) = peer(&publisher, 2, 1);
            let cancel = |lane: &Arc<Lane>| publisher.inspect(lane, message_of(false, b"t")).unwrap();
            [
                subscribe(&publisher, &a, "t"),
                subscribe(&publisher, &b, "t"),
                cancel(&a),
                cancel(&b),
            ]
            .map(|message| message.is_some())
        };
        assert_eq!(heard(XpubVerbosity::Changes), [true, false, false, true]);
        assert_eq!(heard(XpubVerbosity::Verbose), [true, true, false, true]);
        assert_eq!(heard(XpubVerbosity::Verboser), [true, true, true, true]);
    }

    #[test]
    fn a_lost_peer_cancels_what_only_it_had() {
        let publisher = Publisher::new(&Arc::default(), SocketType::XPub, &Options::new());
        let (a, _a) = peer(&publisher, 1, 1);
        let (b, _b) = peer(&publisher, 2, 1);
        subscribe(&publisher, &a, "both");
        subscribe(&publisher, &b, "both");
        subscribe(&publisher, &a, "mine");
        publisher.detach(&a);
        let notices: Vec<_> = std::iter::from_fn(|| publisher.try_recv(None).unwrap()).collect();
        assert_eq!(notices, [message_of(false, b"mine")]);
    }

    #[test]
    fn subscriptions_are_limited_per_peer() {
        let publisher = Publisher::new(
            &Arc::default(),
            SocketType::Pub,
            &Options::new().max_subscriptions(2),
        );
        let (lane, _rx) = peer(&publisher, 1, 1);
        subscribe(&publisher, &lane, "a");
        subscribe(&publisher, &lane, "b");
        assert!(
            publisher.inspect(&lane, message_of(true, b"b")).is_ok(),
            "nothing new"
        );
        assert!(publisher.inspect(&lane, message_of(true, b"c")).is_err());
    }

    #[test]
    fn inverted_matching_delivers_the_rest() {
        let publisher = Publisher::new(
            &Arc::default(),
            SocketType::Pub,
            &Options::new().invert_matching(true),
        );
        let (lane, mut rx) = peer(&publisher, 1, 10);
        subscribe(&publisher, &lane, "a");
        for text in ["apple", "bread"] {
            assert!(publisher.try_send(&mut Message::from(text)).is_ok());
        }
        assert_eq!(received(&mut rx), [Message::from("bread")]);
    }

    #[test]
    fn an_unmatched_frame_is_no_subscription() {
        let publisher = Publisher::new(&Arc::default(), SocketType::Pub, &Options::new());
        let (lane, _rx) = peer(&publisher, 1, 1);
        assert_eq!(publisher.inspect(&lane, Message::from("")), Ok(None));
        assert_eq!(
            publisher.boxes.lock().book.as_ref().unwrap().extent(&lane),
            (0, 0)
        );
    }
}
