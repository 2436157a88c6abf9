//! The arrays of a recording, for other programs: numpy's files and HDF5.

#[cfg(feature = "hdf5")]
mod hdf5;
#[cfg(feature = "hdf5")]
mod instrument;
mod names;
mod npy;
mod plane;
mod selection;

use std::io;
use std::path::PathBuf;

use thiserror::Error;

use super::{Recorded, SourceError};
use crate::stream2::Event;
use crate::{ArrayError, Body, DecodeError, Decoder, Layout, StreamMessage};

use names::{Names, listed};
use plane::Plane;

#[cfg(feature = "hdf5")]
pub use hdf5::{Hdf5Writer, export_hdf5};
pub use npy::{NpyWriter, export_npy};
pub use selection::Selection;

/// Why arrays cannot be exported.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ExportError {
    /// The file cannot be written.
    #[error("{} cannot be written", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The recording cannot be read any more; what was exported before is complete.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// An array has another type or shape than those before it; what was exported before is complete.
    #[error(
        "message {number} has {found}, those before have {expected}: export them by range, into files of their own"
    )]
    Layout {
        /// The number of the message.
        number: u64,
        /// Its type and shape.
        found: String,
        /// Those of the file.
        expected: String,
    },
    /// The array has not the length of the file's layout.
    #[error(transparent)]
    Array(#[from] ArrayError),
    /// The HDF5 file cannot be written.
    #[cfg(feature = "hdf5")]
    #[error("{} cannot be written: {reason}", path.display())]
    Hdf5 {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// No message has the channel that was asked for, and there is no other array.
    #[error("no message has the channel {channel}{}", match &there[..] {
        [] => ", nor any other".to_owned(),
        there => format!("; there are {}", listed(there)),
    })]
    NoChannel {
        /// The channel that was asked for.
        channel: String,
        /// Those that there are.
        there: Vec<String>,
    },
    /// There are messages of bsread, and no channel was asked for.
    #[error(
        "channels of bsread are exported one by one, and none was named; there are {}",
        listed(there)
    )]
    Unnamed {
        /// Those that there are.
        there: Vec<String>,
    },
    /// The channel that was asked for has strings.
    #[error("the channel {channel} is text, which is no array and cannot be exported")]
    Text {
        /// The channel.
        channel: String,
    },
    /// There is no array, so there is nothing to write.
    #[error("there is no array in what was to be exported")]
    Empty,
}

/// What was exported.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Exported {
    /// Arrays in the file.
    pub arrays: u64,
    /// Those of them that were stored compressed, as they came.
    pub as_they_came: u64,
    /// Buffers without data, left out.
    pub empty: u64,
    /// Messages without an array that was asked for, left out.
    pub other: u64,
    /// Messages and arrays that cannot be read or understood, left out.
    pub unreadable: u64,
    /// The channel that the arrays are of, where messages have channels.
    pub channel: Option<String>,
    /// The other channels that messages have (4096 at most); their arrays are not in the file.
    pub other_channels: Vec<String>,
}

/// A file that takes arrays of one layout.
trait ArrayWriter: Sized {
    fn layout(&self) -> &Layout;

    /// Whether arrays are handed over packed, as bitshuffle with LZ4.
    fn is_packed(&self) -> bool {
        false
    }

    /// Takes what a detector says when a series begins.
    fn describe(&mut self, _message: &StreamMessage) -> Result<(), ExportError> {
        Ok(())
    }

    fn append(&mut self, bytes: &[u8], recorded: &Recorded) -> Result<(), ExportError>;

    fn finish(self) -> Result<u64, ExportError>;
}

/// Writes the arrays that `selection` has of `messages` to the file that `create` makes for the layout of the first; it is
/// told whether that one is packed.
fn export<W: ArrayWriter>(
    messages: impl IntoIterator<Item = Result<Recorded, SourceError>>,
    selection: &Selection,
    create: impl Fn(Layout, bool) -> Result<W, ExportError>,
) -> Result<Exported, ExportError> {
    let mut export = Export {
        create,
        writer: None,
        detector: None,
        selection: selection.clone(),
        names: Names::default(),
        exported: Exported::default(),
    };
    let result = export.all(messages);
    export.name_channels();
    // What came before an error is kept.
    match export.writer.take().map(W::finish) {
        Some(Ok(arrays)) => export.exported.arrays = arrays,
        // The first error says more.
        Some(Err(error)) if result.is_ok() => return Err(error),
        Some(Err(_)) => {}
        None if result.is_ok() => return Err(export.nothing(selection)),
        None => {}
    }
    result.map(|()| export.exported)
}

