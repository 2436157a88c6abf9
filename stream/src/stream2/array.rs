//! Multi-dimensional arrays (RFC 8746, section 3.1): images, masks and flat fields.

use bytes::Bytes;
use minicbor::data::Tag;
use serde_json::{Value, json};

use super::field::{Decode, Encode};
use super::reader::{Misfit, Reader};
use super::typed::{arrays, numbers};
use super::writer::{Encoder, Written};
use super::{Algorithm, ByteString, DataError, MAX_DATA, NumberType, ShapeError, TypedArray};
use crate::{Arrays, Element, Layout};

/// In which order the elements of an array travel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Order {
    /// C order (tag 40): the last index runs fastest.
    #[default]
    RowMajor,
    /// Fortran order (tag 1040): the first index runs fastest.
    ColumnMajor,
}

impl Order {
    const fn tag(self) -> u64 {
        match self {
            Order::RowMajor => 40,
            Order::ColumnMajor => 1040,
        }
    }
}

/// An array of any dimensions: for images two, rows first.
///
/// Dimensions and bytes agree: of arrays that are not compressed from the start, of compressed ones once
/// [`data`](Self::data) is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MultiDimArray {
    shape: Vec<usize>,
    order: Order,
    elements: TypedArray,
    // Product of shape and element size.
    size: usize,
}

impl MultiDimArray {
    /// An array of `shape` in C order over bytes that are or are not compressed.
    ///
    /// # Errors
    /// [`ShapeError`].
    pub fn new(shape: &[usize], number: NumberType, stored: ByteString) -> Result<Self, ShapeError> {
        Self::with_order(shape, Order::RowMajor, TypedArray::new(number, stored)?)
    }

    /// An array of `shape` in C order over numbers of this machine. Nothing is copied.
    ///
    /// # Errors
    /// [`ShapeError`].
    pub fn from_elements<T: Element>(shape: &[usize], elements: Vec<T>) -> Result<Self, ShapeError> {
        Self::with_order(shape, Order::RowMajor, TypedArray::from_elements(elements)?)
    }

    /// An array of `shape`, whose elements travel in either order.
    ///
    /// # Errors
    /// [`ShapeError`].
    pub fn with_order(shape: &[usize], order: Order, elements: TypedArray) -> Result<Self, ShapeError> {
        if shape.len() > Layout::MAX_DIMENSIONS {
            return Err(ShapeError::TooManyDimensions(shape.len()));
        }
        let element = elements.number_type().size();
        // A zero dimension makes any array empty, even where the others would overflow.
        let size = if shape.contains(&0) {
            Some(0)
        } else {
            shape
                .iter()
                .try_fold(element, |size, &extent| size.checked_mul(extent))
        };
        let overflow = || ShapeError::Overflow(shape.iter().map(|&extent| extent as u64).collect());
        let expected = size.ok_or_else(overflow)?;
        if let ByteString::Plain(bytes) = elements.stored()
            && bytes.len() != expected
        {
            let actual = bytes.len();
            return Err(ShapeError::Length { expected, actual });
        }
        Ok(MultiDimArray {
            shape: shape.to_vec(),
            order,
            elements,
            size: expected,
        })
    }

    /// The same array, compressed; what is compressed already is decompressed first.
    ///
    /// # Errors
    /// [`DataError`].
    pub fn compress(&self, algorithm: Algorithm) -> Result<Self, DataError> {
        let number = self.number_type();
        let stored = ByteString::compress(algorithm, &self.data()?, number.size())?;
        let elements = TypedArray::new(number, stored)?;
        Ok(Self::with_order(&self.shape, self.order, elements)?)
    }

    /// The extent of each dimension: rows and columns of an image.
    #[must_use]
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// In which order the elements travel.
    #[must_use]
    pub fn order(&self) -> Order {
        self.order
    }

    /// The type of the elements.
    #[must_use]
    pub fn number_type(&self) -> NumberType {
        self.elements.number_type()
    }

    /// The bytes as they travel, compressed or not.
    #[must_use]
    pub fn stored(&self) -> &ByteString {
        self.elements.stored()
    }

