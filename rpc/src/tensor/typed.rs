//! An array whose elements are of one type.

use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;

use bytes::Bytes;

use super::{AnyTensor, Element, TensorError};

/// An array of numbers of type `T`, in C order. Its memory is shared: a clone copies nothing.
///
/// As an argument or an answer its memory travels beside the body, as it is. It is taken over where it was received if it
/// is aligned there and in this machine's order, as large arrays are; otherwise it is copied once, when it is read.
///
/// ```
/// use flexbond_rpc::Tensor;
/// use flexbond_rpc::envelope::Codec;
///
/// let image = Tensor::new(&[2, 32], vec![1.0_f32; 64])?;
/// let encoded = Codec::Json.encode(&image)?;
/// assert_eq!(&encoded.body[..], br#"{"dtype":"<f4","shape":[2,32],"data":{"$buffer":0}}"#);
/// let back: Tensor<f32> = Codec::Json.decode(&encoded.body, encoded.buffers)?;
/// assert_eq!(back.as_ptr(), image.as_ptr());
///
/// let encoded = Codec::Json.encode(&image)?;
/// let wrong = Codec::Json.decode::<Tensor<f64>>(&encoded.body, encoded.buffers).unwrap_err();
/// assert!(wrong.to_string().contains("an array of float32 where one of float64 is wanted"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Tensor<T> {
    /// Of a type that `T` holds.
    any: AnyTensor,
    elements: PhantomData<T>,
}

impl<T: Element> Tensor<T> {
    /// An array of these elements, slowest dimension first. Their memory is handed over, not copied.
    ///
    /// # Errors
    /// [`TensorError`] when the shape asks for another number of elements.
    pub fn new(shape: &[usize], elements: Vec<T>) -> Result<Self, TensorError> {
        Self::from_any(AnyTensor::from_elements(shape, elements)?)
    }

    pub(super) fn from_any(any: AnyTensor) -> Result<Self, TensorError> {
        match any.holds::<T>() {
            true => Ok(Tensor {
                any,
                elements: PhantomData,
            }),
            false => Err(TensorError::Dtype {
                wanted: T::DTYPE,
                found: any.dtype(),
            }),
        }
    }

    /// The length of each dimension, the slowest first; none of a number.
    #[must_use]
    pub fn shape(&self) -> &[usize] {
        self.any.shape()
    }

    /// All elements in C order.
    #[must_use]
    pub fn as_slice(&self) -> &[T] {
        // The only constructor checked the type.
        self.any.as_slice().unwrap_or_default()
    }

    /// The elements as a vector. Single bytes that nobody else holds are handed over; everything else is copied.
    #[must_use]
    pub fn into_vec(self) -> Vec<T> {
        if align_of::<T>() > 1 {
            return self.as_slice().to_vec();
        }
        let bytes = Vec::from(self.any.into_data());
        bytemuck::try_cast_vec(bytes).unwrap_or_else(|(_, bytes)| bytemuck::cast_slice(&bytes).to_vec())
    }

    /// All elements in C order, in this machine's order of bytes, without a copy.
    #[must_use]
    pub fn into_bytes(self) -> Bytes {
        self.any.into_data()
    }

    /// The array without its type.
    #[must_use]
    pub fn into_any(self) -> AnyTensor {
        self.any
    }

    pub(super) fn as_any(&self) -> &AnyTensor {
        &self.any
    }
}

/// An array of one dimension.
impl<T: Element> From<Vec<T>> for Tensor<T> {
    fn from(elements: Vec<T>) -> Self {
        Tensor {
            any: AnyTensor::list(elements),
            elements: PhantomData,
        }
    }
}

impl<T: Element> TryFrom<AnyTensor> for Tensor<T> {
    type Error = TensorError;

    fn try_from(any: AnyTensor) -> Result<Self, TensorError> {
        Tensor::from_any(any)
    }
}

impl<T: Element> From<Tensor<T>> for AnyTensor {
    fn from(tensor: Tensor<T>) -> Self {
        tensor.any
    }
}

impl<T: Element> Deref for Tensor<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        self.as_slice()
    }
}

impl<T: Element> PartialEq for Tensor<T> {
    fn eq(&self, other: &Self) -> bool {
        self.shape() == other.shape() && self.as_slice() == other.as_slice()
    }
}

impl<T: Element> fmt::Debug for Tensor<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tensor({} {:?})", self.any.dtype(), self.shape())
    }
}
