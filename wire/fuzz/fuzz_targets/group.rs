//! Arbitrary bodies of every kind with a right trailer, plain and sealed: what decodes must encode to something that
//! decodes to the same. And arbitrary bytes as a whole datagram.
//!
//! The first byte chooses between the three and the kind, the rest is the body or the datagram.
#![no_main]

use std::sync::LazyLock;

use bytes::BytesMut;
use flexbond_wire::group::{
    Audience, DecodeError, EpochKey, Header, Kind, MAX_DATAGRAM, Packet, ReplayWindow, SenderKey, TAG_LEN,
};
use libfuzzer_sys::fuzz_target;

const HEADER: Header = Header {
    session: 1,
    sender: 2,
    epoch: 3,
    number: 4,
};

static KEY: LazyLock<SenderKey> = LazyLock::new(|| EpochKey::from_random([7; 32]).sender_key(1, 3, 2));

fuzz_target!(|data: &[u8]| {
    let Some((&choice, body)) = data.split_first() else {
        return;
    };
    if choice >= 0xf0 {
        arbitrary(body);
        return;
    }
    let kind = Kind::ALL[usize::from(choice & 0x7f) % Kind::ALL.len()];
    if body.len() + Header::LEN + TAG_LEN > MAX_DATAGRAM {
        return;
    }
    if choice & 0x80 == 0 {
        plain(kind, body);
    } else {
        sealed(kind, body);
    }
});

/// Nothing is known about the bytes but that they must do no harm.
fn arbitrary(bytes: &[u8]) {
    let _ = Packet::decode(bytes);
    let _ = Packet::decode_sealed(&mut bytes.to_vec(), &KEY, 5);
    let mut window = ReplayWindow::new();
    for number in bytes.chunks(8) {
        let number = number
            .iter()
            .fold(0, |number, byte| number << 8 | u64::from(*byte));
        let fresh = window.is_fresh(number);
        assert_eq!(window.accept(number), fresh);
        assert!(!window.accept(number));
    }
}

fn plain(kind: Kind, body: &[u8]) {
    let mut datagram = start(kind, false);
    datagram.extend_from_slice(body);
    let checksum = crc32c(&datagram);
    datagram.extend_from_slice(&checksum.to_be_bytes());
    let Ok((header, packet)) = Packet::decode(&datagram) else {
        return;
    };
    assert_eq!((header, packet.kind()), (HEADER, kind));
    let mut again = BytesMut::new();
    let len = packet
        .encode(&header, &mut again)
        .expect("decoded, so within the limits");
    assert_eq!((len, packet.encoded_len(false)), (again.len(), again.len()));
    assert_eq!(Packet::decode(&again), Ok((header, packet)));
}

fn sealed(kind: Kind, body: &[u8]) {
    let mut datagram = start(kind, true);
    datagram.extend_from_slice(body);
    datagram.extend_from_slice(&[0; TAG_LEN]);
    for version in [0x81, 0xc1] {
        let mut datagram = datagram.clone();
        datagram[2] = version;
        assert!(
            Packet::decode_sealed(&mut datagram, &KEY, 5).is_err(),
            "nobody sealed it"
        );
    }
    // What a member with the key says, however wrong, is opened only as that member's.
    let envelope = Header::peek(&datagram).expect("a sound header");
    let Ok(packet) = Packet::decode_opened(&envelope, &datagram) else {
        return;
    };
    let other = EpochKey::from_random([8; 32]).sender_key(1, 3, 2);
    for audience in [Audience::All, Audience::One(5)] {
        let mut again = BytesMut::new();
        match packet.encode_sealed(&HEADER, &KEY, audience, &mut again) {
            Ok(len) => assert_eq!(len, again.len()),
            Err(error) => {
                assert!(kind.is_handshake(), "{error}");
                return;
            }
        }
        for (key, receiver, opens) in [
            (&other, 5, false),
            (&*KEY, 6, audience == Audience::All),
            (&*KEY, 5, true),
        ] {
            let expected = if opens {
                Ok((HEADER, packet))
            } else {
                Err(DecodeError::Forged)
            };
            assert_eq!(Packet::decode_sealed(&mut again.clone(), key, receiver), expected);
        }
    }
}

/// A header of this kind.
fn start(kind: Kind, sealed: bool) -> BytesMut {
    let mut datagram = BytesMut::new();
    Packet::Leave
        .encode(&HEADER, &mut datagram)
        .expect("within the limits");
    datagram.truncate(Header::LEN);
    datagram[2] = if sealed { 0x81 } else { 1 };
    datagram[3] = kind as u8;
    datagram
}

fn crc32c(bytes: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = (crc >> 1) ^ (0x82f6_3b78 * (crc & 1));
        }
    }
    !crc
}
