//! `flexbond federation forget`.

use super::Forget;
use super::place::failure_of;
use crate::cli::failure::{Exit, Failure, explain};
use crate::collectives::federation::{Config, ConnectError, Federation, NatsError};

impl Forget {
    pub(super) async fn run(&self, config: Config) -> Result<Exit, Failure> {
        let forgotten = Federation::forget(config, self.timeout, self.unreceived).await;
        forgotten.map(|()| Exit::Done).map_err(|error| match &error {
            ConnectError::NothingKept => Failure::usage(explain(&error)),
            ConnectError::Nats(NatsError::Unreceived { .. }) => {
                Failure::new(explain(&error)).hint("--unreceived")
            }
            _ => failure_of(&error),
        })
    }
}
