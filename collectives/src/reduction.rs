//! How the values of two ranks become one: sum, product, extremes, bits, and closures.

use std::fmt;

use crate::number::{Bits, Number};

/// An associative operation on two elements, for reduce, allreduce, scan and the like.
///
/// Operands stay in the order of ranks where [`is_commutative`](Reduction::is_commutative) says false: `left` comes
/// from lower ranks than `right`.
///
/// Closures `Fn(T, T) -> T` are made reductions by [`Custom`].
pub trait Reduction<T>: Send + Sync {
    /// Combines two elements.
    fn combine(&self, left: T, right: T) -> T;

    /// Whether the operands may change places, which permits faster algorithms.
    fn is_commutative(&self) -> bool {
        true
    }

    /// What this reduction is called between ranks: two that differ are reported as a mismatch.
    fn kind(&self) -> ReductionKind {
        ReductionKind::Custom
    }
}

/// Which reduction an operation does, as far as it is told between ranks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ReductionKind {
    /// The operation reduces nothing.
    Nothing,
    /// [`Sum`]
    Sum,
    /// [`Prod`]
    Prod,
    /// [`Min`]
    Min,
    /// [`Max`]
    Max,
    /// [`And`]
    And,
    /// [`Or`]
    Or,
    /// [`Xor`]
    Xor,
    /// [`MinLoc`]
    MinLoc,
    /// [`MaxLoc`]
    MaxLoc,
    /// A closure, or a reduction of the program's own: two of these cannot be told apart.
    Custom,
}

const CODES: [ReductionKind; 11] = [
    ReductionKind::Nothing,
    ReductionKind::Sum,
    ReductionKind::Prod,
    ReductionKind::Min,
    ReductionKind::Max,
    ReductionKind::And,
    ReductionKind::Or,
    ReductionKind::Xor,
    ReductionKind::MinLoc,
    ReductionKind::MaxLoc,
    ReductionKind::Custom,
];

impl ReductionKind {
    pub(crate) fn code(self) -> u8 {
        self as u8
    }

    pub(crate) fn from_code(code: u8) -> Self {
        CODES
            .get(usize::from(code))
            .copied()
            .unwrap_or(ReductionKind::Custom)
    }
}

impl fmt::Display for ReductionKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self {
            ReductionKind::Nothing => "nothing",
            ReductionKind::Sum => "sum",
            ReductionKind::Prod => "product",
            ReductionKind::Min => "minimum",
            ReductionKind::Max => "maximum",
            ReductionKind::And => "and",
            ReductionKind::Or => "or",
            ReductionKind::Xor => "xor",
            ReductionKind::MinLoc => "minimum with location",
            ReductionKind::MaxLoc => "maximum with location",
            ReductionKind::Custom => "custom",
        };
        f.pad(name)
    }
}

macro_rules! reductions {
    ($($(#[$doc:meta])* $name:ident: $bound:ident :: $method:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
        pub struct $name;

        impl<T: $bound> Reduction<T> for $name {
            #[inline]
            fn combine(&self, left: T, right: T) -> T {
                left.$method(right)
            }

            fn kind(&self) -> ReductionKind {
                ReductionKind::$name
            }
        }
    )*};
}

reductions! {
    /// The sum; integers wrap around.
    Sum: Number::plus;
    /// The product; integers wrap around.
    Prod: Number::times;
    /// The smallest; NaN is passed over where there is a number.
    Min: Number::least;
    /// The largest; NaN is passed over where there is a number.
    Max: Number::most;
    /// The bits that all have.
    And: Bits::both;
    /// The bits that at least one has.
    Or: Bits::either;
    /// The bits that an odd number have.
    Xor: Bits::one;
}

/// The smallest value and where it is: elements are pairs `[value, location]`. Of equal values the lowest location.
///
/// ```
/// use flexbond_collectives::{MinLoc, Reduction};
///
/// assert_eq!(MinLoc.combine([2.5, 0.0], [-1.0, 1.0]), [-1.0, 1.0]);
/// assert_eq!(MinLoc.combine([7_i64, 3], [7, 1]), [7, 1]);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct MinLoc;

/// The largest value and where it is: elements are pairs `[value, location]`. Of equal values the lowest location.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct MaxLoc;

impl<T: Number> Reduction<[T; 2]> for MinLoc {
    #[inline]
    fn combine(&self, left: [T; 2], right: [T; 2]) -> [T; 2] {
        if right[0] < left[0] || (right[0] == left[0] && right[1] < left[1]) {
            right
        } else {
            left
        }
    }

    fn kind(&self) -> ReductionKind {
        ReductionKind::MinLoc
    }
}

impl<T: Number> Reduction<[T; 2]> for MaxLoc {
    #[inline]
    fn combine(&self, left: [T; 2], right: [T; 2]) -> [T; 2] {
        if right[0] > left[0] || (right[0] == left[0] && right[1] < left[1]) {
            right
        } else {
            left
        }
    }

    fn kind(&self) -> ReductionKind {
        ReductionKind::MaxLoc
    }
}

/// A closure `Fn(T, T) -> T` as a reduction. It must be associative.
///
/// ```
/// use flexbond_collectives::{Custom, Reduction};
///
/// let gcd = Custom::commutative(|mut a: u64, mut b: u64| {
///     while b != 0 {
///         (a, b) = (b, a % b);
///     }
///     a
/// });
/// assert_eq!(gcd.combine(12, 18), 6);
///
/// // Affine maps [a, b] (x becomes a·x + b), one after the other: the order counts.
/// let chain = Custom::ordered(|[a, b]: [i64; 2], [c, d]: [i64; 2]| [a * c, b * c + d]);
/// assert_eq!(chain.combine([2, 1], [3, 0]), [6, 3]);
/// ```
#[derive(Clone, Copy)]
pub struct Custom<C> {
    combine: C,
    is_commutative: bool,
}

impl<C> Custom<C> {
    /// A reduction whose operands may change places.
    pub const fn commutative(combine: C) -> Self {
        Custom {
            combine,
            is_commutative: true,
        }
    }

    /// A reduction whose operands stay in the order of ranks.
    pub const fn ordered(combine: C) -> Self {
        Custom {
            combine,
            is_commutative: false,
        }
    }
}

impl<T, C: Fn(T, T) -> T + Send + Sync> Reduction<T> for Custom<C> {
    #[inline]
    fn combine(&self, left: T, right: T) -> T {
        (self.combine)(left, right)
    }

    fn is_commutative(&self) -> bool {
        self.is_commutative
    }
}

impl<C> fmt::Debug for Custom<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Custom")
            .field("is_commutative", &self.is_commutative)
            .finish_non_exhaustive()
    }
}

