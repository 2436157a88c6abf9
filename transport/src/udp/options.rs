//! What a UDP socket is asked to be like.

use super::Interface;

/// What a [`UdpSocket`](super::UdpSocket) is asked to be like.
///
/// ```
/// use flexbond_transport::{Interface, UdpOptions};
///
/// let options = UdpOptions::default().interface("eth0".parse::<Interface>()?).multicast_ttl(4);
/// assert_eq!((options.multicast_ttl, options.multicast_loop), (4, true));
/// # Ok::<(), std::convert::Infallible>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct UdpOptions {
    /// Through which network interface multicast groups are reached and heard. Default: what
    /// [`bind`](super::UdpSocket::bind) and [`bind_multicast`](super::UdpSocket::bind_multicast) say.
    pub interface: Option<Interface>,
    /// How many routers may pass on what is sent to a group, and one. Default 1: it stays in the network. 0: on this
    /// machine (IPv4).
    pub multicast_ttl: u8,
    /// Whether what is sent to a group is heard on this machine too (on Windows: what is heard, not what is sent).
    /// Default on.
    pub multicast_loop: bool,
    /// How many bytes the system is to keep that are to be sent. Default 4 MiB, as much of it as the system allows
    /// (`net.core.wmem_max`).
    pub send_buffer: usize,
    /// How many bytes of received packets the system is to keep. Default 4 MiB, as much of it as the system allows
    /// (`net.core.rmem_max`); [`UdpSocket::recv_buffer`](super::UdpSocket::recv_buffer) tells how much that is.
    pub recv_buffer: usize,
    /// Lets the system split one [`Transmit`](crate::Transmit) into packets (GSO), where it can. Default on. Joined
    /// packets are received either way.
    pub segmentation_offload: bool,
}

impl Default for UdpOptions {
    fn default() -> Self {
        UdpOptions {
            interface: None,
            multicast_ttl: 1,
            multicast_loop: true,
            send_buffer: 4 << 20,
            recv_buffer: 4 << 20,
            segmentation_offload: true,
        }
    }
}

impl UdpOptions {
    /// Sets [`interface`](field@Self::interface).
    #[must_use]
    pub fn interface(mut self, interface: impl Into<Interface>) -> Self {
        self.interface = Some(interface.into());
        self
    }

    /// Sets [`multicast_ttl`](field@Self::multicast_ttl).
    #[must_use]
    pub fn multicast_ttl(mut self, ttl: u8) -> Self {
        self.multicast_ttl = ttl;
        self
    }

    /// Sets [`multicast_loop`](field@Self::multicast_loop).
    #[must_use]
    pub fn multicast_loop(mut self, on: bool) -> Self {
        self.multicast_loop = on;
        self
    }

    /// Sets [`send_buffer`](field@Self::send_buffer), in bytes.
    #[must_use]
    pub fn send_buffer(mut self, bytes: usize) -> Self {
        self.send_buffer = bytes;
        self
    }

    /// Sets [`recv_buffer`](field@Self::recv_buffer), in bytes.
    #[must_use]
    pub fn recv_buffer(mut self, bytes: usize) -> Self {
        self.recv_buffer = bytes;
        self
    }

    /// Sets [`segmentation_offload`](field@Self::segmentation_offload).
    #[must_use]
    pub fn segmentation_offload(mut self, on: bool) -> Self {
        self.segmentation_offload = on;
        self
    }
}
