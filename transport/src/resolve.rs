//! From the host of an endpoint to the addresses it stands for.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};

use if_addrs::Interface;
use thiserror::Error;
use tokio::net::lookup_host;

use crate::{Host, TcpAddress, UdpAddress};

/// Why a host stands for no address.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ResolveError {
    /// It cannot be used here. A retry cannot help.
    #[error("{reason}")]
    #[non_exhaustive]
    Unusable {
        /// What is wrong with it.
        reason: String,
    },
    /// The system failed to tell. A retry is sound.
    #[error("cannot look up {host}: {source}")]
    #[non_exhaustive]
    Io {
        /// What was looked up.
        host: Host,
        /// What the system said.
        source: io::Error,
    },
}

fn unusable(reason: impl Into<String>) -> ResolveError {
    ResolveError::Unusable {
        reason: reason.into(),
    }
}

macro_rules! resolved {
    ($address:ty) => {
        impl $address {
            /// The addresses to bind, in the order in which to try them; never none. A name is looked up as a network
            /// interface first, then as a host. `*` and names mean IPv6 too with `ipv6` only.
            ///
            /// # Errors
            /// [`ResolveError`].
            ///
            /// # Cancel safety
            /// Dropping the future abandons the look-up.
            pub async fn local_addrs(&self, ipv6: bool) -> Result<Vec<SocketAddr>, ResolveError> {
                to_bind(self.host(), self.port(), ipv6).await
            }

            /// The addresses to reach it by, in the order in which to try them; never none. Names mean IPv6 too with
            /// `ipv6` only.
            ///
            /// # Errors
            /// [`ResolveError`], also for `*` and for port 0, which can only be bound.
            ///
            /// # Cancel safety
            /// Dropping the future abandons the look-up.
            pub async fn peer_addrs(&self, ipv6: bool) -> Result<Vec<SocketAddr>, ResolveError> {
                to_reach(self.host(), self.port(), ipv6).await
            }
        }
    };
}

resolved!(TcpAddress);
resolved!(UdpAddress);

async fn to_bind(host: &Host, port: u16, ipv6: bool) -> Result<Vec<SocketAddr>, ResolveError> {
    match host {
        Host::Any if ipv6 => Ok(vec![(Ipv6Addr::UNSPECIFIED, port).into()]),
        Host::Any => Ok(vec![(Ipv4Addr::UNSPECIFIED, port).into()]),
        Host::Name { name } => match of_interface(name, port, &interfaces(host)?, ipv6) {
            Some(addresses) => addresses,
            None => by_name(host, name, port, ipv6).await,
        },
        host => literal(host, port).map(|address| vec![address]),
    }
}

async fn to_reach(host: &Host, port: u16, ipv6: bool) -> Result<Vec<SocketAddr>, ResolveError> {
    if *host == Host::Any {
        return Err(unusable("\"*\" stands for every interface and can only be bound"));
    }
    if port == 0 {
        return Err(unusable("port 0 can only be bound"));
    }
    match host {
        Host::Name { name } => by_name(host, name, port, ipv6).await,
        host => literal(host, port).map(|address| vec![address]),
    }
}

fn interfaces(host: &Host) -> Result<Vec<Interface>, ResolveError> {
    if_addrs::get_if_addrs().map_err(|source| ResolveError::Io {
        host: host.clone(),
        source,
    })
}

fn literal(host: &Host, port: u16) -> Result<SocketAddr, ResolveError> {
    match host {
        Host::V4(address) => Ok((*address, port).into()),
        Host::V6 { address, zone } => {
            let scope = zone.as_deref().map_or(Ok(0), |zone| scope_id(host, zone))?;
            Ok(SocketAddrV6::new(*address, port, 0, scope).into())
        }
        Host::Any | Host::Name { .. } => Err(unusable(format!("{host} is no address"))),
    }
}

/// The index of the interface that a scope names, by number or by name (RFC 4007, section 11.2).
fn scope_id(host: &Host, zone: &str) -> Result<u32, ResolveError> {
    if let Ok(index) = zone.parse() {
        return Ok(index);
    }
    interfaces(host)?
        .iter()
        .find(|interface| interface.name == zone)
        .and_then(|interface| interface.index)
        .ok_or_else(|| unusable(format!("there is no network interface {zone:?}")))
}

/// What an interface of this name can be bound by; `None`: there is no such interface.
fn of_interface(
    name: &str,
    port: u16,
    interfaces: &[Interface],
    ipv6: bool,
) -> Option<Result<Vec<SocketAddr>, ResolveError>> {
    let mut of_name = interfaces
        .iter()
        .filter(|interface| interface.name == name)
        .peekable();
    of_name.peek()?;
    let mut addresses: Vec<SocketAddr> = of_name
        .map(|interface| match interface.ip() {
            IpAddr::V6(ip) if ip.is_unicast_link_local() => {
                SocketAddrV6::new(ip, port, 0, interface.index.unwrap_or(0)).into()
            }
            ip => SocketAddr::new(ip, port),
        })
        .collect();
    // The most widely reachable first: a link-local address can be connected to with a scope only.
    addresses.sort_by_key(|address| match address.ip() {
        IpAddr::V4(_) => 0,
        IpAddr::V6(ip) if !ip.is_unicast_link_local() => 1,
        IpAddr::V6(_) => 2,
    });
    Some(permitted(addresses, ipv6, &format!("network interface {name:?}")))
}

async fn by_name(host: &Host, name: &str, port: u16, ipv6: bool) -> Result<Vec<SocketAddr>, ResolveError> {
    let addresses = lookup_host((name, port))
        .await
        .map_err(|source| ResolveError::Io {
            host: host.clone(),
            source,
        })?;
    // In the resolver's order (RFC 6724).
    permitted(addresses.collect(), ipv6, &format!("host {name:?}"))
}

/// Keeps what may be used: nothing but IPv4 without `ipv6`.
fn permitted(mut addresses: Vec<SocketAddr>, ipv6: bool, of: &str) -> Result<Vec<SocketAddr>, ResolveError> {
    if addresses.is_empty() {
        return Err(unusable(format!("{of} has no address")));
    }
    addresses.retain(|address| ipv6 || address.is_ipv4());
    if addresses.is_empty() {
        return Err(unusable(format!(
            "{of} has IPv6 addresses only, and the option ipv6 is off"
        )));
    }
    Ok(addresses)
}
