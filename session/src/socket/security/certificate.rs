//! Who is let in by a certificate.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use flexbond_transport::{Fingerprint, PeerIdentity, PeerName};
use flexbond_wire::zmtp::Credentials;
use parking_lot::RwLock;

use super::{AuthRequest, Authenticator, Decision};

mod name;

pub use name::{CertificateName, CertificateNameError};

/// An [`Authenticator`] that lets in the owners of certain certificates over `tls://`, and nobody else.
///
/// The transport has checked before that an authority which it trusts has issued the certificate
/// ([`ClientCertificates`](flexbond_transport::ClientCertificates)); this decides which of its owners are meant. A name is
/// worth as much as the care of all authorities that are trusted there: each of them can issue it, within its name
/// constraints. A peer that is trusted by its own certificate is no authority, unless that says so
/// ([`TrustRoots`](flexbond_transport::TrustRoots)). Peers without a certificate are turned away: also all of other
/// transports, except over inproc, where nobody is judged. A certificate may be known by several things; its fingerprint
/// comes before its names, and those in its own order.
///
/// It goes with NULL and with CURVE, whose key it does not look at. It turns PLAIN away, because it knows no passwords: who
/// wants both asks it from an authenticator of their own, with the credentials looked at there.
///
/// A clone is the same list. It may be changed while sockets use it: that concerns connections made from then on.
///
/// ```
/// use flexbond_session::socket::{CertificateAllow, Options, Rep};
///
/// let allowed = CertificateAllow::new();
/// allowed.allow("DNS:node-7.example".parse()?, "node 7");
/// let rep = Rep::with_options(Options::new().authenticator(allowed.clone()))?;
/// assert!(allowed.revoke(&"DNS:Node-7.example".parse()?));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Default)]
pub struct CertificateAllow {
    users: Arc<RwLock<HashMap<CertificateName, String>>>,
}

impl CertificateAllow {
    /// A list that lets nobody in yet.
    #[must_use]
    pub fn new() -> Self {
        CertificateAllow::default()
    }

    /// Lets in the owners of certificates with this name, as this user. A name that no certificate has, which cannot be read
    /// from a text either, lets in nobody, and the log says so.
    pub fn allow(&self, name: CertificateName, user_id: impl Into<String>) {
        if !name.is_possible() {
            tracing::warn!(%name, "no certificate has this name: nobody is let in by it");
        }
        self.users.write().insert(name.folded(), user_id.into());
    }

    /// Lets in nobody more by this name; whether it was on the list. Connections that stand are not ended.
    pub fn revoke(&self, name: &CertificateName) -> bool {
        self.users.write().remove(&name.clone().folded()).is_some()
    }

    fn user(&self, identity: &PeerIdentity) -> Option<String> {
        let users = self.users.read();
        let fingerprint = identity.fingerprint().map(CertificateName::Fingerprint);
        let names = identity.names().iter().cloned().map(CertificateName::Name);
        let common = identity
            .common_name()
            .map(|name| CertificateName::CommonName(name.to_owned()));
        fingerprint
            .into_iter()
            .chain(names)
            .chain(common)
            .find_map(|name| users.get(&name.folded()).cloned())
    }
}

#[async_trait]
impl Authenticator for CertificateAllow {
    async fn authenticate(&self, request: AuthRequest) -> Decision {
        if let Credentials::Plain { .. } = request.credentials {
            return Decision::deny("a list of certificates knows no password of PLAIN");
        }
        let Some(identity) = &request.identity else {
            return Decision::deny("the peer showed no certificate");
        };
        match self.user(identity) {
            Some(user_id) => Decision::allow(user_id),
            None => Decision::deny(format!("no name of {identity:?} is on the list")),
        }
    }
}

impl fmt::Debug for CertificateAllow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CertificateAllow")
            .field("names", &self.users.read().len())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use flexbond_wire::zmtp::Secret;

    use super::*;

    fn name(text: &str) -> CertificateName {
        text.parse().expect("a name")
    }

    async fn decide(
        list: &CertificateAllow,
        identity: Option<PeerIdentity>,
        credentials: Credentials,
    ) -> Decision {
        let request = AuthRequest {
            domain: String::new(),
            address: String::new(),
            endpoint: "tls://127.0.0.1:1".parse().expect("an endpoint"),
            routing_id: Bytes::new(),
            credentials,
            identity,
        };
        list.authenticate(request).await
    }

    #[tokio::test]
    async fn owners_of_the_names_on_the_list_get_in_and_nobody_else() {
        let names = |names: &[PeerName]| {
            PeerIdentity::new(vec![Bytes::from_static(b"certificate")], None, names.to_vec())
        };
        let dns = |text: &str| PeerName::Dns(text.to_owned());
        let list = CertificateAllow::new();
        list.allow(dns("Ada.example.").into(), "ada");
        list.allow(name("URI:urn:eve"), "eve");
        list.allow(name("CN:old"), "old");
        let own = Fingerprint::of(b"special");
        list.allow(own.into(), "special");
        let special = PeerIdentity::new(
            vec![Bytes::from_static(b"special")],
            None,
            vec![dns("ada.example")],
        );
        for (identity, user) in [
            (names(&[dns("other.example"), dns("aDA.example")]), Some("ada")),
            (names(&[PeerName::Uri("urn:eve".to_owned())]), Some("eve")),
            (names(&[]).with_common_name("old"), Some("old")),
            (special, Some("special")),
            // The same text of another kind, and what only looks like it.
            (names(&[PeerName::Uri("ada.example".to_owned())]), None),
            (names(&[]).with_common_name("ada.example"), None),
            (names(&[PeerName::Uri("urn:EVE".to_owned())]), None),
            (names(&[dns("*.example")]), None),
            (names(&[dns("old")]), None),
            (PeerIdentity::new(Vec::new(), None, Vec::new()), None),
        ] {
            let decision = decide(&list, Some(identity.clone()), Credentials::Null).await;
            match user {
                Some(user) => assert_eq!(decision, Decision::allow(user), "{identity:?}"),
                None => assert!(matches!(decision, Decision::Deny { .. }), "{identity:?}"),
            }
        }
        let ada = || Some(names(&[dns("ada.example")]));
        let plain = Credentials::Plain {
            username: "ada".to_owned(),
            password: Secret::from("wrong"),
        };
        let denied = decide(&list, None, Credentials::Null).await;
        assert_eq!(denied, Decision::deny("the peer showed no certificate"));
        assert!(matches!(decide(&list, ada(), plain).await, Decision::Deny { .. }));
        assert!(list.revoke(&name("dns:ADA.example")) && !list.revoke(&name("DNS:ada.example")));
        assert!(matches!(
            decide(&list, ada(), Credentials::Null).await,
            Decision::Deny { .. }
        ));
    }
}
