//! What ranks tell each other about a multicast, through the mesh and in front of the stream.

/// The tags from here on are for this; no communicator has them.
pub(super) const FIRST_TAG: u64 = u64::MAX << 34;

/// What a notice is about; its number is that of the message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Subject {
    /// Who takes part in an epoch.
    Meeting = 0,
    /// A receiver is ready, or does not want the message.
    Ready = 1,
    /// A receiver has it all, or has not.
    Done = 2,
    /// From the sender: the stream will not bring it; or the message itself.
    Instead = 3,
}

/// One byte.
pub(super) mod word {
    /// Ready; or all there.
    pub(in super::super) const YES: u8 = 1;
    /// Not wanted; or not all there.
    pub(in super::super) const NO: u8 = 2;
    /// The sender has given it up: it will not come.
    pub(in super::super) const VOID: u8 = 3;
    /// The sender cannot stream it: who has not got it all says so, and gets it through the mesh.
    pub(in super::super) const STOPPED: u8 = 4;
}

/// The tag of notices about a message.
pub(super) fn tag(subject: Subject, number: u32) -> u64 {
    FIRST_TAG | (subject as u64) << 32 | u64::from(number)
}

/// What comes before a message in the stream: 24 bytes, little endian.
///
/// | bytes | what |
/// | --- | --- |
/// | 0..4 | epoch |
/// | 4..8 | number |
/// | 8..16 | tag |
/// | 16..24 | length |
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Heading {
    pub(super) epoch: u32,
    pub(super) number: u32,
    pub(super) tag: u64,
    pub(super) length: u64,
}

impl Heading {
    pub(super) const LEN: usize = 24;

    pub(super) fn encode(self) -> [u8; Self::LEN] {
        let mut bytes = [0; Self::LEN];
        bytes[..4].copy_from_slice(&self.epoch.to_le_bytes());
        bytes[4..8].copy_from_slice(&self.number.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.tag.to_le_bytes());
        bytes[16..].copy_from_slice(&self.length.to_le_bytes());
        bytes
    }

    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; Self::LEN] = bytes.try_into().ok()?;
        let [e0, e1, e2, e3, n0, n1, n2, n3, rest @ ..] = *bytes;
        let [t0, t1, t2, t3, t4, t5, t6, t7, length @ ..] = rest;
        Some(Heading {
            epoch: u32::from_le_bytes([e0, e1, e2, e3]),
            number: u32::from_le_bytes([n0, n1, n2, n3]),
            tag: u64::from_le_bytes([t0, t1, t2, t3, t4, t5, t6, t7]),
            length: u64::from_le_bytes(length),
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_heading_is_read_back(epoch: u32, number: u32, tag: u64, length: u64) {
            let heading = Heading { epoch, number, tag, length };
            prop_assert_eq!(Heading::decode(&heading.encode()), Some(heading));
        }

        #[test]
        fn other_lengths_are_no_heading(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            prop_assert_eq!(Heading::decode(&bytes).is_some(), bytes.len() == Heading::LEN);
        }
    }

    #[test]
    fn tags_of_different_subjects_differ() {
        let mut tags: Vec<u64> = [Subject::Meeting, Subject::Ready, Subject::Done, Subject::Instead]
            .into_iter()
            .flat_map(|subject| [0, 1, u32::MAX].map(|number| tag(subject, number)))
            .collect();
        tags.dedup();
        assert_eq!(tags.len(), 12);
        assert!(tags.is_sorted() && tags[0] == FIRST_TAG && tags[11] == u64::MAX);
    }
}
