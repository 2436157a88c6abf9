//! `flexbond record export`: the arrays of a recording as a file of numpy or HDF5.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use clap::Args;
use serde_json::json;
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::destination::Destination;
use crate::cli::failure::explain;
use crate::cli::gauge::say;
use crate::cli::interrupt::Interrupt;
use crate::cli::printable::printable;
use crate::cli::span::{self, Span};
use crate::cli::{self, Exit, Failure, quantity};
use crate::stream::recording::{
    ExportError, Exported, Playlist, Recorded, Repeat, Selection, SourceError, export_npy,
};

/// Export the arrays of a recording to a file of numpy (.npy) or HDF5 (.h5, .hdf5, .nxs).
#[derive(Args)]
#[command(after_long_help = HELP)]
pub(super) struct Export {
    /// A recording file, the name of a rotated recording, or a folder of m_dump
    #[arg(value_name = "FILE")]
    file: PathBuf,

    /// Where to: its ending says the format
    #[arg(value_name = "OUT")]
    out: PathBuf,

    /// The channel, of bsread messages and images of stream V2. Default: the first channel of the first image
    #[arg(long, value_name = "NAME")]
    channel: Option<String>,

    #[command(flatten)]
    span: Span,

    /// Replace OUT if it is there, once all is exported
    #[arg(long)]
    force: bool,

    /// The result as one JSON object
    #[arg(long)]
    json: bool,
}

const HELP: &str = "What is exported: arrays of array-1.0, images of Dectris detectors (both
streams; of stream V2 one channel, the first if none is named), and with
--channel the values of one bsread channel, if they are no texts. All must have
one type and shape; --from and --to take a part where they change.

The arrays become one array with one more dimension, in front. In HDF5 it is
/entry/data/data, beside the numbers and times of the messages; images that
are compressed with bitshuffle and LZ4 are stored as they came, as chunks of
the filter 32008 (plugin hdf5plugin), without being unpacked. What a detector
said of itself is in /entry/instrument/detector: settings, flat field, mask.

OUT is written beside its place, under a name that begins with .flexbond-export,
and renamed in the end. An export that was interrupted leaves no file. One that
failed leaves the arrays before the error, complete; with --force it leaves the
file that was there as it was.

Exit codes:
  0    done
  1    failed
  2    usage
  130  interrupted by Ctrl-C

Examples:
  flexbond record export run7.fbr run7.npy
  flexbond record export run7.fbr first.h5 --to 1000
  flexbond record export run7.fbr current.npy --channel SINEG01-DICT215:B1_CHARGE";

/// How long an export that is interrupted may take to come to its end.
const PATIENCE: Duration = Duration::from_secs(2);

/// Writes the arrays of messages to a file.
type Write = fn(Messages, &Path, &Selection) -> Result<Exported, ExportError>;

/// The messages that are exported, until that is interrupted.
struct Messages {
    playlist: Playlist,
    interrupted: Arc<AtomicBool>,
}

impl Iterator for Messages {
    type Item = Result<Recorded, SourceError>;

    fn next(&mut self) -> Option<Self::Item> {
        match self.interrupted.load(Ordering::Relaxed) {
            true => None,
            false => self.playlist.next(),
        }
    }
}

impl Export {
    pub(super) fn run(&self) -> Result<Exit, Failure> {
        let write = format(&self.out)?;
        let mut recording = span::open(&self.file)?;
        let range = self.span.range(&mut recording)?;
        if same_file(&self.file, &self.out) {
            return Err(Failure::usage(format!(
                "{} is the recording itself",
                self.out.display()
            )));
        }
        let destination = Destination::new(&self.out, self.force)?;
        let playlist = Playlist::new(recording, range, Repeat::ONCE);
        cli::with_connections(self.export(playlist, write, destination))
    }

    /// A thread exports, so that a signal is heard.
    async fn export(
        &self,
        playlist: Playlist,
        write: Write,
        destination: Destination,
    ) -> Result<Exit, Failure> {
        let mut interrupt = Interrupt::listen()
            .map_err(|error| Failure::new(format!("cannot listen for signals: {error}")))?;
        let interrupted = Arc::new(AtomicBool::new(false));
        let (done, mut exported) = oneshot::channel();
        thread::Builder::new()
            .name("flexbond-export".to_owned())
            .spawn({
                let mut selection = Selection::new();
                if let Some(channel) = &self.channel {
                    selection = selection.channel(channel);
                }
                let path = destination.beside().to_owned();
                let interrupted = interrupted.clone();
                move || {
                    let messages = Messages {
                        playlist,
                        interrupted,
                    };
                    // Nobody waits for one that is interrupted and takes too long.
                    let _ = done.send(write(messages, &path, &selection));
                }
            })
            .map_err(|error| Failure::new(format!("cannot start a thread: {error}")))?;
        let exported = tokio::select! {
            exported = &mut exported => exported,
            number = interrupt.wait() => {
                interrupted.store(true, Ordering::Relaxed);
                // What it still writes is removed with the destination.
                let _ = timeout(PATIENCE, exported).await;
                return Ok(Exit::Signal(number));
            }
        };
        match exported {
            Ok(Ok(exported)) => {
                destination.put()?;
                self.tell(&exported);
                Ok(Exit::Done)
            }
            Ok(Err(error)) => Err(self.failed(&error, destination)),
            // It said so itself.
            Err(_) => Err(Failure::new("the thread that exports has failed")),
        }
    }

