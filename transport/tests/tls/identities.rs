//! Who the peer is.

use flexbond_transport::{ClientCertificates, Fingerprint, PeerIdentity, PeerName, TlsIdentity, TrustRoots};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, CustomExtension, DnType, DnValue, GeneralSubtree,
    IsCa, KeyPair, NameConstraints, SanType,
};

use crate::certificates::Authority;
use crate::{bind, client, pair, server};

#[tokio::test]
async fn both_ends_know_each_other() {
    let authority = Authority::new("the authority");
    let node = authority.issue_with(
        "node 7",
        &["node7.example", "192.0.2.7", "2001:db8::7"],
        |params| {
            let text = |text: &str| text.try_into().unwrap();
            params
                .subject_alt_names
                .push(SanType::URI(text("spiffe://example/node/7")));
            params
                .subject_alt_names
                .push(SanType::Rfc822Name(text("node7@example.org")));
        },
    );
    let clients = ClientCertificates::Required(authority.roots());
    let mut listener = bind(&server(authority.server().clients(clients))).await;
    let (near, far) = pair(
        &client(authority.client().identity(node.identity())),
        &mut *listener,
    )
    .await;

    let identity = far.identity.unwrap();
    assert_eq!(identity.subject(), Some("CN=node 7"));
    assert_eq!(
        identity.names(),
        [
            PeerName::Dns("node7.example".into()),
            PeerName::Ip("192.0.2.7".parse().unwrap()),
            PeerName::Ip("2001:db8::7".parse().unwrap()),
            PeerName::Uri("spiffe://example/node/7".into()),
            PeerName::Email("node7@example.org".into()),
        ]
    );
    assert_eq!(identity.chain().len(), 1);
    assert_eq!(identity.chain()[0][0], 0x30, "a DER sequence");
    assert_eq!(
        identity.fingerprint(),
        Some(Fingerprint::of(&identity.chain()[0]))
    );
    assert_eq!(identity.common_name(), None, "it has names");

    let identity = near.identity.unwrap();
    assert_eq!(identity.subject(), Some("CN=server"));
    assert_eq!(identity.names()[0].to_string(), "localhost");
}

#[tokio::test]
async fn nobody_is_asked_for_more_than_they_say() {
    let authority = Authority::new("a");
    let mut listener = bind(&server(authority.server())).await;
    let identity = authority.issue("shy", &[]).identity();
    let (near, far) = pair(&client(authority.client().identity(identity)), &mut *listener).await;
    assert!(near.identity.is_some());
    assert_eq!(far.identity, None);
}

/// As whom a server knows the owner of such a certificate.
async fn known(change: impl FnOnce(&mut CertificateParams)) -> PeerIdentity {
    let authority = Authority::new("the authority");
    let issued = authority.issue_with("node 7", &[], change);
    let clients = ClientCertificates::Required(authority.roots());
    let mut listener = bind(&server(authority.server().clients(clients))).await;
    let client = client(authority.client().identity(issued.identity()));
    pair(&client, &mut *listener).await.1.identity.unwrap()
}

#[tokio::test]
async fn a_common_name_counts_where_there_are_no_other_names() {
    let identity = known(|_| ()).await;
    assert_eq!(
        (identity.common_name(), identity.names()),
        (Some("node 7"), &[][..])
    );
    let text = "Knoten 7";
    let printable = |text: &str| DnValue::PrintableString(text.try_into().unwrap());
    let identity = known(|params| {
        params
            .distinguished_name
            .push(DnType::CommonName, printable(text));
    })
    .await;
    assert_eq!(identity.common_name(), Some(text));

    // Names of a kind that is not known here.
    let identity = known(|params| {
        let registered =
            CustomExtension::from_oid_content(&[2, 5, 29, 17], b"\x30\x04\x88\x02\x2a\x03".to_vec());
        params.custom_extensions.push(registered);
    })
    .await;
    assert_eq!(identity.subject(), Some("CN=node 7"));
    assert_eq!((identity.common_name(), identity.names()), (None, &[][..]));
}

/// An authority that may issue certificates for some host names only.
fn limited() -> CertificateParams {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(DnType::CommonName, "the branch");
    params.name_constraints = Some(NameConstraints {
        permitted_subtrees: vec![GeneralSubtree::DnsName("branch.example".to_owned())],
        excluded_subtrees: Vec::new(),
    });
    params
}

#[tokio::test]
async fn who_is_limited_to_some_names_gives_no_common_names() {
    let key = || KeyPair::generate().unwrap();
    let mut above = CertificateParams::default();
    above.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let above = CertifiedIssuer::self_signed(above, key()).unwrap();
    let trusted = CertifiedIssuer::self_signed(limited(), key()).unwrap();
    let below = CertifiedIssuer::signed_by(limited(), key(), &above).unwrap();
    // Limited is who is trusted, or whom that one has limited.
    for (issuer, rest, root) in [
        (&trusted, String::new(), trusted.pem()),
        (&below, below.pem(), above.pem()),
    ] {
        for names in [vec![], vec!["node.branch.example".to_owned()]] {
            let own = key();
            let mut params = CertificateParams::new(names.clone()).unwrap();
            params
                .distinguished_name
                .push(DnType::CommonName, "somebody else");
            let chain = params.signed_by(&own, issuer).unwrap().pem() + &rest;
            let shown = TlsIdentity::from_pem(chain, own.serialize_pem()).unwrap();
            let authority = Authority::new("a");
            let clients = ClientCertificates::Required(TrustRoots::from_pem(&root).unwrap());
            let mut listener = bind(&server(authority.server().clients(clients))).await;
            let (_near, far) = pair(&client(authority.client().identity(shown)), &mut *listener).await;
            let identity = far.identity.unwrap();
            assert_eq!(identity.subject(), Some("CN=somebody else"));
            assert_eq!(
                (identity.common_name(), identity.names().len()),
                (None, names.len())
            );
        }
    }
}
