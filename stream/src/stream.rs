//! A stream: one socket, the messages that it carries understood, and counted.

use std::time::Instant;

use flexbond_session::socket::{
    BindError, Closed, ConnectError as SocketConnectError, IntoEndpoint, Monitor, OptionError, Options,
    RecvError, Socket, Stats, SubscribeError,
};
use flexbond_transport::{Endpoint, Message};
use thiserror::Error;

use crate::{Attach, ConnectOptions, DecodeError, Mode, Statistics, StreamMessage};

pub use flexbond_session::socket::SendError;

/// One end of a stream.
///
/// Dropping it disconnects in the background and does not wait; [`disconnect`](Self::disconnect) does.
#[derive(Debug)]
pub struct Stream {
    socket: Socket,
    mode: Mode,
    endpoint: Endpoint,
    statistics: Statistics,
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
}

/// Why no message was delivered. The next receive is not affected.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ReceiveError {
    /// A message came and is malformed; it counts as such, and in no other statistics.
    #[error("malformed message: {error}")]
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
    /// # Cancel safety
    /// Dropping the future leaves nothing behind.
    ///
    /// # Errors
    /// [`ConnectError`].
    pub async fn connect<E: IntoEndpoint>(address: E, options: ConnectOptions) -> Result<Self, ConnectError> {
        let endpoint = address.into_endpoint().map_err(BindError::from)?;
        let settings = Options::new()
            .hwm(options.queue_size)
            .linger(options.linger)
            .send_timeout(options.send_timeout)
            .recv_timeout(options.receive_timeout)
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
        Ok(Stream {
            socket,
            mode: options.mode,
            endpoint,
            statistics: Statistics::new(),
        })
    }

    /// Waits for the next message and understands it by its `htype`; what is not known comes as
    /// [`Body::Unknown`](crate::Body::Unknown).
    ///
    /// # Cancel safety
    /// Dropping the future takes no message.
    ///
    /// # Errors
    /// [`ReceiveError`]; a malformed message is handed over in it, and the next call goes on with the next message.
    pub async fn receive(&mut self) -> Result<StreamMessage, ReceiveError> {
        let message = self.socket.recv().await?;
        self.understand(message)
    }

    /// As [`receive`](Self::receive), without waiting.
    ///
    /// # Errors
    /// [`ReceiveError`]; [`RecvError::WouldBlock`] when no message waits.
    pub fn try_receive(&mut self) -> Result<StreamMessage, ReceiveError> {
        let message = self.socket.try_recv()?;
        self.understand(message)
    }

    /// Waits for the next message and leaves it as it is. It counts, whatever its header.
    ///
    /// # Cancel safety
    /// Dropping the future takes no message.
    ///
    /// # Errors
    /// [`RecvError`].
    pub async fn receive_raw(&mut self) -> Result<Message, RecvError> {
        let message = self.socket.recv().await?;
        self.statistics.handle_message(Instant::now(), message.size());
        Ok(message)
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
        self.socket.send(message).await?;
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
        self.socket.try_send(message)?;
        self.statistics.handle_message(Instant::now(), size);
        Ok(())
    }

    /// What came through, or went out.
    #[must_use]
    pub fn statistics(&self) -> &Statistics {
        &self.statistics
    }

    /// The socket's own counters: drops, peers, reconnects.
    #[must_use]
    pub fn socket_stats(&self) -> Stats {
        self.socket.stats()
    }

    /// The events of the connections behind the stream.
    #[must_use]
    pub fn monitor(&self) -> Monitor {
        self.socket.monitor()
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
        self.socket.close().await
    }

    fn understand(&mut self, message: Message) -> Result<StreamMessage, ReceiveError> {
        match StreamMessage::decode(&message) {
            Ok(decoded) => {
                self.statistics.handle_message(Instant::now(), message.size());
                if let Some(frame) = decoded.header.frame() {
                    self.statistics.handle_frame(frame);
                }
                if decoded.is_unknown() {
                    self.statistics.handle_unknown();
                }
                Ok(decoded)
            }
            Err(error) => {
                self.statistics.handle_malformed();
                Err(ReceiveError::Malformed { error, message })
            }
        }
    }
}
