//! Who a peer has proved to be.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;

/// Who a peer has proved to be: the certificates it showed, whose first one it holds the key of, and the names in that
/// one. It was checked against the trust roots; what its names may do is for the one who asks.
///
/// Cheap to clone.
#[derive(Clone, PartialEq, Eq)]
pub struct PeerIdentity {
    inner: Arc<Inner>,
}

#[derive(Clone, PartialEq, Eq)]
struct Inner {
    chain: Vec<Bytes>,
    subject: Option<String>,
    common_name: Option<String>,
    names: Vec<PeerName>,
}

/// A name that a certificate was issued for (RFC 5280, section 4.2.1.6).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum PeerName {
    /// A host name, perhaps with `*` as its first label.
    Dns(String),
    /// An address.
    Ip(IpAddr),
    /// A mail address.
    Email(String),
    /// A URI, such as a SPIFFE id.
    Uri(String),
}

impl PeerIdentity {
    /// An identity of a certificate chain in DER, the peer's own certificate first, of its subject and of its names.
    /// For transports of one's own; nothing is checked here.
    #[must_use]
    pub fn new(chain: Vec<Bytes>, subject: Option<String>, names: Vec<PeerName>) -> Self {
        PeerIdentity {
            inner: Arc::new(Inner {
                chain,
                subject,
                common_name: None,
                names,
            }),
        }
    }

    /// The same identity, with a [`common_name`](Self::common_name). Nothing is checked here.
    #[must_use]
    pub fn with_common_name(mut self, name: impl Into<String>) -> Self {
        Arc::make_mut(&mut self.inner).common_name = Some(name.into());
        self
    }

    /// The certificates in DER, the peer's own one first, as it sent them. Only that one is proved to be its: among the
    /// others may be some that have nothing to do with it.
    #[must_use]
    pub fn chain(&self) -> &[Bytes] {
        &self.inner.chain
    }

    /// The subject as text (RFC 4514): `CN=node 7,O=Example`. `None` for an empty one, and for one that cannot be read.
    #[must_use]
    pub fn subject(&self) -> Option<&str> {
        self.inner.subject.as_deref()
    }

    /// The subject's common name, where the certificate has no subjectAltName extension: that replaces it (RFC 6125,
    /// section 6.4.4). `None` also where the subject has several of them, or one that cannot be read; and where a trusted
    /// authority, or one of the chain, may issue certificates for some names only (name constraints, RFC 5280, section
    /// 4.2.1.10): that does not bind common names, and so it could claim any.
    #[must_use]
    pub fn common_name(&self) -> Option<&str> {
        self.inner.common_name.as_deref()
    }

    /// The SHA-256 of the peer's own certificate, the first of the [`chain`](Self::chain); `None` for a chain of none.
    #[cfg(feature = "tls")]
    #[must_use]
    pub fn fingerprint(&self) -> Option<crate::Fingerprint> {
        self.chain().first().map(|own| crate::Fingerprint::of(own))
    }

    /// The names of its subjectAltName extension, in its order; kinds that [`PeerName`] does not know are left out. None
    /// as well where the extension cannot be read, so that who looks for a name does not find it.
    #[must_use]
    pub fn names(&self) -> &[PeerName] {
        &self.inner.names
    }
}

impl fmt::Debug for PeerIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PeerIdentity")
            .field("subject", &self.subject())
            .field("names", &self.names())
            .finish_non_exhaustive()
    }
}

impl fmt::Display for PeerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PeerName::Dns(name) | PeerName::Email(name) | PeerName::Uri(name) => f.write_str(name),
            PeerName::Ip(address) => write!(f, "{address}"),
        }
    }
}
