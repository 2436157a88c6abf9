//! Which address stands for which endpoint.

use std::net::{IpAddr, Ipv6Addr, SocketAddr, SocketAddrV6};

use super::hello::Hello;
use crate::{Endpoint, Host, IpcAddress, TcpAddress};

/// The addresses of the tunnels of a name begin with these 64 bits: `fd66:6c78:626f:6e64::/64`, of which the last
/// seven bytes read `flxbond`. They are unique local addresses (RFC 4193), and never on a network.
const PREFIX: [u16; 4] = [0xfd66, 0x6c78, 0x626f, 0x6e64];
/// The port of all of them.
const PORT: u16 = 1;
/// The place of the tunnel that listens at the name itself.
pub(super) const ROOT: u64 = 1;

/// How the tunnels that can reach each other are told apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Places {
    /// By the addresses that they listen at.
    Internet,
    /// By a number each: the root listens at the endpoint, the others at endpoints derived from it.
    Named(Endpoint),
}

impl Places {
    /// What tells the tunnels apart that belong to the one that listens at `root`.
    pub(super) fn around(root: &Endpoint) -> Self {
        match root {
            Endpoint::Tcp(_) => Places::Internet,
            named => Places::Named(named.clone()),
        }
    }

    /// Whether a tunnel may have such an address.
    pub(super) fn has(&self, address: SocketAddr) -> bool {
        match self {
            Places::Internet => address.port() != 0 && !address.ip().is_multicast(),
            Places::Named(_) => place_of(address).is_some(),
        }
    }

    /// Where to connect to for an address; `None` if no tunnel has such an address.
    pub(super) fn endpoint(&self, address: SocketAddr) -> Option<Endpoint> {
        match self {
            Places::Internet => self.has(address).then(|| address.into()),
            Places::Named(root) => derive(root, place_of(address)?).ok(),
        }
    }

    /// The address of a peer that has connected from `peer` and said `hello`. Over tcp it is always one of the host
    /// that it has connected from.
    pub(super) fn address(&self, peer: &Endpoint, hello: &Hello) -> Option<SocketAddr> {
        match (self, peer) {
            (Places::Internet, Endpoint::Tcp(peer)) if hello.port != 0 && hello.place == 0 => {
                let mut address = literal(peer)?;
                address.set_port(hello.port);
                Some(address)
            }
            (Places::Named(_), _) if hello.port == 0 && hello.place != 0 => Some(address_of(hello.place)),
            _ => None,
        }
    }

    /// What a tunnel that listens at `local` says of itself.
    pub(super) fn hello(&self, local: SocketAddr, instance: u64) -> Hello {
        let (port, place) = match self {
            Places::Internet => (local.port(), 0),
            Places::Named(_) => (0, place_of(local).unwrap_or(ROOT)),
        };
        Hello {
            port,
            place,
            instance,
        }
    }
}

/// The address of the tunnel at a place.
pub(super) fn address_of(place: u64) -> SocketAddr {
    let [a, b, c, d] = PREFIX;
    let [e, f, g, h] = [48, 32, 16, 0].map(|shift| (place >> shift) as u16);
    SocketAddr::from((Ipv6Addr::new(a, b, c, d, e, f, g, h), PORT))
}

/// The place of an address; `None` if it is not one of a named tunnel.
fn place_of(address: SocketAddr) -> Option<u64> {
    let IpAddr::V6(ip) = address.ip() else { return None };
    let [a, b, c, d, low @ ..] = ip.segments();
    let place = low.iter().fold(0, |sum, &part| (sum << 16) | u64::from(part));
    ([a, b, c, d] == PREFIX && address.port() == PORT && place != 0).then_some(place)
}

/// The endpoint of the tunnel at a place: the root's with the place behind it.
///
/// # Errors
/// Why there is none.
pub(super) fn derive(root: &Endpoint, place: u64) -> Result<Endpoint, String> {
    if place == ROOT {
        return Ok(root.clone());
    }
    if *root == Endpoint::Ipc(IpcAddress::Any) {
        return Err("\"*\" stands for a path yet to be chosen and can only be bound".to_owned());
    }
    format!("{root}.{place:016x}")
        .parse()
        .map_err(|error: crate::EndpointError| error.to_string())
}

