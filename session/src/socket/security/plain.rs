//! The mechanism PLAIN: names and passwords, in clear text unless the transport encrypts.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use flexbond_wire::zmtp::{Credentials, Secret};

use super::{AuthRequest, Authenticator, Decision};

/// The name and password that a PLAIN client offers (RFC 24).
///
/// PLAIN sends both unencrypted: sockets use it on this machine and over `tls://` only, unless
/// [`Options::plain_anywhere`](super::super::Options::plain_anywhere) says that the network is encrypted.
#[derive(Clone)]
pub struct PlainUser {
    /// Up to 255 bytes.
    pub username: String,
    /// Up to 255 bytes; this copy is wiped from memory when dropped, and hidden in debug output.
    pub password: Secret,
}

impl PlainUser {
    /// Credentials of `username`.
    #[must_use]
    pub fn new(username: impl Into<String>, password: impl Into<String>) -> Self {
        PlainUser {
            username: username.into(),
            password: Secret::from(password.into()),
        }
    }
}

impl fmt::Debug for PlainUser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PlainUser")
            .field("username", &self.username)
            .finish_non_exhaustive()
    }
}

/// The users that a PLAIN server admits. Also an [`Authenticator`], for those who judge more than passwords.
///
/// ```
/// use flexbond_session::socket::{Options, PlainServer, Rep};
///
/// let users = PlainServer::new().user("ada", "lovelace");
/// let rep = Rep::with_options(Options::new().plain_server(users))?;
/// # Ok::<(), flexbond_session::socket::OptionError>(())
/// ```
#[derive(Clone, Default)]
pub struct PlainServer {
    /// Each password as it is compared: [`padded`].
    users: Arc<HashMap<String, Secret>>,
}

impl PlainServer {
    /// A server that admits nobody yet.
    #[must_use]
    pub fn new() -> Self {
        PlainServer::default()
    }

    /// Admits `username` with `password`.
    #[must_use]
    pub fn user(mut self, username: impl Into<String>, password: impl Into<String>) -> Self {
        let password = Secret::from(password.into());
        Arc::make_mut(&mut self.users).insert(username.into(), padded(&password));
        self
    }

    /// Whether it admits nobody.
    pub(crate) fn is_empty(&self) -> bool {
        self.users.is_empty()
    }
}

#[async_trait]
impl Authenticator for PlainServer {
    /// The comparison takes the same time wherever passwords differ, however long the right one is, and for users that
    /// there are not. The name is looked up as in any table: names are no secret.
    async fn authenticate(&self, request: AuthRequest) -> Decision {
        match &request.credentials {
            Credentials::Plain { username, password } => {
                // Compared also where it is nobody's.
                let nobody = padded(&Secret::default());
                let expected = self.users.get(username);
                let same = *expected.unwrap_or(&nobody) == padded(password);
                if same && expected.is_some() {
                    Decision::allow(username.as_str())
                } else {
                    Decision::deny("invalid username or password")
                }
            }
            _ => Decision::deny(format!("{} shows no password", request.mechanism())),
        }
    }
}

/// The password and its length in as many bytes as any password has: two of them are compared in constant time. One that
/// is longer than PLAIN can carry is nobody's.
fn padded(password: &Secret) -> Secret {
    let bytes = password.expose();
    let mut padded = vec![0; 255 + 8];
    let len = bytes.len().min(255);
    padded[..len].copy_from_slice(&bytes[..len]);
    padded[255..].copy_from_slice(&(bytes.len() as u64).to_be_bytes());
    Secret::from(padded)
}

impl fmt::Debug for PlainServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PlainServer")
            .field("users", &self.users.len())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_the_whole_password_of_a_known_user_is_good() {
        let long = "x".repeat(300);
        let server = PlainServer::new().user("ada", "love").user("eve", long.as_str());
        for (name, password, good) in [
            ("ada", "love", true),
            ("ada", "lov", false),
            ("ada", "love\0", false),
            ("ada", "", false),
            ("nobody", "", false),
            ("nobody", "love", false),
            ("eve", &long[..255], false),
        ] {
            let request = AuthRequest {
                domain: String::new(),
                address: String::new(),
                endpoint: "inproc://x".parse().expect("an endpoint"),
                routing_id: bytes::Bytes::new(),
                credentials: Credentials::Plain {
                    username: name.to_owned(),
                    password: Secret::from(password),
                },
                identity: None,
            };
            let decision = server.authenticate(request).await;
            assert_eq!(
                matches!(decision, Decision::Allow { .. }),
                good,
                "{name} {password}"
            );
        }
    }

    #[test]
    fn every_comparison_is_as_long() {
        for password in ["", "a", &"x".repeat(255)] {
            assert_eq!(padded(&Secret::from(password)).expose().len(), 263);
        }
    }
}
