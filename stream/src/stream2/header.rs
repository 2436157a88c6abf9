//! A message's summary as a stream header, for statistics and for programs that show what flows.

use super::Message;
use super::field::Encode;
use crate::Header;

impl Message {
    /// A summary as a header: `htype` is `stream2-start`, `stream2-image`, `stream2-end` (or `stream2-` and another
    /// type), `series` the number of the series and `frame` that of the image; all other fields have their own names.
    /// Of arrays it says type, dimensions, compression and size in bytes, of large user data only the size.
    ///
    /// It is made for people and statistics; a message is not made of it again.
    #[must_use]
    pub fn header(&self) -> Header {
        let (present, other) = self.event().parts();
        // Types are short; one that is not says no more than its beginning does.
        let kind: String = self.event().kind().chars().take(64).collect();
        let mut header = Header::new(format!("stream2-{kind}"));
        for (key, value) in present {
            header.set(name(key), value.describe());
        }
        for (key, item) in other {
            // What is not known here does not take the place of what is.
            let taken = ["htype", "series", "frame"].contains(&key.as_str());
            if !taken && header.get(name(key)).is_none() {
                header.set(name(key), item.describe());
            }
        }
        header
    }
}

/// The name that streams have for a field.
fn name(field: &str) -> &str {
    match field {
        "series_id" => "series",
        "image_id" => "frame",
        field => field,
    }
}
