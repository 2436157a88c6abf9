//! UDP sockets with their buffers, interface and groups.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket};

use peer_harness::Result;
use socket2::{Domain, Protocol, Socket, Type};

/// Bytes that are asked for as the kernel's buffer; it grants what the system allows.
const BUFFER: usize = 4 << 20;

/// A socket bound to `local`. Several processes may share a group and port.
pub(crate) fn bind(local: SocketAddrV4) -> Result<UdpSocket> {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_recv_buffer_size(BUFFER)?;
    socket.set_send_buffer_size(BUFFER)?;
    if local.ip().is_multicast() {
        socket.set_reuse_address(true)?;
    }
    socket.bind(&SocketAddr::V4(local).into())?;
    Ok(socket.into())
}

/// Where packets come in: `to`, which may be a group; then it is joined through the interface with the address `own`.
pub(crate) fn listen(to: SocketAddrV4, own: Ipv4Addr) -> Result<UdpSocket> {
    let socket = bind(to)?;
    if to.ip().is_multicast() {
        socket.join_multicast_v4(to.ip(), &own)?;
    }
    Ok(socket)
}

/// Where packets go out: groups are sent to through the interface with the address `own`.
pub(crate) fn dial(own: Ipv4Addr) -> Result<UdpSocket> {
    let socket: Socket = bind(SocketAddrV4::new(own, 0))?.into();
    socket.set_multicast_if_v4(&own)?;
    Ok(socket.into())
}

/// The IPv4 addresses with ports in a word, commas between them.
pub(crate) fn addresses(text: &str) -> Result<Vec<SocketAddrV4>> {
    text.split(',')
        .map(|address| {
            address
                .parse()
                .map_err(|_| format!("`{address}` is not an address with a port").into())
        })
        .collect()
}
