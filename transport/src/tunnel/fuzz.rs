//! What comes over the connections of a tunnel, for fuzzers. Only there in builds for fuzzing and for tests.

use super::framing::{self, HEADER, Header};
use super::hello::{self, Hello};
use crate::Transmit;

/// Reads `data` as a connection's bytes: its first byte is how many of them come at a time.
///
/// # Panics
/// When what is read depends on how it was cut, a packet is longer than one may be, or what was read is written otherwise.
pub fn tunnel(data: &[u8]) {
    let Some((&step, bytes)) = data.split_first() else {
        return;
    };
    if let Some(greeting) = bytes.first_chunk::<{ hello::LEN }>()
        && let Ok(hello) = Hello::decode(greeting)
    {
        assert_eq!(hello.encode(), *greeting);
    }
    let _ = framing::unsent_datagrams(bytes, usize::from(step));
    let whole = packets([bytes]);
    assert_eq!(packets(bytes.chunks(usize::from(step).max(1))), whole);
    let end = framing::whole_frames(bytes, usize::MAX);
    assert!(end <= bytes.len());
    assert_eq!(packets([&bytes[..end]]).0, whole.0);
    // Frames, and not what others may do with them: each is written as it was read, but for how empty ones are said.
    for packet in whole.0 {
        let transmit = Transmit::new(([127, 0, 0, 1], 1).into(), &packet);
        let mut again = Vec::new();
        for frame in framing::frames_of(&transmit).expect("it was read") {
            frame.append_to(&mut again);
        }
        assert_eq!(packets([&again[..]]), (vec![packet], false));
    }
}

/// The packets of all frames that come whole, and whether something else than a frame came.
fn packets<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> (Vec<Vec<u8>>, bool) {
    let mut buffer = Vec::new();
    let mut packets = Vec::new();
    for piece in pieces {
        buffer.extend_from_slice(piece);
        loop {
            let header = match Header::decode(&buffer) {
                Ok(Some(header)) => header,
                Ok(None) => break,
                Err(_) => return (packets, true),
            };
            assert!(header.len <= Transmit::MAX_LEN);
            let Some(contents) = buffer[HEADER..].get(..header.len) else {
                break;
            };
            let before = packets.len();
            packets.extend(contents.chunks(header.segment.max(1)).map(<[u8]>::to_vec));
            if contents.is_empty() {
                packets.push(Vec::new());
            }
            assert_eq!(packets.len() - before, header.datagrams());
            buffer.drain(..HEADER + header.len);
        }
    }
    (packets, false)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn whatever_comes_is_read_alike(data in prop::collection::vec(prop_oneof![Just(0), 0_u8..9, any::<u8>()], 0..60)) {
            tunnel(&data);
        }
    }
}
