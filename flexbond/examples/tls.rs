//! Sockets over TLS: each end proves who it is.

use std::error::Error;
use std::fs::OpenOptions;
use std::io::Write;
use std::sync::Arc;

use flexbond::session::socket::{CertificateAllow, Options, Rep, Req};
use flexbond::transport::{
    ClientCertificates, Message, Registry, Tls, TlsClient, TlsIdentity, TlsOptions, TlsServer, TrustRoots,
};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    std::env::set_current_dir(folder.path())?;
    issue()?;

    let authority = TrustRoots::from_pem_file("ca.pem")?;
    let server = TlsServer::new(TlsIdentity::from_pem_files("server.pem", "server.key")?)
        .clients(ClientCertificates::Required(authority.clone()));
    let client = TlsClient::new(authority).identity(TlsIdentity::from_pem_files("client.pem", "client.key")?);
    let tls = Tls::new(TlsOptions::default().server(server).client(client))?;
    let registry = Registry::standard();
    registry.register("tls", Arc::new(tls.clone()))?;

    // Of all whom the authority has issued a certificate, only this one may ask.
    let allowed = CertificateAllow::new();
    allowed.allow("DNS:client.example".parse()?, "the client");

    let options = Options::new().registry(registry.clone()).authenticator(allowed);
    let rep = Rep::with_options(options)?;
    let endpoint = rep.bind("tls://127.0.0.1:0").await?;
    let req = Req::with_options(Options::new().registry(registry))?;
    req.connect(&endpoint)?;
    req.send("hello").await?;
    let (question, peer) = rep.recv_from().await?;
    println!("{question:?} of {:?}", peer.user_id());

    // When the certificates have been renewed:
    tls.reload()?;
    rep.send("world").await?;
    assert_eq!(req.recv().await?, Message::from("world"));
    Ok(())
}

/// Makes an authority and what it issues; other programs do that in earnest.
fn issue() -> Result<(), Box<dyn Error>> {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;
    std::fs::write("ca.pem", authority.pem())?;
    for (file, name) in [("server", "127.0.0.1"), ("client", "client.example")] {
        let key = KeyPair::generate()?;
        let certificate = CertificateParams::new([name.to_owned()])?.signed_by(&key, &authority)?;
        std::fs::write(format!("{file}.pem"), certificate.pem())?;
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        // A key that others may read would be refused.
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut file = options.open(format!("{file}.key"))?;
        file.write_all(key.serialize_pem().as_bytes())?;
    }
    Ok(())
}
