//! Ranks of several processes, that meet at an endpoint.

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use flexbond_session::mesh::{JoinError, Mesh, MeshError, MeshOptions, MeshServer, ServeError};
use flexbond_transport::{Endpoint, EndpointError};
use thiserror::Error;

use crate::communicator::Communicator;
use crate::error::CollectiveError;
use crate::fabric::{Fabric, FabricError};
use crate::launch::{Launch, LaunchError};

/// How long an operation waits before its ranks ask each other whether they agree.
const STALLED: Duration = Duration::from_secs(1);

/// Ranks that meet at an endpoint and talk over connections of their own: a
/// [`Mesh`], and at rank 0 of a launched program its server, too.
///
/// ```
/// use flexbond_collectives::{Communicator, MeshFabric, Sum};
/// use flexbond_session::mesh::{MeshOptions, MeshServer};
///
/// # #[cfg(feature = "tcp")]
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let server = MeshServer::bind("tcp://127.0.0.1:0", MeshOptions::new().size(2)).await?;
/// let rank = async || {
///     // In a program of several processes, each joins the endpoint that it was told.
///     let fabric = MeshFabric::join(server.endpoint(), MeshOptions::new()).await?;
///     let communicator = Communicator::new(fabric).await?;
///     let mut sum = [communicator.rank() as u32 + 1; 3];
///     communicator.allreduce(&mut sum, Sum).await?;
///     communicator.leave().await;
///     Ok::<_, Box<dyn std::error::Error>>(sum)
/// };
/// assert_eq!(tokio::try_join!(rank(), rank())?, ([3; 3], [3; 3]));
/// # Ok(())
/// # }
/// # #[cfg(not(feature = "tcp"))]
/// # fn main() {}
/// ```
#[derive(Debug)]
pub struct MeshFabric {
    mesh: Mesh,
    server: Option<MeshServer>,
}

/// Why a launched program did not come to its communicator.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum LaunchFailure {
    /// The environment does not say which rank this is.
    #[error(transparent)]
    Environment(#[from] LaunchError),
    /// Rank 0 cannot hold the place where the ranks meet.
    #[error("cannot hold the place where the ranks meet")]
    Serve(#[from] ServeError),
    /// This rank did not come in.
    #[error("cannot join the other ranks")]
    Join(#[from] JoinError),
    /// The ranks did not come to a communicator.
    #[error(transparent)]
    Collective(#[from] CollectiveError),
}

impl MeshFabric {
    /// Joins the ranks whose server listens at `endpoint`, and waits for the first epoch.
    ///
    /// # Errors
    /// [`JoinError`]; this rank is not in then.
    ///
    /// # Cancel safety
    /// As [`Mesh::join`].
    pub async fn join<E>(endpoint: E, options: MeshOptions) -> Result<Self, JoinError>
    where
        E: TryInto<Endpoint, Error: Into<EndpointError>>,
    {
        Ok(MeshFabric {
            mesh: Mesh::join(endpoint, options).await?,
            server: None,
        })
    }

    /// Joins as a launcher has told this process; rank 0 holds the server. Rank and size of the options are those of the
    /// launch.
    ///
    /// # Errors
    /// [`LaunchFailure`]; this rank is not in then.
    ///
    /// # Cancel safety
    /// As [`Mesh::join`].
    pub async fn launch(launch: &Launch, options: MeshOptions) -> Result<Self, LaunchFailure> {
        let options = options.size(launch.size).rank(launch.rank);
        let server = match launch.rank {
            0 => Some(MeshServer::bind(launch.endpoint.as_str(), options.clone()).await?),
            _ => None,
        };
        let endpoint = server.as_ref().map(|server| server.endpoint().to_string());
        let endpoint = endpoint.unwrap_or_else(|| launch.endpoint.clone());
        Ok(MeshFabric {
            mesh: Mesh::join(endpoint.as_str(), options).await?,
            server,
        })
    }

    /// The mesh: names, counters, and messages of one's own.
    #[must_use]
    pub fn mesh(&self) -> &Mesh {
        &self.mesh
    }

    /// Leaves in good order; where this process holds the server, it waits for all others to do so, too.
    ///
    /// # Cancel safety
    /// As [`Mesh::leave`].
    pub async fn leave(self) {
        self.mesh.leave().await;
        if let Some(server) = self.server {
            server.finish().await;
        }
    }
}

impl Communicator<MeshFabric> {
    /// The communicator of all processes that a launcher has started (`flexbond launch`, `torchrun`, `mpirun`, `srun`):
    /// every one of them calls this once.
    ///
    /// # Errors
    /// [`LaunchFailure`].
    ///
    /// # Cancel safety
    /// As [`Mesh::join`].
    pub async fn from_env(options: MeshOptions) -> Result<Self, LaunchFailure> {
        let launch = Launch::from_env()?;
        let fabric = MeshFabric::launch(&launch, options).await?;
        Ok(Communicator::new(fabric).await?)
    }

    /// Leaves in good order: the others do not take this rank for dead. All communicators of the same fabric end with it,
    /// so drop them first.
    ///
    /// # Cancel safety
    /// As [`Mesh::leave`].
    pub async fn leave(self) {
        let fabric = Arc::clone(self.fabric());
        drop(self);
        match Arc::try_unwrap(fabric) {
            Ok(fabric) => fabric.leave().await,
            // Somebody has kept another communicator of it.
            Err(fabric) => fabric.mesh.depart().await,
        }
    }
}

impl Fabric for MeshFabric {
    fn rank(&self) -> usize {
        self.mesh.rank()
    }

    fn size(&self) -> usize {
        self.mesh.size()
    }

    fn epoch(&self) -> u64 {
        self.mesh.epoch().into()
    }

    async fn send(&self, to: usize, tag: u64, body: &[u8]) -> Result<(), FabricError> {
        self.mesh.send(to, tag, body).await.map_err(fabric_error)
    }

    async fn recv(&self, from: usize, tag: u64, into: &mut [u8]) -> Result<usize, FabricError> {
        self.mesh.recv(from, tag, into).await.map_err(fabric_error)
    }

    async fn recv_bytes(&self, from: usize, tag: u64) -> Result<Bytes, FabricError> {
        self.mesh.recv_bytes(from, tag).await.map_err(fabric_error)
    }

    async fn next_epoch(&self) -> Result<(), FabricError> {
        self.mesh.next_epoch().await.map_err(fabric_error)
    }

    async fn stalled(&self) {
        tokio::time::sleep(STALLED).await;
    }

    fn discard(&self, epoch: u64, tags: RangeInclusive<u64>) {
        if let Ok(epoch) = u32::try_from(epoch) {
            self.mesh.discard(epoch, tags);
        }
    }
}

fn fabric_error(error: MeshError) -> FabricError {
    match error {
        MeshError::PeerFailed { failed } => FabricError::PeerFailed { failed },
        MeshError::PeerLeft { rank } => FabricError::PeerLeft { rank },
        MeshError::EpochOver { .. } => FabricError::EpochEnded,
        MeshError::Truncated { length, room } => FabricError::Truncated {
            len: length,
            capacity: room,
        },
        MeshError::TooLong { length, limit } => FabricError::TooLong { len: length, limit },
        MeshError::ServerLost | MeshError::Expelled => FabricError::Closed,
        // Ranks are checked by who asks.
        error => FabricError::Io(std::io::Error::other(error)),
    }
}
