//! Collective communication as in MPI: what all members of a group call together.
//!
//! A [`Communicator`] runs over any [`Fabric`], tagged messages between ranks: [`MeshFabric`] connects processes over tcp
//! or ipc, [`LocalFabric`] is one in memory, for tests and for threads of one process. Every operation is a future, several may be in flight at once, slices of plain
//! elements travel without a copy, and any value that serde knows travels too.
//!
#![cfg_attr(feature = "communicator", doc = "```")]
#![cfg_attr(not(feature = "communicator"), doc = "```text")]
//! use flexbond_collectives::{CollectiveError, Communicator, LocalFabric, Max, Sum};
//!
//! async fn work(fabric: LocalFabric) -> Result<(), CollectiveError> {
//!     let communicator = Communicator::new(fabric).await?;
//!     let rank = communicator.rank();
//!
//!     // Everybody's vectors, added up, at everybody.
//!     let mut sums = [rank as f64, 1.0];
//!     communicator.allreduce(&mut sums, Sum).await?;
//!     assert_eq!(sums, [6.0, 4.0]);
//!
//!     // Any type, from one to all.
//!     let name = (rank == 2).then(|| "from rank 2".to_owned());
//!     assert_eq!(communicator.broadcast_value(2, name).await?, "from rank 2");
//!
//!     // The even ranks and the odd ones, each for themselves.
//!     let half = communicator.split(Some(rank as u32 % 2), 0).await?.expect("every rank has a color");
//!     let mut highest = [rank as u64];
//!     half.allreduce(&mut highest, Max).await?;
//!     assert_eq!(highest[0], 2 + rank as u64 % 2);
//!
//!     communicator.barrier().await
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let ranks = LocalFabric::new(4).into_iter().map(|fabric| tokio::spawn(work(fabric)));
//! for rank in ranks.collect::<Vec<_>>() {
//!     rank.await??;
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # Operations
//! | | slices of [`Element`]s | values |
//! | --- | --- | --- |
//! | one to all | `broadcast`, `broadcast_sink`/`broadcast_stream` (in chunks) | `broadcast_value` |
//! | all to one | `gather`, `gatherv`, `reduce` | `gather_value`, `reduce_value` |
//! | parts from one | `scatter`, `scatterv` | `scatter_value` |
//! | all to all | `allgather`, `allgatherv`, `alltoall`, `alltoallv` | `allgather_value`, `alltoall_value` |
//! | combined | `allreduce`, `reduce_scatter`, `scan`, `exscan` | `allreduce_value` |
//! | in step | `barrier`, `agree` | |
//! | groups | `split`, `duplicate`, `next_epoch` | |
//! | two ranks | `send`, `recv`, `swap` | `send_value`, `recv_value`, `swap_value` |
//!
//! All are methods of [`Communicator`], whose docs say how operations are told apart, what happens when ranks disagree,
//! when one fails, and when a future is dropped. A [`Tuning`] says which algorithm serves which size.
//!
//! [`Launch`] tells a process which rank it is, from the environment that `torchrun`, `mpirun` and `srun` set. The
//! [`schedule`]s of the algorithms, plain arithmetic without I/O, can be used on their own:
//!
//! ```
//! use flexbond_collectives::Size;
//! use flexbond_collectives::schedule::{Barrier, Tree};
//!
//! let size = Size::new(5)?;
//!
//! // Rank 1 in a barrier of five: three rounds, one message each way in every round.
//! let rounds: Vec<_> = Barrier::new(size.rank(1)?)
//!     .map(|round| (round.send_to.index(), round.recv_from.index()))
//!     .collect();
//! assert_eq!(rounds, [(2, 0), (3, 4), (0, 2)]);
//!
//! // Rank 2 in a broadcast from rank 0: it hears from its parent and passes on to its children.
//! let tree = Tree::new(size.rank(2)?, size.rank(0)?)?;
//! assert_eq!(tree.parent(), Some(size.rank(0)?));
//! assert_eq!(tree.children().collect::<Vec<_>>(), [size.rank(3)?]);
//! # Ok::<(), flexbond_collectives::RankError>(())
//! ```
//!
//! # Multicast
//! [`MeshFabric::with_multicast`](crate::MeshFabric) has one rank's long messages for all others sent once, to a multicast
//! address, where that reaches everybody; programs that [`Launch`] tells so do that by themselves. All promises of
//! [`Fabric`](crate::Fabric) stay. It pays where ranks are on several machines, and more the more there are;
//! [`Tuning`](crate::Tuning) says from which size on.
//!
//! # Federation
//! With the feature `federation`, the module `federation` has channels by name between the parties of a job that spans
//! several organizations.
//!
//! # Layers
//! Above `flexbond-session`, whose connections between ranks carry the messages, and below the facade `flexbond`. The
//! operations know of the layer below what [`Fabric`] says, and nothing else.
//!
//! # Features
//! | feature | default | what it adds |
//! | --- | --- | --- |
//! | `communicator` | yes | `Communicator`, `Fabric`, `LocalFabric` and what belongs to them |
//! | `mesh` | yes | `MeshFabric`: ranks of several processes, over the endpoints of the features that follow |
//! | `multicast` | yes | `MeshFabric::with_multicast`: long messages for all over reliable UDP multicast |
//! | `federation` | no | `federation`: channels by name between the parties of a federated job |
//! | `inproc`, `ipc`, `tcp` | yes | endpoints `inproc://name`, `ipc:///path`, `tcp://host:port` |

