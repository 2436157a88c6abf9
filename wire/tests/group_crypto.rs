//! Sealed datagrams and keys: what fits together opens, and nothing else does.

mod packets;

use bytes::{Bytes, BytesMut};
use flexbond_wire::group::{
    Accept, Audience, ChannelKind, Data, DecodeError, EncodeError, EpochKey, Header, Join, KeyError, Kind,
    List, Packet, PresharedKey, View, WrappedKey,
};
use packets::{header, kind, material};
use proptest::prelude::*;

const HEADER: Header = Header {
    session: 1,
    sender: 2,
    epoch: 3,
    number: 4,
};

/// Whoever opens what is for all.
const ANYBODY: u32 = 77;

fn audience() -> impl Strategy<Value = Audience> {
    prop_oneof![Just(Audience::All), any::<u32>().prop_map(Audience::One)]
}

fn receiver(audience: Audience) -> u32 {
    match audience {
        Audience::All => ANYBODY,
        Audience::One(id) => id,
    }
}

fn sealed_kind() -> impl Strategy<Value = Kind> {
    kind().prop_filter("the handshake is plain", |kind| !kind.is_handshake())
}

fn sealed(header: &Header, packet: &Packet<'_>, key: &EpochKey) -> BytesMut {
    sealed_for(Audience::All, header, packet, key)
}

