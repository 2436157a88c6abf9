//! What a tunnel is asked to be like.

use std::time::Duration;

use crate::LinkOptions;

/// What a [`Tunnel`](super::Tunnel) is asked to be like.
///
/// ```
/// use std::time::Duration;
///
/// use flexbond_transport::TunnelOptions;
///
/// let options = TunnelOptions::default().max_connections(64).idle_timeout(Duration::from_secs(10));
/// assert_eq!(options.max_queued, 8 << 20);
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct TunnelOptions {
    /// How many connections there may be at once, those included that are just being made. More are turned away, and
    /// what would need one is dropped. Default 1,024; at least 1.
    pub max_connections: usize,
    /// How many of them may have been accepted and not yet said who they are. More are turned away. Default 256; at
    /// least 1.
    pub max_half_open: usize,
    /// How many bytes may wait to be sent on one connection. What finds no room is dropped. Default 8 MiB; at least
    /// 128 KiB.
    pub max_queued: usize,
    /// How long connecting and the exchange of greetings may take. Default 5 s.
    pub handshake_timeout: Duration,
    /// For how long at most nothing is sent to an address that could not be connected to: 20 ms the first time, then
    /// twice as long each time. Default 2 s.
    pub max_backoff: Duration,
    /// After how long a connection is closed on which nothing has moved, within a quarter more. Default 60 s; at least
    /// 40 ms.
    pub idle_timeout: Duration,
    /// How long what waits may still be sent after the tunnel was dropped, in the background, and connections may still be
    /// made for it. Default 1 s.
    pub linger: Duration,
    /// What the connections are asked to be like. Default: that of [`LinkOptions`], but 1,024 connections may wait to
    /// be accepted, and a message channel holds 64 messages in each direction (each of them up to 64 KiB).
    pub link: LinkOptions,
}

impl Default for TunnelOptions {
    fn default() -> Self {
        TunnelOptions {
            max_connections: 1024,
            max_half_open: 256,
            max_queued: 8 << 20,
            handshake_timeout: Duration::from_secs(5),
            max_backoff: Duration::from_secs(2),
            idle_timeout: Duration::from_secs(60),
            linger: Duration::from_secs(1),
            link: LinkOptions {
                backlog: 1024,
                send_capacity: 32,
                recv_capacity: 32,
                ..LinkOptions::default()
            },
        }
    }
}

impl TunnelOptions {
    /// Sets [`max_connections`](field@Self::max_connections).
    #[must_use]
    pub fn max_connections(mut self, count: usize) -> Self {
        self.max_connections = count.max(1);
        self
    }

    /// Sets [`max_half_open`](field@Self::max_half_open).
    #[must_use]
    pub fn max_half_open(mut self, count: usize) -> Self {
        self.max_half_open = count.max(1);
        self
    }

    /// Sets [`max_queued`](field@Self::max_queued), in bytes.
    #[must_use]
    pub fn max_queued(mut self, bytes: usize) -> Self {
        self.max_queued = bytes.max(128 << 10);
        self
    }

    /// Sets [`handshake_timeout`](field@Self::handshake_timeout).
    #[must_use]
    pub fn handshake_timeout(mut self, time: Duration) -> Self {
        self.handshake_timeout = time;
        self
    }

    /// Sets [`max_backoff`](field@Self::max_backoff).
    #[must_use]
    pub fn max_backoff(mut self, time: Duration) -> Self {
        self.max_backoff = time;
        self
    }

    /// Sets [`idle_timeout`](field@Self::idle_timeout).
    #[must_use]
    pub fn idle_timeout(mut self, time: Duration) -> Self {
        self.idle_timeout = time.max(Duration::from_millis(40));
        self
    }

    /// Sets [`linger`](field@Self::linger).
    #[must_use]
    pub fn linger(mut self, time: Duration) -> Self {
        self.linger = time;
        self
    }

    /// Sets [`link`](field@Self::link).
    #[must_use]
    pub fn link(mut self, options: LinkOptions) -> Self {
        self.link = options;
        self
    }
}
