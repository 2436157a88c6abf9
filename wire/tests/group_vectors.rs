//! Known answers: the format cannot change unseen. `packets/make_vectors.py` worked them out on its own.

mod packets;

use bytes::BytesMut;
use flexbond_wire::group::{
    Abort, Accept, Arrive, ChannelJoin, ChannelKind, ChannelLeave, ChannelRefusal, ChannelReply, Data,
    FlowSync, Gap, Goodbye, GoodbyeReason, Header, Heartbeat, Join, Kind, List, Member, Packet, Parity,
    Reject, RejectReason, Release, Retry, Status, View, ViewAck, WrappedKey,
};
use packets::{vector, vector_names};

const HEADER: Header = Header {
    session: 0x0102_0304_0506_0708,
    sender: 0x0a0b_0c0d,
    epoch: 0x1112_1314,
    number: 0x2122_2324_2526_2728,
};

const JOINER: Header = Header {
    session: 0,
    sender: Header::NOT_A_MEMBER,
    epoch: 0,
    number: 1,
};

/// `N` bytes that count up from `first`.
fn from<const N: usize>(first: u8) -> [u8; N] {
    std::array::from_fn(|index| first + index as u8)
}

fn members() -> [Member; 2] {
    [
        Member {
            id: 1,
            address: "192.0.2.1:4000".parse().unwrap(),
            max_message: 1 << 20,
            flags: 1,
        },
        Member {
            id: 2,
            address: "[2001:db8::2]:5000".parse().unwrap(),
            max_message: 1 << 20,
            flags: 0,
        },
    ]
}

const GAPS: [Gap; 2] = [Gap { start: 101, len: 3 }, Gap { start: 150, len: 1 }];

fn packets(members: &[Member]) -> Vec<(&'static str, Header, Packet<'_>)> {
    let join = Join {
        nonce: from(0),
        cookie: Some(from(32)),
        name: "ada·",
        recv_budget: 1 << 26,
        proof: Some(from(64)),
    };
    let first = Join {
        cookie: None,
        proof: None,
        ..join
    };
    let accept = Accept {
        nonce: from(0),
        member: 7,
        multicast: Some("239.255.1.2:4001".parse().unwrap()),
        segment: 1400,
        heartbeat: 200,
        dead_after: 2000,
        max_message: 1 << 30,
        recv_budget: 1 << 28,
        key: Some(WrappedKey(from(100))),
        server_nonce: from(16),
    };
    let without_key = Accept {
        multicast: None,
        key: None,
        ..accept
    };
    let view = View {
        channel: 9,
        kind: ChannelKind::Communicator,
        view: 33,
        part: 1,
        parts: 2,
        key: Some(WrappedKey(from(100))),
        members: List::new(members),
    };
    let accepted = ChannelReply {
        request: 77,
        channel: 9,
        refusal: None,
        first_round: 41,
    };
    let mut packets = vec![
        ("join-first", JOINER, Packet::Join(first)),
        ("join", JOINER, Packet::Join(join)),
    ];
    packets.extend(
        [
            (
                "retry",
                Packet::Retry(Retry {
                    nonce: from(0),
                    cookie: from(32),
                }),
            ),
            (
                "reject",
                Packet::Reject(Reject {
                    nonce: from(0),
                    reason: RejectReason::BudgetTooSmall,
                    text: "64 MiB at least",
                }),
            ),
            ("accept-plain", Packet::Accept(without_key)),
            ("accept", Packet::Accept(accept)),
            ("leave", Packet::Leave),
            (
                "goodbye",
                Packet::Goodbye(Goodbye {
                    reason: GoodbyeReason::Dead,
                    text: "silent for 2 s",
                }),
            ),
            (
                "heartbeat",
                Packet::Heartbeat(Heartbeat {
                    sent_at: 1_000_000,
                    echo: 900_000,
                    echo_delay: 1_500,
                    hears_multicast: true,
                }),
            ),
            ("view", Packet::View(view)),
            ("view-plain", Packet::View(View { key: None, ..view })),
            ("view-ack", Packet::ViewAck(ViewAck { channel: 9, view: 33 })),
            (
                "channel-join",
                Packet::ChannelJoin(ChannelJoin {
                    request: 77,
                    channel: 9,
                    kind: ChannelKind::Barrier,
                }),
            ),
            ("channel-accepted", Packet::ChannelReply(accepted)),
            (
                "channel-refused",
                Packet::ChannelReply(ChannelReply {
                    refusal: Some(ChannelRefusal::WrongKind),
                    first_round: 0,
                    ..accepted
                }),
            ),
            (
                "channel-leave",
                Packet::ChannelLeave(ChannelLeave {
                    request: 78,
                    channel: 9,
                }),
            ),
            (
                "data",
                Packet::Data(Data {
                    channel: 9,
                    point_to_point: true,
                    answer: false,
                    repair: true,
                    seq: 0x3132_3334_3536_3738,
                    payload: b"a segment",
                }),
            ),
            (
                "status",
                Packet::Status(Status {
                    channel: 9,
                    point_to_point: true,
                    unknown: true,
                    source: 5,
                    next: 100,
                    edge: 200,
                    known: 151,
                    early: 47,
                    echo: 300,
                    echo_delay: 400,
                    local_drops: 500,
                    missing: List::new(&GAPS),
                }),
            ),
            (
                "sync",
                Packet::Sync(FlowSync {
                    channel: 9,
                    point_to_point: true,
                    start: Some(50),
                    next: 100,
                }),
            ),
            (
                "sync-several",
                Packet::Sync(FlowSync {
                    channel: 9,
                    point_to_point: false,
                    start: None,
                    next: 100,
                }),
            ),
            (
                "parity",
                Packet::Parity(Parity {
                    channel: 9,
                    point_to_point: false,
                    answer: true,
                    base: 64,
                    count: 16,
                    index: 3,
                    payload: b"parity",
                }),
            ),
            (
                "arrive",
                Packet::Arrive(Arrive {
                    channel: 9,
                    round: 41,
                }),
            ),
            (
                "release",
                Packet::Release(Release {
                    channel: 9,
                    round: 41,
                }),
            ),
            (
                "abort",
                Packet::Abort(Abort {
                    channel: 9,
                    round: 41,
                    failed: List::new(&[3, 5]),
                }),
            ),
        ]
        .map(|(name, packet)| (name, HEADER, packet)),
    );
    packets
}

