//! Properties of the datagrams of group sessions: round trips, truncation, damage, arbitrary bytes, limits.

mod packets;

use bytes::BytesMut;
use flexbond_wire::group::{Abort, Data, Gap, Reject, RejectReason, Status};
use flexbond_wire::group::{
    Accept, CHECKSUM_LEN, DecodeError, EncodeError, Goodbye, GoodbyeReason, Header, Join, Kind, List,
    MAX_FAILED, MAX_GAPS, MAX_PARITY, MAX_SEGMENT, MIN_JOIN, Packet, Parity, ReplayWindow,
};
use packets::{header, kind, material};
use proptest::prelude::*;

const HEADER: Header = Header {
    session: 1,
    sender: 2,
    epoch: 3,
    number: 4,
};

fn encoded(header: &Header, packet: &Packet<'_>) -> Vec<u8> {
    let mut datagram = BytesMut::new();
    packet.encode(header, &mut datagram).expect("within the limits");
    datagram.to_vec()
}

/// Ends `contents` with the right checksum, worked out bit by bit.
fn with_checksum(mut contents: Vec<u8>) -> Vec<u8> {
    let mut crc = u32::MAX;
    for byte in &contents {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = (crc >> 1) ^ (0x82f6_3b78 * (crc & 1));
        }
    }
    contents.extend((!crc).to_be_bytes());
    contents
}

