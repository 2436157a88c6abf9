//! JSON objects as peers write them, with numbers and halves of characters that JSON has not.

use std::borrow::Cow;

use serde::de::DeserializeOwned;
use serde_json::Value;

/// What Python's `json.dumps` writes for numbers that are not finite.
const NOT_FINITE: [&[u8]; 3] = [b"NaN", b"Infinity", b"-Infinity"];

/// What .NET and editors on Windows put before a text in UTF-8.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// What stands for half of a character.
const REPLACEMENT: &[u8] = b"\\ufffd";

/// Reads an object. Numbers that are not finite become null, and halves of surrogate pairs U+FFFD: they are no JSON,
/// but every peer in Python writes and reads them, the latter for bytes of a path that are not UTF-8, and one of them
/// must not cost the message. Neither must zero bytes at the end, where a sender in C sent what ends its string, nor the
/// mark that editors on Windows put before the text, nor bytes that are not UTF-8, such as an umlaut of Latin-1: each
/// becomes U+FFFD.
///
/// # Errors
/// What is wrong with the text.
pub(crate) fn parse<T: DeserializeOwned>(text: &[u8]) -> Result<T, serde_json::Error> {
    let end = text
        .iter()
        .rposition(|&byte| byte != 0)
        .map_or(0, |last| last + 1);
    let text = text[..end].strip_prefix(BYTE_ORDER_MARK).unwrap_or(&text[..end]);
    serde_json::from_slice(text).or_else(|error| match mended(text) {
        Some(text) => serde_json::from_slice(&text).map_err(|_| error),
        None => Err(error),
    })
}

/// The text with everything mended that can be; `None` if there is nothing.
fn mended(text: &[u8]) -> Option<Vec<u8>> {
    match String::from_utf8_lossy(text) {
        Cow::Borrowed(text) => repaired(text.as_bytes()),
        Cow::Owned(text) => repaired(text.as_bytes()).or(Some(text.into_bytes())),
    }
}

/// The text with null in place of all numbers that are not finite and U+FFFD in place of halves of surrogate pairs;
/// `None` if it has neither.
fn repaired(text: &[u8]) -> Option<Vec<u8>> {
    let mut changed = Vec::new();
    // Up to where `text` is in `changed`.
    let mut copied = 0;
    let (mut at, mut quoted) = (0, false);
    while let Some(&byte) = text.get(at) {
        let found = NOT_FINITE.iter().find(|number| text[at..].starts_with(number));
        match (byte, found) {
            (b'\\', _) if quoted => match (unit(text, at), unit(text, at + 6)) {
                (Some(0xd800..=0xdbff), Some(0xdc00..=0xdfff)) => at += 11,
                (Some(0xd800..=0xdfff), _) => {
                    changed.extend_from_slice(&text[copied..at]);
                    changed.extend_from_slice(REPLACEMENT);
                    at += 5;
                    copied = at + 1;
                }
                _ => at += 1,
            },
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

/// A number without a fraction: an integer, or one that a sender computed and wrote with a decimal point, as far as such
/// numbers are exact.
pub(crate) fn integer(value: &Value) -> Option<i128> {
    const EXACT: f64 = (1_u64 << 53) as f64;
    let written = value
        .as_u64()
        .map(i128::from)
        .or_else(|| value.as_i64().map(i128::from));
    written.or_else(|| {
        let number = value.as_f64()?;
        (number.fract() == 0.0 && number.abs() <= EXACT).then_some(number as i128)
    })
}

/// The unit of UTF-16 that is escaped at a place, if one is: `\u00e9`.
fn unit(text: &[u8], at: usize) -> Option<u16> {
    let digits = text.get(at..at + 6)?.strip_prefix(b"\\u")?;
    digits.iter().try_fold(0, |unit, &digit| {
        let digit = char::from(digit).to_digit(16)?;
        Some(unit << 4 | digit as u16)
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use serde_json::Map;

    use super::*;

    fn parse(text: &[u8]) -> Result<Map<String, Value>, serde_json::Error> {
        super::parse(text)
    }

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
    fn halves_of_characters_are_replaced() {
        // What Python's json.dumps writes for a path that is not UTF-8, and for one character beyond 16 bits.
        let text = br#"{"path": "/data/\udce9t\udce9", "\ud800": "\ud83d\ude00 \ud83d \\udce9", "n": NaN}"#;
        let expected = json!({
            "path": "/data/\u{fffd}t\u{fffd}", "\u{fffd}": "\u{1f600} \u{fffd} \\udce9", "n": null,
        });
        assert_eq!(Value::Object(parse(text).unwrap()), expected);
        for text in [
            r#"{"a": "\udce"}"#,
            r#"{"a": "\ud800\u"}"#,
            r#"{"a": \ud800}"#,
            r#"{"a": "\ud800"#,
        ] {
            assert!(parse(text.as_bytes()).is_err(), "{text}");
        }
    }

    #[test]
    fn zero_bytes_that_end_a_string_in_c_are_passed_over() {
        assert_eq!(parse(b"{\"a\": 1}\0").unwrap(), parse(b"{\"a\": 1}").unwrap());
        assert!(parse(b"{\"a\": 1}\0{").is_err() && parse(b"\0").is_err() && parse(b"{\"a\": \0}").is_err());
    }

    #[test]
    fn a_mark_before_the_text_and_bytes_that_are_no_utf_8_do_not_cost_it() {
        assert_eq!(
            parse(b"\xef\xbb\xbf{\"a\": 1}").unwrap(),
            parse(b"{\"a\": 1}").unwrap()
        );
        // M\xfcller is Latin-1; a number that is not finite is mended as well.
        let text = b"\xef\xbb\xbf{\"user\": \"M\xfcller\", \"n\": [NaN, 2], \"\xe9t\xe9\": \"\xc3\xa9\"}\0";
        let expected = json!({"user": "M\u{fffd}ller", "n": [null, 2], "\u{fffd}t\u{fffd}": "\u{e9}"});
        assert_eq!(Value::Object(parse(text).unwrap()), expected);
        for text in [
            &b"\xef\xbb\xbf"[..],
            b"\xef\xbb\xbf\xef\xbb\xbf{}",
            b"{\"a\": \xfc}",
            b"\xff\xfe{}",
        ] {
            assert!(parse(text).is_err(), "{}", text.escape_ascii());
        }
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
