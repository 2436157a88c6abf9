//! Why a federation or a channel cannot do what it is asked to.

use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;

use super::config::ConfigError;
use super::name::{ChannelName, NameError, PartyId, Tag};

/// Why a party does not take part in its job.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum JoinError {
    /// The configuration does not fit together.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// It was called outside a tokio runtime, whose tasks carry the packets.
    #[error("there is no tokio runtime here; call it within one")]
    NoRuntime,
    /// Not all parties have come in time. The federation works on: asking again is sound.
    #[error("after {after:?}, not all parties see each other: {}", listed(missing))]
    Timeout {
        /// How long it was waited for.
        after: Duration,
        /// Who is missing, and what is known of each.
        missing: Vec<(PartyId, Presence)>,
    },
    /// Another party does not let this one take part; no retry helps.
    #[error("party {by} refuses this party: {reason}")]
    Refused {
        /// The other party.
        by: PartyId,
        /// What it says.
        reason: RefusedReason,
    },
    /// The job is over.
    #[error(transparent)]
    Over(#[from] Over),
}

fn listed(missing: &[(PartyId, Presence)]) -> String {
    let parties = missing
        .iter()
        .map(|(party, presence)| format!("{party} {presence}"));
    parties.collect::<Vec<_>>().join(", ")
}

/// What is known of another party.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Presence {
    /// It has not been heard of since this party started.
    Unseen,
    /// It is there.
    Present,
    /// It is there, and does not yet see all others.
    Waiting,
    /// It was there, and has not been heard of for so long.
    Silent(Duration),
    /// Nothing is known of it: the message server, which would say, has not been heard of for so long.
    ServerSilent(Duration),
    /// Nothing is known of it: the message server, which would say, cannot be connected to. Why not, once that is known: the
    /// connection is refused, there is no such host, its certificate is not trusted.
    NoServer(Option<Arc<str>>),
    /// Nothing is known of it: the message server does not let this party in, or is not the one whose key this party knows,
    /// and says this.
    ServerRefuses(Arc<str>),
    /// It has ended in good order.
    Left,
    /// No process has its place at the message server, as [`look`](super::Federation::look) has seen.
    NotRunning,
    /// It does not let this party take part.
    Refuses(RefusedReason),
}

impl std::fmt::Display for Presence {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Presence::Unseen => f.write_str("has not been heard of"),
            Presence::Present => f.write_str("is there"),
            Presence::Waiting => f.write_str("is there, but does not see all others yet"),
            Presence::Silent(time) => write!(f, "has not been heard of for {time:.1?}"),
            Presence::ServerSilent(time) => write!(
                f,
                "is out of reach: the message server has not been heard of for {time:.1?}"
            ),
            Presence::NoServer(why) => {
                f.write_str("is out of reach: the message server cannot be connected to")?;
                why.iter().try_for_each(|why| write!(f, ": {why}"))
            }
            Presence::ServerRefuses(why) => write!(
                f,
                "is out of reach: the message server and this party do not accept each other: {why}; \
                 see `server`, and `curve` or `tls`, in the configuration",
            ),
            Presence::Left => f.write_str("has left"),
            Presence::NotRunning => f.write_str("is not running"),
            Presence::Refuses(reason) => write!(f, "refuses this party: {reason}"),
        }
    }
}

/// Why another party does not let this one take part.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum RefusedReason {
    /// This party is not in the other's configuration.
    #[error("it does not have this party in its configuration")]
    NotAMember,
    /// The other party runs another job.
    #[error("it runs another job")]
    OtherJob,
    /// Another process with this id is alive. When that one ends, this one is let in.
    #[error("another process with this id is there")]
    InUse,
    /// Another process has taken this one's place.
    #[error("another process has taken the place of this one")]
    Superseded,
    /// The two configurations name different parties for this job.
    #[error("its configuration names other parties for this job; both must name the same")]
    OtherMembers,
    /// The message server does not let this party take part in the job.
    #[error("the message server does not let this party take part in the job")]
    Unauthorized,
    /// The message server has as many jobs or parties as it takes. This party is let in when there is room.
    #[error("the message server has no room for this party or job at present")]
    NoRoom,
}

