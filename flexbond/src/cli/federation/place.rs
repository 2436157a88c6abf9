//! The party's place in the job, which is one process's.

use std::time::Duration;

use tokio::time::Instant;

use crate::cli::failure::{Failure, explain};
use crate::collectives::federation::{
    ChannelError, Config, ConnectError, DirectError, Federation, NatsError, Over, PartyId, Presence,
    RefusedReason,
};

/// How often it is looked.
pub(super) const GLANCE: Duration = Duration::from_millis(20);

/// Takes part, with these times.
pub(super) async fn join(config: Config, remote: &PartyId, timeout: Duration) -> Result<Federation, Failure> {
    if remote == config.local() {
        return Err(
            Failure::usage(format!("party {remote} is the local one of the configuration"))
                .hint("name another party of the job"),
        );
    }
    let limits = config.bounds().clone().timeout(timeout).linger(timeout);
    Federation::connect(config.limits(limits))
        .await
        .map_err(|error| failure_of(&error))
}

pub(super) fn failure_of(error: &ConnectError) -> Failure {
    match error {
        ConnectError::Config(_) | ConnectError::NoWay | ConnectError::NoNats => {
            Failure::usage(explain(error))
        }
        ConnectError::Nats(NatsError::Unreachable { .. }) => Failure::timed_out(explain(error)),
        ConnectError::Direct(DirectError::Bind(_)) => {
            Failure::new(explain(error)).hint("is the program of this party running? a party is one process")
        }
        _ => Failure::new(explain(error)),
    }
}

/// Ends when it is sure that this process cannot have the place, and says why.
pub(super) async fn watch(federation: &Federation, remote: &PartyId) -> Failure {
    let limits = federation.config().bounds();
    // One that has just died may seem to live for so long.
    let patience = limits.dead_after + 2 * limits.heartbeat;
    let mut since = None;
    loop {
        if let Ok(over) = tokio::time::timeout(GLANCE, federation.over()).await
            && !matches!(over, Over::Closed)
        {
            return Failure::new(over.to_string());
        }
        tokio::time::sleep(GLANCE).await;
        match federation.presence(remote) {
            Some(Presence::Refuses(RefusedReason::InUse)) => {
                if since.get_or_insert_with(Instant::now).elapsed() > patience {
                    let local = federation.local_id();
                    return Failure::new(format!("party {local} is running: another process has its place"))
                        .hint("stop its program first; a party is one process");
                }
            }
            Some(Presence::Refuses(RefusedReason::NoRoom)) => {}
            Some(Presence::Refuses(reason)) => {
                return Failure::new(format!("this party is refused: {reason}"));
            }
            _ => since = None,
        }
    }
}

pub(super) fn failure_of_channel(error: &ChannelError) -> Failure {
    match error {
        ChannelError::Timeout { .. } => Failure::timed_out(explain(error)),
        _ => Failure::new(explain(error)),
    }
}
