//! The protocol between parties, without I/O: time is an argument, randomness is drawn by the caller.
//!
//! A [`Node`] is one party. It has a [`Link`](link) to every other, on which items come over once and in order, and for
//! each channel and direction a flow: an [`Outflow`] keeps messages until the program at the other side has received
//! them, an [`Inflow`] keeps them until its own program asks.
//!
//! A message is known by job, channel, sender, receiver and offset, its number in this channel and direction. Offsets go
//! on when a party starts again: before the first message of a session the sender opens the flow, and the receiver
//! answers with what it has, so that nothing is taken twice.

mod credit;
pub(crate) mod few;
mod flows;
mod gathering;
mod inflow;
pub(crate) mod keyed;
pub(super) mod link;
mod node;
pub(super) mod outflow;
pub(super) mod packet;
pub(super) mod peer;
mod room;
pub(crate) mod speech;
#[cfg(test)]
mod tests;

pub(crate) use self::inflow::{Bounds, Inflow, Taken};
pub(crate) use self::node::{Barrier, Event, Node, Rejected, Setup};
pub(crate) use self::outflow::{Letter, Outflow};
pub(crate) use self::packet::{FlowKey, Kind, MAX_MEMBERS, MAX_PARTS, Refusal, sender_of};
pub(crate) use self::peer::Peer;
pub(crate) use super::name::Tag;
