//! How datagrams stand in a stream of bytes: frames, each of them one datagram or several of equal size.
//!
//! | bytes | what |
//! | --- | --- |
//! | 4 | the length of the contents, big-endian, at most [`Transmit::MAX_LEN`] |
//! | 2 | the size of each datagram in them, the last of which may be shorter; 0: they are one datagram |
//! | … | the contents |
//!
//! What one `Transmit` splits into stays one run of bytes on both sides: it is written, copied and handed over at once.

use thiserror::Error;

use crate::Transmit;

/// The length of what stands before the contents, in bytes.
pub(super) const HEADER: usize = 6;
/// The most datagrams of a frame.
pub(super) const MAX_SEGMENTS: usize = 64;
/// The longest frame, in bytes.
pub(super) const MAX_FRAME: usize = HEADER + Transmit::MAX_LEN;

/// What stands before the contents of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    /// The length of the contents, in bytes.
    pub(super) len: usize,
    /// The size of each datagram but the last; `len` if there is one only.
    pub(super) segment: usize,
}

/// These bytes are no frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("not a frame")]
pub(super) struct Garbage;

/// A packet cannot be as large as this.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("more bytes than a packet can carry")]
pub(super) struct TooLong;

impl Header {
    fn encode(self) -> [u8; HEADER] {
        // Both fit: nothing is longer than `Transmit::MAX_LEN`, which is below 2¹⁶.
        let [a, b, c, d] = (self.len as u32).to_be_bytes();
        let segment = if self.segment == self.len { 0 } else { self.segment };
        let [e, f] = (segment as u16).to_be_bytes();
        [a, b, c, d, e, f]
    }

    /// The header at the beginning of `bytes`; `None` if it has not come whole.
    pub(super) fn decode(bytes: &[u8]) -> Result<Option<Self>, Garbage> {
        let Some(&[a, b, c, d, e, f]) = bytes.first_chunk::<HEADER>() else {
            return Ok(None);
        };
        let len = u32::from_be_bytes([a, b, c, d]);
        let segment = usize::from(u16::from_be_bytes([e, f]));
        let len = usize::try_from(len).map_err(|_| Garbage)?;
        if len > Transmit::MAX_LEN || (segment != 0 && segment >= len) {
            return Err(Garbage);
        }
        let segment = if segment == 0 { len } else { segment };
        let header = Header { len, segment };
        if header.datagrams() > MAX_SEGMENTS {
            return Err(Garbage);
        }
        Ok(Some(header))
    }

    /// How many datagrams the frame holds; an empty one is one too.
    pub(super) fn datagrams(self) -> usize {
        self.len.div_ceil(self.segment.max(1)).max(1)
    }
}

/// A frame that is to be sent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Frame<'a> {
    pub(super) header: [u8; HEADER],
    pub(super) contents: &'a [u8],
    pub(super) datagrams: usize,
}

impl<'a> Frame<'a> {
    fn new(contents: &'a [u8], segment: usize) -> Self {
        let header = Header {
            len: contents.len(),
            segment: segment.min(contents.len()),
        };
        Frame {
            header: header.encode(),
            contents,
            datagrams: header.datagrams(),
        }
    }

    /// How many bytes it is.
    pub(super) fn len(&self) -> usize {
        HEADER + self.contents.len()
    }

    /// Adds the frame to the end of `bytes`.
    pub(super) fn append_to(&self, bytes: &mut Vec<u8>) {
        bytes.extend_from_slice(&self.header);
        bytes.extend_from_slice(self.contents);
    }
}

/// The frames that packets of `segment_size` bytes, or one packet, are sent in.
fn frames(
    contents: &[u8],
    segment_size: Option<usize>,
) -> Result<impl Iterator<Item = Frame<'_>> + Clone, TooLong> {
    let len = contents.len();
    let segment = segment_size.unwrap_or(len).clamp(1, len.max(1));
    if segment > Transmit::MAX_LEN {
        return Err(TooLong);
    }
    let whole = MAX_SEGMENTS.min(Transmit::MAX_LEN / segment) * segment;
    let empty = contents.is_empty().then_some(contents);
    let parts = empty.into_iter().chain(contents.chunks(whole));
    Ok(parts.map(move |part| Frame::new(part, segment)))
}

/// The frames that a `Transmit` is sent in.
pub(super) fn frames_of<'a>(
    transmit: &Transmit<'a>,
) -> Result<impl Iterator<Item = Frame<'a>> + Clone + use<'a>, TooLong> {
    frames(transmit.contents, transmit.segment_size)
}

/// How many bytes of whole frames stand at the beginning of `bytes`, up to `limit`, but one frame at least if there is
/// one.
pub(super) fn whole_frames(bytes: &[u8], limit: usize) -> usize {
    let mut at = 0;
    while let Ok(Some(header)) = Header::decode(&bytes[at..]) {
        let end = at + HEADER + header.len;
        if end > bytes.len() || (at > 0 && end > limit) {
            break;
        }
        at = end;
    }
    at
}

