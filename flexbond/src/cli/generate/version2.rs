//! Dectris' stream version 2: a CBOR map for the start of a series, each image, and the end.

use std::time::{Duration, SystemTime};

use super::super::Failure;
use super::super::failure::explain;
use super::camera::{self, Camera, Compression};
use super::source::{Place, Source, in_turn};
use crate::stream::Array;
use crate::stream::detector::HeaderDetail;
use crate::stream::stream2::{
    Algorithm, Axis, ByteString, Channels, DateTime, End, Event, Image, Message as Stream2, MultiDimArray,
    NumberType, Rational, Start,
};
use crate::transport::{Frame, Message};

/// The one channel: detectors have one for each threshold.
const CHANNEL: &str = "threshold_1";
/// Ticks of the detector's clock in a second.
const CLOCK: u64 = 50_000_000;

/// A detector that speaks version 2.
///
/// A message is a single part, so that each one is put together anew: the image is copied into it, once.
pub(super) struct Version2 {
    camera: Camera,
    tables: Option<(MultiDimArray, MultiDimArray)>,
    /// Compressed.
    images: Vec<MultiDimArray>,
    began: SystemTime,
}

impl Version2 {
    pub(super) fn new(camera: Camera) -> Result<Self, Failure> {
        let images: Result<Vec<_>, _> = camera
            .pictures
            .iter()
            .map(|picture| packed(picture, camera.compression))
            .collect();
        let images = images?;
        let tables = match camera.detail {
            HeaderDetail::All => Some((
                packed(&camera.flatfield()?, Compression::None)?,
                packed(&camera.pixel_mask()?, Compression::None)?,
            )),
            HeaderDetail::None | HeaderDetail::Basic => None,
        };
        Ok(Version2 {
            camera,
            tables,
            images,
            began: SystemTime::now(),
        })
    }

    fn describe(&self, start: &mut Start, images: Option<u64>) {
        let camera = &self.camera;
        let (columns, rows) = camera.extents();
        start.arm_date = Some(DateTime::from(self.began));
        start.beam_center_x = Some(columns as f64 / 2.0);
        start.beam_center_y = Some(rows as f64 / 2.0);
        start.channels = Some(vec![CHANNEL.to_owned()]);
        start.count_time = Some(camera.count_time().as_secs_f64());
        start.countrate_correction_enabled = Some(true);
        start.detector_description = Some(camera::DESCRIPTION.to_owned());
        start.detector_serial_number = Some(camera::SERIAL_NUMBER.to_owned());
        start.detector_translation = Some(vec![0.0, 0.0, -0.1]);
        start.flatfield_enabled = Some(true);
        start.frame_time = Some(camera.frame_time.as_secs_f64());
        start.goniometer = Some(Channels::from_iter([("omega", Axis::new(0.0, 0.1))]));
        start.image_dtype = Some(camera.layout().element().name().to_owned());
        start.image_size_x = Some(columns as u64);
        start.image_size_y = Some(rows as u64);
        start.incident_energy = Some(camera::ENERGY);
        start.incident_wavelength = Some(camera::WAVELENGTH);
        start.number_of_images = images;
        start.pixel_mask_enabled = Some(true);
        start.pixel_size_x = Some(camera::PIXEL_SIZE);
        start.pixel_size_y = Some(camera::PIXEL_SIZE);
        start.saturation_value = Some(camera.saturation());
        start.sensor_material = Some("Si".to_owned());
        start.sensor_thickness = Some(450e-6);
        start.threshold_energy = Some(Channels::from_iter([(CHANNEL, camera::ENERGY / 2.0)]));
        start.virtual_pixel_interpolation_enabled = Some(false);
    }
}

fn packed(array: &Array, compression: Compression) -> Result<MultiDimArray, Failure> {
    let layout = array.layout();
    let refused = |error: &dyn std::error::Error| Failure::usage(format!("stream V2: {}", explain(error)));
    let number = NumberType::new(layout.element(), layout.endianness())
        .ok_or_else(|| Failure::usage(format!("stream V2 has no {}", layout.element())))?;
    let plain = ByteString::Plain(array.data().clone().into_bytes());
    let plain = MultiDimArray::new(layout.shape(), number, plain).map_err(|error| refused(&error))?;
    let algorithm = match compression {
        Compression::None => return Ok(plain),
        Compression::Lz4 => Algorithm::Lz4,
        Compression::Bslz4 => Algorithm::BitshuffleLz4,
    };
    plain.compress(algorithm).map_err(|error| refused(&error))
}

