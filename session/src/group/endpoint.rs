//! From endpoints and options to nodes and sockets.

use std::io;
use std::net::SocketAddr;

use flexbond_transport::{
    DatagramSocket, Endpoint, Interface, Tunnel, TunnelOptions, UdpAddress, UdpOptions, UdpSocket,
};

use super::at_most_ages;
use super::driver::OpenGroup;
use super::error::StartError;
#[cfg(feature = "group-crypto")]
use super::node::Entropy;
use super::node::NodeSettings;
use super::options::{Options, SlowMember};

/// Bytes of payload in a packet that with its headers fits the 1,500 bytes of Ethernet, over IPv6 and sealed, too.
const ETHERNET: usize = 1392;
/// The same for loopback and for connections, whose packets have up to 64 KiB: fewer packets cost less.
const LARGE: usize = 60_000;

/// Where an end is.
pub(super) struct Site {
    pub(super) socket: Box<dyn DatagramSocket>,
    /// The session's endpoint.
    pub(super) endpoint: Endpoint,
    pub(super) open_group: OpenGroup,
    /// Whether its socket has all addresses of this machine.
    is_anywhere: bool,
    /// Bytes of payload in a packet, where the options do not say.
    segment: usize,
}

impl Site {
    /// What a node here is told of the options.
    pub(super) fn node_settings(&self, options: &Options) -> NodeSettings {
        NodeSettings {
            multicast: options.multicast,
            is_anywhere: self.is_anywhere,
            segment: options.segment.unwrap_or(self.segment),
            window: options.window as u64,
            recv_budget: options.recv_budget,
            least_budget: Options::LEAST_RECV_BUDGET,
            max_message: options.max_message,
            send_budget: options.send_budget,
            quorum: match options.slow_member {
                SlowMember::Quorum(quorum) => Some(quorum),
                SlowMember::KeepLatest => Some(1),
                SlowMember::Block | SlowMember::EvictAfter(_) => None,
            },
            skip: options.slow_member == SlowMember::KeepLatest,
            parity_from: options.parity_from,
            seed: 0,
            evict_after: match options.slow_member {
                SlowMember::EvictAfter(limit) => Some(at_most_ages(limit)),
                SlowMember::Block | SlowMember::Quorum(_) | SlowMember::KeepLatest => None,
            },
            heartbeat: options.heartbeat,
            dead_after: options.dead_after,
            join_timeout: at_most_ages(options.join_timeout),
            max_members: options.max_members,
            name: options.name.clone(),
            #[cfg(feature = "group-crypto")]
            key: options.key.clone(),
            #[cfg(feature = "group-crypto")]
            entropy: Entropy::system(),
        }
    }

    fn over_udp(socket: UdpSocket, group: Option<UdpSocket>, options: &Options) -> Result<Self, StartError> {
        let local = socket.local_addr().map_err(|source| StartError::Io {
            what: "say what was bound",
            source,
        })?;
        Ok(Site {
            socket: Box::new(socket),
            endpoint: format!("udp://{local}").parse()?,
            open_group: open_group(options, local, group),
            is_anywhere: local.ip().is_unspecified(),
            segment: match local.ip().is_loopback() {
                true => LARGE,
                false => ETHERNET,
            },
        })
    }

    fn over_connections(tunnel: Tunnel, endpoint: Endpoint) -> Self {
        Site {
            socket: Box::new(tunnel),
            endpoint,
            open_group: Box::new(|_| Err(io::ErrorKind::Unsupported.into())),
            is_anywhere: false,
            segment: LARGE,
        }
    }
}

/// Where a coordinator is that listens at `endpoint`.
pub(super) async fn listen(endpoint: &Endpoint, options: &Options) -> Result<Site, StartError> {
    if let Endpoint::Udp(address) = endpoint {
        return listen_udp(endpoint, address, options).await;
    }
    if options.multicast.is_some() {
        return Err(StartError::Unsupported {
            endpoint: endpoint.clone(),
            reason: "multicast needs udp://HOST:PORT",
        });
    }
    let tunnel = Tunnel::bind(&options.registry, endpoint, &TunnelOptions::default()).await?;
    let endpoint = tunnel.local_endpoint().clone();
    Ok(Site::over_connections(tunnel, endpoint))
}

