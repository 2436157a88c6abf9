//! Long messages from one rank of a mesh to all others at once, over a group session of the mesh's ranks.
//!
//! Who is alive, in which epoch, and whose turn a message has among those of its tag, is the mesh's to say; the group
//! session only carries bodies. So nothing here waits for a rank that the mesh has given up, and what the group session
//! cannot bring goes through the mesh after all.
//!
//! # One multicast
//! 1. The sender [announces](flexbond_session::mesh::Mesh::announce) the message to each of the others, under a number.
//! 2. Each says that it is ready once somebody receives it there, so that nobody has to keep what it has not asked for.
//! 3. The sender streams the message into the group session.
//! 4. Each says whether it has it all. To whom something has happened it goes through the mesh.
//!
//! # Setting out
//! In every epoch rank 0 holds a session of its own, to which it invites the others through the mesh. Only if all have
//! come, know each other and are known to hear what is sent to the group's address, there is multicast in that epoch.

mod delivery;
mod fetch;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
mod intake;
mod lane;
mod meeting;
mod notice;
mod options;
mod reader;
mod station;

pub(crate) use delivery::one_by_one;
pub use options::MulticastOptions;
pub(crate) use station::Station;
