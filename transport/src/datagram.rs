//! The trait behind every datagram transport: batches of packets, each of which arrives whole or not at all.

use std::fmt;
use std::io::{self, IoSliceMut};
use std::net::{IpAddr, SocketAddr};
use std::task::{Context, Poll};

/// A socket that sends and receives datagrams. Each of them arrives whole, more than once, or not at all, and in any
/// order; what makes a reliable protocol of that stands above.
///
/// All methods take `&self`. At most one task polls for sending and at most one for receiving at a time (the last
/// waker of each direction is the one that is woken); any task may [`try_send`](Self::try_send). Neither direction
/// ever waits for the other. Both work in batches, because a system call per packet is what costs most: several
/// packets per call, and, where the system can split and join packets of equal size itself (GSO and GRO on Linux),
/// several packets in one buffer.
///
/// The trait is object safe: protocols hold a `Box<dyn DatagramSocket>`, and tests put a simulated network there.
///
/// # Example
/// Over tokio's UDP socket, one packet per call:
/// ```
/// # #[cfg(feature = "tcp")] {
/// use std::future::poll_fn;
/// use std::io::{self, ErrorKind, IoSliceMut};
/// use std::net::SocketAddr;
/// use std::task::{Context, Poll, ready};
///
/// use flexbond_transport::{DatagramSocket, Received, Transmit};
/// use tokio::net::UdpSocket;
///
/// #[derive(Debug)]
/// struct Udp(UdpSocket);
///
/// impl DatagramSocket for Udp {
///     fn try_send(&self, batch: &[Transmit<'_>]) -> io::Result<usize> {
///         match batch.first() {
///             Some(packet) => self.0.try_send_to(packet.contents, packet.destination).map(|_| 1),
///             None => Ok(0),
///         }
///     }
///
///     fn poll_send(&self, cx: &mut Context<'_>, batch: &[Transmit<'_>]) -> Poll<io::Result<usize>> {
///         loop {
///             ready!(self.0.poll_send_ready(cx))?;
///             match self.try_send(batch) {
///                 Err(error) if error.kind() == ErrorKind::WouldBlock => {}
///                 result => return Poll::Ready(result),
///             }
///         }
///     }
///
///     fn poll_recv(
///         &self,
///         cx: &mut Context<'_>,
///         buffers: &mut [IoSliceMut<'_>],
///         received: &mut [Received],
///     ) -> Poll<io::Result<usize>> {
///         let (Some(buffer), Some(received)) = (buffers.first_mut(), received.first_mut()) else {
///             return Poll::Ready(Ok(0));
///         };
///         loop {
///             ready!(self.0.poll_recv_ready(cx))?;
///             match self.0.try_recv_from(buffer) {
///                 Err(error) if error.kind() == ErrorKind::WouldBlock => {}
///                 Err(error) => return Poll::Ready(Err(error)),
///                 Ok((len, source)) => {
///                     *received = Received::new(source, len);
///                     return Poll::Ready(Ok(1));
///                 }
///             }
///         }
///     }
///
///     fn local_addr(&self) -> io::Result<SocketAddr> {
///         self.0.local_addr()
///     }
/// }
///
/// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
/// let near: Box<dyn DatagramSocket> = Box::new(Udp(UdpSocket::bind("127.0.0.1:0").await?));
/// let far: Box<dyn DatagramSocket> = Box::new(Udp(UdpSocket::bind("127.0.0.1:0").await?));
///
/// let batch = [Transmit::new(far.local_addr()?, b"a packet")];
/// assert_eq!(poll_fn(|cx| near.poll_send(cx, &batch)).await?, 1);
///
/// let (mut buffer, mut received) = ([0; 1500], [Received::default()]);
/// let count = poll_fn(|cx| far.poll_recv(cx, &mut [IoSliceMut::new(&mut buffer)], &mut received)).await?;
/// assert_eq!((count, received[0].source), (1, near.local_addr()?));
/// assert_eq!(received[0].packets(&buffer).collect::<Vec<_>>(), [b"a packet"]);
/// # Ok::<(), io::Error>(())
/// # })?;
/// # }
/// # Ok::<(), std::io::Error>(())
/// ```
pub trait DatagramSocket: fmt::Debug + Send + Sync + 'static {
    /// Sends from the front of `batch` and returns how many of its elements were taken whole (at least one, unless
    /// `batch` is empty). A taken packet may still be lost.
    ///
    /// A caller never gives more segments in one element than [`max_send_segments`](Self::max_send_segments).
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] when nothing can be sent now. Any other error concerns the first element
    /// only (too large, no route, …); none was taken, and the next may go on without it.
    fn try_send(&self, batch: &[Transmit<'_>]) -> io::Result<usize>;

    /// As [`try_send`](Self::try_send), but waits: `Pending` in place of `WouldBlock`, and the task is woken once
    /// something can be sent.
    fn poll_send(&self, cx: &mut Context<'_>, batch: &[Transmit<'_>]) -> Poll<io::Result<usize>>;

    /// Receives into `buffers` and describes each that was filled at the same place of `received`; returns how many
    /// were (at least one, unless either slice is empty).
    ///
    /// A packet that is longer than its buffer is cut off, so give each as much as the largest packet, times
    /// [`max_recv_segments`](Self::max_recv_segments) where the system may join packets.
    ///
    /// An error concerns this call only (a port that was reported unreachable, …); receiving may go on.
    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        buffers: &mut [IoSliceMut<'_>],
        received: &mut [Received],
    ) -> Poll<io::Result<usize>>;

    /// Receives one packet, or several that the system joined, and spreads them over `slices`, one after the other: so
    /// that parts of it get to where they belong without being copied there. All else is as in
    /// [`poll_recv`](Self::poll_recv).
    ///
    /// Only the first slice is filled where the socket does not [`scatter`](Self::scatters), which is the default.
    fn poll_recv_scattered(
        &self,
        cx: &mut Context<'_>,
        slices: &mut [IoSliceMut<'_>],
    ) -> Poll<io::Result<Received>> {
        let mut received = [Received::default()];
        let first = slices.len().min(1);
        self.poll_recv(cx, &mut slices[..first], &mut received)
            .map_ok(|_| received[0])
    }

    /// Whether [`poll_recv_scattered`](Self::poll_recv_scattered) fills more than one slice.
    fn scatters(&self) -> bool {
        false
    }

    /// The address that the socket is bound to, its port never zero.
    ///
    /// # Errors
    /// What the system says.
    fn local_addr(&self) -> io::Result<SocketAddr>;

    /// How many packets of equal size one [`Transmit`] may hold, all together no more than [`Transmit::MAX_LEN`]
    /// bytes. One where the system does not split them, which is the default. May sink while the socket is used, when
    /// the system turns out to be unable after all.
    fn max_send_segments(&self) -> usize {
        1
    }

    /// How many packets of equal size may come joined in one buffer. One, the default, where the system does not.
    fn max_recv_segments(&self) -> usize {
        1
    }

    /// How many packets have reached this socket and found its receive buffer full, ever; `None`, the default, where
    /// the system does not tell. A protocol above tells by it a receiver that is too slow from a network that loses.
    ///
    /// May read a file of the system: a matter of some hundred microseconds, for a few times a second at most.
    fn recv_drops(&self) -> Option<u64> {
        None
    }
}

/// What is to be sent: one packet, or several of equal size that the system splits.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Transmit<'a> {
    /// Where to; a multicast group is an address like others.
    pub destination: SocketAddr,
    /// Which of the machine's addresses to send from. Default: the system's choice.
    pub source: Option<IpAddr>,
    /// What to send.
    pub contents: &'a [u8],
    /// Split `contents` into packets of this many bytes, the last of which may be shorter. Default: one packet.
    pub segment_size: Option<usize>,
}

