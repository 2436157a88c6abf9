//! Postcard: compact binary between Rust peers.

use flexbond_transport::Frame;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Codec, DecodeError, EncodeError};

/// The [postcard](https://postcard.jamesmunns.com/wire-format) format. Does not describe itself: both sides must
/// agree on the type.
///
/// ```
/// use flexbond_wire::codec::{Codec, Postcard};
///
/// let frame = Postcard.encode(&(1_u32, "one"))?;
/// assert_eq!(&frame[..], b"\x01\x03one");
/// assert_eq!(Postcard.decode::<(u32, String)>(&frame)?, (1, "one".to_owned()));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Postcard;

impl Codec for Postcard {
    fn name(&self) -> &'static str {
        "postcard"
    }

    fn content_type(&self) -> &'static str {
        "application/x-postcard"
    }

    fn encode<T: Serialize + ?Sized>(&self, value: &T) -> Result<Frame, EncodeError> {
        Ok(Frame::from(postcard::to_extend(value, Vec::new())?))
    }

    fn decode<T: DeserializeOwned>(&self, payload: &[u8]) -> Result<T, DecodeError> {
        match postcard::take_from_bytes(payload).map_err(DecodeError::Postcard)? {
            (value, []) => Ok(value),
            (_, rest) => Err(DecodeError::Trailing(rest.len())),
        }
    }
}
