//! What a user decides: who this end is, whom it trusts, and the limits.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustls::crypto::aws_lc_rs;
use rustls::sign::CertifiedKey;

use super::trust::Trust;
use super::{TlsSettingsError, pem};

/// A certificate chain and its private key: who this end is.
///
/// The key is held by rustls alone and never shown. Cheap to clone.
#[derive(Clone)]
pub struct TlsIdentity {
    pub(super) key: Arc<CertifiedKey>,
    files: Option<(PathBuf, PathBuf)>,
}

impl TlsIdentity {
    /// Reads a chain, this end's own certificate first, and its private key (PKCS#8, PKCS#1 or SEC1) from PEM files. They
    /// are read again by [`Tls::reload`](super::Tls::reload).
    ///
    /// The file of the key may be used by its owner alone (`chmod 600`); a group may read it where it belongs to root.
    /// Anything else is refused, on Unix. This reads files and so may block for a moment.
    ///
    /// # Errors
    /// [`TlsSettingsError`].
    pub fn from_pem_files(chain: impl AsRef<Path>, key: impl AsRef<Path>) -> Result<Self, TlsSettingsError> {
        let (chain, key) = (chain.as_ref(), key.as_ref());
        let mut identity = TlsIdentity::parse(
            &pem::read(chain)?,
            &pem::read_key(key)?,
            &chain.display().to_string(),
            &key.display().to_string(),
        )?;
        identity.files = Some((chain.to_owned(), key.to_owned()));
        Ok(identity)
    }

    /// The same from texts that are in memory. To renew it, give [`Tls::replace`](super::Tls::replace) another one.
    ///
    /// # Errors
    /// [`TlsSettingsError`].
    pub fn from_pem(chain: impl AsRef<[u8]>, key: impl AsRef<[u8]>) -> Result<Self, TlsSettingsError> {
        TlsIdentity::parse(chain.as_ref(), key.as_ref(), "the text given", "the text given")
    }

    fn parse(chain: &[u8], key: &[u8], of_chain: &str, of_key: &str) -> Result<Self, TlsSettingsError> {
        let chain = pem::certificates(chain, of_chain)?;
        let key = pem::key(key, of_key)?;
        let key = CertifiedKey::from_der(chain, key, &aws_lc_rs::default_provider()).map_err(|error| {
            TlsSettingsError::Identity {
                origin: of_chain.to_owned(),
                reason: error.to_string(),
            }
        })?;
        Ok(TlsIdentity {
            key: Arc::new(key),
            files: None,
        })
    }

    fn reread(&self) -> Result<Self, TlsSettingsError> {
        match &self.files {
            Some((chain, key)) => TlsIdentity::from_pem_files(chain, key),
            None => Ok(self.clone()),
        }
    }
}

impl fmt::Debug for TlsIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsIdentity")
            .field("files", &self.files)
            .finish_non_exhaustive()
    }
}

/// Whom this end trusts: authorities, that is to say certificates that may issue others, and single peers, by certificates
/// of their own.
///
/// Which of the two a certificate is, it says itself (RFC 5280, section 4.2.1.9). One that says `CA:TRUE` is an authority
/// for whatever names its name constraints leave it: whoever has its key can be everybody. Any other is trusted as exactly
/// that certificate, byte for byte, if it has issued itself and its time has come and is not over; what is signed with its
/// key is not. `openssl req -x509` makes authorities unless it is told `-addext basicConstraints=critical,CA:FALSE`.
///
/// Cheap to clone.
#[derive(Clone)]
pub struct TrustRoots {
    pub(super) trust: Arc<Trust>,
    origin: Origin,
}

#[derive(Clone, Debug)]
enum Origin {
    System,
    File(PathBuf),
    Given,
}

