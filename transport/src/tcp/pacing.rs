//! Congestion control that paces, and connections within the machine, which it is not to pace.

use std::net::SocketAddr;

use socket2::Socket;

/// The congestion control of a listener's connections to other machines, where it is not that of those within.
///
/// One that paces (`bbr`) sets a timer for every other segment. Within the machine nothing can be congested, and each
/// timer interrupts the program: m_generate to m_dump of 64 KiB took 1.10 s for 2 GiB instead of 0.89 s. A connection
/// that has begun to pace goes on, if less, when it is told not to (1.04 s became 0.95 s). So its listener is told.
#[derive(Debug, Default)]
pub(super) struct Pacing {
    control: Option<Vec<u8>>,
}

impl Pacing {
    /// What every Linux has, and everybody may use.
    #[cfg(target_os = "linux")]
    const UNPACED: &[u8] = b"reno";

    /// Takes it from a socket that is to listen or to connect at `address`, where that may be within the machine.
    pub(super) fn suspend(socket: &Socket, address: SocketAddr) -> Self {
        let may_be_within = address.ip().is_unspecified() || is_within(address);
        #[cfg(target_os = "linux")]
        if may_be_within
            && let Ok(control) = socket.tcp_congestion()
            && control.starts_with(b"bbr")
            && socket.set_tcp_congestion(Self::UNPACED).is_ok()
        {
            return Pacing {
                control: Some(control),
            };
        }
        let _ = (socket, may_be_within);
        Pacing::default()
    }

    /// Gives a connection that was accepted from `peer` what its listener had, unless `peer` is within the machine.
    pub(super) fn resume(&self, socket: &Socket, peer: SocketAddr) {
        // What the system had by itself it allows: else the connection would only be slower.
        #[cfg(target_os = "linux")]
        if let Some(control) = &self.control
            && !is_within(peer)
        {
            let _ = socket.set_tcp_congestion(control);
        }
        let _ = (socket, peer, &self.control);
    }
}

fn is_within(address: SocketAddr) -> bool {
    address.ip().to_canonical().is_loopback()
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use socket2::{Domain, Type};

    use super::*;

    /// A socket that has another congestion control.
    fn socket() -> Socket {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        let has_any = |name: &&[u8]| socket.set_tcp_congestion(name).is_ok();
        let control = [&b"bbr"[..], b"cubic"].into_iter().find(has_any);
        println!("{:?} of {control:?}", socket.tcp_congestion());
        socket
    }

    fn control(socket: &Socket) -> Vec<u8> {
        socket.tcp_congestion().unwrap()
    }

    #[test]
    fn only_connections_within_the_machine_are_not_paced() {
        let [here, anywhere, there] =
            ["127.0.0.1:1", "0.0.0.0:1", "192.0.2.1:1"].map(|address| address.parse().unwrap());
        for address in [here, anywhere, "[::ffff:127.0.0.1]:1".parse().unwrap()] {
            let socket = socket();
            let before = control(&socket);
            let pacing = Pacing::suspend(&socket, address);
            assert!(!control(&socket).starts_with(b"bbr"));
            pacing.resume(&socket, here);
            assert!(!control(&socket).starts_with(b"bbr"));
            pacing.resume(&socket, there);
            assert_eq!(control(&socket), before);
        }
        let socket = socket();
        let before = control(&socket);
        Pacing::suspend(&socket, there);
        assert_eq!(control(&socket), before);
    }
}
