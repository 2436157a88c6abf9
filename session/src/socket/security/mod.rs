//! Who may talk to a socket, and as whom it talks.

mod authenticator;
#[cfg(feature = "tls")]
mod certificate;
#[cfg(feature = "curve")]
mod curve;
mod judging;
mod plain;
mod reach;

use flexbond_wire::zmtp::Security;

use super::Options;

pub use authenticator::{AuthRequest, Authenticator, Decision, DenyStatus};
#[cfg(feature = "tls")]
pub use certificate::{CertificateAllow, CertificateName, CertificateNameError};
#[cfg(feature = "curve")]
pub(crate) use curve::randomness;
#[cfg(feature = "curve")]
pub use curve::{CurveAllow, CurveClient, generate_keys};
pub(crate) use judging::{Denial, Judging};
pub use plain::{PlainServer, PlainUser};
pub(crate) use reach::{check_bound, check_connection, check_reach};

/// What the options demand of the wire.
pub(crate) fn mechanism(options: &Options) -> Security {
    #[cfg(feature = "curve")]
    if let Some(client) = &options.curve_client {
        return Security::CurveClient {
            server: client.server,
            keys: client.keys.clone(),
        };
    } else if let Some(keys) = &options.curve_server {
        return Security::CurveServer { keys: keys.clone() };
    }
    match (&options.plain_client, &options.plain_server) {
        (Some(user), _) => Security::PlainClient {
            username: user.username.clone(),
            password: user.password.clone(),
        },
        (None, Some(_)) => Security::PlainServer,
        (None, None) if options.authenticator.is_some() => Security::NullServer,
        (None, None) => Security::Null,
    }
}
