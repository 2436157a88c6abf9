//! TCP over IPv4 and IPv6.

mod resolve;
mod socket;

use std::io;
use std::net::SocketAddr;

use async_trait::async_trait;
use tokio::net::{TcpListener, TcpSocket, TcpStream};

use crate::socket_stream::byte_stream;
use crate::{
    AcceptError, BindError, ConnectError, Connection, Endpoint, Link, LinkOptions, Listener, TcpHost,
    Transport,
};

byte_stream!(TcpStream);

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
        let unusable = |reason: String| BindError::Unusable {
            endpoint: endpoint.clone(),
            reason,
        };
        let Endpoint::Tcp(address) = endpoint else {
            return Err(unusable("not a tcp endpoint".to_owned()));
        };
        let addresses = match resolve::to_bind(address, options).await {
            Ok(addresses) => addresses,
            Err(resolve::Failure::Unusable(reason)) => return Err(unusable(reason)),
            Err(resolve::Failure::Io(source)) => {
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
        Ok(Box::new(result?))
    }

    async fn connect(&self, endpoint: &Endpoint, options: &LinkOptions) -> Result<Connection, ConnectError> {
        let unusable = |reason: String| ConnectError::Unusable {
            endpoint: endpoint.clone(),
            reason,
        };
        let failed = |source: io::Error| ConnectError::Io {
            endpoint: endpoint.clone(),
            source,
        };
        let Endpoint::Tcp(address) = endpoint else {
            return Err(unusable("not a tcp endpoint".to_owned()));
        };
        if *address.host() == TcpHost::Any {
            return Err(unusable(
                "\"*\" stands for every interface and can only be bound".to_owned(),
            ));
        }
        if address.port() == 0 {
            return Err(unusable("port 0 can only be bound".to_owned()));
        }
        let addresses = match resolve::to_connect(address, options).await {
            Ok(addresses) => addresses,
            Err(resolve::Failure::Unusable(reason)) => return Err(unusable(reason)),
            Err(resolve::Failure::Io(source)) => return Err(failed(source)),
        };
        let mut result = Err(io::ErrorKind::AddrNotAvailable.into());
        for address in addresses {
            result = connect_to(address, options).await;
            if result.is_ok() {
                break;
            }
        }
        let (stream, peer) = result.map_err(failed)?;
        Ok(Connection::new(Link::Stream(Box::new(stream)), peer.into()))
    }
}

fn listen(
    address: SocketAddr,
    dual_stack: bool,
    options: &LinkOptions,
    endpoint: &Endpoint,
) -> Result<Bound, BindError> {
    let listen = || {
        let listener = TcpListener::from_std(socket::listening(address, dual_stack, options)?)?;
        let local = listener.local_addr()?;
        Ok(Bound {
            listener,
            local: local.into(),
            options: options.clone(),
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
    let peer = stream.peer_addr()?;
    // Connecting to a free port of the range that the system takes source ports from may meet itself (TCP's
    // simultaneous open). That is nobody listening.
    if stream.local_addr()? == peer {
        return Err(io::Error::new(
            io::ErrorKind::ConnectionRefused,
            "nobody listens there: the connection met itself",
        ));
    }
    Ok((stream, peer))
}

struct Bound {
    listener: TcpListener,
    local: Endpoint,
    options: LinkOptions,
}

#[async_trait]
impl Listener for Bound {
    fn local_endpoint(&self) -> &Endpoint {
        &self.local
    }

    async fn accept(&mut self) -> Result<Connection, AcceptError> {
        let accept = async {
            let (stream, peer) = self.listener.accept().await?;
            socket::configure(&socket2::SockRef::from(&stream), &self.options)?;
            Ok(Connection::new(Link::Stream(Box::new(stream)), peer.into()))
        };
        // None of these ends the listener: the connection was gone already, or a resource is short just now.
        accept.await.map_err(|source| AcceptError::Io {
            endpoint: self.local.clone(),
            source,
        })
    }
}
