//! Datagrams over connections, for where UDP is blocked or not meant.

mod connection;
mod counters;
mod dial;
mod framing;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
mod hello;
mod inbox;
mod inlet;
mod options;
mod outlet;
mod places;
mod rendezvous;
mod switch;
mod sync;
mod woken;

use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::io::{self, IoSliceMut};
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::runtime::Handle;
use tokio::task::{AbortHandle, coop};

pub use counters::TunnelCounters;
pub use options::TunnelOptions;
use places::{Places, ROOT, address_of};
use rendezvous::{Meeting, local_address};
use switch::Switch;

use crate::{BindError, DatagramSocket, Endpoint, Listener, Received, Registry, Transmit, Transport};

/// A [`DatagramSocket`] whose packets travel over connections: tcp, ipc, inproc, or any transport that is registered.
///
/// One tunnel, the root, [`bind`](Self::bind)s an endpoint that the others know. They are made
/// [`toward`](Self::toward) it, and listen themselves, each at an endpoint of its own. Any of them can send to any
/// other whose address it has learned, from the root or from anybody else.
///
/// # Addresses
/// - Over tcp, the address of a tunnel is where it listens. Who connects says at which port; the IP address is the one
///   that it has connected from, so that nobody can claim that of another host. Members that reach the root by the
///   loopback interface are reached by it only.
/// - Over every other transport it is an address of `fd66:6c78:626f:6e64::/64` (unique local, RFC 4193, and never seen
///   on a network) with port 1. The lower 64 bits are the tunnel's place: 1 for the root, random for the others. A tunnel
///   at place `p` listens at the endpoint of the root with `.` and `p` behind it, in 16 hexadecimal digits; so any tunnel
///   can connect to any address. Who may connect there may claim any place; over ipc the directory's permissions decide
///   who that is. A process that is killed leaves a socket file behind in that directory.
/// - Whoever claims the address of another is heard. But what is sent to the other stays on its connection as long as
///   that lives; a connection that this side has made, to where the other listens, comes before all that were accepted.
///
/// # Connections
/// A connection is made when something is first sent to an address, and used in both directions. When two tunnels
/// connect to each other at once, both come to send on the same connection, and nothing is lost on the other. Where
/// connecting fails, what was to be sent is dropped, and so is what follows until a pause is over. A connection on which
/// nothing has moved for long is closed. A peer that sends what are no packets loses its connection, and nobody else does.
///
/// # When there is too much
/// - A queue of [`TunnelOptions::max_queued`] bytes belongs to each connection. What finds it full is dropped and
///   [counted](TunnelCounters::dropped_full): sending never waits, because one peer that has stopped would then stop all
///   others. Protocols above bound what is under way to each peer; let them bound it by less than that.
/// - Nothing is read ahead of who receives. What is not received waits at its sender, and at most 256 KiB of it per
///   connection in this process (on message channels: what [`LinkOptions`](crate::LinkOptions) let them hold).
/// - There are at most [`TunnelOptions::max_connections`].
///
/// Packets on one connection arrive in the order in which they were sent, unless they are dropped.
/// [`recv_drops`](DatagramSocket::recv_drops) is always 0.
///
/// Dropping the tunnel closes everything and does not wait; what waits to be sent still is, in the background, for up
/// to [`TunnelOptions::linger`], connections included that are only just being made. What is left then is dropped, and
/// nobody is there to whom it could be counted.
///
/// # Example
/// ```
/// # #[cfg(feature = "inproc")] {
/// use std::future::poll_fn;
/// use std::io::IoSliceMut;
///
/// use flexbond_transport::{DatagramSocket, Endpoint, Received, Registry, Transmit, Tunnel, TunnelOptions};
///
/// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
/// let (registry, options) = (Registry::standard(), TunnelOptions::default());
/// let endpoint: Endpoint = "inproc://meeting".parse()?;
/// let root = Tunnel::bind(&registry, &endpoint, &options).await?;
/// let member = Tunnel::toward(&registry, &endpoint, &options).await?;
///
/// let packet = [Transmit::new(member.root_addr(), b"here I am")];
/// poll_fn(|cx| member.poll_send(cx, &packet)).await?;
///
/// let (mut buffer, mut received) = (vec![0; Transmit::MAX_LEN], [Received::default()]);
/// poll_fn(|cx| root.poll_recv(cx, &mut [IoSliceMut::new(&mut buffer)], &mut received)).await?;
/// assert_eq!(received[0].source, member.local_addr()?);
/// assert_eq!(received[0].packets(&buffer).next(), Some(&b"here I am"[..]));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Tunnel {
    switch: Arc<Switch>,
    endpoint: Endpoint,
    local: SocketAddr,
    root: SocketAddr,
    /// They accept, and look for what is idle.
    tasks: [AbortHandle; 2],
}