struct Export<W, C> {
    create: C,
    writer: Option<W>,
    // How the series began, until there is a file to say it in.
    detector: Option<StreamMessage>,
    // With the channel of the first image where none was asked for.
    selection: Selection,
    names: Names,
    exported: Exported,
}

impl<W: ArrayWriter, C: Fn(Layout, bool) -> Result<W, ExportError>> Export<W, C> {
    fn all(
        &mut self,
        messages: impl IntoIterator<Item = Result<Recorded, SourceError>>,
    ) -> Result<(), ExportError> {
        let mut decoder = Decoder::new();
        for recorded in messages {
            let recorded = match recorded {
                Ok(recorded) => recorded,
                Err(error) if error.is_passed() => {
                    self.exported.unreadable += 1;
                    continue;
                }
                Err(error) => return Err(error.into()),
            };
            let message = match decoder.decode(&recorded.message) {
                Ok(message) => message,
                Err(DecodeError::Header(_)) => {
                    self.exported.other += 1;
                    continue;
                }
                Err(_) => {
                    self.exported.unreadable += 1;
                    continue;
                }
            };
            if begins_series(&message) {
                match &mut self.writer {
                    Some(writer) => writer.describe(&message)?,
                    None => self.detector = Some(message.clone()),
                }
            }
            let planes = self.selection.planes(&message, &mut self.names)?;
            if planes.is_empty() {
                self.exported.other += 1;
            }
            for plane in planes {
                match plane {
                    Some(plane) => self.put(&plane, &recorded)?,
                    None => self.exported.empty += 1,
                }
            }
        }
        Ok(())
    }

    /// Says of which channel the arrays are, and which others there are.
    fn name_channels(&mut self) {
        let name = self.selection.name().filter(|name| self.names.contains(name));
        self.exported.channel = name.map(str::to_owned);
        self.exported.other_channels = self.names.without(name);
    }

    /// Why there is no array. `asked` is the selection without what was found out.
    fn nothing(&self, asked: &Selection) -> ExportError {
        let there = || self.names.without(None);
        match (asked.name(), self.selection.name()) {
            (Some(channel), _) if !self.names.contains(channel) => ExportError::NoChannel {
                channel: channel.to_owned(),
                there: there(),
            },
            (None, None) if !self.names.is_empty() => ExportError::Unnamed { there: there() },
            _ => ExportError::Empty,
        }
    }

    /// Adds one array to the file.
    fn put(&mut self, plane: &Plane<'_>, recorded: &Recorded) -> Result<(), ExportError> {
        let wants_packed = self.writer.as_ref().is_none_or(W::is_packed);
        if wants_packed && let Some((layout, bytes)) = plane.packed() {
            let writer = self.writer_for(layout, true, recorded)?;
            if writer.is_packed() {
                writer.append(bytes, recorded)?;
                self.exported.as_they_came += 1;
                return Ok(());
            }
        }
        let Some(array) = plane.load() else {
            self.exported.unreadable += 1;
            return Ok(());
        };
        let writer = self.writer_for(array.layout(), false, recorded)?;
        if writer.is_packed() {
            writer.append(&plane::pack(&array), recorded)
        } else {
            writer.append(array.data(), recorded)
        }
    }

    fn writer_for(
        &mut self,
        layout: &Layout,
        packed: bool,
        recorded: &Recorded,
    ) -> Result<&mut W, ExportError> {
        let writer = match &mut self.writer {
            Some(writer) => writer,
            none => {
                let writer = none.insert((self.create)(layout.clone(), packed)?);
                if let Some(detector) = self.detector.take() {
                    writer.describe(&detector)?;
                }
                writer
            }
        };
        if writer.layout() != layout {
            return Err(ExportError::Layout {
                number: recorded.number,
                found: describe(layout),
                expected: describe(writer.layout()),
            });
        }
        Ok(writer)
    }
}

fn begins_series(message: &StreamMessage) -> bool {
    match &message.body {
        Body::DetectorHeader(_) => true,
        Body::Stream2(message) => matches!(message.event(), Event::Start(_)),
        _ => false,
    }
}

fn describe(layout: &Layout) -> String {
    format!(
        "{} {:?} ({} endian)",
        layout.element(),
        layout.shape(),
        layout.endianness().name()
    )
}
