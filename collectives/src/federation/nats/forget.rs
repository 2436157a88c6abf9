//! The end of a job in the streams.

use std::time::Duration;

use async_nats::jetstream::context::DeleteStreamErrorKind;
use async_nats::jetstream::{self, ErrorCode};

use super::error::NatsError;
use super::look::look_at;
use super::session::connect;
use crate::federation::config::Config;
use crate::federation::error::Presence;

/// Removes both streams of a job, unless somebody is there, or something waits that is to be received.
pub(in crate::federation) async fn forget(
    config: &Config,
    time: Duration,
    with_messages: bool,
) -> Result<(), NatsError> {
    let (place, client) = connect(config, std::sync::Arc::default(), time).await?;
    let status = look_at(config, &place, client.clone(), time).await?;
    let lives = |presence: &Presence| match presence {
        Presence::Present | Presence::Waiting => true,
        Presence::Silent(time) => *time < place.limits.dead_after,
        _ => false,
    };
    if let Some(party) = status.parties.iter().find(|party| lives(&party.presence)) {
        let party = party.member.id.clone();
        return Err(NatsError::Running { party });
    }
    let stock = status.stock.iter().flatten();
    let count = stock.map(|stock| stock.messages).sum();
    if count > 0 && !with_messages {
        return Err(NatsError::Unreceived { count });
    }
    let context = jetstream::new(client);
    for name in [place.subjects.data_stream(), place.subjects.state_stream()] {
        if let Err(error) = context.delete_stream(name).await {
            match error.kind() {
                DeleteStreamErrorKind::JetStream(error)
                    if error.error_code() == ErrorCode::STREAM_NOT_FOUND => {}
                _ => return Err(place.failed(&error)),
            }
        }
    }
    Ok(())
}
