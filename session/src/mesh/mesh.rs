//! One rank's handle to all others.

use std::fmt;
use std::future::poll_fn;
use std::num::NonZeroU32;
use std::ops::{Range, RangeInclusive};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use flexbond_transport::{Endpoint, EndpointError};

use super::attendance::{self, Steps};
use super::dial;
use super::error::{JoinError, MeshError};
use super::hub::{Hub, Order};
use super::options::MeshOptions;
use super::posts;
use super::receiving::{Receiving, ReceivingBytes};
use super::sending::Sending;
use super::site;
use super::stats::MeshStats;
use super::wakes::Wakes;

/// One rank of a computation, and its way to all others; see the [module](super).
///
/// All methods take `&self` and may be called by any number of tasks at once. An operation belongs to the epoch in which
/// it is called.
///
/// Dropping it is a death for the others, unless it has [left](Self::leave).
pub struct Mesh {
    hub: Arc<Hub>,
}

impl Mesh {
    /// Joins the computation whose [server](super::MeshServer) listens at `endpoint`, and waits for its first epoch. While
    /// the server is not there yet, it is tried again. Who comes later waits until the others call
    /// [`next_epoch`](Self::next_epoch).
    ///
    /// The ranks must reach each other by the address by which each reaches the server: where some are on other machines,
    /// `endpoint` has the address of a network that all share.
    ///
    /// # Errors
    /// [`JoinError`]; this rank is not in then.
    ///
    /// # Cancel safety
    /// Dropping the future takes the application back; if the epoch has begun already, that is a death.
    pub async fn join<E>(endpoint: E, options: MeshOptions) -> Result<Self, JoinError>
    where
        E: TryInto<Endpoint, Error: Into<EndpointError>>,
    {
        let endpoint = endpoint.try_into().map_err(Into::into)?;
        options.validate()?;
        let runtime = tokio::runtime::Handle::try_current().map_err(|_| JoinError::NoRuntime)?;
        let after = options.join_timeout;
        let steps = attendance::start(endpoint, options.clone(), runtime).map_err(JoinError::Thread)?;
        let failure = Arc::clone(&steps.failure);
        match tokio::time::timeout(after, Self::enter(steps, &options)).await {
            Ok(result) => result,
            Err(_) => {
                let connect = failure.lock().take();
                Err(JoinError::Timeout { after, connect })
            }
        }
    }

    async fn enter(steps: Steps, options: &MeshOptions) -> Result<Self, JoinError> {
        let server = steps.reached.await.map_err(|_| JoinError::Lost)??;
        let place = match &options.listen {
            Some(place) => place.clone(),
            None => match site::beside(&server, fastrand::u64(..)) {
                Some(place) => place,
                None => return Err(JoinError::Unlisted { endpoint: server }),
            },
        };
        let listener = options
            .registry
            .bind(&place, &options.link(&place))
            .await
            .map_err(JoinError::Listen)?;
        let listening = listener.local_endpoint().clone();
        steps.listening.send(listening).map_err(|_| JoinError::Lost)?;
        // Dropping it ends everything.
        let mesh = steps.welcomed.await.map_err(|_| JoinError::Lost)??;
        mesh.hub.spawn(dial::accept(Arc::clone(&mesh.hub), listener));
        mesh.await_epoch(0).await.map_err(|_| JoinError::Lost)?;
        Ok(mesh)
    }

    pub(super) fn new(hub: Arc<Hub>) -> Self {
        Mesh { hub }
    }

    /// This rank in the current epoch, from 0 on.
    #[must_use]
    pub fn rank(&self) -> usize {
        self.hub.current().rank
    }

    /// How many ranks the current epoch has.
    #[must_use]
    pub fn size(&self) -> usize {
        self.hub.current().seats.len()
    }

    /// The number of the current epoch, from 1 on.
    #[must_use]
    pub fn epoch(&self) -> u32 {
        self.hub.current().number
    }

