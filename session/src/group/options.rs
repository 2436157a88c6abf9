//! How a session is run, and how a member takes part.

use std::net::SocketAddr;
use std::time::Duration;

use flexbond_transport::{Interface, Registry};
#[cfg(feature = "group-crypto")]
use flexbond_wire::group::PresharedKey;
use thiserror::Error;

/// The settings of a [`Coordinator`](super::Coordinator) or a [`Member`](super::Member).
///
/// What is said of the session is the coordinator's to say; a member is told when it joins, and what it has set itself
/// there means nothing.
///
/// ```
/// use std::time::Duration;
/// use flexbond_session::group::{Options, SlowMember};
///
/// let options = Options::new()
///     .multicast("239.1.2.3:5000".parse()?)
///     .dead_after(Duration::from_secs(5))
///     .slow_member(SlowMember::EvictAfter(Duration::from_secs(30)));
/// options.validate()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Options {
    /// The group address to which is sent what is for all: one packet however many members there are. Of the session.
    /// Default: none, each member is sent its own packets. Members that it does not reach are found out and served so.
    pub multicast: Option<SocketAddr>,
    /// Through which network interface the group address is reached and heard. Default: the one of the address that
    /// the session's endpoint is bound to or reached by.
    pub interface: Option<Interface>,
    /// How many routers may pass on what is sent to the group address. Default 1: it stays in the network.
    pub multicast_ttl: u8,
    /// Bytes of payload in a packet, 64 to 60,000. Of the session. Default: 1,392, which with its headers fits the 1,500
    /// bytes of Ethernet, or 60,000 where the session is bound to a loopback address.
    pub segment: Option<usize>,
    /// Bytes that may be on their way from one sender at once, 64 KiB to 1 GiB; never fewer than 16 packets. Default
    /// 4 MiB.
    pub window: usize,
    /// Memory for messages that came and were not received yet, from all together, in bytes. Nobody can send this
    /// member a larger message, but a stream of any length. Default 64 MiB.
    ///
    /// Packets that came before their turn are not counted, because they could not be done without: while one is missing,
    /// those that follow are kept, at most one [`window`](field@Self::window) of each sender (and one packet), in the
    /// session and in each broadcast group. So a member may need `(senders + broadcast groups) * window` bytes more: by
    /// default 4 MiB where the coordinator alone sends, and 28 MiB where all eight in a session do, each of whom lost its
    /// first packet just then. It is given back as soon as what is missing has come.
    pub recv_budget: u64,
    /// Bytes of messages that wait to be delivered to all, for each group, before sending waits. Default 16 MiB.
    pub send_budget: u64,
    /// Bytes in a message, at most. Of the session. Default 1 GiB.
    pub max_message: u64,
    /// How often a sign of life is due. Of the session. Default 200 ms.
    pub heartbeat: Duration,
    /// Who was silent for so long is dead; at least twice the heartbeat. Of the session. Default 2 s.
    pub dead_after: Duration,
    /// How long joining the session or one of its groups may take. Default 10 s.
    pub join_timeout: Duration,
    /// Members at most, besides the coordinator. Of the session. Default 1,024.
    pub max_members: usize,
    /// What a member wants to be called, at most 64 bytes; only the coordinator hears of it. Default: empty.
    pub name: String,
    /// What a sender does about members that do not keep up. Default: [`SlowMember::Block`].
    pub slow_member: SlowMember,
    /// From how many receivers on of what this end sends packets of parity repair what several of them have lost, each
    /// something else: fewer packets than what was lost, at the price of computing them at every receiver. Pays where
    /// the network is what limits, not the processors. Only where there is a group address. Default: 16; `None`: never.
    pub parity_from: Option<usize>,
    /// The key that all in the session have: nobody else can join it, read it or disturb it. It has to be the same at
    /// the coordinator and all members. Default: none, and everything is sent as it is. What it protects and what not:
    /// [here](super#security).
    #[cfg(feature = "group-crypto")]
    pub key: Option<PresharedKey>,
    /// How long leaving waits for what was sent to be delivered. Default 30 s.
    pub linger: Duration,
    /// How long whoever waits looks again and again before it sleeps; at most [`Options::MAX_SPIN`]. Saves the time
    /// that waking takes, at the price of a processor while waiting; none is used when nobody waits. It learns: where
    /// looking does not pay it is tried less and less. Default zero.
    pub spin: Duration,
    /// The transports of sessions that are not held at `udp://`. Default: those of this build.
    pub registry: Registry,
    /// Kernel buffer for received packets, in bytes. Default 4 MiB, or as much of it as the system allows.
    pub recv_buffer: usize,
    /// Kernel buffer for packets to be sent, in bytes. Default 4 MiB, or as much of it as the system allows.
    pub send_buffer: usize,
}

