//! The open registry of schemes, and what it says about a scheme that it does not have.

use std::sync::Arc;

use async_trait::async_trait;
use flexbond_transport::{
    BindError, ConnectError, Connection, Endpoint, LinkOptions, Listener, RegisterError, Registry, Transport,
};

/// A transport that reaches nobody.
struct Nowhere;

#[async_trait]
impl Transport for Nowhere {
    async fn bind(&self, endpoint: &Endpoint, _: &LinkOptions) -> Result<Box<dyn Listener>, BindError> {
        Err(BindError::Unusable {
            endpoint: endpoint.clone(),
            reason: "nowhere".to_owned(),
        })
    }

    async fn connect(&self, endpoint: &Endpoint, _: &LinkOptions) -> Result<Connection, ConnectError> {
        Err(ConnectError::Unusable {
            endpoint: endpoint.clone(),
            reason: "nowhere".to_owned(),
        })
    }
}

fn endpoint(text: &str) -> Endpoint {
    text.parse().unwrap()
}

#[test]
fn the_standard_registry_has_what_is_built_in() {
    let mut built = Vec::new();
    if cfg!(feature = "inproc") {
        built.push("inproc");
    }
    if cfg!(all(feature = "ipc", unix)) {
        built.push("ipc");
    }
    if cfg!(feature = "tcp") {
        built.push("tcp");
    }
    assert_eq!(Registry::standard().schemes(), built);
    assert_eq!(Registry::default().schemes(), built);
    assert!(Registry::empty().schemes().is_empty());
}

#[tokio::test]
async fn a_missing_feature_is_named() {
    let registry = Registry::standard();
    for (name, there) in [
        ("inproc", cfg!(feature = "inproc")),
        ("ipc", cfg!(feature = "ipc")),
        ("tcp", cfg!(feature = "tcp")),
    ] {
        let address = endpoint(&format!(
            "{name}://{}",
            if name == "tcp" { "127.0.0.1:0" } else { "@name" }
        ));
        assert_eq!(registry.get(&address).is_ok(), there);
        if !there {
            let error = registry.get(&address).err().unwrap();
            assert_eq!(error.reason, format!("this build lacks the feature `{name}`"));
        }
    }
}

#[test]
fn udp_has_no_connections() {
    let error = Registry::standard().get(&endpoint("udp://*:5")).err().unwrap();
    assert_eq!(
        error.to_string(),
        "no transport for udp://*:5: `udp` carries packets, and connections are asked for"
    );
}

#[tokio::test]
async fn an_unknown_scheme_is_named_with_the_known_ones() {
    let registry = Registry::empty();
    let options = LinkOptions::default();
    let unknown = endpoint("foo://bar");
    let error = registry.bind(&unknown, &options).await.err().unwrap();
    assert_eq!(
        error.to_string(),
        "no transport for foo://bar: no transport is registered for scheme `foo`; known: none"
    );
    registry.register("b", Arc::new(Nowhere)).unwrap();
    registry.register("a+a", Arc::new(Nowhere)).unwrap();
    let error = registry.connect(&unknown, &options).await.unwrap_err();
    assert!(error.is_permanent());
    assert!(matches!(error, ConnectError::UnknownScheme { reason, .. }
        if reason == "no transport is registered for scheme `foo`; known: `a+a`, `b`"));
}

#[tokio::test]
async fn clones_share_what_is_registered() {
    let registry = Registry::empty();
    let clone = registry.clone();
    registry.register("foo", Arc::new(Nowhere)).unwrap();
    let error = clone
        .bind(&endpoint("foo://bar"), &LinkOptions::default())
        .await
        .err()
        .unwrap();
    assert_eq!(error.to_string(), "cannot bind foo://bar: nowhere");
    assert_eq!(format!("{clone:?}"), r#"Registry { schemes: ["foo"] }"#);
}

#[test]
fn a_scheme_is_taken_once() {
    let registry = Registry::standard();
    registry.register("foo", Arc::new(Nowhere)).unwrap();
    for scheme in registry.schemes() {
        let error = registry.register(&scheme, Arc::new(Nowhere)).unwrap_err();
        assert_eq!(error, RegisterError::Taken { scheme });
    }
}

#[test]
fn a_scheme_must_be_one() {
    let registry = Registry::empty();
    for scheme in ["", "Foo", "1", "a b", "a:", "é", "-a", &"x".repeat(2000)] {
        let error = registry.register(scheme, Arc::new(Nowhere)).unwrap_err();
        assert!(matches!(error, RegisterError::InvalidScheme { .. }), "{scheme:?}");
    }
    assert!(registry.schemes().is_empty());
}
