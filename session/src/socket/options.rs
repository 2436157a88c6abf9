//! What a socket can be told when it is made.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use flexbond_transport::{Keepalive, LinkOptions, Registry};
use flexbond_wire::zmtp::SocketType;
use thiserror::Error;

#[cfg(feature = "curve")]
use super::security::CurveClient;
use super::security::{Authenticator, PlainServer, PlainUser};
#[cfg(feature = "curve")]
use flexbond_wire::zmtp::curve::KeyPair;

mod policy;

pub use policy::{ReconnectStop, RouterNotify, SlowPeer, Spin, XpubVerbosity};

/// The settings of one socket: libzmq's options under their names, in Rust's types.
///
/// Every option has a default and a bound; [`Options::validate`] (called by every `with_options`) says which one is
/// out of bounds. Topics are subscribed and cancelled at run time, on the socket.
///
/// ```
/// use std::time::Duration;
/// use flexbond_session::socket::{Options, Push};
///
/// let options = Options::new().send_hwm(10).linger(Some(Duration::from_secs(1)));
/// let push = Push::with_options(options)?;
/// # Ok::<(), flexbond_session::socket::OptionError>(())
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Options {
    /// Messages that may wait for each peer before the slow-peer policy applies. Default 1000; 0 means
    /// [`Options::UNLIMITED_HWM`].
    pub send_hwm: usize,
    /// Messages from each peer that may wait to be received before its connection is no longer read.
    /// Default 1000; 0 means [`Options::UNLIMITED_HWM`].
    pub recv_hwm: usize,
    /// How long closing waits for what is still queued; `None` waits for ever. Default 30 s (libzmq: for ever).
    pub linger: Option<Duration>,
    /// How long `send` waits for room or a peer; `None` waits for ever (the default). Zero never waits.
    pub send_timeout: Option<Duration>,
    /// How long `recv` waits for a message; `None` waits for ever (the default). Zero never waits.
    pub recv_timeout: Option<Duration>,
    /// How this socket is known to a ROUTER: 1 to 255 bytes, not starting with a zero byte. Default: the ROUTER
    /// chooses.
    pub routing_id: Bytes,
    /// A name for the next peer reached by `connect`, as a ROUTER's or REP's own table of peers will know it.
    /// Default: the peer's own routing id, or an automatic one.
    pub connect_routing_id: Bytes,
    /// Application metadata for the peer: names that begin with `X-`, up to 255 bytes each.
    pub metadata: Vec<(String, Bytes)>,
    /// First pause before a lost or failed connection is tried again; jittered. `None` never reconnects.
    /// Default 100 ms.
    pub reconnect_interval: Option<Duration>,
    /// The pause doubles up to this; `None` keeps it at the first. Default 5 s (libzmq: does not grow).
    pub reconnect_max: Option<Duration>,
    /// Gives up when a connection is refused, or when the handshake fails. Default: neither.
    pub reconnect_stop: ReconnectStop,
    /// How long one attempt to connect may take. Default 30 s; `None` leaves it to the system.
    pub connect_timeout: Option<Duration>,
    /// How long a peer may take to complete the handshake. Default 30 s; `None` waits for ever. A CURVE server gives the
    /// client 60 s at most between two commands, whatever this is.
    pub handshake_timeout: Option<Duration>,
    /// Sends a PING this often. Default: no heartbeats.
    pub heartbeat_interval: Option<Duration>,
    /// How long after a PING the peer may stay silent. Default: the interval.
    ///
    /// Anything that comes from the peer counts, and so does that it reads: as long as bytes for it wait because the
    /// system does not take them, its silence means nothing, for PINGs wait behind them. See
    /// [`stall_timeout`](Self#structfield.stall_timeout). A peer that stops reading when nothing waits for it is given up
    /// after this time, as it is by libzmq: its program may live, but PINGs that it does not read are not answered.
    pub heartbeat_timeout: Option<Duration>,
    /// How long the peer may hear nothing from us before it gives up; sent with each PING. Default: nothing sent.
    pub heartbeat_ttl: Option<Duration>,
    /// With heartbeats: how long a peer may take none of the bytes that wait for it, before its silence counts as any
    /// other; then the connection ends. Default 60 s. `None` leaves it to the system (as libzmq does), which on Linux
    /// gives up after about a quarter of an hour if the peer's machine is gone, and never if only its program does not
    /// read; neither keepalive nor the TCP user timeout tell the two apart any sooner.
    ///
    /// Longer for workers that read nothing while they work; shorter where a machine that is gone must be noticed soon
    /// though much is sent to it.
    pub stall_timeout: Option<Duration>,
    /// Queues messages for completed connections only. Default off: a `connect` takes messages at once.
    pub immediate: bool,
    /// Keeps only the last message, in both directions (PUSH, PULL, PUB, SUB, DEALER; one-part messages only).
    /// Default off.
    pub conflate: bool,
    /// Largest message that is accepted from a peer, in bytes over all its parts; a larger one ends the
    /// connection. Default 1 GiB (libzmq: unlimited).
    pub max_message_size: usize,
    /// Most parts that a message from a peer may have. Default 65,536.
    pub max_message_parts: usize,
    /// Bytes of messages that may wait for each peer, as [`send_hwm`](Self::send_hwm) counts messages; one message may
    /// always wait. Default 1 GiB (libzmq: no limit). Under CURVE, what is being written (128 KiB, or one message) counts
    /// twice: as it was sent, and sealed. Peers over inproc are in this process: for them, messages alone count.
    pub send_hwm_bytes: usize,
    /// Bytes of messages from each peer that may wait to be received before its connection is no longer read; one message
    /// may always wait. Default 1 GiB (libzmq: no limit). Parts count what it takes to keep them, too, where there are
    /// several; peers over inproc as for [`send_hwm_bytes`](Self::send_hwm_bytes).
    pub recv_hwm_bytes: usize,
    /// Bytes of messages that may wait for all peers together. Default 4 GiB. Half of it is for whoever comes first; from
    /// there on a peer may have its even part of the other half. Where it has more, its queue counts as full: as at
    /// [`send_hwm`](Self::send_hwm), a sender waits, or the message is dropped (PUB, ROUTER, REP). It is a goal and no exact
    /// bound: each queue is judged when something is to wait in it, an empty one always takes a message, and up to 64 KiB for
    /// each peer are not counted exactly, so many peers that come one after another can take several times as much. A large
    /// body (4 KiB and more) that a publisher sends to several counts once. Under CURVE, what is being written counts twice.
    pub send_memory: usize,
    /// Bytes from all peers together that may wait to be received, messages included that are not there as a whole.
    /// Default (`None`): 4 GiB, or four times [`max_message_size`](Self::max_message_size) where that is more. It is a bound:
    /// what there is no room for is not read, and who waits for room is woken in turn. Beside it there are up to 4 KiB of
    /// each connection (twice that for a moment, where several threads read) and 64 KiB together; and what is not counted:
    /// the rest of a read buffer (4 to 128 KiB, which is kept as long as a message of 31 B to 32 KiB that came in it), the
    /// places of messages in a queue, what was allocated for a large message and has not come, and on a conflating socket the
    /// message that waits.
    ///
    /// Half of it is for whoever comes first; from there on a peer may have its even part of the other half, and the last
    /// eighth is for those that have no more than 64 KiB. A peer that has more waiting is not read until some of it is
    /// received, and where there is no room, nobody is. If then more than half of all is with what the application cannot
    /// receive, for it is not there as a whole, the peer loses its connection that has most of that: never one that has no
    /// more than its even part of half.
    pub recv_memory: Option<usize>,
    /// Most connections that a socket accepts on its bound endpoints together. Default 65,536.
    pub max_peers: usize,
    /// Most connections that a socket accepts on one bound endpoint. Default 65,536.
    pub max_peers_per_endpoint: usize,
    /// Most connections that a socket accepts from one remote address, those in their handshake included; a network of
    /// IPv6 with a prefix of 64 bits counts as one. Default 16,384. No limit where the other end has no address (ipc,
    /// inproc).
    pub max_peers_per_address: usize,
    /// Most connections that may be in their handshake at once on one bound endpoint. Default 1,024. One more takes the
    /// place of the oldest whose peer has not yet sent a command that is valid (under CURVE, only who knows the server's
    /// key can), then of the oldest whose peer has; not of one that an [`Authenticator`] judges. The monitor tells
    /// ([`HandshakeFailure::Displaced`](super::HandshakeFailure::Displaced)), and
    /// [`Stats::displaced`](super::Stats::displaced) counts. A higher limit gives peers more time under a flood. Where the
    /// process has no file descriptor left for one more, it is the same.
    pub max_handshakes: usize,
    /// Most topics that one peer may subscribe to (PUB, XPUB). Default 100,000. One more ends its connection. Not with
    /// [`xpub_manual`](Self::xpub_manual), where the application says what a peer is subscribed to.
    pub max_subscriptions: usize,
    /// Most bytes that the topics of one peer may have together. Default 16 MiB. What is more ends its connection, as for
    /// [`max_subscriptions`](Self::max_subscriptions).
    pub max_subscription_bytes: usize,
    /// Bytes that the topics of all peers may take together (PUB, XPUB), each twice its own and 400 to keep it. Default
    /// 1 GiB. Where a subscription would be more, the peer loses its connection whose topics take most, which may be the
    /// one that asks: nobody who wants much keeps anybody from a little. Not with [`xpub_manual`](Self::xpub_manual).
    pub subscription_memory: usize,
    /// Connections that may wait to be accepted by the system. Default 100.
    pub backlog: u32,
    /// Kernel send buffer in bytes. Default: the system's for tcp, 1 MiB for ipc.
    pub send_buffer: Option<usize>,
    /// How many bytes of a tcp connection the kernel takes before it may send them. Default: 1 MiB, and 256 KiB for
    /// PUB and XPUB, whose peers share what they are sent in the processor's cache. Bytes on their way to the peer do
    /// not count.
    pub unsent_buffer: Option<usize>,
    /// Kernel receive buffer in bytes. Default: the system's.
    pub recv_buffer: Option<usize>,
    /// How long `recv`, `recv_from` and `recv_many` look again and again for a message before they sleep. Default
    /// [`Spin::Off`]: they look once.
    pub spin: Spin,
    /// TCP keepalive. Default: the system's.
    pub tcp_keepalive: Option<Keepalive>,
    /// Lets `*` and host names mean IPv6 too. Default off.
    pub ipv6: bool,
    /// ROUTER: sending to an unknown peer is an error instead of a silent drop that only the counters show, and
    /// a full peer makes `send` wait. Default off.
    pub router_mandatory: bool,
    /// ROUTER: a new connection takes over a routing id in use. Default off: the newcomer is refused.
    pub router_handover: bool,
    /// ROUTER: an empty message is delivered when a peer connects or disconnects. Default: neither.
    pub router_notify: RouterNotify,
    /// REQ, DEALER, ROUTER: sends an empty message on every new connection. Default off.
    pub probe_router: bool,
    /// REQ: `send` may follow `send`; the answer to the older request is discarded. Default off.
    pub req_relaxed: bool,
    /// REQ: requests carry a number, and answers that do not repeat it are discarded. Default off.
    pub req_correlate: bool,
    /// XPUB: which subscription messages are delivered. Default: the first for a topic and the last cancellation.
    pub xpub_verbosity: XpubVerbosity,
    /// XPUB: peers receive what the application subscribes them to, not what they asked for. Default off.
    pub xpub_manual: bool,
    /// XPUB, PUB: a message sent to every new subscriber on its own, before all others. Default: none.
    pub xpub_welcome: Option<Bytes>,
    /// PUB, XPUB: what happens to a message for a peer whose queue is full. Default
    /// [`SlowPeer::DropNewest`].
    pub slow_peer: SlowPeer,
    /// SUB, XSUB, PUB: deliver what does *not* match. Default off.
    pub invert_matching: bool,
    /// Offers these credentials (mechanism PLAIN, client). Default: none (mechanism NULL).
    pub plain_client: Option<PlainUser>,
    /// Demands credentials and checks them (mechanism PLAIN, server). Default: none (mechanism NULL).
    pub plain_server: Option<PlainServer>,
    /// Lets PLAIN be used with endpoints that may lead off this machine, where passwords can be read on their way; over
    /// `tls://` they cannot, and this is not needed. Default off: binding and connecting there is an error.
    pub plain_anywhere: bool,
    /// Offers these keys to a server whose key is known (mechanism CURVE, client). Default: none (mechanism NULL).
    /// Peers over inproc, in this process, are not affected by it or by any other mechanism.
    #[cfg(feature = "curve")]
    pub curve_client: Option<CurveClient>,
    /// Lets in only who knows the public half of these keys, and [`authenticator`](Self::authenticator) if there is one
    /// (mechanism CURVE, server). Default: none (mechanism NULL).
    #[cfg(feature = "curve")]
    pub curve_server: Option<KeyPair>,
    /// Decides about every peer, whatever the mechanism, except over inproc. Default: none; then a NULL or CURVE socket
    /// lets in everybody, and a PLAIN server asks its own list of users.
    pub authenticator: Option<Arc<dyn Authenticator>>,
    /// How long the authenticator may take for one peer. Default 10 s.
    pub auth_timeout: Duration,
    /// What the authenticator is told of this socket: the domain of ZAP, at most 255 bytes. Default empty.
    pub auth_domain: String,
    /// The transports that endpoints may name. Default: all that this build has.
    pub registry: Registry,
}

