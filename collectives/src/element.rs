//! What typed operations move: plain elements, and how two ranks tell that theirs are of one type.

use std::any::TypeId;
use std::fmt;

use bytemuck::Pod;

/// An element of a slice that an operation moves: plain data that is sent as its bytes, without a copy.
///
/// Implemented for all types that are [`bytemuck::Pod`]: integers, floats, arrays of them, and structs that derive it.
/// The bytes travel as they are in memory, so all ranks must have the same byte order. An element has at least one
/// byte and an alignment of at most 16; operations on others do not compile.
pub trait Element: Pod + Send + Sync {}

impl<T: Pod + Send + Sync> Element for T {}

/// The type of the elements of an operation, as far as it is told between ranks: two types of the same size that are
/// no primitives cannot be told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ElementKind {
    /// The operation moves no elements.
    Nothing,
    /// `u8`
    U8,
    /// `u16`
    U16,
    /// `u32`
    U32,
    /// `u64`
    U64,
    /// `u128`
    U128,
    /// `i8`
    I8,
    /// `i16`
    I16,
    /// `i32`
    I32,
    /// `i64`
    I64,
    /// `i128`
    I128,
    /// `f32`
    F32,
    /// `f64`
    F64,
    /// A value that is encoded by postcard.
    Value,
    /// Any other type: arrays, structs, or a kind that this version does not know.
    Other,
}

const CODES: [ElementKind; 15] = [
    ElementKind::Nothing,
    ElementKind::U8,
    ElementKind::U16,
    ElementKind::U32,
    ElementKind::U64,
    ElementKind::U128,
    ElementKind::I8,
    ElementKind::I16,
    ElementKind::I32,
    ElementKind::I64,
    ElementKind::I128,
    ElementKind::F32,
    ElementKind::F64,
    ElementKind::Value,
    ElementKind::Other,
];

impl ElementKind {
    /// The kind of `T`. `usize` and `isize` count as the fixed-size integers that they are on this machine.
    #[must_use]
    pub fn of<T: Element>() -> Self {
        let id = TypeId::of::<T>();
        let table = [
            (TypeId::of::<u8>(), ElementKind::U8),
            (TypeId::of::<u16>(), ElementKind::U16),
            (TypeId::of::<u32>(), ElementKind::U32),
            (TypeId::of::<u64>(), ElementKind::U64),
            (TypeId::of::<u128>(), ElementKind::U128),
            (TypeId::of::<i8>(), ElementKind::I8),
            (TypeId::of::<i16>(), ElementKind::I16),
            (TypeId::of::<i32>(), ElementKind::I32),
            (TypeId::of::<i64>(), ElementKind::I64),
            (TypeId::of::<i128>(), ElementKind::I128),
            (TypeId::of::<f32>(), ElementKind::F32),
            (TypeId::of::<f64>(), ElementKind::F64),
            (TypeId::of::<usize>(), sized(ElementKind::U32, ElementKind::U64)),
            (TypeId::of::<isize>(), sized(ElementKind::I32, ElementKind::I64)),
        ];
        table
            .into_iter()
            .find(|(known, _)| *known == id)
            .map_or(ElementKind::Other, |(_, kind)| kind)
    }

    pub(crate) fn code(self) -> u8 {
        self as u8
    }

    pub(crate) fn from_code(code: u8) -> Self {
        CODES
            .get(usize::from(code))
            .copied()
            .unwrap_or(ElementKind::Other)
    }
}

const fn sized(narrow: ElementKind, wide: ElementKind) -> ElementKind {
    if size_of::<usize>() == 4 { narrow } else { wide }
}

impl fmt::Display for ElementKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self {
            ElementKind::Nothing => "nothing",
            ElementKind::U8 => "u8",
            ElementKind::U16 => "u16",
            ElementKind::U32 => "u32",
            ElementKind::U64 => "u64",
            ElementKind::U128 => "u128",
            ElementKind::I8 => "i8",
            ElementKind::I16 => "i16",
            ElementKind::I32 => "i32",
            ElementKind::I64 => "i64",
            ElementKind::I128 => "i128",
            ElementKind::F32 => "f32",
            ElementKind::F64 => "f64",
            ElementKind::Value => "value",
            ElementKind::Other => "element",
        };
        f.pad(name)
    }
}

/// The bytes of a slice. Compiles only for elements that this crate can move.
pub(crate) fn bytes_of<T: Element>(slice: &[T]) -> &[u8] {
    const { fits::<T>() };
    bytemuck::cast_slice(slice)
}

/// The bytes of a slice, to receive into.
pub(crate) fn bytes_of_mut<T: Element>(slice: &mut [T]) -> &mut [u8] {
    const { fits::<T>() };
    bytemuck::cast_slice_mut(slice)
}

/// A compile-time check, so that no cast between bytes and elements can fail.
pub(crate) const fn fits<T>() {
    assert!(size_of::<T>() > 0, "elements have at least one byte");
    assert!(align_of::<T>() <= 16, "elements have an alignment of at most 16");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_go_there_and_back() {
        for (code, kind) in CODES.into_iter().enumerate() {
            assert_eq!(usize::from(kind.code()), code, "{kind}");
            assert_eq!(ElementKind::from_code(kind.code()), kind);
        }
        assert_eq!(ElementKind::from_code(200), ElementKind::Other);
    }

    #[test]
    fn types_are_told_apart() {
        assert_eq!(ElementKind::of::<f32>(), ElementKind::F32);
        assert_eq!(ElementKind::of::<i32>(), ElementKind::I32);
        assert_eq!(ElementKind::of::<[f64; 2]>(), ElementKind::Other);
        assert_ne!(ElementKind::of::<usize>(), ElementKind::Other);
    }
}