impl<'a> Transmit<'a> {
    /// The most bytes of `contents`, in however many packets: what one IPv4 packet can carry over UDP.
    pub const MAX_LEN: usize = 65_507;

    /// One packet to `destination`.
    #[must_use]
    pub fn new(destination: SocketAddr, contents: &'a [u8]) -> Self {
        Transmit {
            destination,
            source: None,
            contents,
            segment_size: None,
        }
    }

    /// Sends from `source`, one of the machine's addresses.
    #[must_use]
    pub fn from(mut self, source: IpAddr) -> Self {
        self.source = Some(source);
        self
    }

    /// Splits the contents into packets of `size` bytes (at least one), the last of which may be shorter.
    #[must_use]
    pub fn segmented(mut self, size: usize) -> Self {
        self.segment_size = Some(size.max(1));
        self
    }

    /// How many packets this is.
    #[must_use]
    pub fn segments(&self) -> usize {
        match self.segment_size {
            Some(size) => self.contents.len().div_ceil(size.max(1)).max(1),
            None => 1,
        }
    }
}

/// What a buffer was filled with: one packet, or several of equal size that the system joined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Received {
    /// Who sent it.
    pub source: SocketAddr,
    /// The address it was sent to, where the system tells: one of the machine's, or a multicast group.
    pub destination: Option<IpAddr>,
    /// How many bytes of the buffer were filled.
    pub len: usize,
    /// The size of each packet in the buffer, the last of which may be shorter. `len` when there is one only.
    pub segment_size: usize,
}

