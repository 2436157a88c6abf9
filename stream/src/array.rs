//! `array-1.0`: one header, then C-order buffers of one type and shape.

use std::borrow::Cow;

use bytes::Bytes;
use flexbond_transport::Frame;
use serde_json::Value;
use thiserror::Error;

use crate::{Element, ElementType, Endianness, Header};

/// The arrays of an `array-1.0` message: zero or more buffers that share one element type, shape and byte order.
///
/// Buffers are the received bytes themselves; nothing is copied until a caller asks for it.
#[derive(Clone, Debug)]
pub struct Arrays {
    layout: Layout,
    buffers: Vec<Frame>,
}

/// Element type, shape and byte order: what turns bytes into an array.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    element: ElementType,
    endianness: Endianness,
    shape: Vec<usize>,
    // Product of shape and element size; checked once, here, not at every use.
    size: usize,
}

/// Why an `array-1.0` message does not describe arrays.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ArrayError {
    /// `type` is missing or no string.
    #[error("the header has no type")]
    NoType,
    /// `type` is none of numpy's names known here.
    #[error(transparent)]
    UnknownType(#[from] crate::UnknownElementType),
    /// `shape` is missing, or not a list of integers from zero on.
    #[error("the header's shape is not a list of whole numbers")]
    BadShape,
    /// More dimensions than numpy has.
    #[error("{0} dimensions, more than {max}", max = Layout::MAX_DIMENSIONS)]
    TooManyDimensions(usize),
    /// The shape needs more bytes than a machine can address.
    #[error("the shape {0:?} is too large")]
    Overflow(Vec<usize>),
    /// `endianness` is neither `little` nor `big`.
    #[error("the header's endianness is neither little nor big")]
    BadEndianness,
    /// A buffer does not have the length that type and shape ask for.
    #[error("buffer {index} has {actual} bytes, type and shape ask for {expected}")]
    Length {
        /// Which buffer, from zero.
        index: usize,
        /// What shape and type ask for, in bytes.
        expected: usize,
        /// What there is, in bytes.
        actual: usize,
    },
}

impl Layout {
    /// The most dimensions that a shape may have: numpy's limit.
    pub const MAX_DIMENSIONS: usize = 64;

    /// Checks a layout; `shape` is slowest dimension first (C order), and an empty shape is a single element.
    ///
    /// # Errors
    /// [`ArrayError::TooManyDimensions`] and [`ArrayError::Overflow`].
    pub fn new(element: ElementType, endianness: Endianness, shape: &[usize]) -> Result<Self, ArrayError> {
        if shape.len() > Self::MAX_DIMENSIONS {
            return Err(ArrayError::TooManyDimensions(shape.len()));
        }
        // A zero dimension makes any array empty, even where the others would overflow.
        let size = if shape.contains(&0) {
            Some(0)
        } else {
            shape
                .iter()
                .try_fold(element.size(), |size, &extent| size.checked_mul(extent))
        };
        let size = size.ok_or_else(|| ArrayError::Overflow(shape.to_vec()))?;
        Ok(Layout {
            element,
            endianness,
            shape: shape.to_vec(),
            size,
        })
    }

    /// Reads `type`, `shape` and `endianness` (little where it is not said) of a header.
    ///
    /// # Errors
    /// [`ArrayError`] for the first field that is wrong.
    pub fn from_header(header: &Header) -> Result<Self, ArrayError> {
        let element: ElementType = header.text("type").ok_or(ArrayError::NoType)?.parse()?;
        let endianness = match header.get("endianness") {
            None | Some(Value::Null) => Endianness::Little,
            Some(value) if value == "little" => Endianness::Little,
            Some(value) if value == "big" => Endianness::Big,
            Some(_) => return Err(ArrayError::BadEndianness),
        };
        let extents = header
            .get("shape")
            .and_then(Value::as_array)
            .ok_or(ArrayError::BadShape)?;
        if extents.len() > Self::MAX_DIMENSIONS {
            return Err(ArrayError::TooManyDimensions(extents.len()));
        }
        let shape: Option<Vec<usize>> = extents
            .iter()
            .map(|extent| usize::try_from(extent.as_u64()?).ok())
            .collect();
        Layout::new(element, endianness, &shape.ok_or(ArrayError::BadShape)?)
    }

    /// Writes `type`, `shape` and `endianness` into a header.
    pub fn describe(&self, header: &mut Header) {
        header.set("type", self.element.name());
        header.set(
            "shape",
            self.shape
                .iter()
                .map(|&extent| Value::from(extent))
                .collect::<Vec<_>>(),
        );
        header.set("endianness", self.endianness.name());
    }

