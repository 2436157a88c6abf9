//! What one member sends to others, reliably and in order, without any I/O.
//!
//! A flow is a stream of records, cut into segments of equal size. The [`Outflow`] at the sender keeps every segment
//! until all receivers have it; the [`Inflow`] at each receiver puts the stream together again and says what it
//! misses. Neither knows of packets, addresses or clocks: who drives them does.

mod asking;
mod assembly;
mod budget;
mod inflow;
mod outflow;
mod pace;
mod parity;
mod ranges;
mod receiver;
mod record;
mod recovery;
mod rtt;
mod stream;

#[cfg(test)]
mod tests;

pub(crate) use assembly::Refused;
pub(crate) use budget::Budget;
pub(crate) use inflow::{Inflow, Report, Settings as InflowSettings};
pub(crate) use outflow::{Begin, Outflow, Piece, Settings as OutflowSettings, Target};
pub(crate) use ranges::Run;
pub(crate) use record::RecordKind;
pub(crate) use recovery::ParityPacket;