impl Received {
    /// One packet of `len` bytes from `source`.
    #[must_use]
    pub fn new(source: SocketAddr, len: usize) -> Self {
        Received {
            source,
            destination: None,
            len,
            segment_size: len,
        }
    }

    /// The packets in the buffer that this describes; an empty packet is one too.
    ///
    /// ```
    /// use flexbond_transport::Received;
    ///
    /// let mut received = Received::new("192.0.2.7:4000".parse().unwrap(), 5);
    /// received.segment_size = 2;
    /// assert_eq!(received.packets(b"aabbc...").collect::<Vec<_>>(), [&b"aa"[..], b"bb", b"c"]);
    /// ```
    pub fn packets<'a>(&self, buffer: &'a [u8]) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let filled = &buffer[..self.len.min(buffer.len())];
        let empty: Option<&'a [u8]> = filled.is_empty().then_some(filled);
        empty.into_iter().chain(filled.chunks(self.segment_size.max(1)))
    }

    /// As [`packets`](Self::packets), for those who open packets where they are.
    ///
    /// ```
    /// use flexbond_transport::Received;
    ///
    /// let mut received = Received::new("192.0.2.7:4000".parse().unwrap(), 5);
    /// received.segment_size = 2;
    /// let mut buffer = *b"aabbc...";
    /// for packet in received.packets_mut(&mut buffer) {
    ///     packet.make_ascii_uppercase();
    /// }
    /// assert_eq!(&buffer, b"AABBC...");
    /// received.len = 0;
    /// assert_eq!(received.packets_mut(&mut buffer).count(), 1);
    /// ```
    pub fn packets_mut<'a>(&self, buffer: &'a mut [u8]) -> impl Iterator<Item = &'a mut [u8]> + use<'a> {
        let len = self.len.min(buffer.len());
        let filled = &mut buffer[..len];
        let (empty, filled) = match len {
            0 => (Some(filled), Default::default()),
            _ => (None, filled),
        };
        empty
            .into_iter()
            .chain(filled.chunks_mut(self.segment_size.max(1)))
    }
}

impl Default for Received {
    /// An empty packet from `0.0.0.0:0`, to be overwritten.
    fn default() -> Self {
        Received::new(SocketAddr::from(([0, 0, 0, 0], 0)), 0)
    }
}
