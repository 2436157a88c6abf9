//! Arrays to HDF5, laid out as NeXus has it: `/entry/data/data`, one chunk per image, appended to as long as there are
//! any.
//!
//! | path | what |
//! | --- | --- |
//! | `/` | `NX_class` = `NXroot`, `default` = `entry` |
//! | `/entry` | `NX_class` = `NXentry`, `default` = `data` |
//! | `/entry/data` | `NX_class` = `NXdata`, `signal` = `data` |
//! | `/entry/data/data` | the arrays, the first dimension counts them |
//! | `/entry/data/number` | the number of each array's message (u64) |
//! | `/entry/data/time` | its time of arrival, nanoseconds since the Unix epoch (i64) |
//! | `/entry/instrument` | `NX_class` = `NXinstrument`; where a detector said what it is |
//! | `/entry/instrument/detector` | `NX_class` = `NXdetector`; its settings by the names they came with, flat field and pixel mask |

use std::fs::OpenOptions;
use std::path::{Path, PathBuf};

use rust_hdf5::types::{Complex32, Complex64};
use rust_hdf5::{ByteOrder, DatatypeMessage, FilterPipeline, H5Dataset, H5File, H5Group, H5Type, Hdf5Error};

use super::instrument::Instrument;
use super::{ArrayWriter, ExportError, Exported, Selection, export};
use crate::recording::{Recorded, SourceError, Timestamp};
use crate::{ArrayError, ElementType, Endianness, Layout, StreamMessage};

/// Writes arrays of one layout, one after the other, to an HDF5 file.
///
/// [`finish`](Self::finish) makes the file complete; a file that was dropped before is cut at what was said last.
pub struct Hdf5Writer {
    path: PathBuf,
    file: H5File,
    entry: H5Group,
    data: H5Dataset,
    number: H5Dataset,
    time: H5Dataset,
    layout: Layout,
    // Arrays of one chunk: one image, or many small arrays.
    per_chunk: usize,
    compressed: bool,
    chunk: Vec<u8>,
    chunks: usize,
    // Of the arrays since these were last written.
    numbers: Vec<u64>,
    times: Vec<i64>,
    arrays: u64,
    // Whether a detector said what it is.
    described: bool,
}

impl std::fmt::Debug for Hdf5Writer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hdf5Writer")
            .field("path", &self.path)
            .field("layout", &self.layout)
            .field("arrays", &self.arrays)
            .finish_non_exhaustive()
    }
}

// Small arrays share a chunk of at least so many bytes.
const CHUNK_BYTES: usize = 64 << 10;
const CHUNK_ARRAYS: usize = 4096;

impl Hdf5Writer {
    /// Makes the file at `path`, which must not exist.
    ///
    /// # Errors
    /// [`ExportError::Io`] and [`ExportError::Hdf5`].
    pub fn create(path: impl Into<PathBuf>, layout: Layout) -> Result<Self, ExportError> {
        Self::build(path.into(), layout, false)
    }

    /// As [`create`](Self::create), for images that are compressed already: bitshuffle with LZ4, in the framing that
    /// HDF5's filter 32008 has (`bs16-lz4<` and `bs32-lz4<` of detectors). They are written as they are; whoever reads
    /// them needs that filter.
    ///
    /// # Errors
    /// [`ExportError::Io`] and [`ExportError::Hdf5`].
    pub fn create_bitshuffle_lz4(path: impl Into<PathBuf>, layout: Layout) -> Result<Self, ExportError> {
        Self::build(path.into(), layout, true)
    }

    fn build(path: PathBuf, layout: Layout, compressed: bool) -> Result<Self, ExportError> {
        // Making an HDF5 file would empty one that is there.
        OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(&path)
            .map_err(|source| ExportError::Io {
                path: path.clone(),
                source,
            })?;
        let per_chunk = match layout.size() {
            _ if compressed => 1,
            0 => 1,
            size => (CHUNK_BYTES / size).clamp(1, CHUNK_ARRAYS),
        };
        let open = || -> Result<_, Hdf5Error> {
            let file = H5File::create(&path)?;
            file.set_attr_string("NX_class", "NXroot")?;
            file.set_attr_string("default", "entry")?;
            let entry = file.create_group("entry")?;
            entry.set_attr_string("NX_class", "NXentry")?;
            entry.set_attr_string("default", "data")?;
            let group = entry.create_group("data")?;
            group.set_attr_string("NX_class", "NXdata")?;
            group.set_attr_string("signal", "data")?;
            let data = arrays(&group, &layout, per_chunk, compressed)?;
            let number = counter::<u64>(&group, "number")?;
            let time = counter::<i64>(&group, "time")?;
            Ok((file, entry, data, number, time))
        };
        let (file, entry, data, number, time) = open().map_err(|error| {
            // Made just now, and empty.
            let _ = std::fs::remove_file(&path);
            failed(&path, &error)
        })?;
        Ok(Hdf5Writer {
            path,
            file,
            entry,
            data,
            number,
            time,
            layout,
            per_chunk,
            compressed,
            chunk: Vec::new(),
            chunks: 0,
            numbers: Vec::new(),
            times: Vec::new(),
            arrays: 0,
            described: false,
        })
    }

