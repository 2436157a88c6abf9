//! What carries the messages of a stream: a socket, or a session of many members.

#[cfg(feature = "multicast")]
pub(crate) mod group;

use std::collections::VecDeque;
use std::future::Future;
use std::task::{Context, Poll};
use std::time::Duration;

use flexbond_session::socket::{
    BindError, Closed, Event, IntoEndpoint, Monitor, Options, RecvError, SendError, Socket, Stats,
};
use flexbond_transport::{Endpoint, Message};

use crate::{Attach, ConnectError, ConnectOptions, DecodeError, Mode};
#[cfg(feature = "multicast")]
use group::GroupLink;

/// What carries the messages of a stream. A handle: clones are the same end.
#[derive(Clone, Debug)]
pub(crate) enum Link {
    Socket(Socket),
    #[cfg(feature = "multicast")]
    Group(GroupLink),
}

/// Why no message was delivered.
#[derive(Debug)]
pub(crate) enum Fault {
    /// None came.
    Recv(RecvError),
    /// Something came that is no message; it is handed over as it came. A socket ends the connection instead.
    #[cfg_attr(
        not(feature = "multicast"),
        expect(dead_code, reason = "there are sockets only")
    )]
    Malformed(DecodeError, Message),
}

impl From<RecvError> for Fault {
    fn from(error: RecvError) -> Self {
        Fault::Recv(error)
    }
}

/// What happens to those at the other ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// Somebody is there.
    Ready(u64),
    /// Somebody is gone.
    Lost(u64),
    /// There was more than was asked for in time.
    Missed,
    /// This end is closed.
    Closed,
}

/// Tells of those changes.
#[derive(Debug)]
pub(crate) enum Changes {
    Socket(Monitor),
    #[cfg(feature = "multicast")]
    Group(tokio::sync::broadcast::Receiver<Change>),
}

impl Changes {
    /// Waits for the next one. Cancel safe.
    pub(crate) async fn next(&mut self) -> Change {
        match self {
            Changes::Socket(monitor) => loop {
                match monitor.recv().await {
                    Some(Event::Ready { peer }) => return Change::Ready(peer.id()),
                    Some(Event::Disconnected { peer, .. }) => return Change::Lost(peer.id()),
                    Some(Event::Missed(_)) => return Change::Missed,
                    Some(Event::Closed) | None => return Change::Closed,
                    Some(_) => {}
                }
            },
            #[cfg(feature = "multicast")]
            Changes::Group(changes) => {
                use tokio::sync::broadcast::error::RecvError;
                match changes.recv().await {
                    Ok(change) => change,
                    Err(RecvError::Lagged(_)) => Change::Missed,
                    Err(RecvError::Closed) => Change::Closed,
                }
            }
        }
    }
}

impl Link {
    /// Binds or connects, and returns the address in use.
    pub(crate) async fn connect<E: IntoEndpoint>(
        address: E,
        options: &ConnectOptions,
    ) -> Result<(Self, Endpoint), ConnectError> {
        let endpoint = address.into_endpoint().map_err(BindError::from)?;
        #[cfg(feature = "multicast")]
        if matches!(endpoint, Endpoint::Udp(_)) {
            let (link, endpoint) = GroupLink::connect(endpoint, options).await?;
            return Ok((Link::Group(link), endpoint));
        }
        let settings = Options::new()
            .hwm(options.queue_size)
            .linger(options.linger)
            .send_timeout(options.send_timeout)
            .recv_timeout(options.receive_timeout)
            .slow_peer(options.slow_peer)
            .max_message_size(options.max_message_size);
        let socket = Socket::with_options(options.mode.socket_type(), settings)?;
        if options.mode == Mode::Sub {
            if options.topics.is_empty() {
                socket.subscribe("")?;
            }
            options
                .topics
                .iter()
                .try_for_each(|topic| socket.subscribe(topic))?;
        }
        let endpoint = match options.attach {
            Attach::Bind => socket.bind(endpoint).await?,
            Attach::Connect => {
                socket.connect(&endpoint)?;
                endpoint
            }
        };
        Ok((Link::Socket(socket), endpoint))
    }

    /// Waits for the next message, for as long as the receive timeout says. Cancel safe.
    pub(crate) async fn recv(&self) -> Result<Message, Fault> {
        match self {
            Link::Socket(socket) => Ok(socket.recv().await?),
            #[cfg(feature = "multicast")]
            Link::Group(link) => link.recv().await,
        }
    }

    pub(crate) fn try_recv(&self) -> Result<Message, Fault> {
        match self {
            Link::Socket(socket) => Ok(socket.try_recv()?),
            #[cfg(feature = "multicast")]
            Link::Group(link) => link.try_recv(),
        }
    }