impl TrustRoots {
    /// The authorities that the system trusts; `SSL_CERT_FILE` and `SSL_CERT_DIR` name others. Read again by
    /// [`Tls::reload`](super::Tls::reload). This reads files and so may block for a moment.
    ///
    /// # Errors
    /// [`TlsSettingsError::Roots`] if there are none.
    pub fn system() -> Result<Self, TlsSettingsError> {
        let found = rustls_native_certs::load_native_certs();
        let mut trust = Trust::empty();
        for certificate in found.certs {
            // Systems have some that are of no use; those are left out, as everybody does.
            let _ = trust.add(certificate);
        }
        if trust.len() == 0 {
            return Err(TlsSettingsError::Roots {
                origin: "the system".to_owned(),
                reason: found
                    .errors
                    .first()
                    .map_or_else(|| "there are none".to_owned(), ToString::to_string),
            });
        }
        Ok(TrustRoots {
            trust: Arc::new(trust),
            origin: Origin::System,
        })
    }

    /// The certificates of a PEM file, and no others: authorities, and peers' own ones of version 3. Read again by
    /// [`Tls::reload`](super::Tls::reload).
    ///
    /// # Errors
    /// [`TlsSettingsError`].
    pub fn from_pem_file(path: impl AsRef<Path>) -> Result<Self, TlsSettingsError> {
        let path = path.as_ref();
        let mut roots = TrustRoots::parse(&pem::read(path)?, &path.display().to_string())?;
        roots.origin = Origin::File(path.to_owned());
        Ok(roots)
    }

    /// The same from a text that is in memory.
    ///
    /// # Errors
    /// [`TlsSettingsError`].
    pub fn from_pem(pem: impl AsRef<[u8]>) -> Result<Self, TlsSettingsError> {
        TrustRoots::parse(pem.as_ref(), "the text given")
    }

    fn parse(pem: &[u8], origin: &str) -> Result<Self, TlsSettingsError> {
        let mut trust = Trust::empty();
        for certificate in pem::certificates(pem, origin)? {
            // Here each of them is meant.
            trust.add(certificate).map_err(|error| TlsSettingsError::Roots {
                origin: origin.to_owned(),
                reason: error.to_string(),
            })?;
        }
        Ok(TrustRoots {
            trust: Arc::new(trust),
            origin: Origin::Given,
        })
    }

    fn reread(&self) -> Result<Self, TlsSettingsError> {
        match &self.origin {
            Origin::System => TrustRoots::system(),
            Origin::File(path) => TrustRoots::from_pem_file(path),
            Origin::Given => Ok(self.clone()),
        }
    }
}

impl fmt::Debug for TrustRoots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TrustRoots")
            .field("origin", &self.origin)
            .field("certificates", &self.trust.len())
            .finish()
    }
}

/// What a server makes of certificates of its clients.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub enum ClientCertificates {
    /// It does not ask for any: everybody may connect, and [`Connection::identity`](crate::Connection::identity) is
    /// `None`.
    #[default]
    Ignored,
    /// It asks; one that is shown must be among these or issued by them, and who shows none may connect too.
    Optional(TrustRoots),
    /// Only who shows one that is among these or issued by them may connect.
    Required(TrustRoots),
}

/// The side of those who bind.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct TlsServer {
    /// What clients are shown.
    pub identity: TlsIdentity,
    /// What clients have to show. Default: [`Ignored`](ClientCertificates::Ignored).
    pub clients: ClientCertificates,
}

impl TlsServer {
    /// A server that shows `identity`, and to which everybody may connect.
    #[must_use]
    pub fn new(identity: TlsIdentity) -> Self {
        TlsServer {
            identity,
            clients: ClientCertificates::Ignored,
        }
    }

    /// Sets [`clients`](Self#structfield.clients).
    #[must_use]
    pub fn clients(mut self, clients: ClientCertificates) -> Self {
        self.clients = clients;
        self
    }
}

