//! Models of the parts of flexbond in which threads meet without one lock around all: `cargo xtask loom` goes through
//! the orders in which the threads of a test can run.
//!
//! The sources are those of the crates themselves. Their module `sync` is another one here, whose locks and atomics are
//! loom's.
#![cfg(test)]
#![allow(dead_code)]

#[path = "../../../session/src/socket/ending.rs"]
mod ending;
#[path = "../../../rpc/src/server/flights.rs"]
mod flights;
#[path = "../../../session/src/socket/news.rs"]
mod news;
mod sync;
mod task;
mod tests;
#[path = "../../../session/src/socket/wakers.rs"]
mod wakers;
#[path = "../../../transport/src/tunnel/woken.rs"]
mod woken;