    pub(crate) fn poll_recv(&self, cx: &mut Context<'_>) -> Poll<Result<Message, Fault>> {
        match self {
            Link::Socket(socket) => socket
                .poll_recv(cx)
                .map(|received| Ok(received.map(|(message, _)| message)?)),
            #[cfg(feature = "multicast")]
            Link::Group(link) => link.poll_recv(cx),
        }
    }

    /// Polls for up to `limit` messages, and one at least; what is malformed ends those that came before it.
    pub(crate) fn poll_recv_many(
        &self,
        cx: &mut Context<'_>,
        messages: &mut Vec<Message>,
        limit: usize,
    ) -> Poll<Result<(), Fault>> {
        match self {
            Link::Socket(socket) => socket
                .poll_recv_many(cx, messages, limit)
                .map(|received| Ok(received.map(drop)?)),
            #[cfg(feature = "multicast")]
            Link::Group(link) => {
                messages.push(std::task::ready!(link.poll_recv(cx))?);
                Poll::Ready(Ok(()))
            }
        }
    }

    /// Sends a message, waiting for as long as the send timeout says. Cancel safe.
    pub(crate) async fn send(&self, message: Message) -> Result<(), SendError> {
        match self {
            Link::Socket(socket) => socket.send(message).await,
            #[cfg(feature = "multicast")]
            Link::Group(link) => link.send(message).await,
        }
    }

    pub(crate) fn try_send(&self, message: Message) -> Result<(), SendError> {
        match self {
            Link::Socket(socket) => socket.try_send(message),
            #[cfg(feature = "multicast")]
            Link::Group(link) => link.try_send(message),
        }
    }

    /// Takes the message out of `message` once it is queued, or cannot be.
    pub(crate) fn poll_send(
        &self,
        cx: &mut Context<'_>,
        message: &mut Option<Message>,
    ) -> Poll<Result<(), SendError>> {
        match self {
            Link::Socket(socket) => socket.poll_send(cx, message),
            #[cfg(feature = "multicast")]
            Link::Group(link) => link.poll_send(cx, message),
        }
    }

    /// Sends as many messages as it can, taking each out once it is queued. Cancel safe.
    pub(crate) async fn send_many(&self, messages: &mut VecDeque<Message>) -> Result<(), SendError> {
        match self {
            Link::Socket(socket) => socket.send_many(messages).await,
            #[cfg(feature = "multicast")]
            Link::Group(link) => link.send_many(messages).await,
        }
    }

    /// What gives a bound address up, and lets what is connected go on. The address of a session is in use until the
    /// session ends.
    pub(crate) fn unbind(&self, endpoint: &Endpoint) -> Option<impl Future<Output = ()> + Send + 'static> {
        match self {
            Link::Socket(socket) => {
                let (socket, endpoint) = (socket.clone(), endpoint.clone());
                Some(async move {
                    // It was bound there, so this cannot fail.
                    let _ = socket.unbind(endpoint).await;
                })
            }
            #[cfg(feature = "multicast")]
            Link::Group(_) => None,
        }
    }

    pub(crate) fn stats(&self) -> Stats {
        match self {
            Link::Socket(socket) => socket.stats(),
            #[cfg(feature = "multicast")]
            Link::Group(link) => link.stats(),
        }
    }

    /// The socket's own events, where there is a socket.
    pub(crate) fn monitor(&self) -> Option<Monitor> {
        match self {
            Link::Socket(socket) => Some(socket.monitor()),
            #[cfg(feature = "multicast")]
            Link::Group(_) => None,
        }
    }

    /// Who comes and goes from now on.
    pub(crate) fn changes(&self) -> Changes {
        match self {
            Link::Socket(socket) => Changes::Socket(socket.monitor()),
            #[cfg(feature = "multicast")]
            Link::Group(link) => Changes::Group(link.changes()),
        }
    }

    /// Who is there.
    pub(crate) fn clients(&self) -> Vec<u64> {
        match self {
            Link::Socket(socket) => {
                let peers = socket.peers();
                let ready = peers.iter().filter(|stats| stats.ready);
                ready.map(|stats| stats.peer.id()).collect()
            }
            #[cfg(feature = "multicast")]
            Link::Group(link) => link.clients(),
        }
    }

    pub(crate) async fn close(&self) -> Closed {
        match self {
            Link::Socket(socket) => socket.close().await,
            #[cfg(feature = "multicast")]
            Link::Group(link) => link.close().await,
        }
    }

    pub(crate) async fn close_within(&self, linger: Option<Duration>) -> Closed {
        match self {
            Link::Socket(socket) => socket.close_within(linger).await,
            #[cfg(feature = "multicast")]
            Link::Group(link) => link.close_within(linger).await,
        }
    }
}
