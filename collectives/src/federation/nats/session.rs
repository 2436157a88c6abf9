//! The connection to the server, the streams of the job, and what is read of them.

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use async_nats::jetstream::consumer::pull::{self, Stream as Feed};
use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy};
use async_nats::jetstream::context::CreateStreamErrorKind;
use async_nats::jetstream::stream::{Config as StreamConfig, DiscardPolicy, StorageType, Stream as Handle};
use async_nats::jetstream::{self, ErrorCode};
use async_nats::{Client, ConnectErrorKind, ConnectOptions, ServerAddr};
use futures_util::StreamExt;
use tokio::time::Instant;

use super::carrier::Line;
use super::depot::Stored;
use super::error::NatsError;
use super::options::{NatsOptions, is_nats};
use super::request::{Failure, Requests, TIMEOUT, millis};
use super::subject::Subjects;
use crate::federation::config::Config;
use crate::federation::limits::Limits;
use crate::federation::name::{JobId, PartyId};

/// What a server takes in one message at least.
const MIN_PAYLOAD: usize = 64 << 10;
/// Bytes of a file with credentials, at most.
const MAX_CREDENTIALS: u64 = 64 << 10;
/// How long another party is waited for that makes the same stream at the same time.
const RACE: [Duration; 3] = [
    Duration::from_millis(10),
    Duration::from_millis(50),
    Duration::from_millis(250),
];
/// How long it is waited before a server is asked again that was not there: twice as long each time, up to the second.
const RETRY: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));
/// A consumer that nobody asks is removed by the server after this.
const INACTIVE: Duration = Duration::from_secs(60);
/// The server says so often that a consumer lives; what is silent for twice as long is gone.
const HEARTBEAT: Duration = Duration::from_secs(2);
/// So much of the messages is on its way from the server at most.
const AHEAD: (usize, usize) = (1024, 16 << 20);

/// A party's place in a job.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) job: JobId,
    pub(super) local: PartyId,
    pub(super) peers: Vec<PartyId>,
    pub(super) limits: Limits,
    pub(super) subjects: Subjects,
    pub(super) incarnation: u64,
    server: String,
    options: NatsOptions,
}

/// What a party follows of the streams.
pub(super) struct Feeds {
    data: Feed,
    state: [Feed; 2],
    handles: [Handle<()>; 2],
}

/// Connects, and tries for so long if the server is not there. The options of the configuration have been checked.
pub(super) async fn connect(
    config: &Config,
    line: Arc<Line>,
    patience: Duration,
) -> Result<(Place, Client), NatsError> {
    let server = config.server().filter(|server| is_nats(server));
    let server = server.ok_or(NatsError::NoServer)?.to_owned();
    let options = config.nats_options().cloned().unwrap_or_default();
    let subjects = Subjects::new(&options.prefix, config.job()).ok_or(NatsError::JobTooLong)?;
    let addresses: Vec<ServerAddr> = server
        .split(',')
        .map(|address| address.trim().parse())
        .collect::<Result<_, std::io::Error>>()
        .map_err(|error| NatsError::Address {
            server: server.clone(),
            reason: error.to_string(),
        })?;
    // What is shown of it has no password.
    let shown: Vec<_> = addresses
        .iter()
        .map(|address| format!("{}:{}", address.host(), address.port()))
        .collect();
    let server = shown.join(",");
    let mut connecting = ConnectOptions::new()
        .name(format!("flexbond {} of {}", config.local(), config.job()))
        .connection_timeout(TIMEOUT)
        .request_timeout(Some(TIMEOUT))
        .ping_interval(TIMEOUT)
        .reconnect_delay_callback(|attempt| {
            let attempt = u32::try_from(attempt).unwrap_or(u32::MAX);
            Duration::from_millis(50)
                .saturating_mul(attempt)
                .min(Duration::from_secs(1))
        })
        .event_callback(move |event| {
            line.handle(&event);
            std::future::ready(())
        });
    // The client does not look at that itself.
    if let Some(address) = addresses.iter().find(|address| address.has_user_pass()) {
        let [user, password] = [address.username(), address.password()].map(|text| plain(text.unwrap_or("")));
        connecting = connecting.user_and_password(user, password);
    }
    if let Some(path) = &options.credentials {
        let unusable = |source| NatsError::Credentials {
            path: path.clone(),
            source,
        };
        let text = read_credentials(path).map_err(unusable)?;
        connecting = connecting.credentials(&text).map_err(unusable)?;
    }
    if let Some(files) = config.tls_files() {
        connecting = connecting.require_tls(true);
        if let Some(path) = &files.authorities {
            connecting = connecting.add_root_certificates(path.clone());
        }
        if let (Some(certificate), Some(key)) = (&files.certificate, &files.private_key) {
            connecting = connecting.add_client_certificate(certificate.clone(), key.clone());
        }
    }
    let client = reach(&server, &connecting, &addresses, patience).await?;
    let limit = client.max_payload();
    if limit < MIN_PAYLOAD {
        return Err(NatsError::SmallPayload { limit });
    }
    let peers = config.members().iter().map(|member| member.id.clone());
    let place = Place {
        job: config.job().clone(),
        local: config.local().clone(),
        peers: peers.filter(|id| id != config.local()).collect(),
        limits: config.bounds().clone(),
        subjects,
        incarnation: fastrand::u64(1..),
        server,
        options,
    };
    Ok((place, client))
}

