//! Receiving from many peers, one message from each in turn.

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::{Poll, Waker};

use flexbond_transport::Message;
use flexbond_transport::pipe::PipeReceiver;
use parking_lot::Mutex;
use slab::Slab;

use super::Peer;
use super::lane::Lane;
use super::news::News;
use super::wakers::WakerSet;

/// The inbound queues of all peers, read in turn.
///
/// A queue costs nothing while it is empty: it is looked at again only after its waker has fired.
#[derive(Debug)]
pub(crate) struct FairQueue {
    state: Mutex<State>,
    news: Arc<News>,
}

#[derive(Debug, Default)]
struct State {
    sources: Slab<Source>,
    /// Keys of the sources that may have a message, in turn.
    ready: VecDeque<usize>,
}

#[derive(Debug)]
struct Source {
    lane: Arc<Lane>,
    rx: PipeReceiver<Message>,
    waker: Waker,
    is_ready: bool,
}

impl FairQueue {
    /// The most messages that are taken at once, under one lock.
    const MOST: usize = 4096;

    pub(crate) fn new() -> Self {
        FairQueue {
            state: Mutex::default(),
            news: Arc::default(),
        }
    }

    /// Adds the queue of a peer. It leaves by itself once its sender is gone and it was read to the end.
    pub(crate) fn add(&self, lane: Arc<Lane>, rx: PipeReceiver<Message>) {
        let mut state = self.state.lock();
        let entry = state.sources.vacant_entry();
        let key = entry.key();
        let waker = self.news.waker(key);
        entry.insert(Source {
            lane,
            rx,
            waker: waker.clone(),
            is_ready: false,
        });
        drop(state);
        waker.wake();
    }

    /// Takes the next message; says in `from`, if given, which peer sent it.
    pub(crate) fn try_recv(&self, from: Option<&mut Option<Peer>>) -> Option<Message> {
        let see = |lane: &Arc<Lane>, place| {
            if let Some(from) = from {
                *from = Some(lane.peer_at(place));
            }
        };
        self.try_recv_with(see).map(|((), message)| message)
    }

    /// Takes the next message, and what `see` makes of the lane by which it came and of its place there.
    #[inline]
    pub(crate) fn try_recv_with<R>(&self, see: impl FnOnce(&Arc<Lane>, u64) -> R) -> Option<(R, Message)> {
        let mut state = self.state.lock();
        let State { sources, ready } = &mut *state;
        let key = self.next_key(sources, ready)?;
        ready.push_back(key);
        let source = sources.get_mut(key)?;
        let seen = see(&source.lane, source.rx.place());
        let message = source.rx.pop()?;
        count(&source.lane, std::slice::from_ref(&message));
        Some((seen, message))
    }

    /// Moves at most `limit` messages to the end of `messages`, one from each peer in turn; returns how many.
    pub(crate) fn recv_many(&self, messages: &mut Vec<Message>, limit: usize) -> usize {
        let before = messages.len();
        // Peers may send as fast as this takes.
        let limit = limit.min(Self::MOST);
        let mut state = self.state.lock();
        let State { sources, ready } = &mut *state;
        loop {
            let left = limit - (messages.len() - before);
            if left == 0 {
                break;
            }
            let Some(key) = self.next_key(sources, ready) else {
                break;
            };
            // Alone, a peer may take all turns.
            let turns = if ready.is_empty() { left } else { 1 };
            ready.push_back(key);
            if let Some(source) = sources.get_mut(key) {
                let first = messages.len();
                source.rx.pop_many(turns, messages);
                count(&source.lane, &messages[first..]);
            }
        }
        messages.len() - before
    }

    /// Moves at most `limit` messages of the peer whose turn it is to the end of `messages`; returns its lane and, if the
    /// lane has had others, who it is.
    pub(crate) fn recv_batch(
        &self,
        messages: &mut Vec<Message>,
        limit: usize,
    ) -> Option<(Arc<Lane>, Option<Peer>)> {
        let mut limit = limit.min(Self::MOST);
        let mut state = self.state.lock();
        let State { sources, ready } = &mut *state;
        let key = self.next_key(sources, ready)?;
        ready.push_back(key);
        let source = sources.get_mut(key)?;
        let mut peer = None;
        if source.lane.is_renewed() {
            let place = source.rx.place();
            let (whose, end) = source.lane.connection_at(place);
            let left = end.and_then(|end| usize::try_from(end - place).ok());
            limit = limit.min(left.unwrap_or(limit));
            peer = Some(whose);
        }
        let first = messages.len();
        source.rx.pop_many(limit, messages);
        count(&source.lane, &messages[first..]);
        Some((Arc::clone(&source.lane), peer))
    }

    /// Takes the key of the source whose turn it is out of the turn. There is something to read.
    fn next_key(&self, sources: &mut Slab<Source>, ready: &mut VecDeque<usize>) -> Option<usize> {
        loop {
            if self.news.is_any() {
                self.collect(sources, ready);
            }
            let key = ready.pop_front()?;
            let Some(source) = sources.get_mut(key) else {
                continue;
            };
            if source.rx.ready() > 0 {
                return Some(key);
            }
            let filled = source.rx.fill(Some(&source.waker));
            // What was taken is the application's. Only now nothing waits any more, as whoever is woken will see.
            source.lane.collect();
            match filled {
                Poll::Ready(true) => return Some(key),
                // Out of the turn until its waker fires.
                Poll::Pending => source.is_ready = false,
                Poll::Ready(false) => forget(sources, key),
            }
        }
    }

