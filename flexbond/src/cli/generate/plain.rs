//! `raw-1.0` and `array-1.0`: a header with a growing frame number, and one block of data.

use std::fmt::Write;

use super::super::Failure;
use super::source::{Place, Source, in_turn};
use crate::stream::{Array, Arrays, ElementType, Encoding, Endianness, Header, Layout, StreamMessage};
use crate::transport::{Frame, Message};

/// Makes messages that share their blocks of data.
pub(super) struct Plain {
    /// The header's JSON up to the frame number, which comes last.
    prefix: String,
    data: Vec<Frame>,
}

impl Plain {
    /// A block of `size` bytes that any receiver can check.
    pub(super) fn ramp(size: usize, htype: &str, encoding: Encoding) -> Result<Self, Failure> {
        let (element, extent) = if size.is_multiple_of(4) {
            (ElementType::Int32, size / 4)
        } else {
            (ElementType::UInt8, size)
        };
        let layout = Layout::new(element, Endianness::NATIVE, &[1, extent])
            .map_err(|error| Failure::usage(error.to_string()))?;
        // Not all zeros, so that nothing on the way is flattered; not random, so that it can be checked.
        let mut data: Vec<u8> = Vec::new();
        data.try_reserve_exact(size)
            .map_err(|error| Failure::usage(format!("no memory for {size} bytes of data: {error}")))?;
        data.extend((0..size).map(|index| (index % 251) as u8));
        let array = Array::new(layout, data).map_err(|error| Failure::usage(error.to_string()))?;
        Ok(Plain::new(&[array], htype, encoding))
    }

    /// Arrays that take turns; at least one.
    pub(super) fn new(arrays: &[Array], htype: &str, encoding: Encoding) -> Self {
        let mut prefix = String::new();
        let data = arrays
            .iter()
            .map(|array| {
                let arrays = Arrays::from(array.clone()).compress(encoding);
                let message = StreamMessage::arrays(Header::new(htype), arrays);
                let mut header = message.header.clone();
                header.set("htype", htype);
                prefix = header.to_string();
                // An array is one buffer.
                message.parts().first().cloned().unwrap_or_default()
            })
            .collect();
        prefix.truncate(prefix.trim_end_matches('}').len());
        prefix.push_str(",\"frame\":");
        Plain { prefix, data }
    }
}

impl Source for Plain {
    fn image(&mut self, place: Place) -> Message {
        let mut header = String::with_capacity(self.prefix.len() + 21);
        header.push_str(&self.prefix);
        // Writing to a string always succeeds.
        let _ = write!(header, "{}}}", place.number);
        let data = in_turn(&self.data, place.number).clone();
        Message::from([Frame::from(header), data])
    }

    fn size(&self) -> usize {
        self.data.iter().map(|data| data.len()).sum::<usize>() / self.data.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::generate::picture::pictures;

    fn place(number: u64) -> Place {
        Place {
            number,
            ..Place::default()
        }
    }

    #[test]
    fn messages_are_what_their_header_says() {
        for (size, htype) in [
            (10_485, StreamMessage::RAW),
            (10_488, StreamMessage::ARRAY),
            (7, StreamMessage::ARRAY),
            (0, StreamMessage::ARRAY),
        ] {
            let mut plain = Plain::ramp(size, htype, Encoding::default()).unwrap();
            let message = StreamMessage::decode(&plain.image(place(12))).unwrap();
            assert_eq!(message.header.frame(), Some(12));
            assert_eq!(message.header.htype(), htype);
            assert_eq!(message.parts().len(), 1);
            assert_eq!(message.parts()[0].len(), size);
            assert_eq!(plain.size(), size);
            assert_eq!(message.as_arrays().is_some(), htype == StreamMessage::ARRAY);
        }
    }

    #[test]
    fn compressed_pictures_take_turns_and_come_back() {
        let pictures = pictures(ElementType::UInt16, &[40, 50], 1, 3).unwrap();
        for encoding in ["<", "lz4<", "bs16-lz4<"] {
            let mut plain = Plain::new(&pictures, StreamMessage::ARRAY, encoding.parse().unwrap());
            for number in 0..7 {
                let message = StreamMessage::decode(&plain.image(place(number))).unwrap();
                let array = message.as_arrays().unwrap().to_array(0).unwrap().unwrap();
                assert_eq!(array, pictures[number as usize % 3], "{encoding}");
            }
            assert_eq!(plain.size() < 4000, encoding != "<");
        }
    }
}
