//! Certificates that are renewed while connections go on.

use std::fs;
use std::path::Path;

use flexbond_transport::{
    Connection, TlsClient, TlsIdentity, TlsOptions, TlsServer, TlsSettingsError, TrustRoots,
};

use crate::certificates::{Authority, Issued};
use crate::{attempt, bind, client, pair, refused_there, server, stream, talk};

/// Writes a file that its owner alone may read.
pub(crate) fn private(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
    }
}

fn put(directory: &Path, issued: &Issued) {
    fs::write(directory.join("chain.pem"), &issued.chain).unwrap();
    private(&directory.join("key.pem"), &issued.key);
}

fn subject(connection: &Connection) -> String {
    connection
        .identity
        .as_ref()
        .unwrap()
        .subject()
        .unwrap()
        .to_owned()
}

#[tokio::test]
async fn new_handshakes_use_what_was_reloaded() {
    let authority = Authority::new("a");
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path();
    put(at, &authority.issue("first", &["127.0.0.1"]));
    let identity = TlsIdentity::from_pem_files(at.join("chain.pem"), at.join("key.pem")).unwrap();
    let tls = server(TlsServer::new(identity));
    let mut listener = bind(&tls).await;
    let near_tls = client(authority.client());
    let (near, far) = pair(&near_tls, &mut *listener).await;
    assert_eq!(subject(&near), "CN=first");
    let (near, far) = (stream(near), stream(far));

    put(at, &authority.issue("second", &["127.0.0.1"]));
    // Nothing is read before it is asked for.
    assert_eq!(subject(&pair(&near_tls, &mut *listener).await.0), "CN=first");
    tls.reload().unwrap();
    assert_eq!(subject(&pair(&near_tls, &mut *listener).await.0), "CN=second");
    talk(&*near, &*far).await;

    // A bad file leaves the old one in place: of another key, of none, and no file.
    let other = authority.issue("third", &["127.0.0.1"]);
    fs::write(at.join("chain.pem"), &other.chain).unwrap();
    assert!(matches!(
        tls.reload().unwrap_err(),
        TlsSettingsError::Identity { .. }
    ));
    fs::write(at.join("chain.pem"), "nothing").unwrap();
    assert!(matches!(
        tls.reload().unwrap_err(),
        TlsSettingsError::NotFound { .. }
    ));
    fs::remove_file(at.join("chain.pem")).unwrap();
    let error = tls.reload().unwrap_err();
    assert!(matches!(error, TlsSettingsError::Unreadable { .. }));
    assert!(error.to_string().contains("chain.pem"), "{error}");
    assert_eq!(subject(&pair(&near_tls, &mut *listener).await.0), "CN=second");
    talk(&*near, &*far).await;
}

#[tokio::test]
async fn trust_is_reloaded_too() {
    let (old, new) = (Authority::new("old"), Authority::new("new"));
    let mut listener = bind(&server(new.server())).await;
    let directory = tempfile::tempdir().unwrap();
    let roots = directory.path().join("roots.pem");
    fs::write(&roots, old.pem()).unwrap();
    let near = client(TlsClient::new(TrustRoots::from_pem_file(&roots).unwrap()));
    refused_there(attempt(&near, &mut *listener).await.0);
    fs::write(&roots, old.pem() + &new.pem()).unwrap();
    near.reload().unwrap();
    pair(&near, &mut *listener).await;
}

#[tokio::test]
async fn what_came_from_memory_is_replaced() {
    let authority = Authority::new("a");
    let tls = server(authority.server());
    let mut listener = bind(&tls).await;
    let near = client(authority.client());
    let next = TlsServer::new(authority.issue("next", &["127.0.0.1"]).identity());
    tls.reload().unwrap();
    assert_eq!(subject(&pair(&near, &mut *listener).await.0), "CN=server");
    tls.replace(TlsOptions::default().server(next)).unwrap();
    assert_eq!(subject(&pair(&near, &mut *listener).await.0), "CN=next");
    // A listener cannot go on without any.
    let error = tls.replace(TlsOptions::default()).unwrap_err();
    assert!(matches!(error, TlsSettingsError::Unusable { .. }));
    assert_eq!(subject(&pair(&near, &mut *listener).await.0), "CN=next");
}
