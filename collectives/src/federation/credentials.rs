//! How a party and a message server know each other: keys and certificates, read from files.

use std::io;
use std::path::{Path, PathBuf};

use flexbond_session::socket::Options;
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Keys or certificates that cannot be used. Nothing has changed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum CredentialError {
    /// A file cannot be read.
    #[error("`{key}`: cannot read {}", path.display())]
    Read {
        /// Which key of the configuration names it.
        key: String,
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// What is there is no key, or not the one that is needed.
    #[error("`{key}`: {reason}")]
    Unusable {
        /// Which key of the configuration.
        key: String,
        /// What is wrong, and what to do.
        reason: String,
    },
    /// The program was built without what this needs.
    #[error("`{key}`: this program was built without the feature `{feature}`")]
    Missing {
        /// Which key of the configuration.
        key: String,
        /// The feature.
        feature: &'static str,
    },
}

/// The keys with which a party reaches its message server by CURVE: both know each other then, and nobody else can read
/// what they say.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct CurveKeys {
    /// The file with this party's secret key, as `flexbond keygen` and pyzmq write it. In a file, a relative path counts
    /// from the folder of the configuration.
    pub secret_file: PathBuf,
    /// The server's public key: 40 characters (Z85), as `flexbond keygen` prints it.
    pub server_key: String,
}

impl CurveKeys {
    /// This party's secret file, and the server's public key.
    #[must_use]
    pub fn new(secret_file: impl Into<PathBuf>, server_key: impl Into<String>) -> Self {
        CurveKeys {
            secret_file: secret_file.into(),
            server_key: server_key.into(),
        }
    }

    pub(super) fn below(&mut self, folder: &Path) {
        below(folder, &mut self.secret_file);
    }

    /// Options of a socket that connects.
    pub(super) fn client(&self, key: &str, options: Options) -> Result<Options, CredentialError> {
        curve_client(key, &self.secret_file, &self.server_key, options)
    }
}

/// Certificates for `tls://` endpoints, all in PEM files. In a configuration file, relative paths count from its folder.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct TlsFiles {
    /// The authorities that are trusted. Left out: those of the system. A server that has them demands certificates of
    /// whoever connects.
    pub authorities: Option<PathBuf>,
    /// The certificate that is shown, with those between it and its authority.
    pub certificate: Option<PathBuf>,
    /// Its private key, which nobody else may read.
    pub private_key: Option<PathBuf>,
}

impl TlsFiles {
    pub(super) fn below(&mut self, folder: &Path) {
        let files = [
            &mut self.authorities,
            &mut self.certificate,
            &mut self.private_key,
        ];
        files.into_iter().flatten().for_each(|path| below(folder, path));
    }
}

/// A relative path counts from the folder of the file that names it.
pub(super) fn below(folder: &Path, path: &mut PathBuf) {
    if path.is_relative() {
        *path = folder.join(&*path);
    }
}

#[cfg(feature = "curve")]
mod curve {
    use std::fs::File;
    use std::io::Read;
    use std::path::Path;

    use flexbond_session::socket::{Certificate, CurveClient, KeyPair, Options, PublicKey};

    use super::CredentialError;

    /// Bytes of a file with keys, at most: what is larger is another file.
    const LONGEST: u64 = 64 << 10;

    pub(in crate::federation) fn curve_client(
        key: &str,
        secret_file: &Path,
        server_key: &str,
        options: Options,
    ) -> Result<Options, CredentialError> {
        let server = public_key(&format!("{key}.server_key"), server_key)?;
        let keys = secret_keys(&format!("{key}.secret_file"), secret_file)?;
        Ok(options.curve_client(CurveClient::new(server, keys)))
    }

    pub(in crate::federation) fn public_key(key: &str, text: &str) -> Result<PublicKey, CredentialError> {
        text.parse().map_err(|error| CredentialError::Unusable {
            key: key.to_owned(),
            reason: format!("{error}; a public key is in the file that ends in .key"),
        })
    }

