//! JSON objects as peers write them, numbers that JSON has not included.

use serde_json::{Map, Value};

/// What Python's `json.dumps` writes for numbers that are not finite.
const NOT_FINITE: [&[u8]; 3] = [b"NaN", b"Infinity", b"-Infinity"];

/// Reads an object. Numbers that are not finite become null: they are no JSON, but every peer in Python writes and
/// reads them, and one of them must not cost the message.
///
/// # Errors
/// What is wrong with the text.
pub(crate) fn parse(text: &[u8]) -> Result<Map<String, Value>, serde_json::Error> {
    serde_json::from_slice(text).or_else(|error| match finite(text) {
        Some(text) => serde_json::from_slice(&text).map_err(|_| error),
        None => Err(error),
    })
}

/// The text with null in place of all numbers that are not finite; `None` if it has none. Strings stay as they are.
fn finite(text: &[u8]) -> Option<Vec<u8>> {
    let mut changed = Vec::new();
    // Up to where `text` is in `changed`.
    let mut copied = 0;
    let (mut at, mut quoted) = (0, false);
    while let Some(&byte) = text.get(at) {
        let found = NOT_FINITE.iter().find(|number| text[at..].starts_with(number));
        match (byte, found) {
            (b'\\', _) if quoted => at += 1,
            (b'"', _) => quoted = !quoted,
            (_, Some(number)) if !quoted => {
                changed.extend_from_slice(&text[copied..at]);
                changed.extend_from_slice(b"null");
                at += number.len() - 1;
                copied = at + 1;
            }
            _ => {}
        }
        at += 1;
    }
    (copied > 0).then(|| {
        changed.extend_from_slice(&text[copied..]);
        changed
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn numbers_that_are_not_finite_are_null() {
        // What Python's json.dumps writes.
        let text =
            br#"{"a": NaN, "b": [Infinity, -Infinity, 1.5], "NaN": "-Infinity \" NaN", "c": {"d": NaN}}"#;
        let expected =
            json!({"a": null, "b": [null, null, 1.5], "NaN": "-Infinity \" NaN", "c": {"d": null}});
        assert_eq!(Value::Object(parse(text).unwrap()), expected);
    }

    #[test]
    fn what_is_no_json_stays_none() {
        for text in [
            &b"NaN"[..],
            b"{\"a\": NaNN}",
            b"{\"a\": -NaN}",
            b"{NaN: 1}",
            b"{\"a\": \"NaN}",
            b"{\"a\": NaN, \\",
            b"{\"a\": Inf}",
            b"",
        ] {
            assert!(parse(text).is_err(), "{}", text.escape_ascii());
        }
        let first = parse(b"{\"a\": NaN, \"b\": x}").unwrap_err();
        assert_eq!(first.column(), 7, "the place is that in the text as it came");
    }

    proptest::proptest! {
        #[test]
        fn any_object_is_read_as_json_is(text in "[\\[{\"a:NIfinitya\\-, \\\\}\\]0]{0,40}") {
            let plain: Result<Map<String, Value>, _> = serde_json::from_str(&text);
            if let Ok(plain) = plain {
                proptest::prop_assert_eq!(parse(text.as_bytes()).unwrap(), plain);
            } else {
                let _ = parse(text.as_bytes());
            }
        }
    }
}