impl Tunnel {
    /// A root: listens at `endpoint`, through the transport that is registered for it.
    ///
    /// # Cancel safety
    /// Dropping the future leaves nothing bound.
    ///
    /// # Errors
    /// [`BindError`]; nothing is bound then.
    ///
    /// # Panics
    /// Outside a tokio runtime with its time enabled, and its I/O where the transport needs that.
    pub async fn bind(
        registry: &Registry,
        endpoint: &Endpoint,
        options: &TunnelOptions,
    ) -> Result<Self, BindError> {
        let transport = registry.get(endpoint)?;
        let listener = transport.bind(endpoint, &options.link).await?;
        let bound = listener.local_endpoint().clone();
        let local = local_address(&bound, address_of(ROOT))?;
        let places = Places::around(&bound);
        Ok(Self::start(transport, listener, places, [local; 2], options))
    }

    /// A tunnel that can reach the root at `root`: listens at an endpoint of its own, derived from that one. Over tcp,
    /// it is at the address that this machine reaches the root from, at a port that the system chooses.
    ///
    /// The root need not be there yet. A name that stands for several addresses is tried out, though.
    ///
    /// # Cancel safety
    /// Dropping the future leaves nothing bound.
    ///
    /// # Errors
    /// [`BindError`]; nothing is bound then. [`BindError::Unusable`] also when `root` can only be bound, or when there is
    /// no room behind its path or name.
    ///
    /// # Panics
    /// As [`bind`](Self::bind).
    pub async fn toward(
        registry: &Registry,
        root: &Endpoint,
        options: &TunnelOptions,
    ) -> Result<Self, BindError> {
        let transport = registry.get(root)?;
        let meeting = Meeting::arrange(&*transport, root, options).await?;
        let listener = transport.bind(&meeting.endpoint, &options.link).await?;
        let local = local_address(listener.local_endpoint(), meeting.local)?;
        let places = Places::around(root);
        let addresses = [local, meeting.root];
        Ok(Self::start(transport, listener, places, addresses, options))
    }

    fn start(
        transport: Arc<dyn Transport>,
        listener: Box<dyn Listener>,
        places: Places,
        [local, root]: [SocketAddr; 2],
        options: &TunnelOptions,
    ) -> Self {
        let runtime = Handle::current();
        let hello = places.hello(local, random());
        let endpoint = listener.local_endpoint().clone();
        let switch = Switch::new(places, transport, options.clone(), hello, runtime.clone());
        let accept = dial::accept(listener, Arc::downgrade(&switch));
        let tick = dial::tick(Arc::downgrade(&switch), options.idle_timeout);
        Tunnel {
            tasks: [
                runtime.spawn(accept).abort_handle(),
                runtime.spawn(tick).abort_handle(),
            ],
            switch,
            endpoint,
            local,
            root,
        }
    }

    /// Where the tunnel listens.
    #[must_use]
    pub fn local_endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// The address of the root, which is the [own](DatagramSocket::local_addr) one of the root itself.
    #[must_use]
    pub fn root_addr(&self) -> SocketAddr {
        self.root
    }

    /// What has happened so far.
    #[must_use]
    pub fn counters(&self) -> TunnelCounters {
        self.switch.counters()
    }
}

/// A number that nobody else draws, in this process or another.
fn random() -> u64 {
    RandomState::new().hash_one(std::process::id())
}

impl DatagramSocket for Tunnel {
    /// Never `WouldBlock`: what finds its queue full is dropped. [`Transmit::source`] is of no effect.
    fn try_send(&self, batch: &[Transmit<'_>]) -> io::Result<usize> {
        let mut taken = 0;
        // What is for one destination is written at once.
        for group in batch.chunk_by(|one, next| one.destination == next.destination) {
            match self.switch.send(group) {
                Ok(count) if count == group.len() => taken += count,
                // The next call meets what is wrong with the next one.
                Ok(count) => return Ok(taken + count),
                Err(_) if taken > 0 => return Ok(taken),
                Err(error) => return Err(error),
            }
        }
        Ok(taken)
    }

    /// As [`try_send`](Self::try_send), but now and then lets others have their turn, as tokio's own sockets do: what is
    /// queued is written by tasks.
    fn poll_send(&self, cx: &mut Context<'_>, batch: &[Transmit<'_>]) -> Poll<io::Result<usize>> {
        let turn = ready!(coop::poll_proceed(cx));
        turn.made_progress();
        Poll::Ready(self.try_send(batch))
    }

    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        buffers: &mut [IoSliceMut<'_>],
        received: &mut [Received],
    ) -> Poll<io::Result<usize>> {
        let over = |connection, end| self.switch.received_all(&connection, end);
        self.switch.inbox.poll_recv(cx, buffers, received, over).map(Ok)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.local)
    }

    fn max_send_segments(&self) -> usize {
        framing::MAX_SEGMENTS
    }

    fn max_recv_segments(&self) -> usize {
        framing::MAX_SEGMENTS
    }

    fn recv_drops(&self) -> Option<u64> {
        Some(0)
    }
}

impl Drop for Tunnel {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
        self.switch.close();
    }
}

impl fmt::Debug for Tunnel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tunnel")
            .field("endpoint", &self.endpoint)
            .field("local", &self.local)
            .field("root", &self.root)
            .field("counters", &self.counters())
            .finish_non_exhaustive()
    }
}
