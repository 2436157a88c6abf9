//! bsread messages as senders in Python, Java and C++ write them, and as they arrive when something went wrong.

use std::sync::Arc;

use flexbond_stream::bsread::{
    BsreadError, Channel, ChannelError, Compression, DataHeader, EncodeError, Pulse, ReadingError, Sample,
    Timestamp, Value,
};
use flexbond_stream::compression::Codec;
use flexbond_stream::{
    Array, DecodeError, Decoder, ElementType, Endianness, Header, Layout, LoadError, StreamMessage,
};
use flexbond_transport::{Frame, Message};
use proptest::prelude::*;

const NOW: Timestamp = Timestamp {
    seconds: 1_700_000_000,
    nanoseconds: 123_456_789,
};

fn stamp() -> Vec<u8> {
    [NOW.seconds.to_le_bytes(), NOW.nanoseconds.to_le_bytes()].concat()
}

fn stamp_be() -> Vec<u8> {
    [NOW.seconds.to_be_bytes(), NOW.nanoseconds.to_be_bytes()].concat()
}

fn bsread_error(message: &Message) -> BsreadError {
    match StreamMessage::decode(message) {
        Err(DecodeError::Bsread(error)) => error,
        other => panic!("{other:?}"),
    }
}

/// A message as it is written by hand: data header, hash as said, values.
fn message(main: &str, channels: &str, values: &[(&[u8], &[u8])]) -> Message {
    let data_header = format!(r#"{{"htype":"bsr_d-1.1","channels":{channels}}}"#);
    let mut parts = vec![Frame::from(main), Frame::from(data_header)];
    for (data, timestamp) in values {
        parts.push(Frame::from(*data));
        parts.push(Frame::from(*timestamp));
    }
    parts.into()
}

const CHANNELS: &str = r#"[{"name":"f","shape":[1]},
    {"name":"i","type":"int16","shape":[3,2],"encoding":"big"},
    {"name":"s","type":"string"},
    {"name":"b","type":"bool"},
    {"name":"none","type":"uint8","modulo":10,"offset":3}]"#;

fn hand_made(main: &str) -> Message {
    message(
        main,
        CHANNELS,
        &[
            (&1.5_f64.to_le_bytes(), &stamp()),
            (b"\x00\x01\x00\x02\x00\x03\x00\x04\x00\x05\xff\xff", &stamp_be()),
            ("größe".as_bytes(), &stamp()),
            (&[1], &stamp()),
            (b"", b""),
        ],
    )
}

