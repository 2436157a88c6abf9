//! What a connection is told before it starts.

use std::collections::HashSet;
use std::time::Duration;

use bytes::Bytes;
use thiserror::Error;

#[cfg(feature = "curve")]
use super::curve::{KeyPair, PublicKey};
use super::{Secret, SocketType, Version};

/// How one side of a connection behaves. Shared by all connections of a socket.
///
/// ```
/// use flexbond_wire::zmtp::{Config, SocketType};
///
/// let mut config = Config::new(SocketType::Dealer);
/// config.routing_id = b"worker-7".as_slice().into();
/// config.max_message_size = 16 << 20;
/// config.validate()?;
/// # Ok::<(), flexbond_wire::zmtp::ConfigError>(())
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Config {
    /// The socket this connection belongs to.
    pub socket_type: SocketType,
    /// The name by which a ROUTER peer addresses this side: at most 255 bytes, empty (the default) to let it choose.
    pub routing_id: Bytes,
    /// Properties the peer receives in the handshake, names starting with `X-`; default none.
    pub metadata: Vec<(String, Bytes)>,
    /// The security mechanism; default [`Security::Null`].
    pub security: Security,
    /// How long the handshake may take, from [`Connection::new`](super::Connection::new) on; default 30 s, `None`
    /// waits for ever. A CURVE server gives the client 60 s at most from WELCOME to INITIATE, whatever this is.
    pub handshake_timeout: Option<Duration>,
    /// Whether and how the peer is checked for life; default `None`. Peers below ZMTP 3.1 cannot be checked.
    pub heartbeat: Option<Heartbeat>,
    /// How long the peer may take none of the bytes that wait for it, before its silence counts; default 60 s, `None` for
    /// ever. Until then, neither [`heartbeat`](Self::heartbeat) nor the time to live of the peer's own PINGs ends the
    /// connection: it cannot hear our PINGs before it has read what is ahead of them.
    pub stall_timeout: Option<Duration>,
    /// The most bytes in the frames of one received message together; default 1 GiB.
    pub max_message_size: usize,
    /// The most frames in one received message; default 65 536.
    pub max_frames: usize,
    /// The most bytes in one received command (a subscription's topic included); default 64 KiB.
    pub max_command_size: usize,
    /// The version this side claims to speak; default [`Version::V3_1`]. Lower it to act as an older peer.
    pub max_version: Version,
}

impl Config {
    /// The longest routing id, in bytes.
    pub const MAX_ROUTING_ID: usize = 255;

    /// The defaults for a socket of this type.
    #[must_use]
    pub const fn new(socket_type: SocketType) -> Self {
        Config {
            socket_type,
            routing_id: Bytes::new(),
            metadata: Vec::new(),
            security: Security::Null,
            handshake_timeout: Some(Duration::from_secs(30)),
            heartbeat: None,
            stall_timeout: Some(Duration::from_secs(60)),
            max_message_size: 1 << 30,
            max_frames: 65_536,
            max_command_size: 64 << 10,
            max_version: Version::V3_1,
        }
    }

    /// Checks every bound.
    ///
    /// # Errors
    /// The first field that is out of bounds.
    pub fn validate(&self) -> Result<(), ConfigError> {
        if self.routing_id.len() > Self::MAX_ROUTING_ID {
            return Err(ConfigError::RoutingIdTooLong(self.routing_id.len()));
        }
        let mut ready = 64 + self.routing_id.len();
        let mut names = HashSet::new();
        for (name, value) in &self.metadata {
            if !names.insert(name.to_ascii_lowercase()) {
                return Err(ConfigError::MetadataTwice(name.clone()));
            }
            if !is_metadata_name(name) {
                return Err(ConfigError::MetadataName(name.clone()));
            }
            ready += 5 + name.len() + value.len();
        }
        if ready > MAX_OWN_COMMAND {
            return Err(ConfigError::MetadataTooLarge(ready));
        }
        if let Security::PlainClient { username, password } = &self.security
            && (username.len() > 255 || password.expose().len() > 255)
        {
            return Err(ConfigError::CredentialsTooLong);
        }
        if self.max_message_size == 0 || self.max_frames == 0 {
            return Err(ConfigError::ZeroLimit);
        }
        if self.max_command_size < MIN_COMMAND_LIMIT {
            return Err(ConfigError::CommandLimitTooSmall(self.max_command_size));
        }
        if let Some(heartbeat) = &self.heartbeat {
            heartbeat.validate()?;
        }
        match self.max_version {
            Version::V3_0 | Version::V3_1 => Ok(()),
            Version::V1_0 | Version::V2_0 if matches!(self.security, Security::Null) => Ok(()),
            version => Err(ConfigError::Version(version)),
        }
    }
}

