//! What a mesh and its server can be told when they are made.

use std::time::Duration;

use flexbond_transport::{Endpoint, Host, Keepalive, LinkOptions, Registry};

use super::error::OptionError;
use super::notice::{MAX_NAME, MAX_RANKS};

/// The settings of one rank or of the server. Each says whom it concerns.
///
/// ```
/// use std::time::Duration;
/// use flexbond_session::mesh::MeshOptions;
///
/// let options = MeshOptions::new().size(4).rank(2).spin(Duration::from_millis(1));
/// assert!(options.validate().is_ok());
/// assert!(options.rank(4).validate().is_err());
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct MeshOptions {
    /// Both: how many ranks the first epoch waits for, 1 to 1,024. Who says nothing takes what the others say; where
    /// nobody does before the first rank comes, it begins alone.
    pub size: Option<usize>,
    /// Rank: which one it wants to be in the first epoch. Default: a free one, in the order in which they come. Not
    /// looked at in who comes later: they follow behind the others.
    pub rank: Option<usize>,
    /// Rank: what it is called, for people; at most 255 bytes.
    pub name: String,
    /// Server: how often each side tells the other that it lives. Default 200 ms; at least 1 ms.
    pub heartbeat: Duration,
    /// Server: how long somebody may be silent before it is given up. Default 2 s; at least two heartbeats.
    pub dead_after: Duration,
    /// Rank: how long joining may take, until all ranks are there. Default 10 s.
    pub join_timeout: Duration,
    /// Rank: how long an operation looks again and again for what it waits for, before it sleeps. Default zero, at most
    /// [`MeshOptions::MAX_SPIN`].
    ///
    /// Waking a thread that sleeps takes some 25 µs at either end; one that looks is there at once, at the price of a
    /// processor that is busy meanwhile. Other threads and other tasks of its own thread run in between. It learns:
    /// where looking does not pay it is tried less and less.
    pub spin: Duration,
    /// Both: the longest message, in bytes. Default 1 GiB. A peer that announces a longer one is given up.
    pub max_message: usize,
    /// Rank: how many bytes from each peer may wait here although nobody has asked for them, 64 more for each message.
    /// Default 64 MiB. What does not fit stays in its connection until it is asked for, and so does what comes after.
    pub unexpected_limit: usize,
    /// Rank: where it listens for the others, by the scheme of the server's endpoint. Default: a free port of the interface
    /// by which it reaches the server; for ipc and inproc a name beside the server's.
    pub listen: Option<Endpoint>,
    /// Rank: kernel send buffer of each connection to another rank, in bytes. Default: 256 KiB for tcp over the loopback
    /// interface, otherwise the transport's.
    ///
    /// Between processes of one machine everything that is sent and not yet received lies in the processor's cache, or
    /// else has to be fetched from memory: with the system's default, which lets megabytes be under way, 16 MiB went at
    /// 3.7 GB/s one way and 1.5 GB/s both ways, with 192 to 512 KiB at 6 to 7 and 3, and with 1 MiB at 3.5 and 1.5 again.
    pub send_buffer: Option<usize>,
    /// Rank: kernel receive buffer of each connection to another rank, in bytes. Default: the system's.
    pub recv_buffer: Option<usize>,
    /// Both: the transports. Default: those of this build.
    pub registry: Registry,
}

impl Default for MeshOptions {
    fn default() -> Self {
        MeshOptions {
            size: None,
            rank: None,
            name: String::new(),
            heartbeat: Duration::from_millis(200),
            dead_after: Duration::from_secs(2),
            join_timeout: Duration::from_secs(10),
            spin: Duration::ZERO,
            max_message: 1 << 30,
            unexpected_limit: 64 << 20,
            listen: None,
            send_buffer: None,
            recv_buffer: None,
            registry: Registry::standard(),
        }
    }
}

