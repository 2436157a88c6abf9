//! A look at a job from outside, by one who does not take part.

use std::time::Duration;

use flexbond_session::Endpoint;
use flexbond_session::socket::{Event, Options, Socket, SocketType};
use futures_util::StreamExt;
use futures_util::future::join_all;
use tokio::time::Instant;

use super::config::Config;
use super::connect::ConnectError;
use super::direct::DirectError;
use super::error::{Over, Presence, RefusedReason};
use super::federation::Federation;
use super::name::{ChannelName, Member, PartyId};
#[cfg(feature = "nats")]
use super::nats;
use super::nats::is_nats;

/// How often it is looked whether something has changed.
const GLANCE: Duration = Duration::from_millis(20);

/// What is seen of a job.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct JobStatus {
    /// All parties, in the order of the configuration.
    pub parties: Vec<PartyStatus>,
    /// Who has aborted the job, and why.
    pub aborted: Option<(PartyId, String)>,
    /// What is kept for receivers between the parties; none where nobody can tell that.
    pub stock: Option<Vec<Stock>>,
}

/// What is seen of a party.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct PartyStatus {
    /// Who.
    pub member: Member,
    /// What is known of it.
    pub presence: Presence,
}

/// What is kept on one channel, one direction.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stock {
    /// The sender.
    pub from: PartyId,
    /// The receiver.
    pub to: PartyId,
    /// The channel.
    pub channel: ChannelName,
    /// Messages that the receiver's program has not received.
    pub messages: u64,
    /// Messages that were ever sent.
    pub sent: u64,
}

impl JobStatus {
    pub(super) fn new(config: &Config, presence: impl Fn(&PartyId) -> Presence) -> Self {
        let party = |member: &Member| PartyStatus {
            presence: presence(&member.id),
            member: member.clone(),
        };
        JobStatus {
            parties: config.members().iter().map(party).collect(),
            aborted: None,
            stock: None,
        }
    }
}

impl Federation {
    /// Looks at the job of `config`, for at most `time`, without taking part.
    ///
    /// - With a `server` of NATS, the streams tell all. Nothing is written.
    /// - With another `server`, the local party's place is taken for a moment if its program is not running, and left
    ///   without a word. If it is running, nothing is known of the others.
    /// - Directly, it is seen who listens at its address.
    ///
    /// # Errors
    /// [`ConnectError`].
    ///
    /// # Cancel safety
    /// Dropping the future leaves nothing behind.
    pub async fn look(config: Config, time: Duration) -> Result<JobStatus, ConnectError> {
        config.validate()?;
        match config.server() {
            #[cfg(feature = "nats")]
            Some(server) if is_nats(server) => Ok(nats::look(&config, time).await?),
            #[cfg(not(feature = "nats"))]
            Some(server) if is_nats(server) => Err(ConnectError::NoNats),
            Some(_) => from_the_place(config, time).await,
            None if config.addresses().is_empty() => Err(ConnectError::NoWay),
            None => by_address(&config, time).await,
        }
    }
}

impl Federation {
    /// Removes what a server of NATS keeps of the job of `config`, after all parties have ended: its two streams, which stay
    /// otherwise. Who begins the job again begins a new one. Looks for at most `time` whether somebody is there.
    ///
    /// `with_messages`: also when messages wait that nobody has received, which are lost.
    ///
    /// # Errors
    /// [`ConnectError::Nats`] with [`NatsError::Running`](super::NatsError::Running) and
    /// [`NatsError::Unreceived`](super::NatsError::Unreceived), and nothing is removed; [`ConnectError::NothingKept`] where
    /// there is no server of NATS.
    ///
    /// # Cancel safety
    /// When the future is dropped before it is ready, it may be removed or not.
    pub async fn forget(config: Config, time: Duration, with_messages: bool) -> Result<(), ConnectError> {
        config.validate()?;
        match config.server() {
            #[cfg(feature = "nats")]
            Some(server) if is_nats(server) => Ok(nats::forget(&config, time, with_messages).await?),
            #[cfg(not(feature = "nats"))]
            Some(server) if is_nats(server) => {
                let _ = (time, with_messages);
                Err(ConnectError::NoNats)
            }
            _ => Err(ConnectError::NothingKept),
        }
    }
}

/// Takes the local party's place for a moment.
async fn from_the_place(config: Config, time: Duration) -> Result<JobStatus, ConnectError> {
    let federation = Federation::connect(config.clone()).await?;
    let end = Instant::now() + time;
    let presence = |party: &PartyId| {
        let presence = federation.presence(party);
        presence.unwrap_or(Presence::Present)
    };
    let others = || {
        config
            .members()
            .iter()
            .map(|member| &member.id)
            .filter(|id| *id != config.local())
    };
    // Who is not there does not show; who is shows at once.
    while Instant::now() < end && !others().all(|party| presence(party) == Presence::Present) {
        let is_refused = others().any(|party| matches!(presence(party), Presence::Refuses(_)));
        let is_over = tokio::time::timeout(GLANCE, federation.over()).await.is_ok();
        if is_refused || is_over {
            break;
        }
    }
    let own = own_place(others().map(presence));
    let mut status = JobStatus::new(&config, |party| match party == config.local() {
        true => own.clone(),
        false => presence(party),
    });
    if let Ok(Over::Aborted { by, reason }) = tokio::time::timeout(Duration::ZERO, federation.over()).await {
        status.aborted = Some((by, reason));
    }
    federation.vanish();
    Ok(status)
}

/// What the server's words about the others say of the place that was taken.
fn own_place(others: impl Iterator<Item = Presence>) -> Presence {
    let mut own = Presence::NotRunning;
    for presence in others {
        match presence {
            // Somebody was there before.
            Presence::Refuses(RefusedReason::InUse) => return Presence::Present,
            // Nobody knows.
            Presence::Refuses(_)
            | Presence::NoServer(_)
            | Presence::ServerRefuses(_)
            | Presence::ServerSilent(_) => own = presence,
            _ => {}
        }
    }
    own
}

/// Sees who takes connections.
async fn by_address(config: &Config, time: Duration) -> Result<JobStatus, ConnectError> {
    let mut endpoints = Vec::new();
    for (party, address) in config.addresses() {
        let endpoint = address
            .parse::<Endpoint>()
            .map_err(|source| DirectError::Address {
                party: party.clone(),
                source,
            })?;
        endpoints.push((party.clone(), endpoint));
    }
    let looking = endpoints
        .into_iter()
        .map(async |(party, endpoint)| (party, is_listening(endpoint, time).await));
    let seen = join_all(looking).await;
    Ok(JobStatus::new(config, |party| {
        let is_there = seen.iter().any(|(id, is_there)| id == party && *is_there);
        match is_there {
            true => Presence::Present,
            false => Presence::Unseen,
        }
    }))
}

async fn is_listening(endpoint: Endpoint, time: Duration) -> bool {
    let options = Options::new().immediate(true);
    let Ok(socket) = Socket::with_options(SocketType::Dealer, options) else {
        return false;
    };
    let mut monitor = socket.monitor();
    if socket.connect(endpoint).is_err() {
        return false;
    }
    let seeing = async {
        loop {
            match monitor.next().await {
                Some(Event::Ready { .. }) => return true,
                Some(Event::ConnectFailed { .. } | Event::HandshakeFailed { .. }) | None => return false,
                Some(_) => {}
            }
        }
    };
    tokio::time::timeout(time, seeing).await.unwrap_or(false)
}
