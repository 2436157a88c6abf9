//! TLS over TCP.

mod config;
mod error;
mod fingerprint;
mod handshake;
mod identity;
mod listener;
mod pem;
mod role;
mod settings;
mod stream;
mod trust;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::{Mutex, RwLock};
use rustls::pki_types::ServerName;

pub use self::error::{TlsError, TlsSettingsError};
pub use self::fingerprint::{Fingerprint, FingerprintError};
pub use self::settings::{ClientCertificates, TlsClient, TlsIdentity, TlsOptions, TlsServer, TrustRoots};

use self::config::Configs;
use self::listener::TlsListener;
use self::stream::TlsStream;
use crate::tcp::{self, Bound};
use crate::{
    BindError, ConnectError, Connection, Endpoint, Host, Link, LinkOptions, Listener, Reached, TcpAddress,
    Transport,
};

/// TLS over TCP, by rustls: nobody on the way reads or changes anything unseen, and the peer is who it says it is.
///
/// - `tls://` endpoints have the form of `tcp://` ones, and bind and connect alike; all options of tcp apply.
/// - Certificates are checked always: the server's against the client's [`TrustRoots`] and the name that was connected to,
///   the client's as the server's [`ClientCertificates`] say. There is no switch to leave it out; trust a certificate of
///   your own by naming it among the roots. Revocation is not looked at: issue certificates for short times, and [`reload`].
/// - TLS 1.3, and 1.2 if [asked for](TlsOptions::tls12). No session is resumed and no data sent early. No protocol name is
///   offered or asked for (ALPN): a proxy that ends TLS in front of a plain ØMQ peer knows none.
/// - [`Connection::identity`] has the peer's certificate, the names in it and its [`Fingerprint`].
/// - Handshakes run side by side, each with a [time limit](TlsOptions::handshake_timeout), and their
///   [number](TlsOptions::max_handshakes) is bounded, fairly between addresses.
/// - [`reach`](Transport::reach) ends where TCP has connected; the handshake is the rest.
/// - Whoever ends a connection says so, also by dropping it. An end without that is an error,
///   [`TlsError::Truncated`] within [`UnexpectedEof`](std::io::ErrorKind::UnexpectedEof).
///
/// Errors of a handshake are no [permanent](ConnectError::is_permanent) ones: what is wrong can be mended at either end
/// while the other goes on trying. What is wrong with the settings of this end is permanent.
///
/// A clone is the same transport.
///
/// ```no_run
/// use std::sync::Arc;
///
/// use flexbond_transport::{Registry, Tls, TlsClient, TlsIdentity, TlsOptions, TlsServer, TrustRoots};
///
/// let server = TlsServer::new(TlsIdentity::from_pem_files("server.pem", "server.key")?);
/// let client = TlsClient::new(TrustRoots::from_pem_file("ca.pem")?);
/// let tls = Tls::new(TlsOptions::default().server(server).client(client))?;
///
/// let registry = Registry::standard();
/// registry.register("tls", Arc::new(tls.clone()))?;
/// // Later, when the certificate has been renewed:
/// tls.reload()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// [`reload`]: Tls::reload
#[derive(Clone)]
pub struct Tls {
    shared: Arc<Shared>,
}

/// What the clones of a transport and its listeners share.
struct Shared {
    state: RwLock<Settings>,
    /// One reload at a time, so that an older one does not overwrite a newer one.
    reloading: Mutex<()>,
}

struct Settings {
    options: TlsOptions,
    configs: Configs,
}

impl Shared {
    /// How to shake hands now, and for how long.
    fn current(&self) -> (Configs, Duration) {
        let state = self.state.read();
        (state.configs.clone(), state.options.handshake_timeout)
    }

    fn max_handshakes(&self) -> usize {
        self.state.read().options.max_handshakes.max(1)
    }
}

impl Settings {
    fn new(options: TlsOptions) -> Result<Self, TlsSettingsError> {
        let configs = Configs::new(&options)?;
        Ok(Settings { options, configs })
    }
}

impl Tls {
    /// The transport, to be [registered](crate::Registry::register) for the scheme `tls`.
    ///
    /// # Errors
    /// [`TlsSettingsError`] if the settings do not go together.
    pub fn new(options: TlsOptions) -> Result<Self, TlsSettingsError> {
        Ok(Tls {
            shared: Arc::new(Shared {
                state: RwLock::new(Settings::new(options)?),
                reloading: Mutex::new(()),
            }),
        })
    }