#[cfg(feature = "communicator")]
mod call;
#[cfg(feature = "communicator")]
mod communicator;
#[cfg(feature = "communicator")]
mod element;
#[cfg(feature = "communicator")]
mod error;
#[cfg(feature = "communicator")]
mod fabric;
#[cfg(feature = "federation")]
pub mod federation;
mod launch;
#[cfg(feature = "communicator")]
mod local;
#[cfg(feature = "mesh")]
mod mesh;
#[cfg(feature = "multicast")]
mod multicast;
#[cfg(feature = "communicator")]
mod number;
mod rank;
#[cfg(feature = "communicator")]
mod reduction;
pub mod schedule;
#[cfg(feature = "communicator")]
mod tuning;

#[cfg(feature = "communicator")]
pub use call::{Call, Operation};
#[cfg(feature = "communicator")]
pub use communicator::{Agreement, BroadcastSink, BroadcastStream, Communicator};
#[cfg(feature = "communicator")]
pub use element::{Element, ElementKind};
#[cfg(feature = "communicator")]
pub use error::CollectiveError;
#[cfg(feature = "communicator")]
pub use fabric::{Fabric, FabricError};
pub use launch::{Launch, LaunchError, Launcher};
#[cfg(feature = "communicator")]
pub use local::{LocalFabric, LocalOptions};
#[cfg(feature = "mesh")]
pub use mesh::{LaunchFailure, MeshFabric};
#[cfg(feature = "multicast")]
pub use multicast::MulticastOptions;
#[cfg(all(any(test, fuzzing), feature = "multicast"))]
#[doc(hidden)]
pub use multicast::fuzz;
#[cfg(feature = "communicator")]
pub use number::{Bits, Number};
pub use rank::{Rank, RankError, Size};
#[cfg(feature = "communicator")]
pub use reduction::{
    And, Custom, FixedTree, Max, MaxLoc, Min, MinLoc, Or, Prod, Reduction, ReductionKind, Sum, Xor,
};
#[cfg(feature = "communicator")]
pub use tuning::{
    AllgatherAlgorithm, AllreduceAlgorithm, AlltoallAlgorithm, BarrierAlgorithm, BroadcastAlgorithm,
    ReduceAlgorithm, ReduceScatterAlgorithm, RootedAlgorithm, Table, Tuning,
};
