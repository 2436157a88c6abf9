//! How the ranks of a mesh multicast.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// How the ranks of a mesh multicast, for [`MeshFabric::with_multicast`](crate::MeshFabric::with_multicast).
///
/// ```
/// use flexbond_collectives::MulticastOptions;
///
/// let options = MulticastOptions::new("239.1.2.3:5000".parse()?).interface("10.0.0.5".parse()?);
/// # Ok::<(), std::net::AddrParseError>(())
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct MulticastOptions {
    /// The address to which is sent what is for all. Several programs may use the same.
    pub group: SocketAddr,
    /// An address of the network interface through which this rank multicasts. Default: the one by which it reaches the
    /// server of the mesh, or that of loopback where the ranks meet over ipc or inproc.
    pub interface: Option<IpAddr>,
    /// How many routers may pass on what is sent to the group's address. Default 1: it stays in the network.
    pub ttl: u8,
    /// How long finding out whether multicast reaches everybody may take, at the beginning of each epoch. Then the epoch
    /// goes on without. Default 2 s; where it works it takes about a quarter of one.
    pub patience: Duration,
}

impl MulticastOptions {
    /// The defaults, with this group's address.
    #[must_use]
    pub fn new(group: SocketAddr) -> Self {
        MulticastOptions {
            group,
            interface: None,
            ttl: 1,
            patience: Duration::from_secs(2),
        }
    }

    /// Sets [`interface`](field@Self::interface).
    #[must_use]
    pub fn interface(mut self, address: IpAddr) -> Self {
        self.interface = Some(address);
        self
    }

    /// Sets [`ttl`](field@Self::ttl).
    #[must_use]
    pub fn ttl(mut self, ttl: u8) -> Self {
        self.ttl = ttl;
        self
    }

    /// Sets [`patience`](field@Self::patience).
    #[must_use]
    pub fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }
}