#[test]
fn every_type_is_read_and_forwarded_byte_by_byte() {
    for (main, pulse_id, time) in [
        (
            r#"{"htype": "bsr_m-1.1", "pulse_id": 5, "global_timestamp": {"sec": 7, "ns": 9}, "mine": 1e0}"#,
            Some(5),
            Some((7, 9)),
        ),
        (
            r#"{"htype":"bsr_m-1.0","pulse_id":6,"global_timestamp":{"epoch":7,"ns":9},"dh_compression":"none"}"#,
            Some(6),
            Some((7, 9)),
        ),
        (
            r#"{"htype":"bsr_m-1.1","pulse_id":8.0,"global_timestamp":{"sec":7.0,"ns":9.0},"dh_compression":""}"#,
            Some(8),
            Some((7, 9)),
        ),
        (r#"{"htype":"bsr_m-1.1","dh_compression":null}"#, None, None),
        (
            r#"{"htype":"bsr_m-1.1","global_timestamp":{"sec":7.5,"ns":9}}"#,
            None,
            None,
        ),
    ] {
        let message = hand_made(main);
        let decoded = StreamMessage::decode(&message).unwrap();
        let pulse = decoded.as_pulse().unwrap();
        assert_eq!(pulse.pulse_id(), pulse_id);
        assert_eq!(
            pulse.timestamp().map(|time| (time.seconds, time.nanoseconds)),
            time
        );
        let value = |name: &str| pulse.get(name).unwrap().value().unwrap();
        assert_eq!(value("f"), Some(Value::Float(1.5)));
        let Some(Value::Array(array)) = value("i") else {
            panic!("{:?}", value("i"))
        };
        assert_eq!(array.layout().shape(), [2, 3]);
        assert_eq!(
            array.view().to_slice::<i16>().unwrap().as_ref(),
            [1, 2, 3, 4, 5, -1]
        );
        assert_eq!(value("s"), Some(Value::Text("größe".to_owned())));
        assert_eq!(value("b"), Some(Value::Bool(true)));
        assert_eq!(value("none"), None);
        assert!(pulse.get("none").unwrap().is_none());
        assert!(pulse.get("other").is_none());
        assert_eq!(pulse.iter().count(), 5);
        assert_eq!(
            pulse.get("i").unwrap().timestamp(),
            Ok(Some(NOW)),
            "in the channel's order"
        );
        assert_eq!(pulse.get("none").unwrap().timestamp(), Ok(None));
        assert_eq!(pulse.data_header().channels()[4].fields()["offset"], 3);
        assert_eq!(decoded.encode(), message);
    }
}

#[test]
fn version_1_0_says_the_order_of_bytes_once_for_all_channels() {
    // As controllers with big-endian processors send it.
    let data_header = r#"{"htype":"bsr_d-1.0","encoding":"big","channels":[{"name":"a","type":"Double","modulo":1},
        {"name":"b","type":"Long"},{"name":"c","type":"UShort","shape":[2]},{"name":"d","encoding":"little"}]}"#;
    let parts: [&[u8]; 10] = [
        br#"{"htype":"bsr_m-1.0","pulse_id":3,"hash":"0","global_timestamp":{"epoch":7,"ns":9}}"#,
        data_header.as_bytes(),
        &1.5_f64.to_be_bytes(),
        &stamp_be(),
        &(-5_i32).to_be_bytes(),
        &stamp_be(),
        &[0, 1, 0xff, 0xff],
        &stamp_be(),
        &2.5_f64.to_le_bytes(),
        &stamp(),
    ];
    let message: Message = parts.into_iter().collect();
    let decoded = StreamMessage::decode(&message).unwrap();
    let pulse = decoded.as_pulse().unwrap();
    let value = |name: &str| pulse.get(name).unwrap().value().unwrap();
    assert_eq!(value("a"), Some(Value::Float(1.5)));
    assert_eq!(value("b"), Some(Value::Int(-5)));
    let c = pulse.get("c").unwrap().to_array().unwrap().unwrap();
    assert_eq!(c.view().to_slice::<u16>().unwrap().as_ref(), [1, u16::MAX]);
    assert_eq!(value("d"), Some(Value::Float(2.5)), "its own word comes first");
    for reading in pulse.iter() {
        assert_eq!(reading.timestamp(), Ok(Some(NOW)));
    }
    assert_eq!(decoded.encode(), message);
}

#[test]
fn version_1_0_has_one_empty_part_for_a_channel_without_a_value() {
    let main: &[u8] = br#"{"htype":"bsr_m-1.0","pulse_id":3,"hash":"x"}"#;
    let channels =
        br#"{"htype":"bsr_d-1.0","channels":[{"name":"a"},{"name":"b","shape":[2]},{"name":"c"}]}"#;
    let (one, two) = (1.5_f64.to_le_bytes(), [0; 16]);
    let stamp = stamp();
    let cases: [(&[&[u8]], [bool; 3]); 7] = [
        (&[&one, &stamp, b"", &one, &stamp], [true, false, true]),
        (&[b"", &two, &stamp, b""], [false, true, false]),
        (&[b"", b"", b""], [false; 3]),
        // With a part that ends the message.
        (&[&one, &stamp, &two, &stamp, &one, &stamp, b""], [true; 3]),
        (&[&one, &stamp, b"", &one, &stamp, b""], [true, false, true]),
        // Two empty parts, as in version 1.1.
        (&[&one, &stamp, b"", b"", &one, &stamp], [true, false, true]),
        (&[b"", b"", &two, &stamp, b"", b""], [false, true, false]),
    ];
    for (values, there) in cases {
        let message: Message = [main, channels]
            .into_iter()
            .chain(values.iter().copied())
            .collect();
        let decoded = StreamMessage::decode(&message).unwrap();
        let pulse = decoded.as_pulse().unwrap();
        for (reading, there) in pulse.iter().zip(there) {
            assert_eq!(reading.value().unwrap().is_some(), there, "{values:?}");
            assert_eq!(reading.timestamp(), Ok(there.then_some(NOW)), "{values:?}");
        }
        assert_eq!(pulse.iter().count(), 3);
        assert_eq!(decoded.encode(), message);
        let again = StreamMessage::decode(&StreamMessage::from(pulse.clone()).encode()).unwrap();
        assert_eq!(again.parts(), decoded.parts());
    }
    let bad: [&[&[u8]]; 4] = [
        &[b"", b""],
        &[&one, &stamp, b"", &one],
        &[&one, b"short", b"", b""],
        &[b"", b"", b"", b"x"],
    ];
    for values in bad {
        let message: Message = [main, channels]
            .into_iter()
            .chain(values.iter().copied())
            .collect();
        assert!(
            matches!(bsread_error(&message), BsreadError::PartCount { channels: 3, .. }),
            "{values:?}"
        );
    }
}