    /// The type of each element.
    #[must_use]
    pub fn element(&self) -> ElementType {
        self.element
    }

    /// The order of the bytes within each element.
    #[must_use]
    pub fn endianness(&self) -> Endianness {
        self.endianness
    }

    /// The extent of each dimension, slowest first.
    #[must_use]
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// Bytes of one buffer.
    #[must_use]
    pub fn size(&self) -> usize {
        self.size
    }
}

impl Arrays {
    /// Arrays over `buffers`. An empty buffer means "no data" and fits every layout.
    ///
    /// # Errors
    /// [`ArrayError::Length`] for the first buffer whose length is not the layout's.
    pub fn new(layout: Layout, buffers: Vec<Frame>) -> Result<Self, ArrayError> {
        for (index, buffer) in buffers.iter().enumerate() {
            if !buffer.is_empty() && buffer.len() != layout.size {
                return Err(ArrayError::Length {
                    index,
                    expected: layout.size,
                    actual: buffer.len(),
                });
            }
        }
        Ok(Arrays { layout, buffers })
    }

    /// Element type, shape and byte order of every buffer.
    #[must_use]
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// How many buffers there are, those without data included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.buffers.len()
    }

    /// Whether there is no buffer at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.buffers.is_empty()
    }

    /// The buffers as they travel.
    #[must_use]
    pub fn buffers(&self) -> &[Frame] {
        &self.buffers
    }

    /// The array at `index`; `None` past the end, and for an empty buffer of a layout that is not empty.
    #[must_use]
    pub fn get(&self, index: usize) -> Option<ArrayView<'_>> {
        let bytes = self.buffers.get(index)?.as_slice();
        (bytes.len() == self.layout.size).then_some(ArrayView {
            layout: &self.layout,
            bytes,
        })
    }

    /// Each array in order, `None` for "no data".
    pub fn iter(&self) -> impl Iterator<Item = Option<ArrayView<'_>>> {
        (0..self.len()).map(|index| self.get(index))
    }
}

/// One array over received bytes.
#[derive(Clone, Copy, Debug)]
pub struct ArrayView<'a> {
    layout: &'a Layout,
    bytes: &'a [u8],
}

impl<'a> ArrayView<'a> {
    /// Element type, shape and byte order.
    #[must_use]
    pub fn layout(&self) -> &'a Layout {
        self.layout
    }

    /// All elements in C order, as they travelled.
    #[must_use]
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// How many elements there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.bytes.len() / self.layout.element.size()
    }

    /// Whether there is no element.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The elements themselves, without a copy; `None` when the type is not `T`, the bytes are not in this
    /// machine's order, or the buffer is not aligned for `T` (see [`to_slice`](Self::to_slice)).
    #[must_use]
    pub fn as_slice<T: Element>(&self) -> Option<&'a [T]> {
        let native = self.layout.endianness == Endianness::NATIVE || self.layout.element.size() == 1;
        if self.layout.element != T::TYPE || !native {
            return None;
        }
        bytemuck::try_cast_slice(self.bytes).ok()
    }

    /// The elements: borrowed where [`as_slice`](Self::as_slice) can, otherwise copied and put in order.
    /// `None` when the type is not `T`.
    #[must_use]
    pub fn to_slice<T: Element>(&self) -> Option<Cow<'a, [T]>> {
        match self.as_slice() {
            Some(slice) => Some(Cow::Borrowed(slice)),
            None => self.elements().map(|elements| Cow::Owned(elements.collect())),
        }
    }

    /// The elements one after the other, whatever their alignment and byte order. `None` when the type is not `T`.
    #[must_use]
    pub fn elements<T: Element>(&self) -> Option<impl ExactSizeIterator<Item = T> + use<'a, T>> {
        let endianness = self.layout.endianness;
        (self.layout.element == T::TYPE).then(|| {
            self.bytes
                .chunks_exact(size_of::<T>())
                .map(move |bytes| T::read(bytes, endianness))
        })
    }
}

