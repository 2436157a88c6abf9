//! A socket of the simulated network.

use std::fmt;
use std::io::{self, ErrorKind, IoSliceMut};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;

use super::Delivery;
use super::net::{Hub, State};
use super::stash::Stash;
use crate::{DatagramSocket, Received, Transmit};

/// A socket of a [`SimNet`](super::SimNet). Dropping it closes it.
///
/// It takes whatever is sent, in packets of up to [`Transmit::MAX_LEN`] bytes, and leaves the rest to the network. While
/// its host is paused, it sends and receives nothing, and waits.
pub struct SimSocket {
    hub: Arc<Hub>,
    id: u64,
    /// Its host, and the port that it has there.
    own: SocketAddr,
    /// What it shows as its address: `own`, or the group that it is bound to.
    local: SocketAddr,
    /// How many packets it splits and joins.
    segments: usize,
}

/// What has arrived at a socket, and who waits for it.
#[derive(Default)]
pub(super) struct Inbox {
    packets: Stash,
    drops: u64,
    receiver: Option<Waker>,
    sender: Option<Waker>,
}

impl Inbox {
    /// Keeps a packet if there is room; whether it was kept.
    pub(super) fn push(&mut self, delivery: Delivery, limit: usize) -> bool {
        let kept = self.packets.push(delivery, limit);
        self.drops += u64::from(!kept);
        kept
    }

    pub(super) fn take_receiver(&mut self) -> Option<Waker> {
        self.receiver.take()
    }

    pub(super) fn take_wakers(&mut self) -> impl Iterator<Item = Waker> + use<> {
        self.receiver.take().into_iter().chain(self.sender.take())
    }

    /// Fills a buffer with the next packet, and with those after it that join it, up to `segments`.
    fn fill(&mut self, buffer: &mut [u8], segments: usize) -> Option<Received> {
        let first = self.packets.pop()?;
        let size = first.bytes.len().min(buffer.len());
        buffer[..size].copy_from_slice(&first.bytes[..size]);
        let mut received = Received::new(first.from, size);
        received.destination = Some(first.destination.ip());
        let capacity = buffer.len();
        let joins = |next: &Delivery, filled: usize| {
            next.from == first.from
                && next.destination == first.destination
                && (1..=size).contains(&next.bytes.len())
                && filled + next.bytes.len() <= capacity
        };
        // A packet that was cut off, or that is empty, stays by itself.
        let mut room = if size == first.bytes.len() { segments } else { 1 };
        while room > 1 && self.packets.front().is_some_and(|next| joins(next, received.len)) {
            let Some(next) = self.packets.pop() else { break };
            let filled = received.len + next.bytes.len();
            buffer[received.len..filled].copy_from_slice(&next.bytes);
            received.len = filled;
            // The last one only may be shorter.
            room = if next.bytes.len() == size { room - 1 } else { 1 };
        }
        Some(received)
    }
}

impl SimSocket {
    pub(super) fn new(hub: Arc<Hub>, id: u64, own: SocketAddr, local: SocketAddr, segments: usize) -> Self {
        SimSocket {
            hub,
            id,
            own,
            local,
            segments: segments.max(1),
        }
    }

    /// The host that the socket belongs to.
    #[must_use]
    pub fn host(&self) -> IpAddr {
        self.own.ip()
    }

    /// Makes the socket hear what is sent to a multicast group at its own port too.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] when `group` is no multicast address.
    pub fn join_multicast(&self, group: IpAddr) -> io::Result<()> {
        let destination = self.group(group)?;
        self.hub
            .with(|state, _| state.listen(self.id, self.own, destination));
        Ok(())
    }

    /// Ends that.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] when `group` is no multicast address.
    pub fn leave_multicast(&self, group: IpAddr) -> io::Result<()> {
        let destination = self.group(group)?;
        self.hub
            .with(|state, _| state.unlisten(self.id, self.own, destination));
        Ok(())
    }

    fn group(&self, group: IpAddr) -> io::Result<SocketAddr> {
        if group.is_multicast() {
            Ok(SocketAddr::new(group, self.own.port()))
        } else {
            Err(io::Error::new(ErrorKind::InvalidInput, "not a multicast address"))
        }
    }

