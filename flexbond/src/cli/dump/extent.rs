//! What the numbers of an array are, in short: the least, the largest, the mean.

use serde_json::Value;

use crate::stream::stream2::{ByteString, NumberType, TypedArray};
use crate::stream::{Array, ElementType};

/// The range of the numbers of an array.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Extent {
    /// Null where none of the elements is a number; so are the next two.
    pub(super) min: Value,
    pub(super) max: Value,
    pub(super) mean: Value,
    /// Elements that are no number; they count in nothing else.
    pub(super) nan: u64,
}

impl Extent {
    /// `None` where there is no element, or elements are no single numbers.
    pub(super) fn of(array: &Array) -> Option<Self> {
        let view = array.view();
        match array.layout().element() {
            ElementType::Int8 => extent(view.elements::<i8>()?, f64::from),
            ElementType::Int16 => extent(view.elements::<i16>()?, f64::from),
            ElementType::Int32 => extent(view.elements::<i32>()?, f64::from),
            ElementType::Int64 => extent(view.elements::<i64>()?, |number| number as f64),
            ElementType::UInt8 => extent(view.elements::<u8>()?, f64::from),
            ElementType::UInt16 => extent(view.elements::<u16>()?, f64::from),
            ElementType::UInt32 => extent(view.elements::<u32>()?, f64::from),
            ElementType::UInt64 => extent(view.elements::<u64>()?, |number| number as f64),
            ElementType::Float32 => extent(view.elements::<f32>()?, f64::from),
            ElementType::Float64 => extent(view.elements::<f64>()?, |number| number),
            ElementType::Bool => extent(view.elements::<u8>()?, f64::from),
            ElementType::Float16 => extent(halves(array)?.into_iter(), |number| number),
            _ => None,
        }
    }

    /// As [`of`](Self::of), or why elements of this type have none.
    pub(super) fn or_reason(array: &Array) -> (Option<Self>, Option<String>) {
        let reason = match array.layout().element() {
            ElementType::Complex64 | ElementType::Complex128 => {
                Some("complex numbers have no order, so no range".to_owned())
            }
            _ => None,
        };
        (Extent::of(array), reason)
    }
}

/// Numbers that Rust has no type for; stream V2 has them.
fn halves(array: &Array) -> Option<Vec<f64>> {
    let number = NumberType::new(ElementType::Float16, array.layout().endianness())?;
    let stored = ByteString::Plain(array.data().clone().into());
    TypedArray::new(number, stored).ok()?.to_f64().ok()
}

/// A number as JSON has it; as text where JSON has none: `inf`, `-inf` and `NaN`.
pub(super) fn float(number: f64) -> Value {
    match number.is_finite() {
        true => number.into(),
        false => number.to_string().into(),
    }
}

fn extent<T: Copy + PartialOrd + Into<Value>>(
    elements: impl Iterator<Item = T>,
    number: impl Fn(T) -> f64,
) -> Option<Extent> {
    let mut bounds: Option<(T, T)> = None;
    let (mut sum, mut count, mut nan) = (0.0, 0_u64, 0);
    for element in elements {
        if element.partial_cmp(&element).is_none() {
            nan += 1;
            continue;
        }
        count += 1;
        sum += number(element);
        let (min, max) = bounds.get_or_insert((element, element));
        if element < *min {
            *min = element;
        }
        if element > *max {
            *max = element;
        }
    }
    let Some((min, max)) = bounds else {
        let (min, max, mean) = (Value::Null, Value::Null, Value::Null);
        return (nan > 0).then_some(Extent { min, max, mean, nan });
    };
    let value = |element: T| match element.into() {
        Value::Null => float(number(element)),
        value => value,
    };
    Some(Extent {
        min: value(min),
        max: value(max),
        mean: float(sum / count as f64),
        nan,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stream::{Endianness, Layout};

    #[test]
    fn halves_have_an_extent() {
        // 1.5, -4, NaN and 65504.
        let halves = [0x3e00_u16, 0xc400, 0x7e00, 0x7bff];
        for order in [Endianness::Big, Endianness::Little] {
            let bytes = halves.map(|half| match order {
                Endianness::Big => half.to_be_bytes(),
                Endianness::Little => half.to_le_bytes(),
            });
            let layout = Layout::new(ElementType::Float16, order, &[4]).unwrap();
            let extent = Extent::of(&Array::new(layout, bytes.concat()).unwrap()).unwrap();
            assert_eq!(
                (extent.min, extent.max, extent.nan),
                ((-4.0).into(), 65_504.0.into(), 1)
            );
        }
    }

    #[test]
    fn every_kind_of_number_has_an_extent() {
        let extent = Extent::of(&Array::from_elements(&[4], vec![3_u16, 1, 65_535, 1]).unwrap()).unwrap();
        assert_eq!(
            (extent.min, extent.max, extent.mean),
            (1.into(), 65_535.into(), 16_385.0.into())
        );
        let extent = Extent::of(&Array::from_elements(&[2], vec![i64::MIN, i64::MAX]).unwrap()).unwrap();
        assert_eq!((extent.min, extent.max), (i64::MIN.into(), i64::MAX.into()));
        let extent = Extent::of(&Array::from_elements(&[3], vec![f64::NAN, 1.5, -2.0]).unwrap()).unwrap();
        assert_eq!(
            (extent.min, extent.nan, extent.mean),
            ((-2.0).into(), 1, (-0.25).into())
        );
        let infinite = vec![f32::NEG_INFINITY, 1.5, f32::INFINITY];
        let extent = Extent::of(&Array::from_elements(&[3], infinite).unwrap()).unwrap();
        assert_eq!((extent.min, extent.max), ("-inf".into(), "inf".into()));
        assert_eq!(
            Extent::of(&Array::from_elements::<f32>(&[0], vec![]).unwrap()),
            None
        );
        let extent = Extent::of(&Array::from_elements(&[2], vec![f32::NAN; 2]).unwrap()).unwrap();
        assert_eq!(
            (extent.min, extent.mean, extent.nan),
            (Value::Null, Value::Null, 2)
        );
        let complex = Layout::new(ElementType::Complex64, Endianness::Little, &[1]).unwrap();
        let (extent, reason) = Extent::or_reason(&Array::new(complex, vec![0; 8]).unwrap());
        assert!(extent.is_none() && reason.unwrap().contains("no range"));
        let bools = Layout::new(ElementType::Bool, Endianness::Little, &[4]).unwrap();
        let extent = Extent::of(&Array::new(bools, vec![0, 1, 1, 0]).unwrap()).unwrap();
        assert_eq!(
            (extent.min, extent.max, extent.mean),
            (0.into(), 1.into(), 0.5.into())
        );
    }
}