#[test]
fn what_is_sent_has_the_fields_and_the_hash_of_the_format() {
    let data_header = Arc::new(DataHeader::new(vec![Channel::number("a", ElementType::Int32)]));
    let pulse = Pulse::new(8, NOW, &data_header, [Some(Sample::new(-5, NOW))]).unwrap();
    let message = StreamMessage::from(pulse).encode();
    let order = Endianness::NATIVE.name();
    assert_eq!(
        message.frames()[1],
        format!(
            r#"{{"htype":"bsr_d-1.1","channels":[{{"name":"a","type":"int32","shape":[1],"encoding":"{order}"}}]}}"#
        )
    );
    let main = Header::parse(&message[0]).unwrap();
    assert_eq!((main.htype(), main.pulse_id()), ("bsr_m-1.1", Some(8)));
    assert_eq!(main.text("hash"), Some(data_header.hash()));
    assert_eq!(main.text("dh_compression"), Some("none"));
    assert_eq!(
        main.get("global_timestamp").unwrap(),
        &serde_json::json!({"sec": NOW.seconds, "ns": NOW.nanoseconds})
    );
    assert_eq!(message[2], (-5_i32).to_ne_bytes().to_vec());
    assert_eq!(message.len(), 4);
}

#[test]
fn the_length_before_lz4_is_in_the_order_of_the_channel() {
    for (endianness, length) in [
        (Endianness::Little, [204, 0, 0, 0]),
        (Endianness::Big, [0, 0, 0, 204]),
    ] {
        let channel = Channel::number("a", ElementType::Int32)
            .shape(&[51])
            .endianness(endianness)
            .compression(Compression::Lz4);
        let data_header = Arc::new(DataHeader::compressed(vec![channel], Compression::Lz4));
        let numbers = Array::from_elements(&[51], (0..51).collect::<Vec<i32>>()).unwrap();
        let pulse = Pulse::new(1, NOW, &data_header, [Some(Sample::new(numbers.clone(), NOW))]).unwrap();
        assert_eq!(pulse.parts()[1][..4], length);
        let received = StreamMessage::decode(&StreamMessage::from(pulse).encode()).unwrap();
        let back = received
            .as_pulse()
            .unwrap()
            .get("a")
            .unwrap()
            .to_array()
            .unwrap()
            .unwrap();
        assert_eq!(back.view().to_slice::<i32>(), numbers.view().to_slice());
    }
}

#[test]
fn the_data_header_is_parsed_only_when_it_changes() {
    let pulses = |data_header: &Arc<DataHeader>, count: u64| {
        (0..count)
            .map(|id| Pulse::new(id, NOW, data_header, [Some(Sample::new(1.0, NOW))]).unwrap())
            .map(|pulse| StreamMessage::from(pulse).encode())
            .collect::<Vec<_>>()
    };
    let first = Arc::new(DataHeader::new(vec![Channel::number("a", ElementType::Float64)]));
    let packed = Arc::new(DataHeader::compressed(
        vec![Channel::number("b", ElementType::Float32)],
        Compression::BitshuffleLz4,
    ));
    let mut decoder = Decoder::new();
    for (data_header, name, parsed) in [(&first, "a", 1), (&packed, "b", 2), (&first, "a", 2)] {
        for message in pulses(data_header, 50) {
            let decoded = decoder.decode(&message).unwrap();
            let pulse = decoded.as_pulse().unwrap();
            assert!(pulse.hash_fits());
            assert_eq!(pulse.get(name).unwrap().value().unwrap(), Some(Value::Float(1.0)));
            assert_eq!(decoder.counters().data_headers, parsed);
        }
    }
    // A hash that stays while the channels change must not give old names to new values.
    let mut liar = pulses(&packed, 1).remove(0).into_frames();
    liar[0] = pulses(&first, 1)[0].frames()[0].clone();
    let mut header = Header::parse(&liar[0]).unwrap();
    header.set("dh_compression", "bitshuffle_lz4");
    liar[0] = header.to_frame();
    let decoded = decoder.decode(&liar.into()).unwrap();
    let pulse = decoded.as_pulse().unwrap();
    assert!(!pulse.hash_fits() && pulse.get("b").is_some() && pulse.get("a").is_none());
    assert_eq!(decoder.counters().hash_mismatches, 1);
}