    /// Element type, shape and byte order of each array.
    #[must_use]
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Writes what a detector says when a series begins, `dheader-1.0` or the start message of stream V2: its settings, flat
    /// field and pixel mask. The first such message counts; of others nothing is written.
    ///
    /// # Errors
    /// [`ExportError::Hdf5`].
    pub fn describe(&mut self, message: &StreamMessage) -> Result<(), ExportError> {
        if self.described {
            return Ok(());
        }
        let Some(instrument) = Instrument::of(message) else {
            return Ok(());
        };
        self.described = true;
        instrument
            .write(&self.entry)
            .map_err(|error| failed(&self.path, &error))
    }

    /// Adds one array of the message `number`: its bytes in C order or, in a file for compressed images, the blob.
    ///
    /// # Errors
    /// [`ExportError::Array`] for another length than the layout's, [`ExportError::Hdf5`].
    pub fn append(&mut self, bytes: &[u8], number: u64, time: Timestamp) -> Result<(), ExportError> {
        let written = if self.compressed {
            let chunk = self.chunks;
            self.chunks += 1;
            // Mask 0: all filters of the pipeline were applied.
            self.data.write_chunk_raw(chunk, bytes, 0)
        } else {
            if bytes.len() != self.layout.size() {
                return Err(ExportError::Array(ArrayError::Length {
                    index: usize::try_from(self.arrays).unwrap_or(usize::MAX),
                    expected: self.layout.size(),
                    actual: bytes.len(),
                }));
            }
            self.push(bytes)
        };
        written.map_err(|error| failed(&self.path, &error))?;
        self.arrays += 1;
        self.numbers.push(number);
        self.times.push(time.as_nanos());
        if self.numbers.len() >= CHUNK_ARRAYS {
            self.write_counters()
                .map_err(|error| failed(&self.path, &error))?;
        }
        Ok(())
    }

    /// Makes the file complete.
    ///
    /// # Errors
    /// [`ExportError::Hdf5`].
    pub fn finish(mut self) -> Result<u64, ExportError> {
        self.write_rest().map_err(|error| failed(&self.path, &error))?;
        self.file.close().map_err(|error| failed(&self.path, &error))?;
        Ok(self.arrays)
    }

    fn push(&mut self, bytes: &[u8]) -> Result<(), Hdf5Error> {
        if self.per_chunk == 1 {
            self.chunks += 1;
            return self.data.write_chunk(self.chunks - 1, bytes);
        }
        self.chunk.extend_from_slice(bytes);
        if self.chunk.len() >= self.per_chunk * self.layout.size() {
            self.write_chunk()?;
        }
        Ok(())
    }

    fn write_chunk(&mut self) -> Result<(), Hdf5Error> {
        self.data.write_chunk(self.chunks, &self.chunk)?;
        self.chunks += 1;
        self.chunk.clear();
        Ok(())
    }

    fn write_rest(&mut self) -> Result<(), Hdf5Error> {
        if !self.chunk.is_empty() {
            // A chunk is always whole; what is behind the last array is not part of the dataset.
            self.chunk.resize(self.per_chunk * self.layout.size(), 0);
            self.write_chunk()?;
        }
        let count = usize::try_from(self.arrays).unwrap_or(usize::MAX);
        let mut dims = vec![count];
        dims.extend(self.layout.shape());
        self.data.extend(&dims)?;
        self.write_counters()
    }

    fn write_counters(&mut self) -> Result<(), Hdf5Error> {
        if !self.numbers.is_empty() {
            self.number.append(&self.numbers)?;
            self.time.append(&self.times)?;
            self.numbers.clear();
            self.times.clear();
        }
        Ok(())
    }
}

impl ArrayWriter for Hdf5Writer {
    fn layout(&self) -> &Layout {
        self.layout()
    }

    fn is_packed(&self) -> bool {
        self.compressed
    }

    fn describe(&mut self, message: &StreamMessage) -> Result<(), ExportError> {
        self.describe(message)
    }

    fn append(&mut self, bytes: &[u8], recorded: &Recorded) -> Result<(), ExportError> {
        self.append(bytes, recorded.number, recorded.time)
    }

