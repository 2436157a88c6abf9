//! The arguments of methods that take none.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::ser::{Serialize, SerializeStruct, Serializer};

/// No arguments. Callers in other languages may write that as an object or a list without entries, as null, or not at
/// all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoArguments;

impl Serialize for NoArguments {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_struct("NoArguments", 0)?.end()
    }
}

impl<'de> Deserialize<'de> for NoArguments {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match deserializer.is_human_readable() {
            true => deserializer.deserialize_any(Nothing),
            // Postcard does not say what comes, and MessagePack gives what there is whatever is asked for.
            false => deserializer.deserialize_struct("NoArguments", &[], Nothing),
        }
    }
}

struct Nothing;

impl<'de> Visitor<'de> for Nothing {
    type Value = NoArguments;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no arguments")
    }

    fn visit_unit<E: Error>(self) -> Result<NoArguments, E> {
        Ok(NoArguments)
    }

    fn visit_none<E: Error>(self) -> Result<NoArguments, E> {
        Ok(NoArguments)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<NoArguments, A::Error> {
        match map.next_key::<String>()? {
            None => Ok(NoArguments),
            Some(name) => Err(A::Error::custom(format_args!(
                "unknown field `{name}`, there are no arguments"
            ))),
        }
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<NoArguments, A::Error> {
        match list.next_element::<IgnoredAny>()? {
            None => Ok(NoArguments),
            Some(_) => Err(A::Error::invalid_length(1, &self)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::envelope::Codec;

    #[test]
    fn nothing_can_be_said_in_many_ways() {
        for (codec, bodies) in [
            (Codec::Json, &[&b""[..], b"null", b"{}", b"[]"][..]),
            (Codec::MessagePack, &[b"", b"\xc0", b"\x80", b"\x90"]),
            (Codec::Postcard, &[b""]),
        ] {
            for body in bodies {
                assert_eq!(
                    codec.decode(body, Vec::new()),
                    Ok(NoArguments),
                    "{codec:?} {body:?}"
                );
            }
            let encoded = codec.encode(&NoArguments).expect("can be written");
            assert_eq!(codec.decode(&encoded.body, Vec::new()), Ok(NoArguments));
        }
    }

    #[test]
    fn what_is_too_much_is_named() {
        for (body, reason) in [
            (
                &br#"{"n": 1}"#[..],
                "JSON: unknown field `n`, there are no arguments at line 1 column 4",
            ),
            (
                b"[1]",
                "JSON: invalid length 1, expected no arguments at line 1 column 3",
            ),
            (
                b"7",
                "JSON: invalid type: integer `7`, expected no arguments at line 1 column 1",
            ),
        ] {
            let error = Codec::Json.decode::<NoArguments>(body, Vec::new()).unwrap_err();
            assert_eq!(error.to_string(), reason);
        }
        let error = Codec::Postcard
            .decode::<NoArguments>(&[1], Vec::new())
            .unwrap_err();
        assert_eq!(error.to_string(), "postcard: 1 bytes more than the value has");
    }
}
