//! Why a job cannot be kept in NATS JetStream.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

use crate::federation::name::PartyId;

/// Why a party cannot take part by a NATS server. Nothing has changed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum NatsError {
    /// The configuration names no server of NATS.
    #[error("the configuration has no `server` of NATS; give one, such as \"nats://host:4222\"")]
    NoServer,
    /// The address is none.
    #[error("`server` {server:?} is no address of a NATS server: {reason}")]
    Address {
        /// What is there.
        server: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The file of credentials cannot be used.
    #[error("`nats.credentials`: cannot use {}", path.display())]
    Credentials {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: io::Error,
    },
    /// The server cannot be reached. It may be later.
    #[error("cannot reach the NATS server {server}: {reason}")]
    Unreachable {
        /// Where.
        server: String,
        /// What the client says.
        reason: String,
    },
    /// The server does not let this party in, or not do what it has to do.
    #[error("the NATS server {server} does not allow it: {reason}; see its users and `nats.credentials`")]
    Denied {
        /// Where.
        server: String,
        /// What the server says.
        reason: String,
    },
    /// JetStream is not enabled there.
    #[error(
        "the NATS server {server} has no JetStream; start it with `-js`, or enable it for this account ({reason})"
    )]
    NoJetStream {
        /// Where.
        server: String,
        /// What the server says.
        reason: String,
    },
    /// The server has no room for the streams of this job, or not as many replicas.
    #[error("the NATS server {server} cannot make the stream {stream}: {reason}")]
    NoRoom {
        /// Where.
        server: String,
        /// The stream.
        stream: String,
        /// What the server says.
        reason: String,
    },
    /// The job's name, written for a stream, is too long.
    #[error("the job id is too long for a stream of NATS; use one of at most 60 characters")]
    JobTooLong,
    /// The server takes too little in one message.
    #[error(
        "the NATS server takes only {limit} bytes in one message; set its `max_payload` to 64 KiB or more"
    )]
    SmallPayload {
        /// Its limit.
        limit: usize,
    },
    /// What is kept of a job cannot be removed while a party is there.
    #[error("party {party} is running; what is kept of the job can be removed when all have ended")]
    Running {
        /// The party.
        party: PartyId,
    },
    /// What is kept of a job is not removed while messages wait for their receivers.
    #[error("{count} messages wait for their receivers; receive them, or say that they may be lost")]
    Unreceived {
        /// How many.
        count: u64,
    },
    /// The server answers otherwise than it should.
    #[error("the NATS server {server} fails: {reason}")]
    Failed {
        /// Where.
        server: String,
        /// What it says.
        reason: String,
    },
}
