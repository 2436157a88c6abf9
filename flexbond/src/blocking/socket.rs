//! One blocking socket of any pattern, and its events.

use std::collections::VecDeque;
use std::time::Duration;

use super::runtime::{enter, wait};
use super::{CallError, SendError};
use crate::session::socket::{
    self as asynchronous, BindError, Closed, ConnectError, Event, IntoEndpoint, OptionError, Options, Peer,
    PeerStats, RecvError, ReleaseError, SocketType, Stats, SubscribeError,
};
use crate::transport::{Endpoint, Message};

/// One socket of any pattern whose calls wait; see [`session::socket::Socket`](asynchronous::Socket) for its rules.
///
/// A clone is another handle to the same socket, for another thread.
#[derive(Clone, Debug)]
pub struct Socket {
    inner: asynchronous::Socket,
}

impl Socket {
    /// A socket with default options.
    #[must_use]
    pub fn new(socket_type: SocketType) -> Self {
        Socket {
            inner: asynchronous::Socket::new(socket_type),
        }
    }

    /// A socket with the given options.
    ///
    /// # Errors
    /// The first option that is out of bounds.
    pub fn with_options(socket_type: SocketType, options: Options) -> Result<Self, OptionError> {
        Ok(Socket {
            inner: asynchronous::Socket::with_options(socket_type, options)?,
        })
    }

    /// The pattern.
    #[must_use]
    pub fn socket_type(&self) -> SocketType {
        self.inner.socket_type()
    }

    /// The same socket for asynchronous code. Its connections stay on the background thread.
    #[must_use]
    pub fn as_async(&self) -> &asynchronous::Socket {
        &self.inner
    }

    /// Listens at an endpoint, and returns it as bound: a port 0 has become the real one.
    ///
    /// # Errors
    /// [`BindError`] within [`CallError`]; the socket is unchanged.
    pub fn bind(&self, endpoint: impl IntoEndpoint) -> Result<Endpoint, CallError<BindError>> {
        Ok(wait(self.inner.bind(endpoint))??)
    }

    /// Connects to an endpoint in the background, now and whenever the connection is lost. Never waits.
    ///
    /// # Errors
    /// [`ConnectError`] within [`CallError`]; the socket is unchanged.
    pub fn connect(&self, endpoint: impl IntoEndpoint) -> Result<Endpoint, CallError<ConnectError>> {
        let _background = enter()?;
        Ok(self.inner.connect(endpoint)?)
    }

    /// Stops listening at an endpoint; its connections end.
    ///
    /// # Errors
    /// [`ReleaseError`] within [`CallError`]; the socket is unchanged.
    pub fn unbind(&self, endpoint: impl IntoEndpoint) -> Result<(), CallError<ReleaseError>> {
        Ok(wait(self.inner.unbind(endpoint))??)
    }

    /// Ends the connection to an endpoint. Never waits.
    ///
    /// # Errors
    /// [`ReleaseError`] within [`CallError`]; the socket is unchanged.
    pub fn disconnect(&self, endpoint: impl IntoEndpoint) -> Result<(), CallError<ReleaseError>> {
        let _background = enter()?;
        Ok(self.inner.disconnect(endpoint)?)
    }

    /// The endpoints that the socket listens at.
    #[must_use]
    pub fn bound(&self) -> Vec<Endpoint> {
        self.inner.bound()
    }

    /// Sends a message; waits while no peer can take it, at most [`Options::send_timeout`].
    ///
    /// # Errors
    /// [`SendError`], with the message in it.
    pub fn send(&self, message: impl Into<Message>) -> Result<(), SendError> {
        // Usually there is room, and nothing to wait for.
        match self.inner.try_send(message) {
            Err(error) if *error.kind() == asynchronous::SendErrorKind::WouldBlock => {
                let message = error.into_message();
                // A copy of the message shares its payload; it is needed when there is no thread to wait on.
                match wait(self.inner.send(message.clone())) {
                    Ok(sent) => Ok(sent?),
                    Err(error) => Err(SendError::new(error, message)),
                }
            }
            sent => Ok(sent?),
        }
    }

    /// Sends the messages in `messages`, in order, and takes each one out once it was queued; waits as
    /// [`send`](Self::send) does.
    ///
    /// # Errors
    /// [`SendError`] with the message that could not be sent; those behind it are still in `messages`.
    pub fn send_many(&self, messages: &mut VecDeque<Message>) -> Result<(), SendError> {
        match wait(self.inner.send_many(messages)) {
            Ok(sent) => Ok(sent?),
            Err(error) => Err(SendError::new(error, messages.pop_front().unwrap_or_default())),
        }
    }

