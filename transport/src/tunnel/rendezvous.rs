//! Where a tunnel listens that is to reach a root, and at which address it reaches it.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

use tokio::time::timeout;

use super::options::TunnelOptions;
use super::places::{ROOT, address_of, canonical, derive, literal};
use super::random;
use crate::{BindError, Endpoint, TcpAddress, Transport};

/// Where a tunnel listens that is to reach a root.
pub(super) struct Meeting {
    /// To be bound.
    pub(super) endpoint: Endpoint,
    /// What its address is then, but for the port where the system chooses one.
    pub(super) local: SocketAddr,
    /// The address of the root.
    pub(super) root: SocketAddr,
}

impl Meeting {
    pub(super) async fn arrange(
        transport: &dyn Transport,
        root: &Endpoint,
        options: &TunnelOptions,
    ) -> Result<Self, BindError> {
        match root {
            Endpoint::Tcp(address) => on_network(transport, root, address, options).await,
            named => {
                let place = random().max(ROOT + 1);
                let endpoint = derive(named, place).map_err(|reason| unusable(named, reason))?;
                Ok(Meeting {
                    endpoint,
                    local: address_of(place),
                    root: address_of(ROOT),
                })
            }
        }
    }
}

fn unusable(endpoint: &Endpoint, reason: impl Into<String>) -> BindError {
    BindError::Unusable {
        endpoint: endpoint.clone(),
        reason: reason.into(),
    }
}

async fn on_network(
    transport: &dyn Transport,
    endpoint: &Endpoint,
    address: &TcpAddress,
    options: &TunnelOptions,
) -> Result<Meeting, BindError> {
    let mut meetings = Vec::new();
    let mut failed = unusable(endpoint, "it stands for no address");
    for root in addresses(endpoint, address, options.link.ipv6).await? {
        let root = canonical(root);
        match route_to(root) {
            Ok(local) => meetings.push(Meeting {
                endpoint: local.into(),
                local,
                root,
            }),
            Err(source) => {
                failed = BindError::Io {
                    endpoint: endpoint.clone(),
                    source,
                }
            }
        }
    }
    // Of several addresses, the root may listen at some only.
    if meetings.len() > 1 {
        for index in 0..meetings.len() {
            let to = Endpoint::from(meetings[index].root);
            let attempt = timeout(options.handshake_timeout, transport.connect(&to, &options.link));
            if matches!(attempt.await, Ok(Ok(_))) {
                return Ok(meetings.swap_remove(index));
            }
        }
    }
    meetings.into_iter().next().ok_or(failed)
}

/// The addresses that an endpoint stands for.
#[cfg(feature = "tcp")]
async fn addresses(
    endpoint: &Endpoint,
    address: &TcpAddress,
    ipv6: bool,
) -> Result<Vec<SocketAddr>, BindError> {
    use crate::ResolveError;

    match address.peer_addrs(ipv6).await {
        Ok(addresses) => Ok(addresses),
        Err(ResolveError::Unusable { reason }) => Err(unusable(endpoint, reason)),
        Err(ResolveError::Io { source, .. }) => Err(BindError::Io {
            endpoint: endpoint.clone(),
            source,
        }),
    }
}

/// The address that an endpoint is. For names there is no resolver without the feature `tcp`.
#[cfg(not(feature = "tcp"))]
async fn addresses(
    endpoint: &Endpoint,
    address: &TcpAddress,
    _ipv6: bool,
) -> Result<Vec<SocketAddr>, BindError> {
    let address = literal(address).filter(|address| address.port() != 0);
    let address = address.ok_or_else(|| unusable(endpoint, "a literal address with a port is needed"))?;
    Ok(vec![address])
}

/// The address of this machine that `root` is reached from, with port 0. Nothing is sent for that.
fn route_to(root: SocketAddr) -> std::io::Result<SocketAddr> {
    let any: SocketAddr = match root {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let socket = UdpSocket::bind(any)?;
    socket.connect(root)?;
    let mut local = canonical(socket.local_addr()?);
    local.set_port(0);
    Ok(local)
}

/// The address of a tunnel that listens at `bound`: `named`, unless it is one of the network.
pub(super) fn local_address(bound: &Endpoint, named: SocketAddr) -> Result<SocketAddr, BindError> {
    match bound {
        Endpoint::Tcp(address) => literal(address)
            .filter(|address| address.port() != 0)
            .ok_or_else(|| unusable(bound, "the transport does not tell the address that it has bound")),
        _ => Ok(named),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_route_is_found_without_a_packet() {
        let local = route_to(([127, 0, 0, 1], 9).into()).expect("a loopback interface");
        assert_eq!(local, ([127, 0, 0, 1], 0).into());
    }
}
