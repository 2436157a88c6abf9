//! How a series begins and ends: `dheader-1.0` and `dseries_end-1.0`.

use std::fmt;
use std::str::FromStr;

use flexbond_transport::Frame;
use serde_json::{Map, Value};

use crate::{Body, Header, StreamMessage};

use super::reader::Reader;
use super::{Calibration, DetectorError};

/// How much a detector says when a series begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum HeaderDetail {
    /// Nothing but the number of the series.
    None,
    /// The configuration as well.
    Basic,
    /// The configuration and the calibration tables as well.
    All,
}

/// The beginning of a series: the parts of a `dheader-1.0` message.
#[derive(Clone, Debug)]
pub struct DetectorHeader {
    series: u64,
    config: Option<Map<String, Value>>,
    calibration: Option<Box<Calibration>>,
    appendix: bool,
    // Everything after the first part, as it travels.
    parts: Vec<Frame>,
}

/// The end of a series: a `dseries_end-1.0` message.
#[derive(Clone, Debug)]
pub struct DetectorEnd {
    series: u64,
    parts: Vec<Frame>,
}

impl HeaderDetail {
    /// As a header has it: `none`, `basic` or `all`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            HeaderDetail::None => "none",
            HeaderDetail::Basic => "basic",
            HeaderDetail::All => "all",
        }
    }

    /// What a header says that has so many parts after the first, where the sender leaves it out.
    fn of_parts(parts: usize) -> Self {
        // The configuration, and three tables of two parts each.
        const ALL: usize = 7;
        match parts {
            0 => HeaderDetail::None,
            ALL.. => HeaderDetail::All,
            _ => HeaderDetail::Basic,
        }
    }
}

impl fmt::Display for HeaderDetail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for HeaderDetail {
    type Err = DetectorError;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        [HeaderDetail::None, HeaderDetail::Basic, HeaderDetail::All]
            .into_iter()
            .find(|detail| detail.name() == name)
            .ok_or(DetectorError::Field {
                part: 0,
                field: "header_detail",
            })
    }
}

impl DetectorHeader {
    /// The `htype` of the message.
    pub const HTYPE: &str = "dheader-1.0";

    /// A header with `header_detail` `none`.
    #[must_use]
    pub fn none(series: u64) -> Self {
        DetectorHeader::new(series, None, None)
    }

    /// A header with the configuration of the detector: `description`, `x_pixels_in_detector`, `count_time`, …
    #[must_use]
    pub fn basic(series: u64, config: Map<String, Value>) -> Self {
        DetectorHeader::new(series, Some(config), None)
    }

    /// A header with configuration and calibration tables.
    #[must_use]
    pub fn all(series: u64, config: Map<String, Value>, calibration: Calibration) -> Self {
        DetectorHeader::new(series, Some(config), Some(calibration))
    }

    fn new(series: u64, config: Option<Map<String, Value>>, calibration: Option<Calibration>) -> Self {
        let mut parts = Vec::new();
        if let Some(config) = &config {
            // A map of strings to JSON values is always written.
            parts.push(Frame::from(Value::Object(config.clone()).to_string()));
        }
        for table in calibration.iter().flat_map(Calibration::tables) {
            parts.push(table.description().to_frame());
            parts.push(table.data().clone());
        }
        DetectorHeader {
            series,
            config,
            calibration: calibration.map(Box::new),
            appendix: false,
            parts,
        }
    }

    /// Adds the appendix, or replaces it.
    #[must_use]
    pub fn with_appendix(mut self, appendix: impl Into<Frame>) -> Self {
        if self.appendix {
            self.parts.pop();
        }
        self.parts.push(appendix.into());
        self.appendix = true;
        self
    }

    pub(crate) fn read(header: &Header, parts: Vec<Frame>) -> Result<Self, DetectorError> {
        let series = series_of(header)?;
        let detail = match header.get("header_detail") {
            None | Some(Value::Null) => HeaderDetail::of_parts(parts.len()),
            Some(detail) => detail.as_str().unwrap_or_default().parse()?,
        };
        let mut reader = Reader::new(&parts);
        let config = match detail {
            HeaderDetail::None => None,
            HeaderDetail::Basic | HeaderDetail::All => Some(reader.object("the detector's configuration")?),
        };
        let calibration = match detail {
            HeaderDetail::All => Some(Box::new(Calibration::read(&mut reader)?)),
            HeaderDetail::None | HeaderDetail::Basic => None,
        };
        let appendix = reader.appendix()?;
        Ok(DetectorHeader {
            series,
            config,
            calibration,
            appendix,
            parts,
        })
    }

    /// The number of the series.
    #[must_use]
    pub fn series(&self) -> u64 {
        self.series
    }

    /// How much the header says.
    #[must_use]
    pub fn detail(&self) -> HeaderDetail {
        match (&self.config, &self.calibration) {
            (None, _) => HeaderDetail::None,
            (Some(_), None) => HeaderDetail::Basic,
            (Some(_), Some(_)) => HeaderDetail::All,
        }
    }

    /// The configuration of the detector, every field as it was sent (`basic` and `all`).
    #[must_use]
    pub fn config(&self) -> Option<&Map<String, Value>> {
        self.config.as_ref()
    }

    /// Flat field, pixel mask and count-rate table (`all`).
    #[must_use]
    pub fn calibration(&self) -> Option<&Calibration> {
        self.calibration.as_deref()
    }

    /// What the user of the detector had it append.
    #[must_use]
    pub fn appendix(&self) -> Option<&Frame> {
        self.parts.last().filter(|_| self.appendix)
    }

    /// All parts after the first, as they travel.
    #[must_use]
    pub fn parts(&self) -> &[Frame] {
        &self.parts
    }
}

impl From<DetectorHeader> for StreamMessage {
    fn from(body: DetectorHeader) -> Self {
        let header = Header::new(DetectorHeader::HTYPE)
            .with("series", body.series)
            .with("header_detail", body.detail().name());
        StreamMessage {
            header,
            body: Body::DetectorHeader(Box::new(body)),
        }
    }
}

impl DetectorEnd {
    /// The `htype` of the message.
    pub const HTYPE: &str = "dseries_end-1.0";

    /// The end of a series.
    #[must_use]
    pub fn new(series: u64) -> Self {
        DetectorEnd {
            series,
            parts: Vec::new(),
        }
    }

    pub(crate) fn read(header: &Header, parts: Vec<Frame>) -> Result<Self, DetectorError> {
        let series = series_of(header)?;
        Ok(DetectorEnd { series, parts })
    }

    /// The number of the series.
    #[must_use]
    pub fn series(&self) -> u64 {
        self.series
    }

    /// All parts after the first: detectors send none.
    #[must_use]
    pub fn parts(&self) -> &[Frame] {
        &self.parts
    }
}

impl From<DetectorEnd> for StreamMessage {
    fn from(body: DetectorEnd) -> Self {
        StreamMessage {
            header: Header::new(DetectorEnd::HTYPE).with("series", body.series),
            body: Body::DetectorEnd(body),
        }
    }
}

pub(super) fn series_of(header: &Header) -> Result<u64, DetectorError> {
    header.series().ok_or(DetectorError::Field {
        part: 0,
        field: "series",
    })
}
