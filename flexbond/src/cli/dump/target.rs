//! The recording that messages are written to: its options, and what is there already.

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, ValueEnum};

use crate::cli::failure::explain;
use crate::cli::{Failure, argument};
use crate::stream::recording::{
    Compression, DirectWrites, Overflow, QueueOptions, Recorder, Rotation, SyncPolicy, TornTail, WriteError,
    WriteOptions, numbered_files,
};

/// How a recording is written.
#[derive(Args)]
pub(super) struct Target {
    /// Write whole messages to this one file instead, checksummed and indexed; see `flexbond record info`
    #[arg(long, value_name = "FILE", conflicts_with = "folder")]
    pub(super) record: Option<PathBuf>,

    /// What messages of the file are compressed with where it pays
    #[arg(long, value_enum, default_value_t = Packing::None, requires = "record")]
    compression: Packing,

    /// Begin the next file (FILE becomes NAME.000000.EXTENSION, and so on) when one has so many bytes: 500M, 10G
    #[arg(long, value_name = "BYTES", value_parser = argument::size, requires = "record",
          conflicts_with_all = ["rotate_time", "append"])]
    rotate_size: Option<usize>,

    /// Begin the next file when one spans so long
    #[arg(long, value_name = "SECONDS", value_parser = argument::positive_seconds, requires = "record",
          conflicts_with = "append", allow_negative_numbers = true)]
    rotate_time: Option<Duration>,

    /// When the file is put on the disk, to survive a power failure: never, close, each (message), or at the latest
    /// after so many milliseconds. A crash of this program alone loses nothing that was written
    #[arg(long, value_name = "never|close|each|MILLISECONDS", value_parser = sync, default_value = "close",
          requires = "record")]
    sync: SyncPolicy,

    /// Write past the system's page cache (O_DIRECT): where that is faster just now, always, or never; a fast disk gains,
    /// a slow one needs the cache for bursts
    #[arg(long, value_enum, default_value_t = Direct::Auto, requires = "record")]
    direct: Direct,

    /// Go on with the file, or in the folder, if it is there
    #[arg(long)]
    append: bool,

    /// With --append: cut off half a message that a crash has left at the end of the file
    #[arg(long, requires = "append", requires = "record")]
    cut_tail: bool,

    /// Overwrite the file if it is there, and all numbered files of its name
    #[arg(long, requires = "record", conflicts_with = "append")]
    force: bool,

    /// Bytes that may wait for the disk
    #[arg(long, value_name = "BYTES", value_parser = argument::size, default_value = "256M", requires = "record")]
    buffer: usize,

    /// When so much waits: wait, which holds up a PUSH source and has a PUB source drop, or drop the new message
    #[arg(long, value_enum, default_value_t = Full::Wait, requires = "record")]
    overflow: Full,
}

#[derive(Clone, Copy, ValueEnum)]
enum Packing {
    None,
    Lz4,
    // Help names what this build has; whoever asks for it all the same is told how to get it.
    #[cfg_attr(not(feature = "recording-zstd"), value(hide = true))]
    Zstd,
}

#[derive(Clone, Copy, ValueEnum)]
enum Direct {
    Auto,
    Always,
    Never,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Full {
    Wait,
    Drop,
}

fn sync(text: &str) -> Result<SyncPolicy, String> {
    match text {
        "never" => Ok(SyncPolicy::Never),
        "close" => Ok(SyncPolicy::OnClose),
        "each" => Ok(SyncPolicy::EachMessage),
        _ => match text.parse() {
            Ok(milliseconds) if milliseconds > 0 => {
                Ok(SyncPolicy::Every(Duration::from_millis(milliseconds)))
            }
            _ => Err("write never, close, each, or a number of milliseconds".to_owned()),
        },
    }
}

impl Target {
    /// Whether receiving waits when too much waits for the disk.
    pub(super) fn waits(&self) -> bool {
        self.overflow == Full::Wait
    }

    pub(super) fn appends(&self) -> bool {
        self.append
    }