/// What a sender does about members that do not keep up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum SlowMember {
    /// Waits for all: the slowest sets the pace.
    #[default]
    Block,
    /// The coordinator sends away who kept it from sending for so long. (Who lives but is slow for another member is
    /// waited for.)
    EvictAfter(Duration),
    /// Waits for so many of the members; the others may lag by two windows, and are waited for then.
    Quorum(usize),
    /// Waits for the quickest member alone; others that lag by two windows, or by half of [`Options::send_budget`] where
    /// that is less, skip to the newest message, and learn that they did where a message was cut off
    /// ([`Part::Cut`](super::Part::Cut)).
    KeepLatest,
}

/// An option that is out of its bounds.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("option `{name}`: {reason}")]
#[non_exhaustive]
pub struct OptionError {
    /// The option.
    pub name: &'static str,
    /// What is wrong with it.
    pub reason: String,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            multicast: None,
            interface: None,
            multicast_ttl: 1,
            segment: None,
            window: 4 << 20,
            recv_budget: 64 << 20,
            send_budget: 16 << 20,
            max_message: 1 << 30,
            heartbeat: Duration::from_millis(200),
            dead_after: Duration::from_secs(2),
            join_timeout: Duration::from_secs(10),
            max_members: 1024,
            name: String::new(),
            slow_member: SlowMember::Block,
            parity_from: Some(16),
            #[cfg(feature = "group-crypto")]
            key: None,
            linger: Duration::from_secs(30),
            spin: Duration::ZERO,
            registry: Registry::standard(),
            recv_buffer: 4 << 20,
            send_buffer: 4 << 20,
        }
    }
}

