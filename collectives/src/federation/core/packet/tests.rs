//! What is written is read, and nothing else.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

prop_compose! {
    fn names()(name in "[a-z0-9-]{1,20}") -> String { name }
}

fn items() -> impl Strategy<Value = Item> {
    let key = (any::<bool>(), names()).prop_map(|(is_broadcast, name)| FlowKey {
        kind: if is_broadcast {
            Kind::Broadcast
        } else {
            Kind::Variable
        },
        name: ChannelName::new(name).unwrap(),
    });
    let data = (
        (
            any::<u32>(),
            any::<u64>(),
            proptest::option::of(names()),
            any::<u8>(),
        ),
        (
            proptest::option::of(any::<u64>()),
            any::<bool>(),
            any::<u64>(),
            vec(any::<u64>(), 0..5),
            0_u16..4,
        ),
    );
    prop_oneof![
        (any::<u32>(), key, proptest::option::of(any::<(u64, u64)>()))
            .prop_map(|(flow, key, from)| Item::Open { flow, key, from }),
        (any::<u32>(), any::<(u64, u64)>(), vec(any::<u64>(), 0..9)).prop_map(
            |(flow, (epoch, next), held)| Item::Opened {
                flow,
                epoch,
                next,
                held
            }
        ),
        data.prop_map(
            |((flow, offset, tag, codec), (ttl, expired, at, parts, pieces))| {
                let tag = tag.map(|tag| Tag::new(tag).unwrap());
                Item::Data(Data {
                    flow,
                    offset,
                    tag,
                    codec,
                    ttl,
                    expired,
                    at,
                    parts: parts.into(),
                    pieces,
                })
            }
        ),
        (any::<u32>(), any::<u64>(), any::<bool>()).prop_map(|(flow, offset, expired)| Item::Settled {
            flow,
            offset,
            expired
        }),
        Just(Item::Ready),
        (names(), ".{0,40}").prop_map(|(by, reason)| Item::Abort {
            by: PartyId::new(by).unwrap(),
            reason
        }),
        Just(Item::Leave),
        any::<u64>().prop_map(|total| Item::Credit { total }),
        any::<bool>().prop_map(|is_up| Item::Seen { is_up }),
        (any::<u32>(), any::<u64>()).prop_map(|(flow, offset)| Item::Rewind { flow, offset }),
        any::<u64>().prop_map(|total| Item::Want { total }),
        (any::<u32>(), any::<u32>()).prop_map(|(flow, limit)| Item::Declined { flow, limit }),
    ]
}

fn contents() -> impl Strategy<Value = Content> {
    let refusals = [
        Refusal::NotAMember,
        Refusal::OtherJob,
        Refusal::InUse,
        Refusal::Superseded,
        Refusal::OtherMembers,
        Refusal::Unauthorized,
        Refusal::NoRoom,
    ];
    let members = vec(names().prop_map(|name| PartyId::new(name).unwrap()), 0..5);
    let hello = (members, any::<u32>(), any::<[u64; 4]>()).prop_map(
        |(members, window_messages, [window_bytes, max_message, credit, custody])| {
            Content::Hello(Hello {
                members,
                window_messages,
                window_bytes,
                max_message,
                credit,
                custody,
            })
        },
    );
    prop_oneof![
        hello,
        proptest::sample::select(refusals.to_vec()).prop_map(Content::Refused),
        any::<bool>().prop_map(|gap| Content::Ack { gap }),
        (any::<u64>(), vec(items(), 0..5)).prop_map(|(seq, items)| Content::Items { seq, items }),
    ]
}

fn packets() -> impl Strategy<Value = Packet> {
    let numbers = any::<[u64; 3]>();
    let content = vec(any::<u8>(), 0..50).prop_map(Bytes::from);
    (names(), names(), names(), numbers, contents(), content).prop_map(
        |(job, from, to, [mine, yours, ack], content, piece)| {
            let owned: usize = content.items().map(Item::pieces).sum();
            let header = Header {
                job: JobId::new(job).unwrap(),
                from: PartyId::new(from).unwrap(),
                to: PartyId::new(to).unwrap(),
                mine,
                yours,
                ack,
                content,
            };
            let pieces = vec![piece; owned];
            Packet { header, pieces }
        },
    )
}

proptest! {
    #[test]
    fn what_is_written_is_read(packet in packets()) {
        prop_assert_eq!(Packet::decode(packet.clone().encode()), Ok(packet));
    }

    #[test]
    fn a_header_cut_anywhere_is_refused(packet in packets(), cut: prop::sample::Index) {
        let mut message = packet.encode();
        let whole = message[0].to_vec();
        message.frames_mut()[0] = Frame::from(&whole[..cut.index(whole.len())]);
        prop_assert!(Packet::decode(message).is_err());
    }

    #[test]
    fn any_bytes_are_read_or_refused(frames in vec(vec(any::<u8>(), 0..80), 0..4), is_ours: bool) {
        let mut frames = frames;
        if let (true, Some(first)) = (is_ours, frames.first_mut()) {
            first.insert(0, VERSION);
        }
        let _ = Packet::decode(frames.into_iter().collect());
    }
}