    /// Opens the recording at `path`.
    pub(super) fn open(&self, path: &Path) -> Result<Recorder, Failure> {
        let mut options = WriteOptions::new()
            .sync(self.sync)
            .direct(match self.direct {
                Direct::Auto => DirectWrites::Auto,
                Direct::Always => DirectWrites::Always,
                Direct::Never => DirectWrites::Never,
            })
            .compression(match self.compression {
                Packing::None => Compression::None,
                Packing::Lz4 => Compression::Lz4,
                Packing::Zstd => Compression::Zstd,
            });
        if !options.compression.is_supported() {
            return Err(Failure::usage("zstd compression is not part of this build")
                .hint("use --compression lz4, or build with --features recording-zstd"));
        }
        if let Some(bytes) = self.rotate_size {
            options = options.rotation(Rotation::Size(bytes as u64));
        }
        if let Some(time) = self.rotate_time {
            options = options.rotation(Rotation::Time(time));
        }
        let queue = QueueOptions::new()
            .bytes(self.buffer)
            .overflow(match self.overflow {
                Full::Wait => Overflow::Wait,
                Full::Drop => Overflow::DropNewest,
            });
        if self.append && path.exists() {
            let torn = match self.cut_tail {
                true => TornTail::Truncate,
                false => TornTail::Refuse,
            };
            return Recorder::append(path, options, torn, queue).map_err(|error| failure(&error));
        }
        if let Some(folder) = path.parent()
            && !folder.as_os_str().is_empty()
            && !folder.exists()
        {
            return Err(
                Failure::new(format!("there is no folder {}", folder.display())).hint("create it first")
            );
        }
        self.make_room(path, options.rotation.is_some())?;
        Recorder::create(path, options, queue).map_err(|error| failure(&error))
    }

    /// Nothing that is there is overwritten unless it was asked for. All files of a rotated recording are looked for before
    /// it begins: in the middle of it would be too late. A file and numbered files of one name are not made to stand side by side: the file
    /// would be replayed in place of them.
    fn make_room(&self, path: &Path, rotated: bool) -> Result<(), Failure> {
        let numbered = numbered_files(path).unwrap_or_default();
        let there: Vec<PathBuf> = path
            .exists()
            .then(|| path.to_owned())
            .into_iter()
            .chain(numbered)
            .collect();
        let Some(first) = there.first() else {
            return Ok(());
        };
        // A device, say: it would be gone for everybody.
        if let Some(other) = there.iter().find(|path| !is_file_or_link(path)) {
            return Err(Failure::new(format!("{} is no regular file", other.display()))
                .hint("a recording has a file of its own; choose another name"));
        }
        if !self.force {
            let hint = match rotated || first != path {
                true => "--force overwrites all files of that name; or choose another name",
                false => "--append goes on with a file, --force overwrites; or choose another name",
            };
            return Err(Failure::new(format!("{} exists", first.display())).hint(hint));
        }
        // Whoever records to it would go on into a file that nobody can find any more.
        if let Some(file) = there.iter().find(|file| is_recorded_to(file)) {
            return Err(failure(&WriteError::Busy { path: file.clone() }));
        }
        for file in &there {
            fs::remove_file(file)
                .map_err(|error| Failure::new(format!("cannot remove {}: {error}", file.display())))?;
        }
        Ok(())
    }

    /// What happens when the disk cannot keep up.
    pub(super) fn policy(&self) -> String {
        let buffer = crate::cli::quantity::bytes(self.buffer as f64);
        match self.overflow {
            Full::Wait => format!("when {buffer} wait for the disk, the source waits"),
            Full::Drop => format!("when {buffer} wait for the disk, new messages are dropped and counted"),
        }
    }
}

/// Whether to remove it harms nothing but itself.
fn is_file_or_link(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|there| there.is_file() || there.is_symlink())
}

/// A writer holds a lock.
fn is_recorded_to(path: &Path) -> bool {
    File::open(path).is_ok_and(|file| matches!(file.try_lock(), Err(TryLockError::WouldBlock)))
}

fn failure(error: &WriteError) -> Failure {
    match error {
        WriteError::Torn { path, recovered } => Failure::new(format!(
            "{} ends with {} bytes of a message that was never finished, from offset {}",
            path.display(),
            recovered.bytes_lost,
            recovered.end
        ))
        .hint("--cut-tail cuts them off and keeps all whole messages"),
        _ => Failure::new(explain(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sync_policies_have_words_and_numbers() {
        assert_eq!(sync("each"), Ok(SyncPolicy::EachMessage));
        assert_eq!(sync("250"), Ok(SyncPolicy::Every(Duration::from_millis(250))));
        for bad in ["", "0", "-1", "often"] {
            assert!(sync(bad).is_err(), "{bad}");
        }
    }
}
