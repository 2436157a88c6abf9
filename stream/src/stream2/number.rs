//! The numbers of typed arrays: what the tags 64 to 87 of RFC 8746 (section 2) say.

use std::fmt;

use crate::{ElementType, Endianness};

/// The type of a typed array's elements and the order of their bytes: one of the tags 64 to 87.
///
/// The tag's bits are `0b010_f_s_e_ll`: float, signed, little-endian, and the logarithm of the size.
///
/// ```
/// use flexbond_stream::stream2::NumberType;
/// use flexbond_stream::{ElementType, Endianness};
///
/// let number = NumberType::from_tag(69).unwrap();
/// assert_eq!((number.name(), number.size(), number.endianness()), ("uint16", 2, Endianness::Little));
/// assert_eq!(NumberType::new(ElementType::UInt16, Endianness::Little), Some(number));
/// assert!(NumberType::from_tag(76).is_none());
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct NumberType {
    // 64 to 87 without 76, which is reserved.
    tag: u8,
}

impl NumberType {
    const FIRST: u8 = 64;
    const CLAMPED: u8 = 68;
    const RESERVED: u8 = 76;
    const LAST: u8 = 87;

    const FLOAT: u8 = 0b1_0000;
    const SIGNED: u8 = 0b1000;
    const LITTLE: u8 = 0b100;
    const SIZE: u8 = 0b11;

    /// The type that a tag stands for; `None` for tags of other things.
    #[must_use]
    pub fn from_tag(tag: u64) -> Option<Self> {
        let tag = u8::try_from(tag).ok()?;
        let known = (Self::FIRST..=Self::LAST).contains(&tag) && tag != Self::RESERVED;
        known.then_some(NumberType { tag })
    }

    /// The type of `element`s in an order; `None` for those that typed arrays do not have (bool, complex numbers).
    #[must_use]
    pub fn new(element: ElementType, endianness: Endianness) -> Option<Self> {
        let kind = match element {
            ElementType::UInt8 => return Some(NumberType { tag: Self::FIRST }),
            ElementType::Int8 => Self::SIGNED,
            ElementType::UInt16 => 1,
            ElementType::UInt32 => 2,
            ElementType::UInt64 => 3,
            ElementType::Int16 => Self::SIGNED | 1,
            ElementType::Int32 => Self::SIGNED | 2,
            ElementType::Int64 => Self::SIGNED | 3,
            ElementType::Float16 => Self::FLOAT,
            ElementType::Float32 => Self::FLOAT | 1,
            ElementType::Float64 => Self::FLOAT | 2,
            _ => return None,
        };
        // The order means nothing for single bytes, and little-endian there is the reserved tag.
        let little = endianness == Endianness::Little && element != ElementType::Int8;
        let order = if little { Self::LITTLE } else { 0 };
        Some(NumberType {
            tag: Self::FIRST | kind | order,
        })
    }

    /// The tag.
    #[must_use]
    pub fn tag(self) -> u64 {
        self.tag.into()
    }

    /// Bytes per element.
    #[must_use]
    pub fn size(self) -> usize {
        1 << ((self.tag & Self::SIZE) + u8::from(self.is_float()))
    }

    /// The order of the bytes of an element.
    #[must_use]
    pub fn endianness(self) -> Endianness {
        if self.tag & Self::LITTLE == 0 {
            Endianness::Big
        } else {
            Endianness::Little
        }
    }

    /// numpy's name, such as `uint16`.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.element().map_or("float128", ElementType::name)
    }

    /// The type of the elements; `None` for `float128`.
    #[must_use]
    pub fn element(self) -> Option<ElementType> {
        let element = match (self.is_float(), self.tag & Self::SIGNED != 0, self.size()) {
            (true, _, 2) => ElementType::Float16,
            (true, _, 4) => ElementType::Float32,
            (true, _, 8) => ElementType::Float64,
            (true, ..) => return None,
            (false, true, 1) => ElementType::Int8,
            (false, true, 2) => ElementType::Int16,
            (false, true, 4) => ElementType::Int32,
            (false, true, _) => ElementType::Int64,
            (false, false, 1) => ElementType::UInt8,
            (false, false, 2) => ElementType::UInt16,
            (false, false, 4) => ElementType::UInt32,
            (false, false, _) => ElementType::UInt64,
        };
        Some(element)
    }

    /// Whether the numbers are to be clamped when they are computed with (tag 68, unsigned bytes).
    #[must_use]
    pub fn is_clamped(self) -> bool {
        self.tag == Self::CLAMPED
    }

    fn is_float(self) -> bool {
        self.tag & Self::FLOAT != 0
    }
}

