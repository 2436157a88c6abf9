//! One image of a detector: `dimage-1.0`.

use flexbond_transport::Frame;
use serde_json::Value;

use crate::checksum::md5_hex;
use crate::{Array, Body, Encoding, Header, HeaderError, Layout, LoadError, StreamMessage};

use super::DetectorError;
use super::reader::Reader;
use super::start::series_of;

/// One image of a series: the parts of a `dimage-1.0` message.
#[derive(Clone, Debug)]
pub struct DetectorImage {
    series: u64,
    frame: u64,
    hash: Option<String>,
    description: Header,
    layout: Layout,
    encoding: Encoding,
    config: Header,
    appendix: bool,
    // Everything after the first part, as it travels: description, data, configuration, appendix.
    parts: Vec<Frame>,
}

/// When an image was taken, in nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Times {
    /// Begin of the exposure since the series began (`start_time`).
    pub start: u64,
    /// End of the exposure since the series began (`stop_time`).
    pub stop: u64,
    /// Length of the exposure (`real_time`).
    pub real: u64,
}

const DATA: usize = 1;
const CONFIG: usize = 2;

impl DetectorImage {
    /// The `htype` of the message.
    pub const HTYPE: &str = "dimage-1.0";

    /// An image to be sent, packed in the way of `encoding`, [fitted](Encoding::for_layout) to the array. All times are
    /// zero at first.
    #[must_use]
    pub fn new(series: u64, frame: u64, array: &Array, encoding: Encoding) -> Self {
        let layout = array.layout().clone();
        let encoding = encoding.for_layout(&layout);
        let data = encoding.encode(array.data(), layout.element().size());
        let mut description = Header::new("dimage_d-1.0");
        layout.describe_for_detector(&mut description);
        description.set("encoding", encoding.to_string());
        description.set("size", data.len());
        let image = DetectorImage {
            series,
            frame,
            hash: Some(md5_hex(&data)),
            layout,
            encoding,
            config: Header::new("dconfig-1.0"),
            appendix: false,
            parts: vec![description.to_frame(), data, Frame::new()],
            description,
        };
        image.with_times(Times::default())
    }

    /// The same image under another number; its data are shared, and neither packed nor hashed again.
    #[must_use]
    pub fn with_frame(mut self, frame: u64) -> Self {
        self.frame = frame;
        self
    }

    /// The same image of another series.
    #[must_use]
    pub fn with_series(mut self, series: u64) -> Self {
        self.series = series;
        self
    }

    /// Sets the times of the image.
    #[must_use]
    pub fn with_times(mut self, times: Times) -> Self {
        self.config.set("start_time", times.start);
        self.config.set("stop_time", times.stop);
        self.config.set("real_time", times.real);
        self.parts[CONFIG] = self.config.to_frame();
        self
    }

    /// Adds the appendix, or replaces it.
    #[must_use]
    pub fn with_appendix(mut self, appendix: impl Into<Frame>) -> Self {
        self.parts.truncate(CONFIG + 1);
        self.parts.push(appendix.into());
        self.appendix = true;
        self
    }

    /// What a `dimage-1.0` message holds; `Ok(None)` when its encoding is not known here.
    pub(crate) fn read(header: &Header, parts: Vec<Frame>) -> Result<Option<Self>, DetectorError> {
        let series = series_of(header)?;
        let frame = header.frame().ok_or(DetectorError::Field {
            part: 0,
            field: "frame",
        })?;
        let mut reader = Reader::new(&parts);
        // An emulator leaves the `_` away.
        let description = reader.header("dimage_d-1.0", "dimaged-1.0")?;
        let part = reader.part();
        if !matches!(
            description.get("encoding"),
            None | Some(Value::Null | Value::String(_))
        ) {
            return Err(DetectorError::Field {
                part,
                field: "encoding",
            });
        }
        let Ok(encoding) = description.encoding().unwrap_or_default().parse::<Encoding>() else {
            return Ok(None);
        };
        let layout = Layout::from_detector(&description, encoding.endianness())
            .map_err(|error| DetectorError::Array { part, error })?;
        reader.take("the image data")?;
        let config = match reader.header("dconfig-1.0", "dconfig-1.0") {
            // The text that an emulator sends there is no JSON. The image can be had without its times.
            Err(DetectorError::Header {
                error: HeaderError::Json(_),
                ..
            }) => Header::new("dconfig-1.0"),
            config => config?,
        };
        let appendix = reader.appendix()?;
        Ok(Some(DetectorImage {
            series,
            frame,
            hash: header.text("hash").map(str::to_owned),
            description,
            layout,
            encoding,
            config,
            appendix,
            parts,
        }))
    }

