//! Unix domain sockets, by path or in the abstract namespace.

mod claim;

use std::io;
use std::os::unix::net::UnixListener as StdListener;
use std::path::PathBuf;

use async_trait::async_trait;
use claim::{Claim, ClaimError};
use socket2::{Domain, SockAddr, SockRef, Socket, Type};
use tokio::net::{UnixListener, UnixStream};

use crate::socket_stream::{self, byte_stream};
use crate::{
    AcceptError, BindError, ConnectError, Connection, Endpoint, IpcAddress, Link, LinkOptions, Listener,
    Transport,
};

byte_stream!(UnixStream, lead: None);

/// The send buffer when none is asked for. The system's is for 208 KiB at most: six writes of 32 KiB, so that a
/// writer of large messages waits for its reader again and again (measured at 1 MiB: a fifth of the throughput).
/// Unlike those of tcp they do not grow by themselves. It is a limit, not memory that is held.
const SEND_BUFFER: usize = 1 << 20;

fn set_buffers(socket: &Socket, options: &LinkOptions) -> io::Result<()> {
    if options.send_buffer.is_none() {
        // Where the system refuses instead of limiting, its own size serves.
        let _ = socket.set_send_buffer_size(SEND_BUFFER);
    }
    socket_stream::set_buffers(socket, options)
}

/// Unix domain sockets, by path or in Linux's abstract namespace.
///
/// A socket file that nobody listens at any longer (its owner was killed) is replaced. One that somebody listens at
/// is refused as [`BindError::InUse`], also when several binders race, and so is, as [`BindError::Unusable`], any
/// other kind of file, which is never touched. Dropping the listener removes the file, unless another has taken its
/// place meanwhile. Binders exclude each other by a lock on the directory for the moment it takes (`flock(2)`; no
/// file is left behind), so the directory must be readable and on a file system that has locks.
///
/// Who may connect by path is decided by the permissions of the directory and of the file, which the umask sets.
/// Anybody in the same network namespace may connect to an abstract name.
///
/// Peers of a listener are anonymous: the [`peer`](Connection::peer) of an accepted connection is the endpoint it
/// was accepted at.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct Ipc {}

impl Ipc {
    /// The transport; it has no state.
    #[must_use]
    pub fn new() -> Self {
        Ipc {}
    }
}

#[async_trait]
impl Transport for Ipc {
    async fn bind(&self, endpoint: &Endpoint, options: &LinkOptions) -> Result<Box<dyn Listener>, BindError> {
        let Endpoint::Ipc(address) = endpoint else {
            return Err(BindError::Unusable {
                endpoint: endpoint.clone(),
                reason: "not an ipc endpoint".to_owned(),
            });
        };
        let failed = |source: io::Error| match source.kind() {
            io::ErrorKind::AddrInUse => BindError::InUse {
                endpoint: endpoint.clone(),
                source: Some(source),
            },
            _ => BindError::Io {
                endpoint: endpoint.clone(),
                source,
            },
        };
        let (local, listener, claim) = match address {
            IpcAddress::Abstract { .. } => {
                let listener = sock_addr(address)
                    .and_then(|address| listen(&address, options))
                    .map_err(failed)?;
                (address.clone(), listener, None)
            }
            IpcAddress::Path { .. } | IpcAddress::Any => {
                let (address, options) = (address.clone(), options.clone());
                // Waiting for a lock on a directory may block. If this future is dropped, what the task made is
                // dropped by the runtime once it has finished, and that unbinds.
                let task = tokio::task::spawn_blocking(move || claim::bind(&address, &options));
                match task.await {
                    Ok(Ok((local, listener, claim))) => (local, listener, Some(claim)),
                    Ok(Err(ClaimError::Io(source))) => return Err(failed(source)),
                    Ok(Err(ClaimError::Unusable(reason))) => {
                        return Err(BindError::Unusable {
                            endpoint: endpoint.clone(),
                            reason,
                        });
                    }
                    Err(error) => return Err(failed(io::Error::other(error))),
                }
            }
        };
        Ok(Box::new(Bound {
            _claim: claim,
            listener: UnixListener::from_std(listener).map_err(failed)?,
            local: Endpoint::Ipc(local),
            options: options.clone(),
        }))
    }

    async fn connect(&self, endpoint: &Endpoint, options: &LinkOptions) -> Result<Connection, ConnectError> {
        let unusable = |reason: &str| ConnectError::Unusable {
            endpoint: endpoint.clone(),
            reason: reason.to_owned(),
        };
        let address = match endpoint {
            Endpoint::Ipc(IpcAddress::Any) => {
                return Err(unusable(
                    "\"*\" stands for a path yet to be chosen and can only be bound",
                ));
            }
            Endpoint::Ipc(address) => address,
            _ => return Err(unusable("not an ipc endpoint")),
        };
        let connect = || {
            let socket = new()?;
            set_buffers(&socket, options)?;
            // Answers at once: a listener whose backlog is full refuses (EAGAIN), and a retry is sound.
            socket.connect(&sock_addr(address)?)?;
            UnixStream::from_std(socket.into())
        };
        match connect() {
            Ok(stream) => Ok(Connection::new(Link::Stream(Box::new(stream)), endpoint.clone())),
            Err(source) => Err(ConnectError::Io {
                endpoint: endpoint.clone(),
                source,
            }),
        }
    }
}

fn new() -> io::Result<Socket> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

fn listen(address: &SockAddr, options: &LinkOptions) -> io::Result<StdListener> {
    let socket = new()?;
    socket.bind(address)?;
    socket.listen(i32::try_from(options.backlog.max(1)).unwrap_or(i32::MAX))?;
    Ok(socket.into())
}

fn sock_addr(address: &IpcAddress) -> io::Result<SockAddr> {
    match address {
        IpcAddress::Any => Err(io::ErrorKind::InvalidInput.into()),
        IpcAddress::Path { path } => SockAddr::unix(path),
        // A leading NUL byte is what makes an address abstract (`unix(7)`).
        IpcAddress::Abstract { name } if cfg!(any(target_os = "linux", target_os = "android")) => {
            SockAddr::unix(PathBuf::from(format!("\0{name}")))
        }
        IpcAddress::Abstract { .. } => Err(io::Error::new(
            io::ErrorKind::Unsupported,
            "this platform has no abstract socket names",
        )),
    }
}

struct Bound {
    /// Before the listener, so that the file is removed while it is still live and nobody takes it for stale.
    _claim: Option<Claim>,
    listener: UnixListener,
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
            let (stream, _anonymous) = self.listener.accept().await?;
            set_buffers(&SockRef::from(&stream), &self.options)?;
            Ok(Connection::new(
                Link::Stream(Box::new(stream)),
                self.local.clone(),
            ))
        };
        accept.await.map_err(|source| AcceptError::Io {
            endpoint: self.local.clone(),
            source,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_send_buffer_is_large_unless_a_size_is_asked_for() {
        let size_with = |send_buffer| {
            let socket = Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
            let options = LinkOptions {
                send_buffer,
                ..LinkOptions::default()
            };
            set_buffers(&socket, &options).unwrap();
            socket.send_buffer_size().unwrap()
        };
        let asked = size_with(Some(48 * 1024));
        assert!((48 * 1024..=96 * 1024).contains(&asked), "{asked}");
        // Linux doubles what it is given, up to a limit that is the size of its own default (`socket(7)`).
        let system = Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
        assert!(size_with(None) > system.send_buffer_size().unwrap());
    }
}
