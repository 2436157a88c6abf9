//! One type for each pattern, with the methods that the pattern has.

use std::collections::VecDeque;
use std::num::NonZeroUsize;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use flexbond_transport::{Endpoint, Message};
use flexbond_wire::zmtp::SocketType;
use futures_core::Stream;
use futures_sink::Sink;

use super::socket::{Closed, IntoEndpoint, Socket};
use super::{
    BindError, ConnectError, Monitor, OptionError, Options, Peer, PeerStats, RecvError, ReleaseError, Route,
    SendError, Stats, SubscribeError,
};

macro_rules! socket_type {
    ($(#[$doc:meta])* $name:ident $(, $slot:ident)?) => {
        $(#[$doc])*
        ///
        /// A clone is another handle to the same socket; see [`Socket`] for its life.
        #[derive(Debug)]
        pub struct $name {
            socket: Socket,
            // A message that the `Sink` has accepted and not yet sent.
            $($slot: Option<Message>,)?
        }

        impl $name {
            /// A socket with default options.
            #[must_use]
            pub fn new() -> Self {
                $name { socket: Socket::new(SocketType::$name), $($slot: None)? }
            }

            /// A socket with the given options.
            ///
            /// # Errors
            /// The first option that is out of bounds.
            pub fn with_options(options: Options) -> Result<Self, OptionError> {
                Ok($name { socket: Socket::with_options(SocketType::$name, options)?, $($slot: None)? })
            }

            /// The same socket without its pattern's type.
            #[must_use]
            pub fn as_socket(&self) -> &Socket {
                &self.socket
            }

            /// See [`Socket::bind`].
            ///
            /// # Errors
            /// [`BindError`]; the socket is unchanged.
            ///
            /// # Cancel safety
            /// Dropping the future leaves nothing bound.
            pub async fn bind(&self, endpoint: impl IntoEndpoint) -> Result<Endpoint, BindError> {
                self.socket.bind(endpoint).await
            }

            /// See [`Socket::connect`].
            ///
            /// # Errors
            /// [`ConnectError`] for what can never work.
            pub fn connect(&self, endpoint: impl IntoEndpoint) -> Result<Endpoint, ConnectError> {
                self.socket.connect(endpoint)
            }

            /// See [`Socket::unbind`].
            ///
            /// # Errors
            /// [`ReleaseError`] when the socket is not bound there.
            pub async fn unbind(&self, endpoint: impl IntoEndpoint) -> Result<(), ReleaseError> {
                self.socket.unbind(endpoint).await
            }

            /// See [`Socket::disconnect`].
            ///
            /// # Errors
            /// [`ReleaseError`] when the socket is not connected there.
            pub fn disconnect(&self, endpoint: impl IntoEndpoint) -> Result<(), ReleaseError> {
                self.socket.disconnect(endpoint)
            }

            /// See [`Socket::bound`].
            #[must_use]
            pub fn bound(&self) -> Vec<Endpoint> {
                self.socket.bound()
            }

            /// See [`Socket::monitor`].
            #[must_use]
            pub fn monitor(&self) -> Monitor {
                self.socket.monitor()
            }

            /// See [`Socket::stats`].
            #[must_use]
            pub fn stats(&self) -> Stats {
                self.socket.stats()
            }

            /// See [`Socket::peers`].
            #[must_use]
            pub fn peers(&self) -> Vec<PeerStats> {
                self.socket.peers()
            }

            /// See [`Socket::close`].
            ///
            /// # Cancel safety
            /// Once polled, the socket closes in the background even if the future is dropped.
            pub async fn close(&self) -> Closed {
                self.socket.close().await
            }
        }

        /// What the `Sink` of the original holds stays with it.
        impl Clone for $name {
            fn clone(&self) -> Self {
                $name { socket: self.socket.clone(), $($slot: None)? }
            }
        }

        impl Default for $name {
            fn default() -> Self {
                $name::new()
            }
        }

        impl AsRef<Socket> for $name {
            fn as_ref(&self) -> &Socket {
                &self.socket
            }
        }

        impl From<$name> for Socket {
            fn from(typed: $name) -> Socket {
                typed.socket
            }
        }
    };
}

macro_rules! sends {
    ($name:ident) => {
        impl $name {
            /// Sends a message; see [`Socket::send`].
            ///
            /// # Errors
            /// [`SendError`], with the message in it.
            ///
            /// # Cancel safety
            /// When the future is dropped before it is ready, nothing of the message was or will be sent.
            pub async fn send(&self, message: impl Into<Message>) -> Result<(), SendError> {
                self.socket.send(message).await
            }

            /// Sends the messages in `messages`, in order, and takes each one out once it was queued; see
            /// [`Socket::send_many`].
            ///
            /// # Errors
            /// [`SendError`], with the message that could not be sent in it; those behind it are still in `messages`.
            ///
            /// # Cancel safety
            /// When the future is dropped before it is ready, what was not sent is still in `messages`.
            pub async fn send_many(&self, messages: &mut VecDeque<Message>) -> Result<(), SendError> {
                self.socket.send_many(messages).await
            }

            /// Sends a message if that is possible without waiting; see [`Socket::try_send`].
            ///
            /// # Errors
            /// [`SendError`], with the message in it.
            pub fn try_send(&self, message: impl Into<Message>) -> Result<(), SendError> {
                self.socket.try_send(message)
            }
        }

        /// Holds at most one message that the socket has no room for yet.
        impl Sink<Message> for $name {
            type Error = SendError;

            fn poll_ready(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), SendError>> {
                let this = &mut *self;
                this.socket.poll_send(cx, &mut this.slot)
            }

            fn start_send(mut self: Pin<&mut Self>, message: Message) -> Result<(), SendError> {
                self.slot = Some(message);
                Ok(())
            }

            fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), SendError>> {
                self.poll_ready(cx)
            }

            fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), SendError>> {
                self.poll_ready(cx)
            }
        }
    };
}