fn sealed_for(audience: Audience, header: &Header, packet: &Packet<'_>, key: &EpochKey) -> BytesMut {
    let key = key.sender_key(header.session, header.epoch, header.sender);
    let mut datagram = BytesMut::new();
    packet
        .encode_sealed(header, &key, audience, &mut datagram)
        .expect("within the limits");
    datagram
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn sealed_packets_round_trip(
        material in material(),
        audience in audience(),
        random in any::<[u8; 32]>(),
    ) {
        let header = material.header;
        let key = EpochKey::from_random(random).sender_key(header.session, header.epoch, header.sender);
        let other = EpochKey::from_random(random).sender_key(!header.session, header.epoch, header.sender);
        let mut out = BytesMut::from(&b"before"[..]);
        for kind in Kind::ALL {
            let packet = material.packet(kind);
            let start = out.len();
            let encoded = packet.encode_sealed(&header, &key, audience, &mut out);
            if kind.is_handshake() {
                prop_assert_eq!(encoded, Err(EncodeError::MustBePlain { kind }));
                prop_assert_eq!(out.len(), start);
                continue;
            }
            let len = encoded.expect("within the limits");
            prop_assert_eq!((len, start + len), (packet.encoded_len(true), out.len()));
            let mut slice = vec![0xaa; len + 1];
            let mut unfinished = BytesMut::new();
            prop_assert_eq!(packet.encode_unfinished(&header, true, &mut unfinished), Ok(len));
            prop_assert_eq!(key.finish(&mut unfinished, audience), Ok(()));
            prop_assert_eq!(&unfinished[..], &out[out.len() - len..]);
            prop_assert_eq!(
                other.finish(&mut unfinished.clone(), audience),
                Err(EncodeError::ForeignKey)
            );
            prop_assert_eq!(packet.encode_sealed_into(&header, &key, audience, &mut slice), Ok(len));
            prop_assert_eq!(&slice[..len], &out[start..]);
            prop_assert_eq!(slice[len], 0xaa);
            prop_assert_eq!(
                packet.encode_sealed_into(&header, &key, audience, &mut slice[..len - 1]),
                Err(EncodeError::NoRoom { needed: len, room: len - 1 })
            );

            let datagram = &mut out[start..];
            let envelope = Header::peek(datagram).expect("just written");
            prop_assert_eq!((envelope.kind, envelope.sealed, envelope.header), (kind, true, header));
            prop_assert_eq!(envelope.for_one, audience != Audience::All);
            prop_assert_eq!(Packet::decode(datagram), Err(DecodeError::Sealed));
            let opened = Packet::decode_sealed(datagram, &key, receiver(audience));
            prop_assert_eq!(opened, Ok((header, packet)));
        }
    }

    #[test]
    fn any_flipped_bit_of_a_sealed_datagram_is_found(
        material in material(),
        kind in sealed_kind(),
        audience in audience(),
        random in any::<[u8; 32]>(),
    ) {
        let header = material.header;
        let key = EpochKey::from_random(random);
        let datagram = sealed_for(audience, &header, &material.packet(kind), &key);
        let key = key.sender_key(header.session, header.epoch, header.sender);
        let me = receiver(audience);
        for bit in 0..datagram.len() * 8 {
            let mut damaged = datagram.to_vec();
            damaged[bit / 8] ^= 1 << (bit % 8);
            prop_assert!(Packet::decode_sealed(&mut damaged, &key, me).is_err(), "bit {}", bit);
            // Nor does it pass for a plain one.
            prop_assert!(Packet::decode(&damaged).is_err(), "bit {}", bit);
        }
        for cut in 0..datagram.len() {
            let mut shorter = datagram[..cut].to_vec();
            prop_assert!(Packet::decode_sealed(&mut shorter, &key, me).is_err(), "cut at {}", cut);
        }
    }

    #[test]
    fn what_is_for_one_nobody_else_opens(
        material in material(),
        kind in sealed_kind(),
        one in any::<u32>(),
        others in prop::collection::vec(any::<u32>(), 8),
        random in any::<[u8; 32]>(),
    ) {
        let header = material.header;
        let packet = material.packet(kind);
        let key = EpochKey::from_random(random);
        let for_one = sealed_for(Audience::One(one), &header, &packet, &key);
        let for_all = sealed(&header, &packet, &key);
        let key = key.sender_key(header.session, header.epoch, header.sender);
        prop_assert_eq!(for_one.len(), for_all.len(), "it takes no room");
        // Neighbours in number and in bits, and whoever there is always.
        let near = [one.wrapping_add(1), one ^ 1 << 31, Header::COORDINATOR, Header::NOT_A_MEMBER];
        for other in others.into_iter().chain(near).filter(|other| *other != one) {
            let opened = Packet::decode_sealed(&mut for_one.to_vec(), &key, other).map(|_| ());
            prop_assert_eq!(opened, Err(DecodeError::Forged));
            let mut copy = for_all.to_vec();
            prop_assert_eq!(Packet::decode_sealed(&mut copy, &key, other), Ok((header, packet)));
        }
        // Whoever changes the flag makes it nobody's.
        for mut datagram in [for_one.to_vec(), for_all.to_vec()] {
            datagram[2] ^= 0x40;
            prop_assert_eq!(Packet::decode_sealed(&mut datagram, &key, one), Err(DecodeError::Forged));
        }
        let mut datagram = for_one.to_vec();
        prop_assert_eq!(Packet::decode_sealed(&mut datagram, &key, one), Ok((header, packet)));
    }

    #[test]
    fn another_key_sender_epoch_session_or_number_does_not_open_it(
        material in material(),
        kind in sealed_kind(),
        other in header(),
        random in any::<[u8; 32]>(),
    ) {
        let header = material.header;
        prop_assume!(other.session != header.session && other.epoch != header.epoch);
        prop_assume!(other.sender != header.sender && other.number != header.number);
        let key = EpochKey::from_random(random);
        let datagram = sealed(&header, &material.packet(kind), &key);
        for (range, changed) in [
            (4..12, Header { session: other.session, ..header }),
            (12..16, Header { sender: other.sender, ..header }),
            (16..20, Header { epoch: other.epoch, ..header }),
            (20..28, Header { number: other.number, ..header }),
        ] {
            // The claim in the header is changed, and the key is the one that such a sender would have.
            let mut forged = datagram.to_vec();
            let mut claim = BytesMut::new();
            Packet::Leave.encode(&changed, &mut claim).expect("within the limits");
            forged[range.clone()].copy_from_slice(&claim[range]);
            let claimed = key.sender_key(changed.session, changed.epoch, changed.sender);
            prop_assert_eq!(Packet::decode_sealed(&mut forged, &claimed, ANYBODY), Err(DecodeError::Forged));
            // The claim is as it was, and the key is somebody else's.
            if changed.number == header.number {
                let mut foreign = datagram.to_vec();
                prop_assert_eq!(Packet::decode_sealed(&mut foreign, &claimed, ANYBODY), Err(DecodeError::Forged));
                let encoded = Packet::Leave.encode_sealed(&header, &claimed, Audience::All, &mut claim);
                prop_assert_eq!(encoded, Err(EncodeError::ForeignKey));
            }
        }
        let mut another = random;
        another[31] ^= 1;
        let another = EpochKey::from_random(another).sender_key(header.session, header.epoch, header.sender);
        let mut datagram = datagram.to_vec();
        prop_assert_eq!(Packet::decode_sealed(&mut datagram, &another, ANYBODY), Err(DecodeError::Forged));
    }

    #[test]
    fn arbitrary_sealed_bytes_never_panic(
        bytes in prop::collection::vec(any::<u8>(), 0..200),
        version in prop_oneof![Just(1_u8), Just(0x81), Just(0x41), Just(0xc1)],
        kind in any::<u8>(),
    ) {
        let key = EpochKey::from_random([1; 32]).sender_key(1, 3, 2);
        prop_assert!(Packet::decode_sealed(&mut bytes.clone(), &key, 2).is_err());
        let mut datagram = sealed(&HEADER, &Packet::Leave, &EpochKey::from_random([1; 32])).to_vec();
        datagram.truncate(Header::LEN);
        (datagram[2], datagram[3]) = (version, kind);
        datagram.extend(bytes);
        prop_assert!(Packet::decode_sealed(&mut datagram, &key, 2).is_err());
    }
}