/// An address that is written as a number.
pub(super) fn literal(address: &TcpAddress) -> Option<SocketAddr> {
    match address.host() {
        Host::V4(ip) => Some((*ip, address.port()).into()),
        Host::V6 { address: ip, zone } => {
            let scope = zone.as_deref().map_or(Ok(0), str::parse).ok()?;
            Some(SocketAddrV6::new(*ip, address.port(), 0, scope).into())
        }
        Host::Any | Host::Name { .. } => None,
    }
}

/// One form for each address: that of IPv4 where it is mapped into IPv6, without a flow label.
pub(super) fn canonical(address: SocketAddr) -> SocketAddr {
    match (address, address.ip().to_canonical()) {
        (SocketAddr::V6(v6), IpAddr::V6(ip)) => SocketAddrV6::new(ip, v6.port(), 0, v6.scope_id()).into(),
        (_, ip) => (ip, address.port()).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(text: &str) -> Endpoint {
        text.parse().expect("an endpoint")
    }

    #[test]
    fn addresses_stand_for_endpoints() {
        for (root, derived) in [
            ("ipc:///run/session", "ipc:///run/session.00000000deadbeef"),
            ("ipc://@session", "ipc://@session.00000000deadbeef"),
            ("inproc://session", "inproc://session.00000000deadbeef"),
            ("pigeon://roof", "pigeon://roof.00000000deadbeef"),
        ] {
            let places = Places::around(&endpoint(root));
            let (first, other) = (address_of(ROOT), address_of(0xdead_beef));
            assert_eq!(places.endpoint(first), Some(endpoint(root)));
            assert_eq!(places.endpoint(other), Some(endpoint(derived)));
            assert_eq!(places.endpoint(([10, 0, 0, 1], 1).into()), None);
            assert_eq!(places.endpoint(SocketAddr::new(first.ip(), 2)), None);
            let hello = places.hello(other, 7);
            assert_eq!(places.address(&endpoint(root), &hello), Some(other));
        }
        let places = Places::around(&endpoint("tcp://127.0.0.1:5"));
        let address: SocketAddr = "[fe80::1%3]:77".parse().expect("an address");
        let reached = places.endpoint(address).expect("an endpoint");
        assert_eq!(reached.to_string(), "tcp://[fe80::1%3]:77");
        let hello = places.hello(address, 7);
        let from = endpoint("tcp://[fe80::1%3]:40000");
        assert_eq!(places.address(&from, &hello), Some(address));
    }

    #[test]
    fn nobody_claims_another_host_or_place() {
        let tcp = Places::around(&endpoint("tcp://127.0.0.1:5"));
        let peer = endpoint("tcp://192.0.2.7:40000");
        let hello = |port, place| Hello {
            port,
            place,
            instance: 9,
        };
        assert_eq!(
            tcp.address(&peer, &hello(80, 0)),
            Some(([192, 0, 2, 7], 80).into())
        );
        assert_eq!(tcp.address(&peer, &hello(0, 0)), None);
        assert_eq!(tcp.address(&peer, &hello(80, 1)), None);
        let named = Places::around(&endpoint("inproc://x"));
        assert_eq!(named.address(&endpoint("inproc://x"), &hello(0, 0)), None);
        assert_eq!(named.address(&endpoint("inproc://x"), &hello(5, 9)), None);
    }

    #[test]
    fn what_is_too_long_is_refused() {
        let root = endpoint(&format!("ipc:///{}", "x".repeat(IpcAddress::MAX_LEN - 5)));
        assert!(derive(&root, 7).is_err());
        assert!(derive(&endpoint("ipc://*"), 7).is_err());
        assert_eq!(derive(&root, ROOT), Ok(root));
    }

    #[test]
    fn addresses_have_one_form() {
        let mapped = "[::ffff:192.0.2.7]:80".parse().expect("an address");
        assert_eq!(canonical(mapped), ([192, 0, 2, 7], 80).into());
        let labelled = SocketAddrV6::new(Ipv6Addr::LOCALHOST, 80, 99, 3);
        assert_eq!(
            canonical(labelled.into()),
            SocketAddrV6::new(Ipv6Addr::LOCALHOST, 80, 0, 3).into()
        );
    }
}