#[test]
fn a_data_header_that_is_left_out_is_the_one_of_its_hash() {
    let data_header = Arc::new(DataHeader::new(vec![Channel::text("a")]));
    let pulse = Pulse::new(1, NOW, &data_header, [Some(Sample::new("x", NOW))]).unwrap();
    let whole = StreamMessage::from(pulse).encode();
    let mut short = whole.clone().into_frames();
    short[1] = Frame::new();
    let short = Message::from(short);
    let mut decoder = Decoder::new();
    assert!(matches!(
        decoder.decode(&short),
        Err(DecodeError::Bsread(BsreadError::NoDataHeader))
    ));
    decoder.decode(&whole).unwrap();
    let decoded = decoder.decode(&short).unwrap();
    assert!(decoded.as_pulse().unwrap().get("a").is_some());
    assert_eq!(decoded.encode(), short);
}

#[test]
fn many_sources_in_one_stream_are_understood_and_bounded() {
    let mut decoder = Decoder::new();
    for round in 0..3 {
        for source in 0..20_u32 {
            let channel = Channel::number(format!("s{source}"), ElementType::UInt32);
            let data_header = Arc::new(DataHeader::new(vec![channel]));
            let pulse = Pulse::new(round, NOW, &data_header, [Some(Sample::new(source, NOW))]).unwrap();
            let decoded = decoder.decode(&StreamMessage::from(pulse).encode()).unwrap();
            let pulse = decoded.as_pulse().unwrap();
            let value = pulse.get(&format!("s{source}")).unwrap().value().unwrap();
            assert_eq!(value, Some(Value::UInt(u64::from(source))));
        }
    }
}

