//! What a library has to offer to be measured.

use std::future::Future;

use bytes::Bytes;

use super::{Args, Loop};
use crate::{Result, Support};

/// A library for parties that talk by a server.
///
/// Servers and parties are inside the runtime that [`Setting::threads`](crate::Setting::threads) names.
pub trait Contender: Sized + 'static {
    /// One party's place in a job.
    type Party: Clone + Send + Sync + 'static;
    /// A channel, to one party and from one party.
    type Line: Send + 'static;

    /// The settings that fit the case on the command line.
    fn support(args: &Args) -> Support;

    /// Listens, says where, and serves for ever.
    fn serve(args: Args, bound: impl FnOnce(String)) -> impl Future<Output = Result<()>>;

    /// Takes part in a job. Jobs and parties are numbered.
    fn join(args: &Args, job: usize, party: usize) -> impl Future<Output = Result<Self::Party>>;

    /// Opens the channel of a loop.
    fn line(party: &Self::Party, of: &Loop) -> impl Future<Output = Result<Self::Line>> + Send;

    /// Sends a value and receives one, at the same time. The bytes are the application's, which keeps them.
    fn swap(line: &mut Self::Line, value: Bytes) -> impl Future<Output = Result<Bytes>> + Send;

    /// Sends a value: it is under way, and will come.
    fn send(line: &mut Self::Line, value: Bytes) -> impl Future<Output = Result<()>> + Send;

    /// Receives a value, which has so many bytes.
    fn receive(line: &mut Self::Line, size: usize) -> impl Future<Output = Result<Bytes>> + Send;

    /// Leaves the job: what was sent is in the server's custody then, or has been received.
    fn leave(party: Self::Party) -> impl Future<Output = Result<()>> + Send;
}
