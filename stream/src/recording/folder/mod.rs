//! Recordings as a folder with a file per part, as mflow's `m_dump` writes them.
//!
//! A file is named `MESSAGE_PART.raw`, both numbers from zero, in decimal, `%06d_%03d`: more digits where they are
//! needed. The bytes of the file are those of the part. There is no time of arrival (that of the last change to part 0
//! takes its place) and no checksum. Whether the last parts of a message are missing only its header tells, where its
//! `htype` is one of those that are known: arrays, detectors, bsread.

mod lack;
mod listing;
mod name;
mod reader;
mod writer;

pub use listing::FolderExtent;
pub use reader::{Folder, FolderError, FolderReport, Missing};
pub use writer::{FolderWriteError, FolderWriter};