macro_rules! receives {
    ($name:ident) => {
        impl $name {
            /// Receives the next message; see [`Socket::recv`].
            ///
            /// # Errors
            /// [`RecvError`]; no message was taken.
            ///
            /// # Cancel safety
            /// When the future is dropped before it is ready, no message was taken.
            pub async fn recv(&self) -> Result<Message, RecvError> {
                self.socket.recv().await
            }

            /// Receives the next message and says whose it is; see [`Socket::recv_from`].
            ///
            /// # Errors
            /// [`RecvError`]; no message was taken.
            ///
            /// # Cancel safety
            /// When the future is dropped before it is ready, no message was taken.
            pub async fn recv_from(&self) -> Result<(Message, Peer), RecvError> {
                self.socket.recv_from().await
            }

            /// Waits for a message, then moves it and those that are there already, `limit` at most, to the end of
            /// `messages`; see [`Socket::recv_many`].
            ///
            /// # Errors
            /// [`RecvError`]; no message was taken.
            ///
            /// # Cancel safety
            /// When the future is dropped before it is ready, no message was taken.
            pub async fn recv_many(
                &self,
                messages: &mut Vec<Message>,
                limit: usize,
            ) -> Result<usize, RecvError> {
                self.socket.recv_many(messages, limit).await
            }

            /// Receives the next message if there is one already; see [`Socket::try_recv`].
            ///
            /// # Errors
            /// [`RecvError`]; no message was taken.
            pub fn try_recv(&self) -> Result<Message, RecvError> {
                self.socket.try_recv()
            }
        }

        /// Ends when the socket is closed.
        impl Stream for $name {
            type Item = Result<Message, RecvError>;

            fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
                match ready!(self.socket.poll_message(cx)) {
                    Ok(message) => Poll::Ready(Some(Ok(message))),
                    Err(RecvError::Closed) => Poll::Ready(None),
                    Err(error) => Poll::Ready(Some(Err(error))),
                }
            }
        }
    };
}

socket_type! {
    /// Sends each message to one PULL peer, in turn (RFC 30).
    Push, slot
}
sends!(Push);

socket_type! {
    /// Receives from all PUSH peers, in turn (RFC 30).
    Pull
}
receives!(Pull);

socket_type! {
    /// Talks both ways with exactly one other PAIR (RFC 31).
    Pair, slot
}
sends!(Pair);
receives!(Pair);