    /// What the ranks of the current epoch are called, by rank.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        let epoch = self.hub.current();
        epoch.seats.iter().map(|seat| seat.name.clone()).collect()
    }

    /// How the current epoch has ended, if it has: what every operation in it ends with.
    #[must_use]
    pub fn failure(&self) -> Option<MeshError> {
        self.hub.current().outcome()
    }

    /// Sends a message, straight from `body`. Ready when the system has taken it, or, for this rank itself, when it is
    /// stored.
    ///
    /// Messages from one rank to another with the same tag arrive in the order of their calls (where several tasks send
    /// at once, of their first polls). A message beyond what the system buffers waits for the peer to receive, or to wait
    /// for another one of this rank: two ranks that send large messages to each other have to receive at the same time,
    /// with `tokio::join!`.
    ///
    /// # Errors
    /// [`MeshError`]; whether the message arrived is not known then.
    ///
    /// # Cancel safety
    /// See [`Sending`].
    pub fn send<'a>(&'a self, to: usize, tag: u64, body: &'a [u8]) -> Sending<'a> {
        Sending::new(&self.hub, to, tag, body)
    }

    /// Sends a short message without waiting: where it cannot be sent at once, a task of the runtime in which this rank
    /// has joined sends it as soon as the connection takes it, unless the epoch ends before. For notices that an
    /// operation was given up, which nobody is left to wait for.
    ///
    /// For each peer 64 KiB may wait, 64 bytes more for each message; what is more is dropped.
    pub fn post(&self, to: usize, tag: u64, body: &[u8]) {
        posts::post(&self.hub, to, tag, body);
    }

    /// Announces a message that the application brings to the peer another way. It has its place among the messages with
    /// this tag: the receive whose turn it is ends with [`MeshError::Announced`], or, as for any other message, with
    /// [`MeshError::Truncated`] where its buffer is shorter than `length`.
    ///
    /// # Errors
    /// [`MeshError`]; whether the announcement arrived is not known then.
    ///
    /// # Cancel safety
    /// See [`Sending`].
    pub fn announce(&self, to: usize, tag: u64, number: NonZeroU32, length: usize) -> Sending<'_> {
        Sending::announcement(&self.hub, to, tag, number, length)
    }

    /// Waits for the next message of a rank with this tag, and returns its length; it is at the beginning of `into`. A
    /// large message is read straight from the connection into it. Several that wait for the same get the messages in the
    /// order of their first polls.
    ///
    /// # Errors
    /// [`MeshError`]. A message that is [too long](MeshError::Truncated) waits for the next receive.
    ///
    /// # Cancel safety
    /// See [`Receiving`].
    pub fn recv<'a>(&'a self, from: usize, tag: u64, into: &'a mut [u8]) -> Receiving<'a> {
        Receiving::new(&self.hub, from, tag, into)
    }

    /// As [`recv`](Self::recv), for a message of unknown length.
    ///
    /// # Errors
    /// [`MeshError`].
    ///
    /// # Cancel safety
    /// See [`ReceivingBytes`].
    pub fn recv_bytes(&self, from: usize, tag: u64) -> ReceivingBytes<'_> {
        ReceivingBytes::new(&self.hub, from, tag)
    }

    /// Goes on without those who are dead or have left, and with those who have come: waits until all living ranks of the
    /// current epoch have called this, and the next one has begun. The ranks keep their order, those who have come follow.
    ///
    /// What was not received in the old epoch is forgotten, and what still waits for something in it ends with
    /// [`MeshError::EpochOver`].
    ///
    /// # Errors
    /// [`MeshError::ServerLost`] or [`MeshError::Expelled`]: there will be no next epoch.
    ///
    /// # Cancel safety
    /// This rank stays in its epoch; it is ready for the next one, and another call goes on to wait.
    pub async fn next_epoch(&self) -> Result<(), MeshError> {
        let last = self.hub.current().number;
        self.hub.orders.push(Order::Advance(last));
        self.await_epoch(last).await
    }

    /// Waits until the current epoch is over, and says how: what every operation in it ends with.
    ///
    /// # Cancel safety
    /// Takes nothing.
    pub async fn ended(&self) -> MeshError {
        let epoch = self.hub.current();
        self.hub.parked.until(|| epoch.outcome()).await
    }

    async fn await_epoch(&self, last: u32) -> Result<(), MeshError> {
        let entered = || match self.hub.current().number > last || self.hub.enter_next() {
            true => Some(Ok(())),
            false => self.hub.loss().map(|loss| Err(loss.into())),
        };
        self.hub.parked.until(entered).await
    }

    /// Leaves in good order: whoever needs this rank from now on learns that it has
    /// [left](MeshError::PeerLeft), and the epoch goes on. What was sent still arrives. Takes no longer than the time
    /// after which a silent rank is given up.
    ///
    /// # Cancel safety
    /// Dropping the future is a death, if the server has not heard of the leaving yet.
    pub async fn leave(self) {
        self.depart().await;
    }

    /// As [`leave`](Self::leave), for a mesh that others still hold. Nothing more can be done with it, but its connections
    /// close only when it is dropped: until then who sends to this rank may not hear that it has left.
    ///
    /// # Cancel safety
    /// Whether this rank has left is open then: another call goes on with it, and dropping the mesh is a death if the
    /// server has not heard of the leaving yet.
    pub async fn depart(&self) {
        let patience = self.hub.options.dead_after;
        let _ = tokio::time::timeout(patience, self.take_leave()).await;
    }

    async fn take_leave(&self) {
        let epoch = self.hub.current();
        let links = || epoch.seats.iter().map(|seat| &seat.link);
        // What was posted, and what cancelled sends have left, goes first.
        self.until(|| !links().any(|link| !link.posts.lock().is_empty() || link.outbound.lock().has_rest()))
            .await;
        for link in links() {
            if let Some(stream) = link.stream() {
                let _ = poll_fn(|cx| stream.poll_shutdown(cx)).await;
                // Where something was not read, the system takes back what was written.
                let mut waste = [0; 4096];
                let mut reads = 0..1024;
                while reads.next().is_some() && matches!(stream.read_now(&mut waste), Ok(1..)) {}
            }
        }
        self.hub.orders.push(Order::Leave);
        self.until(|| self.hub.is_dismissed() || self.hub.loss().is_some())
            .await;
    }

    async fn until(&self, condition: impl Fn() -> bool) {
        self.hub.parked.until(|| condition().then_some(())).await;
    }

    /// Throws away the messages that have come in `epoch` with one of `tags` and wait to be received, and those that come
    /// later while nobody waits for them: for an application that will not ask for them, so that they neither count
    /// towards [`MeshOptions::unexpected_limit`] nor stop what comes after them. Does nothing when that is not the current
    /// epoch.
    ///
    /// For applications that number their operations: of the 2^32 tags with the same upper half, a range takes the place
    /// of those given before that overlap it or begin behind it, while a single tag is added to them. Of what comes
    /// later, announcements are kept until they are thrown away by another call or [told](Self::discarded); and where more
    /// than 4,096 ranges would have to be remembered, all other messages are, too.
    ///
    /// Returns the [announcements](Self::announce) among them: whose, and their numbers.
    pub fn discard(&self, epoch: u32, tags: RangeInclusive<u64>) -> Vec<(usize, NonZeroU32)> {
        let ranks = 0..self.hub.current().seats.len();
        self.discard_each(ranks, epoch, &tags)
    }

    /// Waits until [announcements](Self::announce) come in `epoch` whose tags were thrown away before: whose, and their
    /// numbers, so that they can be answered. None when that epoch is over.
    ///
    /// # Cancel safety
    /// Takes nothing that it does not return.
    pub async fn discarded(&self, epoch: u32) -> Option<Vec<(usize, NonZeroU32)>> {
        let sweep = || {
            let current = self.hub.current();
            if current.number != epoch || current.outcome().is_some() {
                return Some(None);
            }
            let mut announced = Vec::new();
            for (rank, seat) in current.seats.iter().enumerate() {
                let numbers = seat.link.inbound.lock().sweep();
                announced.extend(numbers.into_iter().map(|number| (rank, number)));
            }
            (!announced.is_empty()).then_some(Some(announced))
        };
        self.hub.parked.until(sweep).await
    }

    /// As [`discard`](Self::discard), of what comes from one rank; does nothing where there is no such rank.
    ///
    /// Returns the numbers of the announcements among it.
    pub fn discard_from(&self, from: usize, epoch: u32, tags: RangeInclusive<u64>) -> Vec<NonZeroU32> {
        let announced = self.discard_each(from..from.saturating_add(1), epoch, &tags);
        announced.into_iter().map(|(_, number)| number).collect()
    }

    fn discard_each(
        &self,
        ranks: Range<usize>,
        epoch: u32,
        tags: &RangeInclusive<u64>,
    ) -> Vec<(usize, NonZeroU32)> {
        let current = self.hub.current();
        let mut announced = Vec::new();
        if current.number != epoch {
            return announced;
        }
        for rank in ranks {
            let Some(seat) = current.seats.get(rank) else {
                break;
            };
            // Woken when dropped, which the lock is before.
            let mut wakes = Wakes::default();
            let numbers = seat.link.inbound.lock().discard(epoch, tags, &mut wakes);
            announced.extend(numbers.into_iter().map(|number| (rank, number)));
        }
        // There may be room again for what this rank sends to itself.
        self.hub.parked.wake_all();
        announced
    }

    /// What has passed, over the ranks of the current epoch.
    #[must_use]
    pub fn stats(&self) -> MeshStats {
        let epoch = self.hub.current();
        let mut stats = MeshStats {
            refused: self.hub.refused.load(Ordering::Relaxed),
            ..MeshStats::default()
        };
        for seat in &epoch.seats {
            let outbound = seat.link.outbound.lock();
            stats.messages_sent += outbound.messages;
            stats.bytes_sent += outbound.bytes;
            drop(outbound);
            let inbound = seat.link.inbound.lock();
            stats.messages_received += inbound.counters.messages;
            stats.bytes_received += inbound.counters.bytes;
            stats.unexpected += inbound.counters.unexpected;
            stats.unexpected_bytes += inbound.stored();
            stats.stalls += inbound.counters.stalls;
            stats.malformed += inbound.counters.malformed;
        }
        stats
    }
}

impl Drop for Mesh {
    fn drop(&mut self) {
        self.hub.stop();
    }
}

impl fmt::Debug for Mesh {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let epoch = self.hub.current();
        f.debug_struct("Mesh")
            .field("rank", &epoch.rank)
            .field("size", &epoch.seats.len())
            .field("epoch", &epoch.number)
            .finish_non_exhaustive()
    }
}
