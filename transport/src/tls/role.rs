//! What a certificate says of itself: whether it is an authority, and for which names.

use x509_cert::Certificate;
use x509_cert::der::Decode;
use x509_cert::ext::pkix::{BasicConstraints, KeyUsage, NameConstraints};

/// What a certificate says of itself, as far as it matters here.
pub(super) struct Role {
    pub(super) is_authority: bool,
    pub(super) is_limited: bool,
}

impl Role {
    pub(super) fn of(certificate: &[u8]) -> Option<Self> {
        let certificate = Certificate::from_der(certificate).ok()?;
        let certificate = certificate.tbs_certificate();
        let basic = certificate.get_extension::<BasicConstraints>().ok()?;
        let usage = certificate.get_extension::<KeyUsage>().ok()?;
        let constraints = certificate.get_extension::<NameConstraints>();
        Some(Role {
            // RFC 5280, sections 4.2.1.3 and 4.2.1.9.
            is_authority: basic.is_some_and(|(_, basic)| basic.ca)
                && usage.is_none_or(|(_, usage)| usage.key_cert_sign()),
            is_limited: !matches!(constraints, Ok(None)),
        })
    }
}

/// Whether a certificate of a chain may issue certificates for some names only, or cannot be read.
pub(super) fn is_limited(certificate: &[u8]) -> bool {
    Role::of(certificate).is_none_or(|role| role.is_limited)
}
