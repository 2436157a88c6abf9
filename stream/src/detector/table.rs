//! Tables that a detector announces with its series: flat field, pixel mask and count-rate corrections.

use flexbond_transport::Frame;

use crate::{Array, Encoding, Endianness, Header, Layout, LoadError};

use super::DetectorError;
use super::reader::Reader;

/// A table of numbers: `float32` for flat field and count-rate corrections, `uint32` for the pixel mask.
#[derive(Clone, Debug)]
pub struct DetectorTable {
    description: Header,
    layout: Layout,
    data: Frame,
}

/// The three tables of a header with `header_detail` `all`.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Calibration {
    /// Factor of each pixel (`dflatfield-1.0`, `float32`).
    pub flatfield: DetectorTable,
    /// State of each pixel; 0 is good (`dpixelmask-1.0`, `uint32`).
    pub pixel_mask: DetectorTable,
    /// Corrections of count rates (`dcountrate_table-1.0`, `float32`).
    pub countrate_table: DetectorTable,
}

impl Calibration {
    /// Tables to be sent; they are written uncompressed and little-endian, whatever they are here.
    #[must_use]
    pub fn new(flatfield: &Array, pixel_mask: &Array, countrate_table: &Array) -> Self {
        Calibration {
            flatfield: DetectorTable::new("dflatfield-1.0", flatfield),
            pixel_mask: DetectorTable::new("dpixelmask-1.0", pixel_mask),
            countrate_table: DetectorTable::new("dcountrate_table-1.0", countrate_table),
        }
    }

    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self, DetectorError> {
        Ok(Calibration {
            // An emulator in use at several facilities leaves the `d` away.
            flatfield: DetectorTable::read(reader, "dflatfield-1.0", "flatfield-1.0")?,
            pixel_mask: DetectorTable::read(reader, "dpixelmask-1.0", "pixelmask-1.0")?,
            countrate_table: DetectorTable::read(reader, "dcountrate_table-1.0", "countrate_table-1.0")?,
        })
    }

    pub(super) fn tables(&self) -> [&DetectorTable; 3] {
        [&self.flatfield, &self.pixel_mask, &self.countrate_table]
    }
}

impl DetectorTable {
    fn new(htype: &str, array: &Array) -> Self {
        let array = array.to_endianness(Endianness::Little);
        let mut description = Header::new(htype);
        array.layout().describe_for_detector(&mut description);
        DetectorTable {
            description,
            layout: array.layout().clone(),
            data: array.into_data(),
        }
    }

    fn read(reader: &mut Reader<'_>, expected: &'static str, alias: &str) -> Result<Self, DetectorError> {
        let description = reader.header(expected, alias)?;
        let part = reader.part();
        let layout = Layout::from_detector(&description, Endianness::Little)
            .map_err(|error| DetectorError::Array { part, error })?;
        let data = reader.take("the data of a table")?.clone();
        Ok(DetectorTable {
            description,
            layout,
            data,
        })
    }

    /// The description as it travels, with all fields.
    #[must_use]
    pub fn description(&self) -> &Header {
        &self.description
    }

    /// Type and shape, slowest dimension first.
    #[must_use]
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// The data as they travel.
    #[must_use]
    pub fn data(&self) -> &Frame {
        &self.data
    }

    /// The table over the received bytes, without a copy.
    ///
    /// # Errors
    /// [`LoadError::Length`] when the data have not the length that type and shape ask for.
    pub fn to_array(&self) -> Result<Array, LoadError> {
        Encoding::default().load(&self.data, &self.layout, usize::MAX)
    }
}
