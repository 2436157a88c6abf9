//! What a server tells of itself.

use std::fmt;

use flexbond_session::socket::LimitCounts;

use crate::federation::core::Refusal;
use crate::federation::error::RefusedReason;
use crate::federation::relay::{RelayEvent, RelayStats};

/// What a server holds, and what has passed through it since it started.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ServerStats {
    /// Jobs, parties and messages.
    pub relay: RelayStats,
    /// Connections that are open.
    pub connections: usize,
    /// Other servers that are connected to.
    pub servers: usize,
    /// Whether it is ending: who is there goes on, nobody new is let in.
    pub is_draining: bool,
    /// The file with messages, if there is one.
    pub store: Option<StoreStats>,
    /// How often connections met a limit of the socket.
    pub limits: LimitCounts,
}

/// The file of a server with messages.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct StoreStats {
    /// Bytes of messages in it.
    pub content_bytes: u64,
    /// Batches that were written.
    pub commits: u64,
    /// Whether it takes nothing for lack of room on its device.
    pub is_full: bool,
    /// Why it cannot be used now, if it cannot. It is tried again each second; until then nothing new is acknowledged.
    pub trouble: Option<String>,
}

/// Something that an operator may want to read of. Its `Display` is one line for people.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ServerEvent {
    /// How much it matters.
    pub level: EventLevel,
    /// What it is, for programs: `joined`, `refused`, …
    pub name: &'static str,
    /// What it is about: names and values, such as `party` and its id.
    pub fields: Vec<(&'static str, String)>,
    text: String,
}

/// How much an event matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum EventLevel {
    /// Something is in the way of messages.
    Error,
    /// Somebody was kept out, or has to wait.
    Warn,
    /// What happens in the course of jobs.
    Info,
    /// All else.
    Debug,
}

impl fmt::Display for EventLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            EventLevel::Error => "error",
            EventLevel::Warn => "warn",
            EventLevel::Info => "info",
            EventLevel::Debug => "debug",
        })
    }
}

impl fmt::Display for ServerEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl ServerEvent {
    pub(super) fn new(
        level: EventLevel,
        name: &'static str,
        fields: Vec<(&'static str, String)>,
        text: impl Into<String>,
    ) -> Self {
        // Names have no control characters; what peers give as reasons may.
        let text = text.into();
        let text = match text.contains(char::is_control) {
            true => text.escape_debug().to_string(),
            false => text,
        };
        ServerEvent {
            level,
            name,
            fields,
            text,
        }
    }
}

impl ServerEvent {
    /// Adds how often it was not told.
    pub(super) fn add(&mut self, name: &'static str, untold: u64) {
        self.fields.push((name, untold.to_string()));
        self.text
            .push_str(&format!(" (and {untold} times before that were not told)"));
    }
}

impl From<RelayEvent> for ServerEvent {
    fn from(event: RelayEvent) -> Self {
        use EventLevel::{Info, Warn};

        let of = |job: &dyn fmt::Display, party: &dyn fmt::Display| {
            vec![("job", job.to_string()), ("party", party.to_string())]
        };
        match event {
            RelayEvent::Joined { job, party } => {
                let text = format!("job {job}: {party} is there");
                ServerEvent::new(Info, "joined", of(&job, &party), text)
            }
            RelayEvent::Lost { job, party } => {
                let text = format!("job {job}: nothing is heard of {party}");
                ServerEvent::new(Info, "lost", of(&job, &party), text)
            }
            RelayEvent::Left { job, party } => {
                let text = format!("job {job}: {party} has left");
                ServerEvent::new(Info, "left", of(&job, &party), text)
            }
            RelayEvent::Refused { job, party, refusal } => {
                let reason = refused(refusal);
                let mut fields = of(&job, &party);
                fields.push(("reason", reason.clone()));
                let text = format!("job {job}: {party} is refused: {reason}");
                ServerEvent::new(Warn, "refused", fields, text)
            }
            RelayEvent::Forged { job, party, identity } => {
                let mut fields = of(&job, &party);
                fields.push(("identity", identity.clone()));
                let text = format!("job {job}: {identity} has said to be {party}, and is not believed");
                ServerEvent::new(Warn, "forged", fields, text)
            }
            RelayEvent::Aborted { job, by, reason } => {
                let mut fields = of(&job, &by);
                fields.push(("reason", reason.clone()));
                let text = format!("job {job}: aborted by {by}: {reason}");
                ServerEvent::new(Warn, "aborted", fields, text)
            }
            RelayEvent::Begun { job } => {
                let text = format!("job {job}: has begun");
                ServerEvent::new(Info, "begun", vec![("job", job.to_string())], text)
            }
            RelayEvent::Forgotten { job } => {
                let text = format!("job {job}: is forgotten");
                ServerEvent::new(Info, "forgotten", vec![("job", job.to_string())], text)
            }
            RelayEvent::Full { job, party, quota } => {
                let quota = format!("{quota:?}").to_lowercase();
                let mut fields = of(&job, &party);
                fields.push(("quota", quota.clone()));
                let text = format!("job {job}: {party} waits for room: the quota of the {quota} is used up");
                ServerEvent::new(Warn, "full", fields, text)
            }
            RelayEvent::Declined { job, party, limit } => {
                let mut fields = of(&job, &party);
                fields.push(("limit", limit.to_string()));
                let text = format!(
                    "job {job}: {party} opens more than {limit} channels to another party; see `limits.channels`"
                );
                ServerEvent::new(Warn, "declined", fields, text)
            }
            RelayEvent::Expired {
                job,
                from,
                to,
                channel,
                count,
            } => {
                let mut fields = of(&job, &from);
                fields.extend([
                    ("to", to.to_string()),
                    ("channel", channel.to_string()),
                    ("count", count.to_string()),
                ]);
                let have = if count == 1 {
                    "message has"
                } else {
                    "messages have"
                };
                let text = format!(
                    "job {job}: {count} {have} waited too long on channel {channel} from {from} to {to}"
                );
                ServerEvent::new(Warn, "expired", fields, text)
            }
            RelayEvent::Wrong { job, party, what } => {
                let mut fields = of(&job, &party);
                fields.push(("what", what.to_owned()));
                let text = format!("job {job}: {party} does not keep to the protocol: {what}");
                ServerEvent::new(Warn, "wrong", fields, text)
            }
        }
    }
}

/// As the server sees it.
fn refused(refusal: Refusal) -> String {
    match refusal {
        Refusal::NotAMember => "it is no member of the job".to_owned(),
        Refusal::Unauthorized => "it may not take part".to_owned(),
        Refusal::NoRoom => "there are too many jobs or parties".to_owned(),
        other => RefusedReason::from(other).to_string(),
    }
}
