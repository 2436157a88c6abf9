//! UDP sockets with their options set, at the moment at which each takes effect.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};

use socket2::{Domain, Protocol, Socket, Type};

use super::interface::Selected;
use super::{Interface, UdpOptions};
use crate::{BindError, Endpoint};

/// Linux shows the double of the size of a buffer that it was given, for its own bookkeeping (`socket(7)`).
pub(super) const BUFFER_FACTOR: usize = if cfg!(any(target_os = "linux", target_os = "android")) {
    2
} else {
    1
};

/// The group that a socket has joined, and where.
#[derive(Clone, Copy, Debug)]
pub(super) struct Membership {
    group: IpAddr,
    interface: Selected,
}

impl Membership {
    fn join(&self, socket: &Socket) -> io::Result<()> {
        match self.group {
            IpAddr::V4(group) => socket.join_multicast_v4(&group, &self.v4()),
            IpAddr::V6(group) => socket.join_multicast_v6(&group, self.interface.index),
        }
    }

    pub(super) fn leave(&self, socket: &Socket) -> io::Result<()> {
        match self.group {
            IpAddr::V4(group) => socket.leave_multicast_v4(&group, &self.v4()),
            IpAddr::V6(group) => socket.leave_multicast_v6(&group, self.interface.index),
        }
    }

    fn v4(&self) -> Ipv4Addr {
        self.interface.v4.unwrap_or(Ipv4Addr::UNSPECIFIED)
    }
}

/// A socket bound to `address`, and the group that it is a member of: none.
pub(super) fn unicast(
    address: SocketAddr,
    options: &UdpOptions,
) -> Result<(Socket, Option<Membership>), BindError> {
    if address.ip().is_multicast() {
        return Err(unusable(address, "a multicast group is joined, not bound"));
    }
    let interface = match &options.interface {
        Some(interface) => select(interface, address)?,
        None => own(address),
    };
    let bind = || {
        let socket = new(address, options)?;
        send_multicast_through(&socket, address, interface)?;
        socket.bind(&address.into())?;
        Ok(socket)
    };
    let socket = bind().map_err(|source| failure(address, source))?;
    Ok((socket, None))
}

/// A socket bound to `group` and joined to it.
pub(super) fn multicast(group: SocketAddr, options: &UdpOptions) -> Result<(Socket, Membership), BindError> {
    if !group.ip().is_multicast() {
        return Err(unusable(group, "not a multicast address"));
    }
    let interface = match (&options.interface, group) {
        (Some(interface), _) => select(interface, group)?,
        (None, SocketAddr::V6(group)) => Selected {
            v4: None,
            index: group.scope_id(),
        },
        (None, SocketAddr::V4(_)) => Selected::default(),
    };
    let membership = Membership {
        group: group.ip(),
        interface,
    };
    let bind = || {
        let socket = new(group, options)?;
        send_multicast_through(&socket, group, interface)?;
        // When the system chooses the port, it must not choose one that another socket of this kind has, so that
        // the option is set afterwards only.
        let chosen_by_system = group.port() == 0;
        if !chosen_by_system {
            share(&socket)?;
        }
        socket.bind(&bindable(group, interface).into())?;
        if chosen_by_system {
            share(&socket)?;
        }
        membership.join(&socket)?;
        Ok(socket)
    };
    let socket = bind().map_err(|source| failure(group, source))?;
    Ok((socket, membership))
}

/// Why `address` could not be bound.
pub(super) fn failure(address: SocketAddr, source: io::Error) -> BindError {
    let endpoint = Endpoint::Udp(address.into());
    match source.kind() {
        io::ErrorKind::AddrInUse => BindError::InUse {
            endpoint,
            source: Some(source),
        },
        _ => BindError::Io { endpoint, source },
    }
}

fn unusable(address: SocketAddr, reason: impl Into<String>) -> BindError {
    BindError::Unusable {
        endpoint: Endpoint::Udp(address.into()),
        reason: reason.into(),
    }
}

