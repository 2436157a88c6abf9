//! How far passwords in clear text may travel.

use flexbond_transport::{Endpoint, Host};

use super::super::Options;

/// Whether PLAIN may be used there: within this machine, or wherever the options allow it.
pub(crate) fn check_reach(options: &Options, endpoint: &Endpoint) -> bool {
    let plain = options.plain_client.is_some() || options.plain_server.is_some();
    !plain || options.plain_anywhere || is_local(endpoint)
}

/// A transport that somebody registered may lead anywhere.
fn is_local(endpoint: &Endpoint) -> bool {
    match endpoint {
        Endpoint::Inproc { .. } | Endpoint::Ipc(_) => true,
        Endpoint::Tcp(tcp) => match tcp.host() {
            Host::V4(address) => address.is_loopback(),
            Host::V6 { address, .. } => {
                address.is_loopback()
                    || address
                        .to_ipv4_mapped()
                        .is_some_and(|mapped| mapped.is_loopback())
            }
            // RFC 6761: what this name leads to is loopback.
            Host::Name { name, .. } => name.eq_ignore_ascii_case("localhost"),
            _ => false,
        },
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::super::PlainServer;
    use super::*;

    #[test]
    fn passwords_stay_on_this_machine() {
        let plain = Options::new().plain_server(PlainServer::new());
        for (endpoint, near) in [
            ("tcp://127.0.0.1:1", true),
            ("tcp://127.8.8.8:1", true),
            ("tcp://[::1]:1", true),
            ("tcp://LOCALHOST:1", true),
            ("ipc:///run/x", true),
            ("inproc://x", true),
            ("tcp://*:1", false),
            ("tcp://0.0.0.0:1", false),
            ("tcp://[::]:1", false),
            ("tcp://localhost.example.org:1", false),
            // An interface to bind to, but any host to connect to.
            ("tcp://lo:1", false),
            ("tcp://10.0.0.1:1", false),
            ("pigeon://x", false),
        ] {
            let endpoint: Endpoint = endpoint.parse().expect("an endpoint");
            assert_eq!(check_reach(&plain, &endpoint), near, "{endpoint}");
            assert!(check_reach(&plain.clone().plain_anywhere(true), &endpoint));
            assert!(check_reach(&Options::new(), &endpoint));
        }
    }
}
