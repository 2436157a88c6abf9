//! What happens to a session's membership.

use std::net::SocketAddr;

use super::MemberId;
use super::membership::Departure;
use super::node::{Event as NodeEvent, Node};

/// Something that happened to a session's membership.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// Somebody is in now: it gets every message that begins to be sent from here on.
    Joined {
        /// Who.
        member: MemberId,
        /// Where it is; `None` if it has gone again.
        address: Option<SocketAddr>,
        /// What it calls itself; only the coordinator knows, and members see an empty name.
        name: String,
    },
    /// Somebody is not in any more.
    Gone {
        /// Who.
        member: MemberId,
        /// Why; only the coordinator knows, for members it is `None`.
        why: Option<Gone>,
    },
    /// Somebody was not admitted, because the session has as many members as it may have
    /// ([`Options::max_members`](super::Options::max_members)); it is told, too. Only the coordinator hears of it, at the
    /// first time and then at each doubling of [`Counters::turned_away`](super::Counters::turned_away).
    TurnedAway {
        /// Where it is.
        address: SocketAddr,
    },
}

/// Why somebody is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Gone {
    /// It left.
    Left,
    /// Nothing was heard of it for [`Options::dead_after`](super::Options::dead_after).
    Dead,
    /// The coordinator sent it away.
    Evicted,
}

impl Event {
    /// The next event of a node that the application is to hear of.
    pub(super) fn next(node: &mut Node) -> Option<Event> {
        loop {
            match node.poll_event()? {
                NodeEvent::Arrived(member) => {
                    return Some(Event::Joined {
                        member,
                        address: node.address(member),
                        name: node.name(member).unwrap_or_default().to_owned(),
                    });
                }
                NodeEvent::Gone(member, departure) => {
                    return Some(Event::Gone {
                        member,
                        why: departure.map(|departure| match departure {
                            Departure::Left => Gone::Left,
                            Departure::Dead => Gone::Dead,
                            Departure::Evicted => Gone::Evicted,
                        }),
                    });
                }
                NodeEvent::TurnedAway(address) => return Some(Event::TurnedAway { address }),
                // Said where it is asked for.
                NodeEvent::Joined(_) | NodeEvent::Out(_) => {}
            }
        }
    }
}
