//! Schedules: what one member sends and receives in each round of a collective operation.
//!
//! Each is made for one [`Rank`](crate::Rank) and is an iterator or a few small answers; nothing is allocated. In a
//! round that both sends and receives, send without waiting for the other side to receive, else all may wait for
//! each other. Messages between two members must arrive in the order they were sent.
//!
//! | schedule | for | rounds | each member sends |
//! | --- | --- | --- | --- |
//! | [`Barrier`] | barrier | ⌈log₂ n⌉ | one empty message a round |
//! | [`Tree`] | broadcast, reduce | ⌈log₂ n⌉ | the whole value, to each child or to the parent |
//! | [`Doubling`] | allreduce of small values | ⌊log₂ n⌋, and two more when n is no power of two | the whole value each round |
//! | [`Halving`] | reduce-scatter and allreduce of middling values | ⌊log₂ n⌋ each way, and two more when n is no power of two | a half, a quarter, an eighth … |
//! | [`Ring`] | allgather, reduce-scatter, allreduce of large values | n − 1 | one block of n each round |
//!
//! Sources: D. Hensgen, R. Finkel and U. Manber, *Two algorithms for barrier synchronization* (1988), for the barrier;
//! R. Thakur, R. Rabenseifner and W. Gropp, *Optimization of collective communication operations in MPICH* (2005),
//! for the others.

mod barrier;
mod doubling;
mod halving;
mod ring;
mod tree;

pub use barrier::{Barrier, BarrierRound};
pub use doubling::{Doubling, DoublingStep};
pub use halving::{Fold, Halving, HalvingRound};
pub use ring::{Ring, RingStep};
pub use tree::Tree;
