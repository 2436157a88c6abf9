//! What the streams tell of a job to one who does not take part.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_nats::Client;
use async_nats::jetstream::context::{GetStreamErrorKind, RequestError, RequestErrorKind};
use async_nats::jetstream::stream::{LastRawMessageErrorKind, Stream as Handle};
use async_nats::jetstream::{self, ErrorCode};
use bytes::Bytes;
use futures_util::TryStreamExt;

use super::carrier::Line;
use super::error::NatsError;
use super::record::{Abort, Batch, Claim, Progress, read};
use super::request::millis;
use super::session::{Place, connect};
use crate::federation::config::Config;
use crate::federation::error::Presence;
use crate::federation::look::{JobStatus, Stock};
use crate::federation::name::PartyId;

/// So many channels are looked at.
const MAX_CHANNELS: usize = 4096;

/// A record of the stream: its place, its time by the server's clock in milliseconds, and what it is.
type Found = Option<(u64, u64, Bytes)>;

/// Looks at the records of parties twice, to see who writes anew.
pub(in crate::federation) async fn look(config: &Config, time: Duration) -> Result<JobStatus, NatsError> {
    let (place, client) = connect(config, Arc::new(Line::default()), time).await?;
    look_at(config, &place, client, time).await
}

/// The same, of one who is connected.
pub(super) async fn look_at(
    config: &Config,
    place: &Place,
    client: Client,
    time: Duration,
) -> Result<JobStatus, NatsError> {
    let context = jetstream::new(client);
    let mut streams = Vec::new();
    for name in [place.subjects.data_stream(), place.subjects.state_stream()] {
        match context.get_stream(&name).await {
            Ok(_) => {}
            Err(error) => {
                return match error.kind() {
                    GetStreamErrorKind::JetStream(error)
                        if error.error_code() == ErrorCode::STREAM_NOT_FOUND =>
                    {
                        // Nobody has begun this job.
                        Ok(JobStatus::new(config, |_| Presence::Unseen))
                    }
                    GetStreamErrorKind::JetStream(error)
                        if matches!(
                            error.error_code(),
                            ErrorCode::JETSTREAM_NOT_ENABLED | ErrorCode::JETSTREAM_NOT_ENABLED_FOR_ACCOUNT
                        ) =>
                    {
                        Err(place.no_jetstream(&error))
                    }
                    // Without it, nobody hears what is asked.
                    GetStreamErrorKind::Request if is_unheard(&error) => Err(place.no_jetstream(&error)),
                    _ => Err(place.failed(&error)),
                };
            }
        }
        let handle = context.get_stream_no_info(&name).await;
        streams.push(handle.map_err(|error| place.failed(&error))?);
    }
    let [data, state] = &streams[..] else {
        unreachable!("there are two streams");
    };
    let ids: Vec<&PartyId> = config.members().iter().map(|member| &member.id).collect();
    let before = claims(place, state, &ids).await?;
    // Twice as long as between two signs of life.
    tokio::time::sleep(time.min(2 * place.limits.heartbeat)).await;
    let after = claims(place, state, &ids).await?;
    let mut status = JobStatus::new(config, |party| {
        let index = ids.iter().position(|id| *id == party).unwrap_or(0);
        presence(&before[index], &after[index])
    });
    if let Some((_, _, payload)) = last(place, state, &place.subjects.abort()).await? {
        status.aborted = read::<Abort>(&payload).map(|(abort, _)| (abort.by, abort.reason));
    }
    status.stock = Some(stock(place, data, state).await?);
    Ok(status)
}

fn is_unheard(error: &dyn std::error::Error) -> bool {
    let cause = error
        .source()
        .and_then(|cause| cause.downcast_ref::<RequestError>());
    cause.is_some_and(|cause| cause.kind() == RequestErrorKind::NoResponders)
}

fn presence(before: &Found, after: &Found) -> Presence {
    let Some((seq, time, payload)) = after else {
        return Presence::Unseen;
    };
    let Some((claim, _)) = read::<Claim>(payload) else {
        return Presence::Unseen;
    };
    if claim.left.is_some() {
        return Presence::Left;
    }
    if before.as_ref().is_none_or(|(first, ..)| first != seq) {
        return match claim.is_ready {
            true => Presence::Present,
            false => Presence::Waiting,
        };
    }
    // As well as the two clocks agree.
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let now = now.map_or(0, |now| millis(now.as_nanos().try_into().unwrap_or(i128::MAX)));
    Presence::Silent(Duration::from_millis(now.saturating_sub(*time)))
}

async fn claims(place: &Place, state: &Handle<()>, ids: &[&PartyId]) -> Result<Vec<Found>, NatsError> {
    let mut found = Vec::with_capacity(ids.len());
    for id in ids {
        found.push(last(place, state, &place.subjects.party(id)).await?);
    }
    Ok(found)
}

async fn last(place: &Place, stream: &Handle<()>, subject: &str) -> Result<Found, NatsError> {
    match stream.get_last_raw_message_by_subject(subject).await {
        Ok(message) => {
            let time = millis(message.time.unix_timestamp_nanos());
            Ok(Some((message.sequence, time, message.payload)))
        }
        Err(error) if error.kind() == LastRawMessageErrorKind::NoMessageFound => Ok(None),
        Err(error) => Err(place.failed(&error)),
    }
}

async fn stock(place: &Place, data: &Handle<()>, state: &Handle<()>) -> Result<Vec<Stock>, NatsError> {
    let listed = data.info_with_subjects(place.subjects.all_data()).await;
    let mut listed = listed.map_err(|error| place.failed(&error))?;
    let mut subjects = Vec::new();
    while let Some((subject, _)) = listed.try_next().await.map_err(|error| place.failed(&error))? {
        if subjects.len() < MAX_CHANNELS {
            subjects.push(subject);
        }
    }
    subjects.sort();
    let mut all = Vec::new();
    for subject in subjects {
        let Some((from, to, key)) = place.subjects.ends(&subject) else {
            continue;
        };
        let stored = last(place, data, &subject).await?;
        let Some((batch, _)) = stored.and_then(|(_, _, payload)| Batch::read(&payload)) else {
            continue;
        };
        let done = last(place, state, &place.subjects.done(&from, &to, &key)).await?;
        let progress = done
            .and_then(|(_, _, payload)| Progress::read(&payload))
            .filter(|progress| progress.epoch == batch.epoch)
            .unwrap_or_else(|| Progress::new(batch.epoch, batch.first));
        let unsettled = progress.unsettled(batch.next);
        all.push(Stock {
            from,
            to,
            channel: key.name,
            messages: unsettled.map_or(batch.next - progress.next, |unsettled| unsettled.len() as u64),
            sent: batch.next,
        });
    }
    Ok(all)
}
