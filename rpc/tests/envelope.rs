//! The envelope on the wire: golden bytes that Python's `struct` makes too, round trips, and hostile messages.

use std::time::Duration;

use flexbond_rpc::envelope::{
    Codec, DecodeError, EncodeError, Envelope, Flags, Header, Kind, MAX_BUFFERS, Metadata, MetadataError,
    Method, MethodError,
};
use flexbond_transport::{Frame, Message};
use proptest::prelude::*;

fn method(name: &str) -> Method {
    Method::new(name).unwrap()
}

fn header(kind: Kind) -> Frame {
    Frame::from(&Header::new(kind, 1).encode().unwrap())
}

/// Each header as `struct.pack("!4BIQQ", version, kind, codec, flags, count, call, deadline)` makes it.
#[test]
fn headers_are_what_python_packs() {
    let golden: [(Envelope, [u8; 24]); 11] = [
        (
            // pack(1, 1, 2, 3, 0, 0x0102030405060708, 1_500_000)
            Envelope::request(0x0102_0304_0506_0708, method("a"), "")
                .with_codec(Codec::Json)
                .with_flags(Flags::STREAM | Flags::IDEMPOTENT)
                .with_deadline(Duration::from_millis(1500)),
            *b"\x01\x01\x02\x03\x00\x00\x00\x00\x01\x02\x03\x04\x05\x06\x07\x08\x00\x00\x00\x00\x00\x16\xe3\x60",
        ),
        (
            // pack(1, 2, 1, 0, 0, 7, 0)
            Envelope::response(7, "x").with_codec(Codec::Postcard),
            *b"\x01\x02\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x07\x00\x00\x00\x00\x00\x00\x00\x00",
        ),
        (
            // pack(1, 3, 0, 0, 0, 2**64 - 1, 0)
            Envelope::error(u64::MAX, "no"),
            *b"\x01\x03\x00\x00\x00\x00\x00\x00\xff\xff\xff\xff\xff\xff\xff\xff\x00\x00\x00\x00\x00\x00\x00\x00",
        ),
        (
            // pack(1, 4, 200, 0, 258, 7, 0)
            Envelope::stream_item(7, 258, "x").with_codec(Codec::Application(200)),
            *b"\x01\x04\xc8\x00\x00\x00\x01\x02\x00\x00\x00\x00\x00\x00\x00\x07\x00\x00\x00\x00\x00\x00\x00\x00",
        ),
        (
            // pack(1, 5, 0, 0, 259, 7, 0)
            Envelope::stream_end(7, 259),
            *b"\x01\x05\x00\x00\x00\x00\x01\x03\x00\x00\x00\x00\x00\x00\x00\x07\x00\x00\x00\x00\x00\x00\x00\x00",
        ),
        (
            // pack(1, 6, 0, 0, 2**32 - 1, 7, 0)
            Envelope::credit(7, u32::MAX),
            *b"\x01\x06\x00\x00\xff\xff\xff\xff\x00\x00\x00\x00\x00\x00\x00\x07\x00\x00\x00\x00\x00\x00\x00\x00",
        ),
        (
            // pack(1, 7, 0, 0, 0, 7, 0)
            Envelope::cancel(7),
            *b"\x01\x07\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x07\x00\x00\x00\x00\x00\x00\x00\x00",
        ),
        (
            // pack(1, 8, 0, 2, 0, 0, 2**64 - 1)
            Envelope::one_way(0, method("b"), "")
                .with_flags(Flags::IDEMPOTENT)
                .with_deadline(Duration::MAX),
            *b"\x01\x08\x00\x02\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\xff\xff\xff\xff\xff\xff\xff\xff",
        ),
        (
            // pack(1, 9, 0, 0, 0, 1, 0)
            Envelope::ping(1),
            *b"\x01\x09\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x00",
        ),
        (
            // pack(1, 10, 0, 0, 0, 1, 0)
            Envelope::pong(1),
            *b"\x01\x0a\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x00",
        ),
        (
            // pack(1, 11, 0, 0, 0, 0, 0)
            Envelope::draining(),
            *b"\x01\x0b\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00",
        ),
    ];
    for (envelope, bytes) in golden {
        let message = envelope.encode().unwrap();
        assert_eq!(message[0][..Header::LEN], bytes, "{envelope:?}");
        assert_eq!(Header::decode(&bytes).unwrap().kind, envelope.header.kind);
    }
}

