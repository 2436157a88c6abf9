//! Messages as JSON.

use std::io::Read;

use bytes::Bytes;
use serde::de::{DeserializeOwned, IgnoredAny};
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
    serde_json::from_str::<IgnoredAny>(text).map_err(|error| wrong(&error))?;
    let mut fields = fields(text).map_err(|error| wrong(&error))?;
    fields.sort_unstable();
    match &fields[..] {
        [(buffers_name, buffers), (value_name, value)]
            if buffers_name == "$buffers" && value_name == "$value" =>
        {
            let (encoding, body) = body(value)?;
            let buffers: Vec<Value> =
                serde_json::from_str(buffers).map_err(|_| Failure::usage("$buffers is not a list"))?;
            let buffers = buffers.iter().map(|buffer| unhex("$buffers", buffer));
            let parts = [Ok(body)].into_iter().chain(buffers);
            Ok((encoding, parts.collect::<Result<_, _>>()?))
        }
        _ => body(text).map(|(encoding, body)| (encoding, vec![body])),
    }
}

/// What valid JSON stands for: bytes, or a value as it was written, so that nothing is lost of its numbers.
fn body(text: &str) -> Result<(Encoding, Bytes), Failure> {
    let fields = fields(text).map_err(|error| wrong(&error))?;
    if let [(name, written)] = &fields[..]
        && let Some(encoding) = match name.as_str() {
            "$bytes" => Some(Encoding::Bytes),
            "$postcard" => Some(Encoding::Value(Codec::Postcard)),
            _ => None,
        }
    {
        let value = serde_json::from_str(written).unwrap_or_default();
        return Ok((encoding, unhex(name, &value)?));
    }
    Ok((Encoding::Value(Codec::Json), text.to_owned().into()))
}

fn wrong(error: &serde_json::Error) -> Failure {
    Failure::usage(format!("standard input is not one JSON value: {error}"))
        .hint("such as {\"round\": 3}, or \"text\" with its quotes")
}

/// The names and values of valid JSON that is an object with names of ours, the values as they were written: whoever reads
/// numbers rounds some of them.
fn fields(text: &str) -> serde_json::Result<Vec<(String, &str)>> {
    let mut fields = Vec::new();
    if !(text.starts_with('{') && text.contains("\"$")) {
        return Ok(fields);
    }
    let mut rest = behind(text, '{');
    while !rest.starts_with('}') {
        let (name, end) = first::<String>(rest)?;
        let value = behind(&rest[end..], ':');
        let (_, end) = first::<IgnoredAny>(value)?;
        fields.push((name, &value[..end]));
        rest = behind(&value[end..], ',');
    }
    Ok(fields)
}

/// What comes behind a sign, if it is there, and white space.
fn behind(text: &str, sign: char) -> &str {
    let text = text.trim_start();
    text.strip_prefix(sign).unwrap_or(text).trim_start()
}

/// The first value of a text, and where it ends.
fn first<T: DeserializeOwned>(text: &str) -> serde_json::Result<(T, usize)> {
    let mut values = serde_json::Deserializer::from_str(text).into_iter();
    let value = match values.next() {
        Some(value) => value?,
        // There is none, and the error is that of an empty text.
        None => serde_json::from_str("")?,
    };
    Ok((value, values.byte_offset()))
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
    let value = match received.encoding {
        Encoding::Value(Codec::Json) => on_a_line(body),
        Encoding::Value(Codec::Postcard) => Some(json!({"$postcard": hex::encode(body)}).to_string()),
        _ => None,
    };
    let value = value.unwrap_or_else(|| json!({"$bytes": hex::encode(body)}).to_string());
    if buffers.is_empty() {
        return unsteered(&value);
    }
    let buffers = json!(buffers.iter().map(hex::encode).collect::<Vec<_>>());
    // The value first, however objects are ordered here.
    unsteered(&format!(r#"{{"$value":{value},"$buffers":{buffers}}}"#))
}

/// JSON as it was written, but on one line; none if it is none.
fn on_a_line(body: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(body)
        .ok()?
        .trim_matches([' ', '\t', '\n', '\r']);
    serde_json::from_str::<IgnoredAny>(text).ok()?;
    // Texts hold neither, but as `\n` and `\r`: what is there is white space.
    Some(text.replace(['\n', '\r'], " "))
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
            r#"{"$value":12345678901234567890123456789012345678901234567890,"$buffers":["00"]}"#,
            r#"{"$value":{"b":1e400, "a":[{"$x" : "}\"\u00e9"}], "b":2},"$buffers":[]}"#,
            r#"{"$bytes":"00","$bytes":"01"}"#,
            r#"{"$value":{"$postcard":"7b"},"$buffers":["01"]}"#,
            r#"{"$value":{"$value":1,"$buffers":[]},"$buffers":["01"]}"#,
            r#"{"$a":{"$bytes":"00"},"z":1E2,"a":-0.0}"#,
        ] {
            let (encoding, parts) = message(text).unwrap();
            let mut shown = received(encoding, parts);
            if text.ends_with("[]}") {
                // A list without a buffer says nothing.
                shown.parts.push(Bytes::new());
                assert_eq!(line(&shown), text.replace("[]}", "[\"\"]}"));
                continue;
            }
            assert_eq!(line(&shown), text);
        }
        let several = "{\"z\":\n 123456789012345678901234567890,\r\n \"a\": 1e400, \"t\": \"\\n\"}\n";
        let (encoding, parts) = message(several).unwrap();
        assert_eq!(
            line(&received(encoding, parts)),
            r#"{"z":  123456789012345678901234567890,   "a": 1e400, "t": "\n"}"#
        );
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
        for text in [
            "",
            "{",
            "1 2",
            "text",
            r#"{"$bytes": "0"}"#,
            r#"{"$bytes": 1}"#,
            r#"{"$value": 1, "$buffers": "00"}"#,
            r#"{"$value": 1, "$buffers": [00]}"#,
        ] {
            message(text).unwrap_err();
        }
    }
}
