//! bsread: pulses of an accelerator with the values of many channels.

use std::f64::consts::TAU;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use super::super::Failure;
use super::super::failure::explain;
use super::camera::Compression;
use super::shape::Shape;
use super::source::{Place, Source, in_turn};
use crate::stream::bsread::{self, Channel, DataHeader, Pulse, Sample, Timestamp, Value};
use crate::stream::{Array, ElementType};
use crate::transport::{Frame, Message};

/// The number of the first pulse: one that is not mistaken for a frame number.
const FIRST_PULSE: u64 = 1_000_000;
/// Pulses with different values, which take turns.
const DIFFERENT: u64 = 64;
/// Numbers of the channel that is an array of one dimension.
const WAVEFORM: usize = 256;

/// Makes pulses: numbers, a waveform, a text, and a picture where one is asked for.
pub(super) struct Pulses {
    /// Their values; the numbers and times are those of the first pulse.
    pulses: Vec<Pulse>,
    /// Of the data header.
    hash: String,
    /// Of the data header.
    compression: &'static str,
}

impl Pulses {
    /// With `numbers` channels of one number each. Pictures, which take turns, make one channel more.
    pub(super) fn new(
        numbers: usize,
        camera: Option<(&Shape, &[Array])>,
        compression: Compression,
        seed: u64,
    ) -> Result<Self, Failure> {
        let refused = |error: bsread::EncodeError| Failure::usage(explain(&error));
        let mut channels: Vec<Channel> = (0..numbers)
            .map(|number| Channel::number(format!("GENERATOR:VALUE-{number:04}"), ElementType::Float64))
            .collect();
        channels.push(Channel::number("GENERATOR:WAVEFORM", ElementType::Float32).shape(&[WAVEFORM]));
        channels.push(Channel::text("GENERATOR:STATE"));
        let pictures = camera.map_or(&[][..], |camera| camera.1);
        if let Some((shape, [first, ..])) = camera {
            let channel = Channel::number("GENERATOR:PICTURE", first.layout().element());
            channels.push(
                channel
                    .shape(shape.fastest_first())
                    .compression(packing(compression)),
            );
        }
        let data_header = Arc::new(DataHeader::new(channels));
        let mut rng = fastrand::Rng::with_seed(seed);
        // Pictures are compressed with each pulse that has them: as many pulses as pictures will do.
        let different = match pictures.len() as u64 {
            0 => DIFFERENT,
            pictures => pictures,
        };
        let pulses: Result<Vec<Pulse>, Failure> = (0..different)
            .map(|turn| {
                let mut values = values(numbers, turn, &mut rng)?;
                if !pictures.is_empty() {
                    values.push(Value::from(in_turn(pictures, turn).clone()));
                }
                let samples = values
                    .into_iter()
                    .map(|value| Some(Sample::new(value, Timestamp::default())));
                Pulse::new(0, Timestamp::default(), &data_header, samples).map_err(refused)
            })
            .collect();
        Ok(Pulses {
            pulses: pulses?,
            hash: data_header.hash().to_owned(),
            compression: data_header.compression().name(),
        })
    }

    fn message(&self, place: Place, time: Timestamp) -> Message {
        let header = format!(
            "{{\"htype\":\"{}\",\"pulse_id\":{},\"hash\":\"{}\",\"global_timestamp\":{{\"sec\":{},\"ns\":{}}},\
             \"dh_compression\":\"{}\"}}",
            Pulse::HTYPE,
            FIRST_PULSE + place.number,
            self.hash,
            time.seconds,
            time.nanoseconds,
            self.compression,
        );
        let stamp = stamp(time);
        let parts = in_turn(&self.pulses, place.number).parts();
        let mut frames = Vec::with_capacity(1 + parts.len());
        frames.push(Frame::from(header));
        // The data header, then a value and its time for each channel.
        frames.extend(parts.iter().enumerate().map(|(index, part)| match index {
            0 => part.clone(),
            index if index % 2 == 0 => stamp.clone(),
            _ => part.clone(),
        }));
        Message::from(frames)
    }
}

fn packing(compression: Compression) -> bsread::Compression {
    match compression {
        Compression::None => bsread::Compression::None,
        Compression::Lz4 => bsread::Compression::Lz4,
        Compression::Bslz4 => bsread::Compression::BitshuffleLz4,
    }
}