    /// Sends a batch; `sender` is kept while the host is paused.
    fn send(&self, batch: &[Transmit<'_>], sender: Option<&Waker>) -> io::Result<usize> {
        self.hub.with(|state, now| {
            if state.network.is_paused(self.host()) && !batch.is_empty() {
                if let (Some(sender), Some(inbox)) = (sender, state.inbox(self.id)) {
                    inbox.sender = Some(sender.clone());
                }
                return Err(ErrorKind::WouldBlock.into());
            }
            for (taken, transmit) in batch.iter().enumerate() {
                match packets_of(transmit) {
                    Ok(packets) => {
                        let from = transmit.source.unwrap_or(self.host());
                        let from = SocketAddr::new(from, self.own.port());
                        for packet in packets {
                            state.network.send(now, from, transmit.destination, packet);
                        }
                    }
                    Err(_) if taken > 0 => return Ok(taken),
                    Err(error) => return Err(error),
                }
            }
            Ok(batch.len())
        })
    }

    fn recv(
        &self,
        state: &mut State,
        buffers: &mut [IoSliceMut<'_>],
        received: &mut [Received],
        waker: &Waker,
    ) -> Poll<usize> {
        let paused = state.network.is_paused(self.host());
        let Some(inbox) = state.inbox(self.id) else {
            return Poll::Pending;
        };
        let mut count = 0;
        for (buffer, received) in buffers.iter_mut().zip(received) {
            let filled = if paused {
                None
            } else {
                inbox.fill(buffer, self.segments)
            };
            let Some(filled) = filled else { break };
            *received = filled;
            count += 1;
        }
        if count == 0 {
            inbox.receiver = Some(waker.clone());
            return Poll::Pending;
        }
        Poll::Ready(count)
    }
}

/// The packets of one element of a batch.
fn packets_of(transmit: &Transmit<'_>) -> io::Result<impl Iterator<Item = Bytes> + use<>> {
    let len = transmit.contents.len();
    let size = transmit.segment_size.unwrap_or(len).clamp(1, len.max(1));
    if size > Transmit::MAX_LEN {
        return Err(io::Error::new(
            ErrorKind::InvalidInput,
            "more bytes than a packet can carry",
        ));
    }
    if transmit.destination.port() == 0 {
        return Err(io::Error::new(
            ErrorKind::InvalidInput,
            "nobody can be reached at port 0",
        ));
    }
    let mut rest = Bytes::copy_from_slice(transmit.contents);
    Ok((0..transmit.segments()).map(move |_| rest.split_to(size.min(rest.len()))))
}

impl DatagramSocket for SimSocket {
    fn try_send(&self, batch: &[Transmit<'_>]) -> io::Result<usize> {
        self.send(batch, None)
    }

    fn poll_send(&self, cx: &mut Context<'_>, batch: &[Transmit<'_>]) -> Poll<io::Result<usize>> {
        match self.send(batch, Some(cx.waker())) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => Poll::Pending,
            result => Poll::Ready(result),
        }
    }

    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        buffers: &mut [IoSliceMut<'_>],
        received: &mut [Received],
    ) -> Poll<io::Result<usize>> {
        if buffers.is_empty() || received.is_empty() {
            return Poll::Ready(Ok(0));
        }
        self.hub
            .with(|state, _| self.recv(state, buffers, received, cx.waker()))
            .map(Ok)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.local)
    }

    fn max_send_segments(&self) -> usize {
        self.segments
    }

    fn max_recv_segments(&self) -> usize {
        self.segments
    }

    fn recv_drops(&self) -> Option<u64> {
        self.hub
            .with(|state, _| state.inbox(self.id).map(|inbox| inbox.drops))
    }
}

impl Drop for SimSocket {
    fn drop(&mut self) {
        drop(self.hub.with(|state, _| state.close(self.id)));
    }
}

impl fmt::Debug for SimSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimSocket")
            .field("local", &self.local)
            .field("host", &self.host())
            .finish_non_exhaustive()
    }
}
