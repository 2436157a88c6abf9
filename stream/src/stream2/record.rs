//! Messages as records of named fields, each of which may be missing.

use minicbor::data::Tag;

use super::Item;
use super::field::Encode;
use super::fields::SELF_DESCRIBED;
use super::writer::{Encoder, Written};

/// The fields of a record that are there, in order.
pub(super) type Present<'a> = Vec<(&'static str, &'a dyn Encode)>;

/// Defines a message: a struct of optional fields named as they travel, and how it is read.
macro_rules! record {
    (
        $(#[$about:meta])*
        $name:ident { $($(#[$doc:meta])* $field:ident: $value:ty,)* }
    ) => {
        $(#[$about])*
        #[derive(Clone, Debug, Default, PartialEq)]
        #[non_exhaustive]
        pub struct $name {
            $($(#[$doc])* pub $field: Option<$value>,)*
            /// Fields that are not known here, and those of another form than documented, in order.
            pub other: Vec<(String, $crate::stream2::Item)>,
        }

        impl $name {
            pub(super) fn read(
                mut fields: $crate::stream2::fields::Fields,
            ) -> Result<Self, $crate::stream2::DecodeError> {
                Ok($name {
                    $($field: fields.take(stringify!($field))?,)*
                    other: fields.rest(),
                })
            }

            /// The fields that are there, without the other ones.
            pub(super) fn present(&self) -> $crate::stream2::record::Present<'_> {
                let mut present = $crate::stream2::record::Present::new();
                $(if let Some(value) = &self.$field {
                    present.push((stringify!($field), value));
                })*
                present
            }
        }
    };
}

pub(super) use record;

/// About how many bytes a message has.
pub(super) fn size(present: &Present<'_>, other: &[(String, Item)]) -> usize {
    let known = present.iter().map(|(key, value)| 9 + key.len() + value.size());
    let other = other.iter().map(|(key, item)| 9 + key.len() + item.bytes().len());
    32 + known.sum::<usize>() + other.sum::<usize>()
}

/// Writes a message: self-described, its type first, as the detectors do it. Of fields with the same name the first one
/// counts.
pub(super) fn write(
    kind: &str,
    present: &Present<'_>,
    other: &[(String, Item)],
    encoder: &mut Encoder,
) -> Written {
    let mut known: Vec<&str> = vec!["type"];
    known.extend(present.iter().map(|field| field.0));
    let mut others: Vec<&(String, Item)> = Vec::new();
    for field in other {
        if !known.contains(&field.0.as_str()) {
            known.push(&field.0);
            others.push(field);
        }
    }
    encoder.tag(Tag::new(SELF_DESCRIBED))?;
    encoder.map(known.len() as u64)?.str("type")?.str(kind)?;
    for (key, value) in present {
        encoder.str(key)?;
        value.write(encoder)?;
    }
    for (key, item) in others {
        encoder.str(key)?;
        item.write(encoder)?;
    }
    Ok(())
}
