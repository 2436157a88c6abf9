//! What only tcp does: families, names, interfaces, wildcards.
#![cfg(feature = "tcp")]

use flexbond_transport::{
    BindError, ConnectError, Connection, Endpoint, Host, LinkOptions, Listener, Tcp, Transport,
};

fn endpoint(text: &str) -> Endpoint {
    text.parse().unwrap()
}

fn with_ipv6() -> LinkOptions {
    let mut options = LinkOptions::default();
    options.ipv6 = true;
    options
}

/// Says so when there is no IPv6 here.
fn has_ipv6() -> bool {
    let there = std::net::TcpListener::bind("[::1]:0").is_ok();
    if !there {
        eprintln!("not tested: this machine has no IPv6 loopback");
    }
    there
}

async fn bind(text: &str, options: &LinkOptions) -> Result<Box<dyn Listener>, BindError> {
    Tcp::new().bind(&endpoint(text), options).await
}

fn host_and_port(endpoint: &Endpoint) -> (&Host, u16) {
    match endpoint {
        Endpoint::Tcp(address) => (address.host(), address.port()),
        other => panic!("{other} is not tcp"),
    }
}

async fn meet(listener: &mut dyn Listener, at: &str, options: &LinkOptions) -> (Connection, Connection) {
    let port = host_and_port(listener.local_endpoint()).1;
    let at = endpoint(&format!("tcp://{at}:{port}"));
    let tcp = Tcp::new();
    let (near, far) = tokio::join!(tcp.connect(&at, options), listener.accept());
    (near.unwrap(), far.unwrap())
}

#[tokio::test]
async fn the_wildcard_is_ipv4() {
    let options = LinkOptions::default();
    let mut listener = bind("tcp://*:*", &options).await.unwrap();
    let bound = listener.local_endpoint().to_string();
    assert!(
        bound.starts_with("tcp://0.0.0.0:") && bound != "tcp://0.0.0.0:0",
        "{bound}"
    );
    for host in ["127.0.0.1", "localhost", "0.0.0.0"] {
        let (near, far) = meet(&mut *listener, host, &options).await;
        assert!(near.peer.to_string().starts_with("tcp://127.0.0.1:"));
        assert!(far.peer.to_string().starts_with("tcp://127.0.0.1:"));
    }
}

#[tokio::test]
async fn the_wildcard_is_both_families_with_ipv6() {
    if !has_ipv6() {
        return;
    }
    let mut listener = bind("tcp://*:*", &with_ipv6()).await.unwrap();
    assert!(listener.local_endpoint().to_string().starts_with("tcp://[::]:"));
    let (_, far) = meet(&mut *listener, "127.0.0.1", &with_ipv6()).await;
    assert!(
        far.peer.to_string().starts_with("tcp://127.0.0.1:"),
        "{}",
        far.peer
    );
    let (_, far) = meet(&mut *listener, "[::1]", &with_ipv6()).await;
    assert!(far.peer.to_string().starts_with("tcp://[::1]:"), "{}", far.peer);
}

#[tokio::test]
async fn literal_ipv6_always_works() {
    if !has_ipv6() {
        return;
    }
    let options = LinkOptions::default();
    for at in ["tcp://[::1]:0", "tcp://[::]:0"] {
        let mut listener = bind(at, &options).await.unwrap();
        meet(&mut *listener, "[::1]", &options).await;
        let port = host_and_port(listener.local_endpoint()).1;
        let v4 = endpoint(&format!("tcp://127.0.0.1:{port}"));
        let error = Tcp::new().connect(&v4, &options).await.unwrap_err();
        assert!(matches!(error, ConnectError::Io { .. }), "{at} took IPv4 too");
    }
}

#[tokio::test]
async fn names_are_ipv4_unless_ipv6_is_on() {
    let options = LinkOptions::default();
    let mut listener = bind("tcp://localhost:0", &options).await.unwrap();
    assert!(
        listener
            .local_endpoint()
            .to_string()
            .starts_with("tcp://127.0.0.1:")
    );
    meet(&mut *listener, "localhost", &options).await;
    // With IPv6 the name may stand for [::1] as well, where nobody listens: the next address is tried.
    meet(&mut *listener, "localhost", &with_ipv6()).await;
}

#[tokio::test]
async fn interfaces_are_bound_by_name() {
    let interfaces = if_addrs::get_if_addrs().unwrap();
    let mut tested = 0;
    for interface in interfaces.iter().filter(|interface| interface.ip().is_ipv4()) {
        let listener = bind(&format!("tcp://{}:*", interface.name), &LinkOptions::default())
            .await
            .unwrap();
        let (host, port) = host_and_port(listener.local_endpoint());
        let of_name = interfaces.iter().filter(|other| other.name == interface.name);
        assert!(of_name.map(|other| Host::from(other.ip())).any(|ip| ip == *host));
        assert_ne!(port, 0);
        tested += 1;
    }
    assert!(tested > 0, "this machine has no IPv4 interface");
}

#[tokio::test]
async fn a_scope_must_be_an_interface() {
    let error = bind("tcp://[fe80::1%no-such-if]:0", &LinkOptions::default())
        .await
        .err()
        .unwrap();
    assert_eq!(
        error.to_string(),
        "cannot bind tcp://[fe80::1%no-such-if]:0: there is no network interface \"no-such-if\""
    );
}

#[tokio::test]
async fn what_can_only_be_bound_is_not_connected_to() {
    for text in ["tcp://*:5555", "tcp://127.0.0.1:0"] {
        let error = Tcp::new()
            .connect(&endpoint(text), &LinkOptions::default())
            .await
            .unwrap_err();
        assert!(
            matches!(error, ConnectError::Unusable { .. }),
            "{text}: {error:?}"
        );
        assert!(error.is_permanent());
    }
}

#[tokio::test]
async fn an_address_of_another_machine_is_not_bound() {
    // TEST-NET-1 (RFC 5737) belongs to nobody.
    let error = bind("tcp://192.0.2.1:0", &LinkOptions::default())
        .await
        .err()
        .unwrap();
    assert!(matches!(error, BindError::Io { .. }), "{error:?}");
}

#[tokio::test]
async fn a_live_listener_of_another_kind_is_refused() {
    let other = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = other.local_addr().unwrap().port();
    for host in ["127.0.0.1", "*"] {
        let error = bind(&format!("tcp://{host}:{port}"), &LinkOptions::default())
            .await
            .err()
            .unwrap();
        assert!(
            matches!(error, BindError::InUse { source: Some(_), .. }),
            "{error:?}"
        );
    }
}
