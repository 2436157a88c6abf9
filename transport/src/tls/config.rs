//! From what a user decided to what rustls is asked to do.

use std::sync::Arc;

use rustls::client::Resumption;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::ServerName;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier, danger::ClientCertVerifier};
use rustls::sign::SingleCertAndKey;
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, ServerConfig, SupportedProtocolVersion};

use super::trust::{ClientCheck, ServerCheck};
use super::{ClientCertificates, TlsClient, TlsOptions, TlsServer, TlsSettingsError, TrustRoots};

/// How both sides shake hands. Handshakes that have begun keep theirs when it is replaced.
#[derive(Clone)]
pub(super) struct Configs {
    pub(super) server: Option<Server>,
    pub(super) client: Option<Client>,
}

#[derive(Clone)]
pub(super) struct Server {
    pub(super) config: Arc<ServerConfig>,
    /// Those who are trusted may have issued certificates for some names only.
    pub(super) is_limited: bool,
}

#[derive(Clone)]
pub(super) struct Client {
    pub(super) config: Arc<ClientConfig>,
    pub(super) server_name: Option<ServerName<'static>>,
    pub(super) has_identity: bool,
    /// As of a [`Server`].
    pub(super) is_limited: bool,
}

impl Configs {
    pub(super) fn new(options: &TlsOptions) -> Result<Self, TlsSettingsError> {
        let versions: &[&SupportedProtocolVersion] = match options.tls12 {
            true => &[&TLS13, &TLS12],
            false => &[&TLS13],
        };
        let provider = Arc::new(aws_lc_rs::default_provider());
        let server = options
            .server
            .as_ref()
            .map(|server| of_server(server, &provider, versions));
        let client = options
            .client
            .as_ref()
            .map(|client| of_client(client, &provider, versions));
        Ok(Configs {
            server: server.transpose()?,
            client: client.transpose()?,
        })
    }
}

fn of_server(
    server: &TlsServer,
    provider: &Arc<CryptoProvider>,
    versions: &[&'static SupportedProtocolVersion],
) -> Result<Server, TlsSettingsError> {
    let check = |roots: &TrustRoots, is_required| {
        let check = ClientCheck::new(&roots.trust, provider, is_required);
        let check = check.map_err(|error| TlsSettingsError::Unusable {
            reason: format!("client certificates cannot be checked: {error}"),
        })?;
        Ok((
            Arc::new(check) as Arc<dyn ClientCertVerifier>,
            roots.trust.is_limited(),
        ))
    };
    let (verifier, is_limited) = match &server.clients {
        ClientCertificates::Ignored => (WebPkiClientVerifier::no_client_auth(), false),
        ClientCertificates::Optional(roots) => check(roots, false)?,
        ClientCertificates::Required(roots) => check(roots, true)?,
    };
    let mut config = ServerConfig::builder_with_provider(Arc::clone(provider))
        .with_protocol_versions(versions)
        .map_err(|error| unusable(&error))?
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(Arc::clone(&server.identity.key))));
    // No session is resumed: connections live long, and each proves its certificate anew.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(Server {
        config: Arc::new(config),
        is_limited,
    })
}

fn of_client(
    client: &TlsClient,
    provider: &Arc<CryptoProvider>,
    versions: &[&'static SupportedProtocolVersion],
) -> Result<Client, TlsSettingsError> {
    let check = ServerCheck::new(&client.roots.trust, provider).map_err(|error| unusable(&error))?;
    // Dangerous is what leaves something out: this one is stricter than the usual one, in whom it takes for an authority.
    let config = ClientConfig::builder_with_provider(Arc::clone(provider))
        .with_protocol_versions(versions)
        .map_err(|error| unusable(&error))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(check));
    let mut config = match &client.identity {
        Some(identity) => {
            config.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(Arc::clone(&identity.key))))
        }
        None => config.with_no_client_auth(),
    };
    config.resumption = Resumption::disabled();
    let server_name = client.server_name.as_ref().map(|name| {
        ServerName::try_from(name.clone()).map_err(|_| TlsSettingsError::Unusable {
            reason: format!("{name:?} is neither a host name nor an address, to check the server by"),
        })
    });
    Ok(Client {
        config: Arc::new(config),
        server_name: server_name.transpose()?,
        has_identity: client.identity.is_some(),
        is_limited: client.roots.trust.is_limited(),
    })
}

fn unusable(error: &rustls::Error) -> TlsSettingsError {
    TlsSettingsError::Unusable {
        reason: error.to_string(),
    }
}