/// Connects when the server is there; what it says then is final.
async fn reach(
    server: &str,
    connecting: &ConnectOptions,
    addresses: &[ServerAddr],
    patience: Duration,
) -> Result<Client, NatsError> {
    let end = Instant::now().checked_add(patience);
    let mut delay = RETRY.0;
    let mut reason = None;
    loop {
        let attempt = connecting.clone().connect(addresses);
        let attempt = match end {
            Some(end) => tokio::time::timeout_at(end.max(Instant::now() + RETRY.0), attempt).await,
            None => Ok(attempt.await),
        };
        let server = server.to_owned();
        match attempt {
            Ok(Ok(client)) => return Ok(client),
            Ok(Err(error)) => match (error.kind(), chain(&error)) {
                (ConnectErrorKind::ServerParse, reason) => return Err(NatsError::Address { server, reason }),
                (ConnectErrorKind::Authentication | ConnectErrorKind::AuthorizationViolation, reason) => {
                    return Err(NatsError::Denied { server, reason });
                }
                (_, text) => reason = Some(text),
            },
            // The last attempt may have had little time.
            Err(_) => {}
        }
        if end.is_some_and(|end| Instant::now() + delay >= end) {
            let reason = reason.unwrap_or_else(|| "it does not answer".to_owned());
            return Err(NatsError::Unreachable { server, reason });
        }
        tokio::time::sleep(delay).await;
        delay = (delay * 2).min(RETRY.1);
    }
}

/// The file's text. What is larger is another file.
fn read_credentials(path: &Path) -> std::io::Result<String> {
    let mut text = String::new();
    File::open(path)?
        .take(MAX_CREDENTIALS + 1)
        .read_to_string(&mut text)?;
    match text.len() as u64 > MAX_CREDENTIALS {
        true => Err(std::io::Error::other("it is too large for credentials")),
        false => Ok(text),
    }
}

impl Place {
    /// Makes the streams unless they are there, and begins to follow them.
    pub(super) async fn open(self, client: Client) -> Result<Feeds, NatsError> {
        let context = jetstream::new(client);
        let storage = match self.options.memory {
            true => StorageType::Memory,
            false => StorageType::File,
        };
        let data = StreamConfig {
            name: self.subjects.data_stream(),
            subjects: vec![self.subjects.all_data()],
            max_bytes: self
                .options
                .max_bytes
                .map_or(-1, |bytes| i64::try_from(bytes).unwrap_or(i64::MAX)),
            max_age: self.options.max_age.unwrap_or_default(),
            discard: DiscardPolicy::New,
            description: Some(format!("messages of the federated job {}", self.job)),
            ..self.stream(storage)
        };
        let state = StreamConfig {
            name: self.subjects.state_stream(),
            subjects: vec![self.subjects.all_state()],
            max_messages_per_subject: 1,
            description: Some(format!("parties and channels of the federated job {}", self.job)),
            ..self.stream(storage)
        };
        let mut handles = Vec::new();
        for config in [data, state] {
            let name = config.name.clone();
            self.make(&context, config).await?;
            let handle = context.get_stream_no_info(&name).await;
            handles.push(handle.map_err(|error| self.failed(&error))?);
        }
        let [data, state] = <[Handle<()>; 2]>::try_from(handles).expect("there are two streams");
        let own = self.subjects.data_to(&self.local);
        let done = self.subjects.done_from(&self.local);
        Ok(Feeds {
            state: [
                self.follow(&state, self.subjects.parties()).await?,
                self.follow(&state, done).await?,
            ],
            data: self.follow(&data, own).await?,
            handles: [data, state],
        })
    }

    /// Makes a stream unless it is there.
    async fn make(&self, context: &jetstream::Context, config: StreamConfig) -> Result<(), NatsError> {
        let mut pauses = RACE.into_iter();
        loop {
            let Err(error) = context.get_or_create_stream(config.clone()).await else {
                return Ok(());
            };
            // When another party makes it just now, the server has its subjects before it has its name.
            match pauses.next().filter(|_| may_be_made_just_now(&error)) {
                Some(pause) => tokio::time::sleep(pause).await,
                None => return Err(self.stream_error(config.name, &error)),
            }
        }
    }

