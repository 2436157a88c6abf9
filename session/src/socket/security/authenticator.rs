//! The application's own judgement about peers: what ZAP is to libzmq (RFC 27), as a trait.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use flexbond_transport::{Endpoint, PeerIdentity};
use flexbond_wire::zmtp::Credentials;

/// Decides which peers may talk to a socket.
///
/// It is asked once for each connection, in the handshake: after a CURVE client has proved that it owns its key,
/// before a PLAIN or NULL peer learns anything. Over `tls://` the mechanism is the one inside (NULL, unless PLAIN or CURVE
/// is set), and [`AuthRequest::identity`] is whom the peer's certificate is for. It has [`Options::auth_timeout`](super::super::Options::auth_timeout);
/// whoever it takes longer for is turned away as with [`DenyStatus::Temporary`], and as with [`DenyStatus::Internal`] when it
/// panics. Several connections may be
/// judged at once, at most [`Options::max_handshakes`](super::super::Options::max_handshakes) for each bound endpoint.
///
/// Ready-made ones are [`PlainServer`](super::PlainServer) for passwords, `CurveAllow` for keys and `CertificateAllow` for
/// certificates. Peers over inproc
/// are in the same process, and not judged.
///
/// ```
/// use flexbond_session::async_trait;
/// use flexbond_session::socket::{AuthRequest, Authenticator, Decision, Options, Rep};
///
/// /// Only this machine.
/// struct Local;
///
/// #[async_trait]
/// impl Authenticator for Local {
///     async fn authenticate(&self, request: AuthRequest) -> Decision {
///         match request.address.as_str() {
///             "127.0.0.1" | "::1" => Decision::allow("local"),
///             other => Decision::deny(format!("{other} is far away")),
///         }
///     }
/// }
///
/// let rep = Rep::with_options(Options::new().authenticator(Local))?;
/// # Ok::<(), flexbond_session::socket::OptionError>(())
/// ```
#[async_trait]
pub trait Authenticator: Send + Sync {
    /// Decides about one peer.
    ///
    /// # Cancel safety
    /// The future is dropped when it takes too long, when the handshake does, or when the socket is closed.
    async fn authenticate(&self, request: AuthRequest) -> Decision;
}

/// One that several sockets share.
#[async_trait]
impl<A: Authenticator + ?Sized> Authenticator for Arc<A> {
    async fn authenticate(&self, request: AuthRequest) -> Decision {
        (**self).authenticate(request).await
    }
}

impl fmt::Debug for dyn Authenticator + '_ {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Authenticator")
    }
}

/// A peer that wants to be let in, in the terms of ZAP.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct AuthRequest {
    /// [`Options::auth_domain`](super::super::Options::auth_domain) of the socket that it wants to talk to.
    pub domain: String,
    /// The IP address of the peer without its port, as ZAP has it; what stands after `://` for other transports.
    pub address: String,
    /// Where the peer is: the remote end of an accepted connection, the endpoint given to `connect` otherwise.
    pub endpoint: Endpoint,
    /// The routing id of the socket that it wants to talk to, as libzmq has it: the peer's own is not known yet.
    pub routing_id: Bytes,
    /// What it shows.
    pub credentials: Credentials,
    /// Whom the transport has proved it to be: over `tls://`, the owner of the certificate that it showed. `None` where it
    /// showed none, and over transports that know of none.
    pub identity: Option<PeerIdentity>,
}

impl AuthRequest {
    /// The name of the security mechanism: `NULL`, `PLAIN` or `CURVE`.
    #[must_use]
    pub fn mechanism(&self) -> &'static str {
        self.credentials.mechanism()
    }
}

/// The answer of an [`Authenticator`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Decision {
    /// The peer may talk.
    #[non_exhaustive]
    Allow {
        /// Who it is: what [`Peer::user_id`](super::super::Peer::user_id) tells.
        user_id: Option<String>,
        /// What else is known of it: what [`Peer::auth_metadata`](super::super::Peer::auth_metadata) tells. Kept apart
        /// from what the peer says of itself.
        metadata: Vec<(String, Bytes)>,
    },
    /// It may not.
    #[non_exhaustive]
    Deny {
        /// What the peer learns.
        status: DenyStatus,
        /// Why, for the event on this side, which has 512 bytes of it at most. The peer does not learn it.
        text: String,
    },
}

impl Decision {
    /// Lets the peer in as this user.
    #[must_use]
    pub fn allow(user_id: impl Into<String>) -> Self {
        Decision::Allow {
            user_id: Some(user_id.into()),
            metadata: Vec::new(),
        }
    }

    /// Lets the peer in without a name.
    #[must_use]
    pub const fn allow_anonymous() -> Self {
        Decision::Allow {
            user_id: None,
            metadata: Vec::new(),
        }
    }

    /// Adds something that is known of the peer; a peer that is not let in stays out.
    #[must_use]
    pub fn with_metadata(mut self, name: impl Into<String>, value: impl Into<Bytes>) -> Self {
        if let Decision::Allow { metadata, .. } = &mut self {
            metadata.push((name.into(), value.into()));
        }
        self
    }

    /// Turns the peer away, for its credentials are not good ([`DenyStatus::Refused`]).
    #[must_use]
    pub fn deny(text: impl Into<String>) -> Self {
        Decision::deny_with(DenyStatus::Refused, text)
    }

    /// Turns the peer away with this status.
    #[must_use]
    pub fn deny_with(status: DenyStatus, text: impl Into<String>) -> Self {
        Decision::Deny {
            status,
            text: text.into(),
        }
    }
}

/// The status codes of ZAP (RFC 27) for who is turned away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DenyStatus {
    /// `300`, a temporary failure: the connection is closed without a word, so that the peer tries again. libzmq
    /// does it so.
    Temporary,
    /// `400`: the credentials are not good. The peer is told the code.
    Refused,
    /// `500`, an internal error. The peer is told the code.
    Internal,
}

impl DenyStatus {
    /// The code in ZAP, and in the ERROR command that tells the peer.
    #[must_use]
    pub const fn code(self) -> u16 {
        match self {
            DenyStatus::Temporary => 300,
            DenyStatus::Refused => 400,
            DenyStatus::Internal => 500,
        }
    }
}
