//! Every form that CBOR and the format allow.

use bytes::Bytes;
use flexbond_stream::stream2::{
    Algorithm, Axis, ByteString, Channels, DataError, DateTime, Event, Image, Item, Message, MultiDimArray,
    NumberType, Order, Rational, Start, TypedArray, is_stream2,
};
use minicbor::data::Tag;
use serde_json::json;

use crate::build::{array_of, cbor, channel, image, start, with_field};

#[test]
fn messages_are_known_by_their_first_bytes() {
    let map = cbor(|e| {
        e.map(1).unwrap().str("type").unwrap().str("end").unwrap();
    });
    for prefix in [
        &b""[..],
        b"\xd9\xd9\xf7",
        b"\xda\x00\x00\xd9\xf7",
        b"\xdb\x00\x00\x00\x00\x00\x00\xd9\xf7",
    ] {
        let message = [prefix, &map].concat();
        assert!(is_stream2(&message), "{}", prefix.escape_ascii());
        assert_eq!(Message::decode(message).unwrap().event().kind(), "end");
    }
    assert!(is_stream2(b"\xbf\xff"));
    for other in [
        &b""[..],
        b"{}",
        b" {}",
        b"\n{}",
        b"[]",
        b"\"x\"",
        b"1",
        b"\xef\xbb\xbf{}",
        b"\x84",
        b"\xd9\xd9",
        b"\xd9\xd9\xf8",
        b"\xbc",
    ] {
        assert!(!is_stream2(other), "{}", other.escape_ascii());
    }
}

#[test]
fn keys_come_in_any_order_and_numbers_in_any_width() {
    let message = cbor(|e| {
        e.map(5).unwrap();
        e.str("series_id").unwrap();
        // 7 in eight bytes.
        e.writer_mut().extend_from_slice(b"\x1b\0\0\0\0\0\0\0\x07");
        // The key `count_time` with a length in four bytes, and 1.5 in two.
        e.writer_mut()
            .extend_from_slice(b"\x7a\0\0\0\x0acount_time\xf9\x3e\x00");
        e.str("frame_time").unwrap().f32(2.5).unwrap();
        e.str("beam_center_x").unwrap().i8(-3).unwrap();
        e.str("type").unwrap().str("start").unwrap();
    });
    let message = Message::decode(message).unwrap();
    let start = start(&message);
    assert_eq!(start.series_id, Some(7));
    assert_eq!((start.count_time, start.frame_time), (Some(1.5), Some(2.5)));
    assert_eq!(start.beam_center_x, Some(-3.0));
    assert!(start.other.is_empty());
}

#[test]
fn lengths_may_be_indefinite_everywhere() {
    let message = cbor(|e| {
        e.tag(Tag::new(55799)).unwrap().begin_map().unwrap();
        e.begin_str()
            .unwrap()
            .str("ty")
            .unwrap()
            .str("pe")
            .unwrap()
            .end()
            .unwrap();
        e.begin_str()
            .unwrap()
            .str("im")
            .unwrap()
            .str("age")
            .unwrap()
            .end()
            .unwrap();
        e.str("real_time").unwrap();
        e.begin_array()
            .unwrap()
            .u64(1)
            .unwrap()
            .u64(2)
            .unwrap()
            .end()
            .unwrap();
        e.str("data").unwrap().begin_map().unwrap().str("c").unwrap();
        e.tag(Tag::new(40)).unwrap().begin_array().unwrap();
        e.begin_array()
            .unwrap()
            .u64(2)
            .unwrap()
            .u64(2)
            .unwrap()
            .end()
            .unwrap();
        e.tag(Tag::new(65)).unwrap().begin_bytes().unwrap();
        e.bytes(&[0, 1, 0])
            .unwrap()
            .bytes(&[])
            .unwrap()
            .bytes(&[2, 0, 3, 1, 0])
            .unwrap();
        e.end().unwrap().end().unwrap();
        e.end().unwrap().end().unwrap();
    });
    let decoded = Message::decode(message.clone()).unwrap();
    let image = image(&decoded);
    assert_eq!(image.real_time, Some(Rational::new(1, 2)));
    let pixels = image.channel("c").unwrap();
    assert_eq!(pixels.shape(), [2, 2]);
    assert_eq!(pixels.to_f64().unwrap(), [1.0, 2.0, 3.0, 256.0]);
    assert_eq!(decoded.encode(), message);
}

