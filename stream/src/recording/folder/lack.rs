//! Whether a message has fewer parts than its header calls for.

use flexbond_transport::Message;

use crate::bsread::BsreadError;
use crate::detector::DetectorError;
use crate::{DecodeError, StreamMessage};

/// The number of the first part that is missing at the end, as far as the message itself tells.
pub(super) fn first_lacking(message: &Message) -> Option<usize> {
    // What begins like no JSON object calls for nothing; it may be long.
    let begin = message
        .frames()
        .first()?
        .iter()
        .find(|byte| !byte.is_ascii_whitespace());
    if begin != Some(&b'{') {
        return None;
    }
    match StreamMessage::decode(message) {
        // Arrays of which there is none are as good as others.
        Ok(_) => None,
        Err(DecodeError::Detector(DetectorError::MissingPart { part, .. })) => Some(part),
        Err(DecodeError::Bsread(BsreadError::NoDataHeader)) if message.len() < 2 => Some(1),
        Err(DecodeError::Bsread(BsreadError::PartCount { channels, actual }))
            if channels.saturating_mul(2).saturating_add(2) > actual =>
        {
            Some(actual)
        }
        Err(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lacking(parts: &[&str]) -> Option<usize> {
        first_lacking(&parts.iter().copied().collect())
    }

    #[test]
    fn headers_call_for_parts() {
        let image = [
            r#"{"htype":"dimage-1.0","series":1,"frame":2}"#,
            r#"{"htype":"dimage_d-1.0","shape":[3,1],"type":"uint8","encoding":"<"}"#,
            "abc",
            r#"{"htype":"dconfig-1.0"}"#,
        ];
        assert_eq!(lacking(&image), None);
        for count in 1..4 {
            assert_eq!(lacking(&image[..count]), Some(count));
        }
        let array = [r#"{"htype":"array-1.0","type":"uint8","shape":[3]}"#, "abc"];
        assert_eq!((lacking(&array), lacking(&array[..1])), (None, None));
        let pulse = [
            r#"{"htype":"bsr_m-1.1","pulse_id":1}"#,
            r#"{"htype":"bsr_d-1.1","channels":[{"name":"a"}]}"#,
            "12345678",
            "0123456789abcdef",
        ];
        assert_eq!(lacking(&pulse), None);
        for count in 1..4 {
            assert_eq!(lacking(&pulse[..count]), Some(count));
        }
    }

    #[test]
    fn others_have_what_they_have() {
        for header in [r#"{"htype":"raw-1.0"}"#, r#"{"htype":"mine-1.0"}"#, "no header"] {
            assert_eq!(lacking(&[header]), None, "{header}");
        }
    }
}
