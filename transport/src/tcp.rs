//! TCP over IPv4 and IPv6.

mod pacing;
mod socket;

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::task::{Context, Poll, ready};

use async_trait::async_trait;
use socket2::SockRef;
use tokio::net::{TcpListener, TcpSocket, TcpStream};

use self::pacing::Pacing;
use crate::socket_stream::byte_stream;
use crate::{
    AcceptError, BindError, ConnectError, Connection, Endpoint, Link, LinkOptions, Listener, ResolveError,
    TcpAddress, Transport,
};

byte_stream!(TcpStream, lead: Some(LEAD), keepalive: socket::set_keepalive);

/// What of a large message is written first. In one write, its reader is woken by each segment, is quicker than the
/// writer, and sleeps again: three to four times for 1 MiB, each time at the writer's expense. Once it is up before
/// the rest comes, it sleeps once (over loopback, 1 MiB: REQ/REP 698 -> 425 µs, PUSH/PULL 2,883 -> 4,434/s).
/// 4 and 8 KiB gain less; unix sockets gain nothing.
const LEAD: usize = 32 << 10;

/// TCP over IPv4 and IPv6.
///
/// - `tcp://*:5555` binds every interface: `0.0.0.0`, or both families through `[::]` with
///   [`ipv6`](LinkOptions::ipv6). `tcp://[::]:5555` is IPv6 alone without that option.
/// - A name is looked up as a network interface first when it is bound, then as a host. Every address it stands for
///   is tried in turn. Without [`ipv6`](LinkOptions::ipv6) only its IPv4 addresses count.
/// - Port 0 lets the system choose; [`Listener::local_endpoint`] tells which. The wildcard is read back as
///   `tcp://0.0.0.0:PORT` or `tcp://[::]:PORT`, which can be connected to on the same machine.
/// - The [peer](Connection::peer) is always a literal address.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct Tcp {}

impl Tcp {
    /// The transport; it has no state.
    #[must_use]
    pub fn new() -> Self {
        Tcp {}
    }
}

#[async_trait]
impl Transport for Tcp {
    async fn bind(&self, endpoint: &Endpoint, options: &LinkOptions) -> Result<Box<dyn Listener>, BindError> {
        let Endpoint::Tcp(address) = endpoint else {
            return Err(BindError::Unusable {
                endpoint: endpoint.clone(),
                reason: "not a tcp endpoint".to_owned(),
            });
        };
        Ok(Box::new(Bound::at(address, endpoint, options).await?))
    }

    async fn connect(&self, endpoint: &Endpoint, options: &LinkOptions) -> Result<Connection, ConnectError> {
        let Endpoint::Tcp(address) = endpoint else {
            return Err(ConnectError::Unusable {
                endpoint: endpoint.clone(),
                reason: "not a tcp endpoint".to_owned(),
            });
        };
        let (stream, peer) = dial(address, endpoint, options).await?;
        Ok(Connection::new(Link::Stream(Box::new(stream)), peer.into()))
    }
}

/// A connection to one of the addresses that `address` stands for. Errors name `endpoint`.
pub(crate) async fn dial(
    address: &TcpAddress,
    endpoint: &Endpoint,
    options: &LinkOptions,
) -> Result<(TcpStream, SocketAddr), ConnectError> {
    let failed = |source: io::Error| ConnectError::Io {
        endpoint: endpoint.clone(),
        source,
    };
    let addresses = match address.peer_addrs(options.ipv6).await {
        Ok(addresses) => addresses,
        Err(ResolveError::Unusable { reason }) => {
            return Err(ConnectError::Unusable {
                endpoint: endpoint.clone(),
                reason,
            });
        }
        Err(ResolveError::Io { source, .. }) => return Err(failed(source)),
    };
    let mut result = Err(io::ErrorKind::AddrNotAvailable.into());
    for address in addresses {
        result = connect_to(address, options).await;
        if result.is_ok() {
            break;
        }
    }
    result.map_err(failed)
}

fn listen(
    address: SocketAddr,
    dual_stack: bool,
    options: &LinkOptions,
    endpoint: &Endpoint,
) -> Result<Bound, BindError> {
    let listen = || {
        let (listener, pacing) = socket::listening(address, dual_stack, options)?;
        let listener = TcpListener::from_std(listener)?;
        let local = listener.local_addr()?;
        Ok(Bound {
            listener,
            #[cfg(feature = "tls")]
            address: local,
            local: local.into(),
            options: options.clone(),
            pacing,
        })
    };
    listen().map_err(|source: io::Error| match source.kind() {
        io::ErrorKind::AddrInUse => BindError::InUse {
            endpoint: endpoint.clone(),
            source: Some(source),
        },
        _ => BindError::Io {
            endpoint: endpoint.clone(),
            source,
        },
    })
}

