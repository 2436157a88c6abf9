//! The way from a socket to one peer.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker};

use flexbond_transport::pipe::{PipeSender, PushError};
use flexbond_transport::{Frame, Message};
use parking_lot::Mutex;

use super::account::Account;
use super::acquaintance::Acquaintance;
use super::limit::LimitCounters;
use super::monitor::{Event, Watchers};
use super::out::Out;
use super::outbox::Outbox;
use super::stats::{Counters, PeerStats, SharedCounter};
use super::{Limit, LimitAction, Peer};

/// The way from a socket to one peer: the queue towards it, who it is, and what has passed.
///
/// On the connecting side a lane outlives its connections; on the accepting side it lives as long as the one.
#[derive(Debug)]
pub(crate) struct Lane {
    id: u64,
    tx: Out,
    /// Towards the application, when a task serves the lane; a direct lane's peer pushes by itself.
    inbound: Option<PipeSender<Message>>,
    ready: AtomicBool,
    who: Mutex<Acquaintance>,
    /// Whether a connection was made again, or may be: whose a message is depends on its place.
    renewed: AtomicBool,
    pub(crate) counters: Counters,
    pub(crate) reconnects: SharedCounter,
    /// What came by it and was not received; none if that is the peer's.
    account: Option<Arc<Account>>,
    /// How often each limit was met.
    met: LimitCounters,
    end: Mutex<End>,
    watchers: Arc<Watchers>,
}

/// Why a connection ends whose peer has most of what is not there as a whole.
pub(crate) const TOO_HEAVY: &str =
    "recv_memory is used up, and of all messages that are not there as a whole it has most";

#[derive(Debug, Default)]
struct End {
    reason: Option<&'static str>,
    waker: Option<Waker>,
}

impl Lane {
    /// A lane whose messages the peer takes by itself.
    pub(crate) fn direct(peer: Peer, tx: PipeSender<Message>, watchers: Arc<Watchers>) -> Arc<Self> {
        Lane::new(peer, Out::Direct(tx), None, watchers)
    }

    /// A lane whose messages a task writes, and whose inbound messages it pushes.
    pub(crate) fn served(
        peer: Peer,
        tx: Arc<Outbox>,
        inbound: (PipeSender<Message>, Arc<Account>),
        watchers: Arc<Watchers>,
    ) -> Arc<Self> {
        Lane::new(peer, Out::Served(tx), Some(inbound), watchers)
    }

    fn new(
        peer: Peer,
        tx: Out,
        inbound: Option<(PipeSender<Message>, Arc<Account>)>,
        watchers: Arc<Watchers>,
    ) -> Arc<Self> {
        let (inbound, account) = inbound.unzip();
        Arc::new(Lane {
            id: peer.id(),
            tx,
            inbound,
            ready: AtomicBool::new(false),
            who: Mutex::new(Acquaintance::new(peer)),
            renewed: AtomicBool::new(false),
            counters: Counters::default(),
            reconnects: SharedCounter::default(),
            account,
            met: LimitCounters::default(),
            end: Mutex::default(),
            watchers,
        })
    }

    pub(crate) fn id(&self) -> u64 {
        self.id
    }

    #[inline]
    pub(crate) fn tx(&self) -> &Out {
        &self.tx
    }

    pub(crate) fn inbound(&self) -> Option<&PipeSender<Message>> {
        self.inbound.as_ref()
    }

    /// Whether a task moves its messages.
    pub(crate) fn is_served(&self) -> bool {
        self.inbound.is_some()
    }

    /// Ends both queues: what waits for the application stays readable.
    pub(crate) fn close(&self) {
        self.tx.close();
        if let Some(inbound) = &self.inbound {
            inbound.close();
        }
    }

    /// The peer of the connection that there is, or was last.
    pub(crate) fn peer(&self) -> Peer {
        self.who.lock().last.peer.clone()
    }

    /// A connection begins, with this peer. What is in the queue towards the application is of those before it. Only for
    /// the task that fills that queue.
    pub(crate) fn set_peer(&self, peer: Peer) {
        let mut who = self.who.lock();
        match &self.inbound {
            Some(inbound) => {
                who.renew(peer, inbound.added(), inbound.finished());
                self.renewed.store(true, Ordering::Relaxed);
            }
            None => who.last.peer = peer,
        }
    }

    /// Whom the message at this place of the queue towards the application is from. In the order of the places, by who
    /// takes messages out of the queue, and before it is taken.
    pub(crate) fn peer_at(&self, place: u64) -> Peer {
        self.who.lock().at(place).peer.clone()
    }

    /// As [`peer_at`](Self::peer_at): the name under which a ROUTER knew the peer.
    pub(crate) fn alias_at(&self, place: u64) -> Frame {
        self.who.lock().at(place).alias.clone()
    }

    /// Whether messages of several connections may come by this lane.
    pub(crate) fn is_renewed(&self) -> bool {
        self.renewed.load(Ordering::Relaxed)
    }

