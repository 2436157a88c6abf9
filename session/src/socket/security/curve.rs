//! The mechanism CURVE: keys instead of passwords, and nothing in clear.

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::sync::Arc;

use async_trait::async_trait;
use flexbond_wire::zmtp::curve::{KeyPair, PublicKey, SecretKey};
use flexbond_wire::zmtp::{Credentials, Randomness};
use parking_lot::RwLock;

use super::{AuthRequest, Authenticator, Decision};

/// Makes a new key pair of the operating system's random numbers.
///
/// ```
/// use flexbond_session::socket::{CurveClient, Options, Rep, Req, generate_keys};
///
/// let server = generate_keys()?;
/// let client = CurveClient::new(*server.public(), generate_keys()?);
/// let req = Req::with_options(Options::new().curve_client(client))?;
/// let rep = Rep::with_options(Options::new().curve_server(server))?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// The system has no random numbers, which it says at its very start only.
pub fn generate_keys() -> io::Result<KeyPair> {
    SecretKey::try_fill(|bytes| Ok(getrandom::fill(bytes)?)).map(KeyPair::from)
}

/// Chance for one connection.
pub(crate) fn randomness() -> io::Result<Randomness> {
    Randomness::try_fill(|bytes| Ok(getrandom::fill(bytes)?))
}

/// What a CURVE client needs: the key of the server, and its own.
#[derive(Clone, Debug)]
pub struct CurveClient {
    /// The server's public key. A connection to anybody who does not own its secret half fails.
    pub server: PublicKey,
    /// Who this side is to the server.
    pub keys: KeyPair,
}

impl CurveClient {
    /// A client known by its keys.
    #[must_use]
    pub fn new(server: PublicKey, keys: impl Into<KeyPair>) -> Self {
        CurveClient {
            server,
            keys: keys.into(),
        }
    }

    /// A client that nobody knows, with keys made now: for servers that let everybody in.
    ///
    /// # Errors
    /// As [`generate_keys`].
    pub fn anonymous(server: PublicKey) -> io::Result<Self> {
        Ok(CurveClient::new(server, generate_keys()?))
    }
}

/// An [`Authenticator`] that lets in the owners of certain CURVE keys, and nobody else.
///
/// A clone is the same list. It may be changed while sockets use it: that concerns connections made from then on.
///
/// ```
/// use flexbond_session::socket::{CurveAllow, Options, Rep, generate_keys};
///
/// let (server, ada) = (generate_keys()?, generate_keys()?);
/// let allowed = CurveAllow::new();
/// allowed.allow(*ada.public(), "ada");
/// let options = Options::new().curve_server(server).authenticator(allowed.clone());
/// let rep = Rep::with_options(options)?;
/// assert!(allowed.revoke(ada.public()));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Default)]
pub struct CurveAllow {
    users: Arc<RwLock<HashMap<PublicKey, String>>>,
}

impl CurveAllow {
    /// A list that lets nobody in yet.
    #[must_use]
    pub fn new() -> Self {
        CurveAllow::default()
    }

    /// Lets in the owner of this key, as this user.
    pub fn allow(&self, key: PublicKey, user_id: impl Into<String>) {
        self.users.write().insert(key, user_id.into());
    }

    /// Lets the owner of this key in no more; whether it was on the list. Connections that stand are not ended.
    pub fn revoke(&self, key: &PublicKey) -> bool {
        self.users.write().remove(key).is_some()
    }
}

#[async_trait]
impl Authenticator for CurveAllow {
    async fn authenticate(&self, request: AuthRequest) -> Decision {
        match &request.credentials {
            Credentials::Curve { public_key } => match self.users.read().get(public_key) {
                Some(user_id) => Decision::allow(user_id.as_str()),
                None => Decision::deny(format!("the key {public_key} is not on the list")),
            },
            _ => Decision::deny(format!("{} shows no key", request.mechanism())),
        }
    }
}

impl fmt::Debug for CurveAllow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CurveAllow")
            .field("keys", &self.users.read().len())
            .finish()
    }
}