#[test]
fn every_number_type_in_both_orders() {
    let values = [1.0, 2.0, 100.0];
    let cases: [(u64, &[u8]); 22] = [
        (64, &[1, 2, 100]),
        (68, &[1, 2, 100]),
        (72, &[1, 2, 100]),
        (65, &[0, 1, 0, 2, 0, 100]),
        (69, &[1, 0, 2, 0, 100, 0]),
        (73, &[0, 1, 0, 2, 0, 100]),
        (77, &[1, 0, 2, 0, 100, 0]),
        (66, &[0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 100]),
        (70, &[1, 0, 0, 0, 2, 0, 0, 0, 100, 0, 0, 0]),
        (74, &[0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 100]),
        (78, &[1, 0, 0, 0, 2, 0, 0, 0, 100, 0, 0, 0]),
        (
            67,
            &[
                0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 100,
            ],
        ),
        (
            71,
            &[
                1, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 100, 0, 0, 0, 0, 0, 0, 0,
            ],
        ),
        (
            75,
            &[
                0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 100,
            ],
        ),
        (
            79,
            &[
                1, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 100, 0, 0, 0, 0, 0, 0, 0,
            ],
        ),
        (80, &[0x3c, 0, 0x40, 0, 0x56, 0x40]),
        (84, &[0, 0x3c, 0, 0x40, 0x40, 0x56]),
        (81, &[0x3f, 0x80, 0, 0, 0x40, 0, 0, 0, 0x42, 0xc8, 0, 0]),
        (85, &[0, 0, 0x80, 0x3f, 0, 0, 0, 0x40, 0, 0, 0xc8, 0x42]),
        (
            82,
            &[
                0x3f, 0xf0, 0, 0, 0, 0, 0, 0, 0x40, 0, 0, 0, 0, 0, 0, 0, 0x40, 0x59, 0, 0, 0, 0, 0, 0,
            ],
        ),
        (
            86,
            &[
                0, 0, 0, 0, 0, 0, 0xf0, 0x3f, 0, 0, 0, 0, 0, 0, 0, 0x40, 0, 0, 0, 0, 0, 0, 0x59, 0x40,
            ],
        ),
        (87, &[0; 48]),
    ];
    for (tag, bytes) in cases {
        let array = channel(|e| {
            array_of(e, 40, &[3], tag).bytes(bytes).unwrap();
        })
        .unwrap();
        assert_eq!(array.number_type(), NumberType::from_tag(tag).unwrap());
        assert_eq!(array.data().unwrap(), bytes, "{tag}");
        if tag == 87 {
            assert_eq!(array.to_f64(), Err(DataError::NoNumber("float128")));
            assert!(matches!(array.to_arrays(), Err(DataError::NoNumber(_))));
        } else {
            assert_eq!(array.to_f64().unwrap(), values, "{tag}");
            assert_eq!(array.to_arrays().unwrap().get(0).unwrap().len(), 3, "{tag}");
        }
    }
}

#[test]
fn column_major_arrays_come_with_their_dimensions_reversed() {
    let array = channel(|e| {
        array_of(e, 1040, &[2, 3], 64).bytes(b"abcdef").unwrap();
    })
    .unwrap();
    assert_eq!((array.order(), array.shape()), (Order::ColumnMajor, &[2, 3][..]));
    let arrays = array.to_arrays().unwrap();
    // Element [1][2] of the array travels last, and is [2][1] of the view.
    assert_eq!(arrays.layout().shape(), [3, 2]);
    assert_eq!(arrays.get(0).unwrap().bytes(), b"abcdef");
}

#[test]
fn arrays_of_other_dimensions() {
    let point = channel(|e| {
        array_of(e, 40, &[], 64).bytes(b"x").unwrap();
    })
    .unwrap();
    assert_eq!((point.shape(), point.size()), (&[][..], 1));
    let empty = channel(|e| {
        array_of(e, 40, &[0, u64::MAX], 67).bytes(b"").unwrap();
    })
    .unwrap();
    assert_eq!((empty.size(), empty.data().unwrap().len()), (0, 0));
    let cube = channel(|e| {
        array_of(e, 40, &[1, 2, 3], 65).bytes(&[0; 12]).unwrap();
    })
    .unwrap();
    assert_eq!(cube.to_arrays().unwrap().layout().shape(), [1, 2, 3]);
}

