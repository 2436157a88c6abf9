//! Certificates and keys, read from PEM files.

use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::path::Path;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use zeroize::Zeroizing;

use super::TlsSettingsError;

/// The largest file that is read, in bytes: a few thousand certificates.
const MAX_FILE: u64 = 8 << 20;

/// A file of certificates.
pub(super) fn read(path: &Path) -> Result<Vec<u8>, TlsSettingsError> {
    read_checked(path, |_| Ok(()))
}

/// A file with a private key; refused where others than its owner may use it. What was read is overwritten when it is
/// dropped.
pub(super) fn read_key(path: &Path) -> Result<Zeroizing<Vec<u8>>, TlsSettingsError> {
    read_checked(path, |metadata| {
        exposed(metadata).map_or(Ok(()), |mode| {
            Err(TlsSettingsError::KeyExposed {
                path: path.to_owned(),
                mode,
            })
        })
    })
    .map(Zeroizing::new)
}

fn read_checked(
    path: &Path,
    check: impl FnOnce(&Metadata) -> Result<(), TlsSettingsError>,
) -> Result<Vec<u8>, TlsSettingsError> {
    let failed = |source| TlsSettingsError::Unreadable {
        path: path.to_owned(),
        source,
    };
    let file = File::open(path).map_err(failed)?;
    let metadata = file.metadata().map_err(failed)?;
    // Of the file that is open, so that nobody puts another one in its place in between.
    check(&metadata)?;
    // Memory that never grows leaves no copy of a key behind.
    let room = metadata.len().min(MAX_FILE) + 1;
    let mut bytes = Vec::with_capacity(usize::try_from(room).unwrap_or(usize::MAX));
    file.take(room).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 == room {
        return Err(failed(io::Error::new(
            io::ErrorKind::FileTooLarge,
            format!("it grows, or is larger than {MAX_FILE} bytes"),
        )));
    }
    Ok(bytes)
}

/// The permissions of a file that others than its owner may use. A group may read what belongs to root: so systems give
/// services their keys (Debian's group `ssl-cert`).
#[cfg(unix)]
fn exposed(metadata: &Metadata) -> Option<u32> {
    use std::os::unix::fs::MetadataExt;
    let allowed = if metadata.uid() == 0 { 0o740 } else { 0o700 };
    let mode = metadata.mode() & 0o777;
    (mode & !allowed != 0).then_some(mode)
}

/// Elsewhere permissions are not so easily told.
#[cfg(not(unix))]
fn exposed(_: &Metadata) -> Option<u32> {
    None
}

/// All certificates of a text; there is at least one.
pub(super) fn certificates(
    pem: &[u8],
    origin: &str,
) -> Result<Vec<CertificateDer<'static>>, TlsSettingsError> {
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match certificates {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        _ => Err(TlsSettingsError::NotFound {
            wanted: "certificate",
            origin: origin.to_owned(),
        }),
    }
}

/// The first private key of a text. The error shows nothing of the text.
pub(super) fn key(pem: &[u8], origin: &str) -> Result<PrivateKeyDer<'static>, TlsSettingsError> {
    PrivateKeyDer::from_pem_slice(pem).map_err(|_| TlsSettingsError::NotFound {
        wanted: "private key",
        origin: origin.to_owned(),
    })
}
