//! Types of elements, and how numpy spells them.

use std::fmt;

use super::TensorError;

/// The type of the elements of an array.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Dtype {
    /// `|b1`: one byte, 0 or 1.
    Bool,
    /// `|i1`
    Int8,
    /// `<i2`
    Int16,
    /// `<i4`
    Int32,
    /// `<i8`
    Int64,
    /// `|u1`
    UInt8,
    /// `<u2`
    UInt16,
    /// `<u4`
    UInt32,
    /// `<u8`
    UInt64,
    /// `<f2`; no Rust primitive.
    Float16,
    /// `<f4`
    Float32,
    /// `<f8`
    Float64,
    /// `<c8`: two `<f4`, the real part first.
    Complex64,
    /// `<c16`: two `<f8`, the real part first.
    Complex128,
}

/// Which way round the bytes of a number are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    Native,
    Swapped,
}

const NAMES: [(Dtype, &str, &str, usize); 14] = [
    (Dtype::Bool, "bool", "b1", 1),
    (Dtype::Int8, "int8", "i1", 1),
    (Dtype::Int16, "int16", "i2", 2),
    (Dtype::Int32, "int32", "i4", 4),
    (Dtype::Int64, "int64", "i8", 8),
    (Dtype::UInt8, "uint8", "u1", 1),
    (Dtype::UInt16, "uint16", "u2", 2),
    (Dtype::UInt32, "uint32", "u4", 4),
    (Dtype::UInt64, "uint64", "u8", 8),
    (Dtype::Float16, "float16", "f2", 2),
    (Dtype::Float32, "float32", "f4", 4),
    (Dtype::Float64, "float64", "f8", 8),
    (Dtype::Complex64, "complex64", "c8", 8),
    (Dtype::Complex128, "complex128", "c16", 16),
];

const IS_LITTLE: bool = cfg!(target_endian = "little");

impl Dtype {
    /// numpy's name, such as `float64`.
    #[must_use]
    pub fn name(self) -> &'static str {
        NAMES[self as usize].1
    }

    /// Bytes of an element.
    #[must_use]
    pub fn size(self) -> usize {
        NAMES[self as usize].3
    }

    /// Bytes of the numbers of an element: a complex one is two.
    pub(super) fn unit(self) -> usize {
        match self {
            Dtype::Complex64 | Dtype::Complex128 => self.size() / 2,
            _ => self.size(),
        }
    }

    /// numpy's `dtype.str` of such elements in this machine's order of bytes: `<f8`, `|u1`.
    pub(super) fn code(self) -> String {
        let order = match self.unit() {
            1 => '|',
            _ if IS_LITTLE => '<',
            _ => '>',
        };
        format!("{order}{}", NAMES[self as usize].2)
    }

    /// The type that `text` is numpy's `dtype.str` or name of. Where it does not say the order of bytes it is little
    /// endian, as on nearly all machines.
    pub(super) fn parse(text: &str) -> Result<(Self, Order), TensorError> {
        let (is_little, kind) = match text.split_at_checked(1) {
            Some(("<" | "|" | "=", kind)) => (true, kind),
            Some((">", kind)) => (false, kind),
            _ => (true, text),
        };
        let known = NAMES
            .iter()
            .find(|(_, name, code, _)| *code == kind || (*name == kind && *name == text));
        let Some((dtype, ..)) = known else {
            // It is shown, and anybody can send anything.
            let shown = text.chars().take(32).collect();
            return Err(TensorError::UnknownDtype(shown));
        };
        let order = match is_little == IS_LITTLE {
            true => Order::Native,
            false => Order::Swapped,
        };
        Ok((*dtype, order))
    }
}

impl fmt::Display for Dtype {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_numpys_and_are_read_back() {
        for (index, (dtype, name, ..)) in NAMES.into_iter().enumerate() {
            assert_eq!(dtype as usize, index);
            assert_eq!(Dtype::parse(&dtype.code()), Ok((dtype, Order::Native)));
            assert_eq!(Dtype::parse(name).unwrap().0, dtype);
        }
        if IS_LITTLE {
            assert_eq!(Dtype::Float64.code(), "<f8");
            assert_eq!(Dtype::parse(">f8"), Ok((Dtype::Float64, Order::Swapped)));
            assert_eq!(Dtype::parse("=i4"), Ok((Dtype::Int32, Order::Native)));
        }
        assert_eq!(Dtype::UInt8.code(), "|u1");
        for text in ["", "<", "<float64", "<U5", "O", "f16", "datetime64[ns]", "é8"] {
            assert_eq!(
                Dtype::parse(text),
                Err(TensorError::UnknownDtype(text.to_owned()))
            );
        }
        let Err(TensorError::UnknownDtype(shown)) = Dtype::parse(&"x".repeat(1 << 20)) else {
            panic!("no type");
        };
        assert_eq!(shown.len(), 32);
    }
}
