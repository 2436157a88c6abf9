//! Where a rank listens for the others.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6, UdpSocket};

use flexbond_transport::{Endpoint, Host, IpcAddress, TcpAddress};

/// An endpoint beside the server's, at which nobody listens yet; none where that cannot be known. `number` makes names
/// different.
pub(super) fn beside(server: &Endpoint, number: u64) -> Option<Endpoint> {
    match server {
        Endpoint::Tcp(address) => Some(free_port(address)?.into()),
        Endpoint::Tls(address) => Some(Endpoint::Tls(free_port(address)?.into())),
        Endpoint::Ipc(IpcAddress::Path { .. } | IpcAddress::Abstract { .. }) => {
            let named = format!("{server}.{number:x}").parse();
            // A name that would be too long gives way to a file in the directory for temporary ones.
            named.or_else(|_| "ipc://*".parse()).ok()
        }
        Endpoint::Inproc { .. } => format!("{server}.{number:x}").parse().ok(),
        _ => None,
    }
}

/// Any port of the interface by which the server is reached.
fn free_port(server: &TcpAddress) -> Option<SocketAddr> {
    let local = towards(literal(server)?)?;
    Some(SocketAddr::new(local, 0))
}

fn literal(address: &TcpAddress) -> Option<SocketAddr> {
    match address.host() {
        Host::V4(host) => Some((*host, address.port()).into()),
        Host::V6 {
            address: host, zone, ..
        } => {
            let scope = zone.as_deref().unwrap_or("0").parse().ok()?;
            Some(SocketAddrV6::new(*host, address.port(), 0, scope).into())
        }
        _ => None,
    }
}

/// The address from which the system reaches another one. To connect a datagram socket sends nothing.
fn towards(server: SocketAddr) -> Option<IpAddr> {
    let any: IpAddr = match server {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0)).ok()?;
    socket.connect(server).ok()?;
    Some(socket.local_addr().ok()?.ip())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn beside_text(server: &str) -> Option<String> {
        let endpoint = beside(&server.parse().unwrap(), 0xab)?;
        Some(endpoint.to_string())
    }

    #[test]
    fn a_rank_listens_where_the_server_is() {
        assert_eq!(beside_text("tcp://127.0.0.1:5555").unwrap(), "tcp://127.0.0.1:0");
        assert_eq!(beside_text("tls://127.0.0.1:5555").unwrap(), "tls://127.0.0.1:0");
        assert_eq!(beside_text("ipc:///run/x").unwrap(), "ipc:///run/x.ab");
        assert_eq!(beside_text("ipc://@x").unwrap(), "ipc://@x.ab");
        assert_eq!(beside_text("inproc://x").unwrap(), "inproc://x.ab");
        let long = format!("ipc:///{}", "x".repeat(104));
        assert_eq!(beside_text(&long).unwrap(), "ipc://*");
        assert_eq!(beside_text("carrier-pigeon://roof"), None);
    }
}