    /// Who to tell when [`try_recv`](Self::try_recv) may succeed again.
    pub(crate) fn waiters(&self) -> &WakerSet {
        self.news.waiters()
    }

    /// Drops everything that waits.
    pub(crate) fn clear(&self) {
        let state = std::mem::take(&mut *self.state.lock());
        drop(state);
        self.news.waiters().wake_all();
    }

    /// How many peers have, or may still have, something to read. Forgets those that are gone and were read.
    pub(crate) fn sources(&self) -> usize {
        let mut state = self.state.lock();
        let State { sources, ready } = &mut *state;
        self.collect(sources, ready);
        ready.retain(|&key| {
            let gone = sources
                .get_mut(key)
                .is_some_and(|source| source.rx.fill(None) == Poll::Ready(false));
            if gone {
                forget(sources, key);
            }
            !gone
        });
        sources.len()
    }

    fn collect(&self, sources: &mut Slab<Source>, ready: &mut VecDeque<usize>) {
        self.news.take(|key| {
            if let Some(source) = sources.get_mut(key)
                && !source.is_ready
            {
                source.is_ready = true;
                ready.push_back(key);
            }
        });
    }
}

/// Removes a source that was read to its end.
fn forget(sources: &mut Slab<Source>, key: usize) {
    // It takes no memory any more.
    sources.remove(key).lane.collect();
}

/// Bytes that make room for others as soon as they were received.
const LARGE: usize = 16 << 10;

/// Counts messages that are the application's from now on.
#[inline]
fn count(lane: &Lane, messages: &[Message]) {
    let (mut bytes, mut needed) = (0, 0);
    for message in messages {
        bytes += message.size();
        needed += message.footprint();
    }
    lane.counters.received(messages.len(), bytes);
    if needed > bytes {
        lane.counters.lists_received.add((needed - bytes) as u64);
    }
    // Small ones when all that wait were taken.
    if needed >= LARGE {
        lane.collect();
    }
}

#[cfg(test)]
mod tests {
    use flexbond_transport::pipe::{PipeSender, pipe};

    use super::*;
    use crate::socket::Peer;

    fn source(queue: &FairQueue, id: u64) -> PipeSender<Message> {
        let (out, _) = pipe(1);
        let (tx, rx) = pipe(100);
        queue.add(
            Lane::direct(
                Peer::unknown(id, "inproc://test".parse().unwrap()),
                out,
                Arc::default(),
            ),
            rx,
        );
        tx
    }

    fn next(queue: &FairQueue) -> Option<u64> {
        let mut from = None;
        queue.try_recv(Some(&mut from))?;
        from.map(|peer| peer.id())
    }

    #[test]
    fn busy_peers_take_turns_message_by_message() {
        let queue = FairQueue::new();
        let senders: Vec<_> = (0..5).map(|id| source(&queue, id)).collect();
        for sender in &senders {
            for _ in 0..3 {
                sender.try_push(Message::from("x"), None).unwrap();
            }
        }
        let order: Vec<_> = std::iter::from_fn(|| next(&queue)).collect();
        assert_eq!(order, [0, 1, 2, 3, 4].repeat(3));
    }

    #[test]
    fn a_newcomer_is_served_while_another_never_runs_dry() {
        let queue = FairQueue::new();
        let busy = source(&queue, 0);
        for _ in 0..50 {
            busy.try_push(Message::from("x"), None).unwrap();
        }
        assert_eq!(next(&queue), Some(0));
        let quiet = source(&queue, 1);
        quiet.try_push(Message::from("x"), None).unwrap();
        let soon: Vec<_> = (0..3).filter_map(|_| next(&queue)).collect();
        assert!(soon.contains(&1), "{soon:?}");
    }

    #[test]
    fn many_at_once_are_as_fair_and_as_many_as_asked_for() {
        let queue = FairQueue::new();
        let senders: Vec<_> = (0..3).map(|id| source(&queue, id)).collect();
        for number in 0..4 {
            for (id, sender) in senders.iter().enumerate() {
                sender
                    .try_push(Message::from(format!("{id}{number}")), None)
                    .unwrap();
            }
        }
        for _ in 0..4 {
            senders[0].try_push(Message::from("0+"), None).unwrap();
        }
        let mut messages = Vec::new();
        assert_eq!(queue.recv_many(&mut messages, 5), 5);
        assert_eq!(messages, ["00", "10", "20", "01", "11"].map(Message::from));
        assert_eq!(queue.recv_many(&mut messages, 100), 11);
        assert_eq!(messages.len(), 16);
        assert_eq!(messages[5], Message::from("21"));
        assert_eq!(queue.recv_many(&mut messages, 100), 0);
    }

    #[test]
    fn a_gone_peer_is_read_to_the_end_and_forgotten() {
        let queue = FairQueue::new();
        let sender = source(&queue, 0);
        sender.try_push(Message::from("last"), None).unwrap();
        drop(sender);
        assert_eq!(next(&queue), Some(0));
        assert_eq!(next(&queue), None);
        assert_eq!(queue.sources(), 0);
    }
}
