//! The first part of every stream message: a JSON object whose `htype` says what follows.

use std::fmt;

use bytes::Bytes;
use flexbond_transport::Frame;
use serde_json::{Map, Value};
use thiserror::Error;

use crate::fields::Fields;
use crate::json_object;

/// The header of a stream message: a JSON object with a string field `htype`.
///
/// Every field is kept, known or not, in the order in which it came. A header that was received in a message also keeps
/// its bytes, and travels on as exactly these until a field is [`set`](Self::set). Numbers that are not finite and
/// halves of characters, which JSON does not have and Python writes all the same, are null and U+FFFD here; so are bytes
/// that are not UTF-8. A byte order mark before the text is passed over.
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
#[derive(Clone, Debug)]
pub struct Header {
    // Always holds a string under "htype", or a list that has one: `new` and `parse` put it there, `set` never takes it
    // away.
    fields: Fields,
    // What it was read from, as long as the fields still say the same: writing JSON anew would change spaces and numbers.
    received: Option<Frame>,
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
    #[error("the header is not a JSON object")]
    Json(#[from] serde_json::Error),
    /// There is no `htype`, or it is neither a string nor a list that has one.
    #[error("the header has no htype")]
    NoHtype,
}

impl Header {
    /// The longest header that is parsed, in bytes (16 MiB).
    pub const MAX_SIZE: usize = 16 << 20;

    /// A header with nothing but its type, such as `raw-1.0`.
    #[must_use]
    pub fn new(htype: impl Into<String>) -> Self {
        let mut fields = Fields::default();
        fields.set("htype".to_owned(), Value::String(htype.into()));
        Header {
            fields,
            received: None,
        }
    }

    /// Reads a header from a message's first part, and keeps the part to be sent on as it is.
    ///
    /// ```
    /// use flexbond_stream::Header;
    ///
    /// let mut header = Header::from_frame(&r#"{ "htype": "raw-1.0",  "gain": 1e0 }"#.into())?;
    /// assert_eq!(header.to_frame(), r#"{ "htype": "raw-1.0",  "gain": 1e0 }"#);
    /// header.set("gain", 2);
    /// assert_eq!(header.to_frame(), r#"{"htype":"raw-1.0","gain":2}"#);
    /// # Ok::<(), flexbond_stream::HeaderError>(())
    /// ```
    ///
    /// # Errors
    /// As for [`parse`](Self::parse).
    pub fn from_frame(part: &Frame) -> Result<Self, HeaderError> {
        let mut header = Header::parse(part)?;
        header.received = Some(part.clone());
        Ok(header)
    }

    /// Reads a header from the bytes of a message's first part.
    ///
    /// # Errors
    /// [`HeaderError`]: too long, not a JSON object, or without `htype`.
    pub fn parse(bytes: &[u8]) -> Result<Self, HeaderError> {
        if bytes.len() > Self::MAX_SIZE {
            return Err(HeaderError::TooLong { size: bytes.len() });
        }
        let fields: Fields = json_object::parse(bytes)?;
        match fields.get("htype").and_then(first_text) {
            Some(_) => Ok(Header {
                fields,
                received: None,
            }),
            None => Err(HeaderError::NoHtype),
        }
    }

    /// Whether the message begins a series of a detector: `dheader-1.0`, or the start of Dectris' stream V2.
    ///
    /// ```
    /// use flexbond_stream::Header;
    ///
    /// assert!(Header::new("dheader-1.0").begins_series());
    /// assert!(!Header::new("dseries_end-1.0").begins_series());
    /// assert!(Header::new("stream2-end").ends_series());
    /// ```
    #[must_use]
    pub fn begins_series(&self) -> bool {
        self.htype().starts_with("dheader-") || self.htype() == "stream2-start"
    }

    /// Whether the message ends a series of a detector: `dseries_end-1.0`, or the end of Dectris' stream V2.
    #[must_use]
    pub fn ends_series(&self) -> bool {
        self.htype().starts_with("dseries_end-") || self.htype() == "stream2-end"
    }

    /// The type of the message, such as `array-1.0`; the first one where the field is a list, as senders of PSI have it.
    #[must_use]
    pub fn htype(&self) -> &str {
        let htype = self.fields.get("htype").and_then(first_text);
        htype.unwrap_or_default()
    }

    /// The number of the frame (`frame`), where there is one.
    #[must_use]
    pub fn frame(&self) -> Option<u64> {
        self.number("frame")
    }

    /// The number of the series (`series`) of a detector's message.
    #[must_use]
    pub fn series(&self) -> Option<u64> {
        self.number("series")
    }

    /// The number of the pulse (`pulse_id`) of a bsread message. Senders in Java leave it out where it is 0.
    #[must_use]
    pub fn pulse_id(&self) -> Option<u64> {
        self.number("pulse_id")
    }

    /// Where the data was made (`source`), where it is said.
    #[must_use]
    pub fn source(&self) -> Option<&str> {
        self.text("source")
    }

