//! Which texts are endpoints, what they mean, and what is said about the others.

use std::collections::HashSet;

use flexbond_transport::{Endpoint, EndpointError, Host, IpcAddress};
use proptest::prelude::{Just, Strategy, any, prop_assert, prop_assert_eq, prop_oneof, proptest};

fn parse(text: &str) -> Endpoint {
    text.parse().unwrap_or_else(|error| panic!("{error}"))
}

fn refuse(text: &str) -> EndpointError {
    let error = text.parse::<Endpoint>().expect_err(text);
    assert!(
        error.to_string().contains(&format!("{text:?}")),
        "{error} does not show {text:?}"
    );
    error
}

#[test]
fn endpoints_are_shown_as_they_were_written() {
    for text in [
        "tcp://*:0",
        "tcp://*:5555",
        "tcp://0.0.0.0:5555",
        "tcp://127.0.0.1:65535",
        "tcp://eth0:5555",
        "tcp://eth0.100:5555",
        "tcp://host.name:5555",
        "tcp://host_name-2.example.:5555",
        "tcp://[::]:0",
        "tcp://[::1]:5555",
        "tcp://[fe80::1%eth0]:5",
        "tcp://[fe80::1%2]:5",
        "tcp://[::ffff:192.0.2.7]:5",
        "tls://*:0",
        "tls://host.name:5555",
        "tls://[fe80::1%eth0]:5",
        "udp://*:0",
        "udp://127.0.0.1:12345",
        "udp://239.255.7.9:5",
        "udp://host.name:5",
        "udp://[::1]:5",
        "udp://[fe80::1%eth0]:5",
        "udp://[ff02::1%2]:5",
        "ipc:///run/x.sock",
        "ipc://relative/path",
        "ipc://./@file",
        "ipc://@abstract",
        "ipc://@with / anything : in it",
        "ipc://*",
        "ipc://./*",
        "inproc://name",
        "inproc://any thing:// at all",
        "foo+bar-2.0://wherever",
    ] {
        let endpoint = parse(text);
        assert_eq!(endpoint.to_string(), text);
        assert_eq!(format!("{}://{}", endpoint.scheme(), endpoint.address()), text);
        assert_eq!(parse(&endpoint.to_string()), endpoint);
    }
}

#[test]
fn endpoints_are_normalized() {
    for (text, shown) in [
        ("tcp://*:*", "tcp://*:0"),
        ("udp://*:*", "udp://*:0"),
        ("udp://[FF11:0::1]:007", "udp://[ff11::1]:7"),
        ("tcp://eth0:*", "tcp://eth0:0"),
        ("tcp://[::1]:*", "tcp://[::1]:0"),
        ("tcp://127.0.0.1:00080", "tcp://127.0.0.1:80"),
        ("tcp://[2001:DB8:0:0::1]:5", "tcp://[2001:db8::1]:5"),
    ] {
        assert_eq!(parse(text).to_string(), shown);
        assert_eq!(parse(text), parse(shown));
    }
}

#[test]
fn endpoints_are_taken_apart() {
    let Endpoint::Tcp(address) = parse("tcp://[fe80::1%eth0]:5") else {
        panic!()
    };
    assert!(
        matches!(address.host(), Host::V6 { address, zone: Some(zone), .. }
        if address.to_string() == "fe80::1" && zone == "eth0")
    );
    assert_eq!(address.port(), 5);
    let Endpoint::Udp(address) = parse("udp://239.255.7.9:5") else {
        panic!()
    };
    assert!(matches!(address.host(), Host::V4(group) if group.is_multicast()));
    assert_eq!(address.port(), 5);
    let Endpoint::Tcp(address) = parse("tcp://eth0:*") else {
        panic!()
    };
    assert!(matches!(address.host(), Host::Name { name, .. } if name == "eth0"));
    assert!(matches!(parse("ipc://@x"), Endpoint::Ipc(IpcAddress::Abstract { name, .. }) if name == "x"));
    assert!(matches!(parse("ipc://x@"), Endpoint::Ipc(IpcAddress::Path { path, .. }) if path == "x@"));
    assert!(matches!(parse("ipc://*"), Endpoint::Ipc(IpcAddress::Any)));
    assert!(matches!(parse("inproc://*"), Endpoint::Inproc { name, .. } if name == "*"));
    assert!(
        matches!(parse("pgm://*:5"), Endpoint::Other { scheme, address, .. }
        if scheme == "pgm" && address == "*:5")
    );
}

