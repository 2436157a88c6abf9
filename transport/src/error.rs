//! What can go wrong below the wire protocol.

use std::io;

use thiserror::Error;

use crate::Endpoint;
#[cfg(feature = "tls")]
use crate::TlsError;

/// Why an endpoint could not be bound. Nothing is bound then.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum BindError {
    /// No transport is registered for the scheme, or this build lacks its feature. A retry cannot help.
    #[error("no transport for {endpoint}: {reason}")]
    UnknownScheme {
        /// What was asked for.
        endpoint: Endpoint,
        /// Which scheme or feature is missing.
        reason: String,
    },
    /// Somebody else listens there. A retry may succeed once they have gone.
    #[error("{endpoint} is in use")]
    InUse {
        /// What was asked for.
        endpoint: Endpoint,
        /// What the system said, where it was asked.
        #[source]
        source: Option<io::Error>,
    },
    /// The endpoint makes no sense for binding (an interface that does not exist, a path too long, …).
    #[error("cannot bind {endpoint}: {reason}")]
    Unusable {
        /// What was asked for.
        endpoint: Endpoint,
        /// What is wrong with it.
        reason: String,
    },
    /// The system refused.
    #[error("cannot bind {endpoint}: {source}")]
    Io {
        /// What was asked for.
        endpoint: Endpoint,
        /// What the system said.
        source: io::Error,
    },
}

/// Why a connection could not be made. No connection exists then.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// No transport is registered for the scheme, or this build lacks its feature. A retry cannot help.
    #[error("no transport for {endpoint}: {reason}")]
    UnknownScheme {
        /// What was asked for.
        endpoint: Endpoint,
        /// Which scheme or feature is missing.
        reason: String,
    },
    /// The endpoint makes no sense for connecting (a wildcard, a path too long, …). A retry cannot help.
    #[error("cannot connect to {endpoint}: {reason}")]
    Unusable {
        /// What was asked for.
        endpoint: Endpoint,
        /// What is wrong with it.
        reason: String,
    },
    /// The system refused, or nobody listens. A retry is sound.
    #[error("cannot connect to {endpoint}: {source}")]
    Io {
        /// What was asked for.
        endpoint: Endpoint,
        /// What the system said.
        source: io::Error,
    },
    /// Somebody listens, but no secure connection came about. A retry is sound: certificates are renewed, and settings
    /// reloaded, at either end while the other one goes on.
    #[cfg(feature = "tls")]
    #[error("cannot connect to {endpoint}: {source}")]
    Handshake {
        /// What was asked for.
        endpoint: Endpoint,
        /// Why not.
        source: Box<TlsError>,
    },
}

impl ConnectError {
    /// Whether a retry cannot help.
    #[must_use]
    pub fn is_permanent(&self) -> bool {
        match self {
            ConnectError::UnknownScheme { .. } | ConnectError::Unusable { .. } => true,
            ConnectError::Io { .. } => false,
            #[cfg(feature = "tls")]
            ConnectError::Handshake { .. } => false,
        }
    }
}

/// Why a connection could not be accepted.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum AcceptError {
    /// This one connection failed, or the system lacks a resource just now; accept again (after a pause).
    #[error("cannot accept on {endpoint}: {source}")]
    Io {
        /// Where it was to be accepted.
        endpoint: Endpoint,
        /// What the system said.
        source: io::Error,
    },
    /// No secure connection came about with this one peer; accept again, at once.
    #[cfg(feature = "tls")]
    #[error("no secure connection with {peer} on {endpoint}: {source}")]
    Handshake {
        /// Where it was to be accepted.
        endpoint: Endpoint,
        /// Who had connected.
        peer: Endpoint,
        /// Why not.
        source: Box<TlsError>,
    },
    /// The listener is gone for good.
    #[error("{endpoint} no longer accepts")]
    Closed {
        /// Where it was to be accepted.
        endpoint: Endpoint,
    },
}

impl AcceptError {
    /// Whether accepting again cannot help.
    #[must_use]
    pub fn is_fatal(&self) -> bool {
        matches!(self, AcceptError::Closed { .. })
    }

    /// Whether the process or the system has no file descriptor left: that helps who closes others.
    #[must_use]
    pub fn lacks_descriptors(&self) -> bool {
        // EMFILE and ENFILE, which have these numbers on every Unix; `io::ErrorKind` has no name for them.
        const ENFILE: i32 = 23;
        const EMFILE: i32 = 24;
        let AcceptError::Io { source, .. } = self else {
            return false;
        };
        cfg!(unix) && matches!(source.raw_os_error(), Some(ENFILE | EMFILE))
    }

    /// Whether the system may lack a resource, so that accepting again at once may fail again. What is one peer's own
    /// fault delays nobody else.
    #[must_use]
    pub fn needs_pause(&self) -> bool {
        matches!(self, AcceptError::Io { .. })
    }
}
