//! What a library of remote calls has to offer to be measured.

use std::future::Future;

use super::{Args, Calls};
use crate::{Result, Support};

/// A library of remote calls.
///
/// Both sides are inside the runtime that [`Setting::threads`](crate::Setting::threads) names.
pub trait Contender: 'static {
    /// A connection to the server. A clone uses the same one.
    type Client: Clone + 'static;

    /// Whether its tasks are bound to their thread: they are spawned on a `LocalSet` then.
    const LOCAL: bool = false;

    /// The settings that fit the case on the command line.
    fn support(args: &Args) -> Support;

    /// Listens, says where, and answers the calls of any number of connections: `echo` with its argument, `take` with
    /// the size of its argument, `give` with so many bytes, and `sleep` after so long.
    fn serve(args: Args, bound: impl FnOnce(String)) -> impl Future<Output = Result<()>>;

    /// Makes a connection.
    fn connect(args: &Args) -> impl Future<Output = Result<Self::Client>>;

    /// Runs a loop of calls by this connection, in a task of its own.
    fn spawn(client: Self::Client, calls: Calls);
}
