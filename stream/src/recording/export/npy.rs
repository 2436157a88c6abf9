//! Arrays to numpy's file format (`.npy`, NEP 1): one array of one more dimension, to which others are appended.

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use super::{ArrayWriter, ExportError, Exported, Selection, export};
use crate::recording::{Recorded, SourceError};
use crate::{ArrayError, ElementType, Endianness, Layout};

/// Writes arrays of one layout, one after the other, as one array whose first dimension counts them.
///
/// [`finish`](Self::finish) writes that dimension; without it the file says that it has no array.
#[derive(Debug)]
pub struct NpyWriter {
    path: PathBuf,
    file: BufWriter<File>,
    layout: Layout,
    arrays: u64,
    // After an error nobody knows how much of the last array is in the file.
    failed: bool,
}

impl NpyWriter {
    /// Makes the file at `path`, which must not exist.
    ///
    /// # Errors
    /// [`ExportError::Io`].
    pub fn create(path: impl Into<PathBuf>, layout: Layout) -> Result<Self, ExportError> {
        let path = path.into();
        let header = header(&layout, 0);
        let opened = OpenOptions::new().write(true).create_new(true).open(&path);
        let written = opened.and_then(|file| {
            let mut file = BufWriter::new(file);
            file.write_all(&header)?;
            Ok(file)
        });
        match written {
            Ok(file) => Ok(NpyWriter {
                path,
                file,
                layout,
                arrays: 0,
                failed: false,
            }),
            Err(source) => Err(ExportError::Io { path, source }),
        }
    }

    /// Adds one array: its bytes in C order.
    ///
    /// # Errors
    /// [`ExportError::Array`] for another length than the layout's, [`ExportError::Io`].
    pub fn append(&mut self, bytes: &[u8]) -> Result<(), ExportError> {
        if bytes.len() != self.layout.size() {
            return Err(ExportError::Array(ArrayError::Length {
                index: usize::try_from(self.arrays).unwrap_or(usize::MAX),
                expected: self.layout.size(),
                actual: bytes.len(),
            }));
        }
        if self.failed {
            let source = io::Error::other("an earlier array could not be written");
            return Err(io_error(&self.path, source));
        }
        if let Err(source) = self.file.write_all(bytes) {
            self.failed = true;
            return Err(io_error(&self.path, source));
        }
        self.arrays += 1;
        Ok(())
    }

    /// Element type, shape and byte order of each array.
    #[must_use]
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Writes how many arrays there are, and everything to the file. Where the disk was full before, these are the arrays
    /// that are whole, and what was written of another one is cut off.
    ///
    /// # Errors
    /// [`ExportError::Io`]; when the disk is full now, the file has the arrays that are whole all the same.
    pub fn finish(mut self) -> Result<u64, ExportError> {
        let flushed = match self.failed {
            true => Ok(()),
            false => self.file.flush(),
        };
        let whole = flushed.is_ok() && !self.failed;
        // What is left in the buffer after an error belongs to arrays that are not whole.
        let (mut file, _) = self.file.into_parts();
        let (layout, path) = (&self.layout, &self.path);
        let arrays = match whole {
            true => Ok(self.arrays),
            false => cut(&file, layout, self.arrays),
        };
        let written = arrays.and_then(|arrays| {
            file.seek(SeekFrom::Start(0))?;
            file.write_all(&header(layout, arrays))?;
            Ok(arrays)
        });
        let arrays = written.map_err(|source| io_error(path, source))?;
        flushed.map(|()| arrays).map_err(|source| io_error(path, source))
    }
}

/// Cuts the file after its last whole array, of `arrays` at most; returns how many there are.
fn cut(file: &File, layout: &Layout, arrays: u64) -> io::Result<u64> {
    let (front, size) = (header(layout, 0).len() as u64, layout.size() as u64);
    let len = file.metadata()?.len().saturating_sub(front);
    let whole = len.checked_div(size).map_or(arrays, |whole| whole.min(arrays));
    file.set_len(front + whole * size)?;
    Ok(whole)
}

impl ArrayWriter for NpyWriter {
    fn layout(&self) -> &Layout {
        self.layout()
    }

    fn append(&mut self, bytes: &[u8], _recorded: &Recorded) -> Result<(), ExportError> {
        self.append(bytes)
    }

    fn finish(self) -> Result<u64, ExportError> {
        self.finish()
    }
}

/// Writes the arrays that `selection` has of `messages`, unpacked, to a new file at `path`. The messages are those of a
/// [`Playlist`](crate::recording::Playlist), or those left in a [`Recording`](crate::recording::Recording).
///
/// # Errors
/// [`ExportError`].
pub fn export_npy(
    messages: impl IntoIterator<Item = Result<Recorded, SourceError>>,
    path: impl AsRef<Path>,
    selection: &Selection,
) -> Result<Exported, ExportError> {
    export(messages, selection, |layout, _| {
        NpyWriter::create(path.as_ref(), layout)
    })
}

