//! The primitive numbers, as reductions see them.

mod sealed {
    /// Keeps [`Number`](super::Number) and [`Bits`](super::Bits) to the primitives.
    pub trait Sealed {}
}

/// A primitive number. Integers wrap around on overflow, so that no value of another rank makes this one panic.
pub trait Number: sealed::Sealed + Copy + PartialOrd + Send + Sync {
    /// The sum.
    #[must_use]
    fn plus(self, other: Self) -> Self;
    /// The product.
    #[must_use]
    fn times(self, other: Self) -> Self;
    /// The smaller one; of a number and NaN the number.
    #[must_use]
    fn least(self, other: Self) -> Self;
    /// The larger one; of a number and NaN the number.
    #[must_use]
    fn most(self, other: Self) -> Self;
}

/// A primitive integer, bit by bit.
pub trait Bits: Number {
    /// The bits that both have.
    #[must_use]
    fn both(self, other: Self) -> Self;
    /// The bits that at least one has.
    #[must_use]
    fn either(self, other: Self) -> Self;
    /// The bits that exactly one has.
    #[must_use]
    fn one(self, other: Self) -> Self;
}

macro_rules! integers {
    ($($type:ty)*) => {$(
        impl sealed::Sealed for $type {}

        impl Number for $type {
            #[inline]
            fn plus(self, other: Self) -> Self {
                self.wrapping_add(other)
            }
            #[inline]
            fn times(self, other: Self) -> Self {
                self.wrapping_mul(other)
            }
            #[inline]
            fn least(self, other: Self) -> Self {
                Ord::min(self, other)
            }
            #[inline]
            fn most(self, other: Self) -> Self {
                Ord::max(self, other)
            }
        }

        impl Bits for $type {
            #[inline]
            fn both(self, other: Self) -> Self {
                self & other
            }
            #[inline]
            fn either(self, other: Self) -> Self {
                self | other
            }
            #[inline]
            fn one(self, other: Self) -> Self {
                self ^ other
            }
        }
    )*};
}

macro_rules! floats {
    ($($type:ty)*) => {$(
        impl sealed::Sealed for $type {}

        impl Number for $type {
            #[inline]
            fn plus(self, other: Self) -> Self {
                self + other
            }
            #[inline]
            fn times(self, other: Self) -> Self {
                self * other
            }
            #[inline]
            fn least(self, other: Self) -> Self {
                self.min(other)
            }
            #[inline]
            fn most(self, other: Self) -> Self {
                self.max(other)
            }
        }
    )*};
}

integers!(u8 u16 u32 u64 u128 usize i8 i16 i32 i64 i128 isize);
floats!(f32 f64);