#[test]
fn a_malformed_message_changes_nothing_for_the_next() {
    let good = hand_made(r#"{"htype":"bsr_m-1.1","pulse_id":5,"hash":"h"}"#);
    let mut decoder = Decoder::new();
    decoder.decode(&good).unwrap();
    for bad in [
        message(r#"{"htype":"bsr_m-1.1","hash":"h"}"#, "5", &[]),
        message(r#"{"htype":"bsr_m-1.1","hash":"h"}"#, CHANNELS, &[]),
        Message::from([r#"{"htype":"bsr_m-1.1","hash":"h"}"#, "no JSON"]),
    ] {
        assert!(decoder.decode(&bad).is_err());
        let decoded = decoder.decode(&good).unwrap();
        assert_eq!(decoded.as_pulse().unwrap().iter().count(), 5);
    }
    assert_eq!(decoder.counters().data_headers, 1);
}

#[test]
fn data_headers_of_malformed_messages_are_not_kept() {
    let good = hand_made(r#"{"htype":"bsr_m-1.1","pulse_id":5,"hash":"h"}"#);
    let mut decoder = Decoder::new();
    decoder.decode(&good).unwrap();
    let counters = decoder.counters();
    for source in 0..20 {
        // Two channels and the parts of one.
        let channels = format!(r#"[{{"name":"s{source}"}},{{"name":"t"}}]"#);
        let bad = message(
            r#"{"htype":"bsr_m-1.1","hash":"x"}"#,
            &channels,
            &[(&[0; 8], &stamp())],
        );
        assert!(decoder.decode(&bad).is_err());
    }
    assert_eq!(decoder.counters(), counters, "as it was before");
    decoder.decode(&good).unwrap();
    assert_eq!(decoder.counters().data_headers, 1);
}

#[test]
fn data_headers_that_are_large_are_not_all_kept() {
    let mut decoder = Decoder::new();
    let mut parsed = |note: &str| {
        let channels = format!(r#"[{{"name":"a","note":"{note}"}}]"#);
        let message = message(r#"{"htype":"bsr_m-1.1"}"#, &channels, &[(b"", b"")]);
        decoder.decode(&message).unwrap();
        decoder.counters().data_headers
    };
    let large = |byte: &str| byte.repeat(3 << 20);
    assert_eq!((parsed("x"), parsed(&large("y")), parsed("x")), (1, 2, 2));
    // Two of these are too many to keep beside the last one.
    assert_eq!((parsed(&large("z")), parsed(&large("z")), parsed("x")), (3, 3, 3));
    assert_eq!((parsed(&large("w")), parsed("x"), parsed(&large("y"))), (4, 4, 5));
}

#[test]
fn a_hash_without_its_leading_zeros_fits() {
    // As senders in Java write it, which make a number of it first.
    let mut source = 0;
    let (data_header, hash) = loop {
        let data_header = DataHeader::new(vec![Channel::text(format!("s{source}"))]);
        let hash = data_header.hash().to_owned();
        match hash.strip_prefix('0') {
            Some(hash) => break (data_header.clone(), hash.to_owned()),
            None => source += 1,
        }
    };
    let pulse = Pulse::new(1, NOW, &Arc::new(data_header), [None]).unwrap();
    let mut message = StreamMessage::from(pulse);
    message.header.set("hash", hash);
    let decoded = StreamMessage::decode(&message.encode()).unwrap();
    assert!(decoded.as_pulse().unwrap().hash_fits());
}

#[test]
fn malformed_messages_are_named() {
    let main = r#"{"htype":"bsr_m-1.1","pulse_id":1}"#;
    let whole = hand_made(main).into_frames();
    for cut in 2..whole.len() {
        match bsread_error(&whole[..cut].to_vec().into()) {
            BsreadError::PartCount { channels: 5, actual } => assert_eq!(actual, cut),
            other => panic!("{other:?}"),
        }
    }
    assert!(matches!(
        bsread_error(&whole[..1].to_vec().into()),
        BsreadError::NoDataHeader
    ));
    let mut surplus = whole.clone();
    surplus.push("more".into());
    assert!(matches!(
        bsread_error(&surplus.into()),
        BsreadError::PartCount { actual: 13, .. }
    ));
    let with = |main: &str, data_header: &str| bsread_error(&Message::from([main, data_header]));
    assert!(matches!(with(main, "{"), BsreadError::Header(_)));
    assert!(matches!(with(main, "[]"), BsreadError::Header(_)));
    assert!(matches!(
        with(main, r#"{"htype":"raw-1.0"}"#),
        BsreadError::Htype(_)
    ));
    for channels in [
        "",
        r#","channels":5"#,
        r#","channels":[5]"#,
        r#","channels":[{"type":"int8"}]"#,
    ] {
        let data_header = format!(r#"{{"htype":"bsr_d-1.1"{channels}}}"#);
        let message = Message::from([main, &data_header, "", ""]);
        assert!(
            matches!(bsread_error(&message), BsreadError::NoChannels),
            "{channels}"
        );
    }
    let zip = r#"{"htype":"bsr_m-1.1","dh_compression":"zip"}"#;
    assert!(matches!(with(zip, "x"), BsreadError::UnknownCompression(name) if name == "zip"));
    for compression in ["lz4", "bitshuffle_lz4"] {
        let main = format!(r#"{{"htype":"bsr_m-1.1","dh_compression":"{compression}"}}"#);
        for part in ["x", "xxxxxxxxxxxxxxxxxxxxxxxxx"] {
            assert!(matches!(
                with(&main, part),
                BsreadError::Decompress(_) | BsreadError::Header(_)
            ));
        }
    }
}

#[test]
fn a_channel_that_is_not_understood_leaves_the_others_alone() {
    let channels = r#"[{"name":"odd","type":"float128"},{"name":"short","type":"float64","shape":[3]},
        {"name":"text","type":"string"},{"name":"late","type":"int8"},{"name":"good","type":"int8"}]"#;
    let stamp = stamp();
    let message = message(
        r#"{"htype":"bsr_m-1.1"}"#,
        channels,
        &[
            (&[0; 16], &stamp),
            (&[0; 23], &stamp),
            (b"\xff\xfe", &stamp),
            (&[1], &stamp[..15]),
            (&[0xff], &stamp),
        ],
    );
    let decoded = StreamMessage::decode(&message).unwrap();
    let pulse = decoded.as_pulse().unwrap();
    let error = |name: &str| pulse.get(name).unwrap().value().unwrap_err();
    assert!(matches!(
        error("odd"),
        ReadingError::Channel(ChannelError::UnknownType(_))
    ));
    assert_eq!(
        error("short"),
        ReadingError::Load(LoadError::Length {
            expected: 24,
            actual: 23
        })
    );
    assert!(matches!(error("text"), ReadingError::Text(_)));
    assert_eq!(
        pulse.get("late").unwrap().timestamp(),
        Err(ReadingError::Timestamp(15))
    );
    assert_eq!(pulse.get("odd").unwrap().data().len(), 16);
    assert_eq!(pulse.get("good").unwrap().value(), Ok(Some(Value::Int(-1))));
}

#[test]
fn an_empty_string_is_a_value_and_nothing_is_not() {
    let message = message(
        r#"{"htype":"bsr_m-1.1"}"#,
        r#"[{"name":"empty","type":"string"},{"name":"nothing","type":"string"},{"name":"lost","type":"int8"}]"#,
        &[(b"", &stamp()), (b"", b""), (b"", &stamp())],
    );
    let decoded = StreamMessage::decode(&message).unwrap();
    let value = |name: &str| decoded.as_pulse().unwrap().get(name).unwrap().value().unwrap();
    assert_eq!(value("empty"), Some(Value::Text(String::new())));
    assert_eq!(value("nothing"), None);
    assert_eq!(value("lost"), None, "an empty part is no data");
}

#[test]
fn values_that_do_not_fit_their_channel_are_refused() {
    let channels = vec![Channel::number("n", ElementType::Int8), Channel::text("t")];
    let data_header = Arc::new(DataHeader::new(channels));
    let send = |value: Value| Pulse::new(1, NOW, &data_header, [Some(Sample::new(value, NOW)), None]);
    assert!(send(Value::Int(-128)).is_ok() && send(Value::UInt(127)).is_ok());
    let array = Array::from_elements(&[2], vec![1_i8, 2]).unwrap();
    for value in [
        Value::Int(128),
        Value::UInt(128),
        Value::Float(1.0),
        "x".into(),
        true.into(),
    ] {
        assert!(matches!(send(value), Err(EncodeError::Type { .. })));
    }
    assert!(matches!(send(array.into()), Err(EncodeError::Layout { .. })));
    let text = |value: Value| Pulse::new(1, NOW, &data_header, [None, Some(Sample::new(value, NOW))]);
    assert!(text("ok".into()).is_ok());
    assert!(matches!(text(1.into()), Err(EncodeError::Type { .. })));
    for count in [0, 1, 3] {
        assert_eq!(
            Pulse::new(1, NOW, &data_header, vec![None; count]).unwrap_err(),
            EncodeError::Count {
                channels: 2,
                values: count
            }
        );
    }
    let impossible = Channel::number("n", ElementType::Int64).shape(&[usize::MAX]);
    let data_header = Arc::new(DataHeader::new(vec![impossible]));
    let error = Pulse::new(1, NOW, &data_header, [Some(Sample::new(1, NOW))]).unwrap_err();
    assert!(matches!(error, EncodeError::Channel { .. }));
}

#[test]
fn a_value_that_is_too_long_to_be_compressed_is_refused() {
    let len = Codec::MAX_LZ4_BLOCK + 1;
    let channel = Channel::number("n", ElementType::UInt8).shape(&[len]);
    let data_header = Arc::new(DataHeader::new(vec![channel.compression(Compression::Lz4)]));
    // Zeros that nobody looks at take no memory.
    let value = Array::from_elements(&[len], vec![0_u8; len]).unwrap();
    let error = Pulse::new(1, NOW, &data_header, [Some(Sample::new(value, NOW))]).unwrap_err();
    assert!(
        matches!(error, EncodeError::TooLong { size, .. } if size == len),
        "{error}"
    );
}

#[test]
fn a_value_that_is_too_large_or_lies_is_refused() {
    for compression in [Compression::Lz4, Compression::BitshuffleLz4] {
        let channels = vec![
            Channel::number("a", ElementType::UInt16)
                .shape(&[64, 64])
                .compression(compression),
            Channel::text("t").compression(compression),
        ];
        let data_header = Arc::new(DataHeader::new(channels));
        let array = Array::from_elements(&[64, 64], (0..4096_u16).collect()).unwrap();
        let text = "abc".repeat(100);
        let samples = [
            Some(Sample::new(array.clone(), NOW)),
            Some(Sample::new(text.as_str(), NOW)),
        ];
        let message = StreamMessage::from(Pulse::new(1, NOW, &data_header, samples).unwrap()).encode();
        let decoded = StreamMessage::decode(&message).unwrap();
        let pulse = decoded.as_pulse().unwrap();
        let (a, t) = (pulse.get("a").unwrap(), pulse.get("t").unwrap());
        assert_eq!(a.value(), Ok(Some(Value::Array(array))));
        assert_eq!(t.value(), Ok(Some(Value::Text(text))));
        assert!(matches!(
            a.value_within(8191),
            Err(ReadingError::Load(LoadError::TooLarge {
                size: 8192,
                limit: 8191
            }))
        ));
        assert!(matches!(
            t.value_within(299),
            Err(ReadingError::Load(LoadError::TooLarge {
                size: 300,
                limit: 299
            }))
        ));
        for place in [2, 4] {
            for cut in 1..message[place].len() {
                let mut frames = message.clone().into_frames();
                frames[place] = Frame::from(&frames[place][..cut]);
                let decoded = StreamMessage::decode(&frames.into()).unwrap();
                let pulse = decoded.as_pulse().unwrap();
                let name = if place == 2 { "a" } else { "t" };
                assert!(
                    pulse.get(name).unwrap().value().is_err(),
                    "{name} cut off at {cut}"
                );
            }
        }
    }
}

fn any_value() -> impl Strategy<Value = (Channel, Value)> {
    let scalar = prop_oneof![
        any::<bool>().prop_map(|v| (ElementType::Bool, Value::from(v))),
        any::<i8>().prop_map(|v| (ElementType::Int8, v.into())),
        any::<i16>().prop_map(|v| (ElementType::Int16, v.into())),
        any::<i32>().prop_map(|v| (ElementType::Int32, v.into())),
        any::<i64>().prop_map(|v| (ElementType::Int64, v.into())),
        any::<u8>().prop_map(|v| (ElementType::UInt8, v.into())),
        any::<u16>().prop_map(|v| (ElementType::UInt16, v.into())),
        any::<u32>().prop_map(|v| (ElementType::UInt32, v.into())),
        any::<u64>().prop_map(|v| (ElementType::UInt64, v.into())),
        (-1e30_f32..1e30).prop_map(|v| (ElementType::Float32, v.into())),
        (-1e300_f64..1e300).prop_map(|v| (ElementType::Float64, v.into())),
    ]
    .prop_map(|(element, value)| (Channel::number("c", element), value));
    let array = proptest::collection::vec(any::<u32>(), 2..60).prop_map(|elements| {
        let array = Array::from_elements(&[1, elements.len()], elements).unwrap();
        let shape = [array.layout().shape()[1], 1];
        (
            Channel::number("c", ElementType::UInt32).shape(&shape),
            Value::Array(array),
        )
    });
    let text = any::<String>().prop_map(|text| (Channel::text("c"), Value::from(text)));
    let compression = prop_oneof![
        Just(Compression::None),
        Just(Compression::Lz4),
        Just(Compression::BitshuffleLz4)
    ];
    (prop_oneof![scalar, array, text], any::<bool>(), compression).prop_map(
        |((channel, value), big, compression)| {
            let endianness = if big { Endianness::Big } else { Endianness::Little };
            let value = match value {
                Value::Array(array) => Value::Array(array.to_endianness(endianness)),
                value => value,
            };
            (channel.endianness(endianness).compression(compression), value)
        },
    )
}

proptest! {
    #[test]
    fn pulses_round_trip(
        pulse_id: u64, seconds: i64, nanoseconds: i64, packed: bool,
        values in proptest::collection::vec((any_value(), any::<bool>()), 0..6),
    ) {
        let time = Timestamp { seconds, nanoseconds };
        let channels = values.iter().zip(0..).map(|(((channel, _), _), n)| channel.clone().with("name", n.to_string()));
        let compression = if packed { Compression::Lz4 } else { Compression::None };
        let data_header = Arc::new(DataHeader::compressed(channels.collect(), compression));
        let samples = values.iter().map(|((_, value), there)| there.then(|| Sample::new(value.clone(), time)));
        let sent = StreamMessage::from(Pulse::new(pulse_id, time, &data_header, samples).unwrap());
        let back = StreamMessage::decode(&sent.encode()).unwrap();
        prop_assert_eq!(back.encode(), sent.encode());
        let pulse = back.as_pulse().unwrap();
        prop_assert!(pulse.hash_fits());
        prop_assert_eq!((pulse.pulse_id(), pulse.timestamp()), (Some(pulse_id), Some(time)));
        for (reading, ((_, value), there)) in pulse.iter().zip(&values) {
            prop_assert_eq!(reading.value().unwrap(), there.then(|| value.clone()));
            prop_assert_eq!(reading.timestamp().unwrap(), there.then_some(time));
        }
    }

    #[test]
    fn arbitrary_parts_never_panic(
        compression in prop_oneof![Just("none"), Just("lz4"), Just("bitshuffle_lz4")],
        parts in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..60), 0..6),
    ) {
        let main = format!(r#"{{"htype":"bsr_m-1.1","pulse_id":1,"dh_compression":"{compression}"}}"#);
        let parts = std::iter::once(Frame::from(main)).chain(parts.into_iter().map(Frame::from));
        let _ = StreamMessage::decode(&parts.collect());
    }

    #[test]
    fn parts_of_version_1_0_are_told_apart(
        values in proptest::collection::vec(proptest::option::of(1..40_usize), 0..6), end: bool, pairs: bool,
    ) {
        let channels: Vec<_> = (0..values.len()).map(|n| serde_json::json!({"name": n.to_string()})).collect();
        let data_header = serde_json::json!({"htype": "bsr_d-1.0", "channels": channels}).to_string();
        let mut parts = vec![Frame::from(r#"{"htype":"bsr_m-1.0"}"#), Frame::from(data_header)];
        for value in &values {
            match value {
                Some(len) => parts.extend([Frame::from(vec![7; *len]), Frame::from(stamp())]),
                None if pairs => parts.extend([Frame::new(), Frame::new()]),
                None => parts.push(Frame::new()),
            }
        }
        if end && !pairs {
            parts.push(Frame::new());
        }
        let decoded = StreamMessage::decode(&Message::from(parts)).unwrap();
        let pulse = decoded.as_pulse().unwrap();
        prop_assert_eq!(pulse.iter().count(), values.len());
        for (reading, value) in pulse.iter().zip(values) {
            prop_assert_eq!(reading.data().len(), value.unwrap_or(0));
            prop_assert_eq!(reading.timestamp(), Ok(value.map(|_| NOW)));
        }
    }

    #[test]
    fn parts_of_version_1_0_of_any_length_never_panic(lengths in proptest::collection::vec(prop_oneof![
        Just(0_usize), Just(8), Just(16), 0..20_usize,
    ], 0..9)) {
        let data_header = r#"{"htype":"bsr_d-1.0","channels":[{"name":"a"},{"name":"b"},{"name":"c"}]}"#;
        let first = [Frame::from(r#"{"htype":"bsr_m-1.0"}"#), Frame::from(data_header)];
        let values = lengths.into_iter().map(|len| Frame::from(vec![1; len]));
        if let Ok(decoded) = StreamMessage::decode(&first.into_iter().chain(values).collect()) {
            let pulse = decoded.as_pulse().unwrap();
            prop_assert_eq!(pulse.iter().count(), 3);
            for reading in pulse.iter() {
                let _ = (reading.value(), reading.timestamp());
            }
        }
    }

    #[test]
    fn arbitrary_channels_and_values_never_panic(
        kind in "(u?int(8|16|32|64)|float(32|64)|string|bool|[a-z]{0,4})", encoding in "little|big|x",
        compression in "none|lz4|bitshuffle_lz4|x", shape in proptest::collection::vec(0..100_000_u64, 0..4),
        data: Vec<u8>, timestamp in proptest::collection::vec(any::<u8>(), 14..18),
    ) {
        let channels = serde_json::json!([
            {"name": "c", "type": kind, "encoding": encoding, "compression": compression, "shape": shape},
        ]);
        let message = message(r#"{"htype":"bsr_m-1.1"}"#, &channels.to_string(), &[(&data, &timestamp)]);
        let decoded = StreamMessage::decode(&message).unwrap();
        let reading = decoded.as_pulse().unwrap().get("c").unwrap();
        let _ = (reading.value_within(1 << 20), reading.timestamp());
    }

    #[test]
    fn layouts_of_channels_are_those_of_their_arrays(columns in 1..50_usize, rows in 1..50_usize) {
        let channel = Channel::number("c", ElementType::Float32).shape(&[columns, rows]);
        let layout = Layout::new(ElementType::Float32, Endianness::NATIVE, &[rows, columns]).unwrap();
        prop_assert_eq!(channel.layout().unwrap(), &layout);
    }
}
