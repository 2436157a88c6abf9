//! A fabric in memory: all ranks in one process, for tests, examples and threads.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::future::poll_fn;
use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;

use crate::fabric::{Fabric, FabricError};

/// One rank's end of a fabric in memory.
///
/// It works under any runtime, within one thread or between several. [`fail`](LocalFabric::fail) makes a rank die, so
/// that a program's handling of failures can be tested. Dropping an end leaves the fabric in good order: what was sent
/// can still be received, and only who waits for more from that rank, or sends to it, hears that it has left.
///
/// ```
/// use flexbond_collectives::{Fabric, LocalFabric};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), flexbond_collectives::FabricError> {
/// let [a, b] = LocalFabric::new(2).try_into().expect("two were asked for");
/// a.send(1, 7, b"hello").await?;
/// let mut buffer = [0; 16];
/// assert_eq!(b.recv(0, 7, &mut buffer).await?, 5);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct LocalFabric {
    id: usize,
    options: LocalOptions,
    network: Arc<Mutex<Network>>,
}

/// What notices may add to the bytes that wait with one tag.
const NOTICES: usize = 4 << 10;

/// What a fabric in memory is like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LocalOptions {
    /// How many bytes may wait unreceived from one rank to another with one tag, before a send waits. One message is
    /// always taken, whatever its size. Default: 1 MiB.
    pub capacity: usize,
    /// Whether the fabric says that it has a multicast. Default: no.
    pub multicast: bool,
}

impl Default for LocalOptions {
    fn default() -> Self {
        LocalOptions {
            capacity: 1 << 20,
            multicast: false,
        }
    }
}

impl LocalOptions {
    /// The defaults.
    #[must_use]
    pub fn new() -> Self {
        LocalOptions::default()
    }

    /// Sets [`capacity`](LocalOptions::capacity), in bytes.
    #[must_use]
    pub fn capacity(mut self, capacity: usize) -> Self {
        self.capacity = capacity;
        self
    }

    /// Sets [`multicast`](LocalOptions::multicast).
    #[must_use]
    pub fn multicast(mut self, multicast: bool) -> Self {
        self.multicast = multicast;
        self
    }

    /// A fabric of `size` ranks, in the order of ranks.
    #[must_use]
    pub fn build(self, size: usize) -> Vec<LocalFabric> {
        let network = Arc::new(Mutex::new(Network {
            epoch: 1,
            members: (0..size).collect(),
            ..Network::default()
        }));
        (0..size)
            .map(|id| LocalFabric {
                id,
                options: self,
                network: Arc::clone(&network),
            })
            .collect()
    }
}

#[derive(Debug, Default)]
struct Network {
    epoch: u64,
    // Who is in the epoch, in the order of ranks: ids, which never change.
    members: Vec<usize>,
    // Who will not be in the next epoch.
    gone: BTreeSet<usize>,
    // What ended the epoch; later deaths of the epoch do not change what survivors are told.
    verdict: Option<Vec<usize>>,
    // Who waits for the next epoch.
    ready: BTreeMap<usize, Option<Waker>>,
    // By sender, receiver and tag.
    queues: HashMap<(usize, usize, u64), Queue>,
    // The last place that a send has taken.
    last_place: u64,
}

#[derive(Debug, Default)]
struct Queue {
    messages: VecDeque<Bytes>,
    bytes: usize,
    // The places of those sends that wait: who comes later goes later, also where it alone would fit.
    senders: BTreeSet<u64>,
    wakers: Vec<Waker>,
}

impl Queue {
    fn push(&mut self, body: &[u8]) {
        self.bytes += body.len();
        self.messages.push_back(Bytes::copy_from_slice(body));
        self.wake();
    }

    fn is_empty(&self) -> bool {
        self.messages.is_empty() && self.senders.is_empty()
    }

    fn wake(&mut self) {
        self.wakers.drain(..).for_each(Waker::wake);
    }

    fn wait(&mut self, cx: &Context<'_>) {
        if !self.wakers.iter().any(|waker| waker.will_wake(cx.waker())) {
            self.wakers.push(cx.waker().clone());
        }
    }
}

impl Network {
    fn rank_of(&self, id: usize) -> Option<usize> {
        self.members.iter().position(|member| *member == id)
    }

    fn wake_all(&mut self) {
        self.queues.values_mut().for_each(Queue::wake);
        self.ready
            .values_mut()
            .filter_map(Option::take)
            .for_each(Waker::wake);
    }

    /// Begins the next epoch when all that live wait for it.
    fn advance(&mut self) {
        let alive: Vec<usize> = self
            .members
            .iter()
            .copied()
            .filter(|id| !self.gone.contains(id))
            .collect();
        if alive.is_empty() || !alive.iter().all(|id| self.ready.contains_key(id)) {
            return;
        }
        self.wake_all();
        self.epoch += 1;
        self.members = alive;
        self.verdict = None;
        self.ready.clear();
        self.queues.clear();
    }

