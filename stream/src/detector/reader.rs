//! Takes the parts of a message one by one, and names the one that is wrong.

use flexbond_transport::Frame;
use serde_json::{Map, Value};

use crate::{Header, HeaderError, json_object};

use super::DetectorError;

/// The parts after the header; parts are numbered from 1 then.
pub(super) struct Reader<'a> {
    parts: &'a [Frame],
    taken: usize,
}

impl<'a> Reader<'a> {
    pub(super) fn new(parts: &'a [Frame]) -> Self {
        Reader { parts, taken: 0 }
    }

    /// The number of the part that was taken last.
    pub(super) fn part(&self) -> usize {
        self.taken
    }

    pub(super) fn take(&mut self, expected: &'static str) -> Result<&'a Frame, DetectorError> {
        self.taken += 1;
        self.parts.get(self.taken - 1).ok_or(DetectorError::MissingPart {
            part: self.taken,
            expected,
        })
    }

    /// The next part as a header of type `expected`, or `alias`.
    pub(super) fn header(&mut self, expected: &'static str, alias: &str) -> Result<Header, DetectorError> {
        let frame = self.take(expected)?;
        let part = self.taken;
        let header = Header::from_frame(frame).map_err(|error| DetectorError::Header { part, error })?;
        if header.htype() == expected || header.htype() == alias {
            return Ok(header);
        }
        Err(DetectorError::Htype {
            part,
            expected,
            actual: header.htype().to_owned(),
        })
    }

    /// The next part as a JSON object, whatever its fields.
    pub(super) fn object(&mut self, expected: &'static str) -> Result<Map<String, Value>, DetectorError> {
        let frame = self.take(expected)?;
        let part = self.taken;
        if frame.len() > Header::MAX_SIZE {
            let error = HeaderError::TooLong { size: frame.len() };
            return Err(DetectorError::Header { part, error });
        }
        json_object::parse(frame).map_err(|error| DetectorError::Header {
            part,
            error: error.into(),
        })
    }

    /// The end of the parts: whether there is an appendix.
    pub(super) fn appendix(self) -> Result<bool, DetectorError> {
        match self.parts.len() - self.taken {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(DetectorError::SurplusParts {
                actual: self.parts.len() + 1,
                most: self.taken + 2,
            }),
        }
    }
}
