//! What can go wrong with TLS: in a handshake, on a connection, with settings.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use rustls::{AlertDescription, CertificateError, InvalidMessage};
use thiserror::Error;

/// Why there is no secure connection, or no longer one. None can be had by trying to go on; a new connection is sound once
/// the cause is mended, which both ends can do while they run ([`Tls::reload`](super::Tls::reload)).
///
/// On a connection that was established, it is the inner error of an [`io::Error`].
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum TlsError {
    /// The server's certificate was issued for other names.
    #[error(
        "the server's certificate is not for {expected}; it is for {}",
        listed(presented)
    )]
    #[non_exhaustive]
    NameMismatch {
        /// The name or address that was connected to.
        expected: String,
        /// What the certificate was issued for.
        presented: Vec<String>,
    },
    /// No trust root has issued the peer's certificate, directly or through the certificates that came with it.
    #[error("the peer's certificate was issued by nobody who is trusted here")]
    UnknownIssuer,
    /// The peer's certificate, or one above it, is no longer valid.
    #[error("the peer's certificate has expired")]
    Expired,
    /// The peer's certificate, or one above it, is not yet valid. One of the clocks may be wrong.
    #[error("the peer's certificate is not yet valid")]
    NotYetValid,
    /// Something else is wrong with the peer's certificate.
    #[error("the peer's certificate is not accepted: {reason}")]
    #[non_exhaustive]
    Certificate {
        /// What is wrong.
        reason: String,
    },
    /// This listener wants certificates of its clients, and this client showed none.
    #[error("the client showed no certificate, and one is required")]
    NoClientCertificate,
    /// The server wants a certificate, and this end has none to show. With TLS 1.3 a client is told so only after it
    /// regards the connection as made: when it first reads.
    #[error("the server requires a certificate of its clients, and none was given here")]
    CertificateRequired,
    /// The peer ended it with an alert.
    #[error("the peer refused: {alert}")]
    #[non_exhaustive]
    Refused {
        /// What it said (RFC 8446, section 6.2).
        alert: String,
    },
    /// What the peer sent is not TLS: it is a plain one.
    #[error("the peer does not speak TLS; is it a plain tcp endpoint?")]
    NotTls,
    /// The two ends have no protocol version or algorithm in common.
    #[error("the peer is incompatible: {reason}")]
    #[non_exhaustive]
    Incompatible {
        /// What is missing.
        reason: String,
    },
    /// The handshake took longer than it may.
    #[error("the handshake was not complete after {after:?}")]
    #[non_exhaustive]
    TimedOut {
        /// How long it may take.
        after: Duration,
    },
    /// The peer closed the connection in the middle of the handshake.
    #[error("the peer closed the connection during the handshake")]
    Closed,
    /// Handshakes are under way with as many peers as may be, and this was the one to give way; see
    /// [`TlsOptions::max_handshakes`](super::TlsOptions::max_handshakes).
    #[error("the handshake gave way to a newer one: {limit} were under way")]
    #[non_exhaustive]
    Crowded {
        /// How many there may be.
        limit: usize,
    },
    /// The connection ended without the peer's farewell: something may be missing.
    #[error("the connection was cut off: the peer has not said that it was complete")]
    Truncated,
    /// The peer broke the protocol, or what it sent was changed on the way.
    #[error("the peer broke the TLS protocol: {reason}")]
    #[non_exhaustive]
    Protocol {
        /// How.
        reason: String,
    },
    /// The system failed.
    #[error("{0}")]
    Io(#[source] io::Error),
}

impl TlsError {
    /// What rustls found. `has_identity`: this end has a certificate to show.
    pub(super) fn of(error: rustls::Error, has_identity: bool) -> Self {
        match error {
            rustls::Error::InvalidCertificate(error) => TlsError::of_certificate(error),
            rustls::Error::NoCertificatesPresented => TlsError::NoClientCertificate,
            rustls::Error::AlertReceived(AlertDescription::CertificateRequired) if !has_identity => {
                TlsError::CertificateRequired
            }
            rustls::Error::AlertReceived(alert) => TlsError::Refused { alert: spoken(alert) },
            rustls::Error::InvalidMessage(InvalidMessage::InvalidContentType) => TlsError::NotTls,
            rustls::Error::PeerIncompatible(reason) => TlsError::Incompatible {
                reason: format!("{reason:?}"),
            },
            error => TlsError::Protocol {
                reason: error.to_string(),
            },
        }
    }

