//! How far passwords may travel that PLAIN does not encrypt.

use flexbond_transport::{Connection, Endpoint, Host, Link};
use flexbond_wire::zmtp::Security;
use thiserror::Error;

use super::super::Options;
use super::mechanism;

/// Whether PLAIN may be used there: within this machine, over tls, or wherever the options allow it.
pub(crate) fn check_reach(options: &Options, endpoint: &Endpoint) -> bool {
    !keeps_near(options) || is_private(endpoint) || is_localhost(endpoint)
}

/// As [`check_reach`], once it is known where the listener is: a name may lead anywhere, whatever RFC 6761 says.
pub(crate) fn check_bound(options: &Options, bound: &Endpoint) -> bool {
    !keeps_near(options) || is_private(bound)
}

/// Whether this connection may be used, at `endpoint`, with the security that the options demand. Nothing has been sent.
pub(crate) fn check_connection(
    options: &Options,
    endpoint: &Endpoint,
    connection: &Connection,
) -> Result<(), Unprotected> {
    if matches!(connection.link, Link::Messages(_)) && !matches!(endpoint, Endpoint::Inproc { .. }) {
        return match mechanism(options) {
            Security::Null => Ok(()),
            _ => Err(Unprotected::Messages),
        };
    }
    if keeps_near(options) && !is_private(&connection.peer) {
        return Err(Unprotected::ClearText {
            peer: connection.peer.clone(),
        });
    }
    Ok(())
}

/// Why a connection was given up before anything was sent.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(crate) enum Unprotected {
    #[error(
        "this transport carries whole messages, which neither PLAIN nor CURVE nor an authenticator sees: use one that \
         carries bytes"
    )]
    Messages,
    #[error(
        "PLAIN would send a password unencrypted to {peer}: use CURVE or tls, or set the option plain_anywhere"
    )]
    ClearText { peer: Endpoint },
}

/// Whether passwords must not leave this machine.
fn keeps_near(options: &Options) -> bool {
    (options.plain_client.is_some() || options.plain_server.is_some()) && !options.plain_anywhere
}

/// The name that should lead to loopback (RFC 6761). Where it does lead is seen when the connection is there.
fn is_localhost(endpoint: &Endpoint) -> bool {
    match endpoint {
        Endpoint::Tcp(tcp) => match tcp.host() {
            Host::Name { name, .. } => name.eq_ignore_ascii_case("localhost"),
            _ => false,
        },
        _ => false,
    }
}

/// Whether nobody else reads along: within this machine, and over tls, which encrypts and has checked the server's name. A
/// name, and a transport that somebody registered, may lead anywhere.
fn is_private(endpoint: &Endpoint) -> bool {
    match endpoint {
        Endpoint::Inproc { .. } | Endpoint::Ipc(_) | Endpoint::Tls(_) => true,
        Endpoint::Tcp(tcp) => match tcp.host() {
            Host::V4(address) => address.is_loopback(),
            Host::V6 { address, .. } => {
                address.is_loopback()
                    || address
                        .to_ipv4_mapped()
                        .is_some_and(|mapped| mapped.is_loopback())
            }
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
            ("tcp://localhost:1", true),
            ("ipc:///run/x", true),
            ("inproc://x", true),
            ("tls://10.0.0.1:1", true),
            ("tls://*:1", true),
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
            let known = near && endpoint != "tcp://localhost:1".parse().expect("an endpoint");
            assert_eq!(check_bound(&plain, &endpoint), known, "{endpoint}");
        }
    }
}
