//! What an array is made of: numpy's element types, and the order of their bytes.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

/// The type of one array element, under numpy's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ElementType {
    /// `bool`: one byte, 0 or 1.
    Bool,
    /// `int8`
    Int8,
    /// `int16`
    Int16,
    /// `int32`
    Int32,
    /// `int64`
    Int64,
    /// `uint8`
    UInt8,
    /// `uint16`
    UInt16,
    /// `uint32`
    UInt32,
    /// `uint64`
    UInt64,
    /// `float16`: two bytes; no Rust primitive.
    Float16,
    /// `float32`
    Float32,
    /// `float64`
    Float64,
    /// `complex64`: two `float32`, real part first.
    Complex64,
    /// `complex128`: two `float64`, real part first.
    Complex128,
}

/// A name that is no element type known here.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("unknown element type {0:?}")]
pub struct UnknownElementType(pub String);

const NAMES: [(ElementType, &str, usize); 14] = [
    (ElementType::Bool, "bool", 1),
    (ElementType::Int8, "int8", 1),
    (ElementType::Int16, "int16", 2),
    (ElementType::Int32, "int32", 4),
    (ElementType::Int64, "int64", 8),
    (ElementType::UInt8, "uint8", 1),
    (ElementType::UInt16, "uint16", 2),
    (ElementType::UInt32, "uint32", 4),
    (ElementType::UInt64, "uint64", 8),
    (ElementType::Float16, "float16", 2),
    (ElementType::Float32, "float32", 4),
    (ElementType::Float64, "float64", 8),
    (ElementType::Complex64, "complex64", 8),
    (ElementType::Complex128, "complex128", 16),
];

impl ElementType {
    /// All types, for listing.
    pub fn all() -> impl Iterator<Item = ElementType> {
        NAMES.iter().map(|entry| entry.0)
    }

    /// numpy's name, such as `float64`.
    #[must_use]
    pub fn name(self) -> &'static str {
        NAMES[self as usize].1
    }

    /// Bytes per element.
    #[must_use]
    pub fn size(self) -> usize {
        NAMES[self as usize].2
    }
}

impl fmt::Display for ElementType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for ElementType {
    type Err = UnknownElementType;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        NAMES
            .iter()
            .find(|entry| entry.1 == name)
            .map(|entry| entry.0)
            .ok_or_else(|| UnknownElementType(name.to_owned()))
    }
}

/// The order of the bytes within one element.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Endianness {
    /// Least significant byte first.
    Little,
    /// Most significant byte first.
    Big,
}

impl Endianness {
    /// This machine's order.
    pub const NATIVE: Self = if cfg!(target_endian = "big") {
        Endianness::Big
    } else {
        Endianness::Little
    };

    /// `little` or `big`, as in a header.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Endianness::Little => "little",
            Endianness::Big => "big",
        }
    }
}

/// A Rust number that array elements can be read as, without any change but the order of its bytes. Complex numbers are
/// pairs of numbers, the real part first; memory of other types of them that are laid out so can be cast to these.
pub trait Element: bytemuck::Pod + Send + Sync {
    /// The element type that this is.
    const TYPE: ElementType;

    /// Reads one element; `bytes` has exactly its size.
    fn read(bytes: &[u8], endianness: Endianness) -> Self;
}

macro_rules! elements {
    ($($number:ty => $type:ident),* $(,)?) => {$(
        impl Element for $number {
            const TYPE: ElementType = ElementType::$type;

            fn read(bytes: &[u8], endianness: Endianness) -> Self {
                let mut copy = [0; size_of::<$number>()];
                copy.copy_from_slice(bytes);
                match endianness {
                    Endianness::Little => <$number>::from_le_bytes(copy),
                    Endianness::Big => <$number>::from_be_bytes(copy),
                }
            }
        }
    )*};
}

elements! {
    i8 => Int8, i16 => Int16, i32 => Int32, i64 => Int64,
    u8 => UInt8, u16 => UInt16, u32 => UInt32, u64 => UInt64,
    f32 => Float32, f64 => Float64,
}

macro_rules! complex {
    ($($part:ty => $type:ident),* $(,)?) => {$(
        impl Element for [$part; 2] {
            const TYPE: ElementType = ElementType::$type;

            fn read(bytes: &[u8], endianness: Endianness) -> Self {
                let (real, imaginary) = bytes.split_at(size_of::<$part>());
                [<$part>::read(real, endianness), <$part>::read(imaginary, endianness)]
            }
        }
    )*};
}

complex! { f32 => Complex64, f64 => Complex128 }

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip_and_the_table_is_in_order() {
        for (index, (element, name, size)) in NAMES.into_iter().enumerate() {
            assert_eq!(element as usize, index);
            assert_eq!((element.name(), element.size()), (name, size));
            assert_eq!(name.parse(), Ok(element));
        }
        assert!("float128".parse::<ElementType>().is_err());
    }

    #[test]
    fn sizes_agree_with_the_rust_types() {
        assert_eq!(<f64 as Element>::TYPE.size(), size_of::<f64>());
        assert_eq!(<u16 as Element>::TYPE.size(), size_of::<u16>());
        assert_eq!(<i32 as Element>::read(&[1, 0, 0, 0], Endianness::Little), 1);
        assert_eq!(<i32 as Element>::read(&[0, 0, 0, 1], Endianness::Big), 1);
        assert_eq!(<[f64; 2] as Element>::TYPE.size(), size_of::<[f64; 2]>());
        assert_eq!(
            <[f32; 2] as Element>::read(&[0x3f, 0x80, 0, 0, 0xbf, 0, 0, 0], Endianness::Big),
            [1.0, -0.5]
        );
    }
}