    fn finish(self) -> Result<u64, ExportError> {
        self.finish()
    }
}

/// Writes the arrays that `selection` has of `messages` to a new HDF5 file at `path`. The messages are those of a
/// [`Playlist`](crate::recording::Playlist), or those left in a [`Recording`](crate::recording::Recording).
///
/// Where the first array is packed with bitshuffle and LZ4, the file is one for such: what came packed is stored as it
/// came, what did not is packed. What cannot be unpacked is left out.
///
/// What a detector says of itself before its first image, or after it, is written as well.
///
/// # Errors
/// [`ExportError`].
pub fn export_hdf5(
    messages: impl IntoIterator<Item = Result<Recorded, SourceError>>,
    path: impl AsRef<Path>,
    selection: &Selection,
) -> Result<Exported, ExportError> {
    export(messages, selection, |layout, packed| match packed {
        true => Hdf5Writer::create_bitshuffle_lz4(path.as_ref(), layout),
        false => Hdf5Writer::create(path.as_ref(), layout),
    })
}

fn failed(path: &Path, error: &Hdf5Error) -> ExportError {
    ExportError::Hdf5 {
        path: path.to_owned(),
        reason: error.to_string(),
    }
}

/// The dataset of the arrays. A dataset wants a Rust type of the right size; what is stored is said by its datatype.
fn arrays(
    group: &H5Group,
    layout: &Layout,
    per_chunk: usize,
    compressed: bool,
) -> Result<H5Dataset, Hdf5Error> {
    match layout.element().size() {
        1 => arrays_of::<u8>(group, layout, per_chunk, compressed),
        2 => arrays_of::<u16>(group, layout, per_chunk, compressed),
        4 => arrays_of::<u32>(group, layout, per_chunk, compressed),
        8 => arrays_of::<u64>(group, layout, per_chunk, compressed),
        _ => arrays_of::<Complex64>(group, layout, per_chunk, compressed),
    }
}

fn arrays_of<T: H5Type>(
    group: &H5Group,
    layout: &Layout,
    per_chunk: usize,
    compressed: bool,
) -> Result<H5Dataset, Hdf5Error> {
    let with_first = |first: usize| -> Vec<usize> {
        std::iter::once(first)
            .chain(layout.shape().iter().copied())
            .collect()
    };
    let limits: Vec<Option<usize>> = std::iter::once(None)
        .chain(layout.shape().iter().map(|&extent| Some(extent)))
        .collect();
    let mut builder = group
        .new_dataset::<T>()
        .shape(with_first(0))
        .chunk(&with_first(per_chunk))
        .max_shape(&limits)
        .datatype(datatype(layout));
    if compressed {
        // At most 16.
        builder = builder.filter_pipeline(FilterPipeline::bshuf_lz4(layout.element().size() as u32));
    }
    builder.create("data")
}

fn counter<T: H5Type>(group: &H5Group, name: &str) -> Result<H5Dataset, Hdf5Error> {
    group
        .new_dataset::<T>()
        .shape([0])
        .chunk(&[CHUNK_ARRAYS])
        .max_shape(&[None])
        .create(name)
}

/// How the elements of `layout` are stored.
pub(super) fn datatype(layout: &Layout) -> DatatypeMessage {
    let mut datatype = match layout.element() {
        ElementType::Bool => DatatypeMessage::bool_type(),
        ElementType::Int8 => DatatypeMessage::i8_type(),
        ElementType::Int16 => DatatypeMessage::i16_type(),
        ElementType::Int32 => DatatypeMessage::i32_type(),
        ElementType::Int64 => DatatypeMessage::i64_type(),
        ElementType::UInt8 => DatatypeMessage::u8_type(),
        ElementType::UInt16 => DatatypeMessage::u16_type(),
        ElementType::UInt32 => DatatypeMessage::u32_type(),
        ElementType::UInt64 => DatatypeMessage::u64_type(),
        ElementType::Float16 => DatatypeMessage::f16_type(),
        ElementType::Float32 => DatatypeMessage::f32_type(),
        ElementType::Float64 => DatatypeMessage::f64_type(),
        ElementType::Complex64 => Complex32::hdf5_type(),
        ElementType::Complex128 => Complex64::hdf5_type(),
    };
    if layout.endianness() == Endianness::Big && layout.element().size() > 1 {
        turn(&mut datatype);
    }
    datatype
}

