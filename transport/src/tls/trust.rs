//! What a trusted certificate is trusted for: to issue others, or only to be itself.

use std::collections::HashSet;
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, RootCertStore, SignatureScheme,
};

use super::role::Role;

/// The certificates that are trusted.
///
/// The library that builds chains takes each for an authority, whatever it says of itself. So those that do not say that
/// they are authorities are kept apart, and count for themselves alone.
#[derive(Debug)]
pub(super) struct Trust {
    authorities: Arc<RootCertStore>,
    peers: HashSet<CertificateDer<'static>>,
    /// Of the peers, for clients that choose by them what they show.
    subjects: Vec<DistinguishedName>,
    /// Some authority may issue certificates for some names only.
    is_limited: bool,
}

impl Trust {
    pub(super) fn empty() -> Self {
        Trust {
            authorities: Arc::new(RootCertStore::empty()),
            peers: HashSet::new(),
            subjects: Vec::new(),
            is_limited: false,
        }
    }

    /// Trusts one more.
    pub(super) fn add(&mut self, certificate: CertificateDer<'static>) -> Result<(), Error> {
        let unreadable = Error::InvalidCertificate(CertificateError::BadEncoding);
        let role = Role::of(&certificate).ok_or(unreadable)?;
        if role.is_authority {
            Arc::make_mut(&mut self.authorities).add(certificate)?;
            self.is_limited |= role.is_limited;
        } else {
            self.subjects.append(&mut alone(certificate.clone())?.subjects());
            self.peers.insert(certificate);
        }
        Ok(())
    }

    pub(super) fn len(&self) -> usize {
        self.authorities.len() + self.peers.len()
    }

    /// Whether some authority may issue certificates for some names only.
    pub(super) fn is_limited(&self) -> bool {
        self.is_limited
    }

    /// What stands here of a peer itself.
    fn is_peer(&self, certificate: &CertificateDer<'_>) -> bool {
        self.peers.contains(certificate)
    }
}

/// A certificate that has issued itself, as the only root.
fn alone(certificate: CertificateDer<'_>) -> Result<RootCertStore, Error> {
    let mut store = RootCertStore::empty();
    store.add(certificate)?;
    Ok(store)
}

fn unknown_issuer() -> Error {
    Error::InvalidCertificate(CertificateError::UnknownIssuer)
}

fn unbuilt(error: &impl ToString) -> Error {
    Error::General(error.to_string())
}

/// Checks certificates of servers.
#[derive(Debug)]
pub(super) struct ServerCheck {
    trust: Arc<Trust>,
    provider: Arc<CryptoProvider>,
    by_authorities: Option<Arc<WebPkiServerVerifier>>,
}

impl ServerCheck {
    pub(super) fn new(trust: &Arc<Trust>, provider: &Arc<CryptoProvider>) -> Result<Self, Error> {
        let by_authorities = match trust.authorities.is_empty() {
            true => None,
            false => Some(server_verifier(Arc::clone(&trust.authorities), provider)?),
        };
        Ok(ServerCheck {
            trust: Arc::clone(trust),
            provider: Arc::clone(provider),
            by_authorities,
        })
    }
}

fn server_verifier(
    roots: Arc<RootCertStore>,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<WebPkiServerVerifier>, Error> {
    WebPkiServerVerifier::builder_with_provider(roots, Arc::clone(provider))
        .build()
        .map_err(|error| unbuilt(&error))
}

impl ServerCertVerifier for ServerCheck {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if self.trust.is_peer(end_entity) {
            // Its name, its time and what it may be used for are looked at as ever.
            let verifier = server_verifier(Arc::new(alone(end_entity.clone())?), &self.provider)?;
            return verifier.verify_server_cert(end_entity, &[], server_name, ocsp_response, now);
        }
        let verifier = self.by_authorities.as_ref().ok_or_else(unknown_issuer)?;
        verifier.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(
            message,
            cert,
            dss,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(
            message,
            cert,
            dss,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}

/// Checks certificates of clients.
#[derive(Debug)]
pub(super) struct ClientCheck {
    trust: Arc<Trust>,
    provider: Arc<CryptoProvider>,
    by_authorities: Option<Arc<dyn ClientCertVerifier>>,
    subjects: Vec<DistinguishedName>,
    is_required: bool,
}

impl ClientCheck {
    pub(super) fn new(
        trust: &Arc<Trust>,
        provider: &Arc<CryptoProvider>,
        is_required: bool,
    ) -> Result<Self, Error> {
        let by_authorities = match trust.authorities.is_empty() {
            true => None,
            false => Some(client_verifier(Arc::clone(&trust.authorities), provider)?),
        };
        let mut subjects = trust.authorities.subjects();
        subjects.extend_from_slice(&trust.subjects);
        Ok(ClientCheck {
            trust: Arc::clone(trust),
            provider: Arc::clone(provider),
            by_authorities,
            subjects,
            is_required,
        })
    }
}

fn client_verifier(
    roots: Arc<RootCertStore>,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ClientCertVerifier>, Error> {
    WebPkiClientVerifier::builder_with_provider(roots, Arc::clone(provider))
        .build()
        .map_err(|error| unbuilt(&error))
}

impl ClientCertVerifier for ClientCheck {
    fn client_auth_mandatory(&self) -> bool {
        self.is_required
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &self.subjects
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        if self.trust.is_peer(end_entity) {
            let verifier = client_verifier(Arc::new(alone(end_entity.clone())?), &self.provider)?;
            return verifier.verify_client_cert(end_entity, &[], now);
        }
        let verifier = self.by_authorities.as_ref().ok_or_else(unknown_issuer)?;
        verifier.verify_client_cert(end_entity, intermediates, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(
            message,
            cert,
            dss,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(
            message,
            cert,
            dss,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::role;

    #[test]
    fn what_cannot_be_read_is_trusted_for_nothing() {
        for junk in [&b""[..], b"\x30", b"\x30\x82\xff\xff", &[0x30; 300]] {
            let mut trust = Trust::empty();
            assert!(trust.add(CertificateDer::from(junk.to_vec())).is_err());
            assert_eq!(trust.len(), 0);
            assert!(role::is_limited(junk));
        }
    }

    #[test]
    fn most_authorities_of_a_system_say_that_they_are() {
        let found = rustls_native_certs::load_native_certs().certs;
        let authorities = found
            .iter()
            .filter(|certificate| Role::of(certificate).is_some_and(|role| role.is_authority));
        assert!(2 * authorities.count() >= found.len(), "of {}", found.len());
    }
}