/// Why a set of options cannot be used. Nothing was made.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("option {option}: {reason}")]
#[non_exhaustive]
pub struct OptionError {
    /// The name of the field.
    pub option: &'static str,
    /// What is wrong with its value.
    pub reason: String,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            send_hwm: 1000,
            recv_hwm: 1000,
            linger: Some(Duration::from_secs(30)),
            send_timeout: None,
            recv_timeout: None,
            routing_id: Bytes::new(),
            connect_routing_id: Bytes::new(),
            metadata: Vec::new(),
            reconnect_interval: Some(Duration::from_millis(100)),
            reconnect_max: Some(Duration::from_secs(5)),
            reconnect_stop: ReconnectStop::default(),
            connect_timeout: Some(Duration::from_secs(30)),
            handshake_timeout: Some(Duration::from_secs(30)),
            heartbeat_interval: None,
            heartbeat_timeout: None,
            heartbeat_ttl: None,
            stall_timeout: Some(Duration::from_secs(60)),
            immediate: false,
            conflate: false,
            max_message_size: 1 << 30,
            max_message_parts: 65_536,
            send_hwm_bytes: 1 << 30,
            recv_hwm_bytes: 1 << 30,
            send_memory: Self::MEMORY,
            recv_memory: None,
            max_peers: 65_536,
            max_peers_per_endpoint: 65_536,
            max_peers_per_address: 16_384,
            max_handshakes: 1_024,
            max_subscriptions: 100_000,
            max_subscription_bytes: 16 << 20,
            subscription_memory: 1 << 30,
            backlog: 100,
            send_buffer: None,
            unsent_buffer: None,
            recv_buffer: None,
            spin: Spin::Off,
            tcp_keepalive: None,
            ipv6: false,
            router_mandatory: false,
            router_handover: false,
            router_notify: RouterNotify::Off,
            probe_router: false,
            req_relaxed: false,
            req_correlate: false,
            xpub_verbosity: XpubVerbosity::Changes,
            xpub_manual: false,
            xpub_welcome: None,
            slow_peer: SlowPeer::DropNewest,
            invert_matching: false,
            plain_client: None,
            plain_server: None,
            plain_anywhere: false,
            #[cfg(feature = "curve")]
            curve_client: None,
            #[cfg(feature = "curve")]
            curve_server: None,
            authenticator: None,
            auth_timeout: Duration::from_secs(10),
            auth_domain: String::new(),
            registry: Registry::standard(),
        }
    }
}

