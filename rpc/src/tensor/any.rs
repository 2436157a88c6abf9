//! An array whose elements are of any type.

use std::borrow::Cow;
use std::fmt;

use bytes::Bytes;

use super::dtype::Order;
use super::{Dtype, Element, Tensor, TensorError};

/// An array of numbers of any type, for methods that take what comes; [`Tensor`] is one whose type is known.
///
/// Its memory is shared: a clone copies nothing. Its bytes are in this machine's order and can be read as a slice of
/// numbers; an array that came otherwise was copied once, when it was read. An array without dimensions is a number.
///
/// A list that came in a body becomes integers of 64 bits, or numbers of double precision if one of them has a fraction;
/// it [is inline](Self::is_inline).
///
/// ```
/// use flexbond_rpc::envelope::Codec;
/// use flexbond_rpc::tensor::{AnyTensor, Dtype};
///
/// let array: AnyTensor = Codec::Json.decode(b"[[1, 2, 3], [4, 5, 6]]", Vec::new())?;
/// assert_eq!((array.dtype(), array.shape()), (Dtype::Int64, &[2, 3][..]));
/// assert_eq!(array.as_slice::<i64>().unwrap()[4], 5);
/// # Ok::<(), flexbond_rpc::CodecError>(())
/// ```
#[derive(Clone)]
pub struct AnyTensor {
    dtype: Dtype,
    shape: Vec<usize>,
    /// In this machine's order, and aligned for the type; as many as the shape asks for.
    data: Bytes,
    is_inline: bool,
}

/// Calls `$then` with `$element` as the type of the elements; the other types are `$others`.
macro_rules! with_element {
    ($dtype:expr, $element:ident => $then:expr, _ => $others:expr $(,)?) => {
        match $dtype {
            Dtype::Int8 => {
                type $element = i8;
                $then
            }
            Dtype::Int16 => {
                type $element = i16;
                $then
            }
            Dtype::Int32 => {
                type $element = i32;
                $then
            }
            Dtype::Int64 => {
                type $element = i64;
                $then
            }
            Dtype::Bool | Dtype::UInt8 => {
                type $element = u8;
                $then
            }
            Dtype::UInt16 => {
                type $element = u16;
                $then
            }
            Dtype::UInt32 => {
                type $element = u32;
                $then
            }
            Dtype::UInt64 => {
                type $element = u64;
                $then
            }
            Dtype::Float32 => {
                type $element = f32;
                $then
            }
            Dtype::Float64 => {
                type $element = f64;
                $then
            }
            Dtype::Float16 | Dtype::Complex64 | Dtype::Complex128 => $others,
        }
    };
}
pub(super) use with_element;

impl AnyTensor {
    /// The most dimensions of an array.
    pub const MAX_DIMENSIONS: usize = 32;

    /// An array over bytes in this machine's order, in C order. They are copied only if they are not aligned for the
    /// type.
    ///
    /// # Errors
    /// [`TensorError`] when the shape asks for another number of bytes, or no array has it.
    pub fn new(dtype: Dtype, shape: &[usize], data: impl Into<Bytes>) -> Result<Self, TensorError> {
        Self::read(dtype, Order::Native, shape.to_vec(), data.into())
    }

    pub(super) fn read(
        dtype: Dtype,
        order: Order,
        shape: Vec<usize>,
        data: Bytes,
    ) -> Result<Self, TensorError> {
        let expected = size(dtype, &shape)?;
        if data.len() != expected {
            return Err(TensorError::Length {
                shape,
                dtype,
                expected,
                actual: data.len(),
            });
        }
        Ok(AnyTensor {
            dtype,
            shape,
            data: in_place(dtype, order, data),
            is_inline: false,
        })
    }

    /// An array of numbers, slowest dimension first. Their memory is handed over, not copied.
    ///
    /// # Errors
    /// [`TensorError`] when the shape asks for another number of elements.
    pub fn from_elements<T: Element>(shape: &[usize], elements: Vec<T>) -> Result<Self, TensorError> {
        Self::new(T::DTYPE, shape, bytes_of(elements))
    }

    /// An array of one dimension.
    pub(super) fn list<T: Element>(elements: Vec<T>) -> Self {
        AnyTensor {
            dtype: T::DTYPE,
            shape: vec![elements.len()],
            data: bytes_of(elements),
            is_inline: false,
        }
    }

    /// The type of the elements.
    #[must_use]
    pub fn dtype(&self) -> Dtype {
        self.dtype
    }

