//! Typed arrays (RFC 8746, section 2): one dimension, one type of number.

use bytes::Bytes;
use flexbond_transport::Frame;
use minicbor::data::Tag;
use serde_json::{Value, json};

use super::field::{Decode, Encode};
use super::number::half_to_f64;
use super::reader::{Misfit, Reader};
use super::writer::{Encoder, Written};
use super::{ByteString, DataError, MAX_DATA, NumberType, ShapeError};
use crate::{Arrays, Element, ElementType, Endianness, Layout, bytes_of};

/// Numbers of one type, one after the other: the table of the count-rate correction, and the content of a
/// [`MultiDimArray`](super::MultiDimArray).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TypedArray {
    number: NumberType,
    stored: ByteString,
}

impl TypedArray {
    /// Numbers of a type in `stored`.
    ///
    /// # Errors
    /// [`ShapeError::Partial`] when bytes that are not compressed are no whole number of elements.
    pub fn new(number: NumberType, stored: ByteString) -> Result<Self, ShapeError> {
        match &stored {
            ByteString::Plain(bytes) => whole(number, bytes.len())?,
            // Their number is known once they are decompressed.
            ByteString::Compressed(_) => {}
        }
        Ok(TypedArray { number, stored })
    }

    /// Numbers in the order of this machine. Nothing is copied.
    ///
    /// # Errors
    /// [`ShapeError::NoNumber`] for elements that typed arrays do not have.
    pub fn from_elements<T: Element>(elements: Vec<T>) -> Result<Self, ShapeError> {
        let number = NumberType::new(T::TYPE, Endianness::NATIVE).ok_or(ShapeError::NoNumber(T::TYPE))?;
        TypedArray::new(number, ByteString::Plain(bytes_of(elements)))
    }

    /// The type of the numbers.
    #[must_use]
    pub fn number_type(&self) -> NumberType {
        self.number
    }

    /// The bytes as they travel, compressed or not.
    #[must_use]
    pub fn stored(&self) -> &ByteString {
        &self.stored
    }

    /// The bytes of the numbers: a slice of the message, or new memory when they are decompressed.
    ///
    /// # Errors
    /// [`DataError`]; more than [`MAX_DATA`] bytes are one.
    pub fn data(&self) -> Result<Bytes, DataError> {
        self.data_within(MAX_DATA)
    }

    /// As [`data`](Self::data), with another limit on what is decompressed, in bytes.
    ///
    /// # Errors
    /// [`DataError`].
    pub fn data_within(&self, limit: usize) -> Result<Bytes, DataError> {
        let data = self.stored.data(None, limit)?;
        whole(self.number, data.len())?;
        Ok(data)
    }

    /// The numbers as an array of one dimension, see [`Arrays::get`].
    ///
    /// # Errors
    /// [`DataError`]; [`DataError::NoNumber`] for `float128`.
    pub fn to_arrays(&self) -> Result<Arrays, DataError> {
        let data = self.data()?;
        let len = data.len() / self.number.size();
        arrays(self.number, &[len], data)
    }

    /// The numbers as `f64`, whatever they are; large 64-bit integers are rounded.
    ///
    /// # Errors
    /// [`DataError`]; [`DataError::NoNumber`] for `float128`.
    pub fn to_f64(&self) -> Result<Vec<f64>, DataError> {
        numbers(self.number, &self.data()?)
    }
}

fn whole(number: NumberType, size: usize) -> Result<(), ShapeError> {
    let element = number.size();
    match size % element {
        0 => Ok(()),
        _ => Err(ShapeError::Partial { size, element }),
    }
}

/// `data` as an array in C order; the caller knows that its size is right.
pub(super) fn arrays(number: NumberType, shape: &[usize], data: Bytes) -> Result<Arrays, DataError> {
    let element = number.element().ok_or(DataError::NoNumber(number.name()))?;
    let actual = data.len();
    // Shapes are checked when arrays are made, so neither of these fails.
    let overflow = || ShapeError::Overflow(shape.iter().map(|&extent| extent as u64).collect());
    let layout = Layout::new(element, number.endianness(), shape).map_err(|_| overflow())?;
    let expected = layout.size();
    let arrays = Arrays::new(layout, vec![Frame::from(data)]);
    Ok(arrays.map_err(|_| ShapeError::Length { expected, actual })?)
}

/// Each number of `data` as `f64`.
pub(super) fn numbers(number: NumberType, data: &[u8]) -> Result<Vec<f64>, DataError> {
    fn all<T: Element>(data: &[u8], order: Endianness, convert: impl Fn(T) -> f64) -> Vec<f64> {
        let elements = data.chunks_exact(size_of::<T>());
        elements.map(|bytes| convert(T::read(bytes, order))).collect()
    }

    let order = number.endianness();
    let numbers = match number.element() {
        Some(ElementType::UInt8) => all::<u8>(data, order, f64::from),
        Some(ElementType::UInt16) => all::<u16>(data, order, f64::from),
        Some(ElementType::UInt32) => all::<u32>(data, order, f64::from),
        Some(ElementType::UInt64) => all::<u64>(data, order, |value| value as f64),
        Some(ElementType::Int8) => all::<i8>(data, order, f64::from),
        Some(ElementType::Int16) => all::<i16>(data, order, f64::from),
        Some(ElementType::Int32) => all::<i32>(data, order, f64::from),
        Some(ElementType::Int64) => all::<i64>(data, order, |value| value as f64),
        Some(ElementType::Float16) => all::<u16>(data, order, half_to_f64),
        Some(ElementType::Float32) => all::<f32>(data, order, f64::from),
        Some(ElementType::Float64) => all::<f64>(data, order, |value| value),
        _ => return Err(DataError::NoNumber(number.name())),
    };
    Ok(numbers)
}

impl Decode for TypedArray {
    fn read(reader: &mut Reader<'_>) -> Result<Self, Misfit> {
        let number = NumberType::from_tag(reader.tag()?).ok_or(Misfit::Form)?;
        Ok(TypedArray::new(number, ByteString::read(reader)?)?)
    }
}

impl Encode for TypedArray {
    fn write(&self, encoder: &mut Encoder) -> Written {
        encoder.tag(Tag::new(self.number.tag()))?;
        self.stored.write(encoder)
    }

    fn size(&self) -> usize {
        2 + self.stored.size()
    }

    fn describe(&self) -> Value {
        json!({
            "type": self.number.name(),
            "compression": self.stored.compression(),
            "size": self.stored.stored().len(),
        })
    }
}