/// The job is over for this party; no retry helps.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum Over {
    /// A party, perhaps this one, has aborted the job.
    #[error("party {by} has aborted the job: {reason}")]
    Aborted {
        /// Who has.
        by: PartyId,
        /// What it said.
        reason: String,
    },
    /// Another process with this party's id has taken its place.
    #[error("another process with this party's id has taken its place")]
    Superseded,
    /// The federation was closed here, or its runtime has ended.
    #[error("the federation is closed")]
    Closed,
}

/// Why there is no such channel. Nothing has changed.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum OpenError {
    /// A name is none.
    #[error(transparent)]
    Name(#[from] NameError),
    /// The other party is none of the job's.
    #[error("party {party} is not in this job, whose members are {members:?}")]
    NotAMember {
        /// Who was asked for.
        party: PartyId,
        /// All members.
        members: Vec<PartyId>,
    },
    /// A channel leads to another party.
    #[error("party {party} is this one; a channel leads to another party")]
    Oneself {
        /// This party.
        party: PartyId,
    },
    /// This party is neither the root nor in the group.
    #[error("party {local} is neither the root {root} nor in the group {group:?}")]
    NotInGroup {
        /// This party.
        local: PartyId,
        /// The root.
        root: PartyId,
        /// The group.
        group: Vec<PartyId>,
    },
    /// A party is in a group twice, or is the root as well.
    #[error("party {party} is in the group twice")]
    Twice {
        /// The party.
        party: PartyId,
    },
}