#[test]
fn every_kind_looks_as_documented() {
    let members = members();
    let packets = packets(&members);
    for kind in Kind::ALL {
        assert!(
            packets.iter().any(|(_, _, packet)| packet.kind() == kind),
            "{kind:?}"
        );
    }
    for (name, header, packet) in packets {
        let expected = vector(name);
        let mut datagram = BytesMut::new();
        packet.encode(&header, &mut datagram).expect("within the limits");
        assert_eq!(
            datagram.escape_ascii().to_string(),
            expected.escape_ascii().to_string(),
            "{name}"
        );
        assert_eq!(Packet::decode(&expected), Ok((header, packet)), "{name}");
    }
}

#[test]
fn the_header_looks_as_documented() {
    let bytes = vector("leave");
    assert_eq!(bytes.len(), Header::LEN + 4);
    assert_eq!(bytes[..4], *b"FB\x01\x05");
    assert_eq!(bytes[4..12], HEADER.session.to_be_bytes());
    assert_eq!(bytes[12..16], HEADER.sender.to_be_bytes());
    assert_eq!(bytes[16..20], HEADER.epoch.to_be_bytes());
    assert_eq!(bytes[20..28], HEADER.number.to_be_bytes());
}

#[test]
fn every_vector_is_used() {
    let members = members();
    let plain: Vec<&str> = packets(&members).into_iter().map(|(name, ..)| name).collect();
    let sealed = [
        "proof",
        "key-in-accept",
        "key-in-view",
        "sealed-data",
        "sealed-status",
        "sealed-sync",
        "sealed-leave",
    ];
    for name in vector_names() {
        assert!(plain.contains(&name) || sealed.contains(&name), "{name}");
    }
}

#[cfg(feature = "group-crypto")]
mod sealed {
    use flexbond_wire::group::{Audience, EpochKey, PresharedKey};

    use super::*;

    fn epoch_key() -> EpochKey {
        EpochKey::from_random(from(200))
    }

    fn find<'a>(members: &'a [Member], wanted: &str) -> Packet<'a> {
        packets(members)
            .into_iter()
            .find_map(|(name, _, packet)| (name == wanted).then_some(packet))
            .expect("listed")
    }

    #[test]
    fn a_proof_is_made_as_documented() {
        let key: PresharedKey = "correct horse battery staple".parse().unwrap();
        let Packet::Join(join) = find(&[], "join") else {
            panic!("a join");
        };
        assert_eq!(key.prove(&join)[..], vector("proof"));
        assert!(!key.verify(&join), "the packet's proof is made up");
    }

    #[test]
    fn keys_are_wrapped_as_documented() {
        let key: PresharedKey = "correct horse battery staple".parse().unwrap();
        let member_key = key.member_key(&from(0), &from(16));
        let members = members();
        let Packet::Accept(mut accept) = find(&[], "accept") else {
            panic!("an accept");
        };
        let wrapped = member_key.wrap_for_accept(&HEADER, &accept, &epoch_key());
        assert_eq!(wrapped.0[..], vector("key-in-accept"));
        accept.key = Some(wrapped);
        assert!(member_key.unwrap_from_accept(&HEADER, &accept) == Ok(epoch_key()));

        let Packet::View(mut view) = find(&members, "view") else {
            panic!("a view");
        };
        let wrapped = member_key.wrap_for_view(&HEADER, &view, &epoch_key());
        assert_eq!(wrapped.0[..], vector("key-in-view"));
        view.key = Some(wrapped);
        assert!(member_key.unwrap_from_view(&HEADER, &view) == Ok(epoch_key()));
    }

    #[test]
    fn sealed_datagrams_look_as_documented() {
        let key = epoch_key().sender_key(HEADER.session, HEADER.epoch, HEADER.sender);
        for (name, vector_name, audience) in [
            ("data", "sealed-data", Audience::All),
            ("status", "sealed-status", Audience::One(0x0a0b_0c0e)),
            ("sync", "sealed-sync", Audience::One(Header::COORDINATOR)),
            ("leave", "sealed-leave", Audience::All),
        ] {
            let packet = find(&[], name);
            let mut expected = vector(vector_name);
            let mut datagram = BytesMut::new();
            packet
                .encode_sealed(&HEADER, &key, audience, &mut datagram)
                .expect("within the limits");
            assert_eq!(
                datagram.escape_ascii().to_string(),
                expected.escape_ascii().to_string(),
                "{name}"
            );
            let receiver = match audience {
                Audience::All => 5,
                Audience::One(id) => id,
            };
            assert_eq!(
                Packet::decode_sealed(&mut expected, &key, receiver),
                Ok((HEADER, packet))
            );
        }
    }
}
