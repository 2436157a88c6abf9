//! Certificates for `tls://` endpoints.

use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;

use super::Failure;
use crate::session::socket::{CertificateAllow, CertificateName, Options};
use crate::transport::{
    ClientCertificates, Endpoint, Registry, Tls, TlsClient, TlsIdentity, TlsOptions, TlsServer,
    TlsSettingsError, TrustRoots,
};

#[derive(Args)]
pub(super) struct TlsArgs {
    /// tls://: whom to trust (PEM). Default: the system's authorities. Bound sockets then demand certificates of clients
    #[arg(long, value_name = "FILE")]
    tls_ca: Option<PathBuf>,

    /// tls://: the certificate shown here, with those between it and its authority (PEM)
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,

    /// tls://: its private key (PEM), which nobody else may read (chmod 600)
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,

    /// tls://: of the peers that --tls-ca trusts, only those whose certificate has this name: DNS:host, IP:address,
    /// email:address, URI:uri, CN:name (where there is no other), SHA256:fingerprint (repeatable)
    #[arg(
        long,
        value_name = "NAME",
        requires = "tls_ca",
        conflicts_with_all = ["username", "curve_allow", "curve_server_key"]
    )]
    tls_allow: Vec<CertificateName>,
}

impl TlsArgs {
    /// The transports, with tls among them if an endpoint asks for it.
    pub(super) fn registry(&self, bind: &[Endpoint], connect: &[Endpoint]) -> Result<Registry, Failure> {
        let registry = Registry::standard();
        let wants = |endpoints: &[Endpoint]| {
            endpoints
                .iter()
                .any(|endpoint| matches!(endpoint, Endpoint::Tls(_)))
        };
        let (binds, connects) = (wants(bind), wants(connect));
        if !binds && !connects {
            return match self.tls_ca.is_some() || self.tls_cert.is_some() {
                true => Err(Failure::usage(
                    "--tls-ca, --tls-cert and --tls-key are for tls:// endpoints",
                )),
                false => Ok(registry),
            };
        }
        if binds && self.tls_cert.is_none() {
            return Err(Failure::usage("a bound tls:// endpoint shows a certificate")
                .hint("give --tls-cert FILE and --tls-key FILE"));
        }
        let tls = self
            .options(binds, connects)
            .and_then(Tls::new)
            .map_err(|error| Failure::new(error.to_string()))?;
        registry
            .register("tls", Arc::new(tls))
            .map_err(|error| Failure::new(error.to_string()))?;
        Ok(registry)
    }

    /// Sockets with these options let in only whom the command line names.
    pub(super) fn judged(&self, options: Options) -> Options {
        if self.tls_allow.is_empty() {
            return options;
        }
        let allowed = CertificateAllow::new();
        for name in &self.tls_allow {
            allowed.allow(name.clone(), name.to_string());
        }
        options.authenticator(allowed)
    }

    fn options(&self, binds: bool, connects: bool) -> Result<TlsOptions, TlsSettingsError> {
        let identity = match (&self.tls_cert, &self.tls_key) {
            (Some(chain), Some(key)) => Some(TlsIdentity::from_pem_files(chain, key)?),
            _ => None,
        };
        let roots = self.tls_ca.as_ref().map(TrustRoots::from_pem_file).transpose()?;
        let mut options = TlsOptions::default();
        if let (true, Some(identity)) = (binds, &identity) {
            let clients = roots
                .clone()
                .map_or(ClientCertificates::Ignored, ClientCertificates::Required);
            options = options.server(TlsServer::new(identity.clone()).clients(clients));
        }
        if connects {
            let mut client = TlsClient::new(roots.map_or_else(TrustRoots::system, Ok)?);
            client.identity = identity;
            options = options.client(client);
        }
        Ok(options)
    }
}