/// Why a message was not sent or received.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ChannelError {
    /// It took too long. A send has sent nothing, a receive has taken nothing: a retry is sound.
    #[error("channel {channel}: {what} took more than {after:?}; party {party} {presence}")]
    Timeout {
        /// The channel.
        channel: ChannelName,
        /// What was waited for.
        what: Waiting,
        /// The other party.
        party: PartyId,
        /// How long it was waited.
        after: Duration,
        /// What is known of the other party.
        presence: Presence,
    },
    /// The other party has ended, after it was there while this one was, and has sent no more. If it starts again, a retry
    /// is sound. One that had ended before this party came is waited for: it may start again, as for the next run of a job.
    #[error("channel {channel}: party {party} has left, and has sent no more")]
    Left {
        /// The channel.
        channel: ChannelName,
        /// The other party.
        party: PartyId,
    },
    /// This message has waited longer than its time to live, or was larger than this party or the message server takes, as
    /// its sender has heard only when it had sent it: it is gone. The next receive goes on behind it.
    #[error(
        "channel {channel}: message {offset} from party {party} has waited too long, or is larger than what is taken here or on its way, and is gone"
    )]
    Expired {
        /// The channel.
        channel: ChannelName,
        /// The other party.
        party: PartyId,
        /// The message's number in its channel and direction.
        offset: u64,
    },
    /// This message is lost: its sender has ended before this program had it, and it was too large for a message server to
    /// keep, or the server's store is damaged. The next receive goes on behind it.
    #[error(
        "channel {channel}: message {offset} from party {party} is lost: the party has ended, and nobody else has all of it"
    )]
    Lost {
        /// The channel.
        channel: ChannelName,
        /// The other party.
        party: PartyId,
        /// The message's number in its channel and direction.
        offset: u64,
    },
    /// The message is larger than one of the two parties takes. Nothing was sent.
    #[error("channel {channel}: a message of {size} bytes is above the limit of {limit}")]
    TooLarge {
        /// The channel.
        channel: ChannelName,
        /// The message's size in bytes.
        size: u64,
        /// The limit in bytes.
        limit: u64,
    },
    /// The message has more buffers than a message may have. Nothing was sent.
    #[error("channel {channel}: a message of {count} buffers is above the limit of {limit}")]
    TooManyBuffers {
        /// The channel.
        channel: ChannelName,
        /// How many buffers it has.
        count: usize,
        /// The limit.
        limit: usize,
    },
    /// There are as many channels to this party as there may be here, at the message server or at the other party, which
    /// says so when it is first asked: what was sent before that waits here. Nothing was sent now.
    #[error(
        "channel {channel}: there are {limit} channels to party {party} already, see `Limits::channels` and those of the message server"
    )]
    TooManyChannels {
        /// The channel.
        channel: ChannelName,
        /// The other party.
        party: PartyId,
        /// The limit.
        limit: u32,
    },
    /// The value cannot be written. Nothing was sent.
    #[error("channel {channel}: the value cannot be written: {reason}")]
    Encode {
        /// The channel.
        channel: ChannelName,
        /// What the codec says.
        reason: String,
    },
    /// The message is no such value, or no bytes, or has other buffers. It is used up.
    #[error("channel {channel}: message {offset} from party {party} is not what was asked for: {reason}")]
    Decode {
        /// The channel.
        channel: ChannelName,
        /// The other party.
        party: PartyId,
        /// The message's number in its channel and direction.
        offset: u64,
        /// What is wrong.
        reason: String,
    },
    /// The parties call different operations of a broadcast channel. The message is used up.
    #[error("channel {channel}: party {party} calls {theirs}, this party {ours}")]
    Mismatch {
        /// The channel.
        channel: ChannelName,
        /// The other party.
        party: PartyId,
        /// What it calls.
        theirs: String,
        /// What this party calls.
        ours: &'static str,
    },
    /// This party cannot call this: only the root can, or only the group. Nothing was sent.
    #[error("channel {channel}: only {who} can call this, see `{instead}`")]
    WrongSide {
        /// The channel.
        channel: ChannelName,
        /// Who can.
        who: &'static str,
        /// What this party calls instead.
        instead: &'static str,
    },
    /// There is not one value for each party of the group. Nothing was sent.
    #[error("channel {channel}: {count} values for a group of {group}")]
    Count {
        /// The channel.
        channel: ChannelName,
        /// How many values there are.
        count: usize,
        /// How many parties are in the group.
        group: usize,
    },
    /// A message is to have a number that is not this party's next one: those before it have not been sent. Nothing was sent.
    #[error(
        "channel {channel}: message {offset} would leave a gap, party {party} gets message {next} next; see `next_offset`"
    )]
    Gap {
        /// The channel.
        channel: ChannelName,
        /// The other party.
        party: PartyId,
        /// The number that the message is to have.
        offset: u64,
        /// The number of the party's next message.
        next: u64,
    },
    /// The other party does not let this one take part.
    #[error("channel {channel}: party {party} refuses this party: {reason}")]
    Refused {
        /// The channel.
        channel: ChannelName,
        /// The other party.
        party: PartyId,
        /// What it says.
        reason: RefusedReason,
    },
    /// The job is over.
    #[error(transparent)]
    Over(#[from] Over),
}

/// What a channel waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Waiting {
    /// Room to send: the other program does not receive.
    Room,
    /// Room to send: the message server takes no more at present.
    ServerRoom,
    /// The next message without a tag.
    Message,
    /// A message with this tag.
    Tagged(Tag),
    /// What the other party has already.
    Position,
    /// The other program's receiving all that was sent.
    Delivery,
}

impl std::fmt::Display for Waiting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Waiting::Room => f.write_str("waiting for room to send"),
            Waiting::ServerRoom => {
                f.write_str("waiting for room to send, of which the message server has none at present,")
            }
            Waiting::Message => f.write_str("waiting for a message"),
            Waiting::Tagged(tag) => write!(f, "waiting for a message with tag `{tag}`"),
            Waiting::Position => f.write_str("asking what is there already"),
            Waiting::Delivery => f.write_str("waiting for delivery"),
        }
    }
}
