//! The addresses of tcp, tls and udp endpoints: a host and a port.

use std::fmt;
use std::net::SocketAddr;

use super::host::parse_with_port;
use super::{EndpointError, Host};

macro_rules! socket_address {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, Hash)]
        pub struct $name {
            host: Host,
            port: u16,
        }

        impl $name {
            /// An address of a host and a port; port 0 lets the system choose one when it is bound.
            #[must_use]
            pub fn new(host: Host, port: u16) -> Self {
                Self { host, port }
            }

            /// The host.
            #[must_use]
            pub fn host(&self) -> &Host {
                &self.host
            }

            /// The port; 0 lets the system choose one when it is bound.
            #[must_use]
            pub fn port(&self) -> u16 {
                self.port
            }

            pub(super) fn parse(address: &str, endpoint: &str) -> Result<Self, EndpointError> {
                let (host, port) = parse_with_port(address, endpoint)?;
                Ok(Self { host, port })
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}:{}", self.host, self.port)
            }
        }

        impl From<SocketAddr> for $name {
            /// An IPv4 address that an IPv6 socket shows in its mapped form becomes plain again.
            fn from(address: SocketAddr) -> Self {
                Self::new(address.into(), address.port())
            }
        }
    };
}

socket_address! {
    /// The address of a tcp or tls endpoint: `host:port`.
    TcpAddress
}

socket_address! {
    /// The address of a udp endpoint: `host:port`. The host may be a multicast group.
    UdpAddress
}
