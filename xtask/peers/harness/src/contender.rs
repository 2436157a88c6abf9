//! What a messaging library has to offer to be measured.

use std::error::Error;
use std::future::Future;

use crate::Args;

/// Any failure: it ends the program, and the bench shows it.
pub type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

/// The pattern of a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the patterns' usual names")]
pub enum Kind {
    Push,
    Pull,
    Req,
    Rep,
    Pub,
    Sub,
    Dealer,
    Router,
}

/// Which threads drive the application's side of the sockets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Threads {
    /// A tokio runtime of one thread for each side.
    Current,
    /// A tokio runtime with this many workers for the process.
    Multi(usize),
    /// A plain thread for each task; calls block.
    Blocking,
}

/// One documented way to run the library.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    /// Its name on the command line and in reports.
    pub name: &'static str,
    /// What it means, in the library's own terms.
    pub about: &'static str,
    /// Which threads drive the application's side.
    pub threads: Threads,
}

/// Whether and how a case can be run.
pub enum Support {
    /// In each of these ways.
    Settings(Vec<Setting>),
    /// Not at all, for this reason.
    Missing(&'static str),
}

/// A messaging library.
///
/// Sockets are made and used inside the runtime that [`Setting::threads`] names. `send` makes a new message that
/// owns its parts, with the library's best documented constructor from a slice.
pub trait Contender: Clone + Send + Sync + 'static {
    /// A socket of any kind.
    type Socket: Send + 'static;

    /// The settings that fit the case on the command line.
    fn support(args: &Args) -> Support;

    /// Once in a process, outside any runtime.
    ///
    /// # Errors
    /// When the library cannot be set up.
    fn open(args: &Args) -> Result<Self>;

    /// A socket with the command line's high-water marks and otherwise the setting's options.
    fn socket(&self, kind: Kind) -> impl Future<Output = Result<Self::Socket>> + Send;

    /// Listens, and returns the endpoint to connect to.
    fn bind(&self, socket: &mut Self::Socket, endpoint: &str) -> impl Future<Output = Result<String>> + Send;

    /// Connects, or starts to.
    fn connect(&self, socket: &mut Self::Socket, endpoint: &str) -> impl Future<Output = Result<()>> + Send;

    /// Subscribes to a prefix.
    fn subscribe(&self, socket: &mut Self::Socket, topic: &str) -> impl Future<Output = Result<()>> + Send;

    /// Sends `parts` copies of `part` as one message.
    fn send(
        &self,
        socket: &mut Self::Socket,
        part: &[u8],
        parts: usize,
    ) -> impl Future<Output = Result<()>> + Send;

    /// Waits for one message and shows its last part and its whole size; may then show more that are there already.
    fn receive(
        &self,
        socket: &mut Self::Socket,
        each: &mut (impl FnMut(&[u8], usize) + Send),
    ) -> impl Future<Output = Result<()>> + Send;

    /// Waits for exactly one message and returns its size.
    fn receive_one(&self, socket: &mut Self::Socket) -> impl Future<Output = Result<usize>> + Send;

    /// Waits for one message and sends it back (REP, ROUTER).
    fn echo(&self, socket: &mut Self::Socket) -> impl Future<Output = Result<()>> + Send;

    /// Gives the socket up.
    fn close(&self, socket: Self::Socket) -> impl Future<Output = ()> + Send {
        async move { drop(socket) }
    }
}
