//! UDP over IPv4 and IPv6, unicast and multicast.

mod binding;
mod drops;
mod filter;
mod interface;
mod offload;
mod options;
mod scatter;
#[cfg(test)]
mod tests;

use std::fmt;
use std::io::{self, ErrorKind, IoSliceMut};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll, ready};

use quinn_udp::{BATCH_SIZE, RecvMeta, UdpSocketState};
use socket2::SockRef;
use tokio::io::Interest;

use crate::readiness::read_noting_drained;
use crate::{BindError, DatagramSocket, Received, Transmit};

use binding::Membership;
use drops::Drops;
pub use interface::Interface;
use offload::Offload;
pub use options::UdpOptions;

/// A UDP socket, for one address of this machine or for one multicast group.
///
/// - It works in batches. On Linux the system splits what it sends (GSO, up to 64 packets per [`Transmit`]) and joins
///   what it receives (GRO, up to 64 packets per buffer, so give buffers of 64 KiB), and several buffers are filled
///   per call. Where the system refuses to split, packets go out one by one, and
///   [`max_send_segments`](DatagramSocket::max_send_segments) is 1 from then on.
/// - Packets are never fragmented: one that is too large for the path is an error, or lost.
/// - An IPv6 socket is for IPv6 only.
/// - That a peer's port is closed (ICMP) is no error of this socket, which serves other peers too: it is ignored and
///   [counted](Self::counters).
/// - A packet that is longer than its buffer is cut off without a sign; its [`len`](Received::len) is the buffer's.
///   (On systems without `recvmmsg`, macOS among them, it is dropped.)
///
/// What is sent to a group comes from the address of the interface, with the port of the sending socket: so bind one
/// socket to send and be answered at, and one per group to listen at.
///
/// # Multicast on loopback
/// IPv4 groups work on the loopback interface: give its address as [`UdpOptions::interface`], or bind the sender to
/// it. Whoever has joined there hears, whatever [`UdpOptions::multicast_loop`] says. Linux has no route for IPv6 groups
/// there, so that sending fails with [`ErrorKind::NetworkUnreachable`]; a group of interface-local scope (`ff11::/16`)
/// on another interface stays on the machine all the same.
///
/// # Example
/// ```
/// use std::future::poll_fn;
/// use std::io::IoSliceMut;
///
/// use flexbond_transport::{DatagramSocket, Received, Transmit, UdpOptions, UdpSocket};
///
/// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
/// let options = UdpOptions::default().interface(std::net::IpAddr::from([127, 0, 0, 1]));
/// let listener = UdpSocket::bind_multicast("239.255.70.66:0".parse()?, &options)?;
/// let sender = UdpSocket::bind("127.0.0.1:0".parse()?, &options)?;
///
/// let packet = [Transmit::new(listener.local_addr()?, b"to all of you")];
/// poll_fn(|cx| sender.poll_send(cx, &packet)).await?;
///
/// let (mut buffer, mut received) = (vec![0; 65_536], [Received::default()]);
/// poll_fn(|cx| listener.poll_recv(cx, &mut [IoSliceMut::new(&mut buffer)], &mut received)).await?;
/// assert_eq!(received[0].source, sender.local_addr()?);
/// assert_eq!(received[0].packets(&buffer).next(), Some(&b"to all of you"[..]));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct UdpSocket {
    io: tokio::net::UdpSocket,
    state: UdpSocketState,
    offload: Offload,
    local: SocketAddr,
    membership: Option<Membership>,
    is_member: AtomicBool,
    drops: Option<Drops>,
    /// Whether the system drops what it is told to drop, and counts that.
    is_filtered: AtomicBool,
    errors_ignored: AtomicU64,
    packets_unsent: AtomicU64,
}

/// What a socket has not passed on, since it was bound.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct UdpCounters {
    /// Errors that the system reported about packets sent earlier: a peer's port was closed, its host unreachable.
    pub errors_ignored: u64,
    /// Packets of a [`Transmit`] of several that was taken, but of which the last could not be sent any more. They
    /// count as lost on the way.
    pub packets_unsent: u64,
}

impl UdpSocket {
    /// Binds `address`; with port 0 the system chooses one. Packets to a multicast group are sent through
    /// [`UdpOptions::interface`]; without one, through that of `address`, or as the system's routes say when `address`
    /// is unspecified.
    ///
    /// # Errors
    /// [`BindError`]; nothing is bound then.
    ///
    /// # Panics
    /// Outside a tokio runtime with I/O enabled.
    pub fn bind(address: SocketAddr, options: &UdpOptions) -> Result<Self, BindError> {
        let (socket, membership) = binding::unicast(address, options)?;
        Self::register(socket, membership, address, options)
    }