    /// The length of each dimension, the slowest first; none of a number.
    #[must_use]
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// How many elements there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.data.len() / self.dtype.size()
    }

    /// Whether there is no element.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.data.is_empty()
    }

    /// All elements in C order, in this machine's order of bytes.
    #[must_use]
    pub fn data(&self) -> &Bytes {
        &self.data
    }

    /// The elements without a copy, if they are of this type.
    #[must_use]
    pub fn as_slice<T: Element>(&self) -> Option<&[T]> {
        if !self.holds::<T>() {
            return None;
        }
        // No bytes may lie anywhere.
        if self.data.is_empty() {
            return Some(&[]);
        }
        bytemuck::try_cast_slice(&self.data).ok()
    }

    /// The array with its type, if it is this one.
    ///
    /// # Errors
    /// [`TensorError::Dtype`] when it is another.
    pub fn into_tensor<T: Element>(self) -> Result<Tensor<T>, TensorError> {
        Tensor::from_any(self)
    }

    /// The elements as numbers of double precision, whose nearest is taken; without a copy where they are that. `None`
    /// for complex numbers and those of half precision.
    #[must_use]
    #[expect(clippy::unnecessary_cast, reason = "one text for all types")]
    pub fn to_floats(&self) -> Option<Cow<'_, [f64]>> {
        if let Some(floats) = self.as_slice() {
            return Some(Cow::Borrowed(floats));
        }
        with_element!(self.dtype, T => {
            Some(self.as_slice::<T>()?.iter().map(|&number| number as f64).collect())
        }, _ => None)
    }

    /// The elements as integers of 64 bits; without a copy where they are that. `None` if they are no integers, or one is
    /// too large.
    #[must_use]
    pub fn to_integers(&self) -> Option<Cow<'_, [i64]>> {
        if let Some(integers) = self.as_slice() {
            return Some(Cow::Borrowed(integers));
        }
        match self.dtype {
            Dtype::Float32 | Dtype::Float64 => None,
            dtype => with_element!(dtype, T => {
                let numbers = self.as_slice::<T>()?.iter();
                // Those that always fit are cast along with those that do not.
                numbers.map(|&number| i64::try_from(number as i128).ok()).collect()
            }, _ => None),
        }
    }

    /// Whether it is written as a list of numbers where the codec allows. One that was read from a list is, so that what
    /// is answered looks like what was asked.
    #[must_use]
    pub fn is_inline(&self) -> bool {
        self.is_inline
    }

    /// The same, written as a list of numbers, or as a structure with a buffer beside the body. Whatever is asked for,
    /// postcard has buffers, and so have numbers that lists cannot hold: infinite, complex and those of half precision.
    #[must_use]
    pub fn inline(mut self, is_inline: bool) -> Self {
        self.is_inline = is_inline;
        self
    }

    pub(super) fn holds<T: Element>(&self) -> bool {
        T::DTYPE == self.dtype || (T::DTYPE == Dtype::UInt8 && self.dtype == Dtype::Bool)
    }

    pub(super) fn into_data(self) -> Bytes {
        self.data
    }
}

/// The bytes of an array, if there can be one of this shape. Dimensions of length 0 do not hide that the others are too
/// large: who walks over the shape multiplies those.
fn size(dtype: Dtype, shape: &[usize]) -> Result<usize, TensorError> {
    let dimensions = shape.len();
    if dimensions > AnyTensor::MAX_DIMENSIONS {
        return Err(TensorError::TooManyDimensions { dimensions });
    }
    let lengths = shape.iter().filter(|&&length| length > 0);
    let product = lengths
        .copied()
        .try_fold(dtype.size(), usize::checked_mul)
        .filter(|&size| isize::try_from(size).is_ok());
    match product {
        None => Err(TensorError::TooLarge {
            shape: shape.to_vec(),
        }),
        Some(_) if shape.contains(&0) => Ok(0),
        Some(size) => Ok(size),
    }
}

/// The bytes in this machine's order and aligned; copied only if they are not.
fn in_place(dtype: Dtype, order: Order, data: Bytes) -> Bytes {
    let unit = dtype.unit();
    let is_aligned = data.as_ptr().addr().is_multiple_of(unit) || data.is_empty();
    let is_in_order = order == Order::Native || unit == 1;
    if is_aligned && is_in_order {
        return data;
    }
    // All numbers of one size are alike but for their meaning.
    match unit {
        2 => copied::<u16>(&data, is_in_order, u16::swap_bytes),
        4 => copied::<u32>(&data, is_in_order, u32::swap_bytes),
        _ => copied::<u64>(&data, is_in_order, u64::swap_bytes),
    }
}

fn copied<T: Element>(data: &[u8], is_in_order: bool, swap: fn(T) -> T) -> Bytes {
    let mut numbers = vec![T::zeroed(); data.len() / size_of::<T>()];
    bytemuck::cast_slice_mut(&mut numbers).copy_from_slice(data);
    if !is_in_order {
        for number in &mut numbers {
            *number = swap(*number);
        }
    }
    bytes_of(numbers)
}

/// The memory of numbers, as bytes.
pub(super) fn bytes_of<T: Element>(elements: Vec<T>) -> Bytes {
    struct Owner<T>(Vec<T>);

    impl<T: Element> AsRef<[u8]> for Owner<T> {
        fn as_ref(&self) -> &[u8] {
            bytemuck::cast_slice(&self.0)
        }
    }

    Bytes::from_owner(Owner(elements))
}

/// A number: an array without dimensions, inline.
impl<T: Element> From<T> for AnyTensor {
    fn from(number: T) -> Self {
        AnyTensor {
            dtype: T::DTYPE,
            shape: Vec::new(),
            data: bytes_of(vec![number]),
            is_inline: true,
        }
    }
}

/// Arrays are equal when type, shape and numbers are, however they are written.
impl PartialEq for AnyTensor {
    fn eq(&self, other: &Self) -> bool {
        let same = (self.dtype, &self.shape) == (other.dtype, &other.shape);
        same && with_element!(
            self.dtype,
            T => self.as_slice::<T>() == other.as_slice::<T>(),
            _ => self.data == other.data,
        )
    }
}

impl fmt::Debug for AnyTensor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AnyTensor({} {:?})", self.dtype, self.shape)
    }
}
