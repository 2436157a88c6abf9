//! Collective communication: who talks to whom, in which round.
//!
//! A collective operation is one that all members of a group call together: wait for each other (barrier), give
//! everybody one member's value (broadcast), combine everybody's values (reduce, allreduce), collect them
//! (allgather). This release holds the *schedules* of the classic algorithms, as plain arithmetic: which member
//! sends what to which other in which round. There is no I/O here, so a schedule works over any means of sending
//! messages. Communicators that run schedules over groups of peers are the subject of later releases.
//!
//! A [`Rank`] is one member of a group of a known [`Size`]; every schedule is made for one rank and says what that
//! rank does.
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
//! # Layers
//! Today this crate stands alone. Its place in flexbond is above `flexbond-session`, whose sockets and groups will
//! carry the messages, and below the facade `flexbond`.
//!
//! # Features
//! None.

mod rank;
pub mod schedule;

pub use rank::{Rank, RankError, Size};
