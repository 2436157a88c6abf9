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
#[cfg(feature = "multicast")]
use crate::multicast::{MulticastOptions, Station, one_by_one};

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
    mesh: Arc<Mesh>,
    server: Option<MeshServer>,
    #[cfg(feature = "multicast")]
    place: Endpoint,
    #[cfg(feature = "multicast")]
    station: Option<Station>,
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
        let endpoint = endpoint.try_into().map_err(Into::into)?;
        Self::enter(endpoint, options, None).await
    }

    async fn enter(
        endpoint: Endpoint,
        options: MeshOptions,
        server: Option<MeshServer>,
    ) -> Result<Self, JoinError> {
        Ok(MeshFabric {
            mesh: Arc::new(Mesh::join(&endpoint, options).await?),
            server,
            #[cfg(feature = "multicast")]
            place: endpoint,
            #[cfg(feature = "multicast")]
            station: None,
        })
    }

    /// Joins as a launcher has told this process; rank 0 holds the server. Rank and size of the options are those of the
    /// launch, and so is [multicast](Launch::multicast).
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
        let endpoint = endpoint.parse().map_err(JoinError::from)?;
        let fabric = Self::enter(endpoint, options, server).await?;
        let Some(group) = launch.multicast else {
            return Ok(fabric);
        };
        #[cfg(feature = "multicast")]
        let fabric = {
            let mut options = MulticastOptions::new(group);
            options.interface = launch.interface;
            fabric.with_multicast(options).await
        };
        #[cfg(not(feature = "multicast"))]
        tracing::warn!(%group, "this program was built without multicast");
        Ok(fabric)
    }

    /// Has long messages for all others [multicast](Fabric::multicast), in this epoch and in those after it: every rank
    /// calls this. Where multicast does not reach everybody ([`MulticastOptions::patience`]), nothing else changes, and
    /// [`multicast_refusal`](Self::multicast_refusal) and a warning of the `tracing` crate say why.
    ///
    /// In each epoch rank 0 holds a [group session](flexbond_session::group) of its own at the group's address. As with
    /// the mesh, nobody is asked for a key: use it where the network is trusted.
    ///
    /// Tags from `u64::MAX << 34` on are the fabric's own then; no [`Communicator`] uses them.
    ///
    /// ```
    /// use flexbond_collectives::{Communicator, MeshFabric, MulticastOptions};
    /// use flexbond_session::mesh::{MeshOptions, MeshServer};
    ///
    /// # #[cfg(feature = "tcp")]
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let server = MeshServer::bind("tcp://127.0.0.1:0", MeshOptions::new().size(3)).await?;
    /// let rank = async |rank| {
    ///     let fabric = MeshFabric::join(server.endpoint(), MeshOptions::new().rank(rank)).await?;
    ///     let options = MulticastOptions::new("239.255.77.1:20077".parse()?);
    ///     let communicator = Communicator::new(fabric.with_multicast(options).await).await?;
    ///     let mut data = vec![rank as u8; 5 << 20];
    ///     communicator.broadcast(1, &mut data).await?;
    ///     assert!(data.iter().all(|byte| *byte == 1));
    ///     communicator.leave().await;
    ///     Ok::<_, Box<dyn std::error::Error>>(())
    /// };
    /// tokio::try_join!(rank(0), rank(1), rank(2))?;
    /// # Ok(())
    /// # }
    /// # #[cfg(not(feature = "tcp"))]
    /// # fn main() {}
    /// ```
    ///
    /// # Cancel safety
    /// Dropping the future is a death, as dropping the fabric is.
    #[cfg(feature = "multicast")]
    #[must_use]
    pub async fn with_multicast(mut self, options: MulticastOptions) -> Self {
        let station = Station::new(Arc::clone(&self.mesh), self.place.clone(), options);
        station.settle().await;
        self.station = Some(station);
        self
    }

    /// Why the present epoch has no multicast, though it was to have it.
    #[cfg(feature = "multicast")]
    #[must_use]
    pub fn multicast_refusal(&self) -> Option<String> {
        self.station.as_ref()?.refusal()
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
        self.depart().await;
        let MeshFabric { mesh, server, .. } = self;
        drop(mesh);
        if let Some(server) = server {
            server.finish().await;
        }
    }

    async fn depart(&self) {
        #[cfg(feature = "multicast")]
        if let Some(station) = &self.station {
            station.leave().await;
        }
        self.mesh.depart().await;
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
            Err(fabric) => fabric.depart().await,
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
        #[cfg(feature = "multicast")]
        if let Some(station) = &self.station {
            return station.recv(from, tag, into).await.map_err(fabric_error);
        }
        self.mesh.recv(from, tag, into).await.map_err(fabric_error)
    }

    async fn recv_bytes(&self, from: usize, tag: u64) -> Result<Bytes, FabricError> {
        #[cfg(feature = "multicast")]
        if let Some(station) = &self.station {
            return station.recv_bytes(from, tag).await.map_err(fabric_error);
        }
        self.mesh.recv_bytes(from, tag).await.map_err(fabric_error)
    }

    async fn next_epoch(&self) -> Result<(), FabricError> {
        #[cfg(feature = "multicast")]
        if let Some(station) = &self.station {
            // Where it is not known yet, an earlier call was dropped after the epoch had begun.
            if station.is_settled() {
                self.mesh.next_epoch().await.map_err(fabric_error)?;
            }
            station.settle().await;
            return Ok(());
        }
        self.mesh.next_epoch().await.map_err(fabric_error)
    }

    #[cfg(feature = "multicast")]
    fn has_multicast(&self) -> bool {
        self.station.as_ref().is_some_and(Station::is_on)
    }

    #[cfg(feature = "multicast")]
    async fn multicast(&self, tag: u64, body: &[u8]) -> Result<(), FabricError> {
        match &self.station {
            Some(station) => station.multicast(tag, body).await.map_err(fabric_error),
            None => one_by_one(&self.mesh, tag, body).await.map_err(fabric_error),
        }
    }

    fn post(&self, to: usize, tag: u64, notice: &[u8]) {
        self.mesh.post(to, tag, notice);
    }

    async fn stalled(&self) {
        tokio::time::sleep(STALLED).await;
    }

    fn discard(&self, epoch: u64, tags: RangeInclusive<u64>) {
        let Ok(epoch) = u32::try_from(epoch) else {
            return;
        };
        #[cfg(feature = "multicast")]
        if let Some(station) = &self.station {
            return station.discard(epoch, &tags);
        }
        self.mesh.discard(epoch, tags);
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