fn packet(content: Content, pieces: usize) -> Packet {
    let name = || PartyId::new("a").unwrap();
    let header = Header {
        job: JobId::new("job").unwrap(),
        from: name(),
        to: name(),
        mine: 1,
        yours: 2,
        ack: 3,
        content,
    };
    let pieces = vec![Bytes::from_static(b"x"); pieces];
    Packet { header, pieces }
}

fn data(pieces: u16) -> Item {
    Item::Data(Data {
        flow: 0,
        offset: 0,
        tag: None,
        codec: 0,
        ttl: None,
        expired: false,
        at: 0,
        parts: vec![1; usize::from(pieces)].into(),
        pieces,
    })
}

fn refused(packet: Packet) -> PacketError {
    Packet::decode(packet.encode()).unwrap_err()
}

#[test]
fn pieces_belong_to_data_only() {
    let ack = packet(Content::Ack { gap: false }, 1);
    assert_eq!(refused(ack), PacketError::Pieces { frames: 1 });
    for pieces in [0, 2, 4] {
        let items = vec![data(1), Item::Ready, data(2)];
        let packet = packet(Content::Items { seq: 0, items }, pieces);
        assert!(Packet::decode(packet.encode()).is_err(), "{pieces}");
    }
    let items = vec![data(600), data(425)];
    let packet = packet(Content::Items { seq: 0, items }, 1025);
    assert_eq!(refused(packet), PacketError::Pieces { frames: 1 });
}

#[test]
fn a_short_piece_that_is_kept_keeps_no_large_packet() {
    let mut packet = packet(
        Content::Items {
            seq: 0,
            items: vec![data(10)],
        },
        0,
    );
    for (len, is_shared) in [(1000, true), (SHORT, false)] {
        packet.pieces = vec![Bytes::from(vec![7; len]); 10];
        let message = packet.clone().encode();
        let mut frames = message.clone().into_frames().into_iter();
        let first = frames.next().unwrap().into_bytes();
        let decoded = Packet::decode(message).unwrap();
        assert_eq!(decoded.pieces, packet.pieces);
        let within = first.as_ptr_range();
        for piece in decoded.pieces {
            assert_eq!(within.contains(&piece.as_ptr()), is_shared, "{len}");
        }
    }
}

#[test]
fn short_pieces_go_with_the_header() {
    let lens = [1, SHORT, SHORT + 1, 100, 127, 128, 3 * SHORT];
    let items = vec![data(4), Item::Ready, data(3)];
    let mut packet = packet(Content::Items { seq: 0, items }, 0);
    packet.pieces = lens
        .iter()
        .map(|len| Bytes::from(vec![*len as u8; *len]))
        .collect();
    let message = packet.clone().encode();
    let large: Vec<_> = message.iter().skip(1).map(|frame| frame.len()).collect();
    assert_eq!(large, [SHORT + 1, 3 * SHORT]);
    assert_eq!(Packet::decode(message.clone()), Ok(packet));
    // Nothing more and nothing less.
    let first = message[0].to_vec();
    let frames = message.into_frames();
    for first in [&first[..first.len() - 1], &[&first[..], &[0]].concat()] {
        let frames = [Frame::copy_from_slice(first)]
            .into_iter()
            .chain(frames[1..].iter().cloned());
        assert!(Packet::decode(frames.collect()).is_err());
    }
    let frames = frames[..2].iter().cloned();
    assert_eq!(
        Packet::decode(frames.collect()),
        Err(PacketError::Pieces { frames: 2 })
    );
}

#[test]
fn lists_are_bounded() {
    let items = |count| Content::Items {
        seq: 0,
        items: vec![Item::Ready; count],
    };
    assert!(Packet::decode(packet(items(MAX_BATCH), 0).encode()).is_ok());
    assert_eq!(refused(packet(items(MAX_BATCH + 1), 0)), PacketError::Header);
    let hello = Content::Hello(Hello {
        members: vec![PartyId::new("a").unwrap(); MAX_MEMBERS + 1],
        window_messages: 1,
        window_bytes: 1,
        max_message: 1,
        credit: 1,
        custody: 1,
    });
    assert_eq!(refused(packet(hello, 0)), PacketError::Header);
}

#[test]
fn the_sender_can_be_told_without_the_rest() {
    let mut message = packet(Content::Ack { gap: false }, 0).encode();
    assert_eq!(sender_of(&message), Some(PartyId::new("a").unwrap()));
    message.frames_mut()[0] = Frame::from(vec![VERSION, 9, b'a']);
    assert_eq!(sender_of(&message), None);
}
