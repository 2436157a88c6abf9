//! Arrays as lists of numbers, and lists of such lists.

use std::fmt;

use serde::de::{DeserializeSeed, Error, MapAccess, SeqAccess, Visitor};
use serde::ser::SerializeSeq;
use serde::{Deserializer, Serialize, Serializer};

use super::any::{bytes_of, with_element};
use super::{AnyTensor, Dtype, Element};

/// What takes numbers as they come.
pub(super) trait Numbers: Default {
    /// What it takes, for who sent something else.
    const WANTED: &'static str;

    fn integer(&mut self, number: i128) -> bool;
    fn float(&mut self, number: f64) -> bool;
    fn truth(&mut self, truth: bool) -> bool;
    /// The array of what came.
    fn finish(self, shape: &[usize]) -> AnyTensor;
}

fn array<T: Element>(shape: &[usize], numbers: Vec<T>) -> AnyTensor {
    // The shape was counted along with them; it fits.
    let list = AnyTensor::list(numbers);
    AnyTensor::new(T::DTYPE, shape, list.data().clone()).unwrap_or(list)
}

impl<T: Element> Numbers for Vec<T> {
    const WANTED: &'static str = "numbers that the elements can be";

    fn integer(&mut self, number: i128) -> bool {
        T::from_integer(number).map(|number| self.push(number)).is_some()
    }

    fn float(&mut self, number: f64) -> bool {
        T::from_float(number).map(|number| self.push(number)).is_some()
    }

    fn truth(&mut self, truth: bool) -> bool {
        T::DTYPE == Dtype::UInt8 && self.integer(truth.into())
    }

    fn finish(self, shape: &[usize]) -> AnyTensor {
        array(shape, self)
    }
}

/// Numbers whose type is seen from themselves, as numpy does it.
#[derive(Default)]
pub(super) enum Seen {
    #[default]
    Nothing,
    Integers(Vec<i64>),
    Floats(Vec<f64>),
    Truths(Vec<u8>),
}

impl Numbers for Seen {
    const WANTED: &'static str = "numbers or truth values, integers of 64 bits among them";

    fn integer(&mut self, number: i128) -> bool {
        if let Seen::Nothing = self {
            *self = Seen::Integers(Vec::new());
        }
        match self {
            Seen::Integers(integers) => {
                let Ok(number) = number.try_into() else {
                    return false;
                };
                integers.push(number);
            }
            Seen::Floats(floats) => floats.push(number as f64),
            Seen::Nothing | Seen::Truths(_) => return false,
        }
        true
    }

    fn float(&mut self, number: f64) -> bool {
        *self = match std::mem::take(self) {
            Seen::Nothing => Seen::Floats(vec![number]),
            Seen::Integers(integers) => {
                let before = integers.iter().map(|&integer| integer as f64);
                Seen::Floats(before.chain([number]).collect())
            }
            Seen::Floats(mut floats) => {
                floats.push(number);
                Seen::Floats(floats)
            }
            Seen::Truths(_) => return false,
        };
        true
    }

    fn truth(&mut self, truth: bool) -> bool {
        if let Seen::Nothing = self {
            *self = Seen::Truths(Vec::new());
        }
        let Seen::Truths(truths) = self else {
            return false;
        };
        truths.push(truth.into());
        true
    }

    fn finish(self, shape: &[usize]) -> AnyTensor {
        match self {
            // numpy's type of an empty list.
            Seen::Nothing => array::<f64>(shape, Vec::new()),
            Seen::Integers(integers) => array(shape, integers),
            Seen::Floats(floats) => array(shape, floats),
            Seen::Truths(truths) => {
                let array = AnyTensor::new(Dtype::Bool, shape, bytes_of(truths));
                array.unwrap_or_else(|_| AnyTensor::list::<u8>(Vec::new()))
            }
        }
    }
}

