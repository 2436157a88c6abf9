//! The sockets of a server, with its keys and certificates.

use std::time::Duration;

use flexbond_session::Endpoint;
use flexbond_session::socket::{Options, Router};
use flexbond_transport::Registry;

use super::admission::{Admission, Lists};
use super::config::{ServerConfig, ServerEntry};
use super::error::ServeError;
use crate::federation::credentials::CredentialError;
use crate::federation::direct::MAX_PACKET;
use crate::federation::uplink::{HEARTBEAT, Uplink, UplinkError};

/// Packets that wait for one peer or from one, and their bytes; one may always wait, however large it is.
const QUEUED: usize = 256;
const QUEUED_BYTES: usize = 4 << 20;
/// The least that may wait for all peers together, and from all of them.
const LEAST_MEMORY: usize = 256 << 20;
/// What has not been sent when the server ends comes again.
const LINGER: Duration = Duration::from_secs(1);

/// What the server's sockets have in common, and what can be changed in them.
pub(super) struct Sockets {
    registry: Registry,
    #[cfg(feature = "tls")]
    tls: Option<flexbond_transport::Tls>,
    pub(super) admission: Admission,
}

impl Sockets {
    pub(super) fn new(config: &ServerConfig) -> Result<Self, ServeError> {
        let registry = Registry::standard();
        Ok(Sockets {
            #[cfg(feature = "tls")]
            tls: register_tls(config, &registry)?,
            registry,
            admission: Admission::new(config).map_err(ServeError::Config)?,
        })
    }

    /// Takes over the lists and certificates of another configuration.
    ///
    /// Returns the generation of the lists: who was let in by older ones may have to go.
    pub(super) fn reload(&self, config: &ServerConfig) -> Result<u64, ServeError> {
        let lists = Lists::new(config).map_err(ServeError::Config)?;
        #[cfg(feature = "tls")]
        if let (Some(tls), Some(files)) = (&self.tls, &config.tls) {
            let listens = listens_tls(config);
            let replaced = tls.replace(files.options("tls", listens).map_err(wrong)?);
            replaced.map_err(|error| unusable("tls", &error.to_string()))?;
        }
        Ok(self.admission.replace(lists))
    }

    fn options(&self, config: &ServerConfig) -> Options {
        let memory = usize::try_from(config.limits.memory_bytes).unwrap_or(usize::MAX);
        Options::new()
            .registry(self.registry.clone())
            .max_message_size(MAX_PACKET)
            .send_hwm(QUEUED)
            .send_hwm_bytes(QUEUED_BYTES)
            .recv_hwm(QUEUED)
            .recv_hwm_bytes(QUEUED_BYTES)
            .send_memory(memory.max(LEAST_MEMORY))
            .recv_memory(memory.max(LEAST_MEMORY))
            .heartbeat_interval(HEARTBEAT)
            .heartbeat_timeout(2 * HEARTBEAT)
            .linger(LINGER)
    }

    /// Whether all sockets could be made.
    pub(super) fn check(&self, config: &ServerConfig) -> Result<(), ServeError> {
        self.listening(config)?.validate()?;
        for (name, server) in &config.servers {
            self.connecting(config, name, server)?.validate()?;
        }
        Ok(())
    }

    fn listening(&self, config: &ServerConfig) -> Result<Options, ServeError> {
        let mut options = self.options(config);
        if config.knows_its_peers() {
            options = options.authenticator(self.admission.clone());
        }
        if let Some(keys) = &config.curve {
            options = curve_server(&keys.secret_file, options).map_err(wrong)?;
        }
        Ok(options)
    }

    fn connecting(
        &self,
        config: &ServerConfig,
        name: &str,
        server: &ServerEntry,
    ) -> Result<Options, ServeError> {
        let options = self.options(config);
        let Some(key) = &server.key else {
            return Ok(options);
        };
        let own = config.curve.as_ref().map(|keys| &keys.secret_file);
        // Validated: there is no key without one.
        let own = own.ok_or_else(|| unusable(&format!("servers.{name}.key"), "give `curve`"))?;
        curve_client(name, own, key, options).map_err(wrong)
    }

    /// The socket that others connect to, at all endpoints, and where these are.
    pub(super) async fn listen(&self, config: &ServerConfig) -> Result<(Router, Vec<Endpoint>), ServeError> {
        let router = Router::with_options(self.listening(config)?)?;
        let mut endpoints = Vec::new();
        for endpoint in &config.listen {
            let bound = router.bind(endpoint).await.map_err(|source| ServeError::Bind {
                endpoint: endpoint.clone(),
                source: Box::new(source),
            })?;
            endpoints.push(bound);
        }
        Ok((router, endpoints))
    }

    /// A socket to another server.
    pub(super) fn connect(
        &self,
        config: &ServerConfig,
        name: &str,
        server: &ServerEntry,
        endpoint: &Endpoint,
    ) -> Result<Uplink, ServeError> {
        let options = self.connecting(config, name, server)?;
        Uplink::new(endpoint, options).map_err(|error| match error {
            UplinkError::Connect(source) => ServeError::Connect {
                server: name.to_owned(),
                source: Box::new(source),
            },
            UplinkError::Option(error) => error.into(),
        })
    }
}

fn wrong(error: CredentialError) -> ServeError {
    ServeError::Config(error.into())
}

fn unusable(key: &str, reason: &str) -> ServeError {
    let (key, reason) = (key.to_owned(), reason.to_owned());
    wrong(CredentialError::Unusable { key, reason })
}

#[cfg(feature = "tls")]
fn listens_tls(config: &ServerConfig) -> bool {
    config
        .listen
        .iter()
        .any(|endpoint| matches!(endpoint, Endpoint::Tls(_)))
}

#[cfg(feature = "tls")]
fn register_tls(
    config: &ServerConfig,
    registry: &Registry,
) -> Result<Option<flexbond_transport::Tls>, ServeError> {
    let Some(files) = &config.tls else {
        return Ok(None);
    };
    let tls = files.transport("tls", listens_tls(config)).map_err(wrong)?;
    let registered = registry.register("tls", std::sync::Arc::new(tls.clone()));
    registered.map_err(|error| unusable("tls", &error.to_string()))?;
    Ok(Some(tls))
}

#[cfg(feature = "curve")]
fn curve_server(secret_file: &std::path::Path, options: Options) -> Result<Options, CredentialError> {
    let keys = crate::federation::credentials::secret_keys("curve.secret_file", secret_file)?;
    Ok(options.curve_server(keys))
}

#[cfg(feature = "curve")]
fn curve_client(
    name: &str,
    secret_file: &std::path::Path,
    server_key: &str,
    options: Options,
) -> Result<Options, CredentialError> {
    use flexbond_session::socket::CurveClient;

    use crate::federation::credentials::{public_key, secret_keys};

    let server = public_key(&format!("servers.{name}.key"), server_key)?;
    let keys = secret_keys("curve.secret_file", secret_file)?;
    Ok(options.curve_client(CurveClient::new(server, keys)))
}

#[cfg(not(feature = "curve"))]
fn curve_server(_: &std::path::Path, _: Options) -> Result<Options, CredentialError> {
    Err(CredentialError::Missing {
        key: "curve".to_owned(),
        feature: "curve",
    })
}

#[cfg(not(feature = "curve"))]
fn curve_client(_: &str, _: &std::path::Path, _: &str, options: Options) -> Result<Options, CredentialError> {
    curve_server(std::path::Path::new(""), options)
}
