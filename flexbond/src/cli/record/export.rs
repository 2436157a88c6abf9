//! `flexbond record export`: the arrays of a recording as a file of numpy or HDF5.

use std::fs;
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;

use crate::cli::failure::explain;
use crate::cli::gauge::say;
use crate::cli::span::{self, Span};
use crate::cli::{Exit, Failure, quantity};
use crate::stream::recording::{ExportError, Exported, Playlist, Repeat, Selection, export_npy};

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

    /// Overwrite OUT if it is there
    #[arg(long)]
    force: bool,

    /// The result as one JSON object
    #[arg(long)]
    json: bool,
}

const HELP: &str = "What is exported: arrays of array-1.0, images of Dectris detectors (both
streams), and with --channel the values of one bsread channel. All must have one
type and shape; --from and --to take a part where they change.

The arrays become one array with one more dimension, in front. In HDF5 it is
/entry/data/data, beside the numbers and times of the messages; images that
are compressed with bitshuffle and LZ4 are stored as they came, as chunks of
the filter 32008 (plugin hdf5plugin), without being unpacked. What a detector
said of itself is in /entry/instrument/detector: settings, flat field, mask.

Exit codes:
  0  done
  1  failed; what came before an error is complete
  2  usage

Examples:
  flexbond record export run7.fbr run7.npy
  flexbond record export run7.fbr first.h5 --to 1000
  flexbond record export run7.fbr current.npy --channel SINEG01-DICT215:B1_CHARGE";

/// Writes the arrays of a playlist to a file.
type Write = fn(Playlist, &Path, &Selection) -> Result<Exported, ExportError>;

impl Export {
    pub(super) fn run(&self) -> Result<Exit, Failure> {
        let write = format(&self.out)?;
        let mut recording = span::open(&self.file)?;
        let range = self.span.range(&mut recording)?;
        if self.out.exists() {
            if same_file(&self.file, &self.out) {
                return Err(Failure::usage(format!(
                    "{} is the recording itself",
                    self.out.display()
                )));
            }
            if !self.force {
                return Err(Failure::new(format!("{} exists", self.out.display()))
                    .hint("--force overwrites it; or choose another name"));
            }
            fs::remove_file(&self.out)
                .map_err(|error| Failure::new(format!("cannot remove {}: {error}", self.out.display())))?;
        }
        let mut selection = Selection::new();
        if let Some(channel) = &self.channel {
            selection = selection.channel(channel);
        }
        let playlist = Playlist::new(recording, range, Repeat::ONCE);
        let exported = write(playlist, &self.out, &selection).map_err(|error| failure(&error))?;
        self.tell(&exported);
        Ok(Exit::Done)
    }

    fn tell(&self, exported: &Exported) {
        if self.json {
            say(&json!({
                "arrays": exported.arrays,
                "as_they_came": exported.as_they_came,
                "empty": exported.empty,
                "other": exported.other,
                "unreadable": exported.unreadable,
            })
            .to_string());
            return;
        }
        say(&format!(
            "{} arrays in {}",
            quantity::grouped(exported.arrays),
            self.out.display()
        ));
        for (count, what) in [
            (exported.as_they_came, "stored compressed, as they came"),
            (exported.empty, "left out: no data"),
            (exported.other, "messages left out: no array that was asked for"),
            (
                exported.unreadable,
                "left out: damaged, missing or not understood",
            ),
        ] {
            if count > 0 {
                say(&format!("  {} {what}", quantity::grouped(count)));
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

fn npy(playlist: Playlist, path: &Path, selection: &Selection) -> Result<Exported, ExportError> {
    export_npy(playlist, path, selection)
}

#[cfg(feature = "hdf5")]
fn hdf5() -> Result<Write, Failure> {
    fn write(playlist: Playlist, path: &Path, selection: &Selection) -> Result<Exported, ExportError> {
        crate::stream::recording::export_hdf5(playlist, path, selection)
    }
    Ok(write)
}

#[cfg(not(feature = "hdf5"))]
fn hdf5() -> Result<Write, Failure> {
    Err(Failure::usage("HDF5 is not part of this build")
        .hint("export to .npy, or build with --features hdf5"))
}

fn failure(error: &ExportError) -> Failure {
    let failure = Failure::new(explain(error));
    match error {
        ExportError::Layout { number, .. } => failure.hint(format!(
            "--to {number} ends before it, --from {number} begins with it"
        )),
        ExportError::Empty => failure.hint(
            "arrays are those of array-1.0 and of detector images; of bsread one is named with --channel",
        ),
        _ => failure,
    }
}
