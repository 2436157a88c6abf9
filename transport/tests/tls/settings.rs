//! Settings that are refused, and secrets that are kept.

use flexbond_transport::{
    BindError, ConnectError, Endpoint, LinkOptions, Registry, Tls, TlsIdentity, TlsOptions, TlsSettingsError,
    Transport, TrustRoots,
};

use crate::certificates::Authority;
use crate::{client, server};

#[tokio::test]
async fn one_side_is_enough_and_the_other_is_missed() {
    let authority = Authority::new("a");
    let endpoint: Endpoint = "tls://127.0.0.1:5".parse().unwrap();
    let options = LinkOptions::default();
    let error = client(authority.client())
        .bind(&endpoint, &options)
        .await
        .err()
        .unwrap();
    assert!(matches!(error, BindError::Unusable { .. }), "{error:?}");
    let error = server(authority.server())
        .connect(&endpoint, &options)
        .await
        .unwrap_err();
    assert!(matches!(error, ConnectError::Unusable { .. }), "{error:?}");
    assert!(error.is_permanent());
}

#[tokio::test]
async fn what_cannot_be_connected_to_is_said_at_once() {
    let near = client(Authority::new("a").client());
    for text in [
        "tls://*:5",
        "tls://127.0.0.1:0",
        "tls://-not-a-name-:5",
        "tcp://127.0.0.1:5",
    ] {
        let endpoint = text.parse().unwrap();
        let error = near
            .connect(&endpoint, &LinkOptions::default())
            .await
            .unwrap_err();
        assert!(
            matches!(error, ConnectError::Unusable { .. }),
            "{text}: {error:?}"
        );
        assert!(error.is_permanent());
    }
}

#[test]
fn a_registry_says_what_to_do() {
    let endpoint = "tls://127.0.0.1:5".parse().unwrap();
    let error = Registry::standard().get(&endpoint).err().unwrap();
    assert!(error.to_string().contains("certificates come first"), "{error}");
}

#[test]
fn a_certificate_and_a_key_belong_together() {
    let authority = Authority::new("a");
    let (one, other) = (authority.issue("one", &[]), authority.issue("other", &[]));
    let error = TlsIdentity::from_pem(&one.chain, &other.key).unwrap_err();
    assert!(matches!(error, TlsSettingsError::Identity { .. }), "{error:?}");
    let error = TlsIdentity::from_pem(&one.chain, &one.chain).unwrap_err();
    assert!(
        matches!(
            error,
            TlsSettingsError::NotFound {
                wanted: "private key",
                ..
            }
        ),
        "{error:?}"
    );
    let error = TlsIdentity::from_pem(&one.key, &one.key).unwrap_err();
    assert!(
        matches!(
            error,
            TlsSettingsError::NotFound {
                wanted: "certificate",
                ..
            }
        ),
        "{error:?}"
    );
    let error = TrustRoots::from_pem("").unwrap_err();
    assert!(matches!(error, TlsSettingsError::NotFound { .. }), "{error:?}");
}

#[test]
fn a_server_name_must_be_one() {
    let authority = Authority::new("a");
    let client = authority.client().server_name("no name");
    let error = Tls::new(TlsOptions::default().client(client)).unwrap_err();
    assert!(matches!(error, TlsSettingsError::Unusable { .. }), "{error:?}");
}

#[cfg(unix)]
#[test]
fn a_key_that_others_may_read_is_refused() {
    use std::fs::{Permissions, set_permissions};
    use std::os::unix::fs::{MetadataExt, PermissionsExt};
    let issued = Authority::new("a").issue("one", &[]);
    let directory = tempfile::tempdir().unwrap();
    let (chain, key) = (
        directory.path().join("chain.pem"),
        directory.path().join("key.pem"),
    );
    std::fs::write(&chain, &issued.chain).unwrap();
    std::fs::write(&key, &issued.key).unwrap();
    let of_root = std::fs::metadata(&key).unwrap().uid() == 0;
    for (mode, good) in [
        (0o600, true),
        (0o400, true),
        (0o640, of_root),
        (0o660, false),
        (0o644, false),
        (0o604, false),
    ] {
        set_permissions(&key, Permissions::from_mode(mode)).unwrap();
        match TlsIdentity::from_pem_files(&chain, &key) {
            Ok(_) => assert!(good, "{mode:o} was taken"),
            Err(TlsSettingsError::KeyExposed { mode: seen, .. }) => {
                assert!(!good && seen == mode, "{mode:o} was refused");
            }
            Err(other) => panic!("{other:?}"),
        }
    }
}

#[test]
fn no_secret_is_shown() {
    let authority = Authority::new("a");
    let issued = authority.issue("one", &["127.0.0.1"]);
    let tls = Tls::new(
        TlsOptions::default()
            .server(authority.server())
            .client(authority.client().identity(issued.identity())),
    )
    .unwrap();
    let shown = format!("{tls:?} {tls:#?}");
    assert!(!shown.contains("key"), "{shown}");
    // An error of a text that holds a key shows nothing of it.
    let secret = issued.key.lines().nth(1).unwrap();
    let broken = issued.key.replace("-----BEGIN", "-----BEGIN-----");
    let error = TlsIdentity::from_pem(&issued.chain, broken).unwrap_err();
    assert!(!format!("{error} {error:?}").contains(secret));
}