fn unique_id(series: u64) -> Option<String> {
    Some(format!("generated-{series:08}"))
}

fn travelling(event: Event) -> Message {
    Message::from(Frame::from(Stream2::new(event).encode()))
}

fn ticks(time: Duration) -> u64 {
    // Frame times are far below the five hundred years that fit.
    (time.as_secs_f64() * CLOCK as f64) as u64
}

impl Source for Version2 {
    fn begin(&mut self, series: u64, images: Option<u64>) -> Option<Message> {
        self.began = SystemTime::now();
        let mut start = Start::default();
        start.series_id = Some(series);
        start.series_unique_id = unique_id(series);
        if self.camera.detail != HeaderDetail::None {
            self.describe(&mut start, images);
        }
        if let Some((flatfield, mask)) = &self.tables {
            start.flatfield = Some(Channels::from_iter([(CHANNEL, flatfield.clone())]));
            start.pixel_mask = Some(Channels::from_iter([(CHANNEL, mask.clone())]));
        }
        Some(travelling(Event::Start(Box::new(start))))
    }

    fn image(&mut self, place: Place) -> Message {
        let begin = ticks(self.camera.frame_time).saturating_mul(place.frame);
        let real = ticks(self.camera.count_time());
        let mut image = Image::default();
        image.series_id = Some(place.series);
        image.series_unique_id = unique_id(place.series);
        image.image_id = Some(place.frame);
        image.real_time = Some(Rational::new(real, CLOCK));
        image.series_date = Some(DateTime::from(self.began));
        image.start_time = Some(Rational::new(begin, CLOCK));
        image.stop_time = Some(Rational::new(begin.saturating_add(real), CLOCK));
        let pixels = in_turn(&self.images, place.number).clone();
        image.data = Some(Channels::from_iter([(CHANNEL, pixels)]));
        travelling(Event::Image(image))
    }

    fn end(&mut self, series: u64) -> Option<Message> {
        let mut end = End::default();
        end.series_id = Some(series);
        end.series_unique_id = unique_id(series);
        Some(travelling(Event::End(end)))
    }

    fn size(&self) -> usize {
        let sizes = self.images.iter().map(|image| image.stored().stored().len());
        sizes.sum::<usize>() / self.images.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::generate::trial::{SERIES, cameras, end, places};
    use crate::stream::{Body, Decoder, ElementType};

    #[test]
    fn a_series_is_understood() {
        for (camera, pictures, detail) in cameras(&[ElementType::UInt16]) {
            let mut source = Version2::new(camera).unwrap();
            let mut decoder = Decoder::new();

            let start = decoder.decode(&source.begin(SERIES, Some(3)).unwrap()).unwrap();
            let Body::Stream2(start) = &start.body else {
                panic!("no message of stream V2")
            };
            let Event::Start(start) = start.event() else {
                panic!("no start")
            };
            assert_eq!(start.series_id, Some(SERIES));
            assert_eq!(
                start.number_of_images,
                (detail != HeaderDetail::None).then_some(3)
            );
            assert_eq!(start.pixel_mask.is_some(), detail == HeaderDetail::All);
            assert!(start.other.is_empty(), "{:?}", start.other);
            for place in places() {
                let frame = place.frame;
                let message = decoder.decode(&source.image(place)).unwrap();
                let Body::Stream2(message) = &message.body else {
                    panic!("no message of stream V2")
                };
                assert_eq!(
                    (message.series_id(), message.image_id()),
                    (Some(SERIES), Some(frame))
                );
                let Event::Image(image) = message.event() else {
                    panic!("no image")
                };
                assert_eq!(image.start_time, Some(Rational::new(frame * CLOCK / 100, CLOCK)));
                let arrays = image.channel(CHANNEL).unwrap().to_arrays().unwrap();
                assert_eq!(arrays.buffers()[0], *pictures[frame as usize % 2].data());
            }
            end(&mut source, &mut decoder);
        }
    }
}
