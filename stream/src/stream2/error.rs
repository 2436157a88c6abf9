//! Why a message, or the data in it, cannot be read.

use thiserror::Error;

use super::{MAX_DEPTH, MAX_ENTRIES};
use crate::ElementType;
use crate::compression::DecompressError;

/// Why bytes are no message of stream V2. Nothing has changed, and trying again gives the same.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// The message has other parts beside the one that belongs to it.
    #[error("it has {0} parts, a message of stream V2 has one")]
    Parts(usize),
    /// Not CBOR, or cut off.
    #[error("not well-formed CBOR at byte {position}: {problem}")]
    Malformed {
        /// Where, in bytes from the start.
        position: usize,
        /// What is wrong there.
        problem: String,
    },
    /// Lists, maps and tags within each other beyond [`MAX_DEPTH`].
    #[error("nested deeper than {MAX_DEPTH} levels at byte {position}")]
    TooDeep {
        /// Where, in bytes from the start.
        position: usize,
    },
    /// More entries than [`MAX_ENTRIES`], or more values than are turned into JSON.
    #[error("more than {limit} entries")]
    TooMany {
        /// The limit.
        limit: usize,
    },
    /// The message is CBOR, but no map of texts to values.
    #[error("not a map with text keys")]
    NotAMap,
    /// Something follows the map.
    #[error("{0} bytes follow the message")]
    Trailing(usize),
    /// A key comes twice.
    #[error("the field {0:?} comes twice")]
    DuplicateField(String),
    /// The field `type` is missing or no text.
    #[error("the message has no type")]
    NoType,
    /// A field without which the message means nothing has another form than documented.
    #[error("the field {0:?} is not of the documented form")]
    Form(String),
    /// An array whose description and bytes do not agree.
    #[error("the field {field:?} has no such array")]
    Array {
        /// The field of the message that holds the array.
        field: String,
        /// What does not agree.
        #[source]
        error: ShapeError,
    },
}

impl DecodeError {
    /// The limit on the entries of what is taken apart.
    pub(super) const fn too_many() -> Self {
        DecodeError::TooMany { limit: MAX_ENTRIES }
    }
}

/// Why dimensions, type and bytes make no array.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ShapeError {
    /// More dimensions than [`Layout::MAX_DIMENSIONS`](crate::Layout::MAX_DIMENSIONS).
    #[error("{0} dimensions")]
    TooManyDimensions(usize),
    /// The dimensions need more bytes than a machine can address.
    #[error("the dimensions {0:?} are too large")]
    Overflow(Vec<u64>),
    /// Bytes that are not as many as dimensions and type ask for.
    #[error("{actual} bytes of data, dimensions and type ask for {expected}")]
    Length {
        /// What dimensions and type ask for, in bytes.
        expected: usize,
        /// What there is, in bytes.
        actual: usize,
    },
    /// Elements that typed arrays do not have, such as complex numbers.
    #[error("typed arrays have no {0}")]
    NoNumber(ElementType),
    /// Bytes that are no whole number of elements.
    #[error("{size} bytes of data are no whole number of elements of {element} bytes")]
    Partial {
        /// What there is, in bytes.
        size: usize,
        /// The size of an element, in bytes.
        element: usize,
    },
}

/// Why the data of an array are not to be had. The message itself is sound, and other arrays of it may be.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum DataError {
    /// The algorithm is none that is known here.
    #[error("compressed with {0:?}, which is not known here")]
    Algorithm(String),
    /// `bslz4` without a sensible size of the elements that were shuffled.
    #[error("the element size of the compression is missing or out of bounds")]
    ElementSize,
    /// More bytes than allowed; a higher limit helps where the size is meant.
    #[error("{size} bytes of data, more than the limit of {limit}")]
    TooLarge {
        /// What the array needs, in bytes.
        size: usize,
        /// The limit.
        limit: usize,
    },
    /// The compressed data say another size than the array needs.
    #[error("the compressed data hold {declared} bytes, the array needs {expected}")]
    Size {
        /// What the compressed data say, in bytes.
        declared: usize,
        /// What dimensions and type ask for, in bytes.
        expected: usize,
    },
    /// The size of the data is said nowhere.
    #[error("the size of the data is not known")]
    UnknownSize,
    /// The compressed data are broken.
    #[error(transparent)]
    Decompress(#[from] DecompressError),
    /// The bytes, once decompressed, are not what dimensions and type ask for.
    #[error(transparent)]
    Shape(#[from] ShapeError),
    /// There is no Rust number of this type; the bytes can be had.
    #[error("{0} has no number type here")]
    NoNumber(&'static str),
}
