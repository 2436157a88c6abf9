//! What turns bytes into an array: element type, shape and byte order.

use serde_json::Value;
use thiserror::Error;

use crate::json_object::integer;
use crate::{ElementType, Endianness, Header, dtype};

/// Element type, shape and byte order: what turns bytes into an array.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    element: ElementType,
    endianness: Endianness,
    shape: Vec<usize>,
    // Product of shape and element size; checked once, here, not at every use.
    size: usize,
}

/// Why a header, or bytes, do not describe arrays.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ArrayError {
    /// `type` is missing or no string.
    #[error("the header has no type")]
    NoType,
    /// `type` is none of numpy's names known here.
    #[error(transparent)]
    UnknownType(#[from] crate::UnknownElementType),
    /// `shape` is missing, or neither an integer from zero on nor a list of such.
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

    /// As [`new`](Self::new) for a shape that has its fastest dimension first, as detectors (`[x, y]`) and bsread write
    /// it. The bytes are the same; [`shape`](Self::shape) has the extents turned around: `[y, x]`.
    ///
    /// ```
    /// use flexbond_stream::{ElementType, Endianness, Layout};
    ///
    /// let layout = Layout::fastest_first(ElementType::UInt16, Endianness::Little, &[1030, 514])?;
    /// assert_eq!(layout.shape(), [514, 1030]);
    /// # Ok::<(), flexbond_stream::ArrayError>(())
    /// ```
    ///
    /// # Errors
    /// As for [`new`](Self::new).
    pub fn fastest_first(
        element: ElementType,
        endianness: Endianness,
        shape: &[usize],
    ) -> Result<Self, ArrayError> {
        let reversed: Vec<usize> = shape.iter().rev().copied().collect();
        Layout::new(element, endianness, &reversed)
    }

    /// Reads `type`, `shape` and `endianness` of a header. The type may also be spelt as numpy does it, `<u2` or `>f4`,
    /// and then says the order of bytes, whatever `endianness` says; where neither does, it is little-endian.
    ///
    /// ```
    /// use flexbond_stream::{Endianness, Header, Layout};
    ///
    /// let layout = Layout::from_header(&Header::new("array-1.0").with("type", ">u2").with("shape", vec![2, 3]))?;
    /// assert_eq!((layout.element().name(), layout.endianness()), ("uint16", Endianness::Big));
    /// # Ok::<(), flexbond_stream::ArrayError>(())
    /// ```
    ///
    /// # Errors
    /// [`ArrayError`] for the first field that is wrong.
    pub fn from_header(header: &Header) -> Result<Self, ArrayError> {
        Layout::from_header_or(header, Endianness::Little)
    }

    /// As [`from_header`](Self::from_header), in the order `otherwise` where the header says none.
    pub(crate) fn from_header_or(header: &Header, otherwise: Endianness) -> Result<Self, ArrayError> {
        let (element, spelt) = dtype::parse(header.text("type").ok_or(ArrayError::NoType)?)?;
        // Senders of PSI leave out an n; numbers in the wrong order are worse than none.
        let said = ["endianness", "endianess"]
            .iter()
            .find_map(|field| header.get(field));
        let endianness = match said {
            None | Some(Value::Null) => otherwise,
            // The signs are those of numpy's `dtype.byteorder`.
            Some(value) if value == "little" || value == "<" => Endianness::Little,
            Some(value) if value == "big" || value == ">" => Endianness::Big,
            Some(_) => return Err(ArrayError::BadEndianness),
        };
        Layout::new(
            element,
            spelt.unwrap_or(endianness),
            &shape_of(header.get("shape"))?,
        )
    }

    /// Reads `type` and `shape`, fastest dimension first, of a header that leaves the byte order to others.
    pub(crate) fn from_detector(header: &Header, endianness: Endianness) -> Result<Self, ArrayError> {
        let (element, spelt) = dtype::parse(header.text("type").ok_or(ArrayError::NoType)?)?;
        let endianness = spelt.unwrap_or(endianness);
        Layout::fastest_first(element, endianness, &shape_of(header.get("shape"))?)
    }

    /// Writes `type`, `shape` and `endianness` into a header. The type of big-endian numbers is spelt so that it says
    /// the order too (`>f8`): mflow gives `type` to numpy and passes over `endianness`.
    ///
    /// ```
    /// use flexbond_stream::{ElementType, Endianness, Header, Layout};
    ///
    /// let mut header = Header::new("array-1.0");
    /// Layout::new(ElementType::Float64, Endianness::Big, &[2])?.describe(&mut header);
    /// assert_eq!((header.text("type"), header.text("endianness")), (Some(">f8"), Some("big")));
    /// # Ok::<(), flexbond_stream::ArrayError>(())
    /// ```
    pub fn describe(&self, header: &mut Header) {
        header.set("type", dtype::name(self.element, self.endianness));
        header.set("shape", shape_value(self.shape.iter()));
        header.set("endianness", self.endianness.name());
    }

    /// The same with another order of bytes.
    #[must_use]
    pub fn with_endianness(mut self, endianness: Endianness) -> Self {
        self.endianness = endianness;
        self
    }

    /// Writes `shape`, fastest dimension first, and `type` into a header.
    pub(crate) fn describe_for_detector(&self, header: &mut Header) {
        header.set("shape", shape_value(self.shape.iter().rev()));
        header.set("type", self.element.name());
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

/// The extents as they are written, checked for their number only.
pub(crate) fn shape_of(value: Option<&Value>) -> Result<Vec<usize>, ArrayError> {
    // numpy takes a plain number for the only dimension.
    let extents = match value {
        Some(Value::Array(extents)) => extents,
        Some(extent @ Value::Number(_)) => std::slice::from_ref(extent),
        _ => return Err(ArrayError::BadShape),
    };
    if extents.len() > Layout::MAX_DIMENSIONS {
        return Err(ArrayError::TooManyDimensions(extents.len()));
    }
    extents
        .iter()
        .map(|extent| usize::try_from(integer(extent)?).ok())
        .collect::<Option<_>>()
        .ok_or(ArrayError::BadShape)
}

pub(crate) fn shape_value<'a>(extents: impl Iterator<Item = &'a usize>) -> Value {
    extents.copied().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn what_senders_write_otherwise_is_understood() {
        for (fields, order, shape) in [
            (r#""shape":[2,3],"endianess":"big""#, Endianness::Big, &[2, 3][..]),
            (
                r#""shape":[2,3],"endianness":"little","endianess":"big""#,
                Endianness::Little,
                &[2, 3],
            ),
            (r#""shape":[2.0,3.0]"#, Endianness::Little, &[2, 3]),
            (r#""shape":12"#, Endianness::Little, &[12]),
            (r#""shape":12.0,"endianess":null"#, Endianness::Little, &[12]),
        ] {
            let text = format!(r#"{{"htype":["array-1.0"],"type":"uint16",{fields}}}"#);
            let layout = Layout::from_header(&Header::parse(text.as_bytes()).unwrap()).unwrap();
            assert_eq!((layout.endianness(), layout.shape()), (order, shape), "{text}");
        }
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
}