/// Makes a datatype big-endian.
fn turn(datatype: &mut DatatypeMessage) {
    match datatype {
        DatatypeMessage::FixedPoint { byte_order, .. }
        | DatatypeMessage::FloatingPoint { byte_order, .. } => {
            *byte_order = ByteOrder::BigEndian;
        }
        DatatypeMessage::Compound { members, .. } => {
            members.iter_mut().for_each(|member| turn(&mut member.datatype));
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(path: &Path, layout: &Layout, arrays: usize) -> Vec<u8> {
        let mut writer = Hdf5Writer::create(path, layout.clone()).unwrap();
        let mut all = Vec::new();
        for n in 0..arrays {
            let bytes: Vec<u8> = (0..layout.size()).map(|at| (at * 3 + n) as u8 & 0x3f).collect();
            writer
                .append(&bytes, n as u64 + 5, Timestamp::from_nanos(n as i64 - 1))
                .unwrap();
            all.extend(bytes);
        }
        assert_eq!(writer.finish().unwrap(), arrays as u64);
        all
    }

    #[test]
    fn arrays_of_every_size_come_back() {
        let folder = tempfile::tempdir().unwrap();
        for (n, (shape, arrays)) in [
            (&[2_usize, 3][..], 1),
            (&[], 10_000),
            (&[40, 50], 45),
            (&[100, 400], 3),
        ]
        .into_iter()
        .enumerate()
        {
            let path = folder.path().join(format!("{n}.h5"));
            let layout = Layout::new(ElementType::UInt16, Endianness::Little, shape).unwrap();
            let bytes = write(&path, &layout, arrays);
            let file = H5File::open(&path).unwrap();
            let data = file.dataset("entry/data/data").unwrap();
            let mut expected = vec![arrays];
            expected.extend(shape);
            assert_eq!(data.shape(), expected);
            let values: Vec<u16> = bytes
                .chunks_exact(2)
                .map(|two| u16::from_le_bytes([two[0], two[1]]))
                .collect();
            assert_eq!(data.read_raw::<u16>().unwrap(), values);
            let numbers = file
                .dataset("entry/data/number")
                .unwrap()
                .read_raw::<u64>()
                .unwrap();
            assert_eq!(numbers, (5..arrays as u64 + 5).collect::<Vec<_>>());
            // What NeXus' readers follow to find what to plot.
            assert_eq!(file.attr_string("default").unwrap(), "entry");
            assert!(matches!(
                Hdf5Writer::create(&path, layout),
                Err(ExportError::Io { .. })
            ));
        }
    }

    #[test]
    fn every_type_and_byte_order_has_a_datatype_of_its_size() {
        let folder = tempfile::tempdir().unwrap();
        for (n, element) in ElementType::all().enumerate() {
            for endianness in [Endianness::Little, Endianness::Big] {
                let layout = Layout::new(element, endianness, &[3]).unwrap();
                let path = folder.path().join(format!("{n}{}.h5", endianness.name()));
                write(&path, &layout, 2);
                assert_eq!(
                    H5File::open(&path)
                        .unwrap()
                        .dataset("entry/data/data")
                        .unwrap()
                        .shape(),
                    [2, 3]
                );
            }
        }
    }

    #[test]
    fn compressed_images_are_stored_as_they_are() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.h5");
        let layout = Layout::new(ElementType::UInt16, Endianness::Little, &[20, 30]).unwrap();
        let mut writer = Hdf5Writer::create_bitshuffle_lz4(&path, layout).unwrap();
        let blobs: Vec<Vec<u8>> = (1..5).map(|n| vec![n; 100 * usize::from(n)]).collect();
        for (number, blob) in (0..).zip(&blobs) {
            writer.append(blob, number, Timestamp::default()).unwrap();
        }
        writer.finish().unwrap();
        let file = H5File::open(&path).unwrap();
        let data = file.dataset("entry/data/data").unwrap();
        assert_eq!(data.shape(), [4, 20, 30]);
        for (n, blob) in blobs.iter().enumerate() {
            assert_eq!(data.read_chunk_raw_at(&[n, 0, 0]).unwrap(), (blob.clone(), 0));
        }
    }

    #[test]
    fn a_wrong_length_and_an_impossible_shape_are_errors() {
        let folder = tempfile::tempdir().unwrap();
        let layout = |shape: &[usize]| Layout::new(ElementType::Int32, Endianness::Little, shape).unwrap();
        let mut writer = Hdf5Writer::create(folder.path().join("a.h5"), layout(&[2])).unwrap();
        let short = writer.append(&[1, 2, 3, 4], 0, Timestamp::default());
        assert!(matches!(short, Err(ExportError::Array(_))));
        let path = folder.path().join("b.h5");
        let empty = Hdf5Writer::create(&path, layout(&[0, 4]));
        assert!(matches!(empty, Err(ExportError::Hdf5 { .. })), "{empty:?}");
        assert!(!path.exists(), "nothing is in the way of the next try");
    }
}
