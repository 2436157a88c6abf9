//! Payload codecs: how a value becomes the payload of a frame, and comes back.
//!
//! ```
//! # #[cfg(feature = "json")] {
//! use flexbond_wire::codec::{Codec, Json};
//!
//! let frame = Json.encode(&("temperature", 21.5))?;
//! assert_eq!(&frame[..], br#"["temperature",21.5]"#);
//! let (name, value): (String, f64) = Json.decode(&frame)?;
//! assert_eq!((name.as_str(), value), ("temperature", 21.5));
//! # }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod error;
#[cfg(feature = "json")]
mod json;
#[cfg(feature = "postcard")]
mod postcard;

use flexbond_transport::Frame;
use serde::Serialize;
use serde::de::DeserializeOwned;

pub use error::{DecodeError, EncodeError};
#[cfg(feature = "json")]
pub use json::Json;
#[cfg(feature = "postcard")]
pub use postcard::Postcard;

/// A way to write values as bytes. Both peers must use the same one.
///
/// Implementations are values without state, so that a codec can be chosen by a type parameter or passed along.
pub trait Codec {
    /// A short name, in small letters.
    fn name(&self) -> &'static str;

    /// The media type of encoded values.
    fn content_type(&self) -> &'static str;

    /// Writes a value as a frame's payload.
    ///
    /// # Errors
    /// When the value has no representation in this codec.
    fn encode<T: Serialize + ?Sized>(&self, value: &T) -> Result<Frame, EncodeError>;

    /// Reads a value from a frame's payload, all of it.
    ///
    /// Memory grows with the input, not with the lengths it claims. Types that contain themselves should not be read
    /// from peers that are not trusted: how deep they go is the sender's choice.
    ///
    /// # Errors
    /// When the payload is not one whole value of this type.
    fn decode<T: DeserializeOwned>(&self, payload: &[u8]) -> Result<T, DecodeError>;
}