fn io_error(path: &Path, source: io::Error) -> ExportError {
    ExportError::Io {
        path: path.to_owned(),
        source,
    }
}

/// The header of `arrays` arrays: always of the same length for one layout, so that it can be written again.
fn header(layout: &Layout, arrays: u64) -> Vec<u8> {
    use std::fmt::Write as _;

    const ALIGN: usize = 64;
    // Magic, version and the length of the text.
    const FRONT: usize = 10;
    let mut shape = format!("({arrays}, ");
    for extent in layout.shape() {
        // Into a string, which takes everything.
        let _ = write!(shape, "{extent}, ");
    }
    let shape = format!(
        "{})",
        if layout.shape().is_empty() {
            shape.trim_end()
        } else {
            shape.trim_end_matches(", ")
        }
    );
    let mut text = format!(
        "{{'descr': '{}', 'fortran_order': False, 'shape': {shape}, }}",
        descr(layout)
    );
    // Room for the largest number of arrays.
    let digits = u64::MAX.to_string().len() - arrays.to_string().len();
    let least = FRONT + text.len() + digits + 1;
    let len = least.next_multiple_of(ALIGN) - FRONT;
    text.push_str(&" ".repeat(len - 1 - text.len()));
    text.push('\n');
    let mut header = b"\x93NUMPY\x01\x00".to_vec();
    // 64 dimensions of 20 digits fit.
    header.extend((text.len() as u16).to_le_bytes());
    header.extend(text.bytes());
    header
}

/// numpy's short name of a type: `<f8`.
fn descr(layout: &Layout) -> String {
    let element = layout.element();
    let kind = match element {
        ElementType::Bool => 'b',
        ElementType::Int8 | ElementType::Int16 | ElementType::Int32 | ElementType::Int64 => 'i',
        ElementType::UInt8 | ElementType::UInt16 | ElementType::UInt32 | ElementType::UInt64 => 'u',
        ElementType::Float16 | ElementType::Float32 | ElementType::Float64 => 'f',
        ElementType::Complex64 | ElementType::Complex128 => 'c',
    };
    let order = match layout.endianness() {
        _ if element.size() == 1 => '|',
        Endianness::Little => '<',
        Endianness::Big => '>',
    };
    format!("{order}{kind}{}", element.size())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(element: ElementType, endianness: Endianness, shape: &[usize]) -> Layout {
        Layout::new(element, endianness, shape).unwrap()
    }

    #[test]
    fn headers_are_numpys() {
        let cases = [
            (
                layout(ElementType::Float64, Endianness::Little, &[2, 3]),
                "'<f8'",
                "(7, 2, 3)",
            ),
            (
                layout(ElementType::UInt16, Endianness::Big, &[5]),
                "'>u2'",
                "(7, 5)",
            ),
            (layout(ElementType::Bool, Endianness::Big, &[]), "'|b1'", "(7,)"),
        ];
        for (layout, descr, shape) in cases {
            let bytes = header(&layout, 7);
            assert_eq!(&bytes[..8], b"\x93NUMPY\x01\x00");
            assert_eq!(
                usize::from(u16::from_le_bytes([bytes[8], bytes[9]])),
                bytes.len() - 10
            );
            assert_eq!((bytes.len() % 64, bytes.last()), (0, Some(&b'\n')));
            let text = std::str::from_utf8(&bytes[10..]).unwrap().trim_end();
            assert_eq!(
                text,
                format!("{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}")
            );
            for arrays in [0, 99, u64::MAX] {
                assert_eq!(header(&layout, arrays).len(), bytes.len());
            }
        }
        let widest = layout(
            ElementType::Int8,
            Endianness::Little,
            &[1; Layout::MAX_DIMENSIONS],
        );
        assert!(header(&widest, 1).len() < 1024);
    }

    #[test]
    fn arrays_are_appended_and_a_wrong_length_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.npy");
        let mut writer =
            NpyWriter::create(&path, layout(ElementType::UInt16, Endianness::Little, &[2])).unwrap();
        writer.append(&[1, 0, 2, 0]).unwrap();
        assert!(matches!(writer.append(&[1, 0]), Err(ExportError::Array(_))));
        writer.append(&[3, 0, 4, 0]).unwrap();
        assert_eq!(writer.finish().unwrap(), 2);
        let bytes = std::fs::read(&path).unwrap();
        assert!(bytes.ends_with(&[1, 0, 2, 0, 3, 0, 4, 0]) && bytes.len() == 128 + 8);
        assert!(String::from_utf8_lossy(&bytes).contains("(2, 2)"));
    }
}