/// A datagram of this kind with any body, and a right checksum.
fn with_body(kind: Kind, body: &[u8]) -> Vec<u8> {
    let mut contents = encoded(&HEADER, &Packet::Leave);
    contents.truncate(Header::LEN);
    contents[3] = kind as u8;
    contents.extend_from_slice(body);
    with_checksum(contents)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn packets_of_every_kind_round_trip(material in material()) {
        let mut all = BytesMut::new();
        let mut ends = Vec::new();
        for kind in Kind::ALL {
            let packet = material.packet(kind);
            prop_assert_eq!(packet.kind(), kind);
            let start = all.len();
            let len = packet.encode(&material.header, &mut all).expect("within the limits");
            prop_assert_eq!((len, start + len), (packet.encoded_len(false), all.len()));
            ends.push((start, all.len()));
            let data = Data::decode(&all[start..]).map(|(header, data)| (header, Packet::Data(data)));
            prop_assert_eq!(data, (kind == Kind::Data).then_some((material.header, packet)));

            let mut unfinished = BytesMut::from(&all[..start]);
            prop_assert_eq!(packet.encode_unfinished(&material.header, false, &mut unfinished), Ok(len));
            prop_assert_eq!(&unfinished[start..][..len - CHECKSUM_LEN], &all[start..][..len - CHECKSUM_LEN]);
            Packet::finish(&mut unfinished[start..]);
            prop_assert_eq!(&unfinished, &all);

            let mut slice = vec![0xaa; len + 3];
            prop_assert_eq!(packet.encode_into(&material.header, &mut slice), Ok(len));
            prop_assert_eq!(&slice[..len], &all[start..]);
            prop_assert_eq!(&slice[len..], &[0xaa; 3]);
            let mut short = vec![0xaa; len - 1];
            prop_assert_eq!(
                packet.encode_into(&material.header, &mut short),
                Err(EncodeError::NoRoom { needed: len, room: len - 1 })
            );
            prop_assert!(short.iter().all(|byte| *byte == 0xaa));
        }
        for (kind, (start, end)) in Kind::ALL.into_iter().zip(ends) {
            let datagram = &all[start..end];
            let envelope = Header::peek(datagram).expect("just written");
            prop_assert_eq!((envelope.kind, envelope.sealed, envelope.header), (kind, false, material.header));
            let (header, packet) = Packet::decode(datagram).expect("just written");
            prop_assert_eq!((header, packet), (material.header, material.packet(kind)));
            // What was decoded can be sent on.
            prop_assert_eq!(&encoded(&header, &packet)[..], datagram);
        }
    }

    #[test]
    fn a_truncated_datagram_is_refused_at_every_byte(material in material(), kind in kind()) {
        let datagram = encoded(&material.header, &material.packet(kind));
        for cut in 0..datagram.len() {
            prop_assert!(Packet::decode(&datagram[..cut]).is_err(), "cut at {}", cut);
        }
        // With its checksum made right again, a shorter body is refused too, or says less.
        let contents = &datagram[..datagram.len() - 4];
        for cut in Header::LEN..contents.len() {
            let shorter = with_checksum(contents[..cut].to_vec());
            match Packet::decode(&shorter) {
                Ok((_, Packet::Data(data))) => prop_assert_eq!(data.payload.len(), cut - Header::LEN - 11),
                Ok((_, Packet::Parity(parity))) => prop_assert_eq!(parity.payload.len(), cut - Header::LEN - 13),
                Ok((_, packet)) => prop_assert!(false, "cut at {} it is {:?}", cut, packet),
                Err(_) => {}
            }
        }
    }

    #[test]
    fn bytes_after_the_contents_are_refused(material in material(), kind in kind(), more in 1..20_usize) {
        let mut datagram = encoded(&material.header, &material.packet(kind));
        datagram.truncate(datagram.len() - 4);
        datagram.resize(datagram.len() + more, 1);
        let decoded = Packet::decode(&with_checksum(datagram)).map(|(_, packet)| packet.kind());
        match kind {
            Kind::Data | Kind::Parity => prop_assert_eq!(decoded, Ok(kind)),
            Kind::Join => prop_assert_eq!(decoded, Err(DecodeError::Padding)),
            Kind::View => prop_assert!(decoded.is_err()),
            _ => prop_assert_eq!(decoded, Err(DecodeError::TrailingBytes { count: more })),
        }
    }

    #[test]
    fn any_flipped_bit_is_found(material in material(), kind in kind()) {
        let mut datagram = encoded(&material.header, &material.packet(kind));
        for bit in 0..datagram.len() * 8 {
            datagram[bit / 8] ^= 1 << (bit % 8);
            prop_assert!(Packet::decode(&datagram).is_err(), "bit {}", bit);
            datagram[bit / 8] ^= 1 << (bit % 8);
        }
        prop_assert!(Packet::decode(&datagram).is_ok());
    }

    #[test]
    fn arbitrary_bytes_never_panic(
        kind in kind(),
        header in header(),
        body in prop::collection::vec(prop_oneof![Just(0_u8), 0..4_u8, any::<u8>()], 0..1300),
    ) {
        prop_assert!(Packet::decode(&body).is_err());
        let datagram = with_body(kind, &body);
        if let Ok((_, packet)) = Packet::decode(&datagram) {
            let again = encoded(&header, &packet);
            prop_assert_eq!(Packet::decode(&again), Ok((header, packet)));
        }
    }

    #[test]
    fn the_replay_window_is_that_of_the_naive_model(
        start in prop_oneof![Just(0_u64), 0..3000_u64, u64::MAX - 6000..u64::MAX],
        steps in prop::collection::vec(
            prop_oneof![-3..3_i64, -1030..1030_i64, -3000..3000_i64, Just(1), Just(1023), Just(1024), Just(-1023), Just(-1024)],
            1..400,
        ),
    ) {
        let mut window = ReplayWindow::new();
        let mut accepted: Vec<u64> = Vec::new();
        let mut at = start;
        for step in steps {
            at = at.saturating_add_signed(step);
            let newest = accepted.iter().copied().max().unwrap_or(0);
            let too_old = newest.saturating_sub(at) >= ReplayWindow::WIDTH;
            let fresh = !too_old && !accepted.contains(&at);
            prop_assert_eq!(window.is_fresh(at), fresh, "{} after {:?}", at, accepted);
            prop_assert_eq!(window.accept(at), fresh);
            if fresh {
                accepted.push(at);
            }
            prop_assert!(!window.is_fresh(at));
            prop_assert_eq!(window.newest(), accepted.iter().copied().max().unwrap_or(0));
        }
    }
}

