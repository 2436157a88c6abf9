//! Who the peer is.

use flexbond_transport::{ClientCertificates, PeerName};
use rcgen::SanType;

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
