//! What is asked of the server.

use std::future::Future;
use std::time::Duration;

use async_nats::client::Request as ClientRequest;
use async_nats::jetstream::publish::PublishAck;
use async_nats::jetstream::response::Response;
use async_nats::jetstream::stream::{LastRawMessageErrorKind, RawMessageErrorKind, Stream as Handle};
use async_nats::jetstream::{ErrorCode, message::StreamMessage};
use async_nats::{Client, HeaderMap};

use super::depot::{Answer, Ask, Stored, Stream};

/// What takes longer has failed: the session begins anew.
pub(super) const TIMEOUT: Duration = Duration::from_secs(5);

/// The answer is not known, or says that the session cannot go on.
#[derive(Debug)]
pub(super) struct Failure(pub(super) String);

impl Failure {
    pub(super) fn new(failure: impl std::fmt::Display) -> Self {
        Failure(failure.to_string())
    }
}

/// How questions get to the server.
#[derive(Clone, Debug)]
pub(super) struct Requests {
    pub(super) client: Client,
    pub(super) data: Handle<()>,
    pub(super) state: Handle<()>,
}

impl Requests {
    pub(super) fn send(&self, ask: Ask) -> impl Future<Output = Result<Answer, Failure>> + Send + 'static {
        let requests = self.clone();
        async move {
            match tokio::time::timeout(TIMEOUT, requests.answer(ask)).await {
                Ok(answer) => answer,
                Err(_) => Err(Failure::new("the server does not answer")),
            }
        }
    }

    async fn answer(self, ask: Ask) -> Result<Answer, Failure> {
        match ask {
            Ask::Publish {
                subject,
                after,
                payload,
            } => {
                let mut headers = HeaderMap::new();
                headers.insert("Nats-Expected-Last-Subject-Sequence", after.to_string());
                let request = ClientRequest::new().headers(headers).payload(payload);
                let answer = self.client.send_request(subject, request).await;
                let answer = answer.map_err(Failure::new)?;
                published(&answer.payload)
            }
            Ask::Last { stream, subject } => {
                let handle = match stream {
                    Stream::Data => self.data,
                    Stream::State => self.state,
                };
                match handle.get_last_raw_message_by_subject(&subject).await {
                    Ok(message) => Ok(Answer::Found(Some(stored(message)))),
                    Err(error) if error.kind() == LastRawMessageErrorKind::NoMessageFound => {
                        Ok(Answer::Found(None))
                    }
                    Err(error) => Err(Failure::new(error)),
                }
            }
            Ask::Next { subject, from } => {
                match self.data.get_first_raw_message_by_subject(&subject, from).await {
                    Ok(message) => Ok(Answer::Found(Some(stored(message)))),
                    Err(error) if error.kind() == RawMessageErrorKind::NoMessageFound => {
                        Ok(Answer::Found(None))
                    }
                    Err(error) => Err(Failure::new(error)),
                }
            }
            Ask::Purge { subject, below } => {
                let purge = self.data.purge().sequence(below).filter(subject);
                purge.await.map_err(Failure::new)?;
                Ok(Answer::Purged)
            }
        }
    }
}

/// What a server answers to what is to be stored.
fn published(payload: &[u8]) -> Result<Answer, Failure> {
    match serde_json::from_slice(payload) {
        Ok(Response::<PublishAck>::Ok(ack)) => Ok(Answer::Published(ack.sequence)),
        Ok(Response::Err { error }) => match error.error_code() {
            ErrorCode::STREAM_WRONG_LAST_SEQUENCE => Ok(Answer::Overtaken),
            // Limits of the stream, the account and the disk.
            ErrorCode::STREAM_STORE_FAILED
            | ErrorCode::STORAGE_RESOURCES_EXCEEDED
            | ErrorCode::MEMORY_RESOURCES_EXCEEDED
            | ErrorCode::ACCOUNT_RESOURCES_EXCEEDED
            | ErrorCode::INSUFFICIENT_RESOURCES => Ok(Answer::Full),
            _ => Err(Failure::new(error)),
        },
        Err(error) => Err(Failure::new(error)),
    }
}

fn stored(message: StreamMessage) -> Stored {
    Stored {
        subject: message.subject.to_string(),
        seq: message.sequence,
        time: millis(message.time.unix_timestamp_nanos()),
        payload: message.payload,
    }
}

pub(super) fn millis(nanos: i128) -> u64 {
    u64::try_from(nanos / 1_000_000).unwrap_or(0)
}
