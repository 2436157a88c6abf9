//! Who is let in, and as whom.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use flexbond_session::async_trait;
#[cfg(feature = "tls")]
use flexbond_session::socket::CertificateAllow;
#[cfg(feature = "curve")]
use flexbond_session::socket::CurveAllow;
use flexbond_session::socket::{AuthRequest, Authenticator, Decision, Peer};

use super::config::ServerConfig;
use super::error::ServerConfigError;
use crate::federation::credentials::CredentialError;

/// Lets in the parties and servers of a configuration, which may be replaced. A clone is the same.
#[derive(Clone)]
pub(super) struct Admission {
    lists: Arc<RwLock<Lists>>,
}

/// What a peer's judgement has beside its name: the generation of the lists that it was let in by.
const GENERATION: &str = "X-Generation";

/// Whom each proof is of.
#[derive(Clone, Default)]
pub(super) struct Lists {
    /// How often they were replaced.
    generation: u64,
    #[cfg(feature = "curve")]
    keys: Option<CurveAllow>,
    #[cfg(feature = "tls")]
    certificates: CertificateAllow,
}

impl Admission {
    pub(super) fn new(config: &ServerConfig) -> Result<Self, ServerConfigError> {
        Ok(Admission {
            lists: Arc::new(RwLock::new(Lists::new(config)?)),
        })
    }

    /// Connections from now on are judged by other lists. Returns their generation.
    pub(super) fn replace(&self, mut lists: Lists) -> u64 {
        let mut current = self.lists.write().unwrap_or_else(PoisonError::into_inner);
        let generation = current.generation + 1;
        lists.generation = generation;
        *current = lists;
        generation
    }
}

/// The generation of the lists that a peer was let in by; 0 where nobody is judged.
pub(super) fn generation(peer: &Peer) -> u64 {
    let bytes = peer
        .auth_metadata(GENERATION)
        .and_then(|bytes| bytes.try_into().ok());
    bytes.map_or(0, u64::from_be_bytes)
}

impl Lists {
    pub(super) fn new(config: &ServerConfig) -> Result<Self, ServerConfigError> {
        #[allow(unused_mut, reason = "without keys and certificates there is nothing to list")]
        let mut lists = Lists::default();
        #[cfg(feature = "curve")]
        if config.curve.is_some() {
            lists.keys = Some(CurveAllow::new());
        }
        for (name, proofs) in proofs(config) {
            for (key, proof) in proofs.keys() {
                lists.add(&name, &key, proof)?;
            }
        }
        Ok(lists)
    }

    #[allow(
        clippy::unused_async,
        reason = "without keys and certificates there is nobody to ask"
    )]
    async fn decide(self, request: AuthRequest) -> Decision {
        #[cfg(feature = "curve")]
        if let Some(keys) = self.keys {
            return keys.authenticate(request).await;
        }
        #[cfg(feature = "tls")]
        if request.identity.is_some() {
            return self.certificates.authenticate(request).await;
        }
        let _ = request;
        Decision::deny("it shows neither a key nor a certificate")
    }

    #[allow(
        unused_variables,
        reason = "without keys and certificates there is nothing to list"
    )]
    fn add(&mut self, name: &str, key: &str, proof: Proof<'_>) -> Result<(), CredentialError> {
        match proof {
            #[cfg(feature = "curve")]
            Proof::Key(text) => {
                let public = crate::federation::credentials::public_key(key, text)?;
                self.keys.get_or_insert_default().allow(public, name);
                Ok(())
            }
            #[cfg(feature = "tls")]
            Proof::Certificate(text) => {
                let certificate = text.parse().map_err(|error| CredentialError::Unusable {
                    key: key.to_owned(),
                    reason: format!("{error}"),
                })?;
                self.certificates.allow(certificate, name);
                Ok(())
            }
            #[cfg(not(feature = "curve"))]
            Proof::Key(text) => Err(missing(key, text, "curve")),
            #[cfg(not(feature = "tls"))]
            Proof::Certificate(text) => Err(missing(key, text, "tls")),
        }
    }
}

#[cfg(not(all(feature = "curve", feature = "tls")))]
fn missing(key: &str, proof: &str, feature: &'static str) -> CredentialError {
    CredentialError::Missing {
        key: format!("{key} ({proof})"),
        feature,
    }
}

#[async_trait]
impl Authenticator for Admission {
    async fn authenticate(&self, request: AuthRequest) -> Decision {
        let lists = self.lists.read().unwrap_or_else(PoisonError::into_inner).clone();
        let generation = lists.generation.to_be_bytes().to_vec();
        let decision = lists.decide(request).await;
        decision.with_metadata(GENERATION, generation)
    }
}

/// What somebody proves to be it by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Proofs {
    entry: String,
    key: Option<String>,
    certificates: Vec<String>,
}

#[derive(Clone, Copy)]
enum Proof<'p> {
    Key(&'p str),
    Certificate(&'p str),
}

impl Proofs {
    /// Each with the key of the configuration where it stands.
    fn keys(&self) -> impl Iterator<Item = (String, Proof<'_>)> {
        let key = self
            .key
            .iter()
            .map(|key| (format!("{}.key", self.entry), Proof::Key(key)));
        let certificates = self
            .certificates
            .iter()
            .map(|name| (format!("{}.certificates", self.entry), Proof::Certificate(name)));
        key.chain(certificates)
    }
}

/// The proofs of parties and servers, by their names.
pub(super) fn proofs(config: &ServerConfig) -> BTreeMap<String, Proofs> {
    let parties = config.parties.iter().map(|(id, party)| {
        let proofs = Proofs {
            entry: format!("parties.{id}"),
            key: party.key.clone(),
            certificates: party.certificates.clone(),
        };
        (id.as_str().to_owned(), proofs)
    });
    let servers = config.servers.iter().map(|(name, server)| {
        let proofs = Proofs {
            entry: format!("servers.{name}"),
            key: server.key.clone(),
            certificates: server.certificates.clone(),
        };
        (name.clone(), proofs)
    });
    parties.chain(servers).collect()
}