#[test]
fn arrays_are_slices_of_the_message() {
    let pixels = MultiDimArray::from_elements(&[100, 100], vec![7_u32; 10_000]).unwrap();
    let mut sent = Image::default();
    sent.data = Some(Channels::from_iter([("threshold_1", pixels)]));
    sent.user_data = Some(Item::from_json(&json!({ "k": "v".repeat(100) })).unwrap());
    let encoded = Message::new(Event::Image(sent)).encode();
    let received = Message::decode(encoded.clone()).unwrap();
    let image = image(&received);
    let data = image.channel("threshold_1").unwrap().data().unwrap();
    let memory = encoded.as_ptr_range();
    assert!(memory.contains(&data.as_ptr()));
    assert!(memory.contains(&image.user_data.as_ref().unwrap().bytes().as_ptr()));
    assert_eq!(received.encode().as_ptr(), encoded.as_ptr());
}

#[test]
fn forwarding_keeps_every_byte_and_rewriting_every_field() {
    let message = cbor(|e| {
        e.begin_map().unwrap();
        e.str("firmware")
            .unwrap()
            .begin_array()
            .unwrap()
            .u8(1)
            .unwrap()
            .end()
            .unwrap();
        e.str("type").unwrap().str("end").unwrap();
        e.str("series_id").unwrap();
        e.writer_mut().extend_from_slice(b"\x19\x00\x05");
        e.str("series_unique_id").unwrap().undefined().unwrap();
        e.end().unwrap();
    });
    let decoded = Message::decode(message.clone()).unwrap();
    assert_eq!(decoded.encode(), message);
    assert_eq!(decoded.series_id(), Some(5));

    let Event::End(mut end) = decoded.into_event() else {
        panic!("an end was written")
    };
    assert_eq!(end.series_unique_id, None);
    end.series_id = Some(6);
    let again = Message::decode(Message::new(Event::End(end)).encode()).unwrap();
    let Event::End(end) = again.event() else {
        panic!("an end was written")
    };
    assert_eq!(end.series_id, Some(6));
    assert_eq!(end.other.len(), 1);
    assert_eq!(
        (end.other[0].0.as_str(), &end.other[0].1.bytes()[..]),
        ("firmware", &b"\x9f\x01\xff"[..])
    );
}

#[test]
fn a_field_of_another_form_is_kept_and_does_no_harm() {
    // As emulators of the detectors send them.
    let message = cbor(|e| {
        e.map(9).unwrap().str("type").unwrap().str("start").unwrap();
        e.str("pixel_mask").unwrap().array(0).unwrap();
        e.str("flatfield").unwrap().array(0).unwrap();
        e.str("countrate_correction_lookup_table")
            .unwrap()
            .array(1)
            .unwrap()
            .u8(0)
            .unwrap();
        e.str("user_data").unwrap().str("").unwrap();
        e.str("saturation_value").unwrap().null().unwrap();
        e.str("series_id").unwrap().str("FIX").unwrap();
        e.str("arm_date").unwrap().str("2026-01-02T03:04:05Z").unwrap();
        e.str("beam_center_x").unwrap().u64(1056).unwrap();
    });
    let message = Message::decode(message).unwrap();
    let start = start(&message);
    assert_eq!(start.beam_center_x, Some(1056.0));
    assert!(start.arm_date.as_ref().unwrap().system_time().is_some());
    assert_eq!(start.saturation_value, None);
    assert_eq!(
        (&start.pixel_mask, &start.flatfield, start.series_id),
        (&None, &None, None)
    );
    let others: Vec<&str> = start.other.iter().map(|field| field.0.as_str()).collect();
    assert_eq!(
        others,
        [
            "pixel_mask",
            "flatfield",
            "countrate_correction_lookup_table",
            "series_id"
        ]
    );
    assert_eq!(start.user_data.as_ref().unwrap().to_json().unwrap(), json!(""));
}