async fn connect_to(address: SocketAddr, options: &LinkOptions) -> io::Result<(TcpStream, SocketAddr)> {
    let socket = socket::unconnected(address, options)?;
    let stream = TcpSocket::from_std_stream(socket.into()).connect(address).await?;
    let peer = refuse_self(&stream)?;
    Ok((stream, peer))
}

/// The peer of a connection, which is not the connection itself: connecting to a free port of the range that the
/// system takes source ports from may meet that very port (TCP's simultaneous open). Nobody listens there then.
fn refuse_self(stream: &TcpStream) -> io::Result<SocketAddr> {
    let peer = stream.peer_addr()?;
    if stream.local_addr()? == peer {
        return Err(io::Error::new(
            io::ErrorKind::ConnectionRefused,
            "nobody listens there: the connection met itself",
        ));
    }
    Ok(peer)
}

/// A listening socket.
pub(crate) struct Bound {
    listener: TcpListener,
    #[cfg(feature = "tls")]
    address: SocketAddr,
    local: Endpoint,
    options: LinkOptions,
    pacing: Pacing,
}

impl Bound {
    /// Listens at one of the addresses that `address` stands for. Errors name `endpoint`.
    pub(crate) async fn at(
        address: &TcpAddress,
        endpoint: &Endpoint,
        options: &LinkOptions,
    ) -> Result<Bound, BindError> {
        let unusable = |reason: String| BindError::Unusable {
            endpoint: endpoint.clone(),
            reason,
        };
        let addresses = match address.local_addrs(options.ipv6).await {
            Ok(addresses) => addresses,
            Err(ResolveError::Unusable { reason }) => return Err(unusable(reason)),
            Err(ResolveError::Io { source, .. }) => {
                return Err(BindError::Io {
                    endpoint: endpoint.clone(),
                    source,
                });
            }
        };
        // The wildcard with IPv6 means both families, and so does its literal form.
        let dual_stack = options.ipv6;
        let mut result = Err(unusable("the host has no address".to_owned()));
        for address in addresses {
            result = listen(address, dual_stack, options, endpoint);
            if result.is_ok() {
                break;
            }
        }
        result
    }

    /// Where it listens; the port is the real one.
    #[cfg(feature = "tls")]
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    async fn accept_stream(&self) -> io::Result<(TcpStream, SocketAddr)> {
        poll_fn(|cx| self.poll_accept(cx)).await
    }

    pub(crate) fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<(TcpStream, SocketAddr)>> {
        let (stream, peer) = ready!(self.listener.poll_accept(cx))?;
        let socket = SockRef::from(&stream);
        socket::configure(&socket, &self.options)?;
        self.pacing.resume(&socket, peer);
        Poll::Ready(Ok((stream, peer)))
    }
}

#[async_trait]
impl Listener for Bound {
    fn local_endpoint(&self) -> &Endpoint {
        &self.local
    }

