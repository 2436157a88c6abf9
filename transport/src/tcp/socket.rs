//! Sockets with their options set, at the moment at which each takes effect.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, TcpKeepalive, Type};

use super::pacing::Pacing;
use crate::socket_stream::set_buffers;
use crate::{Keepalive, LinkOptions};

/// A socket that listens at `address`, and how its connections are paced. `dual_stack`: an IPv6 wildcard takes IPv4 too.
pub(super) fn listening(
    address: SocketAddr,
    dual_stack: bool,
    options: &LinkOptions,
) -> io::Result<(TcpListener, Pacing)> {
    let socket = new(address)?;
    if address.is_ipv6() {
        socket.set_only_v6(!dual_stack)?;
    }
    // Lets the port be bound again at once while connections that were accepted there live on; a live listener's port
    // stays refused, except on Windows, where the option would take it. When the system chooses the port, the option
    // is set afterwards only: before, it could choose one that another socket with the option is about to listen at.
    let reuse = cfg!(unix);
    let chosen_by_system = address.port() == 0;
    if reuse && !chosen_by_system {
        socket.set_reuse_address(true)?;
    }
    // The window scale is agreed upon in the handshake, and accepted sockets inherit the sizes.
    set_buffers(&socket, options)?;
    // Accepted sockets inherit this, too.
    let pacing = Pacing::suspend(&socket, address);
    socket.bind(&address.into())?;
    if reuse && chosen_by_system {
        socket.set_reuse_address(true)?;
    }
    socket.listen(i32::try_from(options.backlog.max(1)).unwrap_or(i32::MAX))?;
    Ok((socket.into(), pacing))
}

/// A socket that is ready to be connected to `address`.
pub(super) fn unconnected(address: SocketAddr, options: &LinkOptions) -> io::Result<Socket> {
    let socket = new(address)?;
    set_buffers(&socket, options)?;
    configure(&socket, options)?;
    Pacing::suspend(&socket, address);
    Ok(socket)
}

fn new(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// Sets the options that belong to each connection.
pub(super) fn configure(socket: &Socket, options: &LinkOptions) -> io::Result<()> {
    socket.set_tcp_nodelay(options.nodelay)?;
    limit_unsent(socket, options.unsent_buffer);
    if let Some(keepalive) = &options.keepalive {
        set_keepalive(socket, keepalive)?;
    }
    Ok(())
}

pub(super) fn set_keepalive(socket: &Socket, keepalive: &Keepalive) -> io::Result<()> {
    #[cfg(any(target_os = "android", target_os = "linux"))]
    if keepalive.unacknowledged.is_some() {
        socket.set_tcp_user_timeout(keepalive.unacknowledged)?;
    }
    socket.set_tcp_keepalive(&parameters(keepalive))
}

/// Keeps the kernel from taking megabytes that the peer has no room for. It would send them from its answers to the
/// peer's reads: on one machine the reader then pays for the writer's work and falls further behind, with everything
/// out of the caches. One publisher to four subscribers, 16 KiB: 32,000 messages/s without, 80,000 with.
fn limit_unsent(socket: &Socket, bytes: usize) {
    // A system that does not know the option still works.
    #[cfg(any(target_os = "android", target_os = "linux"))]
    let _ = socket.set_tcp_notsent_lowat(u32::try_from(bytes).unwrap_or(u32::MAX));
    #[cfg(not(any(target_os = "android", target_os = "linux")))]
    let _ = (socket, bytes);
}

fn parameters(keepalive: &Keepalive) -> TcpKeepalive {
    // The system counts whole seconds and refuses none at all.
    let seconds = |time: Duration| time.max(Duration::from_secs(1));
    let mut parameters = TcpKeepalive::new();
    if let Some(idle) = keepalive.idle {
        parameters = parameters.with_time(seconds(idle));
    }
    if let Some(interval) = keepalive.interval {
        parameters = parameters.with_interval(seconds(interval));
    }
    if let Some(retries) = keepalive.retries {
        parameters = parameters.with_retries(retries);
    }
    parameters
}