macro_rules! setters {
    ($($(#[$doc:meta])* $name:ident: $type:ty => $value:expr;)*) => {
        impl MeshOptions {
            $(
                $(#[$doc])*
                #[must_use]
                pub fn $name(mut self, $name: $type) -> Self {
                    self.$name = $value;
                    self
                }
            )*
        }
    };
}

setters! {
    /// Sets [`size`](Self#structfield.size).
    size: usize => Some(size);
    /// Sets [`rank`](Self#structfield.rank).
    rank: usize => Some(rank);
    /// Sets [`name`](Self#structfield.name).
    name: impl Into<String> => name.into();
    /// Sets [`heartbeat`](Self#structfield.heartbeat).
    heartbeat: Duration => heartbeat;
    /// Sets [`dead_after`](Self#structfield.dead_after).
    dead_after: Duration => dead_after;
    /// Sets [`join_timeout`](Self#structfield.join_timeout).
    join_timeout: Duration => join_timeout;
    /// Sets [`spin`](Self#structfield.spin).
    spin: Duration => spin;
    /// Sets [`max_message`](Self#structfield.max_message).
    max_message: usize => max_message;
    /// Sets [`unexpected_limit`](Self#structfield.unexpected_limit).
    unexpected_limit: usize => unexpected_limit;
    /// Sets [`listen`](Self#structfield.listen).
    listen: Endpoint => Some(listen);
    /// Sets [`send_buffer`](Self#structfield.send_buffer).
    send_buffer: usize => Some(send_buffer);
    /// Sets [`recv_buffer`](Self#structfield.recv_buffer).
    recv_buffer: usize => Some(recv_buffer);
    /// Sets [`registry`](Self#structfield.registry).
    registry: Registry => registry;
}

/// Whether both ends of a connection that one listens for at `endpoint` are on this machine.
fn is_loopback(endpoint: &Endpoint) -> bool {
    match endpoint {
        Endpoint::Tcp(address) | Endpoint::Tls(address) => match address.host() {
            Host::V4(host) => host.is_loopback(),
            Host::V6 { address, .. } => address.is_loopback(),
            _ => false,
        },
        _ => false,
    }
}

impl MeshOptions {
    /// The longest [`spin`](Self#structfield.spin).
    pub const MAX_SPIN: Duration = Duration::from_millis(10);
    const LOOPBACK_SEND_BUFFER: usize = 256 << 10;

    /// The defaults.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether every option is within its bounds.
    ///
    /// # Errors
    /// The first that is not.
    pub fn validate(&self) -> Result<(), OptionError> {
        let checks = [
            (
                self.size.is_some_and(|size| !(1..=MAX_RANKS).contains(&size)),
                "size",
                "must be 1 to 1024",
            ),
            (
                self.rank
                    .is_some_and(|rank| rank >= self.size.unwrap_or(MAX_RANKS)),
                "rank",
                "must be below the number of ranks",
            ),
            (self.name.len() > MAX_NAME, "name", "must have at most 255 bytes"),
            (
                self.heartbeat < Duration::from_millis(1),
                "heartbeat",
                "must be at least a millisecond",
            ),
            (
                self.dead_after < self.heartbeat.saturating_mul(2),
                "dead_after",
                "must be at least two heartbeats",
            ),
            (
                self.dead_after > Duration::from_secs(24 * 60 * 60),
                "dead_after",
                "must be at most a day",
            ),
            (self.spin > Self::MAX_SPIN, "spin", "must be at most 10 ms"),
        ];
        match checks.into_iter().find(|(out_of_bounds, ..)| *out_of_bounds) {
            Some((_, option, reason)) => Err(OptionError { option, reason }),
            None => Ok(()),
        }
    }

    /// For connections between ranks, of which one listens at `endpoint`.
    pub(super) fn link(&self, endpoint: &Endpoint) -> LinkOptions {
        let mut options = LinkOptions::default();
        options.backlog = MAX_RANKS as u32;
        options.send_buffer = self
            .send_buffer
            .or(is_loopback(endpoint).then_some(Self::LOOPBACK_SEND_BUFFER));
        options.recv_buffer = self.recv_buffer;
        // Over inproc: pieces, of which each may be large.
        options.send_capacity = 16;
        options.recv_capacity = 0;
        options
    }

    /// For connections between ranks: a path that is gone is found out in about the time that a silent rank may live.
    ///
    /// The system looks for that only while nothing is under way from this end. A limit for what is not acknowledged
    /// would find out the rest, but it also takes a peer for dead that only does not receive for so long, and a rank may
    /// compute for as long as it likes. The rest is for connections that are [watched](Self::watchfulness).
    pub(super) fn keepalive(&self) -> Keepalive {
        let mut keepalive = Keepalive::default();
        keepalive.idle = Some(self.dead_after / 2);
        keepalive.interval = Some(self.dead_after / 4);
        keepalive.retries = Some(2);
        keepalive
    }

    /// For connections on which nothing but a few bytes at the beginning is under way, which always fit.
    pub(super) fn watchfulness(&self) -> Keepalive {
        let mut keepalive = self.keepalive();
        keepalive.unacknowledged = Some(self.dead_after);
        keepalive
    }
}
