//! One blocking type for each pattern, with the methods that the pattern has.

use std::collections::VecDeque;
use std::time::Duration;

use super::{CallError, Monitor, SendError, Socket};
use crate::session::socket::{
    BindError, Closed, ConnectError, IntoEndpoint, OptionError, Options, Peer, PeerStats, RecvError,
    ReleaseError, SocketType, Stats, SubscribeError,
};
use crate::transport::{Endpoint, Message};

macro_rules! socket_type {
    ($name:ident, $does:literal) => {
        #[doc = $does]
        ///
        /// A clone is another handle to the same socket, for another thread.
        #[derive(Clone, Debug)]
        pub struct $name {
            socket: Socket,
        }

        impl $name {
            /// A socket with default options.
            #[must_use]
            pub fn new() -> Self {
                $name {
                    socket: Socket::new(SocketType::$name),
                }
            }

            /// A socket with the given options.
            ///
            /// # Errors
            /// The first option that is out of bounds.
            pub fn with_options(options: Options) -> Result<Self, OptionError> {
                Ok($name {
                    socket: Socket::with_options(SocketType::$name, options)?,
                })
            }

            /// The same socket without its pattern's type.
            #[must_use]
            pub fn as_socket(&self) -> &Socket {
                &self.socket
            }

            /// See [`Socket::bind`].
            ///
            /// # Errors
            /// [`BindError`] within [`CallError`]; the socket is unchanged.
            pub fn bind(&self, endpoint: impl IntoEndpoint) -> Result<Endpoint, CallError<BindError>> {
                self.socket.bind(endpoint)
            }

            /// See [`Socket::connect`].
            ///
            /// # Errors
            /// [`ConnectError`] within [`CallError`]; the socket is unchanged.
            pub fn connect(&self, endpoint: impl IntoEndpoint) -> Result<Endpoint, CallError<ConnectError>> {
                self.socket.connect(endpoint)
            }

            /// See [`Socket::unbind`].
            ///
            /// # Errors
            /// [`ReleaseError`] within [`CallError`]; the socket is unchanged.
            pub fn unbind(&self, endpoint: impl IntoEndpoint) -> Result<(), CallError<ReleaseError>> {
                self.socket.unbind(endpoint)
            }

            /// See [`Socket::disconnect`].
            ///
            /// # Errors
            /// [`ReleaseError`] within [`CallError`]; the socket is unchanged.
            pub fn disconnect(&self, endpoint: impl IntoEndpoint) -> Result<(), CallError<ReleaseError>> {
                self.socket.disconnect(endpoint)
            }

            /// The endpoints that the socket listens at.
            #[must_use]
            pub fn bound(&self) -> Vec<Endpoint> {
                self.socket.bound()
            }

            /// What happens to the socket's connections, from now on.
            #[must_use]
            pub fn monitor(&self) -> Monitor {
                self.socket.monitor()
            }

            /// What has passed through the socket.
            #[must_use]
            pub fn stats(&self) -> Stats {
                self.socket.stats()
            }

            /// What has passed between the socket and each of its peers.
            #[must_use]
            pub fn peers(&self) -> Vec<PeerStats> {
                self.socket.peers()
            }

            /// See [`Socket::close`].
            ///
            /// # Errors
            /// [`CallError`]; the socket is open as before.
            pub fn close(&self) -> Result<Closed, CallError<std::convert::Infallible>> {
                self.socket.close()
            }
        }

        impl Default for $name {
            fn default() -> Self {
                $name::new()
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
    ($($name:ident),*) => {$(
        impl $name {
            /// See [`Socket::send`].
            ///
            /// # Errors
            /// [`SendError`], with the message in it.
            pub fn send(&self, message: impl Into<Message>) -> Result<(), SendError> {
                self.socket.send(message)
            }

            /// See [`Socket::send_many`].
            ///
            /// # Errors
            /// [`SendError`], with the message that could not be sent in it.
            pub fn send_many(&self, messages: &mut VecDeque<Message>) -> Result<(), SendError> {
                self.socket.send_many(messages)
            }

            /// See [`Socket::try_send`].
            ///
            /// # Errors
            /// [`SendError`], with the message in it.
            pub fn try_send(&self, message: impl Into<Message>) -> Result<(), SendError> {
                self.socket.try_send(message)
            }
        }
    )*};
}

macro_rules! receives {
    ($($name:ident),*) => {$(
        impl $name {
            /// See [`Socket::recv`].
            ///
            /// # Errors
            /// [`RecvError`] within [`CallError`]; no message was taken.
            pub fn recv(&self) -> Result<Message, CallError<RecvError>> {
                self.socket.recv()
            }

            /// See [`Socket::recv_from`].
            ///
            /// # Errors
            /// [`RecvError`] within [`CallError`]; no message was taken.
            pub fn recv_from(&self) -> Result<(Message, Peer), CallError<RecvError>> {
                self.socket.recv_from()
            }

            /// See [`Socket::recv_many`].
            ///
            /// # Errors
            /// [`RecvError`] within [`CallError`]; no message was taken.
            pub fn recv_many(
                &self,
                messages: &mut Vec<Message>,
                limit: usize,
            ) -> Result<usize, CallError<RecvError>> {
                self.socket.recv_many(messages, limit)
            }

            /// See [`Socket::recv_timeout`].
            ///
            /// # Errors
            /// [`RecvError`] within [`CallError`]; no message was taken.
            pub fn recv_timeout(&self, timeout: Duration) -> Result<Message, CallError<RecvError>> {
                self.socket.recv_timeout(timeout)
            }

            /// See [`Socket::try_recv`].
            ///
            /// # Errors
            /// [`RecvError`] within [`CallError`]; no message was taken.
            pub fn try_recv(&self) -> Result<Message, CallError<RecvError>> {
                self.socket.try_recv()
            }
        }
    )*};
}

macro_rules! subscribes {
    ($($name:ident),*) => {$(
        impl $name {
            /// Subscribes to everything that begins with `topic` (XPUB in manual mode: the peer that asked last).
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
    )*};
}

socket_type!(Req, "Sends a request, waits for its reply, and so on.");
socket_type!(Rep, "Receives a request, sends its reply, and so on.");
socket_type!(
    Dealer,
    "Sends to its peers in turn and receives from all in turn."
);
socket_type!(
    Router,
    "Receives with the peer's routing id in front; sends to the peer that the first frame names."
);
socket_type!(
    Pub,
    "Sends every message to all peers that subscribed to a prefix of its first frame."
);
socket_type!(Sub, "Receives what it subscribed to.");
socket_type!(XPub, "A PUB that receives its peers' subscriptions as messages.");
socket_type!(XSub, "A SUB that subscribes by sending messages.");
socket_type!(Push, "Sends each message to one PULL peer, in turn.");
socket_type!(Pull, "Receives from all PUSH peers, in turn.");
socket_type!(Pair, "Talks both ways with exactly one other PAIR.");

sends!(Req, Rep, Dealer, Router, Pub, XPub, XSub, Push, Pair);
receives!(Req, Rep, Dealer, Router, Sub, XPub, XSub, Pull, Pair);
subscribes!(Sub, XPub);
