//! Parties of a job that talk by a server: what a library has to offer, and how it is driven.
//!
//! `peer-X serve key=value…` is the server, `peer-X party key=value…` a process with parties in it; both print
//! `{"bound": ENDPOINT}` or `{"ready": true}` and then talk to the bench as the other peers do. Each loop of traffic is a
//! task of its own, with a channel of its own: it sends a value, receives one, and begins again.

mod args;
mod contender;
mod party;
mod program;
mod traffic;

pub use args::{Args, Role, Traffic};
pub use contender::Contender;
pub use program::main;
pub use traffic::Loop;