    /// Sends a message if that is possible at once. Never waits.
    ///
    /// # Errors
    /// [`SendError`], with the message in it.
    pub fn try_send(&self, message: impl Into<Message>) -> Result<(), SendError> {
        Ok(self.inner.try_send(message)?)
    }

    /// Receives the next message; waits for it, at most [`Options::recv_timeout`].
    ///
    /// # Errors
    /// [`RecvError`] within [`CallError`]; no message was taken.
    pub fn recv(&self) -> Result<Message, CallError<RecvError>> {
        match self.inner.try_recv() {
            Err(RecvError::WouldBlock) => Ok(wait(self.inner.recv())??),
            received => Ok(received?),
        }
    }

    /// As [`recv`](Self::recv), and says whose message it is.
    ///
    /// # Errors
    /// [`RecvError`] within [`CallError`]; no message was taken.
    pub fn recv_from(&self) -> Result<(Message, Peer), CallError<RecvError>> {
        Ok(wait(self.inner.recv_from())??)
    }

    /// Waits for a message as [`recv`](Self::recv) does, then moves it and those that are there already, `limit` at
    /// most, to the end of `messages`; returns how many.
    ///
    /// # Errors
    /// [`RecvError`] within [`CallError`]; no message was taken.
    pub fn recv_many(
        &self,
        messages: &mut Vec<Message>,
        limit: usize,
    ) -> Result<usize, CallError<RecvError>> {
        Ok(wait(self.inner.recv_many(messages, limit))??)
    }

    /// As [`recv`](Self::recv), and waits no longer than `timeout`.
    ///
    /// # Errors
    /// [`RecvError`] within [`CallError`], [`RecvError::Timeout`] among them; no message was taken.
    pub fn recv_timeout(&self, timeout: Duration) -> Result<Message, CallError<RecvError>> {
        match self.inner.try_recv() {
            Err(RecvError::WouldBlock) => {
                let received = wait(async { tokio::time::timeout(timeout, self.inner.recv()).await })?;
                Ok(received.unwrap_or(Err(RecvError::Timeout(timeout)))?)
            }
            received => Ok(received?),
        }
    }

    /// Receives the next message if there is one already. Never waits.
    ///
    /// # Errors
    /// [`RecvError`] within [`CallError`]; no message was taken.
    pub fn try_recv(&self) -> Result<Message, CallError<RecvError>> {
        Ok(self.inner.try_recv()?)
    }

    /// SUB: receives everything that begins with `topic`. Never waits.
    ///
    /// # Errors
    /// [`SubscribeError`]; nothing changed.
    pub fn subscribe(&self, topic: impl AsRef<[u8]>) -> Result<(), SubscribeError> {
        self.inner.subscribe(topic)
    }

    /// Undoes one [`subscribe`](Self::subscribe) to the same topic. Never waits.
    ///
    /// # Errors
    /// [`SubscribeError`]; nothing changed.
    pub fn unsubscribe(&self, topic: impl AsRef<[u8]>) -> Result<(), SubscribeError> {
        self.inner.unsubscribe(topic)
    }

    /// What happens to the socket's connections, from now on.
    #[must_use]
    pub fn monitor(&self) -> Monitor {
        Monitor {
            inner: self.inner.monitor(),
        }
    }

    /// What has passed through the socket.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.inner.stats()
    }

    /// What has passed between the socket and each of its peers.
    #[must_use]
    pub fn peers(&self) -> Vec<PeerStats> {
        self.inner.peers()
    }

    /// Closes the socket for all its handles; waits, at most [`Options::linger`], until what is queued is on its way.
    ///
    /// # Errors
    /// [`CallError`]; the socket is open as before.
    pub fn close(&self) -> Result<Closed, CallError<std::convert::Infallible>> {
        wait(self.inner.close())
    }
}

/// The events of a socket's connections, one after the other.
#[derive(Debug)]
pub struct Monitor {
    inner: asynchronous::Monitor,
}

impl Monitor {
    /// Waits for the next event; `None` once the socket is closed.
    ///
    /// # Errors
    /// [`CallError`]; no event was taken.
    pub fn recv(&mut self) -> Result<Option<Event>, CallError<std::convert::Infallible>> {
        wait(self.inner.recv())
    }

    /// Waits for the next event, no longer than `timeout`; `None` when none came.
    ///
    /// # Errors
    /// [`CallError`]; no event was taken.
    pub fn recv_timeout(
        &mut self,
        timeout: Duration,
    ) -> Result<Option<Event>, CallError<std::convert::Infallible>> {
        let event = wait(async { tokio::time::timeout(timeout, self.inner.recv()).await })?;
        Ok(event.unwrap_or(None))
    }

    /// The next event if there is one already. Never waits.
    pub fn try_recv(&mut self) -> Option<Event> {
        self.inner.try_recv()
    }
}
