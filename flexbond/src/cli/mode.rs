//! The two ways to receive a stream, and the two ways to send one, as arguments.

use clap::ValueEnum;

use crate::stream::Mode;

/// How a stream is received.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Receiving {
    /// Every message of the source goes to one of its receivers
    Pull,
    /// Every message of the source goes to all of its receivers
    Sub,
}

/// How a stream is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Sending {
    /// Every message goes to one of the receivers
    Push,
    /// Every message goes to all of the receivers
    Pub,
}

impl From<Receiving> for Mode {
    fn from(mode: Receiving) -> Self {
        match mode {
            Receiving::Pull => Mode::Pull,
            Receiving::Sub => Mode::Sub,
        }
    }
}

impl From<Sending> for Mode {
    fn from(mode: Sending) -> Self {
        match mode {
            Sending::Push => Mode::Push,
            Sending::Pub => Mode::Pub,
        }
    }
}