/// How many datagrams stand in `bytes`, frame after frame, of which the first `gone` bytes have been sent already. A
/// datagram of a frame that was sent in part counts.
pub(super) fn unsent_datagrams(bytes: &[u8], gone: usize) -> u64 {
    let (mut at, mut count) = (0, 0);
    while let Ok(Some(header)) = Header::decode(&bytes[at.min(bytes.len())..]) {
        at += HEADER + header.len;
        if at > gone {
            count += header.datagrams() as u64;
        }
    }
    count
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The datagrams of all whole frames of `bytes`, and how many bytes are left.
    fn decode(mut bytes: &[u8]) -> Result<(Vec<Vec<u8>>, usize), Garbage> {
        let mut datagrams = Vec::new();
        while let Some(header) = Header::decode(bytes)? {
            let Some(contents) = bytes[HEADER..].get(..header.len) else {
                break;
            };
            if contents.is_empty() {
                datagrams.push(Vec::new());
            }
            datagrams.extend(contents.chunks(header.segment.max(1)).map(<[u8]>::to_vec));
            bytes = &bytes[HEADER + header.len..];
        }
        Ok((datagrams, bytes.len()))
    }

    fn encode(packets: &[(Vec<u8>, Option<usize>)]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (contents, segment) in packets {
            for frame in frames(contents, *segment).expect("short enough") {
                frame.append_to(&mut bytes);
            }
        }
        bytes
    }

    fn sent(packets: &[(Vec<u8>, Option<usize>)]) -> Vec<Vec<u8>> {
        let mut datagrams = Vec::new();
        for (contents, segment) in packets {
            match segment {
                Some(size) if !contents.is_empty() => {
                    datagrams.extend(contents.chunks(*size).map(<[u8]>::to_vec));
                }
                _ => datagrams.push(contents.clone()),
            }
        }
        datagrams
    }

    proptest! {
        #[test]
        fn what_is_sent_is_read(
            packets in prop::collection::vec(
                (prop::collection::vec(any::<u8>(), 0..3000), prop::option::of(1_usize..400)),
                0..8,
            ),
        ) {
            let bytes = encode(&packets);
            let expected = sent(&packets);
            prop_assert_eq!(unsent_datagrams(&bytes, 0), expected.len() as u64);
            prop_assert_eq!(whole_frames(&bytes, usize::MAX), bytes.len());
            prop_assert_eq!(decode(&bytes), Ok((expected, 0)));
        }

        /// Wherever it is cut, the beginning is read, and the rest waits for more.
        #[test]
        fn what_has_come_in_part_waits(
            contents in prop::collection::vec(any::<u8>(), 0..2000),
            segment in 1_usize..300,
            cut in any::<prop::sample::Index>(),
        ) {
            let bytes = encode(&[(contents, Some(segment)), (vec![7; 10], None)]);
            let cut = cut.index(bytes.len());
            let whole = whole_frames(&bytes[..cut], usize::MAX);
            let (begun, left) = decode(&bytes[..cut]).expect("frames");
            prop_assert_eq!(whole + left, cut);
            let (rest, nothing) = decode(&bytes[whole..]).expect("frames");
            prop_assert_eq!(nothing, 0);
            let (all, _) = decode(&bytes).expect("frames");
            prop_assert_eq!([begun, rest].concat(), all);
        }

        #[test]
        fn arbitrary_bytes_do_no_harm(bytes in prop::collection::vec(any::<u8>(), 0..300), gone in 0_usize..400) {
            let _ = decode(&bytes);
            let _ = unsent_datagrams(&bytes, gone);
            prop_assert!(whole_frames(&bytes, 100) <= bytes.len());
        }
    }

    #[test]
    fn limits_are_kept() {
        let largest = vec![7; Transmit::MAX_LEN];
        assert_eq!(frames(&largest, None).expect("just fits").count(), 1);
        assert!(frames(&vec![0; Transmit::MAX_LEN + 1], None).is_err());
        assert!(frames(&vec![0; 140_000], Some(Transmit::MAX_LEN + 1)).is_err());
        let many = vec![0; 140_000];
        for size in [1, 1000, 1400, 65_507] {
            let mut all = 0;
            for frame in frames(&many, Some(size)).expect("short segments") {
                assert!(frame.datagrams <= MAX_SEGMENTS && frame.len() <= MAX_FRAME);
                assert_eq!(frame.contents.len().div_ceil(size), frame.datagrams);
                all += frame.contents.len();
            }
            assert_eq!(all, many.len());
        }
        for (bytes, good) in [
            ([0, 0, 255, 227, 0, 0], true),  // 65,507 in one
            ([0, 0, 255, 228, 0, 0], false), // longer
            ([1, 0, 0, 0, 0, 0], false),
            ([0, 0, 0, 64, 0, 1], true),
            ([0, 0, 0, 65, 0, 1], false), // too many
            ([0, 0, 0, 9, 0, 9], false),  // one datagram is written otherwise
            ([0, 0, 0, 0, 0, 0], true),
            ([0, 0, 0, 0, 0, 1], false),
        ] {
            assert_eq!(Header::decode(&bytes).is_ok(), good, "{bytes:?}");
        }
    }

    #[test]
    fn what_was_sent_in_part_counts_as_unsent() {
        let bytes = encode(&[(vec![1; 10], None), (vec![2; 10], Some(2))]);
        for (gone, unsent) in [(0, 6), (15, 6), (16, 5), (17, 5), (31, 5), (32, 0)] {
            assert_eq!(unsent_datagrams(&bytes, gone), unsent, "{gone}");
        }
        assert_eq!(whole_frames(&bytes, 20), 16);
        assert_eq!(whole_frames(&bytes, 3), 16);
    }
}
