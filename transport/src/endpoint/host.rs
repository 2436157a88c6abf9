//! The host of a tcp, tls or udp endpoint, and how it stands before a port.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::EndpointError;

/// The host of a tcp, tls or udp endpoint.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Host {
    /// `*`: every interface. Cannot be connected to.
    Any,
    /// A literal IPv4 address.
    V4(Ipv4Addr),
    /// A literal IPv6 address, in brackets, with an optional scope: `[fe80::1%eth0]`.
    #[non_exhaustive]
    V6 {
        /// The address.
        address: Ipv6Addr,
        /// The name or the index of the interface that a link-local address belongs to.
        zone: Option<String>,
    },
    /// The name of a host or, for binding, of a network interface. Which of them is decided when it is bound.
    #[non_exhaustive]
    Name {
        /// ASCII letters, digits, `-`, `_` and `.`.
        name: String,
    },
}

impl Host {
    /// The longest host name, in bytes (RFC 1035, section 2.3.4).
    pub const MAX_NAME: usize = 255;
    /// The longest scope of an IPv6 address, in bytes: the longest name of an interface on Linux.
    pub const MAX_ZONE: usize = 15;

    fn parse(host: &str, endpoint: &str) -> Result<Self, EndpointError> {
        let endpoint = || endpoint.to_owned();
        let host_text = || host.to_owned();
        if host.is_empty() {
            return Err(EndpointError::EmptyHost { endpoint: endpoint() });
        }
        if host == "*" {
            return Ok(Host::Any);
        }
        if host.contains(':') {
            return Err(EndpointError::UnbracketedColon {
                host: host_text(),
                endpoint: endpoint(),
            });
        }
        if let Ok(address) = host.parse() {
            return Ok(Host::V4(address));
        }
        // The system's resolver would read "1.2.3" as 1.2.0.3; nobody means that.
        if host.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') {
            return Err(EndpointError::InvalidIpv4 {
                host: host_text(),
                endpoint: endpoint(),
            });
        }
        if let Some(character) = host.chars().find(|&character| !belongs_in_name(character)) {
            return Err(EndpointError::HostCharacter {
                character,
                host: host_text(),
                endpoint: endpoint(),
            });
        }
        if host.len() > Self::MAX_NAME {
            return Err(EndpointError::HostTooLong {
                length: host.len(),
                endpoint: endpoint(),
            });
        }
        Ok(Host::Name { name: host_text() })
    }

    /// Parses what stands between the brackets.
    fn parse_v6(host: &str, endpoint: &str) -> Result<Self, EndpointError> {
        let (literal, zone) = match host.split_once('%') {
            Some((literal, zone)) => (literal, Some(zone)),
            None => (host, None),
        };
        let Ok(address) = literal.parse() else {
            return Err(EndpointError::InvalidIpv6 {
                host: host.to_owned(),
                endpoint: endpoint.to_owned(),
            });
        };
        if let Some(zone) = zone
            && (zone.is_empty() || zone.len() > Self::MAX_ZONE || !zone.chars().all(belongs_in_name))
        {
            return Err(EndpointError::InvalidZone {
                zone: zone.to_owned(),
                endpoint: endpoint.to_owned(),
            });
        }
        let zone = zone.map(str::to_owned);
        Ok(Host::V6 { address, zone })
    }
}

fn belongs_in_name(character: char) -> bool {
    character.is_ascii_alphanumeric() || matches!(character, '-' | '_' | '.')
}

/// Parses `host:port`.
pub(super) fn parse_with_port(address: &str, endpoint: &str) -> Result<(Host, u16), EndpointError> {
    if address.is_empty() {
        return Err(EndpointError::EmptyAddress {
            endpoint: endpoint.to_owned(),
        });
    }
    let missing_port = || EndpointError::MissingPort {
        endpoint: endpoint.to_owned(),
    };
    let (host, port) = if let Some(inner) = address.strip_prefix('[') {
        let Some((host, rest)) = inner.split_once(']') else {
            return Err(EndpointError::UnclosedBracket {
                endpoint: endpoint.to_owned(),
            });
        };
        let port = match rest.strip_prefix(':') {
            Some(port) => port,
            None if rest.is_empty() => return Err(missing_port()),
            None => {
                return Err(EndpointError::AfterBracket {
                    found: rest.to_owned(),
                    endpoint: endpoint.to_owned(),
                });
            }
        };
        (Host::parse_v6(host, endpoint)?, port)
    } else {
        let (host, port) = address.rsplit_once(':').ok_or_else(missing_port)?;
        (Host::parse(host, endpoint)?, port)
    };
    if port.is_empty() {
        return Err(missing_port());
    }
    let port = parse_port(port, endpoint)?;
    Ok((host, port))
}

fn parse_port(port: &str, endpoint: &str) -> Result<u16, EndpointError> {
    if port == "*" {
        return Ok(0);
    }
    // `u16::from_str` would take a sign too.
    if !port.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(EndpointError::InvalidPort {
            port: port.to_owned(),
            endpoint: endpoint.to_owned(),
        });
    }
    port.parse().map_err(|_| EndpointError::PortOutOfRange {
        port: port.to_owned(),
        endpoint: endpoint.to_owned(),
    })
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Host::Any => f.write_str("*"),
            Host::V4(address) => write!(f, "{address}"),
            Host::V6 { address, zone: None } => write!(f, "[{address}]"),
            Host::V6 {
                address,
                zone: Some(zone),
            } => write!(f, "[{address}%{zone}]"),
            Host::Name { name } => f.write_str(name),
        }
    }
}

impl From<IpAddr> for Host {
    fn from(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(address) => Host::V4(address),
            IpAddr::V6(address) => Host::V6 { address, zone: None },
        }
    }
}

impl From<SocketAddr> for Host {
    /// An IPv4 address that an IPv6 socket shows in its mapped form becomes plain again.
    fn from(address: SocketAddr) -> Self {
        let mut host = Host::from(address.ip().to_canonical());
        if let (Host::V6 { zone, .. }, SocketAddr::V6(v6)) = (&mut host, address)
            && v6.scope_id() != 0
        {
            *zone = Some(v6.scope_id().to_string());
        }
        host
    }
}