#[test]
fn frames_stand_where_the_table_says() {
    let call = Envelope::request(1, method("image.store"), "{}")
        .with_buffer("raw")
        .with_buffer("");
    let message = call.encode().unwrap();
    assert_eq!(message.len(), 5);
    assert_eq!(&message[1], b"image.store");
    assert_eq!(&message[2], b"{}");
    assert_eq!((&message[3], &message[4]), (&b"raw"[..], &b""[..]));
    let mut metadata = Metadata::new();
    metadata.insert("Tenant", "7").unwrap();
    let message = call.with_metadata(metadata).encode().unwrap();
    assert_eq!(message.len(), 6);
    assert_eq!(message[0][3], 4, "the flag");
    assert_eq!(&message[3], b"\x06tenant\x00\x00\x00\x017");
    assert_eq!(&message[4], b"raw");
}

/// What is small goes in one frame, what is large does not, and a reader takes both forms of either.
#[test]
fn small_calls_take_one_frame() {
    for len in [0, 1, 30, 4096, 4097] {
        let call = Envelope::request(1, method("a.b"), vec![7; len]);
        let message = call.encode().unwrap();
        let header = call.header.encode().unwrap();
        if len <= 4096 {
            assert_eq!(message.len(), 1, "{len}");
            assert_eq!(message[0], [&header[..], b"\x03a.b", &vec![7; len]].concat());
        } else {
            assert_eq!(message.len(), 3, "{len}");
        }
        assert_eq!(Envelope::decode(message).as_ref(), Ok(&call));
        let compact = Message::from([&header[..], b"\x03a.b", &vec![7; len]].concat());
        assert_eq!(Envelope::decode(compact).as_ref(), Ok(&call));
        let spread = Message::from([
            Frame::from(&header),
            Frame::from("a.b"),
            Frame::from(vec![7; len]),
        ]);
        assert_eq!(Envelope::decode(spread).as_ref(), Ok(&call));
    }
    let cut = Message::from([&Header::new(Kind::Request, 1).encode().unwrap()[..], b"\x04a.b"].concat());
    assert_eq!(Envelope::decode(cut), Err(DecodeError::Truncated));
}

#[test]
fn metadata_is_checked_on_both_ways() {
    let mut metadata = Metadata::new();
    for name in ["", "a b", "ä", &"x".repeat(256)] {
        let error = metadata.insert(name, "").unwrap_err();
        assert!(matches!(error, MetadataError::Name { .. }), "{error}");
    }
    for n in 0..Metadata::MAX_ENTRIES {
        metadata.insert(&format!("n{n}"), n.to_string()).unwrap();
    }
    assert_eq!(metadata.insert("more", ""), Err(MetadataError::TooMany));
    metadata.insert("N7", "changed").unwrap();
    assert_eq!(metadata.get_str("n7"), Some("changed"));
    let long = metadata.insert("n7", vec![0; Metadata::MAX_LEN]);
    assert!(matches!(long, Err(MetadataError::TooLong { .. })));
    assert_eq!(metadata.get_str("n7"), Some("changed"), "nothing is changed");
    assert_eq!(Metadata::decode(metadata.to_frame()), Ok(metadata));

    let refused = |bytes: &[u8]| Metadata::decode(Frame::copy_from_slice(bytes)).unwrap_err();
    assert_eq!(refused(b"\x05ab"), MetadataError::Truncated);
    assert_eq!(refused(b"\x01a\x00\x00"), MetadataError::Truncated);
    assert_eq!(refused(b"\x01a\xff\xff\xff\xffx"), MetadataError::Truncated);
    let twice = refused(b"\x01a\x00\x00\x00\x00\x01A\x00\x00\x00\x00");
    assert_eq!(twice, MetadataError::Twice { name: "a".into() });
    let mut message = Envelope::request(1, method("a"), "")
        .with_buffer("")
        .encode()
        .unwrap();
    let mut flagged = Header::new(Kind::Request, 1);
    flagged.flags = Flags::METADATA;
    message.frames_mut()[0] = Frame::from(&flagged.encode().unwrap());
    drop(message.split_off(3));
    assert_eq!(
        Envelope::decode(message),
        Err(DecodeError::TooFewFrames { count: 3 })
    );
}

#[test]
fn large_parts_are_shared() {
    let (body, buffer) = (vec![1_u8; 4096], vec![2_u8; 1 << 20]);
    let addresses = [body.as_ptr(), buffer.as_ptr()];
    let message = Envelope::response(1, body).with_buffer(buffer).encode().unwrap();
    let received = Envelope::decode(message).unwrap();
    assert_eq!([received.body.as_ptr(), received.buffers[0].as_ptr()], addresses);
}

