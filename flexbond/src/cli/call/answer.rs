//! Answers on the screen: a line of JSON, without the raw bytes beside it.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::cli::Failure;
use crate::cli::printable::unsteered;
use crate::rpc::AnyTensor;
use crate::rpc::envelope::Codec;
use crate::transport::Frame;

/// Numbers of an array that is shown as a list.
const MAX_NUMBERS: usize = 1000;

/// An answer, or an item of one, as it is shown.
pub(super) struct Shown {
    pub(super) line: String,
    /// Bytes beside it that are not.
    pub(super) hides: usize,
}

impl Shown {
    pub(super) fn new(codec: Codec, body: &[u8], buffers: &[Frame]) -> Result<Self, Failure> {
        let wrong =
            |what: &dyn std::fmt::Display| Failure::new(format!("the answer cannot be shown: {what}"));
        let (text, value) = match codec {
            Codec::Json if body.is_empty() => (None, Value::Null),
            Codec::Json => {
                let text = std::str::from_utf8(body).map_err(|error| wrong(&error))?;
                let value = serde_json::from_str(text).map_err(|error| wrong(&error))?;
                (Some(text), value)
            }
            Codec::MessagePack if body.is_empty() => (None, Value::Null),
            Codec::MessagePack => {
                let value = codec.decode(body, Vec::new());
                (None, value.map_err(|error| wrong(&error))?)
            }
            other => return Err(wrong(&format_args!("it is {}", other.name()))),
        };
        // As it was written where that is one line: nothing is lost of its numbers.
        if let Some(text) = text
            && buffers.is_empty()
            && !text.contains(['\n', '\r'])
        {
            let line = unsteered(text);
            return Ok(Shown { line, hides: 0 });
        }
        let mut hides = 0;
        let value = shown(value, buffers, &mut hides);
        Ok(Shown {
            line: unsteered(&value.to_string()),
            hides,
        })
    }
}

/// The value with small arrays as lists, and the number of bytes at all other buffers.
fn shown(value: Value, buffers: &[Frame], hides: &mut usize) -> Value {
    match value {
        Value::Array(values) => Value::Array(
            values
                .into_iter()
                .map(|value| shown(value, buffers, hides))
                .collect(),
        ),
        Value::Object(fields) => {
            if let Some(index) = fields.get("$buffer").and_then(Value::as_u64)
                && fields.len() == 1
                && let Some(buffer) = usize::try_from(index).ok().and_then(|index| buffers.get(index))
            {
                *hides += buffer.len();
                return serde_json::json!({"$buffer": index, "bytes": buffer.len()});
            }
            let value = Value::Object(fields);
            if let Some(list) = list(&value, buffers) {
                return list;
            }
            let Value::Object(fields) = value else {
                return value;
            };
            let fields = fields.into_iter();
            Value::Object(
                fields
                    .map(|(name, value)| (name, shown(value, buffers, hides)))
                    .collect(),
            )
        }
        other => other,
    }
}

/// A small array as lists of numbers.
fn list(value: &Value, buffers: &[Frame]) -> Option<Value> {
    value.get("dtype")?;
    let json = serde_json::to_vec(value).ok()?;
    let array: AnyTensor = Codec::Json.decode(&json, buffers.to_vec()).ok()?;
    if array.len() > MAX_NUMBERS {
        return None;
    }
    let list = Codec::Json.encode(&array.inline(true)).ok()?;
    // Lists cannot hold all numbers.
    match list.buffers.is_empty() {
        true => serde_json::from_slice(&list.body).ok(),
        false => None,
    }
}

/// Writes raw bytes to a file, those of several buffers to as many.
pub(super) fn write(file: &Path, buffers: &[Frame]) -> Result<(), Failure> {
    let several = buffers.len() > 1;
    if buffers.is_empty() {
        return Err(Failure::new("the answer has no array and no buffer to write")
            .hint("it would have been printed without --output"));
    }
    for (index, buffer) in buffers.iter().enumerate() {
        let mut path = file.as_os_str().to_owned();
        if several {
            path.push(format!(".{index}"));
        }
        fs::write(&path, buffer.as_slice())
            .map_err(|error| Failure::new(format!("cannot write {}: {error}", Path::new(&path).display())))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(body: &str, buffers: &[Frame]) -> (String, usize) {
        let shown = Shown::new(Codec::Json, body.as_bytes(), buffers).unwrap();
        (shown.line, shown.hides)
    }

    #[test]
    fn what_is_json_stays_as_it_is() {
        for text in [
            "3",
            "12345678901234567890123456789",
            r#"{"b": [1, 2.50], "a": "ü"}"#,
        ] {
            assert_eq!(line(text, &[]), (text.to_owned(), 0));
        }
        assert_eq!(line("", &[]).0, "null");
        assert_eq!(line("[1,\n 2]", &[]).0, "[1,2]");
        assert_eq!(line("\"a\u{202e}b\u{9b}\"", &[]).0, r#""a\u202eb\u009b""#);
        assert!(Shown::new(Codec::Json, b"{", &[]).is_err());
        assert!(Shown::new(Codec::Postcard, b"3", &[]).is_err());
    }

    #[test]
    fn small_arrays_are_lists_and_large_ones_are_counted() {
        let encode = |len: usize| {
            let array = AnyTensor::from_elements(&[len], vec![1_u16; len]).unwrap();
            Codec::Json.encode(&("x", array)).unwrap()
        };
        let small = encode(3);
        let body = String::from_utf8(small.body.to_vec()).unwrap();
        assert_eq!(line(&body, &small.buffers), (r#"["x",[1,1,1]]"#.to_owned(), 0));
        let large = encode(1001);
        let body = String::from_utf8(large.body.to_vec()).unwrap();
        let (text, hides) = line(&body, &large.buffers);
        assert_eq!(hides, 2002);
        assert_eq!(
            text,
            r#"["x",{"dtype":"<u2","shape":[1001],"data":{"$buffer":0,"bytes":2002}}]"#
        );
    }

    #[test]
    fn message_pack_is_shown_as_json() {
        let encoded = Codec::MessagePack.encode(&(1, "two")).unwrap();
        let shown = Shown::new(Codec::MessagePack, &encoded.body, &[]).unwrap();
        assert_eq!(shown.line, r#"[1,"two"]"#);
    }
}
