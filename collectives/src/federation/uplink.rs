//! A connection to a message server, of a party or of another server.

use std::task::{Context, Poll};
use std::time::Duration;

use flexbond_session::Endpoint;
use flexbond_session::socket::{ConnectError, Event, Monitor, OptionError, Options, Socket, SocketType};
use flexbond_transport::Message;
use futures_util::StreamExt;
use thiserror::Error;

use super::carrier::ServerWay;
use super::direct::MAX_PACKET;

/// What the server did not get at the end comes again, or nobody waits for it.
const LINGER: Duration = Duration::from_secs(1);
/// How many packets wait in the socket at most, and how many bytes: what is urgent waits behind them. One packet may always
/// wait, however large it is.
const QUEUED: usize = 256;
const QUEUED_BYTES: usize = 8 << 20;
/// The server is asked so often whether it is there, when it says nothing; a connection whose machine is gone ends after
/// three of these, and is made anew.
pub(super) const HEARTBEAT: Duration = Duration::from_secs(5);

/// One connection to a message server, which is made again whenever it is lost.
#[derive(Debug)]
pub(super) struct Uplink {
    socket: Socket,
    monitor: Monitor,
    /// It has ended, and what has come by it may not be read to its end.
    is_ending: bool,
    way: ServerWay,
}

/// Why there is none, whatever is waited for.
#[derive(Debug, Error)]
pub(super) enum UplinkError {
    #[error(transparent)]
    Connect(#[from] ConnectError),
    #[error(transparent)]
    Option(#[from] OptionError),
}

/// What comes from a message server.
#[derive(Debug)]
pub(super) enum News {
    Packet(Message),
    /// The connection is there.
    Connected,
    /// It is gone, and all that has come by it was told before.
    Lost,
    /// The server does not let this side in, or is none. It is tried again.
    Refused(String),
}

impl Uplink {
    /// Connects in the background, with options such as keys.
    pub(super) fn new(server: &Endpoint, options: Options) -> Result<Self, UplinkError> {
        // Nothing is queued for a server that is not there: it would be old when it comes.
        let options = options
            .immediate(true)
            .max_message_size(MAX_PACKET)
            .send_hwm(QUEUED)
            .send_hwm_bytes(QUEUED_BYTES)
            .recv_hwm(QUEUED)
            .recv_hwm_bytes(QUEUED_BYTES)
            .heartbeat_interval(HEARTBEAT)
            .heartbeat_timeout(2 * HEARTBEAT)
            .linger(LINGER);
        let socket = Socket::with_options(SocketType::Dealer, options)?;
        let monitor = socket.monitor();
        socket.connect(server)?;
        Ok(Uplink {
            socket,
            monitor,
            is_ending: false,
            way: ServerWay::Unreachable(None),
        })
    }

    /// Takes the packet out of `packet`, or waits until there is room.
    pub(super) fn poll_send(&self, cx: &mut Context<'_>, packet: &mut Option<Message>) -> Poll<()> {
        // What cannot be sent is lost, as on its way: it comes again.
        self.socket.poll_send(cx, packet).map(drop)
    }

    /// How it stands with the server, as of the last [`poll_news`](Uplink::poll_news).
    pub(super) fn way(&self) -> &ServerWay {
        &self.way
    }

    pub(super) fn poll_news(&mut self, cx: &mut Context<'_>) -> Poll<News> {
        // Events come before packets that are older than they are.
        while !self.is_ending
            && let Poll::Ready(Some(event)) = self.monitor.poll_next_unpin(cx)
        {
            match event {
                Event::Disconnected { .. } => {
                    self.is_ending = true;
                    self.way = ServerWay::Unreachable(None);
                }
                Event::ConnectFailed { error, .. } => {
                    self.way = ServerWay::Unreachable(Some(error.into()));
                }
                Event::Ready { .. } => {
                    self.way = ServerWay::Reached;
                    return Poll::Ready(News::Connected);
                }
                Event::HandshakeFailed { error, .. } => {
                    self.way = ServerWay::Refused(error.as_str().into());
                    return Poll::Ready(News::Refused(error));
                }
                _ => {}
            }
        }
        match self.socket.poll_recv(cx) {
            Poll::Ready(Ok((packet, _))) => Poll::Ready(News::Packet(packet)),
            // The socket is closed by nobody but this one.
            _ if std::mem::take(&mut self.is_ending) => Poll::Ready(News::Lost),
            _ => Poll::Pending,
        }
    }
}
