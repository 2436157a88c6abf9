//! Messages that come in parts.

use super::protocol::ProtocolError;
use crate::group::Part;

/// Puts the parts of a message together.
#[derive(Debug, Default)]
pub(super) struct Assembly {
    bytes: Vec<u8>,
}

impl Assembly {
    /// The message, if it is complete with this part. It has `limit` bytes at most.
    pub(super) fn push(
        &mut self,
        part: Part,
        body: &[u8],
        limit: usize,
    ) -> Result<Option<Vec<u8>>, ProtocolError> {
        if matches!(part, Part::Whole | Part::First) {
            self.bytes.clear();
        }
        if body.len() > limit - self.bytes.len().min(limit) {
            self.bytes = Vec::new();
            return Err(ProtocolError::TooLong(limit));
        }
        self.bytes.extend_from_slice(body);
        match part {
            Part::Whole | Part::Last => Ok(Some(std::mem::take(&mut self.bytes))),
            Part::First | Part::More => Ok(None),
            Part::Cut => {
                self.bytes = Vec::new();
                Ok(None)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_become_messages_up_to_a_limit() {
        let mut assembly = Assembly::default();
        assert_eq!(assembly.push(Part::First, b"ab", 4), Ok(None));
        assert_eq!(assembly.push(Part::More, b"c", 4), Ok(None));
        assert_eq!(assembly.push(Part::Last, b"d", 4), Ok(Some(b"abcd".to_vec())));
        assert_eq!(assembly.push(Part::Whole, b"x", 4), Ok(Some(b"x".to_vec())));
        assert_eq!(assembly.push(Part::First, b"abc", 4), Ok(None));
        assert_eq!(
            assembly.push(Part::More, b"de", 4),
            Err(ProtocolError::TooLong(4))
        );
    }
}