#[test]
fn a_payload_can_stay_in_its_buffer() {
    let key = EpochKey::from_random([1; 32]);
    let data = Data {
        channel: 1,
        point_to_point: false,
        answer: false,
        repair: false,
        seq: 5,
        payload: b"stays where it is",
    };
    let mut datagram = sealed(&HEADER, &Packet::Data(data), &key);
    let key = key.sender_key(1, 3, 2);
    let envelope = key.open_in_place(&mut datagram, ANYBODY).expect("the right key");
    let datagram: Bytes = datagram.freeze();
    let Ok(Packet::Data(data)) = Packet::decode_opened(&envelope, &datagram) else {
        panic!("data was sealed");
    };
    let payload = datagram.slice_ref(data.payload);
    assert_eq!(payload, &b"stays where it is"[..]);
    assert!(Packet::decode_opened(&envelope, &datagram[..10]).is_err());
}

#[test]
fn a_sealed_handshake_and_a_plain_datagram_are_refused() {
    let key = EpochKey::from_random([1; 32]);
    let mut datagram = sealed(&HEADER, &Packet::Leave, &key);
    let sender_key = key.sender_key(1, 3, 2);
    datagram[3] = Kind::Accept as u8;
    assert_eq!(
        Packet::decode_sealed(&mut datagram, &sender_key, ANYBODY),
        Err(DecodeError::MustBePlain { kind: Kind::Accept })
    );
    let mut plain = BytesMut::new();
    Packet::Leave.encode(&HEADER, &mut plain).unwrap();
    assert_eq!(
        Packet::decode_sealed(&mut plain, &sender_key, ANYBODY),
        Err(DecodeError::NotSealed)
    );
}

#[test]
fn a_proof_covers_all_that_a_join_says() {
    let key = PresharedKey::new(b"sixteen bytes or more").unwrap();
    let other = PresharedKey::new(b"sixteen bytes or less").unwrap();
    let mut join = Join {
        nonce: [1; 16],
        cookie: Some([2; 32]),
        name: "ada",
        recv_budget: 3,
        proof: None,
    };
    assert!(!key.verify(&join), "no proof");
    join.proof = Some(key.prove(&join));
    assert!(key.verify(&join) && !other.verify(&join));
    for changed in [
        Join {
            nonce: [0; 16],
            ..join
        },
        Join { cookie: None, ..join },
        Join {
            cookie: Some([3; 32]),
            ..join
        },
        Join { name: "adb", ..join },
        Join { name: "", ..join },
        Join {
            recv_budget: 4,
            ..join
        },
        Join {
            proof: Some([0; 32]),
            ..join
        },
    ] {
        assert!(!key.verify(&changed), "{changed:?}");
    }
}

