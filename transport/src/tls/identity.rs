//! The names in a certificate.

use std::net::IpAddr;

use bytes::Bytes;
use rustls::pki_types::CertificateDer;
use x509_cert::Certificate;
use x509_cert::der::Decode;
use x509_cert::der::oid::ObjectIdentifier;
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::{DirectoryString, GeneralName};
use x509_cert::name::Name;

use super::role;
use crate::{PeerIdentity, PeerName};

/// The attribute `commonName` (RFC 4519, section 2.3).
const COMMON_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.3");

/// The identity that a verified chain proves. `is_limited`: whoever is trusted may have issued certificates for some names
/// only. That does not hold for common names, whose form is not known; so they count where nobody is limited.
pub(super) fn of_chain(chain: &[CertificateDer<'_>], is_limited: bool) -> Option<PeerIdentity> {
    let (own, others) = chain.split_first()?;
    let Who {
        subject,
        common_name,
        names,
    } = read(own);
    let is_limited = is_limited || others.iter().any(|other| role::is_limited(other));
    let common_name = common_name.filter(|_| !is_limited);
    let chain = chain
        .iter()
        .map(|certificate| Bytes::copy_from_slice(certificate))
        .collect();
    let identity = PeerIdentity::new(chain, subject, names);
    Some(match common_name {
        Some(name) => identity.with_common_name(name),
        None => identity,
    })
}

/// Whom a certificate is for.
#[derive(Debug, Default, PartialEq, Eq)]
struct Who {
    subject: Option<String>,
    common_name: Option<String>,
    names: Vec<PeerName>,
}

/// Nothing of it where the certificate cannot be read: this reader is stricter than the verifier.
fn read(certificate: &[u8]) -> Who {
    let Ok(certificate) = Certificate::from_der(certificate) else {
        return Who::default();
    };
    let certificate = certificate.tbs_certificate();
    let subject = certificate.subject();
    let (common_name, names) = match certificate.get_extension::<SubjectAltName>() {
        Ok(Some((_, SubjectAltName(names)))) => (None, names.iter().filter_map(name).collect()),
        Ok(None) => (common_name(subject), Vec::new()),
        // It is there, and so the common name counts for nothing.
        Err(_) => (None, Vec::new()),
    };
    Who {
        subject: (!subject.is_empty()).then(|| subject.to_string()),
        common_name,
        names,
    }
}

/// The only one that there is: of several, nobody knows which was meant.
fn common_name(subject: &Name) -> Option<String> {
    let mut all = subject.iter().filter(|attribute| attribute.oid == COMMON_NAME);
    let (Some(attribute), None) = (all.next(), all.next()) else {
        return None;
    };
    let name = DirectoryString::try_from(&attribute.value).ok()?;
    Some(name.into())
}

fn name(name: &GeneralName) -> Option<PeerName> {
    Some(match name {
        GeneralName::DnsName(name) => PeerName::Dns(name.to_string()),
        GeneralName::Rfc822Name(name) => PeerName::Email(name.to_string()),
        GeneralName::UniformResourceIdentifier(name) => PeerName::Uri(name.to_string()),
        GeneralName::IpAddress(bytes) => PeerName::Ip(address(bytes.as_bytes())?),
        _ => return None,
    })
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
    v4.or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_certificate_has_no_names() {
        for junk in [&b""[..], b"\x30", b"\x30\x82\xff\xff", &[0x30; 300]] {
            assert_eq!(read(junk), Who::default());
        }
    }

    #[test]
    fn addresses_have_four_or_sixteen_bytes() {
        assert_eq!(address(&[127, 0, 0, 1]), Some(IpAddr::from([127, 0, 0, 1])));
        assert_eq!(address(&[0; 16]), Some(IpAddr::from([0_u8; 16])));
        for wrong in [0, 3, 5, 8, 15, 17, 32] {
            assert_eq!(address(&vec![1; wrong]), None);
        }
    }
}