macro_rules! setters {
    ($($name:ident: $argument:ty),* $(,)?) => {$(
        #[doc = concat!("Sets [`", stringify!($name), "`](Self#structfield.", stringify!($name), ").")]
        #[must_use]
        pub fn $name(mut self, value: $argument) -> Self {
            self.$name = value.into();
            self
        }
    )*};
}

impl Options {
    /// What a high-water mark of 0 stands for: ten million messages per peer.
    pub const UNLIMITED_HWM: usize = 10_000_000;

    /// [`unsent_buffer`](Options::unsent_buffer) of a publisher: with 1 MiB for each of four subscribers, one run in
    /// ten falls into the slow state that the limit is there to avoid.
    const PUBLISHED_UNSENT: usize = 256 << 10;

    /// What waits for all peers or from all of them: 4 GiB, or all that there can be where addresses have 32 bits.
    const MEMORY: usize = (1_usize << 30).saturating_mul(4);

    /// The longest [`Spin::For`].
    pub const MAX_SPIN: Duration = Duration::from_millis(10);

    /// The defaults.
    #[must_use]
    pub fn new() -> Self {
        Options::default()
    }

    setters! {
        send_hwm: usize, recv_hwm: usize, linger: impl Into<Option<Duration>>,
        send_timeout: impl Into<Option<Duration>>, recv_timeout: impl Into<Option<Duration>>,
        routing_id: impl Into<Bytes>, connect_routing_id: impl Into<Bytes>,
        reconnect_interval: impl Into<Option<Duration>>, reconnect_max: impl Into<Option<Duration>>,
        reconnect_stop: ReconnectStop, connect_timeout: impl Into<Option<Duration>>,
        handshake_timeout: impl Into<Option<Duration>>, heartbeat_interval: impl Into<Option<Duration>>,
        heartbeat_timeout: impl Into<Option<Duration>>, heartbeat_ttl: impl Into<Option<Duration>>,
        stall_timeout: impl Into<Option<Duration>>,
        immediate: bool, conflate: bool, max_message_size: usize, max_message_parts: usize,
        send_hwm_bytes: usize, recv_hwm_bytes: usize, send_memory: usize, recv_memory: impl Into<Option<usize>>, max_peers: usize,
        max_peers_per_endpoint: usize, max_peers_per_address: usize, max_handshakes: usize, max_subscriptions: usize,
        max_subscription_bytes: usize, subscription_memory: usize, backlog: u32, send_buffer: impl Into<Option<usize>>,
        unsent_buffer: impl Into<Option<usize>>, recv_buffer: impl Into<Option<usize>>, spin: impl Into<Spin>,
        tcp_keepalive: impl Into<Option<Keepalive>>, ipv6: bool,
        router_mandatory: bool, router_handover: bool, router_notify: RouterNotify, probe_router: bool,
        req_relaxed: bool, req_correlate: bool, xpub_verbosity: XpubVerbosity, xpub_manual: bool,
        xpub_welcome: impl Into<Option<Bytes>>, slow_peer: SlowPeer, invert_matching: bool,
        plain_client: impl Into<Option<PlainUser>>, plain_server: impl Into<Option<PlainServer>>,
        plain_anywhere: bool, auth_timeout: Duration,
        auth_domain: impl Into<String>,
        registry: Registry,
    }