    /// The ids at both ends, or why nothing can go on between them.
    fn check(&self, id: usize, peer: usize, epoch: u64) -> Result<usize, FabricError> {
        if self.gone.contains(&id) {
            return Err(FabricError::Closed);
        }
        if self.epoch != epoch {
            return Err(FabricError::EpochEnded);
        }
        if let Some(failed) = &self.verdict {
            return Err(FabricError::PeerFailed {
                failed: failed.clone(),
            });
        }
        self.members.get(peer).copied().ok_or(FabricError::Closed)
    }
}

impl LocalFabric {
    /// A fabric of `size` ranks with the default options, in the order of ranks.
    #[must_use]
    pub fn new(size: usize) -> Vec<LocalFabric> {
        LocalOptions::new().build(size)
    }

    /// Makes this rank die: its own operations end with [`FabricError::Closed`], all others' operations of this epoch
    /// with [`FabricError::PeerFailed`]. If another has died before in this epoch, that one alone is named.
    pub fn fail(&self) {
        let mut network = self.lock();
        let Some(rank) = network.rank_of(self.id) else {
            return;
        };
        if network.gone.insert(self.id) {
            network.verdict.get_or_insert_with(|| vec![rank]);
            network.wake_all();
            network.advance();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Network> {
        // A panic elsewhere leaves nothing half done: every change is made in one go.
        self.network.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn poll_recv(
        &self,
        cx: &Context<'_>,
        (from, tag, epoch): (usize, u64, u64),
        capacity: usize,
    ) -> Poll<Result<Bytes, FabricError>> {
        let mut network = self.lock();
        let from_id = network.check(self.id, from, epoch)?;
        let has_gone = network.gone.contains(&from_id);
        let key = (from_id, self.id, tag);
        let queue = network.queues.entry(key).or_default();
        let len = queue.messages.front().map_or(0, Bytes::len);
        if len > capacity {
            return Poll::Ready(Err(FabricError::Truncated { len, capacity }));
        }
        if let Some(message) = queue.messages.pop_front() {
            queue.bytes -= message.len();
            queue.wake();
            if queue.is_empty() {
                // Who was woken makes it anew.
                network.queues.remove(&key);
            }
            return Poll::Ready(Ok(message));
        }
        if has_gone {
            network.queues.remove(&key);
            return Poll::Ready(Err(FabricError::PeerLeft { rank: from }));
        }
        queue.wait(cx);
        Poll::Pending
    }
}

impl Fabric for LocalFabric {
    fn rank(&self) -> usize {
        self.lock().rank_of(self.id).unwrap_or(0)
    }

    fn size(&self) -> usize {
        self.lock().members.len()
    }

    fn epoch(&self) -> u64 {
        self.lock().epoch
    }

    async fn send(&self, to: usize, tag: u64, body: &[u8]) -> Result<(), FabricError> {
        let mut sending = Sending {
            fabric: self,
            to,
            tag,
            epoch: self.epoch(),
            place: None,
        };
        poll_fn(|cx| sending.poll(cx, body)).await
    }

    async fn recv(&self, from: usize, tag: u64, into: &mut [u8]) -> Result<usize, FabricError> {
        let (epoch, capacity) = (self.epoch(), into.len());
        let message = poll_fn(|cx| self.poll_recv(cx, (from, tag, epoch), capacity)).await?;
        into[..message.len()].copy_from_slice(&message);
        Ok(message.len())
    }

    async fn recv_bytes(&self, from: usize, tag: u64) -> Result<Bytes, FabricError> {
        let epoch = self.epoch();
        poll_fn(|cx| self.poll_recv(cx, (from, tag, epoch), usize::MAX)).await
    }

    async fn next_epoch(&self) -> Result<(), FabricError> {
        let waiting = Waiting {
            fabric: self,
            epoch: self.epoch(),
        };
        poll_fn(|cx| waiting.poll(cx)).await
    }

    fn post(&self, to: usize, tag: u64, notice: &[u8]) {
        let mut network = self.lock();
        let epoch = network.epoch;
        let Ok(to) = network.check(self.id, to, epoch) else {
            return;
        };
        if !network.gone.contains(&to) {
            let queue = network.queues.entry((self.id, to, tag)).or_default();
            if queue.bytes <= self.options.capacity.saturating_add(NOTICES) {
                queue.push(notice);
            }
        }
    }

    fn has_multicast(&self) -> bool {
        self.options.multicast
    }

    fn discard(&self, epoch: u64, tags: RangeInclusive<u64>) {
        let mut network = self.lock();
        if network.epoch != epoch {
            return;
        }
        network.queues.retain(|(_, to, tag), queue| {
            let is_kept = *to != self.id || !tags.contains(tag);
            if !is_kept {
                queue.messages.clear();
                queue.bytes = 0;
                queue.wake();
            }
            is_kept || !queue.senders.is_empty()
        });
    }
}

/// A message that is being sent, until it is taken or dropped.
struct Sending<'a> {
    fabric: &'a LocalFabric,
    to: usize,
    tag: u64,
    epoch: u64,
    /// Among the sends that wait.
    place: Option<u64>,
}

impl Sending<'_> {
    fn poll(&mut self, cx: &Context<'_>, body: &[u8]) -> Poll<Result<(), FabricError>> {
        let LocalFabric { id, options, .. } = *self.fabric;
        let mut network = self.fabric.lock();
        let to = network.check(id, self.to, self.epoch)?;
        if network.gone.contains(&to) {
            return Poll::Ready(Err(FabricError::PeerLeft { rank: self.to }));
        }
        let Network {
            queues, last_place, ..
        } = &mut *network;
        let queue = queues.entry((id, to, self.tag)).or_default();
        let is_next = queue.senders.first().copied() == self.place || queue.senders.is_empty();
        let fits = queue.messages.is_empty() || queue.bytes.saturating_add(body.len()) <= options.capacity;
        if !(is_next && fits) {
            let place = *self.place.get_or_insert_with(|| {
                *last_place += 1;
                *last_place
            });
            queue.senders.insert(place);
            queue.wait(cx);
            return Poll::Pending;
        }
        if let Some(place) = self.place.take() {
            queue.senders.remove(&place);
        }
        queue.push(body);
        Poll::Ready(Ok(()))
    }
}

impl Drop for Sending<'_> {
    fn drop(&mut self) {
        let Some(place) = self.place else {
            return;
        };
        let mut network = self.fabric.lock();
        let (from, tag) = (self.fabric.id, self.tag);
        let to = network.members.get(self.to).copied();
        // In a later epoch there is no such place.
        if let Some(queue) = to.and_then(|to| network.queues.get_mut(&(from, to, tag)))
            && queue.senders.remove(&place)
        {
            queue.wake();
        }
    }
}

