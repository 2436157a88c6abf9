//! The detector that is played: its images, and what it says of itself.

use std::time::Duration;

use super::super::Failure;
use super::picture::is_gap;
use crate::stream::detector::HeaderDetail;
use crate::stream::{Array, Layout};

/// Metres from the middle of a pixel to that of the next.
pub(super) const PIXEL_SIZE: f64 = 75e-6;
/// Of the photons, in eV and in ångström.
pub(super) const ENERGY: f64 = 12_398.4;
pub(super) const WAVELENGTH: f64 = 1.0;
pub(super) const DESCRIPTION: &str = "flexbond generated detector";
pub(super) const SERIAL_NUMBER: &str = "G-00-0000";
/// Between two images where no rate was asked for.
const FRAME_TIME: Duration = Duration::from_millis(1);
/// In which the detector cannot count.
const READOUT: Duration = Duration::from_micros(10);

/// A detector.
pub(super) struct Camera {
    /// At least one, all of the same layout.
    pub(super) pictures: Vec<Array>,
    pub(super) compression: Compression,
    pub(super) detail: HeaderDetail,
    pub(super) frame_time: Duration,
}

/// How images are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Compression {
    /// Not at all
    None,
    /// LZ4
    Lz4,
    /// Bitshuffle and LZ4, as detectors do it
    Bslz4,
}

impl Compression {
    pub(super) fn name(self) -> &'static str {
        match self {
            Compression::None => "none",
            Compression::Lz4 => "lz4",
            Compression::Bslz4 => "bslz4",
        }
    }
}

impl Camera {
    pub(super) fn new(
        pictures: Vec<Array>,
        compression: Compression,
        detail: HeaderDetail,
        rate: Option<f64>,
    ) -> Self {
        let frame_time = rate.and_then(|rate| Duration::try_from_secs_f64(1.0 / rate).ok());
        Camera {
            pictures,
            compression,
            detail,
            frame_time: frame_time.unwrap_or(FRAME_TIME),
        }
    }

    pub(super) fn layout(&self) -> &Layout {
        // There is at least one picture.
        self.pictures[0].layout()
    }

    /// Columns and rows.
    pub(super) fn extents(&self) -> (usize, usize) {
        match self.layout().shape() {
            [rows, columns] => (*columns, *rows),
            // Asked for when the detector was made.
            _ => (0, 0),
        }
    }

    /// How long an image is exposed.
    pub(super) fn count_time(&self) -> Duration {
        match self.frame_time.checked_sub(READOUT) {
            Some(time) if !time.is_zero() => time,
            _ => self.frame_time,
        }
    }

    /// The largest count that means anything; one more is no pixel.
    pub(super) fn saturation(&self) -> u64 {
        match self.layout().element().size() {
            1 => u64::from(u8::MAX) - 1,
            2 => u64::from(u16::MAX) - 1,
            _ => u64::from(u32::MAX) - 1,
        }
    }

    /// A factor for each pixel.
    pub(super) fn flatfield(&self) -> Result<Array, Failure> {
        // Near one, and not the same for all.
        self.table(|column, row| 1.0 + ((column * 7 + row * 13) % 101) as f32 / 10_000.0)
    }

    /// 1 for what is no pixel.
    pub(super) fn pixel_mask(&self) -> Result<Array, Failure> {
        self.table(|column, row| u32::from(is_gap(column, row)))
    }

    fn table<T: crate::stream::Element>(&self, of: impl Fn(usize, usize) -> T) -> Result<Array, Failure> {
        let (columns, rows) = self.extents();
        let of = &of;
        let elements = (0..rows).flat_map(|row| (0..columns).map(move |column| of(column, row)));
        Array::from_elements(&[rows, columns], elements.collect())
            .map_err(|error| Failure::usage(error.to_string()))
    }
}
