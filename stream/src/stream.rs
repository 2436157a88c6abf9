//! A stream: one end of what carries messages, which are understood here, and counted.

use std::task::{Context, Poll};
use std::time::{Duration, Instant};

#[cfg(feature = "multicast")]
use flexbond_session::group::{JoinError, StartError};
use flexbond_session::socket::{
    BindError, Closed, ConnectError as SocketConnectError, IntoEndpoint, Monitor, OptionError, RecvError,
    Stats, SubscribeError,
};
use flexbond_transport::{Endpoint, Message};
use thiserror::Error;

use crate::detector::SeriesEvent;
use crate::link::{Fault, Link};
use crate::{
    ConnectOptions, DecodeError, Decoder, Handled, Handler, Header, Mode, Statistics, StreamMessage,
};

pub use flexbond_session::socket::SendError;

/// One end of a stream.
///
/// Dropping it disconnects in the background and does not wait; [`disconnect`](Self::disconnect) does.
#[derive(Debug)]
pub struct Stream {
    link: Link,
    mode: Mode,
    endpoint: Endpoint,
    statistics: Statistics,
    decoder: Decoder,
}

/// Why a stream was not joined. Nothing is left behind.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// An option is out of bounds.
    #[error(transparent)]
    Options(#[from] OptionError),
    /// The address cannot be bound.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The address can never be connected to.
    #[error(transparent)]
    Connect(#[from] SocketConnectError),
    /// A topic cannot be subscribed to.
    #[error(transparent)]
    Subscribe(#[from] SubscribeError),
    /// PUSH and PULL deal messages out; where all receivers get all of them, only PUB and SUB can do what they promise.
    #[cfg(feature = "multicast")]
    #[error("{} cannot be used at {endpoint}, where every receiver gets every message: use {}",
        mode.socket_type(), if mode.receives() { "SUB (-m sub)" } else { "PUB (-m pub)" })]
    NotForAll {
        /// Where it was to be.
        endpoint: Endpoint,
        /// PUSH or PULL.
        mode: Mode,
    },
    /// The memory at a `udp://` address ([`ConnectOptions::memory`](field@crate::ConnectOptions::memory)) is too little.
    #[cfg(feature = "multicast")]
    #[error("{memory} bytes of memory are not enough at a udp:// address: it takes {least} at least")]
    TooLittleMemory {
        /// What was asked for, in bytes.
        memory: usize,
        /// The least that there may be, in bytes.
        least: u64,
    },
    /// The session at a `udp://` address cannot be held or looked for: the address is in use, an option of it is out of
    /// bounds, or there is no such interface.
    #[cfg(feature = "multicast")]
    #[error(transparent)]
    Session(#[from] StartError),
}

/// Why no message was delivered. The next receive is not affected.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ReceiveError {
    /// A message came and is malformed; it counts as such, and in no other statistics.
    #[error("malformed message")]
    Malformed {
        /// What is wrong with it.
        #[source]
        error: DecodeError,
        /// The whole message as it came.
        message: Message,
    },
    /// No message came.
    #[error(transparent)]
    Socket(#[from] RecvError),
}

impl Stream {
    /// Joins a stream at `address`.
    ///
    /// Connecting returns at once and goes on in the background until somebody listens there; binding returns with
    /// the address in use.
    ///
    /// At `udp://HOST:PORT` (feature `multicast`) every message goes to all who are connected, over reliable multicast: to
    /// [`ConnectOptions::multicast`] once for all of them, or to each. The source is a PUB that binds, receivers are SUBs
    /// that connect. The other way round works, too: every PUB that connects sends to all SUBs there, however many there
    /// are of both.
    ///
    /// # Cancel safety
    /// Dropping the future leaves nothing behind.
    ///
    /// # Errors
    /// [`ConnectError`].
    pub async fn connect<E: IntoEndpoint>(address: E, options: ConnectOptions) -> Result<Self, ConnectError> {
        let (link, endpoint) = Link::connect(address, &options).await?;
        let mut statistics = Statistics::new();
        statistics.watch_sharing(options.mode == Mode::Pull);
        Ok(Stream {
            link,
            mode: options.mode,
            endpoint,
            statistics,
            decoder: Decoder::new(),
        })
    }

    /// Has `handler` understand received messages of type `htype`, in place of what did so before: a handler registered
    /// earlier, or the built-in format of that name. What it returns comes as [`Body::Custom`](crate::Body::Custom).
    pub fn register(&mut self, htype: impl Into<String>, handler: impl Handler) {
        self.decoder.register(htype, handler);
    }

    /// Takes the handler of `htype` away. Says whether there was one.
    pub fn unregister(&mut self, htype: &str) -> bool {
        self.decoder.unregister(htype)
    }

    /// Waits for the next message and understands it by its `htype`: with a [registered](Self::register) handler, or as
    /// one of the built-in formats; what is not known comes as [`Body::Unknown`](crate::Body::Unknown).
    ///
    /// # Cancel safety
    /// Dropping the future takes no message.
    ///
    /// # Errors
    /// [`ReceiveError`]; a malformed message is handed over in it, and the next call goes on with the next message.
    pub async fn receive(&mut self) -> Result<StreamMessage, ReceiveError> {
        let received = self.link.recv().await;
        let message = self.take(received)?;
        self.understand(message)
    }

    /// As [`receive`](Self::receive), without waiting.
    ///
    /// # Errors
    /// [`ReceiveError`]; [`RecvError::WouldBlock`] when no message waits.
    pub fn try_receive(&mut self) -> Result<StreamMessage, ReceiveError> {
        let received = self.link.try_recv();
        let message = self.take(received)?;
        self.understand(message)
    }

    /// Waits for the next message and has `handler` understand it, whatever its `htype`.
    ///
    /// # Cancel safety
    /// Dropping the future takes no message.
    ///
    /// # Errors
    /// [`ReceiveError`]; a message without a header, or one that the handler refuses, is handed over in it and counts as
    /// malformed.
    pub async fn receive_with<H: Handler>(
        &mut self,
        handler: &mut H,
    ) -> Result<Handled<H::Value>, ReceiveError> {
        let received = self.link.recv().await;
        let message = self.take(received)?;
        self.understand_with(message, handler)
    }

    /// As [`receive_with`](Self::receive_with), without waiting.
    ///
    /// # Errors
    /// [`ReceiveError`]; [`RecvError::WouldBlock`] when no message waits.
    pub fn try_receive_with<H: Handler>(
        &mut self,
        handler: &mut H,
    ) -> Result<Handled<H::Value>, ReceiveError> {
        let received = self.link.try_recv();
        let message = self.take(received)?;
        self.understand_with(message, handler)
    }

    /// What should be known about the series of a detector, oldest first: aborted ones, a header that was missed. It is
    /// about the messages that were [received](Self::receive) so far.
    pub fn poll_series_event(&mut self) -> Option<SeriesEvent> {
        self.decoder.poll_series_event()
    }

    /// What understands the messages, with its counters and the series that a detector is in.
    #[must_use]
    pub fn decoder(&self) -> &Decoder {
        &self.decoder
    }

    /// Polls for the next message, and wakes the context's task when there may be one. The receive timeout does not
    /// apply.
    ///
    /// # Errors
    /// As those of [`receive`](Self::receive).
    pub fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<Result<StreamMessage, ReceiveError>> {
        let received = std::task::ready!(self.link.poll_recv(cx));
        let taken = self.take(received);
        Poll::Ready(taken.and_then(|message| self.understand(message)))
    }

    /// Waits for the next message and leaves it as it is. It counts, whatever its header. (What comes to a `udp://`
    /// address and is no message of a stream is passed over, and counts as malformed.)
    ///
    /// # Cancel safety
    /// Dropping the future takes no message.
    ///
    /// # Errors
    /// [`RecvError`].
    pub async fn receive_raw(&mut self) -> Result<Message, RecvError> {
        loop {
            match self.link.recv().await {
                Ok(message) => {
                    self.statistics.handle_message(Instant::now(), message.size());
                    return Ok(message);
                }
                Err(Fault::Recv(error)) => return Err(error),
                Err(Fault::Malformed(..)) => self.statistics.handle_malformed(),
            }
        }
    }

    /// Sends a whole message: a [`StreamMessage`], or any [`Message`] as it is (to forward one, say).
    ///
    /// # Cancel safety
    /// Dropping the future leaves the message unsent, or sent whole.
    ///
    /// # Errors
    /// [`SendError`] hands the message back; no part of it was sent.
    pub async fn send(&mut self, message: impl Into<Message>) -> Result<(), SendError> {
        let message = message.into();
        let size = message.size();
        self.link.send(message).await?;
        self.statistics.handle_message(Instant::now(), size);
        Ok(())
    }

    /// As [`send`](Self::send), without waiting.
    ///
    /// # Errors
    /// [`SendError`] hands the message back; no part of it was sent.
    pub fn try_send(&mut self, message: impl Into<Message>) -> Result<(), SendError> {
        let message = message.into();
        let size = message.size();
        self.link.try_send(message)?;
        self.statistics.handle_message(Instant::now(), size);
        Ok(())
    }

    /// Polls for sending. Takes the message out of `message` when it was queued or cannot be sent at all; leaves it there
    /// while nobody has room, and wakes the context's task when that may have changed. The send timeout does not apply.
    ///
    /// # Errors
    /// [`SendError`] hands the message back; no part of it was sent.
    pub fn poll_send(
        &mut self,
        cx: &mut Context<'_>,
        message: &mut Option<Message>,
    ) -> Poll<Result<(), SendError>> {
        let Some(size) = message.as_ref().map(Message::size) else {
            return Poll::Ready(Ok(()));
        };
        std::task::ready!(self.link.poll_send(cx, message))?;
        self.statistics.handle_message(Instant::now(), size);
        Poll::Ready(Ok(()))
    }

    /// What came through, or went out.
    #[must_use]
    pub fn statistics(&self) -> &Statistics {
        &self.statistics
    }

    /// The same, to set the stride of the numbers or to ask for warnings.
    pub fn statistics_mut(&mut self) -> &mut Statistics {
        &mut self.statistics
    }

    /// Takes over what was counted of the stream that this one follows.
    pub(crate) fn go_on_counting(&mut self, former: &Statistics) {
        self.statistics = former.clone();
        self.statistics.begin_anew();
        self.statistics.watch_sharing(self.mode == Mode::Pull);
    }

    /// What carries the messages, for what is no message of its own.
    pub(crate) fn link(&self) -> &Link {
        &self.link
    }

    /// The counters of the socket: drops, peers, reconnects.
    ///
    /// At a `udp://` address those of the session. Peers are, for the end that binds, the members that send to it or
    /// receive from it; for one that connects, the end that it is connected to. Reconnects are sessions joined again.
    /// Dropped are messages that a PUB dropped for all; and at a SUB those that it skipped because it was too slow,
    /// whatever their topic, and those that came in part.
    #[must_use]
    pub fn socket_stats(&self) -> Stats {
        self.link.stats()
    }

    /// The events of the connections behind the stream; `None` at a `udp://` address, where there are none. A
    /// [`ConnectionWatch`](crate::ConnectionWatch) tells of who comes and goes at any.
    #[must_use]
    pub fn monitor(&self) -> Option<Monitor> {
        self.link.monitor()
    }

    /// Why the source, or the receiver, at a `udp://` address that this end connects to was not joined when it was last
    /// tried: nobody answers there (yet), or the keys differ. Trying goes on in the background, whatever it is. `None`
    /// once this end is in.
    #[cfg(feature = "multicast")]
    #[must_use]
    pub fn refusal(&self) -> Option<std::sync::Arc<JoinError>> {
        match &self.link {
            Link::Socket(_) => None,
            Link::Group(link) => link.refusal(),
        }
    }

    /// The address as bound, or as connected to.
    #[must_use]
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// PULL, SUB, PUSH or PUB.
    #[must_use]
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// Leaves the stream: waits, at most `linger` long, until everything sent is on its way.
    ///
    /// # Cancel safety
    /// Dropping the future leaves the rest to the background.
    pub async fn disconnect(self) -> Closed {
        self.link.close().await
    }

    /// As [`disconnect`](Self::disconnect), with another linger: zero drops what is queued, `None` waits for ever.
    ///
    /// # Cancel safety
    /// Dropping the future leaves the rest to the background.
    pub async fn disconnect_within(self, linger: Option<Duration>) -> Closed {
        self.link.close_within(linger).await
    }

    /// As [`disconnect_within`](Self::disconnect_within), and leaves the statistics to be read. Another call may shorten the
    /// linger; at a `udp://` address it returns at once, and knows of nothing that is left.
    ///
    /// # Cancel safety
    /// Dropping the future leaves the rest to the background. It may be called again.
    pub async fn finish_within(&self, linger: Option<Duration>) -> Closed {
        self.link.close_within(linger).await
    }

    /// A message, unless it is none.
    fn take(&mut self, received: Result<Message, Fault>) -> Result<Message, ReceiveError> {
        received.map_err(|fault| match fault {
            Fault::Recv(error) => error.into(),
            Fault::Malformed(error, message) => self.malformed(error, message),
        })
    }

    fn understand(&mut self, message: Message) -> Result<StreamMessage, ReceiveError> {
        match self.decoder.decode(&message) {
            Ok(decoded) => {
                self.count(&message, &decoded.header);
                if decoded.unknown_encoding().is_some() {
                    self.statistics.handle_undecodable();
                } else if decoded.is_unknown() {
                    self.statistics.handle_unknown();
                }
                Ok(decoded)
            }
            Err(error) => Err(self.malformed(error, message)),
        }
    }

    fn understand_with<H: Handler>(
        &mut self,
        message: Message,
        handler: &mut H,
    ) -> Result<Handled<H::Value>, ReceiveError> {
        match self.decoder.decode_with(&message, handler) {
            Ok(handled) => {
                self.count(&message, &handled.header);
                Ok(handled)
            }
            Err(error) => Err(self.malformed(error, message)),
        }
    }

    fn count(&mut self, message: &Message, header: &Header) {
        self.statistics.handle_message(Instant::now(), message.size());
        self.statistics.handle_header(header, message.size());
    }

    fn malformed(&mut self, error: DecodeError, message: Message) -> ReceiveError {
        self.statistics.handle_malformed();
        ReceiveError::Malformed { error, message }
    }
}
