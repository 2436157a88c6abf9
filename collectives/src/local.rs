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
}

#[derive(Debug, Default)]
struct Queue {
    messages: VecDeque<Bytes>,
    bytes: usize,
    wakers: Vec<Waker>,
}

impl Queue {
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

    fn poll_send(
        &self,
        cx: &Context<'_>,
        (to, tag, epoch): (usize, u64, u64),
        body: &[u8],
    ) -> Poll<Result<(), FabricError>> {
        let mut network = self.lock();
        let to_id = network.check(self.id, to, epoch)?;
        if network.gone.contains(&to_id) {
            return Poll::Ready(Err(FabricError::PeerLeft { rank: to }));
        }
        let queue = network.queues.entry((self.id, to_id, tag)).or_default();
        if !queue.messages.is_empty() && queue.bytes.saturating_add(body.len()) > self.options.capacity {
            queue.wait(cx);
            return Poll::Pending;
        }
        queue.bytes += body.len();
        queue.messages.push_back(Bytes::copy_from_slice(body));
        queue.wake();
        Poll::Ready(Ok(()))
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
            if queue.messages.is_empty() {
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
        let epoch = self.epoch();
        poll_fn(|cx| self.poll_send(cx, (to, tag, epoch), body)).await
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
                // Senders that waited for room begin a queue of their own.
                queue.wake();
            }
            is_kept
        });
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