#[test]
fn limits_are_kept_when_encoding() {
    let long = "é".repeat(101);
    let payload = vec![0; MAX_PARITY + 1];
    let gaps = [Gap { start: 0, len: 1 }; MAX_GAPS + 1];
    let failed = [0; MAX_FAILED + 1];
    let join = Join {
        nonce: [0; 16],
        cookie: None,
        name: &long[..66],
        recv_budget: 0,
        proof: None,
    };
    let status = Status {
        channel: 0,
        point_to_point: false,
        unknown: false,
        source: 0,
        next: 0,
        edge: 0,
        known: 0,
        early: 0,
        echo: 0,
        echo_delay: 0,
        local_drops: 0,
        missing: List::new(&gaps),
    };
    let data = Data {
        channel: 0,
        point_to_point: false,
        answer: false,
        repair: false,
        seq: 0,
        payload: &[],
    };
    let parity = Parity {
        channel: 0,
        point_to_point: false,
        answer: true,
        base: 0,
        count: 0,
        index: 0,
        payload: &payload[..1],
    };
    let accept = Accept {
        nonce: [0; 16],
        member: 0,
        multicast: None,
        segment: 0,
        heartbeat: 0,
        dead_after: 0,
        max_message: 0,
        recv_budget: 0,
        key: None,
        server_nonce: [0; 16],
    };
    let mut out = BytesMut::from(&b"before"[..]);
    for (packet, what) in [
        (Packet::Join(join), "name of length 66 exceeds the limit of 64"),
        (
            Packet::Reject(Reject {
                nonce: [0; 16],
                reason: RejectReason::Other,
                text: &long,
            }),
            "text of length 202 exceeds the limit of 200",
        ),
        (
            Packet::Goodbye(Goodbye {
                reason: GoodbyeReason::Left,
                text: &long,
            }),
            "text of length 202 exceeds the limit of 200",
        ),
        (Packet::Accept(accept), "segment cannot be 0"),
        (
            Packet::Accept(Accept {
                segment: MAX_SEGMENT as u16 + 1,
                ..accept
            }),
            "segment cannot be 65449",
        ),
        (Packet::Data(data), "payload is empty"),
        (
            Packet::Data(Data {
                payload: &payload[..MAX_SEGMENT + 1],
                ..data
            }),
            "payload of length 65449 exceeds the limit of 65448",
        ),
        (Packet::Parity(parity), "count cannot be 0"),
        (
            Packet::Parity(Parity {
                count: 1,
                payload: &payload,
                ..parity
            }),
            "payload of length 65451 exceeds the limit of 65450",
        ),
        (
            Packet::Status(status),
            "missing of length 65 exceeds the limit of 64",
        ),
        (
            Packet::Status(Status {
                missing: List::new(&[Gap { start: 9, len: 0 }]),
                ..status
            }),
            "gap length cannot be 0",
        ),
        (
            Packet::Abort(Abort {
                channel: 0,
                round: 0,
                failed: List::new(&failed),
            }),
            "failed of length 65 exceeds the limit of 64",
        ),
    ] {
        let error = packet.encode(&HEADER, &mut out).expect_err(what);
        assert_eq!(error.to_string(), what);
        assert_eq!(out, &b"before"[..], "{what}");
    }
}

#[test]
fn the_largest_packets_are_the_largest_datagrams() {
    let payload = vec![1; MAX_PARITY];
    let parity = Packet::Parity(Parity {
        channel: 0,
        point_to_point: true,
        answer: true,
        base: u64::MAX,
        count: 255,
        index: 255,
        payload: &payload,
    });
    assert_eq!(parity.encoded_len(true), 65_507);
    let datagram = encoded(&HEADER, &parity);
    assert_eq!(Packet::decode(&datagram), Ok((HEADER, parity)));
    let segment = Packet::Data(Data {
        channel: 0,
        point_to_point: false,
        answer: true,
        repair: false,
        seq: u64::MAX,
        payload: &payload[..MAX_SEGMENT],
    });
    let datagram = encoded(&HEADER, &segment);
    assert_eq!(datagram.len(), Data::overhead(false) + MAX_SEGMENT);
    assert_eq!(Packet::decode(&datagram), Ok((HEADER, segment)));
}