/// A reduction whose operands are bracketed in one fixed way, so that floats give the same bits every time.
///
/// With it the result of `reduce`, `allreduce` and `reduce_scatter` depends on nothing but the values and the number of
/// ranks n: not on timing, root, tuning, algorithm, the slice's length or an element's place in it. The brackets: let
/// m be the largest power of two that is not above n, and r = n − m. Of the ranks below 2·r each even one and the odd one after
/// it are combined first; the m values that there are then are combined in pairs of neighbours, these in pairs, and so on.
/// For n = 6: ((x₀∘x₁)∘(x₂∘x₃))∘(x₄∘x₅). `scan` and `exscan` have brackets of their own, also fixed for n.
///
/// *Without* it, too, all ranks get the same bits from one operation, and the same again from the same call with the
/// same number of ranks, length, tuning and root; but other lengths may use other brackets.
///
/// The same processor instructions are assumed: across machines that round differently nothing is promised.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct FixedTree<R>(pub R);

impl<T, R: Reduction<T>> Reduction<T> for FixedTree<R> {
    #[inline]
    fn combine(&self, left: T, right: T) -> T {
        self.0.combine(left, right)
    }

    /// False: whatever keeps the operands in order uses the one tree.
    fn is_commutative(&self) -> bool {
        false
    }

    fn kind(&self) -> ReductionKind {
        self.0.kind()
    }
}

/// On which side of one's own values those that came in belong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    /// They come from lower ranks.
    Left,
    /// They come from higher ranks.
    Right,
}

/// Combines `incoming` into `own`, element by element. Simple loops without bounds checks, so that the compiler
/// vectorises them.
pub(crate) fn combine_into<T: Copy, R: Reduction<T>>(
    reduction: &R,
    own: &mut [T],
    incoming: &[T],
    side: Side,
) {
    match side {
        Side::Left => {
            for (own, incoming) in own.iter_mut().zip(incoming) {
                *own = reduction.combine(*incoming, *own);
            }
        }
        Side::Right => {
            for (own, incoming) in own.iter_mut().zip(incoming) {
                *own = reduction.combine(*own, *incoming);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_go_there_and_back() {
        for (code, kind) in CODES.into_iter().enumerate() {
            assert_eq!(usize::from(kind.code()), code, "{kind}");
            assert_eq!(ReductionKind::from_code(kind.code()), kind);
        }
        assert_eq!(ReductionKind::from_code(99), ReductionKind::Custom);
    }

    #[test]
    fn the_named_reductions_do_what_they_say() {
        assert_eq!(Sum.combine(i32::MAX, 1), i32::MIN);
        assert_eq!(Prod.combine(2.0, 4.0), 8.0);
        assert_eq!((Min.combine(3, 5), Max.combine(3, 5)), (3, 5));
        assert_eq!(Min.combine(f64::NAN, 1.0), 1.0);
        assert_eq!(And.combine(0b110, 0b011), 0b010);
        assert_eq!(Or.combine(0b110, 0b011), 0b111);
        assert_eq!(Xor.combine(0b110, 0b011), 0b101);
        assert_eq!(MaxLoc.combine([4, 9], [4, 2]), [4, 2]);
        assert_eq!(MinLoc.combine([4, 9], [5, 2]), [4, 9]);
    }

    #[test]
    fn operands_keep_their_sides() {
        let first = Custom::ordered(|left: i32, _: i32| left);
        let mut own = [1, 2];
        combine_into(&first, &mut own, &[10, 20], Side::Right);
        assert_eq!(own, [1, 2]);
        combine_into(&first, &mut own, &[10, 20], Side::Left);
        assert_eq!(own, [10, 20]);
        let fixed = FixedTree(Sum);
        assert!(!Reduction::<f32>::is_commutative(&fixed));
        assert_eq!(Reduction::<f32>::kind(&fixed), ReductionKind::Sum);
    }
}
