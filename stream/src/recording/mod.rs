//! Recordings of messages, whole and in order: written as they arrive, readable after a crash, played back.
//!
//! - A [`Recorder`] takes messages from where they are received and has a thread write them; a [`Writer`] does without
//!   the thread; an [`Encoder`] does without a file.
//! - A [`Reader`] reads one file from any place on; [`Info`] says what is in it.
//! - A [`FolderWriter`] and a [`Folder`] write and read the format of mflow's `m_dump`: a file per part.
//! - A [`Recording`] is any of these, a [`Playlist`] the part of it that is played, a [`Pacer`] the time at which, and a
//!   [`Player`] plays it into a [`Stream`](crate::Stream).
//! - [`export_npy`] writes the arrays of a recording to a file of numpy, `export_hdf5` (feature `hdf5`) to one of HDF5: those
//!   that a [`Selection`] has.
//!
//! ```
//! use flexbond_stream::recording::{Info, QueueOptions, Reader, Recorder, WriteOptions};
//! use flexbond_transport::Message;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let folder = tempfile::tempdir()?;
//! let path = folder.path().join("run.fbr");
//! let recorder = Recorder::create(&path, WriteOptions::new(), QueueOptions::new())?;
//! recorder.record(Message::from([r#"{"htype":"raw-1.0"}"#, "payload"])).await?;
//! assert_eq!(recorder.close().await?.messages, 1);
//!
//! assert!(Info::read(&path)?.closed_cleanly);
//! for recorded in Reader::open(&path)? {
//!     assert_eq!(&recorded?.message[1], b"payload");
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # What can be relied on
//! - A message is in a recording whole, with every part, or not at all.
//! - What was handed to the operating system is never touched again. When the program dies, what is lost is at most what
//!   was still queued or gathered (some MiB, and only while more comes); when the machine does, what [`SyncPolicy`] allows.
//! - A file is the same whichever way it was written ([`DirectWrites`]), and can be read meanwhile.
//! - A file that was not closed is read up to its last whole message ([`Reader::recovered`]), and is only changed when it
//!   is appended to and cutting was allowed ([`TornTail`]).
//! - When the disk is full the recording ends with [`WriteError::Stopped`], which says how many messages are kept; half
//!   a message is cut off, so the file is whole.
//! - A file has one writer at a time, where the file system has locks: another one is refused ([`WriteError::Busy`]).
//! - Every byte is under a checksum. A damaged message is an error with its place, and those after it are read.
//! - A rotated recording is read as one; a file of it that is gone is an error with the numbers of its messages, and the
//!   files after it are read.
//! - Nothing is allocated for a length that the file contradicts.
//!
//! # Format
//! A file is a preamble and then blocks, each a head and its contents. All numbers are little-endian; times are
//! nanoseconds since the Unix epoch, signed; checksums are CRC-32C (Castagnoli). Nothing is ever overwritten.
//!
//! | preamble | bytes | what |
//! | ---: | ---: | --- |
//! | 0 | 8 | `89 46 42 52 45 43 0d 0a` (`FBREC`) |
//! | 8 | 2 | version, 1 |
//! | 10 | 1 | compression asked for: 0 none, 1 lz4, 2 zstd |
//! | 11 | 1 | zero |
//! | 12 | 4 | number of the file, of a rotated recording |
//! | 16 | 8 | when it was made |
//! | 24 | 8 | number of the first message |
//! | 32 | 16 | random identity of the recording |
//! | 48 | 12 | zero |
//! | 60 | 4 | checksum of the 60 bytes before |
//!
//! | head | bytes | what |
//! | ---: | ---: | --- |
//! | 0 | 4 | `f5 46 42 72` |
//! | 4 | 1 | kind: 1 message, 2 index, 3 footer |
//! | 5 | 1 | compression of the contents |
//! | 6 | 2 | zero |
//! | 8 | 4 | parts of the message; entries of the index or footer |
//! | 12 | 4 | checksum of the contents as stored |
//! | 16 | 8 | bytes of the contents as stored |
//! | 24 | 8 | payload bytes (of an index: of all its messages; of a footer: of all messages) |
//! | 32 | 8 | number of the message (of an index or footer: of its first one) |
//! | 40 | 8 | time of arrival (likewise) |
//! | 48 | 8 | where the last index before this block is, zero if none |
//! | 56 | 4 | salt: the first 4 bytes of the identity, exclusive-or the number of the file |
//! | 60 | 4 | checksum of the 60 bytes before |
//!
//! | contents of | what |
//! | --- | --- |
//! | message | a length of 4 bytes per part, then the parts; compressed as one where the head says so (LZ4 block, or Zstandard frame) |
//! | index | per message since the last index: number, time, where its head is; 8 bytes each |
//! | footer | messages, payload bytes, first number, last number, next number, first time, last time; per index: where it is, where its first message is, first number, first time, messages, payload bytes; where the footer's head is; `FBRECend`; 8 bytes each |
//!
//! An index follows after 4096 messages or 64 MiB, a footer when the recording is closed; after it the recording may go
//! on with further blocks. A reader begins with the last 16 bytes. Where they lead to no footer, it looks backwards for
//! the last head that is whole, follows the links from index to index, and reads what comes after the last one. Where a
//! block is damaged it goes on with the next head whose checksum and salt are right.

mod aligned;
mod batch;
mod checksum;
mod chooser;
mod compression;
mod descriptor;
mod direct_file;
mod encoder;
mod export;
mod file_name;
mod file_set;
mod file_writer;
mod folder;
mod head;
mod index;
mod info;
mod lane;
mod playback;
mod queue;
mod reader;
mod recorded;
mod recorder;
mod search;
mod storage;
mod survey;
#[cfg(test)]
mod tests;
mod timestamp;
mod writer;

pub use batch::Batch;
pub use chooser::DirectWrites;
pub use compression::{Compression, UnsupportedCompression};
pub use encoder::{EncodeError, Encoder};
pub use export::{ExportError, Exported, NpyWriter, Selection, export_npy};
#[cfg(feature = "hdf5")]
pub use export::{Hdf5Writer, export_hdf5};
pub use file_name::all_numbered as numbered_files;
pub use folder::{Folder, FolderError, FolderExtent, FolderReport, FolderWriteError, FolderWriter, Missing};
pub use info::Info;
pub use playback::{
    Control, Pace, Pacer, PlayError, Played, Player, Playlist, Range, Recording, Repeat, SourceError,
};
pub use reader::{ReadError, Reader};
pub use recorded::Recorded;
pub use recorder::{Overflow, QueueOptions, RecordError, Recorder, RecorderStats};
pub use storage::ReadAt;
pub use survey::{Damage, OpenError, Recovered};
pub use timestamp::{ArrivalClock, Timestamp};
pub use writer::{Rotation, Summary, SyncPolicy, TornTail, WriteError, WriteOptions, Writer};