/// Lists that are being read, from the outermost on.
#[derive(Default)]
pub(super) struct Lists<N> {
    numbers: N,
    /// Lengths of the lists at each depth, from the first that ended there.
    shape: Vec<Option<usize>>,
    /// At which depth numbers are, once there was one.
    bottom: Option<usize>,
}

impl<N: Numbers> Lists<N> {
    /// The array of what was read.
    pub(super) fn finish(self) -> AnyTensor {
        let shape: Vec<usize> = self.shape.into_iter().map(Option::unwrap_or_default).collect();
        self.numbers.finish(&shape).inline(true)
    }
}

/// Reads what is at one depth.
pub(super) struct Level<'a, N> {
    pub(super) lists: &'a mut Lists<N>,
    pub(super) depth: usize,
}

impl<N: Numbers> Level<'_, N> {
    fn number<E: Error>(self, take: impl FnOnce(&mut N) -> bool) -> Result<(), E> {
        let bottom = *self.lists.bottom.get_or_insert(self.depth);
        if bottom != self.depth || self.lists.shape.len() > self.depth {
            return Err(uneven());
        }
        match take(&mut self.lists.numbers) {
            true => Ok(()),
            false => Err(E::custom(format_args!("wanted are {}", N::WANTED))),
        }
    }
}

fn uneven<E: Error>() -> E {
    E::custom("the lists of an array are not as long as each other")
}

impl<'de, N: Numbers> DeserializeSeed<'de> for Level<'_, N> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de, N: Numbers> Visitor<'de> for Level<'_, N> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number or a list of numbers")
    }

    fn visit_bool<E: Error>(self, truth: bool) -> Result<(), E> {
        self.number(|numbers| numbers.truth(truth))
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<(), E> {
        self.number(|numbers| numbers.integer(number.into()))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<(), E> {
        self.number(|numbers| numbers.integer(number.into()))
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<(), E> {
        self.number(|numbers| numbers.float(number))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        let Level { lists, depth } = self;
        if depth == AnyTensor::MAX_DIMENSIONS {
            return Err(A::Error::custom(format_args!(
                "lists within lists, more than {} deep",
                AnyTensor::MAX_DIMENSIONS
            )));
        }
        if lists.bottom.is_some_and(|bottom| bottom <= depth) {
            return Err(uneven());
        }
        if lists.shape.len() == depth {
            // One that is empty has no lists in it; one that has some comes after none that was empty.
            lists.shape.push(None);
        }
        let mut len = 0;
        while list
            .next_element_seed(Level {
                lists: &mut *lists,
                depth: depth + 1,
            })?
            .is_some()
        {
            len += 1;
        }
        match *lists.shape[depth].get_or_insert(len) == len {
            true => Ok(()),
            false => Err(uneven()),
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, _: A) -> Result<(), A::Error> {
        Err(A::Error::custom(
            "an array is a list of numbers, or a structure of dtype, shape and data",
        ))
    }
}

/// Part of an array, to be written as lists.
pub(super) struct Nested<'a> {
    pub(super) dtype: Dtype,
    pub(super) shape: &'a [usize],
    pub(super) data: &'a [u8],
}

impl Serialize for Nested<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Some((&len, inner)) = self.shape.split_first() else {
            if self.dtype == Dtype::Bool {
                return serializer.serialize_bool(self.data != [0]);
            }
            return with_element!(self.dtype, T => {
                let number: T = bytemuck::pod_read_unaligned(self.data);
                number.serialize(serializer)
            }, _ => Err(serde::ser::Error::custom(format_args!("{} is not written as a list", self.dtype))));
        };
        let mut list = serializer.serialize_seq(Some(len))?;
        let part = self.data.len().checked_div(len).unwrap_or_default();
        for index in 0..len {
            list.serialize_element(&Nested {
                dtype: self.dtype,
                shape: inner,
                data: &self.data[index * part..(index + 1) * part],
            })?;
        }
        list.end()
    }
}
