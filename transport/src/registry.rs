//! Which transport serves which scheme.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use parking_lot::RwLock;
use thiserror::Error;

use crate::endpoint::invalid_in_scheme;
use crate::{BindError, ConnectError, Connection, Endpoint, LinkOptions, Listener, Reached, Transport};

/// Which transport serves which scheme. Open: anybody may register a transport of their own.
///
/// A clone is the same registry: what is registered through one is seen through all.
///
/// ```
/// use std::sync::Arc;
/// # #[cfg(feature = "inproc")] {
/// use flexbond_transport::{Endpoint, Inproc, Registry};
///
/// let registry = Registry::empty();
/// registry.register("inproc", Arc::new(Inproc::new()))?;
/// assert!(registry.get(&"inproc://here".parse()?).is_ok());
/// assert!(registry.get(&"carrier-pigeon://roof".parse()?).is_err());
/// # }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Registry {
    transports: Arc<RwLock<BTreeMap<String, Arc<dyn Transport>>>>,
}

/// Why a transport was not registered. Nothing has changed then, and a retry cannot help.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum RegisterError {
    /// The scheme has its transport already.
    #[error("scheme {scheme:?} has a transport already")]
    Taken {
        /// What was asked for.
        scheme: String,
    },
    /// The scheme could never be parsed as part of an [`Endpoint`].
    #[error(
        "{scheme:?} is not a scheme: a lower-case letter, then lower-case letters, digits, '+', '-' and '.'"
    )]
    InvalidScheme {
        /// What was asked for.
        scheme: String,
    },
}

/// No transport is registered for a scheme. A retry cannot help.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("no transport for {endpoint}: {reason}")]
#[non_exhaustive]
pub struct UnknownScheme {
    /// What was asked for.
    pub endpoint: Endpoint,
    /// Which scheme or feature is missing.
    pub reason: String,
}

impl Registry {
    /// A registry without any transport.
    #[must_use]
    pub fn empty() -> Self {
        Registry {
            transports: Arc::default(),
        }
    }

    /// A registry with the transports whose features are on. All of these share one space of inproc names. `tls` is not
    /// among them: a `Tls` is made with certificates, and registered.
    #[must_use]
    pub fn standard() -> Self {
        #[allow(unused_mut, reason = "a build without any transport adds none")]
        let mut transports = BTreeMap::<String, Arc<dyn Transport>>::new();
        #[cfg(feature = "inproc")]
        transports.insert("inproc".into(), Arc::new(crate::Inproc::process()));
        #[cfg(all(feature = "ipc", unix))]
        transports.insert("ipc".into(), Arc::new(crate::Ipc::new()));
        #[cfg(feature = "tcp")]
        transports.insert("tcp".into(), Arc::new(crate::Tcp::new()));
        Registry {
            transports: Arc::new(RwLock::new(transports)),
        }
    }

    /// Adds a transport for `scheme`.
    ///
    /// # Errors
    /// [`RegisterError`]; nothing has changed then.
    pub fn register(&self, scheme: &str, transport: Arc<dyn Transport>) -> Result<(), RegisterError> {
        let scheme = scheme.to_owned();
        if scheme.is_empty() || scheme.len() > Endpoint::MAX_LEN || invalid_in_scheme(&scheme).is_some() {
            return Err(RegisterError::InvalidScheme { scheme });
        }
        let mut transports = self.transports.write();
        if transports.contains_key(&scheme) {
            return Err(RegisterError::Taken { scheme });
        }
        transports.insert(scheme, transport);
        Ok(())
    }

    /// The transport for an endpoint.
    ///
    /// # Errors
    /// [`UnknownScheme`], with what is missing.
    pub fn get(&self, endpoint: &Endpoint) -> Result<Arc<dyn Transport>, UnknownScheme> {
        let transports = self.transports.read();
        match transports.get(endpoint.scheme()) {
            Some(transport) => Ok(Arc::clone(transport)),
            None => Err(UnknownScheme {
                endpoint: endpoint.clone(),
                reason: missing(endpoint.scheme(), &transports),
            }),
        }
    }

    /// The schemes that have a transport, in alphabetical order.
    #[must_use]
    pub fn schemes(&self) -> Vec<String> {
        self.transports.read().keys().cloned().collect()
    }

    /// Starts to listen at `endpoint`; see [`Transport::bind`].
    ///
    /// # Cancel safety
    /// Dropping the future leaves nothing bound.
    ///
    /// # Errors
    /// [`BindError`]; nothing is bound then.
    pub async fn bind(
        &self,
        endpoint: &Endpoint,
        options: &LinkOptions,
    ) -> Result<Box<dyn Listener>, BindError> {
        self.get(endpoint)?.bind(endpoint, options).await
    }

    /// Connects to `endpoint`; see [`Transport::connect`].
    ///
    /// # Cancel safety
    /// Dropping the future abandons the attempt.
    ///
    /// # Errors
    /// [`ConnectError`]; a retry is sound unless [`ConnectError::is_permanent`].
    pub async fn connect(
        &self,
        endpoint: &Endpoint,
        options: &LinkOptions,
    ) -> Result<Connection, ConnectError> {
        self.get(endpoint)?.connect(endpoint, options).await
    }

    /// Connects to `endpoint` as far as the other machine goes by itself; see [`Transport::reach`].
    ///
    /// # Cancel safety
    /// Dropping the future abandons the attempt.
    ///
    /// # Errors
    /// [`ConnectError`]; a retry is sound unless [`ConnectError::is_permanent`].
    pub async fn reach(&self, endpoint: &Endpoint, options: &LinkOptions) -> Result<Reached, ConnectError> {
        self.get(endpoint)?.reach(endpoint, options).await
    }
}

fn missing(scheme: &str, transports: &BTreeMap<String, Arc<dyn Transport>>) -> String {
    let absent = [
        ("inproc", cfg!(feature = "inproc"), true),
        ("ipc", cfg!(feature = "ipc"), cfg!(unix)),
        ("tcp", cfg!(feature = "tcp"), true),
    ];
    for (name, built, possible) in absent {
        if name == scheme && !possible {
            return format!("this platform has no transport `{name}`");
        }
        if name == scheme && !built {
            return format!("this build lacks the feature `{name}`");
        }
    }
    if scheme == "tls" {
        return match cfg!(feature = "tls") {
            true => "certificates come first: make a `Tls` of them and register it for `tls`".to_owned(),
            false => "this build lacks the feature `tls`".to_owned(),
        };
    }
    if scheme == "udp" {
        return "`udp` carries packets, and connections are asked for".to_owned();
    }
    let known = transports
        .keys()
        .map(|name| format!("`{name}`"))
        .collect::<Vec<_>>()
        .join(", ");
    let known = if known.is_empty() { "none" } else { &known };
    format!("no transport is registered for scheme `{scheme}`; known: {known}")
}

impl Default for Registry {
    /// [`Registry::standard`].
    fn default() -> Self {
        Registry::standard()
    }
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registry")
            .field("schemes", &self.schemes())
            .finish()
    }
}

impl From<UnknownScheme> for BindError {
    fn from(UnknownScheme { endpoint, reason }: UnknownScheme) -> Self {
        BindError::UnknownScheme { endpoint, reason }
    }
}

impl From<UnknownScheme> for ConnectError {
    fn from(UnknownScheme { endpoint, reason }: UnknownScheme) -> Self {
        ConnectError::UnknownScheme { endpoint, reason }
    }
}