    /// Keeps what came before the error, unless there was a file before.
    fn failed(&self, error: &ExportError, destination: Destination) -> Failure {
        let out = self.out.display();
        // The file was written under another name.
        let mut text = match error {
            ExportError::Io { source, .. } => format!("{out} cannot be written: {source}"),
            #[cfg(feature = "hdf5")]
            ExportError::Hdf5 { reason, .. } => format!("{out} cannot be written: {reason}"),
            error => explain(error),
        };
        if destination.replaces() {
            text = format!("{text}; {out} is as it was");
        } else if destination.beside().exists()
            && let Err(failure) = destination.put()
        {
            return failure;
        }
        let failure = Failure::new(text);
        match error {
            ExportError::Layout { number, .. } => failure.hint(format!(
                "--to {number} ends before it, --from {number} begins with it"
            )),
            ExportError::Unnamed { .. } => failure.hint("--channel NAME names one"),
            ExportError::Text { .. } => failure
                .hint("m_replay sends the recording, and m_dump --json shows the texts of what it receives"),
            ExportError::Empty if self.channel.is_some() => {
                failure.hint("the channel is there, but has no value that can be read in any message")
            }
            ExportError::Empty => failure.hint(
                "arrays are those of array-1.0 and of detector images; of bsread one is named with --channel",
            ),
            _ => failure,
        }
    }

    fn tell(&self, exported: &Exported) {
        if self.json {
            say(&json!({
                "arrays": exported.arrays,
                "as_they_came": exported.as_they_came,
                "empty": exported.empty,
                "other": exported.other,
                "unreadable": exported.unreadable,
                "channel": exported.channel,
                "other_channels": exported.other_channels,
            })
            .to_string());
            return;
        }
        say(&format!(
            "{} in {}",
            quantity::several(exported.arrays, "array"),
            self.out.display()
        ));
        if let Some(channel) = &exported.channel {
            let others = match (&self.channel, &exported.other_channels[..]) {
                // Who has chosen one knows of others.
                (Some(_), _) | (None, []) => String::new(),
                (None, others) => format!(" (not: {}; --channel chooses)", others.join(", ")),
            };
            say(&printable(&format!("  of channel {channel}{others}")));
        }
        for (count, thing, what) in [
            (
                exported.as_they_came,
                "array",
                "stored as compressed by the sender",
            ),
            (exported.empty, "array", "left out: no data"),
            (exported.other, "message", "left out: no array that was asked for"),
            (
                exported.unreadable,
                "message",
                "left out: damaged, missing or not understood",
            ),
        ] {
            if count > 0 {
                say(&format!("  {} {what}", quantity::several(count, thing)));
            }
        }
    }
}

/// Whether both are names of one file or folder.
fn same_file(one: &Path, other: &Path) -> bool {
    match (one.canonicalize(), other.canonicalize()) {
        (Ok(one), Ok(other)) => one == other,
        _ => false,
    }
}

fn format(out: &Path) -> Result<Write, Failure> {
    let ending = out
        .extension()
        .map(|ending| ending.to_string_lossy().to_lowercase());
    match ending.as_deref() {
        Some("npy") => Ok(npy),
        Some("h5" | "hdf5" | "nxs") => hdf5(),
        _ => Err(
            Failure::usage(format!("{} does not say its format", out.display()))
                .hint("name it .npy for numpy, or .h5 for HDF5"),
        ),
    }
}

fn npy(messages: Messages, path: &Path, selection: &Selection) -> Result<Exported, ExportError> {
    export_npy(messages, path, selection)
}

#[cfg(feature = "hdf5")]
fn hdf5() -> Result<Write, Failure> {
    fn write(messages: Messages, path: &Path, selection: &Selection) -> Result<Exported, ExportError> {
        crate::stream::recording::export_hdf5(messages, path, selection)
    }
    Ok(write)
}

#[cfg(not(feature = "hdf5"))]
fn hdf5() -> Result<Write, Failure> {
    Err(Failure::usage("HDF5 is not part of this build")
        .hint("export to .npy, or build with --features hdf5"))
}