    async fn accept(&mut self) -> Result<Connection, AcceptError> {
        match self.accept_stream().await {
            Ok((stream, peer)) => Ok(Connection::new(Link::Stream(Box::new(stream)), peer.into())),
            // None of these ends the listener: the connection was gone already, or a resource is short just now.
            Err(source) => Err(AcceptError::Io {
                endpoint: self.local.clone(),
                source,
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::Keepalive;

    /// Both ends of a connection whose ends have these options.
    async fn pair(options: &LinkOptions) -> (TcpStream, TcpStream) {
        let any: Endpoint = "tcp://127.0.0.1:0".parse().unwrap();
        let bound = listen(([127, 0, 0, 1], 0).into(), false, options, &any).unwrap();
        let address = bound.listener.local_addr().unwrap();
        let (near, far) = tokio::join!(connect_to(address, options), bound.accept_stream());
        (near.unwrap().0, far.unwrap().0)
    }

    #[tokio::test]
    async fn nodelay_is_set_at_both_ends() {
        for nodelay in [true, false] {
            let options = LinkOptions {
                nodelay,
                ..LinkOptions::default()
            };
            let (near, far) = pair(&options).await;
            assert_eq!(
                (near.nodelay().unwrap(), far.nodelay().unwrap()),
                (nodelay, nodelay)
            );
        }
    }

    #[tokio::test]
    async fn buffers_are_sized_at_both_ends() {
        let options = LinkOptions {
            send_buffer: Some(48 * 1024),
            recv_buffer: Some(56 * 1024),
            ..LinkOptions::default()
        };
        // Linux doubles what it is given, for its own bookkeeping (`socket(7)`).
        let factor = if cfg!(target_os = "linux") { 2 } else { 1 };
        let (near, far) = pair(&options).await;
        for stream in [&near, &far] {
            let socket = SockRef::from(stream);
            assert_eq!(socket.send_buffer_size().unwrap(), factor * 48 * 1024);
            assert_eq!(socket.recv_buffer_size().unwrap(), factor * 56 * 1024);
        }
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn what_is_unsent_is_limited_at_both_ends() {
        let options = LinkOptions {
            unsent_buffer: 4096,
            ..LinkOptions::default()
        };
        let (near, far) = pair(&options).await;
        for stream in [&near, &far] {
            assert_eq!(SockRef::from(stream).tcp_notsent_lowat().unwrap(), 4096);
        }
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn nothing_is_paced_within_the_machine() {
        let any: Endpoint = "tcp://*:0".parse().unwrap();
        for host in [[127, 0, 0, 1], [0, 0, 0, 0]] {
            let options = LinkOptions::default();
            let bound = listen((host, 0).into(), false, &options, &any).unwrap();
            let address = ([127, 0, 0, 1], bound.listener.local_addr().unwrap().port()).into();
            let (near, far) = tokio::join!(connect_to(address, &options), bound.accept_stream());
            for stream in [near.unwrap().0, far.unwrap().0] {
                // Where the system paces by itself it is seen that nothing is paced here.
                let control = SockRef::from(&stream).tcp_congestion().unwrap();
                assert!(!control.starts_with(b"bbr"), "{control:?}, bound to {host:?}");
            }
        }
    }

    #[tokio::test]
    async fn absurd_sizes_are_limited() {
        let options = LinkOptions {
            unsent_buffer: usize::MAX,
            send_buffer: Some(usize::MAX),
            recv_buffer: Some(0),
            backlog: u32::MAX,
            ..LinkOptions::default()
        };
        pair(&options).await;
    }

    #[tokio::test]
    async fn keepalive_is_set_at_both_ends() {
        let (near, _far) = pair(&LinkOptions::default()).await;
        assert!(!SockRef::from(&near).keepalive().unwrap());

        let options = LinkOptions {
            keepalive: Some(Keepalive {
                idle: Some(Duration::from_secs(77)),
                interval: Some(Duration::from_millis(1)),
                retries: Some(5),
                ..Keepalive::default()
            }),
            ..LinkOptions::default()
        };
        let (near, far) = pair(&options).await;
        for stream in [&near, &far] {
            let socket = SockRef::from(stream);
            assert!(socket.keepalive().unwrap());
            assert_eq!(socket.tcp_keepalive_time().unwrap(), Duration::from_secs(77));
            let interval = socket.tcp_keepalive_interval().unwrap();
            assert_eq!(
                interval,
                Duration::from_secs(1),
                "what rounds to zero is raised to one"
            );
            assert_eq!(socket.tcp_keepalive_retries().unwrap(), 5);
        }
    }

    #[tokio::test]
    async fn keepalive_is_set_later() {
        let (near, _far) = pair(&LinkOptions::default()).await;
        let keepalive = Keepalive {
            idle: Some(Duration::from_secs(9)),
            unacknowledged: Some(Duration::from_millis(7)),
            ..Keepalive::default()
        };
        crate::ByteStream::set_keepalive(&near, &keepalive).unwrap();
        let socket = SockRef::from(&near);
        assert!(socket.keepalive().unwrap());
        assert_eq!(socket.tcp_keepalive_time().unwrap(), Duration::from_secs(9));
        #[cfg(any(target_os = "android", target_os = "linux"))]
        assert_eq!(socket.tcp_user_timeout().unwrap(), Some(Duration::from_millis(7)));
    }

    #[tokio::test]
    async fn a_connection_to_itself_is_refused() {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(([127, 0, 0, 1], 0).into()).unwrap();
        let own = socket.local_addr().unwrap();
        match socket.connect(own).await {
            Ok(stream) => {
                let error = refuse_self(&stream).unwrap_err();
                assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
            }
            Err(error) => eprintln!("not tested: this system lets no socket connect to itself ({error})"),
        }
    }

    #[tokio::test]
    async fn keepalive_alone_keeps_the_systems_times() {
        let options = LinkOptions {
            keepalive: Some(Keepalive::default()),
            ..LinkOptions::default()
        };
        let (near, _far) = pair(&options).await;
        assert!(SockRef::from(&near).keepalive().unwrap());
    }
}
