//! What the message server keeps in a file: everything that it has acknowledged and that is not settled.
//!
//! The file is a database of [redb](https://docs.rs/redb). A commit is one transaction: it is in the file as a whole when it
//! returns, or not at all, whatever happens to the process or the machine. Rows are ordered so that what belongs to one
//! message stands together, and is read and removed as a range.
//!
//! | table | key | value |
//! | --- | --- | --- |
//! | `meta` | `format` | the version of all this, 2 |
//! | `jobs` | job | members, and who has aborted it |
//! | `pairs` | job, sender, receiver | what the one has told the other of itself |
//! | `flows` | flow | job, sender, receiver, channel, numbering |
//! | `nexts` | flow | which offset comes next |
//! | `job_flows` | job, flow | nothing: which flows go with a job |
//! | `messages` | flow, offset | header, and the bytes of a whole message where they are few |
//! | `pieces` | flow, offset, place | lengths of the buffers, and their bytes where they are few |
//! | `contents` | flow, offset, place, number | the bytes of pieces, in chunks |
//!
//! Files of version 1 are taken over: there, no message stands whole in its row.
//!
//! Chunks are a little smaller than a power of two, because pages are powers of two.

mod apply;
mod error;
mod failure;
mod file;
mod read;
mod rows;
#[cfg(test)]
mod tests;

pub use self::error::StoreError;
pub(super) use self::file::FileStore;
