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
//!
//! # The size of the file
//! What was settled is used again, also after a crash: killed 60 times while 2 MB were kept and changed, the file stayed at
//! 8 MB. It grows by doubling, up to about three times the most that was ever in it, and gets smaller by itself only as far
//! as nothing in use lies at its end. So a server looks when it starts, and when the store had nothing to do for 10 s: a
//! file of more than 64 MiB and four times its content, of which there are at most 32 MiB, is packed (0.1 s for one of
//! 300 MB with little in it).
//!
//! # Opening
//! After an orderly end, and with more than 512 MiB of content, the file is opened at once; with less, after a crash, it is
//! looked through: 0.15 s for 120 MB, 0.5 s for 500. Then all headers are read: 0.2 s for a million of short messages.

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
