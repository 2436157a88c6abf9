//! Which frame a message is: its number, within which series, from which source.

use std::fmt;

use crate::Header;

/// The number of a message's frame, and what it counts within.
///
/// ```
/// use flexbond_stream::{FrameId, Header, Numbering};
///
/// let header = Header::new("dimage-1.0").with("series", 3).with("frame", 41);
/// let id = FrameId::of(&header).unwrap();
/// assert_eq!((id.numbering, id.series, id.number), (Numbering::Frame, Some(3), 41));
///
/// let header = Header::new("bsr_m-1.1").with("pulse_id", 9_000);
/// assert_eq!(FrameId::of(&header).unwrap().numbering, Numbering::PulseId);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct FrameId<'a> {
    /// Which kind of number it is.
    pub numbering: Numbering,
    /// Where the data was made; empty where that is not said.
    pub source: &'a str,
    /// The series that the number counts within; a new series begins anew.
    pub series: Option<u64>,
    /// The number.
    pub number: u64,
}

/// What numbers a stream's messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Numbering {
    /// The field `frame` (`array-1.0`, `raw-1.0`, Dectris V1), which grows by one.
    Frame,
    /// The field `pulse_id` (bsread), which grows by a constant that depends on the rate of the source.
    PulseId,
    /// The image id of Dectris' stream V2, which grows by one.
    Image,
}

impl<'a> FrameId<'a> {
    /// A number without series or source.
    #[must_use]
    pub fn new(numbering: Numbering, number: u64) -> Self {
        FrameId {
            numbering,
            source: "",
            series: None,
            number,
        }
    }

    /// Sets the series.
    #[must_use]
    pub fn series(mut self, series: impl Into<Option<u64>>) -> Self {
        self.series = series.into();
        self
    }

    /// Sets the source.
    #[must_use]
    pub fn source(mut self, source: &'a str) -> Self {
        self.source = source;
        self
    }

    /// The number in a header, where there is one: `frame`, or else `pulse_id`; the other way round in the main
    /// header of bsread.
    #[must_use]
    pub fn of(header: &'a Header) -> Option<Self> {
        let frame = || FrameId::numbered(header, Numbering::Frame);
        let pulse = || FrameId::numbered(header, Numbering::PulseId);
        if header.htype().starts_with("bsr_m-") {
            pulse().or_else(frame)
        } else {
            frame().or_else(pulse)
        }
    }

    /// The number of one kind in a header, where there is one.
    #[must_use]
    pub fn numbered(header: &'a Header, numbering: Numbering) -> Option<Self> {
        let number = match numbering {
            Numbering::Frame => header.frame(),
            Numbering::PulseId => header.number("pulse_id"),
            // The summary of a message of stream V2 calls it as all other streams do.
            Numbering::Image if header.htype().starts_with("stream2-") => header.frame(),
            Numbering::Image => header.number("image_id"),
        };
        number.map(|number| FrameId {
            numbering,
            source: header.source().unwrap_or_default(),
            series: header.number("series").or_else(|| header.number("series_id")),
            number,
        })
    }
}

impl Numbering {
    /// The name of the field in headers.
    #[must_use]
    pub fn field(self) -> &'static str {
        match self {
            Numbering::Frame => "frame",
            Numbering::PulseId => "pulse_id",
            Numbering::Image => "image_id",
        }
    }
}

/// The name of the field.
impl fmt::Display for Numbering {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.field())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_main_header_of_bsread_goes_by_its_pulse() {
        let header = Header::new("bsr_m-1.1").with("frame", 1).with("pulse_id", 2);
        assert_eq!(FrameId::of(&header).unwrap().number, 2);
        let header = Header::new("array-1.0").with("frame", 1).with("pulse_id", 2);
        assert_eq!(FrameId::of(&header).unwrap().number, 1);
        let header = Header::new("array-1.0").with("pulse_id", 2).with("source", "cam");
        let id = FrameId::of(&header).unwrap();
        assert_eq!((id.number, id.source), (2, "cam"));
    }

    #[test]
    fn images_of_stream_v2_are_numbered() {
        let header = Header::new("stream2-image").with("series", 3).with("frame", 41);
        let id = FrameId::numbered(&header, Numbering::Image).unwrap();
        assert_eq!((id.series, id.number), (Some(3), 41));
        assert_eq!(
            FrameId::numbered(&Header::new("dimage-1.0").with("frame", 41), Numbering::Image),
            None
        );
    }

    #[test]
    fn what_is_no_number_is_none() {
        for header in [
            Header::new("raw-1.0"),
            Header::new("raw-1.0").with("frame", -1),
            Header::new("raw-1.0").with("frame", 1.5),
            Header::new("raw-1.0").with("frame", "1"),
        ] {
            assert_eq!(FrameId::of(&header), None, "{header}");
        }
    }
}