/// A rank that waits for the next epoch, until it comes or the wait is dropped.
struct Waiting<'a> {
    fabric: &'a LocalFabric,
    epoch: u64,
}

impl Waiting<'_> {
    fn poll(&self, cx: &Context<'_>) -> Poll<Result<(), FabricError>> {
        let mut network = self.fabric.lock();
        if network.gone.contains(&self.fabric.id) {
            return Poll::Ready(Err(FabricError::Closed));
        }
        if network.epoch == self.epoch {
            network.ready.insert(self.fabric.id, Some(cx.waker().clone()));
            network.advance();
        }
        if network.epoch == self.epoch {
            Poll::Pending
        } else {
            Poll::Ready(Ok(()))
        }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let mut network = self.fabric.lock();
        if network.epoch == self.epoch {
            network.ready.remove(&self.fabric.id);
        }
    }
}

impl Drop for LocalFabric {
    fn drop(&mut self) {
        let mut network = self.lock();
        if network.gone.insert(self.id) {
            network.wake_all();
            network.advance();
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[test]
    fn messages_keep_the_order_of_their_first_polls() {
        let [a, b] = LocalOptions::new().capacity(100).build(2).try_into().unwrap();
        let receive = || b.recv_bytes(0, 1).now_or_never().map(|body| body.unwrap().len());
        assert!(a.send(1, 1, &[0; 90]).now_or_never().is_some());
        let mut large = Box::pin(a.send(1, 1, &[0; 50]));
        let mut small = Box::pin(a.send(1, 1, &[0; 5]));
        let mut dropped = Box::pin(a.send(1, 1, &[0; 7]));
        assert!((&mut large).now_or_never().is_none());
        assert!((&mut dropped).now_or_never().is_none());
        assert!((&mut small).now_or_never().is_none(), "behind the others");
        drop(dropped);
        assert_eq!(receive(), Some(90));
        assert!((&mut small).now_or_never().is_none(), "not its turn yet");
        assert!((&mut large).now_or_never().is_some());
        assert!((&mut small).now_or_never().is_some());
        assert_eq!([receive(), receive(), receive()], [Some(50), Some(5), None]);
    }

    #[test]
    fn a_notice_needs_no_room() {
        let [a, b] = LocalOptions::new().capacity(0).build(2).try_into().unwrap();
        assert!(a.send(1, 1, &[0; 90]).now_or_never().is_some());
        assert!(a.send(1, 1, &[0; 50]).now_or_never().is_none(), "dropped");
        for _ in 0..1000 {
            a.post(1, 1, &[0; 100]);
        }
        let lengths: Vec<_> = std::iter::from_fn(|| b.recv_bytes(0, 1).now_or_never())
            .map(|body| body.unwrap().len())
            .collect();
        assert_eq!(lengths[..2], [90, 100]);
        assert!(lengths.iter().sum::<usize>() <= 90 + NOTICES + 100);
    }
}