socket_type! {
    /// Sends a request, receives its reply, and so on (RFC 28). Requests go to the peers in turn.
    ///
    /// When the peer that has the request is lost, [`recv`](Self::recv) says so instead of waiting for ever:
    /// [`RecvError::PeerLost`].
    Req, slot
}
sends!(Req);
receives!(Req);

socket_type! {
    /// Receives a request, sends its reply, and so on (RFC 28).
    ///
    /// A reply to a peer that is gone meanwhile is dropped and counted.
    Rep, slot
}
sends!(Rep);
receives!(Rep);

socket_type! {
    /// Sends to its peers in turn and receives from all in turn, without waiting for replies (RFC 28).
    Dealer, slot
}
sends!(Dealer);
receives!(Dealer);

socket_type! {
    /// Receives with the peer's routing id in front, and sends to the peer that the first frame names (RFC 28).
    Router, slot
}
sends!(Router);
receives!(Router);

impl Router {
    /// Waits for a message, then moves those of one peer that are there already, `limit` at most and one at least, to
    /// the end of `messages`, and returns the way back to it. The messages come as they were sent, without a routing
    /// id in front. Peers take turns, a batch each; for a server that answers many calls this is the quickest way.
    ///
    /// Messages of [`Options::router_notify`] come by a way of their own, by which nothing can be sent.
    ///
    /// # Errors
    /// [`RecvError`]; no message was taken.
    ///
    /// # Cancel safety
    /// When the future is dropped before it is ready, no message was taken.
    pub async fn recv_batch(
        &self,
        messages: &mut Vec<Message>,
        limit: NonZeroUsize,
    ) -> Result<Route, RecvError> {
        self.socket.recv_batch(messages, limit.get()).await
    }

    /// Polls for a batch as [`recv_batch`](Self::recv_batch) takes it, and wakes the context's task when there may be one.
    ///
    /// # Errors
    /// [`RecvError`]; no message was taken.
    pub fn poll_recv_batch(
        &self,
        cx: &mut Context<'_>,
        messages: &mut Vec<Message>,
        limit: NonZeroUsize,
    ) -> Poll<Result<Route, RecvError>> {
        self.socket.poll_recv_batch(cx, messages, limit.get())
    }

    /// The way to a peer that may not have sent anything yet; none unless it is connected now.
    #[must_use]
    pub fn route(&self, peer: &Peer) -> Option<Route> {
        let core = self.socket.core();
        let lane = core.lane(peer.id()).filter(|lane| lane.is_ready())?;
        Some(Route::new(Arc::clone(core), lane, None))
    }
}

socket_type! {
    /// Sends every message to all peers that subscribed to a prefix of its first frame (RFC 29).
    ///
    /// What happens to a peer that is too slow is [`Options::slow_peer`].
    Pub, slot
}
sends!(Pub);

socket_type! {
    /// Receives what it subscribed to, from all peers in turn (RFC 29).
    Sub
}
receives!(Sub);

socket_type! {
    /// A PUB that receives its peers' subscriptions as messages: a byte 1 or 0, then the topic (RFC 29).
    XPub, slot
}
sends!(XPub);
receives!(XPub);

socket_type! {
    /// A SUB that subscribes by sending messages: a byte 1 or 0, then the topic (RFC 29).
    XSub, slot
}
sends!(XSub);
receives!(XSub);

macro_rules! subscribes {
    ($name:ident, $what:literal) => {
        impl $name {
            #[doc = $what]
            ///
            /// # Errors
            /// [`SubscribeError`]; nothing changed.
            pub fn subscribe(&self, topic: impl AsRef<[u8]>) -> Result<(), SubscribeError> {
                self.socket.subscribe(topic)
            }

            /// Undoes one [`subscribe`](Self::subscribe) to the same topic.
            ///
            /// # Errors
            /// [`SubscribeError`]; nothing changed.
            pub fn unsubscribe(&self, topic: impl AsRef<[u8]>) -> Result<(), SubscribeError> {
                self.socket.unsubscribe(topic)
            }
        }
    };
}

subscribes!(
    Sub,
    "Subscribes to everything that begins with `topic`; the empty topic is everything."
);
subscribes!(
    XPub,
    "With [`Options::xpub_manual`]: subscribes the peer whose subscription message was received last to `topic`."
);