/// Hands the memory of a vector of numbers over as message bytes, without a copy.
///
/// ```
/// let samples = vec![1.5_f64; 1024];
/// let address = samples.as_ptr().cast::<u8>();
/// let bytes = flexbond_stream::bytes_of(samples);
/// assert_eq!((bytes.as_ptr(), bytes.len()), (address, 8192));
/// ```
#[must_use]
pub fn bytes_of<T: Element>(elements: Vec<T>) -> Bytes {
    struct Owner<T>(Vec<T>);

    impl<T: Element> AsRef<[u8]> for Owner<T> {
        fn as_ref(&self) -> &[u8] {
            bytemuck::cast_slice(&self.0)
        }
    }

    Bytes::from_owner(Owner(elements))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(element: ElementType, shape: &[usize]) -> Layout {
        Layout::new(element, Endianness::Little, shape).unwrap()
    }

    #[test]
    fn sizes_are_checked_against_overflow() {
        let new = |shape: &[usize]| Layout::new(ElementType::Float64, Endianness::Little, shape);
        assert_eq!(new(&[]).unwrap().size(), 8);
        assert_eq!(new(&[2, 3]).unwrap().size(), 48);
        assert_eq!(new(&[usize::MAX, usize::MAX, 0]).unwrap().size(), 0);
        assert!(matches!(new(&[usize::MAX / 8 + 1]), Err(ArrayError::Overflow(_))));
        assert!(matches!(new(&[1 << 32, 1 << 32]), Err(ArrayError::Overflow(_))));
        assert_eq!(new(&[1; 65]), Err(ArrayError::TooManyDimensions(65)));
    }

    #[test]
    fn headers_that_describe_no_array_are_refused() {
        let header = |text: &str| Layout::from_header(&Header::parse(text.as_bytes()).unwrap());
        let cases = [
            (r#"{"htype":"array-1.0","shape":[1]}"#, ArrayError::NoType),
            (
                r#"{"htype":"array-1.0","type":"int8","shape":[1.5]}"#,
                ArrayError::BadShape,
            ),
            (
                r#"{"htype":"array-1.0","type":"int8","shape":[-1]}"#,
                ArrayError::BadShape,
            ),
            (r#"{"htype":"array-1.0","type":"int8"}"#, ArrayError::BadShape),
            (
                r#"{"htype":"array-1.0","type":"int8","shape":[1],"endianness":"middle"}"#,
                ArrayError::BadEndianness,
            ),
            (
                r#"{"htype":"array-1.0","type":"uint64","shape":[18446744073709551615]}"#,
                ArrayError::Overflow(vec![usize::MAX]),
            ),
        ];
        for (text, error) in cases {
            assert_eq!(header(text), Err(error), "{text}");
        }
        assert!(matches!(
            header(r#"{"htype":"array-1.0","type":"text","shape":[1]}"#),
            Err(ArrayError::UnknownType(_))
        ));
    }

    #[test]
    fn every_buffer_must_have_the_length_of_the_layout() {
        let buffers = vec![Frame::from(vec![0; 24]), Frame::new(), Frame::from(vec![0; 23])];
        assert_eq!(
            Arrays::new(layout(ElementType::Float32, &[2, 3]), buffers).unwrap_err(),
            ArrayError::Length {
                index: 2,
                expected: 24,
                actual: 23
            }
        );
    }

    #[test]
    fn an_empty_buffer_is_no_data_unless_the_layout_is_empty() {
        let buffers = vec![Frame::from(vec![0, 1]), Frame::new()];
        let arrays = Arrays::new(layout(ElementType::UInt8, &[2]), buffers).unwrap();
        assert_eq!(arrays.len(), 2);
        assert_eq!(arrays.get(0).unwrap().as_slice::<u8>(), Some(&[0_u8, 1][..]));
        assert!(arrays.get(1).is_none() && arrays.get(2).is_none());

        let empty = Arrays::new(layout(ElementType::UInt8, &[0, 5]), vec![Frame::new()]).unwrap();
        assert!(empty.get(0).unwrap().is_empty());
    }

    #[test]
    fn both_byte_orders_and_any_alignment_read_the_same() {
        let values = [1.5_f64, -2.0, 1e300];
        for (endianness, bytes) in [
            (Endianness::Little, values.map(f64::to_le_bytes).concat()),
            (Endianness::Big, values.map(f64::to_be_bytes).concat()),
        ] {
            for offset in 0..8 {
                let mut padded = vec![0; offset];
                padded.extend_from_slice(&bytes);
                padded.resize(200, 0);
                let buffer = Frame::from(Bytes::from(padded).slice(offset..offset + bytes.len()));
                let layout = Layout::new(ElementType::Float64, endianness, &[3]).unwrap();
                let arrays = Arrays::new(layout, vec![buffer]).unwrap();
                let view = arrays.get(0).unwrap();
                assert_eq!(view.to_slice::<f64>().unwrap().as_ref(), values);
                assert_eq!(view.elements::<f64>().unwrap().len(), 3);
                assert!(view.to_slice::<f32>().is_none());
            }
        }
    }
}
