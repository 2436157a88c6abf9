//! Dectris detectors, stream version 1: the header of a series, its images, and its end.
//!
//! | message | parts |
//! | --- | --- |
//! | header, `header_detail` `none` | `dheader-1.0` |
//! | header, `basic` | `dheader-1.0`, the detector's configuration |
//! | header, `all` | as `basic`, then of flat field (`dflatfield-1.0`), pixel mask (`dpixelmask-1.0`) and count-rate table (`dcountrate_table-1.0`) a description and the data |
//! | image | `dimage-1.0`, `dimage_d-1.0`, the data, `dconfig-1.0` |
//! | end | `dseries_end-1.0` |
//!
//! A header and an image may have one part more, the appendix that the user of the detector has set. Shapes are
//! `[x, y]` in these messages and `[y, x]`, slowest dimension first, in a [`Layout`](crate::Layout). Image data stay as
//! they were received until [`DetectorImage::to_array`] unpacks them.
//!
//! [`SeriesTracker`] says what is odd about the order in which such messages come.
//!
//! ```
//! use flexbond_stream::detector::{DetectorHeader, DetectorImage, Times};
//! use flexbond_stream::{Array, Body, StreamMessage};
//!
//! let pixels = Array::from_elements(&[3, 4], (0..12_u16).collect())?;
//! let image = DetectorImage::new(7, 0, &pixels, "bs16-lz4<".parse()?)
//!     .with_times(Times { start: 0, stop: 1_000_000, real: 990_000 })
//!     .with_appendix("sample 12");
//! let received = StreamMessage::decode(&StreamMessage::from(image).encode())?;
//!
//! let Body::DetectorImage(image) = &received.body else { panic!("another htype") };
//! assert_eq!((image.series(), image.frame(), image.appendix()), (7, 0, Some(&"sample 12".into())));
//! assert_eq!(image.to_array()?, pixels);
//!
//! let header = StreamMessage::from(DetectorHeader::basic(7, Default::default()));
//! assert_eq!(header.header.to_string(), r#"{"htype":"dheader-1.0","series":7,"header_detail":"basic"}"#);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod image;
mod reader;
mod start;
mod table;
mod tracker;

use thiserror::Error;

use crate::{ArrayError, HeaderError};

pub use image::{DetectorImage, Times};
pub use start::{DetectorEnd, DetectorHeader, HeaderDetail};
pub use table::{Calibration, DetectorTable};
pub use tracker::{SeriesEvent, SeriesTracker};

/// Why a detector's message is malformed. Parts are counted from 0, the header.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum DetectorError {
    /// The message ends too early.
    #[error("part {part} is missing: {expected}")]
    MissingPart {
        /// The first part that is not there.
        part: usize,
        /// What it should be.
        expected: &'static str,
    },
    /// The message has more parts than its type allows, an appendix included.
    #[error("{actual} parts, at most {most} belong to such a message")]
    SurplusParts {
        /// How many parts there are.
        actual: usize,
        /// How many there may be.
        most: usize,
    },
    /// A part that has to be JSON is not.
    #[error("part {part} has no header")]
    Header {
        /// Which part.
        part: usize,
        /// What is wrong with it.
        #[source]
        error: HeaderError,
    },
    /// A part is of another type than its place asks for: parts are missing, or in another order.
    #[error("part {part} is {actual:?}, expected {expected}")]
    Htype {
        /// Which part.
        part: usize,
        /// The `htype` that belongs there.
        expected: &'static str,
        /// The `htype` that is there.
        actual: String,
    },
    /// A field is missing or of the wrong type.
    #[error("part {part} has no usable {field}")]
    Field {
        /// Which part.
        part: usize,
        /// The name of the field.
        field: &'static str,
    },
    /// Type and shape of a part do not describe an array.
    #[error("part {part} has no such array")]
    Array {
        /// Which part.
        part: usize,
        /// What is wrong with it.
        #[source]
        error: ArrayError,
    },
}
