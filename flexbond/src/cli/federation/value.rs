//! Messages as JSON.

use std::io::Read;

use bytes::Bytes;
use serde::de::IgnoredAny;
use serde_json::{Value, json};

use crate::cli::failure::Failure;
use crate::cli::printable::unsteered;
use crate::collectives::federation::{Codec, Encoding, Received};

/// The largest value that is read, in bytes.
const MAX_INPUT: u64 = 1 << 30;

/// The message on standard input.
pub(super) fn read_input() -> Result<(Encoding, Vec<Bytes>), Failure> {
    let mut text = String::new();
    std::io::stdin()
        .take(MAX_INPUT + 1)
        .read_to_string(&mut text)
        .map_err(|error| Failure::usage(format!("cannot read standard input: {error}")))?;
    if text.len() as u64 > MAX_INPUT {
        return Err(Failure::usage(format!(
            "the value on standard input is longer than {} MiB",
            MAX_INPUT >> 20
        )));
    }
    message(&text)
}

fn message(text: &str) -> Result<(Encoding, Vec<Bytes>), Failure> {
    let text = text.trim();
    let wrong = |error: &serde_json::Error| {
        Failure::usage(format!("standard input is not one JSON value: {error}"))
            .hint("such as {\"round\": 3}, or \"text\" with its quotes")
    };
    serde_json::from_str::<IgnoredAny>(text).map_err(|error| wrong(&error))?;
    if !text.contains("\"$") {
        // As it was written: nothing is lost of its numbers.
        return Ok((Encoding::Value(Codec::Json), vec![text.to_owned().into()]));
    }
    let value: Value = serde_json::from_str(text).map_err(|error| wrong(&error))?;
    let Value::Object(fields) = &value else {
        return Ok((Encoding::Value(Codec::Json), vec![text.to_owned().into()]));
    };
    let mut names: Vec<&str> = fields.keys().map(String::as_str).collect();
    names.sort_unstable();
    match names[..] {
        ["$bytes"] => Ok((Encoding::Bytes, vec![unhex("$bytes", &fields["$bytes"])?])),
        ["$postcard"] => {
            let body = unhex("$postcard", &fields["$postcard"])?;
            Ok((Encoding::Value(Codec::Postcard), vec![body]))
        }
        ["$buffers", "$value"] => {
            let (encoding, mut parts) = message(&fields["$value"].to_string())?;
            let buffers = fields["$buffers"]
                .as_array()
                .ok_or_else(|| Failure::usage("$buffers is not a list"))?;
            for buffer in buffers {
                parts.push(unhex("$buffers", buffer)?);
            }
            Ok((encoding, parts))
        }
        _ => Ok((Encoding::Value(Codec::Json), vec![text.to_owned().into()])),
    }
}

fn unhex(name: &str, value: &Value) -> Result<Bytes, Failure> {
    let text = value
        .as_str()
        .ok_or_else(|| Failure::usage(format!("{name} is not text of hexadecimal digits")))?;
    let bytes = hex::decode(text)
        .map_err(|error| Failure::usage(format!("{name}: {}", error.to_string().to_lowercase())))?;
    Ok(bytes.into())
}

/// A message as one line of JSON.
pub(super) fn line(received: &Received) -> String {
    let (body, buffers) = match received.parts.split_first() {
        Some((body, buffers)) => (body.as_ref(), buffers),
        None => (&[][..], &[][..]),
    };
    let text = std::str::from_utf8(body).ok();
    let value = match received.encoding {
        Encoding::Value(Codec::Json) => {
            let whole = text.filter(|text| serde_json::from_str::<IgnoredAny>(text).is_ok());
            if let Some(text) = whole
                && buffers.is_empty()
                && !text.contains(['\n', '\r'])
            {
                return unsteered(text);
            }
            let value = whole.and_then(|text| serde_json::from_str(text).ok());
            value.unwrap_or_else(|| json!({"$bytes": hex::encode(body)}))
        }
        Encoding::Value(Codec::Postcard) => json!({"$postcard": hex::encode(body)}),
        _ => json!({"$bytes": hex::encode(body)}),
    };
    if buffers.is_empty() {
        return unsteered(&value.to_string());
    }
    let buffers = json!(buffers.iter().map(hex::encode).collect::<Vec<_>>());
    // The value first, however objects are ordered here.
    unsteered(&format!(r#"{{"$value":{value},"$buffers":{buffers}}}"#))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_can_be_sent() {
        for text in [
            r#"{"a":[1,2.50,123456789012345678901234567890]}"#,
            "null",
            r#"{"$bytes":"00ff"}"#,
            r#"{"$postcard":"7b"}"#,
            r#"{"$value":{"a":1},"$buffers":["","01"]}"#,
            r#"{"$other":1}"#,
        ] {
            let (encoding, parts) = message(text).unwrap();
            let shown = line(&received(encoding, parts));
            assert_eq!(shown, text);
        }
        let shown = line(&received(
            Encoding::Value(Codec::Json),
            vec!["\"\u{9b}\"\n".into()],
        ));
        assert_eq!(shown, "\"\\u009b\"");
    }

    fn received(encoding: Encoding, parts: Vec<Bytes>) -> Received {
        Received::new(0, encoding, parts)
    }

    #[test]
    fn what_is_no_value_is_refused() {
        for text in ["", "{", "1 2", "text", r#"{"$bytes": "0"}"#, r#"{"$bytes": 1}"#] {
            message(text).unwrap_err();
        }
    }
}
