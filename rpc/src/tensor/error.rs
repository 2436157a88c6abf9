//! What is wrong with an array.

use thiserror::Error;

use super::{AnyTensor, Dtype};

/// Why an array is none, or not the one that was asked for. Nothing was taken or changed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum TensorError {
    /// The type of its elements is not known here.
    #[error("unknown dtype {0:?}: known are numpy's numbers, such as \"<f8\", \"<i4\" and \"|u1\"")]
    UnknownDtype(String),
    /// Its elements are of another type. [`AnyTensor`] takes all types.
    #[error("an array of {found} where one of {wanted} is wanted")]
    Dtype {
        /// The type that was asked for.
        wanted: Dtype,
        /// The type of the elements.
        found: Dtype,
    },
    /// The shape asks for another number of bytes.
    #[error("shape {shape:?} of {dtype} takes {expected} bytes, and there are {actual}")]
    Length {
        /// The shape.
        shape: Vec<usize>,
        /// The type of the elements.
        dtype: Dtype,
        /// Bytes of such an array.
        expected: usize,
        /// Bytes that are there.
        actual: usize,
    },
    /// The shape has too many dimensions.
    #[error("{dimensions} dimensions, more than {}", AnyTensor::MAX_DIMENSIONS)]
    TooManyDimensions {
        /// How many.
        dimensions: usize,
    },
    /// No memory holds an array of this shape.
    #[error("shape {shape:?} is larger than any memory")]
    TooLarge {
        /// The shape.
        shape: Vec<usize>,
    },
}