/// Room for the largest handshake command a plain libzmq peer sends, with some metadata.
const MIN_COMMAND_LIMIT: usize = 1024;

/// Half of the default limit of a receiver like us; libzmq's own READY is limited to 512 bytes of properties plus metadata.
const MAX_OWN_COMMAND: usize = 32 << 10;

/// RFC 37: `name-char = ALPHA | DIGIT | "-" | "_" | "." | "+"`, and `X-` for what is not in the specification.
fn is_metadata_name(name: &str) -> bool {
    (3..=255).contains(&name.len())
        && name.as_bytes()[..2].eq_ignore_ascii_case(b"X-")
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_.+".contains(&byte))
}

/// How the peer is checked for life: a PING at every interval, whatever else is going on.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Heartbeat {
    /// The time from one PING to the next; more than zero.
    pub interval: Duration,
    /// How long the peer may stay silent after a PING before it is given up; more than zero.
    pub timeout: Duration,
    /// How long the peer should wait for us, sent in every PING: rounded up to tenths of a second, at most 6553.5 s,
    /// zero to leave it to the peer.
    pub ttl: Duration,
    /// Sent in every PING and returned in the PONG: at most 16 bytes, default none.
    pub context: Bytes,
}

impl Heartbeat {
    /// The longest time to live a PING can carry.
    pub const MAX_TTL: Duration = Duration::from_millis(6_553_500);
    /// The longest context a PING can carry, in bytes.
    pub const MAX_CONTEXT: usize = 16;

    /// A PING at every `interval`, answered within the same time, without a time to live.
    #[must_use]
    pub const fn new(interval: Duration) -> Self {
        Heartbeat {
            interval,
            timeout: interval,
            ttl: Duration::ZERO,
            context: Bytes::new(),
        }
    }

    fn validate(&self) -> Result<(), ConfigError> {
        if self.interval.is_zero() || self.timeout.is_zero() {
            return Err(ConfigError::ZeroHeartbeat);
        }
        if self.ttl > Self::MAX_TTL {
            return Err(ConfigError::TtlTooLong(self.ttl));
        }
        if self.context.len() > Self::MAX_CONTEXT {
            return Err(ConfigError::ContextTooLong(self.context.len()));
        }
        Ok(())
    }

    /// The time to live in the unit of the wire.
    pub(crate) fn ttl_tenths(&self) -> u16 {
        let tenths = self.ttl.as_millis().div_ceil(100);
        u16::try_from(tenths).unwrap_or(u16::MAX)
    }
}

/// The security mechanism. Both sides must be configured for the same one.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Security {
    /// None at all (RFC 37).
    Null,
    /// None, the side that judges peers by their address; see [`Event::Authenticate`](super::Event::Authenticate).
    NullServer,
    /// PLAIN (RFC 24), the side that shows a user name and password, in clear text.
    PlainClient {
        /// At most 255 bytes.
        username: String,
        /// At most 255 bytes.
        password: Secret,
    },
    /// PLAIN (RFC 24), the side that asks for them; see [`Event::Authenticate`](super::Event::Authenticate).
    PlainServer,
    /// CURVE (RFC 25), the side that knows the other's key.
    #[cfg(feature = "curve")]
    CurveClient {
        /// The public key of the server.
        server: PublicKey,
        /// Who this side is.
        keys: KeyPair,
    },
    /// CURVE (RFC 25), the side that is asked; see [`Event::Authenticate`](super::Event::Authenticate) for whom it
    /// lets in.
    #[cfg(feature = "curve")]
    CurveServer {
        /// Who this side is.
        keys: KeyPair,
    },
}

impl Security {
    /// Whether a connection must be made
    /// [`with_randomness`](super::Connection::with_randomness).
    #[must_use]
    pub const fn needs_randomness(&self) -> bool {
        match self {
            #[cfg(feature = "curve")]
            Security::CurveClient { .. } | Security::CurveServer { .. } => true,
            _ => false,
        }
    }

    /// The mechanism's name in the greeting.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Security::Null | Security::NullServer => "NULL",
            Security::PlainClient { .. } | Security::PlainServer => "PLAIN",
            #[cfg(feature = "curve")]
            Security::CurveClient { .. } | Security::CurveServer { .. } => "CURVE",
        }
    }
}

