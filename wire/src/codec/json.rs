//! JSON: readable by any language.

use flexbond_transport::Frame;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Codec, DecodeError, EncodeError};

/// JSON text, compact. Describes itself; numbers that are not finite become `null`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Json;

impl Codec for Json {
    fn name(&self) -> &'static str {
        "json"
    }

    fn content_type(&self) -> &'static str {
        "application/json"
    }

    fn encode<T: Serialize + ?Sized>(&self, value: &T) -> Result<Frame, EncodeError> {
        Ok(Frame::from(serde_json::to_vec(value)?))
    }

    fn decode<T: DeserializeOwned>(&self, payload: &[u8]) -> Result<T, DecodeError> {
        serde_json::from_slice(payload).map_err(DecodeError::Json)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_arrive_as_they_were_sent() {
        for number in [4.666_666_666_666_666e44, 0.1 + 0.2, f64::MIN_POSITIVE, f64::MAX] {
            let frame = Json.encode(&number).unwrap();
            assert_eq!(Json.decode::<f64>(&frame).unwrap(), number, "{frame:?}");
        }
    }
}