    fn stream(&self, storage: StorageType) -> StreamConfig {
        StreamConfig {
            storage,
            num_replicas: usize::from(self.options.replicas),
            max_messages: -1,
            max_bytes: -1,
            max_messages_per_subject: -1,
            max_message_size: -1,
            max_consumers: -1,
            ..StreamConfig::default()
        }
    }

    async fn follow(&self, stream: &Handle<()>, subject: String) -> Result<Feed, NatsError> {
        let config = pull::Config {
            deliver_policy: DeliverPolicy::All,
            ack_policy: AckPolicy::None,
            filter_subject: subject,
            inactive_threshold: INACTIVE,
            num_replicas: 1,
            memory_storage: true,
            ..pull::Config::default()
        };
        let consumer = stream.create_consumer(config).await;
        let consumer = consumer.map_err(|error| self.failed(&error))?;
        let feed = consumer
            .stream()
            .max_messages_per_batch(AHEAD.0)
            .max_bytes_per_batch(AHEAD.1)
            .expires(INACTIVE / 2)
            .heartbeat(HEARTBEAT)
            .messages()
            .await;
        feed.map_err(|error| self.failed(&error))
    }

    pub(super) fn no_jetstream(&self, error: &dyn std::error::Error) -> NatsError {
        NatsError::NoJetStream {
            server: self.server.clone(),
            reason: chain(error),
        }
    }

    pub(super) fn failed(&self, error: &dyn std::error::Error) -> NatsError {
        NatsError::Failed {
            server: self.server.clone(),
            reason: chain(error),
        }
    }

    fn stream_error(&self, stream: String, error: &jetstream::context::CreateStreamError) -> NatsError {
        let (server, reason) = (self.server.clone(), chain(error));
        match error.kind() {
            CreateStreamErrorKind::JetStreamUnavailable => NatsError::NoJetStream { server, reason },
            CreateStreamErrorKind::JetStream(error) => match error.error_code() {
                ErrorCode::JETSTREAM_NOT_ENABLED | ErrorCode::JETSTREAM_NOT_ENABLED_FOR_ACCOUNT => {
                    NatsError::NoJetStream { server, reason }
                }
                _ => NatsError::NoRoom {
                    server,
                    stream,
                    reason,
                },
            },
            _ => NatsError::Failed { server, reason },
        }
    }
}

impl Feeds {
    pub(super) fn requests(&self, client: Client) -> Requests {
        let [data, state] = self.handles.clone();
        Requests { client, data, state }
    }

    /// The next message; of those for this party only if they are wanted.
    pub(super) fn poll_next(
        &mut self,
        cx: &mut Context<'_>,
        wants_data: bool,
    ) -> Poll<Result<Stored, Failure>> {
        let data = wants_data.then_some(&mut self.data);
        for feed in self.state.iter_mut().chain(data) {
            let message = match feed.poll_next_unpin(cx) {
                Poll::Ready(Some(Ok(message))) => message,
                Poll::Ready(Some(Err(error))) => return Poll::Ready(Err(Failure::new(chain(&error)))),
                Poll::Ready(None) => return Poll::Ready(Err(Failure::new("the server ends what is read"))),
                Poll::Pending => continue,
            };
            let stored = message.info().map_err(Failure::new).map(|info| Stored {
                subject: message.subject.to_string(),
                seq: info.stream_sequence,
                time: millis(info.published.unix_timestamp_nanos()),
                payload: message.payload.clone(),
            });
            return Poll::Ready(stored);
        }
        Poll::Pending
    }
}

/// What is written in an address: `%` and two hexadecimal digits are a byte.
fn plain(written: &str) -> String {
    let mut bytes = Vec::with_capacity(written.len());
    let mut rest = written.as_bytes();
    while let Some((byte, tail)) = rest.split_first() {
        let digits = tail.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        match digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(coded) if *byte == b'%' => {
                bytes.push(coded);
                rest = &tail[2..];
            }
            _ => {
                bytes.push(*byte);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn may_be_made_just_now(error: &jetstream::context::CreateStreamError) -> bool {
    let CreateStreamErrorKind::JetStream(error) = error.kind() else {
        return false;
    };
    let code = error.error_code();
    code == ErrorCode::STREAM_SUBJECT_OVERLAP || code == ErrorCode::STREAM_NAME_EXIST
}

/// An error with its causes, which are the client's own.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}