    /// Joins `group` on [`UdpOptions::interface`] (without one: that of the scope of an IPv6 address, else the system's
    /// choice) and binds its port. Any number of sockets of any processes can do so, and all of them hear what is sent
    /// to the group. With port 0 the system chooses one.
    ///
    /// Nothing else is heard: neither what is sent to the port of this machine, nor other groups (on Windows, packets
    /// that are sent to the port of this machine are).
    ///
    /// # Errors
    /// [`BindError`]; nothing is bound then. [`BindError::Unusable`] when `group` is no multicast address, or the
    /// interface does not exist.
    ///
    /// # Panics
    /// Outside a tokio runtime with I/O enabled.
    pub fn bind_multicast(group: SocketAddr, options: &UdpOptions) -> Result<Self, BindError> {
        let (socket, membership) = binding::multicast(group, options)?;
        Self::register(socket, Some(membership), group, options)
    }

    fn register(
        socket: socket2::Socket,
        membership: Option<Membership>,
        asked: SocketAddr,
        options: &UdpOptions,
    ) -> Result<Self, BindError> {
        let register = || {
            let drops = Drops::of(&socket, asked.is_ipv6());
            let io = tokio::net::UdpSocket::from_std(socket.into())?;
            let state = UdpSocketState::new((&io).into())?;
            let mut local = io.local_addr()?;
            if membership.is_some() {
                // Where a group cannot be bound itself, the wildcard is.
                local.set_ip(asked.ip());
            }
            let segments = if options.segmentation_offload {
                state.max_gso_segments()
            } else {
                1
            };
            Ok(UdpSocket {
                io,
                state,
                offload: Offload::new(segments),
                local,
                is_member: AtomicBool::new(membership.is_some()),
                membership,
                drops,
                is_filtered: AtomicBool::new(false),
                errors_ignored: AtomicU64::new(0),
                packets_unsent: AtomicU64::new(0),
            })
        };
        register().map_err(|source: io::Error| binding::failure(asked, source))
    }

    /// Leaves the multicast group: what is sent to it from now on is not heard any more. Of no effect the second time,
    /// and on a socket that was not bound to a group.
    ///
    /// # Errors
    /// What the system says; a retry is sound.
    pub fn leave(&self) -> io::Result<()> {
        let Some(membership) = &self.membership else {
            return Ok(());
        };
        if !self.is_member.swap(false, Ordering::AcqRel) {
            return Ok(());
        }
        let left = membership.leave(&SockRef::from(&self.io));
        if left.is_err() {
            self.is_member.store(true, Ordering::Release);
        }
        left
    }

    /// Hears nothing from `source` any more, in place of what it was told to ignore before: whoever sends to a group
    /// that it has joined need not receive all of that itself. From then on
    /// [`recv_drops`](DatagramSocket::recv_drops) tells nothing, because the system counts what is ignored, too.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`] where the system has no filters (it is Linux that has), or else what it says. All is
    /// heard then.
    ///
    /// ```
    /// use std::future::poll_fn;
    /// use std::io::IoSliceMut;
    ///
    /// use flexbond_transport::{DatagramSocket, Received, Transmit, UdpOptions, UdpSocket};
    ///
    /// # #[cfg(target_os = "linux")]
    /// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
    /// let options = UdpOptions::default();
    /// let bind = || UdpSocket::bind(([127, 0, 0, 1], 0).into(), &options);
    /// let (listener, ignored, heard) = (bind()?, bind()?, bind()?);
    /// listener.ignore(ignored.local_addr()?)?;
    ///
    /// for sender in [&ignored, &heard] {
    ///     let packet = [Transmit::new(listener.local_addr()?, b"hello")];
    ///     poll_fn(|cx| sender.poll_send(cx, &packet)).await?;
    /// }
    /// let (mut buffer, mut received) = (vec![0; 100], [Received::default()]);
    /// poll_fn(|cx| listener.poll_recv(cx, &mut [IoSliceMut::new(&mut buffer)], &mut received)).await?;
    /// assert_eq!(received[0].source, heard.local_addr()?);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn ignore(&self, source: SocketAddr) -> io::Result<()> {
        filter::drop_from(&SockRef::from(&self.io), source)?;
        self.is_filtered.store(true, Ordering::Relaxed);
        Ok(())
    }

    /// How many bytes of received packets the system keeps for this socket: what was asked for, or the limit that it
    /// has (`net.core.rmem_max` on Linux). Its own bookkeeping counts too, so that small packets fill it sooner.
    ///
    /// # Errors
    /// What the system says.
    pub fn recv_buffer(&self) -> io::Result<usize> {
        let granted = SockRef::from(&self.io).recv_buffer_size()?;
        Ok(granted / binding::BUFFER_FACTOR)
    }

    /// How many bytes the system keeps that are to be sent, as in [`recv_buffer`](Self::recv_buffer).
    ///
    /// # Errors
    /// What the system says.
    pub fn send_buffer(&self) -> io::Result<usize> {
        let granted = SockRef::from(&self.io).send_buffer_size()?;
        Ok(granted / binding::BUFFER_FACTOR)
    }

    /// What has not been passed on so far.
    #[must_use]
    pub fn counters(&self) -> UdpCounters {
        UdpCounters {
            errors_ignored: self.errors_ignored.load(Ordering::Relaxed),
            packets_unsent: self.packets_unsent.load(Ordering::Relaxed),
        }
    }

    fn send_batch(&self, batch: &[Transmit<'_>]) -> io::Result<usize> {
        for (taken, transmit) in batch.iter().enumerate() {
            match self.send(transmit) {
                Ok(()) => {}
                // The next call meets the same error, or finds that it has passed.
                Err(_) if taken > 0 => return Ok(taken),
                Err(error) => return Err(error),
            }
        }
        Ok(batch.len())
    }

    fn send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        if transmit.destination.port() == 0 {
            return Err(io::Error::new(
                ErrorKind::InvalidInput,
                "nobody can be reached at port 0",
            ));
        }
        let unsent = self.offload.send(
            transmit.contents,
            transmit.segment_size,
            |contents, segment_size| {
                self.send_now(&quinn_udp::Transmit {
                    destination: transmit.destination,
                    ecn: None,
                    contents,
                    segment_size,
                    src_ip: transmit.source,
                })
            },
        )?;
        if unsent > 0 {
            self.packets_unsent.fetch_add(unsent as u64, Ordering::Relaxed);
        }
        Ok(())
    }

    fn send_now(&self, transmit: &quinn_udp::Transmit<'_>) -> io::Result<()> {
        // One report of an earlier packet may stand before each attempt; more than a few at once are no accident.
        for _ in 0..4 {
            match self.state.try_send((&self.io).into(), transmit) {
                Err(error) if is_of_closed_port(&error) => self.count_ignored(),
                result => return result,
            }
        }
        self.state.try_send((&self.io).into(), transmit)
    }

    fn recv_batch(
        &self,
        room: usize,
        buffers: &mut [IoSliceMut<'_>],
        received: &mut [Received],
    ) -> io::Result<usize> {
        let mut metas = [RecvMeta::default(); BATCH_SIZE];
        let count = self
            .state
            .recv((&self.io).into(), &mut buffers[..room], &mut metas[..room])?;
        for (meta, received) in metas[..count].iter().zip(received) {
            *received = Received {
                source: meta.addr,
                destination: meta.dst_ip,
                len: meta.len,
                // The size that the system names is that of the packets before they were cut off.
                segment_size: meta.stride.min(meta.len),
            };
        }
        Ok(count)
    }

    fn count_ignored(&self) {
        self.errors_ignored.fetch_add(1, Ordering::Relaxed);
    }
}