    /// The number of the series.
    #[must_use]
    pub fn series(&self) -> u64 {
        self.series
    }

    /// The number of the image in its series, from zero.
    #[must_use]
    pub fn frame(&self) -> u64 {
        self.frame
    }

    /// What the sender says is the MD5 of the data, in hexadecimal digits. It is not checked: that would cost more than
    /// unpacking the image.
    #[must_use]
    pub fn hash(&self) -> Option<&str> {
        self.hash.as_deref()
    }

    /// Type and shape `[y, x]` of the image.
    #[must_use]
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// How the data are packed.
    #[must_use]
    pub fn encoding(&self) -> Encoding {
        self.encoding
    }

    /// `dimage_d-1.0` as it travels, with all fields.
    #[must_use]
    pub fn description(&self) -> &Header {
        &self.description
    }

    /// `dconfig-1.0` as it travels, with all fields; with no other than `htype` where the part is no JSON, as some
    /// emulators have it. [`parts`](Self::parts) has it as it came.
    #[must_use]
    pub fn config(&self) -> &Header {
        &self.config
    }

    /// When the image was taken; `None` when one of the three times is not said.
    #[must_use]
    pub fn times(&self) -> Option<Times> {
        Some(Times {
            start: self.time("start_time")?,
            stop: self.time("stop_time")?,
            real: self.time("real_time")?,
        })
    }

    fn time(&self, field: &str) -> Option<u64> {
        let time = self.config.get(field)?;
        // Emulators write them with a decimal point.
        let rounded = || time.as_f64().map(f64::round).filter(|&time| time >= 0.0);
        time.as_u64().or_else(|| rounded().map(|time| time as u64))
    }

    /// The data as they travel: packed.
    #[must_use]
    pub fn data(&self) -> &Frame {
        // Reading and building both put it there.
        &self.parts[DATA]
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

    /// The image, unpacked; shared where it travels unpacked. At most [`Array::DEFAULT_LIMIT`] bytes.
    ///
    /// # Errors
    /// [`LoadError`]: too large, or the data are not what the description says.
    pub fn to_array(&self) -> Result<Array, LoadError> {
        self.to_array_within(Array::DEFAULT_LIMIT)
    }

    /// As [`to_array`](Self::to_array) with another limit, in bytes of the unpacked image.
    ///
    /// # Errors
    /// [`LoadError`]: too large, or the data are not what the description says.
    pub fn to_array_within(&self, limit: usize) -> Result<Array, LoadError> {
        let actual = self.data().len();
        if let Some(declared) = self.description.number("size") {
            // Detectors say how long the part is; some emulators say how large the image is, in bytes or in pixels.
            let image = self.layout.size();
            let said = [actual, image, image / self.layout.element().size()];
            if !said.iter().any(|&size| declared == size as u64) {
                return Err(LoadError::Size { declared, actual });
            }
        }
        self.encoding.load(self.data(), &self.layout, limit)
    }
}

impl From<DetectorImage> for StreamMessage {
    fn from(body: DetectorImage) -> Self {
        let mut header = Header::new(DetectorImage::HTYPE)
            .with("series", body.series)
            .with("frame", body.frame);
        if let Some(hash) = &body.hash {
            header.set("hash", hash.as_str());
        }
        StreamMessage {
            header,
            body: Body::DetectorImage(Box::new(body)),
        }
    }
}