    #[cfg(feature = "curve")]
    setters! { curve_client: impl Into<Option<CurveClient>>, curve_server: impl Into<Option<KeyPair>> }

    /// Sets [`authenticator`](Self#structfield.authenticator).
    #[must_use]
    pub fn authenticator(mut self, authenticator: impl Authenticator + 'static) -> Self {
        self.authenticator = Some(Arc::new(authenticator));
        self
    }

    /// Sets both high-water marks.
    #[must_use]
    pub fn hwm(self, messages: usize) -> Self {
        self.send_hwm(messages).recv_hwm(messages)
    }

    /// Adds an application property for the peer; `name` begins with `X-`.
    #[must_use]
    pub fn metadata(mut self, name: impl Into<String>, value: impl Into<Bytes>) -> Self {
        self.metadata.push((name.into(), value.into()));
        self
    }

    /// Checks every bound.
    ///
    /// # Errors
    /// The first option that is out of bounds, and why.
    pub fn validate(&self) -> Result<(), OptionError> {
        let error = |option, reason: &str| {
            Err(OptionError {
                option,
                reason: reason.to_owned(),
            })
        };
        for (option, id) in [
            ("routing_id", &self.routing_id),
            ("connect_routing_id", &self.connect_routing_id),
        ] {
            if id.len() > 255 {
                return error(option, "longer than 255 bytes");
            }
            if id.first() == Some(&0) {
                return error(option, "begins with a zero byte, which marks automatic ids");
            }
        }
        let mut names = HashSet::new();
        for (name, value) in &self.metadata {
            if !names.insert(name.to_ascii_lowercase()) {
                return error("metadata", "a name is given twice");
            }
            if !name
                .get(..2)
                .is_some_and(|prefix| prefix.eq_ignore_ascii_case("x-"))
            {
                return error("metadata", "a name must begin with X-");
            }
            if name.len() > 255
                || !name
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b"-_.+".contains(&b))
            {
                return error("metadata", "a name has up to 255 letters, digits, and - _ . +");
            }
            if value.len() > 8192 {
                return error("metadata", "a value has up to 8192 bytes");
            }
        }
        if self.metadata.len() > 64 {
            return error("metadata", "more than 64 properties");
        }
        for (option, interval) in [
            ("heartbeat_interval", self.heartbeat_interval),
            ("stall_timeout", self.stall_timeout),
            ("reconnect_interval", self.reconnect_interval),
            ("handshake_timeout", self.handshake_timeout),
            ("connect_timeout", self.connect_timeout),
        ] {
            if interval == Some(Duration::ZERO) {
                return error(option, "zero; leave it out to switch it off");
            }
        }
        if self
            .heartbeat_ttl
            .is_some_and(|ttl| ttl > Duration::from_millis(6_553_500))
        {
            return error(
                "heartbeat_ttl",
                "longer than 6553.5 s, the most that the wire can say",
            );
        }
        if let Spin::For(time) = self.spin
            && time > Self::MAX_SPIN
        {
            return error("spin", "longer than 10 ms; whoever waits longer should sleep");
        }
        for (option, limit) in [
            ("max_message_size", self.max_message_size),
            ("max_message_parts", self.max_message_parts),
            ("send_hwm_bytes", self.send_hwm_bytes),
            ("recv_hwm_bytes", self.recv_hwm_bytes),
            ("send_memory", self.send_memory),
            ("recv_memory", self.recv_memory.unwrap_or(usize::MAX)),
            ("max_peers", self.max_peers),
            ("max_peers_per_endpoint", self.max_peers_per_endpoint),
            ("max_peers_per_address", self.max_peers_per_address),
            ("max_handshakes", self.max_handshakes),
            ("max_subscriptions", self.max_subscriptions),
            ("max_subscription_bytes", self.max_subscription_bytes),
            ("subscription_memory", self.subscription_memory),
        ] {
            if limit == 0 {
                return error(option, "zero would refuse everything");
            }
        }
        if self.auth_timeout.is_zero() {
            return error(
                "auth_timeout",
                "zero; leave the authenticator out to switch it off",
            );
        }
        if self.auth_domain.len() > 255 {
            return error("auth_domain", "longer than 255 bytes");
        }
        self.validate_roles()
            .or_else(|(option, reason)| error(option, reason))
    }

    /// A socket has one mechanism and one role in it.
    fn validate_roles(&self) -> Result<(), (&'static str, &'static str)> {
        #[cfg(feature = "curve")]
        let curve = [self.curve_client.is_some(), self.curve_server.is_some()];
        #[cfg(not(feature = "curve"))]
        let curve = [false; 2];
        let [curve_client, curve_server] = curve;
        if self.plain_client.is_some() && self.plain_server.is_some() {
            return Err(("plain_client", "a socket is either PLAIN client or PLAIN server"));
        }
        if curve_client && curve_server {
            return Err(("curve_client", "a socket is either CURVE client or CURVE server"));
        }
        if (curve_client || curve_server) && (self.plain_client.is_some() || self.plain_server.is_some()) {
            return Err((
                "plain_client or plain_server",
                "a socket uses either PLAIN or CURVE",
            ));
        }
        if self.authenticator.is_some() && (curve_client || self.plain_client.is_some()) {
            return Err((
                "authenticator",
                "a PLAIN or CURVE client judges nobody; the server does",
            ));
        }
        if self.authenticator.is_some() && self.plain_server.as_ref().is_some_and(|users| !users.is_empty()) {
            return Err((
                "authenticator",
                "it would decide instead of the users in plain_server; leave those out, or ask them from within it",
            ));
        }
        Ok(())
    }

    /// The capacity that a high-water mark stands for.
    pub(crate) fn capacity(hwm: usize) -> usize {
        if hwm == 0 { Self::UNLIMITED_HWM } else { hwm }
    }

    /// How many bytes from all peers together may wait.
    pub(crate) fn unread_capacity(&self) -> usize {
        self.recv_memory
            .unwrap_or_else(|| self.max_message_size.saturating_mul(4).max(Self::MEMORY))
    }

    /// Whether conflation applies to a socket of this type.
    pub(crate) fn conflates(&self, socket_type: SocketType) -> bool {
        use SocketType::{Dealer, Pub, Pull, Push, Sub};
        self.conflate && matches!(socket_type, Dealer | Pub | Pull | Push | Sub)
    }

    /// What a transport needs to know.
    pub(crate) fn link_options(&self, socket_type: SocketType) -> LinkOptions {
        let mut link = LinkOptions::default();
        link.backlog = self.backlog;
        link.keepalive = self.tcp_keepalive;
        link.send_buffer = self.send_buffer;
        if let Some(bytes) = self.unsent_buffer {
            link.unsent_buffer = bytes;
        } else if matches!(socket_type, SocketType::Pub | SocketType::XPub) {
            link.unsent_buffer = Self::PUBLISHED_UNSENT;
        }
        link.recv_buffer = self.recv_buffer;
        link.ipv6 = self.ipv6;
        // One more for the introduction that goes before all messages.
        link.send_capacity = Self::capacity(self.send_hwm).saturating_add(1);
        link.recv_capacity = Self::capacity(self.recv_hwm);
        if matches!(socket_type, SocketType::Sub | SocketType::XSub) {
            link.send_capacity = Self::UNLIMITED_HWM;
        }
        if self.conflates(socket_type) {
            (link.send_capacity, link.recv_capacity) = (2, 1);
        }
        link
    }
}

#[cfg(test)]
mod tests;
