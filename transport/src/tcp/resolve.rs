//! From the host of an endpoint to the addresses it stands for.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};

use if_addrs::Interface;
use tokio::net::lookup_host;

use crate::{LinkOptions, TcpAddress, TcpHost};

/// Why a host stands for no address.
#[derive(Debug)]
pub(super) enum Failure {
    /// It cannot be used here; why.
    Unusable(String),
    /// The system failed to tell.
    Io(io::Error),
}

/// The addresses to bind, in the order in which to try them; never none.
pub(super) async fn to_bind(address: &TcpAddress, options: &LinkOptions) -> Result<Vec<SocketAddr>, Failure> {
    let port = address.port();
    match address.host() {
        TcpHost::Any if options.ipv6 => Ok(vec![(Ipv6Addr::UNSPECIFIED, port).into()]),
        TcpHost::Any => Ok(vec![(Ipv4Addr::UNSPECIFIED, port).into()]),
        TcpHost::Name { name } => {
            let interfaces = if_addrs::get_if_addrs().map_err(Failure::Io)?;
            match of_interface(name, port, &interfaces, options.ipv6) {
                Some(addresses) => addresses,
                None => by_name(name, port, options.ipv6).await,
            }
        }
        host => literal(host, port).map(|address| vec![address]),
    }
}

/// The addresses to connect to, in the order in which to try them; never none.
pub(super) async fn to_connect(
    address: &TcpAddress,
    options: &LinkOptions,
) -> Result<Vec<SocketAddr>, Failure> {
    match address.host() {
        TcpHost::Name { name } => by_name(name, address.port(), options.ipv6).await,
        host => literal(host, address.port()).map(|address| vec![address]),
    }
}

fn literal(host: &TcpHost, port: u16) -> Result<SocketAddr, Failure> {
    match host {
        TcpHost::V4(address) => Ok((*address, port).into()),
        TcpHost::V6 { address, zone } => {
            let scope = zone.as_deref().map_or(Ok(0), scope_id)?;
            Ok(SocketAddrV6::new(*address, port, 0, scope).into())
        }
        TcpHost::Any | TcpHost::Name { .. } => Err(Failure::Unusable(format!("{host} is no address"))),
    }
}

/// The index of the interface that a scope names, by number or by name (RFC 4007, section 11.2).
fn scope_id(zone: &str) -> Result<u32, Failure> {
    if let Ok(index) = zone.parse() {
        return Ok(index);
    }
    let interfaces = if_addrs::get_if_addrs().map_err(Failure::Io)?;
    interfaces
        .iter()
        .find(|interface| interface.name == zone)
        .and_then(|interface| interface.index)
        .ok_or_else(|| Failure::Unusable(format!("there is no network interface {zone:?}")))
}

/// What an interface of this name can be bound by; `None`: there is no such interface.
fn of_interface(
    name: &str,
    port: u16,
    interfaces: &[Interface],
    ipv6: bool,
) -> Option<Result<Vec<SocketAddr>, Failure>> {
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
    Some(usable(addresses, ipv6, &format!("network interface {name:?}")))
}

async fn by_name(name: &str, port: u16, ipv6: bool) -> Result<Vec<SocketAddr>, Failure> {
    let addresses = lookup_host((name, port)).await.map_err(Failure::Io)?;
    // In the resolver's order (RFC 6724).
    usable(addresses.collect(), ipv6, &format!("host {name:?}"))
}

/// Keeps what may be used: nothing but IPv4 without `ipv6`.
fn usable(mut addresses: Vec<SocketAddr>, ipv6: bool, of: &str) -> Result<Vec<SocketAddr>, Failure> {
    if addresses.is_empty() {
        return Err(Failure::Unusable(format!("{of} has no address")));
    }
    addresses.retain(|address| ipv6 || address.is_ipv4());
    if addresses.is_empty() {
        return Err(Failure::Unusable(format!(
            "{of} has IPv6 addresses only, and the option ipv6 is off"
        )));
    }
    Ok(addresses)
}
