//! Rust's numbers as elements.

use super::Dtype;
use sealed::Number;

/// A number that arrays can be of. Complex numbers are pairs, the real part first; `u8` reads truth values, too.
pub trait Element: bytemuck::Pod + Send + Sync + PartialEq + Number {
    /// The type of such elements.
    const DTYPE: Dtype;
}

pub(super) mod sealed {
    /// How numbers of a list become elements.
    pub trait Number: Sized {
        /// The element, if this integer can be one.
        fn from_integer(number: i128) -> Option<Self>;
        /// The element, if this number can be one.
        fn from_float(number: f64) -> Option<Self>;
    }
}

macro_rules! integers {
    ($($number:ty => $dtype:ident),* $(,)?) => {$(
        impl Number for $number {
            fn from_integer(number: i128) -> Option<Self> {
                number.try_into().ok()
            }

            fn from_float(_: f64) -> Option<Self> {
                None
            }
        }

        impl Element for $number {
            const DTYPE: Dtype = Dtype::$dtype;
        }
    )*};
}

integers! {
    i8 => Int8, i16 => Int16, i32 => Int32, i64 => Int64,
    u8 => UInt8, u16 => UInt16, u32 => UInt32, u64 => UInt64,
}

macro_rules! floats {
    ($($number:ty => $dtype:ident, $complex:ident),* $(,)?) => {$(
        impl Number for $number {
            fn from_integer(number: i128) -> Option<Self> {
                Some(number as $number)
            }

            fn from_float(number: f64) -> Option<Self> {
                Some(number as $number)
            }
        }

        impl Element for $number {
            const DTYPE: Dtype = Dtype::$dtype;
        }

        impl Number for [$number; 2] {
            fn from_integer(number: i128) -> Option<Self> {
                Some([number as $number, 0.0])
            }

            fn from_float(number: f64) -> Option<Self> {
                Some([number as $number, 0.0])
            }
        }

        impl Element for [$number; 2] {
            const DTYPE: Dtype = Dtype::$complex;
        }
    )*};
}

floats! { f32 => Float32, Complex64, f64 => Float64, Complex128 }
