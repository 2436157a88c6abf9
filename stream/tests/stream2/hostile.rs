//! Messages that are broken, cut off, or lie.

use flexbond_stream::stream2::{
    Algorithm, ByteString, Compressed, DataError, DecodeError, Item, MAX_DEPTH, MAX_ENTRIES, Message,
    MultiDimArray, NumberType, ShapeError, TypedArray,
};
use minicbor::data::Tag;
use serde_json::json;

use crate::build::{Encoder, array_of, cbor, channel, with_channel, with_field};

fn error(message: impl Into<bytes::Bytes>) -> DecodeError {
    Message::decode(message).expect_err("the message is broken")
}

#[test]
fn what_is_no_map_is_refused() {
    for message in [
        &b"\x80"[..],
        b"\x00",
        b"\xc0\x60",
        b"\xd9\xd9\xf7\xf6",
        b"\x40",
        b"\xd9\xd9\xf6\xa0",
    ] {
        assert_eq!(error(message), DecodeError::NotAMap, "{}", message.escape_ascii());
    }
    for message in [
        &b""[..],
        b"\xd9\xd9\xf7",
        b"\xff",
        b"\xfc",
        b"\xbc",
        b"{\"htype\":\"raw-1.0\"}",
    ] {
        let error = error(message);
        assert!(
            matches!(error, DecodeError::Malformed { .. } | DecodeError::NotAMap),
            "{}: {error}",
            message.escape_ascii()
        );
    }
    // A key that is a number.
    assert_eq!(error(&b"\xa1\x01\x02"[..]), DecodeError::NotAMap);
}

#[test]
fn a_message_needs_a_type() {
    assert_eq!(error(&b"\xa0"[..]), DecodeError::NoType);
    assert_eq!(error(&b"\xa1\x64type\x01"[..]), DecodeError::NoType);
    assert_eq!(error(&b"\xa1\x64type\xf6"[..]), DecodeError::NoType);
}

#[test]
fn what_follows_the_message_is_refused() {
    assert_eq!(error(&b"\xa1\x64type\x63end\x00"[..]), DecodeError::Trailing(1));
    assert_eq!(Item::decode(&b"\x01\x02"[..]), Err(DecodeError::Trailing(1)));
}

#[test]
fn a_key_that_comes_twice_is_refused() {
    let twice = b"\xa3\x64type\x63end\x61a\x01\x61a\x02";
    assert_eq!(error(&twice[..]), DecodeError::DuplicateField("a".to_owned()));
    let channels = with_field("image", "data", |e| {
        e.map(2).unwrap();
        for _ in 0..2 {
            e.str("c").unwrap();
            array_of(e, 40, &[1], 64).bytes(b"x").unwrap();
        }
    });
    assert_eq!(error(channels), DecodeError::Form("data".to_owned()));
}

#[test]
fn nesting_has_a_limit() {
    let nested = |levels: usize, level: &[u8], last: &[u8]| {
        let mut item = level.repeat(levels);
        item.extend_from_slice(last);
        with_field("start", "user_data", |e| e.writer_mut().extend_from_slice(&item))
    };
    for level in [&b"\x81"[..], b"\xc1", b"\xa1\x00", b"\xd9\xd9\xf7", b"\x82\x00"] {
        assert!(Message::decode(nested(MAX_DEPTH, level, b"\x00")).is_ok());
        let error = error(nested(MAX_DEPTH + 1, level, b"\x00"));
        assert!(matches!(error, DecodeError::TooDeep { .. }), "{error}");
    }
    // So deep that a walk without a limit would leave the stack.
    for level in [&b"\x81"[..], b"\x9f", b"\xc1", b"\xbf\x00", b"\xd8\x28"] {
        assert!(matches!(
            error(nested(1_000_000, level, b"")),
            DecodeError::TooDeep { .. }
        ));
        assert!(Message::decode(level.repeat(1_000_000)).is_err());
    }
    // Tags before the map are no nesting, and are passed over one by one.
    let described = [b"\xd9\xd9\xf7".repeat(1000), b"\xa1\x64type\x63end".to_vec()].concat();
    assert!(Message::decode(described).is_ok());
}

