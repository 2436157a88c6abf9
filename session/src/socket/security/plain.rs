//! Who may talk to a socket, and as whom it talks: mechanism PLAIN.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use flexbond_wire::zmtp::{Credentials, Secret, Verdict};

/// The name and password that a PLAIN client offers (RFC 24).
///
/// PLAIN sends both unencrypted: use it on loopback or inside an encrypted network only.
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

/// The users that a PLAIN server admits.
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

    /// Decides about one peer. The comparison takes the same time wherever passwords differ.
    pub(crate) fn judge(&self, credentials: &Credentials) -> Verdict {
        match credentials {
            Credentials::Plain { username, password } => match self.users.get(username) {
                Some(expected) if expected == password => Verdict::Allow {
                    user_id: Some(username.clone()),
                },
                _ => Verdict::Deny {
                    reason: "invalid username or password".to_owned(),
                },
            },
            _ => Verdict::Deny {
                reason: "unknown kind of credentials".to_owned(),
            },
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
