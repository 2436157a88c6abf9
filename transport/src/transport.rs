//! The trait behind every transport, and the settings it is asked to respect.

use std::time::Duration;

use async_trait::async_trait;

use crate::{AcceptError, BindError, ConnectError, Connection, Endpoint, Reached};

/// A way to reach other ends: everything below a wire protocol.
///
/// Only the cold calls are asynchronous trait methods; what they hand out is polled (see
/// [`ByteStream`](crate::ByteStream)). Register an implementation under a scheme of its own in a
/// [`Registry`](crate::Registry), and every socket can use it by endpoint.
#[async_trait]
pub trait Transport: Send + Sync + 'static {
    /// Starts to listen at `endpoint`.
    ///
    /// # Cancel safety
    /// Dropping the future leaves nothing bound.
    ///
    /// # Errors
    /// [`BindError`]; nothing is bound then.
    async fn bind(&self, endpoint: &Endpoint, options: &LinkOptions) -> Result<Box<dyn Listener>, BindError>;

    /// Connects to `endpoint`.
    ///
    /// # Cancel safety
    /// Dropping the future abandons the attempt.
    ///
    /// # Errors
    /// [`ConnectError`]; a retry is sound unless [`ConnectError::is_permanent`].
    async fn connect(&self, endpoint: &Endpoint, options: &LinkOptions) -> Result<Connection, ConnectError>;

    /// Connects to `endpoint` as far as the other machine goes by itself, whatever its application does meanwhile: for who
    /// has to tell one that is gone from one that is busy. [`Reached::finish`] does the rest.
    ///
    /// By default that is all of [`connect`](Self::connect). A transport whose handshake needs the other application has one
    /// of its own.
    ///
    /// # Cancel safety
    /// Dropping the future abandons the attempt.
    ///
    /// # Errors
    /// [`ConnectError`]; a retry is sound unless [`ConnectError::is_permanent`].
    async fn reach(&self, endpoint: &Endpoint, options: &LinkOptions) -> Result<Reached, ConnectError> {
        self.connect(endpoint, options).await.map(Reached::complete)
    }
}

/// A bound endpoint that accepts connections. Dropping it unbinds.
#[async_trait]
pub trait Listener: Send + 'static {
    /// The endpoint as bound: wildcards kept or resolved as the transport does, port zero replaced by the real one.
    fn local_endpoint(&self) -> &Endpoint;

    /// Waits for the next connection.
    ///
    /// # Cancel safety
    /// Dropping the future loses no connection.
    ///
    /// # Errors
    /// [`AcceptError`]; accepting may go on unless [`AcceptError::is_fatal`].
    async fn accept(&mut self) -> Result<Connection, AcceptError>;
}

/// What a connection is asked to be like. Each transport uses what applies to it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct LinkOptions {
    /// How many connections may wait to be accepted. Default 100.
    pub backlog: u32,
    /// Sends small writes at once instead of collecting them (`TCP_NODELAY`). Default on.
    pub nodelay: bool,
    /// TCP keepalive. Default: the system's setting.
    pub keepalive: Option<Keepalive>,
    /// Kernel send buffer in bytes (`SO_SNDBUF`). Default: the system's setting for tcp, 1 MiB for ipc, whose buffers
    /// do not grow by themselves; as much of it as the system allows (`net.core.wmem_max`).
    pub send_buffer: Option<usize>,
    /// How many bytes of a tcp connection the kernel takes before it may send them (`TCP_NOTSENT_LOWAT`), where the
    /// system has that. Default 1 MiB. Bytes on their way to the peer do not count, so a long fat network is not
    /// slowed down; a slow peer leaves messages in their queue, where the high-water mark counts them.
    pub unsent_buffer: usize,
    /// Kernel receive buffer in bytes (`SO_RCVBUF`). Default: the system's setting.
    pub recv_buffer: Option<usize>,
    /// Lets `*` and names mean IPv6 too; literal IPv6 addresses always work. Default off, as in libzmq.
    pub ipv6: bool,
    /// How many whole messages a message channel holds from this end to the other. Default 1000.
    pub send_capacity: usize,
    /// How many more whole messages this end lets the other one queue for it. Default 1000.
    pub recv_capacity: usize,
}

impl Default for LinkOptions {
    fn default() -> Self {
        LinkOptions {
            backlog: 100,
            nodelay: true,
            keepalive: None,
            send_buffer: None,
            unsent_buffer: 1 << 20,
            recv_buffer: None,
            ipv6: false,
            send_capacity: 1000,
            recv_capacity: 1000,
        }
    }
}

/// TCP keepalive: probes on an idle connection. A field left out keeps the system's setting.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Keepalive {
    /// Idle time before the first probe (`TCP_KEEPIDLE`); whole seconds.
    pub idle: Option<Duration>,
    /// Time between probes (`TCP_KEEPINTVL`); whole seconds.
    pub interval: Option<Duration>,
    /// Unanswered probes before the connection is dead (`TCP_KEEPCNT`).
    pub retries: Option<u32>,
    /// How long what was sent may go without an acknowledgement before the connection is dead (`TCP_USER_TIMEOUT`, Linux
    /// and Android; elsewhere it is not looked at). It counts as well while the peer lives and receives nothing, and so
    /// is for connections whose buffers never fill.
    pub unacknowledged: Option<Duration>,
}