#[test]
fn every_mistake_has_its_error() {
    use EndpointError as E;
    macro_rules! table {
        ($($text:expr => $error:pat $(if $guard:expr)?,)*) => {
            $(
                let error = refuse($text);
                assert!(matches!(&error, $error $(if $guard)?), "{} is {:?}", $text, error);
            )*
        };
    }
    table! {
        "" => E::MissingSeparator { .. },
        "tcp" => E::MissingSeparator { .. },
        "tcp:/x" => E::MissingSeparator { .. },
        "127.0.0.1:5555" => E::MissingSeparator { .. },
        "://x" => E::EmptyScheme { .. },
        "TCP://x:1" => E::SchemeCharacter { character: 'T', position: 0, .. },
        "1tcp://x:1" => E::SchemeCharacter { character: '1', position: 0, .. },
        "t p://x:1" => E::SchemeCharacter { character: ' ', position: 1, .. },
        "tÿp://x:1" => E::SchemeCharacter { character: 'ÿ', position: 1, .. },
        "tcp://" => E::EmptyAddress { .. },
        "ipc://" => E::EmptyAddress { .. },
        "ipc://@" => E::EmptyAddress { .. },
        "inproc://" => E::EmptyAddress { .. },
        "foo://" => E::EmptyAddress { .. },
        "udp://" => E::EmptyAddress { .. },
        "udp://:5" => E::EmptyHost { .. },
        "udp://host" => E::MissingPort { .. },
        "udp://host:65536" => E::PortOutOfRange { .. },
        "udp://ff02::1:5" => E::UnbracketedColon { .. },
        "udp://239.255.1:5" => E::InvalidIpv4 { .. },
        "tcp://:5" => E::EmptyHost { .. },
        "tcp://host" => E::MissingPort { .. },
        "tcp://host:" => E::MissingPort { .. },
        "tcp://[::1]" => E::MissingPort { .. },
        "tcp://[::1]:" => E::MissingPort { .. },
        "tcp://host:65536" => E::PortOutOfRange { port, .. } if port == "65536",
        "tcp://host:99999999999999999999" => E::PortOutOfRange { .. },
        "tcp://host:+5" => E::InvalidPort { port, .. } if port == "+5",
        "tcp://host:-1" => E::InvalidPort { .. },
        "tcp://host:5 " => E::InvalidPort { .. },
        "tcp://host:http" => E::InvalidPort { port, .. } if port == "http",
        "tcp://host:٣" => E::InvalidPort { .. },
        "tcp://[::1:5" => E::UnclosedBracket { .. },
        "tcp://[::1]5" => E::AfterBracket { found, .. } if found == "5",
        "tcp://1.2.3:5" => E::InvalidIpv4 { host, .. } if host == "1.2.3",
        "tcp://256.0.0.1:5" => E::InvalidIpv4 { .. },
        "tcp://127.0.0.01:5" => E::InvalidIpv4 { .. },
        "tcp://[]:5" => E::InvalidIpv6 { host, .. } if host.is_empty(),
        "tcp://[127.0.0.1]:5" => E::InvalidIpv6 { .. },
        "tcp://[*]:5" => E::InvalidIpv6 { .. },
        "tcp://[fe80::1%]:5" => E::InvalidZone { zone, .. } if zone.is_empty(),
        "tcp://[fe80::1%sixteen-letters-]:5" => E::InvalidZone { .. },
        "tcp://[fe80::1%a b]:5" => E::InvalidZone { .. },
        "tcp://::1:5" => E::UnbracketedColon { host, .. } if host == "::1",
        "tcp://ho st:5" => E::HostCharacter { character: ' ', .. },
        "tcp://user@host:5" => E::HostCharacter { character: '@', .. },
        "tcp://host/path:5" => E::HostCharacter { character: '/', .. },
        "tcp://eth0;host:5" => E::HostCharacter { character: ';', .. },
        "tcp://höst:5" => E::HostCharacter { character: 'ö', .. },
    }
}

#[test]
fn nul_bytes_are_found() {
    let error = refuse("ipc:///a\0b");
    assert_eq!(
        error.to_string(),
        r#"NUL byte at byte 8 of endpoint "ipc:///a\0b""#
    );
    assert!(matches!(
        "inproc://\0".parse::<Endpoint>(),
        Err(EndpointError::NulByte { position: 9, .. })
    ));
}

#[test]
fn lengths_are_limited() {
    let longest = |prefix: &str, limit: usize| format!("{prefix}{}", "x".repeat(limit));
    let path = IpcAddress::MAX_LEN;

    parse(&longest("ipc://", path));
    let error = refuse(&longest("ipc://", path + 1));
    assert!(matches!(error, EndpointError::PathTooLong { length, .. } if length == path + 1));
    assert!(
        error
            .to_string()
            .contains(&format!("{} bytes, more than {path}", path + 1))
    );

    parse(&longest("ipc://@", path));
    let error = refuse(&longest("ipc://@", path + 1));
    assert!(matches!(error, EndpointError::AbstractTooLong { length, .. } if length == path + 1));

    parse(&longest("inproc://", Endpoint::MAX_INPROC_NAME));
    let error = refuse(&longest("inproc://", Endpoint::MAX_INPROC_NAME + 1));
    assert!(matches!(error, EndpointError::NameTooLong { length: 257, .. }));

    parse(&format!("tcp://{}:1", "x".repeat(Host::MAX_NAME)));
    let error = refuse(&format!("tcp://{}:1", "x".repeat(Host::MAX_NAME + 1)));
    assert!(matches!(error, EndpointError::HostTooLong { length: 256, .. }));

    parse(&longest("foo://", Endpoint::MAX_LEN - 6));
    let error = longest("foo://", Endpoint::MAX_LEN - 5)
        .parse::<Endpoint>()
        .unwrap_err();
    assert!(matches!(error, EndpointError::TooLong { length: 1025, .. }));
    assert!(error.to_string().len() < 200, "a message stays short: {error}");
}