    /// Bytes of all elements together, not compressed.
    #[must_use]
    pub fn size(&self) -> usize {
        self.size
    }

    /// The bytes of all elements, in the order in which they travel: a slice of the message, or new memory when they
    /// are decompressed.
    ///
    /// # Errors
    /// [`DataError`]; more than [`MAX_DATA`] bytes are one. No memory is taken before the compressed data were seen to
    /// be able to hold so many.
    pub fn data(&self) -> Result<Bytes, DataError> {
        self.data_within(MAX_DATA)
    }

    /// As [`data`](Self::data), with another limit on what is decompressed, in bytes.
    ///
    /// # Errors
    /// [`DataError`].
    pub fn data_within(&self, limit: usize) -> Result<Bytes, DataError> {
        let (size, compressed) = (self.size, self.stored().compression().is_some());
        if compressed && size > limit {
            return Err(DataError::TooLarge { size, limit });
        }
        self.stored().data(Some(size), limit)
    }

    /// As [`data`](Self::data), into memory of the caller's, which can be used again for the next image.
    ///
    /// # Errors
    /// [`DataError`]; [`DataError::Size`] when `out` does not have [`size`](Self::size) bytes. What is in `out` then
    /// means nothing.
    pub fn data_into(&self, out: &mut [u8]) -> Result<(), DataError> {
        if out.len() != self.size {
            return Err(DataError::Size {
                declared: out.len(),
                expected: self.size,
            });
        }
        self.stored().data_into(out)
    }

    /// The array as the crate's own, from which [`Arrays::get`] gives a view.
    ///
    /// Those are in C order, so that an array in Fortran order comes with its dimensions reversed.
    ///
    /// # Errors
    /// [`DataError`]; [`DataError::NoNumber`] for `float128`.
    pub fn to_arrays(&self) -> Result<Arrays, DataError> {
        let mut shape = self.shape.clone();
        if self.order == Order::ColumnMajor {
            shape.reverse();
        }
        arrays(self.number_type(), &shape, self.data()?)
    }

    /// The elements as `f64`, whatever they are, in the order in which they travel; large 64-bit integers are rounded.
    ///
    /// # Errors
    /// [`DataError`]; [`DataError::NoNumber`] for `float128`.
    pub fn to_f64(&self) -> Result<Vec<f64>, DataError> {
        numbers(self.number_type(), &self.data()?)
    }
}

impl Decode for MultiDimArray {
    fn read(reader: &mut Reader<'_>) -> Result<Self, Misfit> {
        let order = match reader.tag()? {
            40 => Order::RowMajor,
            1040 => Order::ColumnMajor,
            _ => return Err(Misfit::Form),
        };
        let mut count = reader.list()?;
        reader.next(&mut count)?;
        let mut extents: Vec<u64> = Vec::new();
        let mut dimensions = reader.list()?;
        while reader.more(&mut dimensions)? {
            if extents.len() == Layout::MAX_DIMENSIONS {
                return Err(ShapeError::TooManyDimensions(extents.len() + 1).into());
            }
            extents.push(reader.unsigned()?);
        }
        reader.next(&mut count)?;
        let elements = TypedArray::read(reader)?;
        reader.end(&mut count)?;
        let shape: Result<Vec<usize>, _> = extents.iter().copied().map(usize::try_from).collect();
        let shape = shape.map_err(|_| ShapeError::Overflow(extents))?;
        Ok(Self::with_order(&shape, order, elements)?)
    }
}

impl Encode for MultiDimArray {
    fn write(&self, encoder: &mut Encoder) -> Written {
        encoder.tag(Tag::new(self.order.tag()))?.array(2)?;
        encoder.array(self.shape.len() as u64)?;
        for &extent in &self.shape {
            encoder.u64(extent as u64)?;
        }
        self.elements.write(encoder)
    }

    fn size(&self) -> usize {
        16 + 9 * self.shape.len() + self.elements.size()
    }

    fn describe(&self) -> Value {
        json!({
            "type": self.number_type().name(),
            "shape": self.shape,
            "compression": self.stored().compression(),
            "size": self.stored().stored().len(),
        })
    }
}