macro_rules! setters {
    ($($(#[$doc:meta])* $name:ident: $type:ty,)*) => {
        $(
            $(#[$doc])*
            #[must_use]
            pub fn $name(mut self, $name: $type) -> Self {
                self.$name = $name;
                self
            }
        )*
    };
}

impl Options {
    /// The longest time that [`spin`](field@Self::spin) may be.
    pub const MAX_SPIN: Duration = Duration::from_millis(10);
    /// The least that [`recv_budget`](field@Self::recv_budget) may be, in bytes: who had less would have the others cut
    /// everything into small pieces.
    pub const LEAST_RECV_BUDGET: u64 = 1 << 16;

    /// All defaults.
    #[must_use]
    pub fn new() -> Self {
        Options::default()
    }

    /// Sets [`multicast`](field@Self::multicast).
    #[must_use]
    pub fn multicast(mut self, group: SocketAddr) -> Self {
        self.multicast = Some(group);
        self
    }

    /// Sets [`interface`](field@Self::interface).
    #[must_use]
    pub fn interface(mut self, interface: impl Into<Interface>) -> Self {
        self.interface = Some(interface.into());
        self
    }

    /// Sets [`segment`](field@Self::segment), in bytes.
    #[must_use]
    pub fn segment(mut self, bytes: usize) -> Self {
        self.segment = Some(bytes);
        self
    }

    /// Sets [`key`](field@Self::key).
    #[cfg(feature = "group-crypto")]
    #[must_use]
    pub fn key(mut self, key: PresharedKey) -> Self {
        self.key = Some(key);
        self
    }

    /// Sets [`name`](field@Self::name).
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    setters! {
        /// Sets [`multicast_ttl`](field@Self::multicast_ttl).
        multicast_ttl: u8,
        /// Sets [`window`](field@Self::window), in bytes.
        window: usize,
        /// Sets [`recv_budget`](field@Self::recv_budget), in bytes.
        recv_budget: u64,
        /// Sets [`send_budget`](field@Self::send_budget), in bytes.
        send_budget: u64,
        /// Sets [`max_message`](field@Self::max_message), in bytes.
        max_message: u64,
        /// Sets [`heartbeat`](field@Self::heartbeat).
        heartbeat: Duration,
        /// Sets [`dead_after`](field@Self::dead_after).
        dead_after: Duration,
        /// Sets [`join_timeout`](field@Self::join_timeout).
        join_timeout: Duration,
        /// Sets [`max_members`](field@Self::max_members).
        max_members: usize,
        /// Sets [`slow_member`](field@Self::slow_member).
        slow_member: SlowMember,
        /// Sets [`parity_from`](field@Self::parity_from).
        parity_from: Option<usize>,
        /// Sets [`linger`](field@Self::linger).
        linger: Duration,
        /// Sets [`spin`](field@Self::spin).
        spin: Duration,
        /// Sets [`registry`](field@Self::registry).
        registry: Registry,
        /// Sets [`recv_buffer`](field@Self::recv_buffer), in bytes.
        recv_buffer: usize,
        /// Sets [`send_buffer`](field@Self::send_buffer), in bytes.
        send_buffer: usize,
    }

    /// Whether all are within their bounds. [`Coordinator::bind`](super::Coordinator::bind) and
    /// [`Member::join`](super::Member::join) ask this first.
    ///
    /// # Errors
    /// The first option that is not.
    pub fn validate(&self) -> Result<(), OptionError> {
        let check = |name, ok: bool, reason: &str| match ok {
            true => Ok(()),
            false => Err(OptionError {
                name,
                reason: reason.to_owned(),
            }),
        };
        let millis = |duration: Duration| u32::try_from(duration.as_millis()).is_ok();
        if let Some(group) = self.multicast {
            check(
                "multicast",
                group.ip().is_multicast() && group.port() != 0,
                "must be a multicast address with a port",
            )?;
        }
        check(
            "segment",
            self.segment.is_none_or(|bytes| (64..=60_000).contains(&bytes)),
            "must be 64 to 60,000 bytes",
        )?;
        check(
            "window",
            (1 << 16..=1 << 30).contains(&self.window),
            "must be 64 KiB to 1 GiB",
        )?;
        check(
            "recv_budget",
            self.recv_budget >= Self::LEAST_RECV_BUDGET,
            "must be at least 64 KiB",
        )?;
        check("send_budget", self.send_budget > 0, "must not be zero")?;
        check("max_message", self.max_message > 0, "must not be zero")?;
        check(
            "heartbeat",
            self.heartbeat >= Duration::from_millis(1) && millis(self.heartbeat),
            "must be 1 ms to 49 days",
        )?;
        check(
            "dead_after",
            self.dead_after >= 2 * self.heartbeat && millis(self.dead_after),
            "must be at least twice the heartbeat, and at most 49 days",
        )?;
        check("max_members", self.max_members > 0, "must not be zero")?;
        check("name", self.name.len() <= 64, "must be at most 64 bytes")?;
        check("spin", self.spin <= Self::MAX_SPIN, "must be at most 10 ms")?;
        if let SlowMember::Quorum(quorum) = self.slow_member {
            check("slow_member", quorum > 0, "a quorum must not be zero")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_bound_is_checked_by_name() {
        assert_eq!(Options::new().validate(), Ok(()));
        let group = |text: &str| text.parse().expect("an address");
        for (name, options) in [
            ("multicast", Options::new().multicast(group("10.0.0.1:5000"))),
            ("multicast", Options::new().multicast(group("239.0.0.1:0"))),
            ("segment", Options::new().segment(63)),
            ("window", Options::new().window(1)),
            ("recv_budget", Options::new().recv_budget(1)),
            ("send_budget", Options::new().send_budget(0)),
            ("max_message", Options::new().max_message(0)),
            ("heartbeat", Options::new().heartbeat(Duration::ZERO)),
            (
                "dead_after",
                Options::new().dead_after(Duration::from_millis(399)),
            ),
            ("max_members", Options::new().max_members(0)),
            ("name", Options::new().name("x".repeat(65))),
            ("spin", Options::new().spin(Duration::from_millis(11))),
            ("slow_member", Options::new().slow_member(SlowMember::Quorum(0))),
        ] {
            assert_eq!(options.validate().map_err(|error| error.name), Err(name));
        }
    }
}