#[test]
fn whatever_is_an_endpoint_converts() {
    fn take<E: TryInto<Endpoint, Error: Into<EndpointError>>>(
        endpoint: E,
    ) -> Result<Endpoint, EndpointError> {
        endpoint.try_into().map_err(Into::into)
    }
    let text = "tcp://127.0.0.1:5555";
    let endpoint = parse(text);
    assert_eq!(take(text), Ok(endpoint.clone()));
    assert_eq!(take(text.to_owned()), Ok(endpoint.clone()));
    let owned = text.to_owned();
    assert_eq!(take(&owned), Ok(endpoint.clone()));
    assert_eq!(take(&endpoint), Ok(endpoint.clone()));
    assert_eq!(take(endpoint.clone()), Ok(endpoint.clone()));
    assert_eq!(
        take(std::net::SocketAddr::from(([127, 0, 0, 1], 5555))),
        Ok(endpoint.clone())
    );
    assert!(take("nonsense").is_err());
    assert_eq!(HashSet::from([endpoint.clone(), parse(text)]).len(), 1);
    assert_eq!(format!("{endpoint:?}"), r#"Endpoint("tcp://127.0.0.1:5555")"#);
}

#[test]
fn socket_addresses_become_endpoints() {
    for (address, shown) in [
        ("192.0.2.7:1", "tcp://192.0.2.7:1"),
        ("[::1]:1", "tcp://[::1]:1"),
        ("[fe80::1%3]:1", "tcp://[fe80::1%3]:1"),
        ("[::ffff:192.0.2.7]:1", "tcp://192.0.2.7:1"),
    ] {
        let endpoint = Endpoint::from(address.parse::<std::net::SocketAddr>().unwrap());
        assert_eq!(endpoint.to_string(), shown);
        assert_eq!(parse(shown), endpoint);
    }
}

fn endpoint_text() -> impl Strategy<Value = String> {
    let port = prop_oneof![
        Just("*".to_owned()),
        any::<u16>().prop_map(|port| port.to_string())
    ];
    let host = prop_oneof![
        Just("*".to_owned()),
        any::<[u8; 4]>().prop_map(|ip| std::net::Ipv4Addr::from(ip).to_string()),
        any::<[u16; 8]>().prop_map(|ip| format!("[{}]", std::net::Ipv6Addr::from(ip))),
        (any::<[u16; 8]>(), "[a-z0-9._-]{1,15}")
            .prop_map(|(ip, zone)| format!("[{}%{zone}]", std::net::Ipv6Addr::from(ip))),
        "[a-zA-Z_-][a-zA-Z0-9._-]{0,60}",
    ];
    prop_oneof![
        (prop_oneof![Just("tcp"), Just("udp")], host, port)
            .prop_map(|(scheme, host, port)| format!("{scheme}://{host}:{port}")),
        "[^\0@][^\0]{0,20}".prop_map(|path| format!("ipc://{path}")),
        "[^\0]{1,20}".prop_map(|name| format!("ipc://@{name}")),
        "[^\0]{1,50}".prop_map(|name| format!("inproc://{name}")),
        ("[a-z][a-z0-9+.-]{6,12}", "[^\0]{1,50}")
            .prop_map(|(scheme, address)| format!("{scheme}://{address}")),
    ]
}

proptest! {
    #[test]
    fn what_is_shown_parses_to_the_same(text in endpoint_text()) {
        let endpoint = parse(&text);
        let shown = endpoint.to_string();
        prop_assert_eq!(&parse(&shown), &endpoint);
        prop_assert_eq!(parse(&shown).to_string(), shown);
    }

    #[test]
    fn arbitrary_text_is_parsed_or_refused(text in any::<String>()) {
        if let Ok(endpoint) = text.parse::<Endpoint>() {
            prop_assert_eq!(parse(&endpoint.to_string()), endpoint);
        }
    }

    #[test]
    fn arbitrary_addresses_are_parsed_or_refused(
        scheme in prop_oneof![Just("tcp"), Just("udp"), Just("ipc"), Just("inproc"), Just("x")],
        address in prop_oneof![any::<String>(), "[0-9a-f:.*%\\[\\]@/-]{0,30}"],
    ) {
        let text = format!("{scheme}://{address}");
        match text.parse::<Endpoint>() {
            Ok(endpoint) => prop_assert_eq!(parse(&endpoint.to_string()), endpoint),
            Err(error) => prop_assert!(!error.to_string().is_empty()),
        }
    }
}
