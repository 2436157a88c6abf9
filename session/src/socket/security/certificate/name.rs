//! The name of a certificate, as people write it.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

use super::{Fingerprint, PeerName};

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
    /// is limited to some names; see [`PeerIdentity::common_name`](crate::PeerIdentity::common_name).
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
    /// The name as names are compared: of hosts, without regard to case and to the dot of the root.
    #[must_use]
    pub fn folded(self) -> Self {
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
    pub(super) fn is_possible(&self) -> bool {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> CertificateName {
        text.parse().expect("a name")
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
}