    /// Reads the files of certificates, keys and trust roots again. Handshakes from now on use them; connections that are
    /// there, and handshakes that have begun, go on with what they had. What came from memory stays.
    ///
    /// This reads files and so may block for a moment.
    ///
    /// # Errors
    /// [`TlsSettingsError`]; everything is as it was then.
    pub fn reload(&self) -> Result<(), TlsSettingsError> {
        let _turn = self.shared.reloading.lock();
        let options = self.shared.state.read().options.reread()?;
        self.set(options)
    }

    /// Other settings for all handshakes from now on. Listeners go on, and so options without a
    /// [`server`](TlsOptions::server) are refused where there was one.
    ///
    /// # Errors
    /// [`TlsSettingsError`]; everything is as it was then.
    pub fn replace(&self, options: TlsOptions) -> Result<(), TlsSettingsError> {
        let _turn = self.shared.reloading.lock();
        if options.server.is_none() && self.shared.state.read().options.server.is_some() {
            return Err(TlsSettingsError::Unusable {
                reason: "listeners need a certificate: the new settings have no server".to_owned(),
            });
        }
        self.set(options)
    }

    fn set(&self, options: TlsOptions) -> Result<(), TlsSettingsError> {
        let settings = Settings::new(options)?;
        *self.shared.state.write() = settings;
        Ok(())
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls")
            .field("options", &self.shared.state.read().options)
            .finish()
    }
}

#[async_trait]
impl Transport for Tls {
    async fn bind(&self, endpoint: &Endpoint, options: &LinkOptions) -> Result<Box<dyn Listener>, BindError> {
        let unusable = |reason: &str| BindError::Unusable {
            endpoint: endpoint.clone(),
            reason: reason.to_owned(),
        };
        let Endpoint::Tls(address) = endpoint else {
            return Err(unusable("not a tls endpoint"));
        };
        if self.shared.current().0.server.is_none() {
            return Err(unusable(
                "no certificate to show: `TlsOptions::server` is not set",
            ));
        }
        let bound = Bound::at(address, endpoint, options).await?;
        Ok(Box::new(TlsListener::new(bound, Arc::clone(&self.shared))))
    }

    async fn connect(&self, endpoint: &Endpoint, options: &LinkOptions) -> Result<Connection, ConnectError> {
        let (_, timeout) = self.shared.current();
        let reached = self.reach(endpoint, options).await?;
        match tokio::time::timeout(timeout, reached.finish()).await {
            Ok(connected) => connected,
            Err(_) => Err(failed(endpoint, TlsError::TimedOut { after: timeout })),
        }
    }

    /// The connection of TCP.
    async fn reach(&self, endpoint: &Endpoint, options: &LinkOptions) -> Result<Reached, ConnectError> {
        let unusable = |reason: String| ConnectError::Unusable {
            endpoint: endpoint.clone(),
            reason,
        };
        let Endpoint::Tls(address) = endpoint else {
            return Err(unusable("not a tls endpoint".to_owned()));
        };
        let (configs, _) = self.shared.current();
        let Some(client) = configs.client else {
            return Err(unusable(
                "nobody is trusted: `TlsOptions::client` is not set".to_owned(),
            ));
        };
        let name = match &client.server_name {
            Some(name) => name.clone(),
            None => name_of(address).map_err(unusable)?,
        };
        let (stream, peer) = tcp::dial(address, endpoint, options).await?;
        let endpoint = endpoint.clone();
        Ok(Reached::unfinished(async move {
            let shaken = handshake::connect(client, name, stream).await;
            let (stream, identity) = shaken.map_err(|source| failed(&endpoint, source))?;
            let peer = Endpoint::Tls(peer.into());
            Ok(Connection::new(Link::Stream(Box::new(stream)), peer).with_identity(identity))
        }))
    }
}

fn failed(endpoint: &Endpoint, source: TlsError) -> ConnectError {
    ConnectError::Handshake {
        endpoint: endpoint.clone(),
        source: source.into(),
    }
}

/// What the certificate of a server at `address` must be for.
fn name_of(address: &TcpAddress) -> Result<ServerName<'static>, String> {
    match address.host() {
        Host::Any => Err("\"*\" stands for every interface and can only be bound".to_owned()),
        Host::V4(address) => Ok(ServerName::IpAddress((*address).into())),
        Host::V6 { address, .. } => Ok(ServerName::IpAddress((*address).into())),
        Host::Name { name } => ServerName::try_from(name.clone())
            .map_err(|_| format!("{name:?} is no host name that a certificate can be for")),
    }
}