#[test]
fn tags_before_values_are_passed_over() {
    let message = with_field("start", "arm_date", |e| {
        e.tag(Tag::new(21))
            .unwrap()
            .tag(Tag::new(0))
            .unwrap()
            .str("2026-01-02T03:04:05Z")
            .unwrap();
    });
    let message = Message::decode(message).unwrap();
    assert_eq!(
        start(&message).arm_date,
        Some(DateTime::new("2026-01-02T03:04:05Z"))
    );
}

#[test]
fn messages_of_another_type_are_delivered() {
    let message = with_field("calibration", "pedestal", |e| {
        e.bytes(b"abc").unwrap();
    });
    let decoded = Message::decode(message.clone()).unwrap();
    let Event::Other(other) = decoded.event() else {
        panic!("another type was written")
    };
    assert_eq!(
        (other.kind.as_str(), other.fields[0].0.as_str()),
        ("calibration", "pedestal")
    );
    assert_eq!(decoded.encode(), message);
    assert_eq!(
        decoded.header().to_string(),
        r#"{"htype":"stream2-calibration","pedestal":{"bytes":3}}"#
    );
    let numbered = with_field("metadata", "series_id", |e| {
        e.u8(9).unwrap();
    });
    let header = Message::decode(numbered).unwrap().header();
    assert_eq!(
        (header.htype(), header.number("series")),
        ("stream2-metadata", Some(9))
    );
    let again = Message::new(decoded.event().clone());
    assert_eq!(Message::decode(again.encode()).unwrap().event(), decoded.event());
}

#[test]
fn headers_sum_up_what_a_message_says() {
    let pixels = MultiDimArray::from_elements(&[2, 3], vec![0_u16; 6]).unwrap();
    let mut sent = Image::default();
    sent.series_id = Some(3);
    sent.image_id = Some(0);
    sent.real_time = Some(Rational::new(1, 50));
    sent.series_date = Some(DateTime::new("2026-01-02T03:04:05Z"));
    sent.data = Some(Channels::from_iter([("threshold_1", pixels)]));
    sent.other
        .push(("htype".to_owned(), Item::from_json(&json!("raw-1.0")).unwrap()));
    sent.other
        .push(("frame".to_owned(), Item::from_json(&json!(99)).unwrap()));
    let message = Message::new(Event::Image(sent));
    let header = message.header();
    assert_eq!((header.htype(), header.frame()), ("stream2-image", Some(0)));
    assert_eq!(
        serde_json::Value::Object(header.fields().clone()),
        json!({
            "htype": "stream2-image", "series": 3, "frame": 0, "real_time": [1, 50],
            "series_date": "2026-01-02T03:04:05Z",
            "data": {"threshold_1": {"type": "uint16", "shape": [2, 3], "compression": null, "size": 12}},
        })
    );

    let mut large = Image::default();
    large.user_data = Some(Item::from_json(&json!(vec![0; 2000])).unwrap());
    let header = Message::new(Event::Image(large)).header();
    assert_eq!(header.get("user_data"), Some(&json!({ "bytes": 2003 })));
}

#[test]
fn items_of_any_kind_become_json() {
    let item = cbor(|e| {
        e.map(11).unwrap();
        e.str("int").unwrap().i64(-5).unwrap();
        e.str("most").unwrap().u64(u64::MAX).unwrap();
        e.str("least").unwrap();
        e.writer_mut()
            .extend_from_slice(b"\x3b\xff\xff\xff\xff\xff\xff\xff\xff");
        e.str("half").unwrap();
        e.writer_mut().extend_from_slice(b"\xf9\x3c\x00");
        e.str("nan").unwrap().f64(f64::NAN).unwrap();
        e.str("bytes").unwrap().bytes(&[0; 9]).unwrap();
        e.str("simple").unwrap().simple(40).unwrap();
        e.str("undefined").unwrap().undefined().unwrap();
        e.u8(7).unwrap().bool(true).unwrap();
        e.str("tagged")
            .unwrap()
            .tag(Tag::new(32))
            .unwrap()
            .str("http://x")
            .unwrap();
        e.str("list")
            .unwrap()
            .array(2)
            .unwrap()
            .null()
            .unwrap()
            .map(0)
            .unwrap();
    });
    assert_eq!(
        Item::decode(item).unwrap().to_json().unwrap(),
        json!({
            "int": -5, "most": u64::MAX, "least": -18_446_744_073_709_551_616_f64, "half": 1.0, "nan": null,
            "bytes": {"bytes": 9}, "simple": 40, "undefined": null, "7": true, "tagged": "http://x",
            "list": [null, {}],
        })
    );
}

