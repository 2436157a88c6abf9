//! A barrier, without any I/O: nobody goes on before all have come.
//!
//! The [`Hub`] at the coordinator counts who has come and decides how each round ends; a [`Seat`] at each member says
//! that it has come until it hears how the round ended. Rounds are counted from 1. Because the hub alone decides, a
//! round ends the same way for everybody.

mod hub;
mod seat;

#[cfg(test)]
mod tests;

pub(crate) use hub::{Hub, Signal};
pub(crate) use seat::Seat;

use super::MemberId;

/// How a round ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// All had come.
    Released,
    /// These were lost while others waited for them.
    Aborted(Vec<MemberId>),
}