#[test]
fn a_method_stands_only_where_it_belongs() {
    let mut nameless = Envelope::request(1, method("a"), "");
    nameless.method = None;
    assert_eq!(
        nameless.encode(),
        Err(EncodeError::NoMethod { kind: Kind::Request })
    );
    let mut named = Envelope::response(1, "");
    named.method = Some(method("a"));
    assert_eq!(
        named.encode(),
        Err(EncodeError::UnexpectedMethod { kind: Kind::Response })
    );

    let request = Message::from([header(Kind::Request), Frame::new(), Frame::new()]);
    let empty = DecodeError::Method {
        source: MethodError::Empty,
    };
    assert_eq!(Envelope::decode(request), Err(empty));
    let response = Message::from([header(Kind::Response), Frame::from("a"), Frame::new()]);
    let unexpected = DecodeError::UnexpectedMethod { kind: Kind::Response };
    assert_eq!(Envelope::decode(response), Err(unexpected));
}

#[test]
fn the_number_of_frames_is_bounded() {
    let mut full = Envelope::cancel(1);
    full.buffers = vec![Frame::new(); MAX_BUFFERS];
    let mut message = full.encode().unwrap();
    assert_eq!(Envelope::decode(message.clone()).as_ref(), Ok(&full));

    message.push_back("one more");
    let too_many = DecodeError::TooManyBuffers {
        count: MAX_BUFFERS + 1,
    };
    assert_eq!(Envelope::decode(message), Err(too_many));
    full.buffers.push(Frame::new());
    let too_many = EncodeError::TooManyBuffers {
        count: MAX_BUFFERS + 1,
    };
    assert_eq!(full.encode(), Err(too_many));

    assert_eq!(
        Envelope::decode(Message::new()),
        Err(DecodeError::TooFewFrames { count: 0 })
    );
    assert_eq!(
        Envelope::decode(Message::from([header(Kind::Ping), Frame::from("b")])),
        Err(DecodeError::TooFewFrames { count: 2 })
    );
}

fn frames(count: std::ops::Range<usize>) -> impl Strategy<Value = Vec<Frame>> {
    prop::collection::vec(
        prop::collection::vec(any::<u8>(), 0..100).prop_map(Frame::from),
        count,
    )
}

fn envelopes() -> impl Strategy<Value = Envelope> {
    let codec = prop_oneof![
        Just(Codec::Raw),
        Just(Codec::Postcard),
        Just(Codec::Json),
        Just(Codec::MessagePack),
        (128_u8..).prop_map(Codec::Application)
    ];
    let flags = prop_oneof![
        Just(Flags::NONE),
        Just(Flags::STREAM),
        Just(Flags::STREAM | Flags::IDEMPOTENT)
    ];
    let deadline = prop::option::of((1_u64..).prop_map(Duration::from_micros));
    let envelope = (0..10_u8, any::<u64>(), any::<u32>(), "\\PC{1,60}", frames(1..6));
    (envelope, codec, flags, deadline).prop_map(
        |((kind, call, count, name, mut frames), codec, flags, deadline)| {
            let body = frames.remove(0);
            let method = Method::new(name.as_str()).unwrap();
            let mut envelope = match kind {
                0 => Envelope::request(call, method, body),
                1 => Envelope::one_way(call, method, body),
                2 => Envelope::response(call, body),
                3 => Envelope::error(call, body),
                4 => Envelope::stream_item(call, count, body),
                5 => Envelope::stream_end(call, count),
                6 => Envelope::credit(call, count),
                7 => Envelope::cancel(call),
                8 => Envelope::ping(call),
                _ => Envelope::pong(call),
            };
            envelope = envelope.with_codec(codec).with_flags(flags);
            envelope.header.deadline = deadline;
            if frames.len() > 2 {
                envelope
                    .metadata
                    .insert("name", frames.remove(0).into_bytes())
                    .unwrap();
            }
            envelope.buffers = frames;
            envelope
        },
    )
}

proptest! {
    #[test]
    fn what_is_encoded_is_decoded(envelope in envelopes()) {
        let message = envelope.encode().unwrap();
        prop_assert_eq!(Envelope::decode(message), Ok(envelope));
    }

    #[test]
    fn arbitrary_messages_never_panic(frames in frames(0..8)) {
        let _ = Envelope::decode(Message::from(frames));
    }

    #[test]
    fn a_damaged_message_is_refused_or_still_an_envelope(
        envelope in envelopes(),
        at in 0..Header::LEN,
        value in any::<u8>(),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut frames = envelope.encode().unwrap().into_frames();
        let mut header = frames[0].to_vec();
        header[at] = value;
        frames[0] = Frame::from(header);
        if let Ok(read) = Envelope::decode(Message::from(frames.clone())) {
            // What was accepted can be written, and reads the same.
            prop_assert_eq!(Envelope::decode(read.encode().unwrap()), Ok(read));
        }
        frames[0] = Frame::from(&frames[0][..cut.index(Header::LEN)]);
        let refused = matches!(Envelope::decode(Message::from(frames)), Err(DecodeError::HeaderLength { .. }));
        prop_assert!(refused);
    }
}