async fn listen_udp(
    endpoint: &Endpoint,
    address: &UdpAddress,
    options: &Options,
) -> Result<Site, StartError> {
    let mut refused = None;
    for address in address.local_addrs(false).await? {
        let udp = udp_options(options, address);
        match UdpSocket::bind(address, &udp) {
            Ok(socket) => {
                let group = options
                    .multicast
                    .map(|group| UdpSocket::bind_multicast(group, &udp));
                return Site::over_udp(socket, group.transpose()?, options);
            }
            Err(error) => refused = Some(error),
        }
    }
    // There is always one address at least.
    Err(refused.map_or_else(|| unusable(endpoint), StartError::from))
}

/// The coordinator's address, and where a member is that reaches it.
pub(super) async fn reach(endpoint: &Endpoint, options: &Options) -> Result<(SocketAddr, Site), StartError> {
    if let Endpoint::Udp(address) = endpoint {
        return reach_udp(endpoint, address, options).await;
    }
    let tunnel = Tunnel::toward(&options.registry, endpoint, &TunnelOptions::default()).await?;
    let coordinator = tunnel.root_addr();
    Ok((coordinator, Site::over_connections(tunnel, endpoint.clone())))
}

async fn reach_udp(
    endpoint: &Endpoint,
    address: &UdpAddress,
    options: &Options,
) -> Result<(SocketAddr, Site), StartError> {
    let mut refused = None;
    for coordinator in address.peer_addrs(true).await? {
        match local_toward(coordinator) {
            Ok(local) => {
                let socket = UdpSocket::bind(local, &udp_options(options, local))?;
                return Ok((coordinator, Site::over_udp(socket, None, options)?));
            }
            Err(source) => {
                refused = Some(StartError::Io {
                    what: "find a way to the coordinator",
                    source,
                });
            }
        }
    }
    Err(refused.unwrap_or_else(|| unusable(endpoint)))
}

/// How a node whose socket has the address `local` opens the one at which the group's address is heard.
fn open_group(options: &Options, local: SocketAddr, mut open: Option<UdpSocket>) -> OpenGroup {
    let udp = udp_options(options, local);
    Box::new(move |group| {
        let socket = match open.take() {
            Some(socket) => socket,
            None => UdpSocket::bind_multicast(group, &udp).map_err(io::Error::other)?,
        };
        // What this node sends itself it would only drop. Where the address is not known, or the system cannot, it does.
        if !local.ip().is_unspecified() {
            let _ = socket.ignore(local);
        }
        Ok(Box::new(socket) as Box<dyn DatagramSocket>)
    })
}

/// An address of this machine, of a port that is free, from which `peer` can be reached.
fn local_toward(peer: SocketAddr) -> io::Result<SocketAddr> {
    let any: SocketAddr = match peer {
        SocketAddr::V4(_) => ([0; 4], 0).into(),
        SocketAddr::V6(_) => ([0; 16], 0).into(),
    };
    // Connecting sends nothing; the system picks the way.
    let probe = std::net::UdpSocket::bind(any)?;
    probe.connect(peer)?;
    let mut local = probe.local_addr()?;
    local.set_port(0);
    Ok(local)
}

fn udp_options(options: &Options, local: SocketAddr) -> UdpOptions {
    let mut udp = UdpOptions::default()
        .multicast_ttl(options.multicast_ttl)
        .send_buffer(options.send_buffer)
        .recv_buffer(options.recv_buffer);
    udp.interface = match &options.interface {
        Some(interface) => Some(interface.clone()),
        None if local.ip().is_unspecified() => None,
        None => Some(Interface::Address(local.ip())),
    };
    udp
}

fn unusable(endpoint: &Endpoint) -> StartError {
    StartError::Unsupported {
        endpoint: endpoint.clone(),
        reason: "its host has no address",
    }
}
