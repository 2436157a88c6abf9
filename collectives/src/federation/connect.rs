//! A federation by its configuration alone.

use thiserror::Error;

use super::config::{Config, ConfigError};
use super::direct::{DirectCarrier, DirectError};
use super::error::JoinError;
use super::federation::Federation;
#[cfg(feature = "nats")]
use super::nats::NatsCarrier;
use super::nats::{NatsError, is_nats};
use super::server_carrier::{ServerCarrier, ServerCarrierError};

/// Why a party does not take part in the job of its configuration.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The configuration does not fit together.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The configuration says nothing of how the others are reached.
    #[error(
        "the configuration has neither `server` nor `addresses`; give \"server\": \"host:9370\", or an address for each \
         party"
    )]
    NoWay,
    /// The message server cannot be reached, whatever is waited for.
    #[error(transparent)]
    Server(#[from] ServerCarrierError),
    /// The NATS server cannot be reached, or lacks something.
    #[error(transparent)]
    Nats(#[from] NatsError),
    /// The server is one of NATS, and the program was built without it.
    #[error("`server` is one of NATS; this program was built without the feature `nats`")]
    NoNats,
    /// Nothing is kept of this job that has to be removed.
    #[error(
        "nothing of this job is kept that has to be removed: a message server forgets a job by itself, its \
         `limits.job_idle_ms` after the last party has gone; only one of NATS does not"
    )]
    NothingKept,
    /// This party cannot listen, or another can never be reached.
    #[error(transparent)]
    Direct(#[from] DirectError),
    /// The federation cannot begin.
    #[error(transparent)]
    Join(#[from] JoinError),
}

impl Federation {
    /// Takes part in the job of `config`, in the mode that it asks for: by its `server` if it has one, else directly by its
    /// `addresses`. Who is not there yet is not waited for; [`ready`](Federation::ready) is the start-up barrier. Only a server
    /// of NATS is, until [`Limits::timeout`](super::Limits::timeout) is over: what it can do has to be known first.
    ///
    /// # Errors
    /// [`ConnectError`] says which key of the configuration is wrong.
    ///
    /// # Cancel safety
    /// Dropping the future leaves nothing behind.
    pub async fn connect(config: Config) -> Result<Federation, ConnectError> {
        config.validate()?;
        if config.server().is_some_and(is_nats) {
            return Self::connect_nats(config).await;
        }
        if config.server().is_some() {
            let carrier = ServerCarrier::from_config(&config)?;
            return Ok(Federation::join(config, carrier)?);
        }
        if config.addresses().is_empty() {
            return Err(ConnectError::NoWay);
        }
        let carrier = DirectCarrier::from_config(&config).await?;
        Ok(Federation::join(config, carrier)?)
    }

    #[cfg(feature = "nats")]
    async fn connect_nats(config: Config) -> Result<Federation, ConnectError> {
        let carrier = NatsCarrier::from_config(&config).await?;
        Ok(Federation::join(config, carrier)?)
    }

    #[cfg(not(feature = "nats"))]
    #[expect(clippy::unused_async, reason = "with the feature it waits")]
    async fn connect_nats(_: Config) -> Result<Federation, ConnectError> {
        Err(ConnectError::NoNats)
    }
}
