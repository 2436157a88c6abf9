//! Messages as lines: one JSON array of parts; a part is a string, or `{"hex": "…"}` when it is not UTF-8.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};

use crate::transport::{Frame, Message};

/// What is wrong with a line, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LineError {
    /// Which byte of the line, from one; 0 when the line as a whole is wrong.
    pub(crate) column: usize,
    pub(crate) what: String,
}

/// Reads a message from a line.
pub(crate) fn parse(line: &[u8]) -> Result<Message, LineError> {
    let parts: Parts = serde_json::from_slice(line).map_err(|error| {
        let text = error.to_string();
        // serde_json appends its own position, whose line is always 1 here.
        let what = text.split(" at line ").next().unwrap_or(&text);
        let what = if error.is_data() {
            what.to_owned()
        } else {
            format!("not JSON: {what}")
        };
        LineError {
            column: error.column(),
            what,
        }
    })?;
    if parts.0.is_empty() {
        return Err(LineError {
            column: 0,
            what: "a message needs at least one part".to_owned(),
        });
    }
    Ok(parts.0)
}

/// Appends a message as a line, its end included.
pub(crate) fn write(message: &Message, out: &mut Vec<u8>) {
    out.push(b'[');
    for (index, frame) in message.iter().enumerate() {
        if index > 0 {
            out.extend_from_slice(b", ");
        }
        match frame.to_str() {
            // Writing a string into memory cannot fail.
            Ok(text) => serde_json::to_writer(&mut *out, text).unwrap_or_default(),
            Err(_) => {
                out.extend_from_slice(br#"{"hex": ""#);
                let begin = out.len();
                out.resize(begin + 2 * frame.len(), 0);
                // The space is exactly what the digits need.
                hex::encode_to_slice(frame, &mut out[begin..]).unwrap_or_default();
                out.extend_from_slice(br#""}"#);
            }
        }
    }
    out.extend_from_slice(b"]\n");
}

struct Parts(Message);

impl<'de> Deserialize<'de> for Parts {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct List;

        impl<'de> Visitor<'de> for List {
            type Value = Parts;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON array of parts")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut parts: A) -> Result<Parts, A::Error> {
                let mut message = Message::new();
                while let Some(Part(frame)) = parts.next_element()? {
                    message.push_back(frame);
                }
                Ok(Parts(message))
            }
        }

        deserializer.deserialize_any(List)
    }
}

struct Part(Frame);

impl<'de> Deserialize<'de> for Part {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct One;

        impl<'de> Visitor<'de> for One {
            type Value = Part;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(r#"a part: a string or {"hex": "…"}"#)
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Part, E> {
                Ok(Part(text.into()))
            }

            fn visit_string<E: Error>(self, text: String) -> Result<Part, E> {
                Ok(Part(text.into()))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Part, A::Error> {
                let field: Option<String> = fields.next_key()?;
                if field.as_deref() != Some("hex") {
                    return Err(A::Error::custom(r#"expected a part: a string or {"hex": "…"}"#));
                }
                let digits: String = fields.next_value()?;
                let bytes = hex::decode(&digits).map_err(|error| {
                    A::Error::custom(format!("hex: {}", error.to_string().to_lowercase()))
                })?;
                match fields.next_key::<String>()? {
                    None => Ok(Part(bytes.into())),
                    Some(extra) => Err(A::Error::custom(format!("unknown field {extra:?} beside hex"))),
                }
            }
        }

        deserializer.deserialize_any(One)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_bytes_are_read() {
        let message = parse(r#" ["news", "", "üñ\n", {"hex":"00FFfe"}, {"hex":""}] "#.as_bytes()).unwrap();
        let parts: [&[u8]; 5] = [b"news", b"", "üñ\n".as_bytes(), &[0, 255, 254], b""];
        assert_eq!(message, parts.into_iter().collect());
    }

    #[test]
    fn bytes_that_are_no_text_are_written_in_hexadecimal() {
        let mut out = Vec::new();
        write(
            &[&b"a\"b"[..], &[0xff, 0x00], b"", &[0]].into_iter().collect(),
            &mut out,
        );
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "[\"a\\\"b\", {\"hex\": \"ff00\"}, \"\", \"\\u0000\"]\n"
        );
    }

    #[test]
    fn bad_lines_say_what_and_where() {
        let cases = [
            (r#"["a", 5]"#, 7, "a part"),
            (r#""a""#, 3, "a JSON array of parts"),
            (r#"["a""#, 4, "EOF"),
            (r#"["a"] x"#, 7, "trailing"),
            (r#"[{"hex":"0"}]"#, 11, "odd number"),
            (r#"[{"hex":"zz"}]"#, 12, "invalid character"),
            (r#"[{"base64":""}]"#, 10, "expected a part"),
            (r#"[{"hex":"","x":1}]"#, 14, "unknown field"),
            (r"[{}]", 3, "expected a part"),
            (r"[[]]", 0, "a part"),
            (r"[]", 0, "at least one part"),
            ("{}", 0, "a JSON array"),
        ];
        for (line, column, what) in cases {
            let error = parse(line.as_bytes()).unwrap_err();
            assert!(error.what.contains(what), "{line}: {error:?}");
            assert!(
                column == 0 || error.column.abs_diff(column) <= 1,
                "{line}: {error:?}"
            );
        }
        assert!(parse(b"[\"\xff\"]").unwrap_err().what.contains("unicode"));
        let deep = "[".repeat(100_000);
        assert!(parse(deep.as_bytes()).is_err());
    }

    proptest::proptest! {
        #[test]
        fn every_message_round_trips(parts in proptest::collection::vec(proptest::prelude::any::<Vec<u8>>(), 1..5)) {
            let message: Message = parts.into_iter().collect();
            let mut line = Vec::new();
            write(&message, &mut line);
            proptest::prop_assert_eq!(line.iter().filter(|&&byte| byte == b'\n').count(), 1);
            proptest::prop_assert_eq!(parse(&line).unwrap(), message);
        }

        #[test]
        fn arbitrary_lines_never_panic(line: Vec<u8>) {
            let _ = parse(&line);
        }
    }
}
