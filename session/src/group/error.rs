//! What can go wrong in a session.

use std::io;
use std::time::Duration;

use flexbond_transport::{BindError as TransportBindError, Endpoint, EndpointError, ResolveError};
use flexbond_wire::group::{ChannelRefusal, RejectReason};
use thiserror::Error;

use super::{Gone, MemberId, OptionError};

/// Why a session could not be begun. Nothing is bound then.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StartError {
    /// An option is out of its bounds.
    #[error(transparent)]
    Option(#[from] OptionError),
    /// The text is no endpoint.
    #[error(transparent)]
    Endpoint(#[from] EndpointError),
    /// Sessions do not travel on endpoints of this kind.
    #[error("cannot hold a session at {endpoint}: {reason}")]
    Unsupported {
        /// Where it was to be.
        endpoint: Endpoint,
        /// Why not.
        reason: &'static str,
    },
    /// The endpoint's host has no usable address.
    #[error(transparent)]
    Resolve(#[from] ResolveError),
    /// The socket could not be bound.
    #[error(transparent)]
    Bind(#[from] TransportBindError),
    /// The system refuses something else.
    #[error("the system refuses to {what}")]
    Io {
        /// What was to be done.
        what: &'static str,
        /// Its words.
        source: io::Error,
    },
}

/// Why a session could not be joined. Nothing is left behind; trying again is sound.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum JoinError {
    /// It did not come to asking.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The coordinator does not want this member.
    #[error("{endpoint} does not admit this member: {}", printable(reason))]
    Rejected {
        /// Where the session is.
        endpoint: Endpoint,
        /// Why.
        why: RejectReason,
        /// Why, in the coordinator's words, whatever they are: what this error prints has no control characters of theirs.
        reason: String,
    },
    /// Nobody answered in the time allowed.
    #[error("nobody answers at {endpoint} within {timeout:?}: is a coordinator running there?")]
    NoAnswer {
        /// Where the session was expected.
        endpoint: Endpoint,
        /// [`Options::join_timeout`](super::Options::join_timeout).
        timeout: Duration,
    },
    /// The session ended at once.
    #[error(transparent)]
    Over(#[from] Over),
}

/// Why a session is over for this end. Whatever is asked of the session from then on gives this.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Over {
    /// This end has left, or ended the session as its coordinator.
    #[error("this end has left the session")]
    Left,
    /// The coordinator has ended the session, for everybody.
    #[error("the coordinator has ended the session")]
    Closed,
    /// The coordinator has sent this member away; the session goes on for others.
    #[error("the coordinator has sent this member away{}", away(*why))]
    Dismissed {
        /// Why, as the others hear it, too.
        why: Gone,
    },
    /// Nothing was heard of the coordinator for [`Options::dead_after`](super::Options::dead_after).
    #[error("the coordinator is dead")]
    CoordinatorDead,
    /// What the coordinator sends cannot be taken.
    #[error("the session cannot go on: {reason}")]
    Broken {
        /// What was wrong.
        reason: String,
    },
}

/// Why a message was not sent.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum SendError {
    /// Larger than messages may be, or than the memory of one of the members. It can be sent as a stream.
    #[error("a message of {size} bytes exceeds the {limit} bytes that {member} takes: send it as a stream")]
    TooLarge {
        /// Bytes of the message.
        size: u64,
        /// Bytes that it may have.
        limit: u64,
        /// Whose limit that is.
        member: MemberId,
    },
    /// As much waits to be delivered as may wait ([`Options::send_budget`](super::Options::send_budget)). Only from
    /// `try_send`.
    #[error("as much waits to be delivered as may wait")]
    WouldBlock,
    /// The group has ended, or this end has left it.
    #[error("the group has ended")]
    NoGroup,
    /// The session is over.
    #[error(transparent)]
    Over(#[from] Over),
}

/// Why no message was received.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum RecvError {
    /// There is none. Only from `try_recv`.
    #[error("there is no message")]
    WouldBlock,
    /// The group has ended, and all that was sent to it was received.
    #[error("the group has ended")]
    GroupEnded,
    /// The group has ended, and its sender did not wait until this end had everything
    /// ([`Options::linger`](super::Options::linger)): all that came before was received, and something is missing.
    #[error("the group has ended before everything had come")]
    GroupCut,
    /// The session is over, and all that came before was received.
    #[error(transparent)]
    Over(#[from] Over),
}

/// Why a message is not known to be delivered to all.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum DeliveryError {
    /// These members went, or died, without having confirmed it; all others have it.
    #[error("not delivered to {}", names(members))]
    Missed {
        /// Who has not confirmed it.
        members: Vec<MemberId>,
    },
    /// The session is over for this end before all had confirmed it.
    #[error(transparent)]
    Over(#[from] Over),
}

/// Why a group was not made.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum GroupError {
    /// There is a group with this number, or there is one that ends, or the number is 65,535, which no group has.
    #[error("group number {0} is taken")]
    Taken(u16),
    /// The session is over.
    #[error(transparent)]
    Over(#[from] Over),
}

/// Why nobody will be heard of who joins a group.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum AcceptError {
    /// This end has made no such group, or it has ended.
    #[error("this end holds no group {0}")]
    NoGroup(u16),
    /// The session is over.
    #[error(transparent)]
    Over(#[from] Over),
}

/// Why a group was not joined.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum JoinGroupError {
    /// The coordinator has made no such group within the time allowed.
    #[error("there is no group {group} (asked for {timeout:?})")]
    Unknown {
        /// Its number.
        group: u16,
        /// [`Options::join_timeout`](super::Options::join_timeout).
        timeout: Duration,
    },
    /// The coordinator refuses.
    #[error("cannot join group {group}: {}", refusal(*reason))]
    Refused {
        /// Its number.
        group: u16,
        /// Why.
        reason: ChannelRefusal,
    },
    /// This end takes part already.
    #[error("this end takes part in group {0} already")]
    Joined(u16),
    /// The session is over.
    #[error(transparent)]
    Over(#[from] Over),
}

/// How a round of a barrier ended for all who waited, if not well.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum BarrierError {
    /// These were lost while others waited for them. The next round goes on without them.
    #[error("lost at the barrier: {}", names(failed))]
    Failed {
        /// Who was lost.
        failed: Vec<MemberId>,
    },
    /// The session is over.
    #[error(transparent)]
    Over(#[from] Over),
}

/// What a peer says, on one line and without anything that a terminal would take for a command.
fn printable(text: &str) -> String {
    let mut printable = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '\'' | '"' => printable.push(character),
            _ => printable.extend(character.escape_debug()),
        }
    }
    printable
}

fn names(members: &[MemberId]) -> String {
    let names: Vec<_> = members.iter().map(ToString::to_string).collect();
    names.join(", ")
}

fn away(why: Gone) -> &'static str {
    match why {
        Gone::Dead => ": it had not heard of it for too long",
        Gone::Left | Gone::Evicted => "",
    }
}

fn refusal(reason: ChannelRefusal) -> &'static str {
    match reason {
        ChannelRefusal::Unknown => "there is no such group",
        ChannelRefusal::WrongKind => "it is a group of another kind",
        ChannelRefusal::Full => "it is full",
        ChannelRefusal::Closing => "it ends",
        _ => "the coordinator does not say why",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_peer_says_is_no_command_to_a_terminal() {
        let error = JoinError::Rejected {
            endpoint: "udp://127.0.0.1:1".parse().expect("an endpoint"),
            why: RejectReason::Full,
            reason: "it's \u{1b}[2Jfull\r\n\u{202e}of Ørsted's".to_owned(),
        };
        assert_eq!(
            error.to_string(),
            "udp://127.0.0.1:1 does not admit this member: it's \\u{1b}[2Jfull\\r\\n\\u{202e}of Ørsted's"
        );
    }
}
