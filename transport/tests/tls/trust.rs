//! What a trusted certificate is trusted for.

use flexbond_transport::{
    ClientCertificates, Connection, TlsClient, TlsError, TlsIdentity, TlsServer, TrustRoots,
};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, KeyUsagePurpose,
    date_time_ymd,
};

use crate::certificates::{Authority, Issued};
use crate::{attempt, bind, client, pair, refused_here, refused_there, server, stream, talk};

/// A certificate that has issued itself, and its key.
struct Own {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Own {
    fn new(name: &str, change: impl FnOnce(&mut CertificateParams)) -> Self {
        let mut params = CertificateParams::new([name.to_owned(), "127.0.0.1".to_owned()]).unwrap();
        params.is_ca = IsCa::ExplicitNoCa;
        params.distinguished_name.push(DnType::CommonName, name);
        change(&mut params);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        Own { issuer }
    }

    fn identity(&self) -> TlsIdentity {
        TlsIdentity::from_pem(self.issuer.pem(), self.issuer.key().serialize_pem()).unwrap()
    }

    /// A certificate that it has no right to issue.
    fn forge(&self, name: &str) -> TlsIdentity {
        let params = CertificateParams::new([name.to_owned(), "127.0.0.1".to_owned()]).unwrap();
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let chain = certificate.pem() + &self.issuer.pem();
        Issued {
            chain,
            key: key.serialize_pem(),
        }
        .identity()
    }
}

fn trusting(trusted: &[&Own]) -> TrustRoots {
    let pem: Vec<String> = trusted.iter().map(|own| own.issuer.pem()).collect();
    TrustRoots::from_pem(pem.join("\n")).unwrap()
}

/// Whether a server that trusts `roots` lets such a client in.
async fn let_in(roots: &TrustRoots, shown: TlsIdentity) -> Result<Connection, TlsError> {
    let authority = Authority::new("a");
    let clients = ClientCertificates::Required(roots.clone());
    let mut listener = bind(&server(authority.server().clients(clients))).await;
    let near = client(authority.client().identity(shown));
    match attempt(&near, &mut *listener).await {
        (_, Ok(far)) => Ok(far),
        (_, refused) => Err(refused_here(refused)),
    }
}

/// Whether a client that trusts `roots` takes such a server.
async fn taken(roots: &TrustRoots, shown: TlsIdentity) -> Result<Connection, TlsError> {
    let mut listener = bind(&server(TlsServer::new(shown))).await;
    match attempt(&client(TlsClient::new(roots.clone())), &mut *listener).await {
        (Ok(near), _) => Ok(near),
        (refused, _) => Err(refused_there(refused)),
    }
}

#[tokio::test]
async fn who_is_no_authority_is_trusted_for_itself_alone() {
    let (ada, bob) = (Own::new("ada.example", |_| ()), Own::new("bob.example", |_| ()));
    let no_signing = Own::new("usage.example", |params| {
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    });
    let silent = Own::new("silent.example", |params| params.is_ca = IsCa::NoCa);
    let roots = trusting(&[&ada, &bob, &no_signing, &silent]);
    for own in [&ada, &bob, &silent] {
        let far = let_in(&roots, own.identity()).await.unwrap();
        assert!(far.identity.unwrap().fingerprint().is_some());
        taken(&roots, own.identity()).await.unwrap();
    }
    for own in [&ada, &no_signing, &silent] {
        let refused = let_in(&roots, own.forge("bob.example")).await.unwrap_err();
        assert!(matches!(refused, TlsError::UnknownIssuer), "{refused:?}");
        let refused = taken(&roots, own.forge("bob.example")).await.unwrap_err();
        assert!(matches!(refused, TlsError::UnknownIssuer), "{refused:?}");
    }
    // The same name is not the same certificate.
    let same = Own::new("ada.example", |_| ());
    let refused = let_in(&roots, same.identity()).await.unwrap_err();
    assert!(matches!(refused, TlsError::UnknownIssuer), "{refused:?}");
}

#[tokio::test]
async fn peers_and_authorities_are_trusted_side_by_side() {
    let (authority, ada) = (Authority::new("b"), Own::new("ada.example", |_| ()));
    let roots = TrustRoots::from_pem(authority.pem() + &ada.issuer.pem()).unwrap();
    for shown in [ada.identity(), authority.issue("node", &["127.0.0.1"]).identity()] {
        let_in(&roots, shown.clone()).await.unwrap();
        taken(&roots, shown).await.unwrap();
    }
    let refused = let_in(&roots, ada.forge("node")).await.unwrap_err();
    assert!(matches!(refused, TlsError::Certificate { .. }), "{refused:?}");
}

#[tokio::test]
async fn the_time_and_the_name_of_a_peer_are_looked_at_too() {
    let over = Own::new("over.example", |params| {
        params.not_before = date_time_ymd(2001, 1, 1);
        params.not_after = date_time_ymd(2002, 1, 1);
    });
    let roots = trusting(&[&over]);
    for refused in [
        let_in(&roots, over.identity()).await,
        taken(&roots, over.identity()).await,
    ] {
        let refused = refused.unwrap_err();
        assert!(matches!(refused, TlsError::Expired), "{refused:?}");
    }
    let ada = Own::new("ada.example", |_| ());
    let mut listener = bind(&server(TlsServer::new(ada.identity()))).await;
    let trusting_ada = TlsClient::new(trusting(&[&ada]));
    let (there, here) = attempt(
        &client(trusting_ada.clone().server_name("bob.example")),
        &mut *listener,
    )
    .await;
    assert!(matches!(refused_there(there), TlsError::NameMismatch { .. }));
    refused_here(here);
    let (near, far) = pair(&client(trusting_ada.server_name("ada.example")), &mut *listener).await;
    talk(&*stream(near), &*stream(far)).await;
}