    /// As [`peer_at`](Self::peer_at), with the place at which the messages of the same connection end, if they do.
    pub(crate) fn connection_at(&self, place: u64) -> (Peer, Option<u64>) {
        let mut who = self.who.lock();
        let at = who.at(place);
        (at.peer.clone(), at.end)
    }

    pub(crate) fn alias(&self) -> Frame {
        self.who.lock().last.alias.clone()
    }

    pub(crate) fn set_alias(&self, alias: &[u8]) {
        self.who.lock().last.alias = Frame::copy_from_slice(alias);
    }

    /// Whether the handshake of the current connection is complete.
    pub(crate) fn is_ready(&self) -> bool {
        self.ready.load(Ordering::Acquire)
    }

    pub(crate) fn set_ready(&self, ready: bool) {
        self.ready.store(ready, Ordering::Release);
    }

    /// Counts messages that newer ones replaced, as conflation is meant to do.
    pub(crate) fn count_replaced(&self, count: usize) {
        self.counters.dropped.add(count as u64);
    }

    /// Counts messages that were for this peer and were dropped; reports the first and then every doubling.
    pub(crate) fn drop_messages(&self, count: u64) {
        let total = self.counters.dropped.add(count) + count;
        if total.ilog2() > (total - count).checked_ilog2().unwrap_or(0) || total == count {
            self.watchers.emit(&Event::Dropped {
                peer: self.peer(),
                total,
            });
        }
    }

    pub(crate) fn account(&self) -> Option<&Arc<Account>> {
        self.account.as_ref()
    }

    /// What was received takes no memory any more.
    #[inline]
    pub(crate) fn collect(&self) {
        if let Some(account) = &self.account {
            account.collect(self.counters.fetched());
        }
    }

    /// Whether something waits for the application. If so, `waker` is woken as it is received.
    pub(crate) fn has_waiting(&self, waker: Option<&Waker>) -> bool {
        self.inbound().is_some_and(|inbound| inbound.waiting(waker) > 0)
    }

    /// Asks the connection to end: it has most of what there is no room for.
    pub(crate) fn end_for_room(&self) {
        if self.end.lock().reason.is_none() {
            self.met(Limit::RecvMemory, LimitAction::Disconnected);
            self.end(TOO_HEAVY);
        }
    }

    /// The peer met a limit. Told at the first time and then at every doubling.
    #[cold]
    pub(crate) fn met(&self, limit: Limit, action: LimitAction) {
        let times = self.met.count(limit) + 1;
        self.watchers
            .peer_limit(limit, action, self.peer(), !times.is_power_of_two());
    }

    /// Tells if the queue towards the peer was full of bytes since this was asked last. Not under the lock of the queues.
    #[cold]
    pub(crate) fn tell_if_heavy(&self) {
        if let Out::Served(queue) = &self.tx
            && let Some(limit) = queue.take_heavy()
        {
            self.met(limit, LimitAction::Full);
        }
    }

    /// Queues a message for the peer, as [`Out::try_push`] does, and tells if there is no room because of its bytes.
    #[inline]
    pub(crate) fn try_push(&self, message: &mut Message, waker: Option<&Waker>) -> Result<(), PushError<()>> {
        let pushed = self.tx.try_push(message, waker);
        if matches!(pushed, Err(PushError::Full(()))) {
            self.tell_if_heavy();
        }
        pushed
    }

    /// Asks the connection to end at once.
    pub(crate) fn end(&self, reason: &'static str) {
        let mut end = self.end.lock();
        end.reason = Some(reason);
        if let Some(waker) = end.waker.take() {
            drop(end);
            waker.wake();
        }
    }

    /// A new connection begins: what was said to the one before does not concern it.
    pub(crate) fn renew(&self) {
        self.end.lock().reason = None;
    }

    /// Resolves once [`end`](Self::end) was called, and forgets the call.
    pub(crate) fn poll_end(&self, cx: &mut Context<'_>) -> Poll<&'static str> {
        let mut end = self.end.lock();
        match end.reason.take() {
            Some(reason) => Poll::Ready(reason),
            None => {
                if !end
                    .waker
                    .as_ref()
                    .is_some_and(|waker| waker.will_wake(cx.waker()))
                {
                    end.waker = Some(cx.waker().clone());
                }
                Poll::Pending
            }
        }
    }

    pub(crate) fn stats(&self) -> PeerStats {
        PeerStats {
            peer: self.peer(),
            ready: self.is_ready(),
            messages_sent: self.counters.messages_sent.get(),
            bytes_sent: self.counters.bytes_sent.get(),
            messages_received: self.counters.messages_received.get(),
            bytes_received: self.counters.bytes_received.get(),
            dropped: self.counters.dropped.get(),
            queued: self.tx.len() as u64,
            queued_bytes: self.tx.bytes() as u64,
            unread_bytes: self.counters.unread() as u64,
            reconnects: self.reconnects.get(),
        }
    }
}
