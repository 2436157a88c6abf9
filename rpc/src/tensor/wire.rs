//! Arrays in bodies: a structure with a buffer beside it, or lists of numbers.

use std::fmt;
use std::marker::PhantomData;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Error as _, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::list::{Level, Lists, Nested, Numbers, Seen};
use super::{AnyTensor, Dtype, Element, Tensor, TensorError};
use crate::buffer::{self, Buffer};
use crate::envelope::Codec;

/// Lists without numbers in them that are written at most: they stand for nothing.
const MAX_EMPTY_LISTS: usize = 1024;

#[derive(Serialize, Deserialize)]
#[serde(rename = "Tensor")]
struct Structure {
    dtype: String,
    shape: Vec<usize>,
    data: Buffer,
}

impl TryFrom<Structure> for AnyTensor {
    type Error = TensorError;

    fn try_from(structure: Structure) -> Result<Self, TensorError> {
        let (dtype, order) = Dtype::parse(&structure.dtype)?;
        AnyTensor::read(dtype, order, structure.shape, structure.data.into_bytes())
    }
}

impl AnyTensor {
    /// Whether lists can say all that this is.
    fn fits_lists(&self) -> bool {
        match self.dtype() {
            Dtype::Float16 | Dtype::Complex64 | Dtype::Complex128 => return false,
            // JSON has no other numbers.
            Dtype::Float32 | Dtype::Float64 => {
                let finite = self.to_floats();
                if !finite.is_some_and(|floats| floats.iter().all(|number| number.is_finite())) {
                    return false;
                }
            }
            _ => {}
        }
        let lists = self.shape().iter().take_while(|&&len| len > 0);
        !self.is_empty() || lists.product::<usize>() <= MAX_EMPTY_LISTS
    }
}

impl Serialize for AnyTensor {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.is_inline() && has_names(serializer.is_human_readable()) && self.fits_lists() {
            let nested = Nested {
                dtype: self.dtype(),
                shape: self.shape(),
                data: self.data(),
            };
            return nested.serialize(serializer);
        }
        let structure = Structure {
            dtype: self.dtype().code(),
            shape: self.shape().to_vec(),
            data: Buffer::from(self.data().clone()),
        };
        structure.serialize(serializer)
    }
}

impl<T: Element> Serialize for Tensor<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.as_any().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for AnyTensor {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        read::<Seen, D>(deserializer)
    }
}

impl<'de, T: Element> Deserialize<'de> for Tensor<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let any = read::<Vec<T>, D>(deserializer)?;
        any.inline(false).into_tensor().map_err(D::Error::custom)
    }
}

/// Whether what is written or read says itself what it is.
fn has_names(is_human_readable: bool) -> bool {
    is_human_readable || buffer::codec() == Some(Codec::MessagePack)
}

fn read<'de, N: Numbers, D: Deserializer<'de>>(deserializer: D) -> Result<AnyTensor, D::Error> {
    if has_names(deserializer.is_human_readable()) {
        return deserializer.deserialize_any(Either::<N>(PhantomData));
    }
    let structure = Structure::deserialize(deserializer)?;
    structure.try_into().map_err(D::Error::custom)
}

/// Reads a structure, lists or a number.
struct Either<N>(PhantomData<N>);

impl<N: Numbers> Either<N> {
    fn list<E>(read: impl FnOnce(Level<'_, N>) -> Result<(), E>) -> Result<AnyTensor, E> {
        let mut lists = Lists::default();
        read(Level {
            lists: &mut lists,
            depth: 0,
        })?;
        Ok(lists.finish())
    }
}

impl<'de, N: Numbers> Visitor<'de> for Either<N> {
    type Value = AnyTensor;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array: a list of numbers, or a structure of dtype, shape and data")
    }

    fn visit_bool<E: serde::de::Error>(self, truth: bool) -> Result<AnyTensor, E> {
        Self::list(|level| level.visit_bool(truth))
    }

    fn visit_i64<E: serde::de::Error>(self, number: i64) -> Result<AnyTensor, E> {
        Self::list(|level| level.visit_i64(number))
    }

    fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<AnyTensor, E> {
        Self::list(|level| level.visit_u64(number))
    }

    fn visit_f64<E: serde::de::Error>(self, number: f64) -> Result<AnyTensor, E> {
        Self::list(|level| level.visit_f64(number))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<AnyTensor, A::Error> {
        Self::list(|level| level.visit_seq(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<AnyTensor, A::Error> {
        let structure = Structure::deserialize(MapAccessDeserializer::new(map))?;
        structure.try_into().map_err(A::Error::custom)
    }
}
