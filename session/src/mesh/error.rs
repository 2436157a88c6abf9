//! What can go wrong in a mesh.

use std::io;
use std::time::Duration;

use flexbond_transport::{BindError, ConnectError, Endpoint, EndpointError};
use thiserror::Error;

/// Options out of their bounds.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{option} {reason}")]
#[non_exhaustive]
pub struct OptionError {
    /// Which one.
    pub option: &'static str,
    /// What it has to be.
    pub reason: &'static str,
}

/// Why a server does not serve. Nothing is bound then.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ServeError {
    /// The text is no endpoint.
    #[error(transparent)]
    Endpoint(#[from] EndpointError),
    /// An option is out of bounds.
    #[error(transparent)]
    Option(#[from] OptionError),
    /// The transport refused; see its error for whether a retry is sound.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The thread that the server runs on could not be started.
    #[error("cannot start the server's thread")]
    Thread(#[source] io::Error),
}

/// Why a rank did not come in. It is not in the session then.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum JoinError {
    /// The text is no endpoint.
    #[error(transparent)]
    Endpoint(#[from] EndpointError),
    /// An option is out of bounds.
    #[error(transparent)]
    Option(#[from] OptionError),
    /// The server cannot be connected to, and a retry cannot help. (Where it could, it was tried until the time was
    /// over.)
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// This rank cannot listen for the others.
    #[error("cannot listen for the other ranks")]
    Listen(#[source] BindError),
    /// It is not known where to listen for the others beside a server at this endpoint: say it in
    /// [`MeshOptions::listen`](super::MeshOptions::listen).
    #[error("where to listen beside {endpoint} has to be said")]
    Unlisted {
        /// The server's.
        endpoint: Endpoint,
    },
    /// The server has refused. A retry is sound where the reason may pass.
    #[error("the server has refused: {0}")]
    Refused(#[source] Refusal),
    /// The server speaks another version.
    #[error("the server speaks version {theirs}, this is version {ours}")]
    Version {
        /// The server's.
        theirs: u16,
        /// This build's.
        ours: u16,
    },
    /// What answers there is no server of a mesh.
    #[error("what answers at {endpoint} is no server of a mesh")]
    Foreign {
        /// Where it was.
        endpoint: Endpoint,
    },
    /// The server went away before the epoch began. A retry is sound.
    #[error("the server went away")]
    Lost,
    /// The server was not there, or not all ranks were, within the time. A retry is sound.
    #[error("{} within {after:?}", missing(.connect))]
    Timeout {
        /// [`MeshOptions::join_timeout`](super::MeshOptions::join_timeout).
        after: Duration,
        /// The last attempt to connect, if none worked.
        #[source]
        connect: Option<ConnectError>,
    },
    /// A thread that the connection to the server needs could not be started.
    #[error("cannot start the thread for the connection to the server")]
    Thread(#[source] io::Error),
    /// There is no tokio runtime in this context.
    #[error("join needs a tokio runtime: call it within one")]
    NoRuntime,
}

fn missing(connect: &Option<ConnectError>) -> &'static str {
    match connect {
        Some(_) => "no server answered",
        None => "not all ranks came",
    }
}

/// Why a server did not let a rank in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Refusal {
    /// Another one has the rank that this one wants.
    #[error("rank {rank} is taken")]
    RankTaken {
        /// The rank.
        rank: u32,
    },
    /// The wanted rank is not below the number of ranks.
    #[error("rank {rank} is not below the number of ranks, {size}")]
    RankOutOfRange {
        /// The rank.
        rank: u32,
        /// How many ranks there are to be.
        size: u32,
    },
    /// It expects another number of ranks than the others.
    #[error("{wanted} ranks are expected by this one, {expected} by the others")]
    SizeMismatch {
        /// By this one.
        wanted: u32,
        /// By the others.
        expected: u32,
    },
    /// The session has as many ranks as it may. Passes when one goes.
    #[error("there are {limit} ranks, as many as there may be")]
    Full {
        /// How many that is.
        limit: u32,
    },
    /// It listens by another scheme than the server, and the others would have to follow it there.
    #[error("it listens at an endpoint of another scheme than the server's")]
    OtherScheme,
    /// The server did not understand what the rank wants.
    #[error("the server did not understand the request")]
    Malformed,
    /// A reason that this version does not know.
    #[error("for a reason unknown to this version")]
    Other,
}

/// Why an operation between ranks did not end well.
///
/// After [`Truncated`](Self::Truncated), [`Announced`](Self::Announced), [`TooLong`](Self::TooLong),
/// [`NoSuchRank`](Self::NoSuchRank) and [`PeerLeft`](Self::PeerLeft) the epoch goes on; after [`PeerFailed`](Self::PeerFailed) and
/// [`EpochOver`](Self::EpochOver) the next one can; after the others the mesh is of no more use.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum MeshError {
    /// Ranks died, and the epoch with them: the same set for every operation of every survivor. Go on with
    /// [`Mesh::next_epoch`](super::Mesh::next_epoch).
    #[error("ranks {failed:?} failed")]
    PeerFailed {
        /// Their ranks in the epoch, in ascending order.
        failed: Vec<usize>,
    },
    /// The rank has left in good order and sends or takes no more.
    #[error("rank {rank} has left")]
    PeerLeft {
        /// The rank in the epoch.
        rank: usize,
    },
    /// The operation belongs to an epoch that is over.
    #[error("epoch {epoch} is over")]
    EpochOver {
        /// Which epoch.
        epoch: u32,
    },
    /// The message is longer than the buffer. It waits still: a receive with more room gets it.
    #[error("a message of {length} bytes does not fit into a buffer of {room}")]
    Truncated {
        /// Bytes of the message.
        length: usize,
        /// Bytes of the buffer.
        room: usize,
    },
    /// The next message comes another way, as its sender has [announced](super::Mesh::announce). With this its turn is
    /// over here, and another receive gets the one after it.
    #[error("message {number} of {length} bytes comes another way")]
    Announced {
        /// Its sender's number for it.
        number: u32,
        /// Its bytes.
        length: usize,
    },
    /// Nothing was sent, because the others would not take a message of this length.
    #[error("a message of {length} bytes is longer than the {limit} allowed")]
    TooLong {
        /// Bytes of the message.
        length: usize,
        /// [`MeshOptions::max_message`](super::MeshOptions::max_message).
        limit: usize,
    },
    /// The epoch has no such rank.
    #[error("there is no rank {rank} among {size}")]
    NoSuchRank {
        /// What was asked for.
        rank: usize,
        /// How many ranks the epoch has.
        size: usize,
    },
    /// The server is gone, so that nobody could say any more who lives.
    #[error("the server of the mesh is gone")]
    ServerLost,
    /// The others have given this rank up: it was silent for too long, or could not be reached.
    #[error("this rank was given up by the others")]
    Expelled,
}