/// The side of those who connect.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct TlsClient {
    /// Whom the server's certificate must be of, or be issued by.
    pub roots: TrustRoots,
    /// What is shown to a server that asks. Default: nothing.
    pub identity: Option<TlsIdentity>,
    /// The name or address that the server's certificate must be for, whatever the endpoint. Default: the endpoint's host. It
    /// is always checked, be it a name or an address. Whoever has a certificate for it passes for the server at every
    /// endpoint that this client connects to: where several have one, none is told from the others.
    pub server_name: Option<String>,
}

impl TlsClient {
    /// A client that trusts `roots`.
    #[must_use]
    pub fn new(roots: TrustRoots) -> Self {
        TlsClient {
            roots,
            identity: None,
            server_name: None,
        }
    }

    /// Sets [`identity`](Self#structfield.identity).
    #[must_use]
    pub fn identity(mut self, identity: TlsIdentity) -> Self {
        self.identity = Some(identity);
        self
    }

    /// Sets [`server_name`](Self#structfield.server_name).
    #[must_use]
    pub fn server_name(mut self, name: impl Into<String>) -> Self {
        self.server_name = Some(name.into());
        self
    }
}

/// What a [`Tls`](super::Tls) is made of. One without [`server`](Self#structfield.server) cannot bind, one without
/// [`client`](Self#structfield.client) cannot connect.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct TlsOptions {
    /// The side of those who bind. Default: none.
    pub server: Option<TlsServer>,
    /// The side of those who connect. Default: none.
    pub client: Option<TlsClient>,
    /// How long a handshake may take, that of TCP not counted. Default 10 s.
    pub handshake_timeout: Duration,
    /// How many handshakes a listener has under way at most. One more, and another gives way: of those that come from the
    /// address with the most (an IPv6 network of 64 bits counts as one), the one whose client has brought it on least
    /// lately. So silent clients hold up nobody, and no single address keeps out the others. Default 256; at least 1.
    pub max_handshakes: usize,
    /// Speaks TLS 1.2 too, with peers that know nothing newer. Default off: TLS 1.3 alone.
    pub tls12: bool,
}

impl Default for TlsOptions {
    fn default() -> Self {
        TlsOptions {
            server: None,
            client: None,
            handshake_timeout: Duration::from_secs(10),
            max_handshakes: 256,
            tls12: false,
        }
    }
}

impl TlsOptions {
    /// Sets [`server`](Self#structfield.server).
    #[must_use]
    pub fn server(mut self, server: TlsServer) -> Self {
        self.server = Some(server);
        self
    }

    /// Sets [`client`](Self#structfield.client).
    #[must_use]
    pub fn client(mut self, client: TlsClient) -> Self {
        self.client = Some(client);
        self
    }

    /// Sets [`handshake_timeout`](Self#structfield.handshake_timeout).
    #[must_use]
    pub fn handshake_timeout(mut self, timeout: Duration) -> Self {
        self.handshake_timeout = timeout;
        self
    }

    /// Sets [`max_handshakes`](Self#structfield.max_handshakes).
    #[must_use]
    pub fn max_handshakes(mut self, handshakes: usize) -> Self {
        self.max_handshakes = handshakes;
        self
    }

    /// Sets [`tls12`](Self#structfield.tls12).
    #[must_use]
    pub fn tls12(mut self, tls12: bool) -> Self {
        self.tls12 = tls12;
        self
    }

    /// The same, with all files read again.
    pub(super) fn reread(&self) -> Result<Self, TlsSettingsError> {
        let mut new = self.clone();
        if let Some(server) = &mut new.server {
            server.identity = server.identity.reread()?;
            if let ClientCertificates::Optional(roots) | ClientCertificates::Required(roots) =
                &mut server.clients
            {
                *roots = roots.reread()?;
            }
        }
        if let Some(client) = &mut new.client {
            client.roots = client.roots.reread()?;
            client.identity = client.identity.as_ref().map(TlsIdentity::reread).transpose()?;
        }
        Ok(new)
    }
}
