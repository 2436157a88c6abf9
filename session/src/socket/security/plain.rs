//! The mechanism PLAIN: names and passwords, in clear text.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use flexbond_wire::zmtp::{Credentials, Secret};

use super::{AuthRequest, Authenticator, Decision};

/// The name and password that a PLAIN client offers (RFC 24).
///
/// PLAIN sends both unencrypted: sockets use it on this machine only, unless
/// [`Options::plain_anywhere`](super::super::Options::plain_anywhere) says that the network is encrypted.
#[derive(Clone)]
pub struct PlainUser {
    /// Up to 255 bytes.
    pub username: String,
    /// Up to 255 bytes; wiped from memory when dropped, hidden in debug output.
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
        Arc::make_mut(&mut self.users).insert(username.into(), Secret::from(password.into()));
        self
    }

    /// Whether it admits nobody.
    pub(crate) fn is_empty(&self) -> bool {
        self.users.is_empty()
    }
}

#[async_trait]
impl Authenticator for PlainServer {
    /// The comparison takes the same time wherever passwords differ.
    async fn authenticate(&self, request: AuthRequest) -> Decision {
        match &request.credentials {
            Credentials::Plain { username, password } => match self.users.get(username) {
                Some(expected) if expected == password => Decision::allow(username.as_str()),
                _ => Decision::deny("invalid username or password"),
            },
            _ => Decision::deny(format!("{} shows no password", request.mechanism())),
        }
    }
}

impl fmt::Debug for PlainServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PlainServer")
            .field("users", &self.users.len())
            .finish()
    }
}