#[test]
fn a_wrapped_key_belongs_to_one_packet_and_one_member() {
    let psk = PresharedKey::new(&[7; 32]).unwrap();
    let member_key = psk.member_key(&[1; 16], &[2; 16]);
    let epoch_key = EpochKey::from_random([9; 32]);
    let mut accept = Accept {
        nonce: [1; 16],
        member: 4,
        multicast: None,
        segment: 1400,
        heartbeat: 200,
        dead_after: 2000,
        max_message: 1 << 30,
        recv_budget: 1 << 28,
        key: None,
        server_nonce: [2; 16],
    };
    assert_eq!(
        member_key.unwrap_from_accept(&HEADER, &accept),
        Err(KeyError::Missing)
    );
    accept.key = Some(member_key.wrap_for_accept(&HEADER, &accept, &epoch_key));
    assert_eq!(
        member_key.unwrap_from_accept(&HEADER, &accept),
        Ok(epoch_key.clone())
    );
    // A repeat has another number.
    let repeat = Header { number: 99, ..HEADER };
    assert_eq!(
        member_key.unwrap_from_accept(&repeat, &accept),
        Ok(epoch_key.clone())
    );

    for stranger in [
        psk.member_key(&[0; 16], &[2; 16]),
        psk.member_key(&[1; 16], &[0; 16]),
        PresharedKey::new(&[8; 32])
            .unwrap()
            .member_key(&[1; 16], &[2; 16]),
    ] {
        assert_eq!(
            stranger.unwrap_from_accept(&HEADER, &accept),
            Err(KeyError::Forged)
        );
    }
    let mut damaged = accept;
    damaged.key = accept.key.map(|WrappedKey(mut bytes)| {
        bytes[40] ^= 1;
        WrappedKey(bytes)
    });
    for changed in [
        damaged,
        Accept { member: 5, ..accept },
        Accept {
            segment: 1401,
            ..accept
        },
        Accept {
            heartbeat: 0,
            ..accept
        },
        Accept {
            dead_after: 0,
            ..accept
        },
        Accept {
            max_message: 0,
            ..accept
        },
        Accept {
            recv_budget: 0,
            ..accept
        },
        Accept {
            multicast: Some(([239, 1, 2, 3], 4).into()),
            ..accept
        },
    ] {
        assert_eq!(
            member_key.unwrap_from_accept(&HEADER, &changed),
            Err(KeyError::Forged)
        );
    }
    for header in [
        Header { session: 9, ..HEADER },
        Header { sender: 9, ..HEADER },
        Header { epoch: 9, ..HEADER },
    ] {
        assert_eq!(
            member_key.unwrap_from_accept(&header, &accept),
            Err(KeyError::Forged)
        );
    }

    let mut view = View {
        channel: 0,
        kind: ChannelKind::Session,
        view: 8,
        part: 0,
        parts: 1,
        key: None,
        members: List::default(),
    };
    assert_eq!(
        member_key.unwrap_from_view(&HEADER, &view),
        Err(KeyError::Missing)
    );
    view.key = Some(member_key.wrap_for_view(&HEADER, &view, &epoch_key));
    assert_eq!(member_key.unwrap_from_view(&HEADER, &view), Ok(epoch_key));
    view.view = 9;
    assert_eq!(member_key.unwrap_from_view(&HEADER, &view), Err(KeyError::Forged));
}

#[test]
fn a_control_key_belongs_to_one_member() {
    let psk = PresharedKey::new(&[7; 32]).unwrap();
    let control = psk.member_key(&[1; 16], &[2; 16]).control_key();
    assert_eq!(psk.member_key(&[1; 16], &[2; 16]).control_key(), control);
    let header = Header { epoch: 0, ..HEADER };
    let view = sealed(&header, &Packet::Leave, &control);
    for (key, opens) in [
        (control, true),
        (psk.member_key(&[1; 16], &[3; 16]).control_key(), false),
        (psk.member_key(&[3; 16], &[2; 16]).control_key(), false),
    ] {
        let key = key.sender_key(header.session, 0, header.sender);
        assert_eq!(
            Packet::decode_sealed(&mut view.to_vec(), &key, ANYBODY).is_ok(),
            opens
        );
    }
}

#[test]
fn keys_are_long_enough_and_never_shown() {
    assert_eq!(
        PresharedKey::new(&[1; 15]).map(|_| ()),
        Err(KeyError::TooShort { len: 15 })
    );
    assert!("  fifteen bytes..\n".parse::<PresharedKey>().is_err());
    let text: PresharedKey = "\t sixteen bytes...\r\n".parse().unwrap();
    let bytes = PresharedKey::new(b"sixteen bytes...").unwrap();
    let join = Join {
        nonce: [1; 16],
        cookie: None,
        name: "",
        recv_budget: 0,
        proof: None,
    };
    assert_eq!(text.prove(&join), bytes.prove(&join));

    let epoch_key = EpochKey::from_random([0x61; 32]);
    for shown in [
        format!("{bytes:?}"),
        format!("{epoch_key:?}"),
        format!("{:?}", epoch_key.sender_key(1, 2, 3)),
        format!("{:?}", bytes.member_key(&[0; 16], &[0; 16])),
        format!("{:?}", WrappedKey([0x61; 48])),
    ] {
        assert!(shown.ends_with("Key(..)"), "{shown}");
    }
    assert_eq!(
        KeyError::TooShort { len: 3 }.to_string(),
        "key of 3 bytes is shorter than 16 bytes"
    );
}