#[test]
fn limits_are_kept_when_decoding() {
    // A list announces more than it may have, although the bytes are there.
    let mut status = vec![0; 51];
    status.push(65);
    status.resize(52 + 65 * 10, 1);
    assert_eq!(
        Packet::decode(&with_body(Kind::Status, &status)),
        Err(DecodeError::Length {
            field: "missing",
            len: 65,
            limit: 64
        })
    );
    // Payloads that only a smaller header could carry.
    let data = with_body(Kind::Data, &vec![0; 11 + MAX_SEGMENT + 1]);
    assert!(matches!(Packet::decode(&data), Err(DecodeError::Length { .. })));
    // A view beyond its own limit.
    let mut view = vec![0; 12];
    view[10] = 1;
    view.push(0);
    view.resize(1157, 0);
    assert!(matches!(
        Packet::decode(&with_body(Kind::View, &view)),
        Err(DecodeError::Length { field: "view", .. })
    ));
    // Part 1 of 1.
    let view = [0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 1, 0, 0];
    assert_eq!(
        Packet::decode(&with_body(Kind::View, &view)),
        Err(DecodeError::Invalid {
            field: "part",
            value: 1
        })
    );
    // Reserved bits of flags.
    for (kind, at, len, known) in [
        (Kind::Data, 2, 12, 7_u8),
        (Kind::Status, 2, 52, 3),
        (Kind::Sync, 2, 19, 1),
        (Kind::Heartbeat, 20, 21, 1),
    ] {
        for bit in 0..8 {
            let mut body = vec![0; len];
            body[at] = 1 << bit;
            let decoded = Packet::decode(&with_body(kind, &body)).map(|_| ());
            assert_eq!(decoded.is_ok(), known & (1 << bit) != 0, "{kind:?} bit {bit}");
        }
    }
}

#[test]
fn a_join_is_long_and_its_padding_zero() {
    let join = Join {
        nonce: [1; 16],
        cookie: Some([2; 32]),
        name: "ada",
        recv_budget: 5,
        proof: None,
    };
    let packet = Packet::Join(join);
    let datagram = encoded(&HEADER, &packet);
    assert_eq!(datagram.len(), MIN_JOIN);
    let contents = &datagram[..MIN_JOIN - 4];
    let short = with_checksum(contents[..contents.len() - 1].to_vec());
    assert_eq!(
        Packet::decode(&short),
        Err(DecodeError::ShortJoin { len: MIN_JOIN - 1 })
    );
    let mut longer = contents.to_vec();
    longer.resize(1400, 0);
    assert_eq!(Packet::decode(&with_checksum(longer)), Ok((HEADER, packet)));
    let mut dirty = contents.to_vec();
    dirty[MIN_JOIN - 5] = 1;
    assert_eq!(Packet::decode(&with_checksum(dirty)), Err(DecodeError::Padding));
}

#[test]
fn a_joiner_of_another_version_can_be_told_so() {
    let join = Packet::Join(Join {
        nonce: [9; 16],
        cookie: None,
        name: "",
        recv_budget: 0,
        proof: None,
    });
    let datagram = encoded(&HEADER, &join);
    let mut contents = datagram[..MIN_JOIN - 4].to_vec();
    contents[2] = 2;
    contents[100] = 77;
    let newer = with_checksum(contents.clone());
    assert_eq!(Packet::decode(&newer), Err(DecodeError::Version { version: 2 }));
    assert_eq!(Join::nonce_of_other_version(&newer), Some([9; 16]));

    assert_eq!(
        Join::nonce_of_other_version(&datagram),
        None,
        "not another version"
    );
    assert_eq!(Join::nonce_of_other_version(&newer[..1199]), None, "too short");
    let mut damaged = newer;
    damaged[40] ^= 1;
    assert_eq!(Join::nonce_of_other_version(&damaged), None, "damaged");
    contents[3] = Kind::Data as u8;
    assert_eq!(
        Join::nonce_of_other_version(&with_checksum(contents)),
        None,
        "no join"
    );
}
