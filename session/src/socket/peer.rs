//! Who is at the other end.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use flexbond_transport::{Endpoint, PeerIdentity};
use flexbond_wire::zmtp::{PeerInfo, SocketType, Version};

/// The other end of one connection, as it introduced itself. Cheap to clone.
#[derive(Clone)]
pub struct Peer(Arc<Inner>);

struct Inner {
    id: u64,
    endpoint: Endpoint,
    introduction: Introduction,
}

/// What a peer said of itself in the handshake.
#[derive(Clone, Debug, Default)]
pub(crate) struct Introduction {
    pub(crate) socket_type: Option<SocketType>,
    pub(crate) routing_id: Bytes,
    pub(crate) metadata: Vec<(String, Bytes)>,
    pub(crate) version: Option<Version>,
    pub(crate) user_id: Option<String>,
    /// What the authenticator knows of it.
    pub(crate) auth_metadata: Vec<(String, Bytes)>,
    /// What the transport has had proved.
    pub(crate) identity: Option<PeerIdentity>,
}

impl From<PeerInfo> for Introduction {
    fn from(info: PeerInfo) -> Self {
        Introduction {
            socket_type: info.socket_type,
            routing_id: info.routing_id,
            metadata: info.metadata,
            version: Some(info.version),
            user_id: info.user_id,
            auth_metadata: Vec::new(),
            identity: None,
        }
    }
}

impl Peer {
    pub(crate) fn new(id: u64, endpoint: Endpoint, introduction: Introduction) -> Self {
        Peer(Arc::new(Inner {
            id,
            endpoint,
            introduction,
        }))
    }

    /// One that has not introduced itself yet.
    pub(crate) fn unknown(id: u64, endpoint: Endpoint) -> Self {
        Peer::new(id, endpoint, Introduction::default())
    }

    /// A number that no other peer of this socket has or had. A peer keeps it when its connection is made again.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.0.id
    }

    /// The remote address of an accepted connection; the endpoint given to `connect` otherwise.
    #[must_use]
    pub fn endpoint(&self) -> &Endpoint {
        &self.0.endpoint
    }

    /// The routing id it announced; empty if none.
    #[must_use]
    pub fn routing_id(&self) -> &Bytes {
        &self.0.introduction.routing_id
    }

    /// Its pattern; `None` before the handshake, and for peers too old to say (ZMTP 1.0).
    #[must_use]
    pub fn socket_type(&self) -> Option<SocketType> {
        self.0.introduction.socket_type
    }

    /// The protocol version in use; `None` before the handshake, and on message transports.
    #[must_use]
    pub fn version(&self) -> Option<Version> {
        self.0.introduction.version
    }

    /// A property that it announced, by name without regard to case: `X-…` for those of applications. It says what it
    /// likes; only `User-Id`, which libzmq keeps for its judge, is left out, see [`user_id`](Self::user_id).
    #[must_use]
    pub fn metadata(&self, name: &str) -> Option<&[u8]> {
        find(&self.0.introduction.metadata, name)
    }

    /// A property that the authenticator gave it, by name without regard to case. Nothing of what the peer says of
    /// itself is here.
    #[must_use]
    pub fn auth_metadata(&self, name: &str) -> Option<&[u8]> {
        find(&self.0.introduction.auth_metadata, name)
    }

    /// The user that its credentials proved it to be, if any were demanded.
    #[must_use]
    pub fn user_id(&self) -> Option<&str> {
        self.0.introduction.user_id.as_deref()
    }

    /// Whom the transport has proved it to be: over `tls://`, the owner of the certificate that it showed. `None` before the
    /// handshake, where none was shown, and over transports that know of none.
    #[must_use]
    pub fn identity(&self) -> Option<&PeerIdentity> {
        self.0.introduction.identity.as_ref()
    }
}

/// The value of a property, by name without regard to case.
fn find<'a>(properties: &'a [(String, Bytes)], name: &str) -> Option<&'a [u8]> {
    properties
        .iter()
        .find(|(known, _)| known.eq_ignore_ascii_case(name))
        .map(|(_, value)| &value[..])
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(socket_type) = self.socket_type() {
            write!(f, "{socket_type} ")?;
        }
        write!(f, "{}", self.endpoint())?;
        if !self.routing_id().is_empty() {
            write!(f, " \"{}\"", self.routing_id().escape_ascii())?;
        }
        Ok(())
    }
}

impl fmt::Debug for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Peer({}: {self})", self.id())
    }
}