#[test]
fn a_detector_is_played() {
    let mask = MultiDimArray::from_elements(&[2, 2], vec![0_u32, 1, 2, 1 << 31]).unwrap();
    let mut sent = Start::default();
    sent.series_id = Some(1);
    sent.series_unique_id = Some("01TEST".to_owned());
    sent.channels = Some(vec!["threshold_1".to_owned()]);
    sent.goniometer = Some(Channels::from_iter([("omega", Axis::new(10.0, 0.5))]));
    sent.countrate_correction_lookup_table = Some(TypedArray::from_elements(vec![0_u32, 1, 3]).unwrap());
    sent.pixel_mask = Some(Channels::from_iter([("threshold_1", mask)]));
    sent.threshold_energy = Some(Channels::from_iter([("threshold_1", 6350.0)]));
    let message = Message::decode(Message::new(Event::Start(Box::new(sent.clone()))).encode()).unwrap();
    let received = start(&message);
    assert_eq!(received, &sent);
    let table = received.countrate_correction_lookup_table.as_ref().unwrap();
    assert_eq!(table.to_f64().unwrap(), [0.0, 1.0, 3.0]);
    assert_eq!(table.to_arrays().unwrap().layout().shape(), [3]);
}

#[test]
fn compressed_arrays_round_trip() {
    let values: Vec<u32> = (0..37 * 53).map(|i| i % 7).collect();
    let plain = MultiDimArray::from_elements(&[37, 53], values).unwrap();
    for algorithm in [Algorithm::BitshuffleLz4, Algorithm::Lz4] {
        let small = plain.compress(algorithm.clone()).unwrap();
        assert!(small.stored().stored().len() < plain.size() / 2);
        let ByteString::Compressed(compressed) = small.stored() else {
            panic!("it was compressed")
        };
        let element_size = if algorithm == Algorithm::Lz4 { 0 } else { 4 };
        assert_eq!(compressed.element_size(), Some(element_size));

        let mut sent = Image::default();
        sent.data = Some(Channels::from_iter([("c", small)]));
        let message = Message::decode(Message::new(Event::Image(sent)).encode()).unwrap();
        let received = image(&message).channel("c").unwrap();
        assert_eq!(received.stored().compression(), Some(algorithm.name()));
        assert_eq!(received.data().unwrap(), plain.data().unwrap());
        assert_eq!(received.data_within(plain.size()).unwrap().len(), plain.size());
        let size = plain.size();
        assert_eq!(
            received.data_within(size - 1),
            Err(DataError::TooLarge {
                size,
                limit: size - 1
            })
        );
        let mut out = vec![0; size];
        received.data_into(&mut out).unwrap();
        assert_eq!(out, plain.data().unwrap());
        assert!(matches!(
            received.data_into(&mut out[1..]),
            Err(DataError::Size { .. })
        ));
        // Compressed once more, with the other algorithm.
        let other = received.compress(Algorithm::Lz4).unwrap();
        assert_eq!(other.data().unwrap(), plain.data().unwrap());
    }
    let unknown = plain.compress(Algorithm::Other("zstd".to_owned()));
    assert_eq!(unknown, Err(DataError::Algorithm("zstd".to_owned())));
}

#[test]
fn frames_are_taken_as_they_are() {
    let message = cbor(|e| {
        e.map(1).unwrap().str("type").unwrap().str("end").unwrap();
    });
    let frame = flexbond_transport::Frame::from(message.clone());
    assert_eq!(Message::decode(frame).unwrap().encode(), message);
    assert_eq!(Message::decode(message.to_vec()).unwrap().encode(), message);
    assert_eq!(
        Message::decode(Bytes::from(message.to_vec()))
            .unwrap()
            .event()
            .kind(),
        "end"
    );
}