#[test]
fn lengths_that_are_not_there_are_refused() {
    for head in [0xa0, 0x80, 0x40, 0x60] {
        for lie in [
            &[0x1b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff][..],
            &[0x1b, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
            &[0x1a, 0xff, 0xff, 0xff, 0xff],
            &[0x19, 0xff, 0xff],
        ] {
            let mut claim = lie.to_vec();
            claim[0] |= head;
            let field = with_field("start", "user_data", |e| e.writer_mut().extend_from_slice(&claim));
            assert!(
                matches!(error(field), DecodeError::Malformed { .. }),
                "{}",
                claim.escape_ascii()
            );
            assert!(Message::decode(claim).is_err());
        }
    }
}

#[test]
fn bytes_that_are_no_cbor_are_refused() {
    let broken: [&[u8]; 13] = [
        b"\x1c",
        b"\x1f",
        b"\x3e",
        b"\x5c",
        b"\x7d",
        b"\x9e",
        b"\xdf",
        b"\xfd",
        b"\xff",
        // Not UTF-8; a text in a byte string; a list that ends within a pair of a map; a list that never ends.
        b"\x62\xff\xfe",
        b"\x5f\x61a\xff",
        b"\xbf\x00\xff",
        b"\x9f\x01",
    ];
    for item in broken {
        let field = with_field("start", "user_data", |e| e.writer_mut().extend_from_slice(item));
        assert!(
            matches!(error(field), DecodeError::Malformed { .. }),
            "{}",
            item.escape_ascii()
        );
    }
}

#[test]
fn more_fields_than_any_message_has_are_refused() {
    let message = |fields: usize| {
        cbor(|e| {
            e.map(fields as u64 + 1)
                .unwrap()
                .str("type")
                .unwrap()
                .str("end")
                .unwrap();
            for field in 0..fields {
                e.str(&field.to_string()).unwrap().u8(0).unwrap();
            }
        })
    };
    assert!(Message::decode(message(MAX_ENTRIES - 1)).is_ok());
    assert_eq!(
        error(message(MAX_ENTRIES)),
        DecodeError::TooMany { limit: MAX_ENTRIES }
    );
    // Lists and maps of any length are user data, and are left as they are.
    let list = cbor(|e| {
        e.array(1 << 20).unwrap();
        e.writer_mut().resize((1 << 20) + 5, 0);
    });
    let item = Item::decode(list).unwrap();
    assert_eq!(
        item.to_json(),
        Err(DecodeError::TooMany {
            limit: Item::MAX_JSON
        })
    );
}

#[test]
fn keys_in_keys_do_not_grow_with_each_level() {
    // {{{{0: 0}: 0}: 0}: 0} and so on: as JSON in JSON, each level would be twice as long as the one inside.
    let depth = 30;
    let mut nested = vec![0xa1; depth];
    nested.resize(depth + 1 + depth, 0);
    let hexadecimal: String = nested[1..2 * depth]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let item = Item::decode(nested).unwrap();
    let key = format!("h'{hexadecimal}'");
    assert_eq!(item.to_json().unwrap(), json!({ key: 0 }));
}

#[test]
fn data_that_are_no_arrays_are_refused() {
    let forms: [fn(&mut Encoder); 9] = [
        |e| {
            e.bytes(b"raw").unwrap();
        },
        |e| {
            e.null().unwrap();
        },
        |e| {
            e.array(2).unwrap().u8(1).unwrap().u8(1).unwrap();
        },
        // A tag that is no array; a list instead of a typed array; a tag that is no typed array.
        |e| {
            e.tag(Tag::new(41)).unwrap().array(0).unwrap();
        },
        |e| {
            array_of(e, 40, &[1], 41).array(1).unwrap().u8(0).unwrap();
        },
        |e| {
            array_of(e, 40, &[1], 76).bytes(b"x").unwrap();
        },
        |e| {
            array_of(e, 40, &[1], 64).str("x").unwrap();
        },
        // Another tag than that of compression; compression of something else than three values.
        |e| {
            array_of(e, 40, &[1], 64)
                .tag(Tag::new(1))
                .unwrap()
                .bytes(b"x")
                .unwrap();
        },
        |e| {
            array_of(e, 40, &[1], 64).tag(Tag::new(56500)).unwrap();
            e.array(2).unwrap().str("lz4").unwrap().bytes(b"x").unwrap();
        },
    ];
    for form in forms {
        assert_eq!(error(with_channel(form)), DecodeError::Form("data".to_owned()));
    }
    assert_eq!(
        error(with_field("image", "data", |e| {
            e.bytes(b"raw").unwrap();
        })),
        DecodeError::Form("data".to_owned())
    );
}

#[test]
fn arrays_whose_bytes_do_not_fit_are_refused() {
    let shape_error = |shape: &[u64], number: u64, bytes: &[u8]| match channel(|e| {
        array_of(e, 40, shape, number).bytes(bytes).unwrap();
    }) {
        Err(DecodeError::Array { field, error }) => {
            assert_eq!(field, "data/c");
            error
        }
        other => panic!("{shape:?}: {other:?}"),
    };
    let length = |expected, actual| ShapeError::Length { expected, actual };
    assert_eq!(shape_error(&[2, 2], 65, &[0; 6]), length(8, 6));
    assert_eq!(shape_error(&[2, 2], 65, &[0; 10]), length(8, 10));
    assert_eq!(shape_error(&[], 67, &[]), length(8, 0));
    assert_eq!(shape_error(&[0], 64, &[1]), length(0, 1));
    assert_eq!(
        shape_error(&[3], 65, &[0; 5]),
        ShapeError::Partial { size: 5, element: 2 }
    );
    for shape in [&[u64::MAX][..], &[1 << 32, 1 << 32], &[1 << 61]] {
        assert_eq!(shape_error(shape, 67, &[]), ShapeError::Overflow(shape.to_vec()));
    }
    assert_eq!(shape_error(&[1; 65], 64, b"x"), ShapeError::TooManyDimensions(65));
    assert_eq!(
        MultiDimArray::from_elements(&[1; 100], vec![0_u8]),
        Err(ShapeError::TooManyDimensions(100))
    );
    // The same in a mask, which names its field too.
    let mask = with_field("start", "pixel_mask", |e| {
        e.map(1).unwrap().str("c").unwrap();
        array_of(e, 40, &[2], 70).bytes(&[0; 4]).unwrap();
    });
    assert_eq!(
        error(mask),
        DecodeError::Array {
            field: "pixel_mask/c".to_owned(),
            error: length(8, 4)
        }
    );
}

/// An array of `shape` of 16-bit pixels over compressed bytes.
fn compressed(shape: &[usize], algorithm: &str, element_size: u64, bytes: &[u8]) -> MultiDimArray {
    let shape: Vec<u64> = shape.iter().map(|&extent| extent as u64).collect();
    let array = channel(|e| {
        let e = array_of(e, 40, &shape, 69).tag(Tag::new(56500)).unwrap();
        e.array(3).unwrap().str(algorithm).unwrap();
        e.u64(element_size).unwrap().bytes(bytes).unwrap();
    });
    array.unwrap()
}

/// The head of both framings: the bytes of the data, and those of a block.
fn head(size: u64, block: u32) -> Vec<u8> {
    [&size.to_be_bytes()[..], &block.to_be_bytes()].concat()
}

#[test]
fn compressed_data_that_lie_about_their_size_are_refused() {
    for (algorithm, element_size) in [("bslz4", 2), ("lz4", 0)] {
        for declared in [0, 1, 31, 33, 1 << 20, 1 << 40, u64::MAX / 2, u64::MAX] {
            let blob = [head(declared, 8192), vec![0; 40]].concat();
            let array = compressed(&[4, 4], algorithm, element_size, &blob);
            let error = array.data().expect_err("a lie");
            assert!(
                matches!(
                    error,
                    DataError::Size { expected: 32, .. } | DataError::Decompress(_)
                ),
                "{algorithm} {declared}: {error}"
            );
        }
        // Dimensions and bytes agree on a size that forty bytes cannot hold.
        for side in [1 << 13, 1 << 14, 1 << 20, 1 << 28] {
            let size = side * side * 2;
            let blob = [head(size as u64, 8192), vec![0; 40]].concat();
            let error = compressed(&[side, side], algorithm, element_size, &blob)
                .data()
                .unwrap_err();
            let expected = match error {
                DataError::TooLarge { size: asked, .. } => asked == size && size > 1 << 30,
                DataError::Decompress(_) => size <= 1 << 30,
                _ => false,
            };
            assert!(expected, "{algorithm} {side}: {error}");
        }
        for short in [0, 1, 11, 12, 15] {
            let blob = &[head(32, 8192), vec![0; 4]].concat()[..short];
            assert!(compressed(&[4, 4], algorithm, element_size, blob).data().is_err());
            let mut out = [0; 32];
            assert!(
                compressed(&[4, 4], algorithm, element_size, blob)
                    .data_into(&mut out)
                    .is_err()
            );
        }
    }
}

#[test]
fn compressed_data_are_refused_when_they_are_cut_off_anywhere() {
    let values: Vec<u16> = (0..40 * 11).map(|i| i % 5 * 100).collect();
    let plain = MultiDimArray::from_elements(&[40, 11], values).unwrap();
    for algorithm in [Algorithm::BitshuffleLz4, Algorithm::Lz4] {
        let whole = plain.compress(algorithm.clone()).unwrap();
        let bytes = whole.stored().stored();
        for len in 0..bytes.len() {
            let array = compressed(&[40, 11], algorithm.name(), 2, &bytes[..len]);
            assert!(array.data().is_err(), "{algorithm:?} {len}");
        }
    }
}

#[test]
fn element_sizes_are_checked() {
    let blob = [head(32, 8192), vec![0; 40]].concat();
    for element_size in [0, 65_537, 1 << 32, u64::MAX] {
        let array = compressed(&[4, 4], "bslz4", element_size, &blob);
        assert_eq!(array.data(), Err(DataError::ElementSize), "{element_size}");
    }
    for (data, element_size) in [(&[0; 3][..], 2), (&[0; 4], 0), (&[0; 1 << 17], 1 << 17)] {
        let made = ByteString::compress(Algorithm::BitshuffleLz4, data, element_size);
        assert_eq!(made, Err(DataError::ElementSize));
    }
}

#[test]
fn unknown_compression_is_kept_and_an_error_only_when_asked() {
    let array = channel(|e| {
        let e = array_of(e, 40, &[2, 2], 69).tag(Tag::new(56500)).unwrap();
        e.array(3)
            .unwrap()
            .str("bszstd")
            .unwrap()
            .map(0)
            .unwrap()
            .bytes(b"blob")
            .unwrap();
    })
    .unwrap();
    assert_eq!(array.stored().compression(), Some("bszstd"));
    assert_eq!(array.stored().stored(), &b"blob"[..]);
    let ByteString::Compressed(compressed) = array.stored() else {
        panic!("it is compressed")
    };
    assert_eq!(compressed.element_size(), None);
    assert_eq!(array.data(), Err(DataError::Algorithm("bszstd".to_owned())));
    assert!(array.data_into(&mut [0; 8]).is_err());
}

#[test]
fn tables_of_any_size_are_bounded_too() {
    // The size of a table is said by the compressed bytes alone.
    let table = |size: u64| {
        let blob = [head(size, 8192), vec![0; 40]].concat();
        let compressed = Compressed::new(Algorithm::BitshuffleLz4, 4, blob);
        let number = NumberType::from_tag(70).unwrap();
        TypedArray::new(number, ByteString::Compressed(compressed)).unwrap()
    };
    assert!(matches!(
        table(1 << 40).data(),
        Err(DataError::TooLarge { .. } | DataError::Decompress(_))
    ));
    assert!(matches!(table(1 << 29).data(), Err(DataError::Decompress(_))));
    assert!(matches!(
        table(1 << 20).data_within(1000),
        Err(DataError::TooLarge { limit: 1000, .. } | DataError::Decompress(_))
    ));
}

#[test]
fn errors_of_data_harm_no_other_channel() {
    let message = with_field("image", "data", |e| {
        e.map(2).unwrap().str("bad").unwrap();
        array_of(e, 40, &[1], 64).tag(Tag::new(56500)).unwrap();
        e.array(3)
            .unwrap()
            .str("lz4")
            .unwrap()
            .u8(0)
            .unwrap()
            .bytes(b"x")
            .unwrap();
        e.str("good").unwrap();
        array_of(e, 40, &[1], 64).bytes(b"y").unwrap();
    });
    let message = Message::decode(message).unwrap();
    let image = crate::build::image(&message);
    assert!(image.channel("bad").unwrap().data().is_err());
    assert_eq!(image.channel("good").unwrap().data().unwrap(), "y");
}