/// The interface that was asked for, of the family of `address`.
fn select(interface: &Interface, address: SocketAddr) -> Result<Selected, BindError> {
    let selected = interface
        .select()
        .map_err(|source| failure(address, source))?
        .ok_or_else(|| unusable(address, format!("there is no network interface {interface}")))?;
    if address.is_ipv4() && selected.v4.is_none() {
        return Err(unusable(
            address,
            format!("network interface {interface} has no IPv4 address"),
        ));
    }
    Ok(selected)
}

/// The interface that `address` belongs to, so that a socket that is bound to the loopback address reaches the groups
/// there, and so on; the system's choice where it is not to be found.
fn own(address: SocketAddr) -> Selected {
    match address {
        SocketAddr::V4(address) if !address.ip().is_unspecified() => Selected {
            v4: Some(*address.ip()),
            index: 0,
        },
        SocketAddr::V6(address) if address.scope_id() != 0 => Selected {
            v4: None,
            index: address.scope_id(),
        },
        SocketAddr::V6(address) if !address.ip().is_unspecified() => {
            let found = Interface::Address((*address.ip()).into()).select();
            found.ok().flatten().unwrap_or_default()
        }
        _ => Selected::default(),
    }
}

fn new(address: SocketAddr, options: &UdpOptions) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_nonblocking(true)?;
    enlarge(options.send_buffer, |bytes| socket.set_send_buffer_size(bytes));
    enlarge(options.recv_buffer, |bytes| socket.set_recv_buffer_size(bytes));
    let ttl = u32::from(options.multicast_ttl);
    if address.is_ipv4() {
        socket.set_multicast_ttl_v4(ttl)?;
        socket.set_multicast_loop_v4(options.multicast_loop)?;
        // Otherwise a socket hears the groups that any process of the machine has joined.
        #[cfg(target_os = "linux")]
        socket.set_multicast_all_v4(false)?;
    } else {
        socket.set_only_v6(true)?;
        socket.set_multicast_hops_v6(ttl)?;
        socket.set_multicast_loop_v6(options.multicast_loop)?;
        // Unknown before Linux 4.20, which still works.
        #[cfg(target_os = "linux")]
        let _ = socket.set_multicast_all_v6(false);
    }
    Ok(socket)
}

/// Asks for a buffer: some systems limit the size silently, others refuse what is too large.
fn enlarge(bytes: usize, set: impl Fn(usize) -> io::Result<()>) {
    let mut bytes = bytes.min(i32::MAX as usize);
    while bytes > 0 && set(bytes).is_err() {
        bytes /= 2;
    }
}

fn send_multicast_through(socket: &Socket, address: SocketAddr, interface: Selected) -> io::Result<()> {
    match (address, interface.v4) {
        (SocketAddr::V4(_), Some(v4)) => socket.set_multicast_if_v4(&v4),
        (SocketAddr::V6(_), _) if interface.index != 0 => socket.set_multicast_if_v6(interface.index),
        _ => Ok(()),
    }
}

/// Lets other sockets bind the same group and port.
fn share(socket: &Socket) -> io::Result<()> {
    socket.set_reuse_address(true)?;
    // The systems that come from BSD want this one; Linux would accept either.
    #[cfg(all(
        unix,
        not(any(
            target_os = "linux",
            target_os = "android",
            target_os = "solaris",
            target_os = "illumos",
            target_os = "cygwin",
            target_os = "nuttx"
        ))
    ))]
    socket.set_reuse_port(true)?;
    Ok(())
}

/// What to bind in order to hear `group`: itself, so that nothing else is heard, except on Windows, which refuses.
fn bindable(group: SocketAddr, interface: Selected) -> SocketAddr {
    match group {
        SocketAddr::V4(group) if cfg!(windows) => (Ipv4Addr::UNSPECIFIED, group.port()).into(),
        SocketAddr::V6(group) if cfg!(windows) => (Ipv6Addr::UNSPECIFIED, group.port()).into(),
        SocketAddr::V4(_) => group,
        SocketAddr::V6(v6) => {
            // A group of interface-local or link-local scope is one per interface (RFC 4291, section 2.7).
            let is_local = matches!(v6.ip().octets()[1] & 0xf, 1 | 2);
            let scope = if is_local { interface.index } else { 0 };
            SocketAddrV6::new(*v6.ip(), v6.port(), 0, scope).into()
        }
    }
}
