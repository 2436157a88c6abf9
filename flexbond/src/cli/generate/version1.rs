//! Dectris' stream version 1: a header for each series, its images, its end.

use std::time::Duration;

use serde_json::{Map, Value, json};

use super::super::Failure;
use super::camera::{self, Camera, Compression};
use super::source::{Place, Source, in_turn};
use crate::stream::detector::{Calibration, DetectorEnd, DetectorHeader, DetectorImage, HeaderDetail, Times};
use crate::stream::{Array, Encoding, Endianness, StreamMessage};
use crate::transport::Message;

/// A detector that speaks version 1.
pub(super) struct Version1 {
    camera: Camera,
    calibration: Option<Calibration>,
    /// Compressed, to be numbered.
    images: Vec<DetectorImage>,
}

impl Version1 {
    pub(super) fn new(camera: Camera) -> Result<Self, Failure> {
        let encoding = encoding(camera.compression)?;
        let images = camera
            .pictures
            .iter()
            .map(|picture| DetectorImage::new(0, 0, picture, encoding))
            .collect();
        let calibration = match camera.detail {
            HeaderDetail::All => Some(Calibration::new(
                &camera.flatfield()?,
                &camera.pixel_mask()?,
                &countrate_table()?,
            )),
            HeaderDetail::None | HeaderDetail::Basic => None,
        };
        Ok(Version1 {
            camera,
            calibration,
            images,
        })
    }

    /// The detector's configuration, with the names that detectors have for it.
    fn configuration(&self, images: Option<u64>) -> Map<String, Value> {
        let camera = &self.camera;
        let (columns, rows) = camera.extents();
        let config = json!({
            "auto_summation": true,
            "beam_center_x": columns as f64 / 2.0,
            "beam_center_y": rows as f64 / 2.0,
            "bit_depth_image": camera.layout().element().size() * 8,
            "bit_depth_readout": 16,
            "compression": camera.compression.name(),
            "count_time": camera.count_time().as_secs_f64(),
            "countrate_correction_applied": true,
            "description": camera::DESCRIPTION,
            "detector_distance": 0.1,
            "detector_number": camera::SERIAL_NUMBER,
            "flatfield_correction_applied": true,
            "frame_time": camera.frame_time.as_secs_f64(),
            "nimages": images,
            "ntrigger": 1,
            "photon_energy": camera::ENERGY,
            "pixel_mask_applied": true,
            "sensor_material": "Si",
            "sensor_thickness": 450e-6,
            "threshold_energy": camera::ENERGY / 2.0,
            "trigger_mode": "ints",
            "wavelength": camera::WAVELENGTH,
            "x_pixel_size": camera::PIXEL_SIZE,
            "x_pixels_in_detector": columns,
            "y_pixel_size": camera::PIXEL_SIZE,
            "y_pixels_in_detector": rows,
        });
        match config {
            Value::Object(config) => config,
            // Written as an object above.
            _ => Map::new(),
        }
    }
}

/// How a compression is called in `dimage_d-1.0`; the bits of an element are filled in with the image.
pub(super) fn encoding(compression: Compression) -> Result<Encoding, Failure> {
    let encoding = match compression {
        Compression::None => return Ok(Encoding::raw(Endianness::NATIVE)),
        Compression::Lz4 => "lz4",
        Compression::Bslz4 => "bs16-lz4",
    };
    encoding
        .parse()
        .map_err(|error: crate::stream::UnknownEncoding| Failure::new(error.to_string()))
}

/// Rates, and what they are corrected to.
fn countrate_table() -> Result<Array, Failure> {
    let rates = (0..500).map(|step| step as f32 * 1e4);
    let dead_time = 1e-8;
    let table = rates.flat_map(|rate| [rate, rate * (1.0 + rate * dead_time)]);
    Array::from_elements(&[500, 2], table.collect()).map_err(|error| Failure::usage(error.to_string()))
}

/// Nanoseconds; more than five centuries after its beginning a series has no time any more.
fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

impl Source for Version1 {
    fn begin(&mut self, series: u64, images: Option<u64>) -> Option<Message> {
        let header = match (self.camera.detail, &self.calibration) {
            (HeaderDetail::None, _) => DetectorHeader::none(series),
            (_, Some(calibration)) => {
                DetectorHeader::all(series, self.configuration(images), calibration.clone())
            }
            (_, None) => DetectorHeader::basic(series, self.configuration(images)),
        };
        Some(StreamMessage::from(header).encode())
    }

    fn image(&mut self, place: Place) -> Message {
        let start = nanoseconds(self.camera.frame_time).saturating_mul(place.frame);
        let real = nanoseconds(self.camera.count_time());
        let image = in_turn(&self.images, place.number)
            .clone()
            .with_series(place.series)
            .with_frame(place.frame)
            .with_times(Times {
                start,
                stop: start.saturating_add(real),
                real,
            });
        StreamMessage::from(image).encode()
    }

    fn end(&mut self, series: u64) -> Option<Message> {
        Some(StreamMessage::from(DetectorEnd::new(series)).encode())
    }

    fn size(&self) -> usize {
        self.images.iter().map(|image| image.data().len()).sum::<usize>() / self.images.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::generate::trial::{SERIES, cameras, end, places};
    use crate::stream::{Body, Decoder, ElementType};

    #[test]
    fn a_series_is_understood() {
        let elements = [ElementType::UInt8, ElementType::UInt16, ElementType::UInt32];
        for (camera, pictures, detail) in cameras(&elements) {
            let mut source = Version1::new(camera).unwrap();
            let mut decoder = Decoder::new();

            let header = decoder.decode(&source.begin(SERIES, Some(3)).unwrap()).unwrap();
            let Body::DetectorHeader(header) = &header.body else {
                panic!("no header")
            };
            assert_eq!((header.series(), header.detail()), (SERIES, detail));
            if let Some(config) = header.config() {
                assert_eq!(
                    (&config["x_pixels_in_detector"], &config["nimages"]),
                    (&40.into(), &3.into())
                );
            }
            if let Some(calibration) = header.calibration() {
                assert_eq!(
                    calibration.pixel_mask.to_array().unwrap().layout().shape(),
                    [30, 40]
                );
                assert_eq!(calibration.countrate_table.layout().shape(), [500, 2]);
            }
            for place in places() {
                let frame = place.frame;
                let message = decoder.decode(&source.image(place)).unwrap();
                let image = message.as_image().unwrap();
                assert_eq!((image.series(), image.frame()), (SERIES, frame));
                assert_eq!(image.to_array().unwrap(), pictures[frame as usize % 2]);
                assert_eq!(image.times().unwrap().start, frame * 10_000_000);
            }
            end(&mut source, &mut decoder);
            while let Some(event) = decoder.poll_series_event() {
                use crate::stream::detector::SeriesEvent::{Ended, Started};
                assert!(
                    matches!(event, Started { .. } | Ended { images: 3, .. }),
                    "{event:?}"
                );
            }
        }
    }
}
