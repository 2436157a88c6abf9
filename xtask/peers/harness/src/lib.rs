//! What all bench peers share: the command line, the traffic of every case, meters and the lines they print.
//!
//! A peer program implements [`Contender`] for its library and calls [`main()`]. Everything that is measured is
//! written once, here, so that every library is driven in the same way: one loop that sends freshly made messages,
//! one that receives and counts.
//!
//! # The conversation with the bench
//!
//! `peer-X ROLE key=value…` prints one JSON object a line: `{"bound": ENDPOINT}` once the binding side listens,
//! `{"ready": true}` when it is set up, and at the end its result. It reads its standard input: the line `go` starts
//! the traffic, the end of the input ends the program.

mod args;
mod contender;
mod control;
pub mod federation;
mod latency;
mod meter;
mod program;
pub mod rpc;
mod traffic;
mod usage;
mod words;

pub use args::{Args, Case, Role, Transport};
pub use contender::{Contender, Kind, Result, Setting, Support, Threads};
pub use control::{Control, Go};
pub use latency::{Latencies, summary};
pub use meter::{Counter, Meter};
pub use program::{fail, main, print};
pub use usage::Usage;
pub use words::Words;
