//! How many connections a socket has from each remote address.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use flexbond_transport::{Endpoint, Host};
use parking_lot::Mutex;

/// The connections that a socket accepted, by where they come from.
///
/// An IPv6 network of 64 bits counts as one address: whoever has one has 2^64 of them.
#[derive(Debug)]
pub(crate) struct Crowd {
    limit: usize,
    addresses: Mutex<HashMap<IpAddr, usize>>,
}

/// One connection, counted as long as this lives.
#[derive(Debug)]
pub(crate) struct Attendee(Option<(Arc<Crowd>, IpAddr)>);

impl Crowd {
    pub(crate) fn new(limit: usize) -> Arc<Self> {
        Arc::new(Crowd {
            limit,
            addresses: Mutex::default(),
        })
    }

    /// Counts one more connection, if there may be one more from there; `None` if not. Where the other end has no
    /// address (ipc, inproc), there is no limit.
    pub(crate) fn enter(self: &Arc<Self>, from: &Endpoint) -> Option<Attendee> {
        let Some(address) = address_of(from) else {
            return Some(Attendee(None));
        };
        let mut addresses = self.addresses.lock();
        let count = addresses.entry(address).or_default();
        if *count >= self.limit {
            return None;
        }
        *count += 1;
        Some(Attendee(Some((Arc::clone(self), address))))
    }
}

impl Drop for Attendee {
    fn drop(&mut self) {
        let Some((crowd, address)) = &self.0 else { return };
        let mut addresses = crowd.addresses.lock();
        if let Some(count) = addresses.get_mut(address) {
            *count -= 1;
            if *count == 0 {
                addresses.remove(address);
            }
        }
    }
}

fn address_of(from: &Endpoint) -> Option<IpAddr> {
    let address = match from {
        Endpoint::Tcp(address) | Endpoint::Tls(address) => address,
        _ => return None,
    };
    match address.host() {
        Host::V4(address) => Some(IpAddr::V4(*address)),
        Host::V6 { address, .. } => {
            let network = u128::from(*address) >> 64 << 64;
            Some(IpAddr::V6(Ipv6Addr::from(network)))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_counted_apart_and_those_of_one_network_together() {
        let crowd = Crowd::new(1);
        let enter = |text: &str| {
            let from: Endpoint = text.parse().expect("an endpoint");
            crowd.enter(&from)
        };
        let first = enter("tcp://10.0.0.1:5000");
        assert!(first.is_some());
        assert!(enter("tcp://10.0.0.1:5001").is_none());
        let others = [
            "tcp://10.0.0.2:5000",
            "tcp://[2001:db8:0:1::1]:5000",
            "tcp://[2001:db8:0:2::1]:5000",
            "ipc:///tmp/a",
            "ipc:///tmp/a",
            "inproc://a",
        ];
        let kept: Vec<_> = others.map(enter).into_iter().collect();
        assert!(kept.iter().all(Option::is_some));
        assert!(enter("tcp://[2001:db8:0:1:ffff::9]:5000").is_none());
        drop((first, kept));
        assert!(crowd.addresses.lock().is_empty(), "nobody is remembered");
        assert!(enter("tcp://10.0.0.1:5001").is_some());
    }
}
