//! One packet, or several that the system joined, spread over several places: where `recvmsg` says how they were joined.

#[cfg(target_os = "linux")]
pub(super) use linux::recv;

/// Whether it is supported here.
pub(super) const IS_SUPPORTED: bool = cfg!(target_os = "linux");

#[cfg(target_os = "linux")]
mod linux {
    use std::io::{self, IoSliceMut};
    use std::net::{IpAddr, Ipv4Addr, SocketAddr};
    use std::os::fd::AsRawFd;

    use nix::sys::socket::{ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg};

    use crate::Received;

    /// Bytes for what the system says about a packet: where it came to, when, how it was joined.
    const CONTROL: usize = 256;

    /// Spreads what has come over `slices`.
    ///
    /// # Errors
    /// What the system says.
    pub(crate) fn recv(socket: &impl AsRawFd, slices: &mut [IoSliceMut<'_>]) -> io::Result<Received> {
        let mut control = nix::cmsg_space!([u8; CONTROL]);
        let message =
            recvmsg::<SockaddrStorage>(socket.as_raw_fd(), slices, Some(&mut control), MsgFlags::empty())?;
        let source = message.address.as_ref().and_then(address);
        let source = source.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "from no address"))?;
        let mut received = Received::new(source, message.bytes);
        for note in message.cmsgs()? {
            match note {
                ControlMessageOwned::Ipv4PacketInfo(info) => {
                    // In network order, as it lies in memory.
                    let address = Ipv4Addr::from(info.ipi_addr.s_addr.to_ne_bytes());
                    received.destination = Some(address.into());
                }
                ControlMessageOwned::Ipv6PacketInfo(info) => {
                    received.destination = Some(IpAddr::from(info.ipi6_addr.s6_addr));
                }
                ControlMessageOwned::UdpGroSegments(size) => {
                    // That of the packets before they were cut off.
                    let size = usize::try_from(size).unwrap_or(0).min(received.len);
                    received.segment_size = size;
                }
                _ => {}
            }
        }
        Ok(received)
    }

    fn address(storage: &SockaddrStorage) -> Option<SocketAddr> {
        let v4 = storage.as_sockaddr_in().map(|v4| SocketAddr::V4((*v4).into()));
        v4.or_else(|| Some(SocketAddr::V6((*storage.as_sockaddr_in6()?).into())))
    }
}

/// There is none.
///
/// # Errors
/// [`Unsupported`](std::io::ErrorKind::Unsupported).
#[cfg(not(target_os = "linux"))]
pub(super) fn recv<S>(_: &S, _: &mut [std::io::IoSliceMut<'_>]) -> std::io::Result<crate::Received> {
    Err(std::io::ErrorKind::Unsupported.into())
}