    /// How the data parts are compressed (`encoding`); `None` when they are not.
    #[must_use]
    pub fn encoding(&self) -> Option<&str> {
        self.text("encoding").filter(|encoding| {
            !["", "none", "raw"]
                .iter()
                .any(|none| encoding.eq_ignore_ascii_case(none))
        })
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

    /// A field that is an integer from zero on, written as one or with a decimal point (`7.0`), as Python does it where
    /// the number was computed.
    #[must_use]
    pub fn number(&self, field: &str) -> Option<u64> {
        json_object::integer(self.get(field)?).and_then(|number| u64::try_from(number).ok())
    }

    /// All fields, `htype` included, in order.
    #[must_use]
    pub fn fields(&self) -> &Map<String, Value> {
        self.fields.as_map()
    }

    /// Adds or replaces a field. A value for `htype` that is not a string is ignored: a header always has one.
    pub fn set(&mut self, field: impl Into<String>, value: impl Into<Value>) {
        let (field, value) = (field.into(), value.into());
        if field != "htype" || value.is_string() {
            self.received = None;
            self.fields.set(field, value);
        }
    }

    /// As [`set`](Self::set), for building a header in one expression.
    #[must_use]
    pub fn with(mut self, field: impl Into<String>, value: impl Into<Value>) -> Self {
        self.set(field, value);
        self
    }

    /// The header as the first part of a message: the very bytes that were received, unless a field was set since.
    #[must_use]
    pub fn to_frame(&self) -> Frame {
        match &self.received {
            Some(part) => part.clone(),
            None => Frame::from(Bytes::from(self.to_string())),
        }
    }
}

/// A string, or the first one of a list.
fn first_text(value: &Value) -> Option<&str> {
    match value {
        Value::String(text) => Some(text),
        Value::Array(list) => list.iter().find_map(Value::as_str),
        _ => None,
    }
}

/// Two headers are equal when their fields are, however these were spelt.
impl PartialEq for Header {
    fn eq(&self, other: &Self) -> bool {
        self.fields == other.fields
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
    fn numbers_that_python_alone_has_do_not_cost_the_header() {
        let part = Frame::from(r#"{"htype": "raw-1.0", "temperature": NaN, "frame": 4}"#);
        let header = Header::from_frame(&part).unwrap();
        assert_eq!(
            (header.frame(), header.get("temperature")),
            (Some(4), Some(&Value::Null))
        );
        assert_eq!(header.to_frame(), part);
    }

    #[test]
    fn integers_may_have_a_decimal_point() {
        for (text, number) in [
            ("7", Some(7)),
            ("7.0", Some(7)),
            ("1.7e9", Some(1_700_000_000)),
            ("18446744073709551615", Some(u64::MAX)),
            ("7.5", None),
            ("-1", None),
            ("-1.0", None),
            ("1e16", None),
            ("\"7\"", None),
            ("NaN", None),
        ] {
            let header = format!(r#"{{"htype":"x-1.0","frame":{text},"pulse_id":{text}}}"#);
            let header = Header::parse(header.as_bytes()).unwrap();
            assert_eq!((header.frame(), header.pulse_id()), (number, number), "{text}");
        }
    }

    #[test]
    fn an_htype_in_a_list_is_one() {
        // As a sender of PSI in Java writes it.
        let part = Frame::from(
            r#"{"htype":["array-1.0"],"tag":"","source":"","shape":[456,616],"frame":9983,"type":"uint16"}"#,
        );
        let mut header = Header::from_frame(&part).unwrap();
        assert_eq!((header.htype(), header.frame()), ("array-1.0", Some(9983)));
        assert_eq!(header.to_frame(), part);
        header.set("htype", Value::from(vec!["x-1.0"]));
        assert_eq!(header.to_frame(), part, "what is set is a string");
        header.set("htype", "x-1.0");
        assert_eq!(header.htype(), "x-1.0");
    }

    #[test]
    fn what_is_no_header_is_refused() {
        let cases: [&[u8]; 10] = [
            br#"{"htype":[]}"#,
            br#"{"htype":[1,["a"]]}"#,
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
    fn received_bytes_last_until_a_field_is_set() {
        let part = Frame::from(
            "{ \"htype\" : \"x-1.0\",\n\"n\": 1.50e+3, \"big\": 123456789012345678901234567890 }",
        );
        let mut header = Header::from_frame(&part).unwrap();
        assert_eq!(header.clone().to_frame(), part);
        header.set("htype", 5);
        assert_eq!(header.to_frame(), part, "nothing was set");
        assert_eq!(header, Header::parse(&part).unwrap());
        header.set("n", 2);
        assert_ne!(header.to_frame(), part);
        assert_eq!(Header::from_frame(&header.to_frame()).unwrap(), header);
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
    fn no_encoding_has_four_spellings() {
        for (value, expected) in [
            ("none", None),
            ("", None),
            ("raw", None),
            ("bs16-lz4<", Some("bs16-lz4<")),
        ] {
            assert_eq!(
                Header::new("array-1.0").with("encoding", value).encoding(),
                expected
            );
        }
        assert_eq!(Header::new("array-1.0").encoding(), None);
    }
}
