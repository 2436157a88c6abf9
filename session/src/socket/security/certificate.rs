//! Who is let in by a certificate.

use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use async_trait::async_trait;
use flexbond_transport::{Fingerprint, PeerIdentity, PeerName};
use flexbond_wire::zmtp::Credentials;
use parking_lot::RwLock;
use thiserror::Error;

use super::{AuthRequest, Authenticator, Decision};

/// By what the owner of a certificate is known.
///
/// Written and read as OpenSSL writes names: `DNS:node-7.example`, `IP:192.0.2.7`, `email:ada@example.org`,
/// `URI:spiffe://example/node/7`; beside those `CN:node 7` and `SHA256:` with a [`Fingerprint`]. The word before the colon
/// is read without regard to case. A host name is read as certificates have it: without the dot of the root at its end. One
/// that no certificate has is an error: write those outside ASCII with `xn--` (RFC 5891).
///
/// ```
/// use flexbond_session::PeerName;
/// use flexbond_session::socket::CertificateName;
///
/// let name: CertificateName = "DNS:node-7.example".parse()?;
/// assert_eq!(name, PeerName::Dns("node-7.example".to_owned()).into());
/// assert_eq!(name.to_string(), "DNS:node-7.example");
/// # Ok::<(), flexbond_session::socket::CertificateNameError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CertificateName {
    /// One of the names in the certificate. Host names are compared without regard to case and to a dot at the end, all others
    /// exactly; a certificate for `*.example` has that name and no other.
    Name(PeerName),
    /// The subject's common name. It counts only in certificates that have no other names, and only where no trusted authority
    /// is limited to some names; see [`PeerIdentity::common_name`].
    CommonName(String),
    /// The certificate itself. Its successor has another fingerprint.
    Fingerprint(Fingerprint),
}

/// A text that is no [`CertificateName`].
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{text:?} is no name of a certificate: {reason}")]
#[non_exhaustive]
pub struct CertificateNameError {
    /// The text.
    pub text: String,
    /// What is wrong with it.
    pub reason: &'static str,
}

impl CertificateName {
    /// As names are compared.
    fn folded(self) -> Self {
        match self {
            CertificateName::Name(PeerName::Dns(mut name)) => {
                name.make_ascii_lowercase();
                name.truncate(rootless(&name).len());
                CertificateName::Name(PeerName::Dns(name))
            }
            other => other,
        }
    }

    /// Whether a certificate may have it.
    fn is_possible(&self) -> bool {
        match self {
            CertificateName::Name(PeerName::Dns(name)) => is_host(rootless(name)),
            _ => true,
        }
    }
}

/// A host name without the dot that stands for the root.
fn rootless(name: &str) -> &str {
    name.strip_suffix('.').unwrap_or(name)
}

/// What the subjectAltName extension has for names of hosts (RFC 5280, section 4.2.1.6), and some that it should not have.
fn is_host(name: &str) -> bool {
    let is_label = |label: &str| !label.is_empty() && label.len() <= 63;
    name.len() <= 253 && name.bytes().all(|byte| byte.is_ascii_graphic()) && name.split('.').all(is_label)
}

impl From<PeerName> for CertificateName {
    fn from(name: PeerName) -> Self {
        CertificateName::Name(name)
    }
}

impl From<Fingerprint> for CertificateName {
    fn from(fingerprint: Fingerprint) -> Self {
        CertificateName::Fingerprint(fingerprint)
    }
}

impl FromStr for CertificateName {
    type Err = CertificateNameError;

    fn from_str(text: &str) -> Result<Self, CertificateNameError> {
        let error = |reason| CertificateNameError {
            text: text.to_owned(),
            reason,
        };
        let kinds = "it begins with one of DNS:, IP:, email:, URI:, CN:, SHA256:";
        let (kind, name) = text.split_once(':').ok_or_else(|| error(kinds))?;
        if name.is_empty() {
            return Err(error("the name is missing"));
        }
        let owned = name.to_owned();
        Ok(match kind.to_ascii_lowercase().as_str() {
            "dns" => match is_host(rootless(name)) {
                true => PeerName::Dns(rootless(name).to_owned()).into(),
                false if !name.is_ascii() => {
                    return Err(error("certificates have host names in ASCII: write it with xn--"));
                }
                false => return Err(error("that is no host name")),
            },
            "email" => PeerName::Email(owned).into(),
            "uri" => PeerName::Uri(owned).into(),
            "ip" => match name.parse() {
                Ok(address) => PeerName::Ip(address).into(),
                Err(_) => return Err(error("that is no IP address")),
            },
            "cn" => CertificateName::CommonName(owned),
            "sha256" => match name.parse::<Fingerprint>() {
                Ok(fingerprint) => fingerprint.into(),
                Err(_) => return Err(error("a fingerprint has 64 hexadecimal digits")),
            },
            _ => return Err(error(kinds)),
        })
    }
}

impl fmt::Display for CertificateName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self {
            CertificateName::Name(PeerName::Dns(_)) => "DNS:",
            CertificateName::Name(PeerName::Ip(_)) => "IP:",
            CertificateName::Name(PeerName::Email(_)) => "email:",
            CertificateName::Name(PeerName::Uri(_)) => "URI:",
            CertificateName::Name(_) => "",
            CertificateName::CommonName(_) => "CN:",
            CertificateName::Fingerprint(_) => "SHA256:",
        };
        f.write_str(kind)?;
        match self {
            CertificateName::Name(name) => name.fmt(f),
            CertificateName::CommonName(name) => f.write_str(name),
            CertificateName::Fingerprint(fingerprint) => fingerprint.fmt(f),
        }
    }
}

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

    #[test]
    fn names_are_read_as_they_are_written() {
        let fingerprint = format!("SHA256:{}", Fingerprint::of(b"x"));
        for text in [
            "DNS:node-7.example",
            "IP:192.0.2.7",
            "IP:2001:db8::7",
            "email:ada@example.org",
            "URI:spiffe://example/node/7",
            "CN:node 7: the last",
            &fingerprint,
        ] {
            assert_eq!(name(text).to_string(), text);
            let (kind, rest) = text.split_once(':').expect("a colon");
            assert_eq!(name(&format!("{}:{rest}", kind.to_lowercase())), name(text));
        }
        for wrong in [
            "",
            "node-7.example",
            "DNS:",
            "IP:node",
            "SHA256:beef",
            "PIN:7",
            "DNS:.",
            "DNS:a..example",
            "DNS:node..",
            "DNS:node 7.example",
            "DNS:bücher.example",
        ] {
            let error = wrong.parse::<CertificateName>().expect_err("no name");
            assert!(error.to_string().contains(&format!("{wrong:?}")), "{error}");
        }
    }

    #[test]
    fn host_names_are_read_as_certificates_have_them() {
        assert_eq!(name("DNS:node-7.example."), name("DNS:node-7.example"));
        for odd in [
            "DNS:*.example",
            "DNS:a_b.example",
            "DNS:xn--bcher-kva.example",
            "DNS:localhost",
        ] {
            assert_eq!(name(odd).to_string(), odd);
        }
        let error = "DNS:bücher.example"
            .parse::<CertificateName>()
            .expect_err("no name");
        assert!(error.to_string().contains("xn--"), "{error}");
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
