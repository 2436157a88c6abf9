//! The first part of every stream message: a JSON object whose `htype` says what follows.

use std::fmt;

use bytes::Bytes;
use flexbond_transport::Frame;
use serde_json::{Map, Value};
use thiserror::Error;

/// The header of a stream message: a JSON object with a string field `htype`.
///
/// Every field is kept, known or not, in the order in which it came, so a header that is forwarded loses nothing.
///
/// ```
/// use flexbond_stream::Header;
///
/// let header = Header::parse(br#"{"htype":"raw-1.0","frame":7,"beamline":"X06SA"}"#)?;
/// assert_eq!(header.htype(), "raw-1.0");
/// assert_eq!(header.frame(), Some(7));
/// assert_eq!(header.text("beamline"), Some("X06SA"));
///
/// let header = Header::new("raw-1.0").with("frame", 8);
/// assert_eq!(header.to_string(), r#"{"htype":"raw-1.0","frame":8}"#);
/// # Ok::<(), flexbond_stream::HeaderError>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Header {
    // Always holds a string under "htype": `new` and `parse` put it there, `set` never takes it away.
    fields: Map<String, Value>,
}

/// Why the first part of a message is not a header.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum HeaderError {
    /// The message has no part at all.
    #[error("the message has no header part")]
    Missing,
    /// The part is longer than [`Header::MAX_SIZE`]; it was not looked at.
    #[error("the header has {size} bytes, more than {}", Header::MAX_SIZE)]
    TooLong {
        /// Its length in bytes.
        size: usize,
    },
    /// The part is not a JSON object.
    #[error("the header is not a JSON object: {0}")]
    Json(#[from] serde_json::Error),
    /// There is no `htype`, or it is not a string.
    #[error("the header has no htype")]
    NoHtype,
}

impl Header {
    /// The longest header that is parsed, in bytes (16 MiB).
    pub const MAX_SIZE: usize = 16 << 20;

    /// A header with nothing but its type, such as `raw-1.0`.
    #[must_use]
    pub fn new(htype: impl Into<String>) -> Self {
        let mut fields = Map::new();
        fields.insert("htype".to_owned(), Value::String(htype.into()));
        Header { fields }
    }

    /// Reads a header from the bytes of a message's first part.
    ///
    /// # Errors
    /// [`HeaderError`]: too long, not a JSON object, or without `htype`.
    pub fn parse(bytes: &[u8]) -> Result<Self, HeaderError> {
        if bytes.len() > Self::MAX_SIZE {
            return Err(HeaderError::TooLong { size: bytes.len() });
        }
        let fields: Map<String, Value> = serde_json::from_slice(bytes)?;
        match fields.get("htype") {
            Some(Value::String(_)) => Ok(Header { fields }),
            _ => Err(HeaderError::NoHtype),
        }
    }

    /// The type of the message, such as `array-1.0`.
    #[must_use]
    pub fn htype(&self) -> &str {
        self.fields
            .get("htype")
            .and_then(Value::as_str)
            .unwrap_or_default()
    }

    /// The number of the frame (`frame`), where there is one.
    #[must_use]
    pub fn frame(&self) -> Option<u64> {
        self.number("frame")
    }

    /// Where the data was made (`source`), where it is said.
    #[must_use]
    pub fn source(&self) -> Option<&str> {
        self.text("source")
    }

    /// How the data parts are compressed (`encoding`); `None` when they are not.
    #[must_use]
    pub fn encoding(&self) -> Option<&str> {
        self.text("encoding")
            .filter(|encoding| !encoding.is_empty() && !encoding.eq_ignore_ascii_case("none"))
    }

    /// Labels (`tags`) that are strings; others are left out here, and kept in the header.
    pub fn tags(&self) -> impl Iterator<Item = &str> {
        self.get("tags")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
    }

    /// Any field.
    #[must_use]
    pub fn get(&self, field: &str) -> Option<&Value> {
        self.fields.get(field)
    }

    /// A field that is a string.
    #[must_use]
    pub fn text(&self, field: &str) -> Option<&str> {
        self.get(field).and_then(Value::as_str)
    }

    /// A field that is an integer from zero on.
    #[must_use]
    pub fn number(&self, field: &str) -> Option<u64> {
        self.get(field).and_then(Value::as_u64)
    }

    /// All fields, `htype` included, in order.
    #[must_use]
    pub fn fields(&self) -> &Map<String, Value> {
        &self.fields
    }

    /// Adds or replaces a field. A value for `htype` that is not a string is ignored: a header always has one.
    pub fn set(&mut self, field: impl Into<String>, value: impl Into<Value>) {
        let (field, value) = (field.into(), value.into());
        if field != "htype" || value.is_string() {
            self.fields.insert(field, value);
        }
    }

    /// As [`set`](Self::set), for building a header in one expression.
    #[must_use]
    pub fn with(mut self, field: impl Into<String>, value: impl Into<Value>) -> Self {
        self.set(field, value);
        self
    }

    /// The header as the first part of a message.
    #[must_use]
    pub fn to_frame(&self) -> Frame {
        Frame::from(Bytes::from(self.to_string()))
    }
}

/// The JSON text, without spaces, as it travels.
impl fmt::Display for Header {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Writing a map of strings to JSON values cannot fail but for the formatter itself.
        f.write_str(&serde_json::to_string(&self.fields).map_err(|_| fmt::Error)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_fields_and_their_order_survive() {
        let text =
            r#"{"zeta":[1,2.5,null],"htype":"x-9.9","alpha":{"b":1,"a":2},"frame":18446744073709551615}"#;
        let header = Header::parse(text.as_bytes()).unwrap();
        assert_eq!(header.to_string(), text);
        assert_eq!(header.frame(), Some(u64::MAX));
    }

    #[test]
    fn what_python_writes_is_read() {
        // Captured from psi-mflow 1.0.0's generator; the shape is not a list of whole numbers.
        let text = br#"{"htype": "raw-1.0", "type": "int32", "shape": [1, 2621.25], "frame": 0}"#;
        let header = Header::parse(text).unwrap();
        assert_eq!((header.htype(), header.frame()), ("raw-1.0", Some(0)));
    }

    #[test]
    fn what_is_no_header_is_refused() {
        let cases: [&[u8]; 8] = [
            b"",
            b"nonsense",
            b"[]",
            b"\"raw-1.0\"",
            b"{}",
            br#"{"htype":1}"#,
            b"{\"htype\":\"a\"",
            b"\xff\xfe",
        ];
        for case in cases {
            assert!(Header::parse(case).is_err(), "{}", case.escape_ascii());
        }
        let deep = format!("{{\"htype\":{}", "[".repeat(100_000));
        assert!(matches!(
            Header::parse(deep.as_bytes()),
            Err(HeaderError::Json(_))
        ));
        let long = vec![b' '; Header::MAX_SIZE + 1];
        assert!(matches!(Header::parse(&long), Err(HeaderError::TooLong { .. })));
    }

    #[test]
    fn htype_stays_a_string() {
        let mut header = Header::new("raw-1.0");
        header.set("htype", 5);
        assert_eq!(header.htype(), "raw-1.0");
        header.set("htype", "array-1.0");
        assert_eq!(header.htype(), "array-1.0");
    }

    #[test]
    fn no_encoding_has_three_spellings() {
        for (value, expected) in [("none", None), ("", None), ("bs16-lz4<", Some("bs16-lz4<"))] {
            assert_eq!(
                Header::new("array-1.0").with("encoding", value).encoding(),
                expected
            );
        }
        assert_eq!(Header::new("array-1.0").encoding(), None);
    }
}