/// What all channels but the picture say: waves of different lengths, with noise.
fn values(numbers: usize, turn: u64, rng: &mut fastrand::Rng) -> Result<Vec<Value>, Failure> {
    let phase = TAU * turn as f64 / DIFFERENT as f64;
    let mut values: Vec<Value> = (0..numbers)
        .map(|number| Value::from((phase * (1 + number % 7) as f64).sin() + 0.05 * (rng.f64() - 0.5)))
        .collect();
    let waveform = (0..WAVEFORM).map(|place| {
        let wave = (TAU * 4.0 * place as f64 / WAVEFORM as f64 + phase).sin();
        (wave + 0.05 * (rng.f64() - 0.5)) as f32
    });
    let waveform = Array::from_elements(&[WAVEFORM], waveform.collect())
        .map_err(|error| Failure::new(explain(&error)))?;
    values.push(Value::from(waveform));
    values.push(Value::from("RUNNING"));
    Ok(values)
}

/// In this machine's byte order, as all channels are.
fn stamp(time: Timestamp) -> Frame {
    let mut bytes = [0; Timestamp::SIZE];
    bytes[..8].copy_from_slice(&time.seconds.to_ne_bytes());
    bytes[8..].copy_from_slice(&time.nanoseconds.to_ne_bytes());
    Frame::copy_from_slice(&bytes)
}

fn now() -> Timestamp {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp {
        seconds: i64::try_from(now.as_secs()).unwrap_or(i64::MAX),
        nanoseconds: i64::from(now.subsec_nanos()),
    }
}

impl Source for Pulses {
    fn image(&mut self, place: Place) -> Message {
        self.message(place, now())
    }

    /// Of the whole message: what describes the data can be more than they are.
    fn size(&self) -> usize {
        let different = self.pulses.len();
        let messages = (0..different).map(|number| {
            let place = Place {
                number: number as u64,
                ..Place::default()
            };
            self.message(place, now()).size()
        });
        messages.sum::<usize>() / different
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::generate::picture::pictures;
    use crate::stream::{Decoder, StreamMessage};

    #[test]
    fn pulses_are_understood() {
        let shape = Shape::parse("40x30").unwrap();
        let pictures = pictures(ElementType::UInt16, &shape.slowest_first(), 1, 2).unwrap();
        for compression in [Compression::None, Compression::Lz4, Compression::Bslz4] {
            let pulses = Pulses::new(3, Some((&shape, &pictures)), compression, 1).unwrap();
            let mut decoder = Decoder::new();
            for number in 0..5 {
                let place = Place {
                    number,
                    ..Place::default()
                };
                let time = Timestamp {
                    seconds: 1_700_000_000,
                    nanoseconds: 17,
                };
                let message = pulses.message(place, time);
                let message = decoder.decode(&message).unwrap();
                let pulse = message.as_pulse().unwrap();
                assert_eq!(pulse.pulse_id(), Some(FIRST_PULSE + number));
                assert!(pulse.hash_fits());
                assert_eq!(pulse.timestamp(), Some(time));
                assert_eq!(pulse.iter().count(), 6);
                for reading in pulse.iter() {
                    assert_eq!(reading.timestamp().unwrap(), Some(time));
                    assert!(reading.value().unwrap().is_some());
                }
                let picture = pulse.get("GENERATOR:PICTURE").unwrap().value().unwrap();
                assert_eq!(picture, Some(Value::Array(pictures[number as usize % 2].clone())));
                let state = pulse.get("GENERATOR:STATE").unwrap().value().unwrap();
                assert_eq!(state, Some(Value::Text("RUNNING".to_owned())));
            }
            assert_eq!(decoder.counters().data_headers, 1);
        }
    }

    #[test]
    fn the_size_is_that_of_messages_on_average() {
        let shape = Shape::parse("64x32").unwrap();
        let pictures = pictures(ElementType::UInt16, &shape.slowest_first(), 1, 4).unwrap();
        let mut pulses = Pulses::new(10, Some((&shape, &pictures)), Compression::Bslz4, 1).unwrap();
        let sizes: Vec<usize> = (0..4)
            .map(|number| {
                let place = Place {
                    number,
                    ..Place::default()
                };
                pulses.image(place).size()
            })
            .collect();
        let (least, most) = (sizes.iter().min().unwrap(), sizes.iter().max().unwrap());
        assert!(
            (least..=most).contains(&&pulses.size()),
            "{sizes:?}: {}",
            pulses.size()
        );
    }

    #[test]
    fn the_picture_and_the_numbers_may_be_left_out() {
        let mut pulses = Pulses::new(0, None, Compression::None, 1).unwrap();
        let message = StreamMessage::decode(&pulses.image(Place::default())).unwrap();
        assert_eq!(message.as_pulse().unwrap().iter().count(), 2);
    }
}
