//! Why a message server cannot begin, or cannot be changed.

use std::io;
use std::path::PathBuf;

use flexbond_session::Endpoint;
use flexbond_session::socket::{BindError, ConnectError, OptionError};
use thiserror::Error;

use crate::federation::credentials::CredentialError;
use crate::federation::limits::LimitError;
use crate::federation::name::{JobId, PartyId};

/// A configuration of a message server that cannot be one. Nothing has changed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ServerConfigError {
    /// The file cannot be read.
    #[error("cannot read the configuration {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// It is not in its format, has a key that there is not, or a value that cannot be one. The text says where.
    #[error("the configuration {place} is wrong{}{key}: {reason}", if key.is_empty() { "" } else { " at " })]
    Syntax {
        /// The file, or the format of the text.
        place: String,
        /// Which key, as `parties.bank-a.key`; empty where it is the text as a whole.
        key: String,
        /// In which line, and what, as the format's parser says it.
        reason: String,
    },
    /// The file's name ends neither in `.json` nor in `.toml`.
    #[error("the configuration {} is neither .json nor .toml; rename it", path.display())]
    Format {
        /// The file.
        path: PathBuf,
    },
    /// Two entries do not go together, or one lacks something.
    #[error("`{key}`: {reason}")]
    Entry {
        /// Which key, as `parties.bank-a.key`.
        key: String,
        /// What is wrong, and what to do.
        reason: String,
    },
    /// Everybody who reaches the server could be any party.
    #[error(
        "`listen` {endpoint} can be reached from other machines, and nobody would have to prove who they are: give `curve` \
         keys or `tls` authorities, listen at tcp://127.0.0.1:PORT, or say that this is meant (`insecure`)"
    )]
    Insecure {
        /// Where it would listen.
        endpoint: Endpoint,
    },
    /// A party is in the lists of two servers.
    #[error("`servers`: {party} is with {first} and with {second}; remove one")]
    TwoWays {
        /// The party.
        party: PartyId,
        /// One server.
        first: String,
        /// The other one.
        second: String,
    },
    /// A limit is out of its bounds.
    #[error("`limits`")]
    Limit(#[from] LimitError),
    /// Keys or certificates cannot be used.
    #[error(transparent)]
    Credentials(#[from] CredentialError),
}

/// Why a message server does not begin.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ServeError {
    /// The configuration does not fit together.
    #[error(transparent)]
    Config(#[from] ServerConfigError),
    /// It was called outside a tokio runtime.
    #[error("there is no tokio runtime here; call it within one")]
    NoRuntime,
    /// It cannot listen there.
    #[error("cannot listen at {endpoint}")]
    Bind {
        /// Where.
        endpoint: Endpoint,
        /// Why.
        source: Box<BindError>,
    },
    /// Another server can never be connected to.
    #[error("cannot connect to `servers.{server}`")]
    Connect {
        /// Its name.
        server: String,
        /// Why.
        source: Box<ConnectError>,
    },
    /// An option of a socket is out of bounds.
    #[error(transparent)]
    Option(#[from] OptionError),
    /// The store cannot be used.
    #[cfg(feature = "federation-redb")]
    #[error(transparent)]
    Store(#[from] crate::federation::store::StoreError),
    /// The configuration has a store, and the program was built without one.
    #[error("`store`: this program was built without the feature `federation-redb`")]
    NoStore,
    /// The system has no thread for the store.
    #[error("cannot start a thread for the store")]
    Thread(#[source] io::Error),
    /// What was changed needs a new start: the message says which key.
    #[error("`{key}` cannot change while the server runs; start it again")]
    Restart {
        /// Which key.
        key: &'static str,
    },
    /// A party has been here, or with another server, in a job that goes on: it cannot be reached by another way before that
    /// is over.
    #[error(
        "party {party} cannot be with another server than before while job {job} goes on: have all its parties leave and receive what waits for them, or abort it"
    )]
    Moved {
        /// The party.
        party: PartyId,
        /// The job.
        job: JobId,
    },
    /// The server has ended.
    #[error("the server has ended")]
    Ended,
}