/// Whether an error is the answer to a packet sent earlier, to whomever, that found no open port.
fn is_of_closed_port(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::ConnectionRefused | ErrorKind::ConnectionReset
    )
}

/// Whether an error in receiving is the answer to a packet sent earlier, to whomever.
fn is_of_earlier_packet(error: &io::Error) -> bool {
    is_of_closed_port(error)
        || matches!(
            error.kind(),
            ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable
        )
}

impl DatagramSocket for UdpSocket {
    fn try_send(&self, batch: &[Transmit<'_>]) -> io::Result<usize> {
        // Not through tokio, which would refuse as long as its driver has not looked at a new socket.
        self.send_batch(batch)
    }

    fn poll_send(&self, cx: &mut Context<'_>, batch: &[Transmit<'_>]) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.io.poll_send_ready(cx))?;
            match self.io.try_io(Interest::WRITABLE, || self.send_batch(batch)) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                result => return Poll::Ready(result),
            }
        }
    }

    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        buffers: &mut [IoSliceMut<'_>],
        received: &mut [Received],
    ) -> Poll<io::Result<usize>> {
        let room = buffers.len().min(received.len()).min(BATCH_SIZE);
        if room == 0 {
            return Poll::Ready(Ok(0));
        }
        loop {
            ready!(self.io.poll_recv_ready(cx))?;
            let result = read_noting_drained(
                room,
                || self.recv_batch(room, buffers, received),
                |interest, read| self.io.try_io(interest, read),
            );
            match result {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) if is_of_earlier_packet(&error) => self.count_ignored(),
                result => return Poll::Ready(result),
            }
        }
    }

    fn poll_recv_scattered(
        &self,
        cx: &mut Context<'_>,
        slices: &mut [IoSliceMut<'_>],
    ) -> Poll<io::Result<Received>> {
        loop {
            ready!(self.io.poll_recv_ready(cx))?;
            match self
                .io
                .try_io(Interest::READABLE, || scatter::recv(&self.io, slices))
            {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) if is_of_earlier_packet(&error) => self.count_ignored(),
                result => return Poll::Ready(result),
            }
        }
    }

    fn scatters(&self) -> bool {
        scatter::IS_SUPPORTED
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.local)
    }

    fn max_send_segments(&self) -> usize {
        self.offload.max_segments()
    }

    fn max_recv_segments(&self) -> usize {
        self.state.gro_segments()
    }

    fn recv_drops(&self) -> Option<u64> {
        if self.is_filtered.load(Ordering::Relaxed) {
            return None;
        }
        self.drops.as_ref()?.count()
    }
}

impl fmt::Debug for UdpSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UdpSocket")
            .field("local", &self.local)
            .field("max_send_segments", &self.offload.max_segments())
            .field("counters", &self.counters())
            .finish_non_exhaustive()
    }
}