impl fmt::Debug for NumberType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let order = self.endianness().name();
        write!(f, "{} ({order}-endian, tag {})", self.name(), self.tag)
    }
}

/// An IEEE 754 half-precision number as `f64`, which holds each of them exactly.
pub(super) fn half_to_f64(bits: u16) -> f64 {
    let exponent = i32::from((bits >> 10) & 0x1f);
    let fraction = f64::from(bits & 0x3ff);
    let magnitude = match exponent {
        0 => fraction * 2_f64.powi(-24),
        0x1f if fraction == 0.0 => f64::INFINITY,
        0x1f => f64::NAN,
        _ => (1024.0 + fraction) * 2_f64.powi(exponent - 25),
    };
    if bits >> 15 == 0 { magnitude } else { -magnitude }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_tag_of_rfc_8746_is_what_its_table_says() {
        let big = [
            (64, "uint8", 1),
            (65, "uint16", 2),
            (66, "uint32", 4),
            (67, "uint64", 8),
            (72, "int8", 1),
            (73, "int16", 2),
            (74, "int32", 4),
            (75, "int64", 8),
            (80, "float16", 2),
            (81, "float32", 4),
            (82, "float64", 8),
            (83, "float128", 16),
        ];
        let little = [
            (68, "uint8", 1),
            (69, "uint16", 2),
            (70, "uint32", 4),
            (71, "uint64", 8),
            (77, "int16", 2),
            (78, "int32", 4),
            (79, "int64", 8),
            (84, "float16", 2),
            (85, "float32", 4),
            (86, "float64", 8),
            (87, "float128", 16),
        ];
        for (table, endianness) in [(&big[..], Endianness::Big), (&little[..], Endianness::Little)] {
            for &(tag, name, size) in table {
                let number = NumberType::from_tag(tag).unwrap();
                assert_eq!((number.tag(), number.name(), number.size()), (tag, name, size));
                assert_eq!(number.endianness(), endianness, "{tag}");
                assert_eq!(number.is_clamped(), tag == 68);
                if let Some(element) = number.element() {
                    assert_eq!((element.name(), element.size()), (name, size));
                    let again = NumberType::new(element, endianness).unwrap();
                    assert_eq!((again.element(), again.size()), (Some(element), size));
                    assert!(again == number || size == 1, "{tag}");
                }
            }
        }
        for tag in [0, 40, 63, 76, 88, 320, 1040, u64::MAX] {
            assert_eq!(NumberType::from_tag(tag), None, "{tag}");
        }
        assert_eq!(NumberType::new(ElementType::Complex64, Endianness::Little), None);
    }

    #[test]
    fn halves_are_exact() {
        // RFC 8949, appendix A, and the limits of IEEE 754 binary16.
        let cases = [
            (0x0000, 0.0),
            (0x3c00, 1.0),
            (0x3e00, 1.5),
            (0x7bff, 65504.0),
            (0x0001, 5.960_464_477_539_063e-8),
            (0x0400, 0.000_061_035_156_25),
            (0xc400, -4.0),
            (0x7c00, f64::INFINITY),
            (0xfc00, f64::NEG_INFINITY),
        ];
        for (bits, value) in cases {
            assert_eq!(half_to_f64(bits), value, "{bits:#06x}");
        }
        assert!(half_to_f64(0x7e00).is_nan());
        assert!(half_to_f64(0x8000).is_sign_negative());
    }
}