    fn of_certificate(error: CertificateError) -> Self {
        match error {
            CertificateError::NotValidForNameContext { expected, presented } => TlsError::NameMismatch {
                expected: expected.to_str().into_owned(),
                presented,
            },
            CertificateError::UnknownIssuer => TlsError::UnknownIssuer,
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => TlsError::Expired,
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                TlsError::NotYetValid
            }
            error => TlsError::Certificate {
                reason: error.to_string(),
            },
        }
    }

    /// For the methods of a stream, which know nothing but I/O errors.
    pub(super) fn into_io(self) -> io::Error {
        let kind = match self {
            TlsError::Io(error) => return error,
            TlsError::Truncated | TlsError::Closed => io::ErrorKind::UnexpectedEof,
            TlsError::TimedOut { .. } => io::ErrorKind::TimedOut,
            TlsError::CertificateRequired | TlsError::Refused { .. } => io::ErrorKind::ConnectionAborted,
            _ => io::ErrorKind::InvalidData,
        };
        io::Error::new(kind, self)
    }
}

/// The names of a certificate, in brief.
fn listed(names: &[String]) -> String {
    const SHOWN: usize = 5;
    match names {
        [] => "no name at all".to_owned(),
        names if names.len() <= SHOWN => names.join(", "),
        names => format!("{} and {} more", names[..SHOWN].join(", "), names.len() - SHOWN),
    }
}

/// What an alert means, and its name.
fn spoken(alert: AlertDescription) -> String {
    let meaning = match alert {
        AlertDescription::UnknownCA => "it does not know the issuer of the certificate shown here",
        AlertDescription::CertificateExpired => "the certificate shown here has expired",
        AlertDescription::CertificateRequired => "it requires another certificate than the one given here",
        AlertDescription::BadCertificate | AlertDescription::CertificateUnknown => {
            "it does not accept the certificate shown here"
        }
        AlertDescription::ProtocolVersion => "it speaks other versions of TLS",
        alert => return format!("alert {alert:?}"),
    };
    format!("{meaning} (alert {alert:?})")
}

/// Why settings cannot be used. Nothing has changed then.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum TlsSettingsError {
    /// A file cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    #[non_exhaustive]
    Unreadable {
        /// Which one.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file with a private key can be read or written by others than its owner. `chmod 600` it; a group may read it
    /// only where it belongs to root.
    #[error("{} holds a private key and others may use it (mode {mode:03o}); chmod 600 it", path.display())]
    #[non_exhaustive]
    KeyExposed {
        /// Which one.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// What should be PEM is not, or has nothing of the kind that is wanted.
    #[error("no {wanted} in PEM form in {origin}")]
    #[non_exhaustive]
    NotFound {
        /// What should be there.
        wanted: &'static str,
        /// The file's name, or what else it came from.
        origin: String,
    },
    /// The certificate and the key do not belong together, or cannot be used.
    #[error("the certificate and the key of {origin} cannot be used: {reason}")]
    #[non_exhaustive]
    Identity {
        /// The file's name, or what else it came from.
        origin: String,
        /// What is wrong.
        reason: String,
    },
    /// Trust roots that cannot be used.
    #[error("the trust roots of {origin} cannot be used: {reason}")]
    #[non_exhaustive]
    Roots {
        /// The file's name, or what else they came from.
        origin: String,
        /// What is wrong.
        reason: String,
    },
    /// The settings do not go together.
    #[error("{reason}")]
    #[non_exhaustive]
    Unusable {
        /// What is wrong, and what to do.
        reason: String,
    },
}