    pub(in crate::federation) fn secret_keys(key: &str, path: &Path) -> Result<KeyPair, CredentialError> {
        let unread = |source| CredentialError::Read {
            key: key.to_owned(),
            path: path.to_owned(),
            source,
        };
        let unusable = |reason: String| CredentialError::Unusable {
            key: key.to_owned(),
            reason: format!("{}: {reason}", path.display()),
        };
        let file = File::open(path).map_err(unread)?;
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;

            let metadata = file.metadata().map_err(unread)?;
            let mode = metadata.permissions().mode();
            if metadata.is_file() && mode & 0o022 != 0 {
                let reason = "others can write this file; if the key is still yours, chmod 600";
                return Err(unusable(reason.to_owned()));
            }
            if metadata.is_file() && mode & 0o044 != 0 {
                tracing::warn!(file = %path.display(), "others can read this secret key: chmod 600");
            }
        }
        let mut text = zeroize::Zeroizing::new(String::with_capacity(LONGEST as usize + 64));
        file.take(LONGEST + 1).read_to_string(&mut text).map_err(unread)?;
        if text.len() as u64 > LONGEST {
            return Err(unusable("it is too large for a key".to_owned()));
        }
        let certificate: Certificate = text.parse().map_err(|error| unusable(format!("{error}")))?;
        certificate.keys.ok_or_else(|| {
            unusable("only a public key; the secret one is in the file that ends in .key_secret".to_owned())
        })
    }
}

#[cfg(feature = "curve")]
pub(super) use curve::{curve_client, public_key, secret_keys};

#[cfg(not(feature = "curve"))]
pub(super) fn curve_client(key: &str, _: &Path, _: &str, _: Options) -> Result<Options, CredentialError> {
    Err(CredentialError::Missing {
        key: key.to_owned(),
        feature: "curve",
    })
}

#[cfg(feature = "tls")]
mod tls {
    use flexbond_transport::{
        ClientCertificates, Tls, TlsClient, TlsIdentity, TlsOptions, TlsServer, TlsSettingsError, TrustRoots,
    };

    use super::{CredentialError, TlsFiles};

    impl TlsFiles {
        /// What a transport needs that connects, and that listens if `listens`.
        pub(in crate::federation) fn options(
            &self,
            key: &str,
            listens: bool,
        ) -> Result<TlsOptions, CredentialError> {
            let unusable = |error: TlsSettingsError| CredentialError::Unusable {
                key: key.to_owned(),
                reason: error.to_string(),
            };
            let identity = match (&self.certificate, &self.private_key) {
                (Some(chain), Some(private)) => {
                    Some(TlsIdentity::from_pem_files(chain, private).map_err(unusable)?)
                }
                (None, None) => None,
                _ => {
                    return Err(CredentialError::Unusable {
                        key: key.to_owned(),
                        reason: "`certificate` and `private_key` go together".to_owned(),
                    });
                }
            };
            let roots = self.authorities.as_ref().map(TrustRoots::from_pem_file);
            let roots = roots.transpose().map_err(unusable)?;
            let mut options = TlsOptions::default();
            if listens {
                let Some(identity) = identity.clone() else {
                    return Err(CredentialError::Unusable {
                        key: key.to_owned(),
                        reason: "a server shows a certificate: give `certificate` and `private_key`"
                            .to_owned(),
                    });
                };
                let clients = roots
                    .clone()
                    .map_or(ClientCertificates::Ignored, ClientCertificates::Required);
                options = options.server(TlsServer::new(identity).clients(clients));
            }
            let roots = match roots {
                Some(roots) => Some(roots),
                // A server that connects nowhere needs no authorities of the system, which may have none.
                None if listens => TrustRoots::system().ok(),
                None => Some(TrustRoots::system().map_err(unusable)?),
            };
            if let Some(roots) = roots {
                let mut client = TlsClient::new(roots);
                client.identity = identity;
                options = options.client(client);
            }
            Ok(options)
        }

        /// The transport.
        pub(in crate::federation) fn transport(
            &self,
            key: &str,
            listens: bool,
        ) -> Result<Tls, CredentialError> {
            Tls::new(self.options(key, listens)?).map_err(|error| CredentialError::Unusable {
                key: key.to_owned(),
                reason: error.to_string(),
            })
        }
    }
}