/// A [`Config`] is out of bounds.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The routing id is longer than 255 bytes.
    #[error("routing id of {0} bytes is longer than 255 bytes")]
    RoutingIdTooLong(usize),
    /// A metadata name does not start with `X-`, or is too long, or has characters the protocol does not allow.
    #[error(
        "metadata name {0:?} is not X- followed by letters, digits or any of -_.+ (255 characters at most)"
    )]
    MetadataName(String),
    /// A metadata name is there twice, perhaps in other capitals.
    #[error("metadata name {0:?} is given twice")]
    MetadataTwice(String),
    /// The metadata does not fit the handshake.
    #[error("handshake properties of {0} bytes exceed 32 KiB")]
    MetadataTooLarge(usize),
    /// The user name or the password is longer than 255 bytes.
    #[error("user name or password is longer than 255 bytes")]
    CredentialsTooLong,
    /// A message limit is zero.
    #[error("limits of message size and frame count must be more than zero")]
    ZeroLimit,
    /// The command limit is too small for a handshake.
    #[error("command limit of {0} bytes is below 1024 bytes")]
    CommandLimitTooSmall(usize),
    /// A heartbeat's interval or timeout is zero.
    #[error("heartbeat interval and timeout must be more than zero")]
    ZeroHeartbeat,
    /// A heartbeat's time to live does not fit a PING.
    #[error("heartbeat time to live of {0:?} exceeds 6553.5 s")]
    TtlTooLong(Duration),
    /// A heartbeat's context does not fit a PING.
    #[error("heartbeat context of {0} bytes is longer than 16 bytes")]
    ContextTooLong(usize),
    /// The version is unknown, or too old for the security mechanism.
    #[error("version {0} is unknown or too old for the security mechanism")]
    Version(Version),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(change: impl FnOnce(&mut Config)) -> ConfigError {
        let mut config = Config::new(SocketType::Dealer);
        assert_eq!(config.validate(), Ok(()));
        change(&mut config);
        config.validate().expect_err("out of bounds")
    }

    #[test]
    fn every_bound_is_checked() {
        let second = Duration::from_secs(1);
        assert_eq!(
            refused(|config| config.routing_id = vec![1; 256].into()),
            ConfigError::RoutingIdTooLong(256)
        );
        for name in ["Colour", "X-", "X-a b", "X-\u{fc}"] {
            let error = refused(|config| config.metadata.push((name.to_owned(), Bytes::new())));
            assert_eq!(error, ConfigError::MetadataName(name.to_owned()));
        }
        let twice = refused(|config| {
            for name in ["X-a", "x-A"] {
                config.metadata.push((name.to_owned(), Bytes::new()));
            }
        });
        assert_eq!(twice, ConfigError::MetadataTwice("x-A".to_owned()));
        let large = refused(|config| config.metadata.push(("X-a".to_owned(), vec![0; 40_000].into())));
        assert!(matches!(large, ConfigError::MetadataTooLarge(_)));
        let credentials = refused(|config| {
            config.security = Security::PlainClient {
                username: "u".repeat(256),
                password: Secret::default(),
            };
        });
        assert_eq!(credentials, ConfigError::CredentialsTooLong);
        assert_eq!(refused(|config| config.max_frames = 0), ConfigError::ZeroLimit);
        assert_eq!(
            refused(|config| config.max_message_size = 0),
            ConfigError::ZeroLimit
        );
        assert_eq!(
            refused(|config| config.max_command_size = 9),
            ConfigError::CommandLimitTooSmall(9)
        );
        assert_eq!(
            refused(|config| config.heartbeat = Some(Heartbeat::new(Duration::ZERO))),
            ConfigError::ZeroHeartbeat
        );
        let mut heartbeat = Heartbeat::new(second);
        heartbeat.ttl = 6554 * second;
        let error = refused(|config| config.heartbeat = Some(heartbeat.clone()));
        assert_eq!(error, ConfigError::TtlTooLong(heartbeat.ttl));
        let mut heartbeat = Heartbeat::new(second);
        heartbeat.context = vec![0; 17].into();
        let error = refused(|config| config.heartbeat = Some(heartbeat));
        assert_eq!(error, ConfigError::ContextTooLong(17));
        let old = refused(|config| {
            config.max_version = Version::V2_0;
            config.security = Security::PlainServer;
        });
        assert_eq!(old, ConfigError::Version(Version::V2_0));
    }
}
