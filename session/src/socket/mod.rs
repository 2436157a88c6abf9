//! ØMQ sockets: patterns over many peers.
//!
//! | pattern | sends | receives | when nobody has room |
//! | --- | --- | --- | --- |
//! | [`Req`], [`Rep`] | a request; its reply | a reply; a request | REQ waits; REP drops and counts |
//! | [`Dealer`] | to its peers in turn | from all in turn | waits |
//! | [`Router`] | to the peer named by the first frame | from all, with the peer's name in front | drops and counts, or waits with [`Options::router_mandatory`] |
//! | [`Push`] / [`Pull`] | to its peers in turn | from all in turn | waits |
//! | [`Pub`], [`XPub`] / [`Sub`], [`XSub`] | to all who subscribed | what was subscribed to | [`Options::slow_peer`] |
//! | [`Pair`] | to its one peer | from its one peer | waits |
//!
//! Every socket may bind and connect to any number of endpoints of any transport, also while it is in use. What
//! happens to its connections is reported by [`Socket::monitor`]; what passed, by [`Socket::stats`] and
//! [`Socket::peers`].
//!
//! # Who may talk
//!
//! Without options, everybody who reaches a bound endpoint. [`Options::curve_server`](Options) and `curve_client`
//! (feature `curve`) encrypt and let each side know the other's key, over tcp and ipc; [`Options::plain_server`] asks for
//! a password, on this machine or over tls; an [`Authenticator`] judges peers by what they show (over tls, also by their
//! certificates) and by their address. What it says of a peer is shown by [`Peer::user_id`] and [`Peer::auth_metadata`],
//! which come with each message of [`recv_from`](Socket::recv_from), and so does [`Peer::identity`], whom the peer's
//! certificate is for. Peers over inproc are in this process and are not judged. A failure is an
//! [`Event::HandshakeFailed`] with a [`HandshakeFailure`] at either side.
//!
//! # Limits
//!
//! Nothing that a peer does makes a socket use memory without bound. Each limit is one of the [`Options`]; a peer that
//! meets one is told of by [`Event::LimitReached`], and counted in [`Stats::limits`]:
//!
//! | [`Limit`] | option, and its default | who meets it |
//! | --- | --- | --- |
//! | `Peers` | `max_peers`: 65,536 accepted connections | is refused |
//! | `EndpointPeers` | `max_peers_per_endpoint`: 65,536 | is refused |
//! | `AddressPeers` | `max_peers_per_address`: 16,384 | is refused |
//! | `Handshakes` | `max_handshakes`: 1,024 on one endpoint | the one that said least makes room |
//! | `HandshakeTime` | `handshake_timeout`: 30 s | is disconnected |
//! | `MessageSize` | `max_message_size`: 1 GiB | is disconnected |
//! | `MessageParts` | `max_message_parts`: 65,536 | is disconnected |
//! | `CommandSize` | none: 64 KiB | is disconnected |
//! | `Subscriptions` | `max_subscriptions`: 100,000 | is disconnected |
//! | `SubscriptionBytes` | `max_subscription_bytes`: 16 MiB | is disconnected |
//! | `SubscriptionMemory` | `subscription_memory`: 1 GiB, of all peers | the one whose topics take most is disconnected |
//! | `PeerSendBytes` | `send_hwm_bytes`: 1 GiB | its queue is full, as at `send_hwm` |
//! | `PeerRecvBytes` | `recv_hwm_bytes`: 1 GiB | is not read, as at `recv_hwm` |
//! | `SendMemory` | `send_memory`: 4 GiB | its queue is full, if it has more than its part |
//! | `RecvMemory` | `recv_memory`: 4 GiB, or four of the largest messages | is not read, if it has more than its part or there is no room; disconnected, if there is none because of messages in part, of which it has most |
//!
//! No message is lost to a limit of which all had arrived: where a connection is ended, those before are delivered.
//! Peers over inproc are in this process; of these limits, those of peers, time and topics concern them.
//!
//! # Differences from libzmq, all in the user's favour
//!
//! - Linger is 30 s by default, not for ever; high-water mark 0 means ten million messages, not no limit; messages
//!   are limited to 1 GiB and 65,536 parts. All three are options.
//! - Reconnecting backs off (100 ms doubling to 5 s, with jitter) and goes on after protocol errors.
//! - Messages that a broken connection had not fully taken are sent again over the next one.
//! - A REQ whose peer is lost with the request gets an error that names the peer, and may send again.
//! - A ROUTER refuses a second peer with a routing id in use, and that peer's monitor shows it.
//! - Inproc endpoints reconnect too.

mod account;
mod acquaintance;
mod backoff;
mod book;
mod channel;
mod core;
mod crowd;
mod dialer;
mod ending;
mod error;
mod failure;
mod fair_queue;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzz;
mod handshakes;
mod introduction;
mod lane;
mod lead;
mod limit;
mod link;
mod link_end;
mod listener;
mod load_balancer;
mod memory;
mod monitor;
mod news;
mod options;
mod out;
mod outbound;
mod outbox;
mod pace;
mod pattern;
mod peer;
mod proxy;
mod receive;
mod route;
mod security;
mod send;
#[expect(clippy::module_inception, reason = "the type that the module is about")]
mod socket;
mod stats;
mod subscription;
mod sync;
mod trie;
mod turn;
mod typed;
mod unread;
pub(crate) mod wakers;

pub use error::{BindError, ConnectError, RecvError, ReleaseError, SendError, SendErrorKind, SubscribeError};
pub use failure::HandshakeFailure;
#[cfg(feature = "curve")]
pub use flexbond_wire::zmtp::curve::{
    Certificate, CertificateError, KeyError, KeyPair, PublicKey, SecretKey,
};
pub use flexbond_wire::zmtp::{Credentials, Secret, SocketType, Version};
pub use limit::{Limit, LimitAction, LimitCounts, LimitMeter};
pub use monitor::{Event, Monitor};
pub use options::{OptionError, Options, ReconnectStop, RouterNotify, SlowPeer, Spin, XpubVerbosity};
pub use peer::Peer;
pub use proxy::{Passed, Proxy, ProxyError, Traffic};
pub use route::Route;
pub use security::{AuthRequest, Authenticator, Decision, DenyStatus, PlainServer, PlainUser};
#[cfg(feature = "tls")]
pub use security::{CertificateAllow, CertificateName, CertificateNameError};
#[cfg(feature = "curve")]
pub use security::{CurveAllow, CurveClient, generate_keys};
pub use socket::{Closed, IntoEndpoint, Socket};
pub use stats::{PeerStats, Stats};
pub use typed::{Dealer, Pair, Pub, Pull, Push, Rep, Req, Router, Sub, XPub, XSub};
