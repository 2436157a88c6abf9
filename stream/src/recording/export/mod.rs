//! The arrays of a recording, for other programs: numpy's files and HDF5.

#[cfg(feature = "hdf5")]
mod hdf5;
#[cfg(feature = "hdf5")]
mod instrument;
mod npy;
mod plane;
mod selection;

use std::io;
use std::path::PathBuf;

use thiserror::Error;

use super::{Recorded, SourceError};
use crate::stream2::Event;
use crate::{ArrayError, Body, DecodeError, Decoder, Layout, StreamMessage};

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
    /// There is no array, so there is nothing to write.
    #[error("there is no array in what was to be exported")]
    Empty,
}

/// What was exported.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
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
        exported: Exported::default(),
    };
    let result = export.all(messages, selection);
    // What came before an error is kept.
    match export.writer.map(W::finish) {
        Some(Ok(arrays)) => export.exported.arrays = arrays,
        // The first error says more.
        Some(Err(error)) if result.is_ok() => return Err(error),
        Some(Err(_)) => {}
        None if result.is_ok() => return Err(ExportError::Empty),
        None => {}
    }
    result.map(|()| export.exported)
}

struct Export<W, C> {
    create: C,
    writer: Option<W>,
    // How the series began, until there is a file to say it in.
    detector: Option<StreamMessage>,
    exported: Exported,
}

impl<W: ArrayWriter, C: Fn(Layout, bool) -> Result<W, ExportError>> Export<W, C> {
    fn all(
        &mut self,
        messages: impl IntoIterator<Item = Result<Recorded, SourceError>>,
        selection: &Selection,
    ) -> Result<(), ExportError> {
        let mut decoder = Decoder::new();
        let mut selection = selection.clone();
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
            let planes = selection.planes(&message);
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
