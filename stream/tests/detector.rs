//! Detector messages as detectors and emulators write them, and as they arrive when something went wrong.

use flexbond_stream::compression::Codec;
use flexbond_stream::detector::{
    Calibration, DetectorError, DetectorHeader, DetectorImage, HeaderDetail, Times,
};
use flexbond_stream::{
    Array, Body, DecodeError, ElementType, Encoding, Endianness, Layout, LoadError, StreamMessage,
};
use flexbond_transport::{Frame, Message};
use proptest::prelude::*;

fn decode(parts: &[&[u8]]) -> Result<StreamMessage, DecodeError> {
    StreamMessage::decode(&parts.iter().copied().collect())
}

fn detector_error(message: &Message) -> DetectorError {
    match StreamMessage::decode(message) {
        Err(DecodeError::Detector(error)) => error,
        other => panic!("{other:?}"),
    }
}

fn detector_header(message: &StreamMessage) -> &DetectorHeader {
    match &message.body {
        Body::DetectorHeader(header) => header,
        other => panic!("{other:?}"),
    }
}

/// Written by hand after the published description of the interface, with spaces where Python puts them.
const IMAGE: [&[u8]; 4] = [
    br#"{"htype": "dimage-1.0", "series": 12, "frame": 3, "hash": "fc67f000d08fe6b380ea9434b8362d22", "extra": 1e0}"#,
    br#"{"htype": "dimage_d-1.0", "shape": [3, 2], "type": "uint16", "encoding": "<", "size": 12}"#,
    b"\x01\x00\x02\x00\x03\x00\x04\x00\x05\x00\xff\xff",
    br#"{"htype": "dconfig-1.0", "start_time": 1000, "stop_time": 3000, "real_time": 1999}"#,
];

const HEADER: [&[u8]; 8] = [
    br#"{"header_detail": "all", "htype": "dheader-1.0", "series": 12}"#,
    br#"{"description": "Dectris EIGER 1M", "count_time": 0.00999, "auto_summation": true, "nimages": 1}"#,
    br#"{"htype": "dflatfield-1.0", "shape": [2, 1], "type": "float32"}"#,
    b"\x00\x00\x80\x3f\x00\x00\x00\x40",
    br#"{"htype": "dpixelmask-1.0", "shape": [2, 1], "type": "uint32"}"#,
    b"\x00\x00\x00\x00\x01\x00\x00\x00",
    br#"{"htype": "dcountrate_table-1.0", "shape": [1, 2], "type": "float32"}"#,
    b"\x00\x00\x00\x00\x00\x00\x80\x3f",
];

#[test]
fn an_image_is_read_and_forwarded_byte_by_byte() {
    let message: Message = IMAGE.into_iter().collect();
    let decoded = StreamMessage::decode(&message).unwrap();
    let image = decoded.as_image().unwrap();
    assert_eq!((image.series(), image.frame()), (12, 3));
    assert_eq!(image.hash(), Some("fc67f000d08fe6b380ea9434b8362d22"));
    assert_eq!(image.layout().shape(), [2, 3], "slowest dimension first");
    assert_eq!(image.encoding(), Encoding::raw(Endianness::Little));
    assert_eq!(
        image.times(),
        Some(Times {
            start: 1000,
            stop: 3000,
            real: 1999
        })
    );
    let pixels = image.to_array().unwrap();
    assert_eq!(
        pixels.view().to_slice::<u16>().unwrap().as_ref(),
        [1, 2, 3, 4, 5, 65535]
    );
    assert_eq!(image.appendix(), None);
    assert_eq!(decoded.encode(), message);
}

#[test]
fn big_endian_images_are_put_in_order() {
    let mut parts = IMAGE;
    parts[1] = br#"{"htype":"dimage_d-1.0","shape":[3,2],"type":"uint16","encoding":">","size":12}"#;
    let message = decode(&parts).unwrap();
    let pixels = message.as_image().unwrap().to_array().unwrap();
    assert_eq!(pixels.layout().endianness(), Endianness::Big);
    assert_eq!(pixels.view().to_slice::<u16>().unwrap()[0], 256);
}

#[test]
fn a_header_is_read_and_forwarded_byte_by_byte() {
    for (detail, count) in [("none", 1), ("basic", 2), ("all", 8)] {
        let first = format!(r#"{{"header_detail": "{detail}", "htype": "dheader-1.0", "series": 12}}"#);
        for appendix in [false, true] {
            let mut parts: Vec<&[u8]> = HEADER[..count].to_vec();
            parts[0] = first.as_bytes();
            if appendix {
                parts.push(b"\x00 anything");
            }
            let decoded = decode(&parts).unwrap();
            let Body::DetectorHeader(header) = &decoded.body else {
                panic!("{decoded:?}")
            };
            assert_eq!(header.detail(), detail.parse::<HeaderDetail>().unwrap());
            assert_eq!(header.appendix().is_some(), appendix);
            assert_eq!(decoded.encode(), parts.iter().copied().collect());
            if detail == "all" {
                let calibration = header.calibration().unwrap();
                let flatfield = calibration.flatfield.to_array().unwrap();
                assert_eq!(flatfield.view().to_slice::<f32>().unwrap().as_ref(), [1.0, 2.0]);
                let mask = calibration.pixel_mask.to_array().unwrap();
                assert_eq!(mask.view().to_slice::<u32>().unwrap().as_ref(), [0, 1]);
                assert_eq!(calibration.countrate_table.layout().shape(), [2, 1]);
                assert_eq!(header.config().unwrap()["nimages"], 1);
            }
        }
    }
}

#[test]
fn a_missing_part_is_named() {
    for cut in 1..IMAGE.len() {
        match detector_error(&IMAGE[..cut].iter().copied().collect()) {
            DetectorError::MissingPart { part, .. } => assert_eq!(part, cut),
            other => panic!("{other:?}"),
        }
    }
    for cut in 1..HEADER.len() {
        match detector_error(&HEADER[..cut].iter().copied().collect()) {
            DetectorError::MissingPart { part, .. } => assert_eq!(part, cut),
            other => panic!("{other:?}"),
        }
    }
    // One that is missing in the middle moves the others up.
    for gone in 1..IMAGE.len() {
        let mut parts = IMAGE.to_vec();
        parts.remove(gone);
        detector_error(&parts.into_iter().collect());
    }
    for gone in 1..HEADER.len() {
        let mut parts = HEADER.to_vec();
        parts.remove(gone);
        detector_error(&parts.into_iter().collect());
    }
}

#[test]
fn surplus_parts_and_parts_that_are_not_json_are_named() {
    let mut parts = IMAGE.to_vec();
    parts.extend([&b"appendix"[..], b"surplus"]);
    assert!(matches!(
        detector_error(&parts.into_iter().collect()),
        DetectorError::SurplusParts { actual: 6, most: 5 }
    ));
    for (parts, json) in [(&IMAGE[..], &[1][..]), (&HEADER[..], &[1, 2, 4, 6])] {
        for &part in json {
            let mut parts = parts.to_vec();
            parts[part] = b"no JSON";
            match detector_error(&parts.into_iter().collect()) {
                DetectorError::Header { part: named, .. } => assert_eq!(named, part),
                other => panic!("{other:?}"),
            }
        }
    }
}

#[test]
fn fields_that_are_missing_or_wrong_are_named() {
    type Expected = fn(&DetectorError) -> bool;
    let cases: [(usize, &[u8], Expected); 8] = [
        (0, br#"{"htype":"dimage-1.0","frame":3}"#, |error| {
            matches!(
                error,
                DetectorError::Field {
                    part: 0,
                    field: "series"
                }
            )
        }),
        (0, br#"{"htype":"dimage-1.0","series":1}"#, |error| {
            matches!(
                error,
                DetectorError::Field {
                    part: 0,
                    field: "frame"
                }
            )
        }),
        (1, br#"{"htype":"dconfig-1.0"}"#, |error| {
            matches!(error, DetectorError::Htype { part: 1, .. })
        }),
        (
            1,
            br#"{"htype":"dimage_d-1.0","type":"uint16","encoding":"<"}"#,
            |error| matches!(error, DetectorError::Array { part: 1, .. }),
        ),
        (
            1,
            br#"{"htype":"dimage_d-1.0","shape":[-1,2],"type":"uint16","encoding":"<"}"#,
            |error| matches!(error, DetectorError::Array { part: 1, .. }),
        ),
        (
            1,
            br#"{"htype":"dimage_d-1.0","shape":[3,2],"type":"uint17","encoding":"<"}"#,
            |error| matches!(error, DetectorError::Array { part: 1, .. }),
        ),
        (
            1,
            br#"{"htype":"dimage_d-1.0","shape":[4294967296,4294967296,2],"type":"uint16"}"#,
            |error| matches!(error, DetectorError::Array { part: 1, .. }),
        ),
        (
            1,
            br#"{"htype":"dimage_d-1.0","shape":[3,2],"type":"uint16","encoding":7}"#,
            |error| {
                matches!(
                    error,
                    DetectorError::Field {
                        part: 1,
                        field: "encoding"
                    }
                )
            },
        ),
    ];
    for (part, text, expected) in cases {
        let mut parts = IMAGE;
        parts[part] = text;
        let error = detector_error(&parts.into_iter().collect());
        assert!(expected(&error), "{error:?}");
    }
    let cases: [&[u8]; 3] = [
        br#"{"htype":"dheader-1.0","series":1,"header_detail":1}"#,
        br#"{"htype":"dheader-1.0","series":1,"header_detail":"everything"}"#,
        br#"{"htype":"dheader-1.0","series":"1","header_detail":"none"}"#,
    ];
    for text in cases {
        assert!(matches!(
            detector_error(&[text].into_iter().collect()),
            DetectorError::Field { part: 0, .. }
        ));
    }
}

#[test]
fn data_that_lie_are_told_when_they_are_asked_for() {
    let load = |description: &str, data: &[u8]| {
        let mut parts = IMAGE;
        parts[1] = description.as_bytes();
        parts[2] = data;
        let message = decode(&parts).unwrap();
        message.as_image().unwrap().to_array()
    };
    let description = |shape: &str, encoding: &str, size: &str| {
        format!(r#"{{"htype":"dimage_d-1.0","shape":{shape},"type":"uint16","encoding":"{encoding}"{size}}}"#)
    };
    assert_eq!(
        load(&description("[3,2]", "<", ",\"size\":11"), &[0; 12]),
        Err(LoadError::Size {
            declared: 11,
            actual: 12
        })
    );
    assert_eq!(
        load(&description("[3,2]", "<", ",\"size\":13"), &[0; 12]),
        Err(LoadError::Size {
            declared: 13,
            actual: 12
        })
    );
    assert_eq!(
        load(&description("[3,2]", "<", ""), &[0; 10]),
        Err(LoadError::Length {
            expected: 12,
            actual: 10
        })
    );
    assert!(matches!(
        load(&description("[100000,100000]", "lz4<", ""), &[0; 10]),
        Err(LoadError::TooLarge {
            size: 20_000_000_000,
            ..
        })
    ));
    // Plausible shapes, implausible data.
    let pixels = Array::from_elements(&[64, 64], (0..4096_u16).collect()).unwrap();
    for encoding in ["lz4<", "bs16-lz4<", "bs16<"] {
        let good = DetectorImage::new(1, 1, &pixels, encoding.parse().unwrap());
        let data = good.data();
        assert_eq!(
            load(&description("[64,64]", encoding, ""), data).as_ref(),
            Ok(&pixels)
        );
        for shape in ["[64,63]", "[64,65]", "[8192,8192]", "[1,1]", "[0,5]"] {
            assert!(
                load(&description(shape, encoding, ""), data).is_err(),
                "{encoding} {shape}"
            );
        }
        for cut in 0..data.len() {
            assert!(
                load(&description("[64,64]", encoding, ""), &data[..cut]).is_err(),
                "{encoding} cut off at {cut}"
            );
        }
    }
}

#[test]
fn what_emulators_write_otherwise_is_understood() {
    let mut parts = IMAGE;
    // One leaves the `_` away and counts pixels; another writes times with a decimal point.
    parts[1] = br#"{"htype": "dimaged-1.0", "shape": [3, 2], "type": "uint16", "encoding": "<", "size": 6}"#;
    parts[3] =
        br#"{"real_time": 0.0, "start_time": 1.5e9, "stop_time": 2500000000.4, "htype": "dconfig-1.0"}"#;
    let decoded = decode(&parts).unwrap();
    let image = decoded.as_image().unwrap();
    assert_eq!(image.to_array().unwrap().view().to_slice::<u16>().unwrap()[4], 5);
    assert_eq!(
        image.times(),
        Some(Times {
            start: 1_500_000_000,
            stop: 2_500_000_000,
            real: 0
        })
    );
    assert_eq!(decoded.encode(), parts.iter().copied().collect());
    parts[3] = br#"{"htype": "dconfig-1.0", "start_time": -1.5, "stop_time": 2, "real_time": 3}"#;
    assert_eq!(decode(&parts).unwrap().as_image().unwrap().times(), None);
}

#[test]
fn an_image_whose_configuration_is_no_json_is_read_without_its_times() {
    let mut parts = IMAGE;
    // What an emulator of a detector sends that one can install: the numbers were never put in.
    parts[3] =
        br#"{"htype":"dconfig-1.0","real_time":%f,"start_time":%f,"stop_time":%f (real, start, stop)}"#;
    let appended = [&parts[..], &[b"appendix"]].concat();
    for parts in [&parts[..], &appended] {
        let decoded = decode(parts).unwrap();
        let image = decoded.as_image().unwrap();
        assert_eq!(image.to_array().unwrap().view().to_slice::<u16>().unwrap()[4], 5);
        assert_eq!((image.times(), image.config().fields().len()), (None, 1));
        assert_eq!(image.appendix().is_some(), parts.len() == 5);
        assert_eq!(decoded.encode(), parts.iter().copied().collect());
    }
    parts[3] = br#"{"htype":"dimage_d-1.0"}"#;
    assert!(matches!(
        detector_error(&parts.into_iter().collect()),
        DetectorError::Htype { part: 3, .. }
    ));
}

#[test]
fn a_header_that_does_not_say_how_much_it_says_is_read_by_its_parts() {
    let first = &br#"{"htype":"dheader-1.0","series":12}"#[..];
    let null = &br#"{"htype":"dheader-1.0","series":12,"header_detail":null}"#[..];
    for (len, detail) in [
        (1, HeaderDetail::None),
        (2, HeaderDetail::Basic),
        (8, HeaderDetail::All),
    ] {
        for first in [first, null] {
            let parts = [&[first], &HEADER[1..len]].concat();
            let decoded = decode(&parts).unwrap();
            let header = detector_header(&decoded);
            assert_eq!(
                (header.detail(), header.appendix()),
                (detail, None),
                "{len} parts"
            );
            assert_eq!(decoded.encode(), parts.iter().copied().collect());
        }
    }
    let appended = [&[first], &HEADER[1..], &[b"appendix"]].concat();
    assert!(detector_header(&decode(&appended).unwrap()).appendix().is_some());
    detector_error(&[&[first], &HEADER[1..4]].concat().into_iter().collect());
}

#[test]
fn an_image_whose_encoding_is_not_known_is_delivered_as_it_came() {
    let mut parts = IMAGE;
    parts[1] = br#"{"htype":"dimage_d-1.0","shape":[3,2],"type":"uint16","encoding":"adsc"}"#;
    let decoded = decode(&parts).unwrap();
    assert!(decoded.is_unknown());
    assert_eq!(decoded.unknown_encoding().unwrap().0, "adsc");
    assert_eq!(
        (decoded.header.series(), decoded.header.frame()),
        (Some(12), Some(3))
    );
    assert_eq!(decoded.encode(), parts.iter().copied().collect());
}

#[test]
fn bitshuffle_without_its_header_is_read() {
    // As an emulator sends it: what `bitshuffle.compress_lz4` of Python returns, and nothing before it.
    let pixels = Array::from_elements(&[64, 130], (0..8320_u16).map(|pixel| pixel % 7).collect()).unwrap();
    let bare = Codec::BitshuffleLz4Bare.compress(pixels.data(), 2);
    let description = format!(
        r#"{{"htype": "dimage_d-1.0", "shape": [130, 64], "encoding": "bs16-lz4<", "type": "uint16", "size": {}}}"#,
        bare.len()
    );
    let mut parts = IMAGE;
    parts[1] = description.as_bytes();
    parts[2] = &bare;
    let message = decode(&parts).unwrap();
    let image = message.as_image().unwrap();
    assert_eq!(image.to_array().as_ref(), Ok(&pixels));

    let load = |part: &[u8]| image.encoding().load(&Frame::from(part), image.layout(), 1 << 20);
    for cut in 0..bare.len() {
        assert!(load(&bare[..cut]).is_err(), "cut off at {cut}");
    }
    assert!(load(&[&bare[..], b"x"].concat()).is_err());
}

#[test]
fn a_type_may_be_spelt_as_numpy_does() {
    let mut parts = IMAGE;
    for (description, pixel) in [
        (
            &br#"{"htype":"dimage_d-1.0","shape":[3,2],"type":"<u2","encoding":"<"}"#[..],
            5,
        ),
        (br#"{"htype":"dimage_d-1.0","shape":[3,2],"type":">u2"}"#, 0x500),
    ] {
        parts[1] = description;
        let image = decode(&parts).unwrap().as_image().unwrap().to_array().unwrap();
        assert_eq!(image.view().to_slice::<u16>().unwrap()[4], pixel);
    }
}

#[test]
fn bitshuffle_with_a_header_of_zeros_is_read() {
    // As an emulator sends it that one can install: twelve zero bytes where the lengths should be.
    let pixels = Array::from_elements(&[64, 130], (0..8320_u16).map(|pixel| pixel % 7).collect()).unwrap();
    let packed = [&[0; 12][..], &Codec::BitshuffleLz4Bare.compress(pixels.data(), 2)].concat();
    let mut parts = IMAGE;
    parts[1] = br#"{"encoding":"bs16-lz4<","htype":"dimage_d-1.0","shape":[130,64],"type":"uint16"}"#;
    parts[2] = &packed;
    let message = decode(&parts).unwrap();
    let image = message.as_image().unwrap();
    assert_eq!(image.to_array().as_ref(), Ok(&pixels));
    assert_eq!(message.encode(), parts.iter().copied().collect());

    let load = |part: &[u8]| image.encoding().load(&Frame::from(part), image.layout(), 1 << 20);
    for cut in 0..packed.len() {
        assert!(load(&packed[..cut]).is_err(), "cut off at {cut}");
    }
    assert!(load(&[&packed[..], b"x"].concat()).is_err());
}

#[test]
fn bitshuffle_that_names_no_bits_is_of_the_elements_of_the_image() {
    let pixels = Array::from_elements(&[64, 130], (0..8320_u32).map(|pixel| pixel % 7).collect()).unwrap();
    let packed = Codec::BitshuffleLz4.compress(pixels.data(), 4);
    for encoding in ["bslz4", "bs-lz4<", "bslz4<"] {
        let description =
            format!(r#"{{"htype":"dimage_d-1.0","shape":[130,64],"type":"uint32","encoding":"{encoding}"}}"#);
        let mut parts = IMAGE;
        parts[1] = description.as_bytes();
        parts[2] = &packed;
        let message = decode(&parts).unwrap();
        let image = message.as_image().expect(encoding);
        assert_eq!(image.to_array().as_ref(), Ok(&pixels), "{encoding}");
        assert_eq!(message.encode(), parts.iter().copied().collect());
        let sent = DetectorImage::new(1, 0, &pixels, encoding.parse().unwrap());
        assert_eq!(
            sent.encoding().to_string(),
            "bs32-lz4<",
            "what is sent names them"
        );
    }
}

#[test]
fn lz4_with_the_length_that_python_writes_is_read() {
    // `lz4.block.compress` of Python puts the length before the block, and emulators send that as `lz4<`.
    for len in [6_usize, 16, 255, 4096, 65_536] {
        let pixels =
            Array::from_elements(&[1, len], (0..len).map(|pixel| pixel as u16 % 5).collect()).unwrap();
        let packed = Codec::Lz4Sized.compress(pixels.data(), 2);
        let description =
            format!(r#"{{"htype":"dimage_d-1.0","shape":[{len},1],"type":"uint16","encoding":"lz4<"}}"#);
        let mut parts = IMAGE;
        parts[1] = description.as_bytes();
        parts[2] = &packed;
        let message = decode(&parts).unwrap();
        assert_eq!(
            message.as_image().unwrap().to_array().as_ref(),
            Ok(&pixels),
            "{len} pixels"
        );
    }
    // A bare block of 160 bytes that begins with this number: ten literals, two copies, five literals.
    let block = b"\xa0\0\0\0\x01\x02\x03\x04\x05\x06\x07\x01\0\x0f\x01\0\x7a\x50ABCDE";
    let mut parts = IMAGE;
    parts[1] = br#"{"htype":"dimage_d-1.0","shape":[160,1],"type":"uint8","encoding":"lz4<"}"#;
    parts[2] = block;
    let pixels = decode(&parts).unwrap().as_image().unwrap().to_array().unwrap();
    assert!(pixels.data().starts_with(b"\0\0\0\x01\x02") && pixels.data().ends_with(b"\x07ABCDE"));
}

#[test]
fn lz4_after_a_header_of_twelve_bytes_is_read_with_and_without_the_length_of_its_block() {
    for len in [6_usize, 16, 4096, 65_536] {
        let pixels =
            Array::from_elements(&[1, len], (0..len).map(|pixel| pixel as u16 % 5).collect()).unwrap();
        let framed = Codec::Lz4Hdf5.compress(pixels.data(), 2);
        let block = Codec::Lz4Block.compress(pixels.data(), 2);
        let header = [
            (2 * len as u64).to_be_bytes().to_vec(),
            (2 * len as u32).to_be_bytes().to_vec(),
        ]
        .concat();
        let zeros = [0; 12];
        let description =
            format!(r#"{{"htype":"dimage_d-1.0","shape":[{len},1],"type":"uint16","encoding":"lz4<"}}"#);
        // The last is an emulator's, which leaves the numbers of the header at zero.
        for packed in [
            framed,
            [&header[..], &block].concat(),
            [&zeros[..], &block].concat(),
        ] {
            let mut parts = IMAGE;
            parts[1] = description.as_bytes();
            parts[2] = &packed;
            let message = decode(&parts).unwrap();
            let image = message.as_image().unwrap();
            assert_eq!(image.to_array().as_ref(), Ok(&pixels), "{len} pixels");
            let load = |part: &[u8]| image.encoding().load(&Frame::from(part), image.layout(), 1 << 20);
            assert!(
                load(&packed[..packed.len() - 1]).is_err() && load(&[&packed[..], b"x"].concat()).is_err()
            );
        }
    }
}

#[test]
fn an_image_that_is_too_large_is_refused_before_memory_is_taken() {
    let pixels = Array::from_elements(&[512, 512], vec![0_u32; 512 * 512]).unwrap();
    let image = DetectorImage::new(1, 1, &pixels, "bs32-lz4<".parse().unwrap());
    assert_eq!(
        image.to_array_within((1 << 20) - 1),
        Err(LoadError::TooLarge {
            size: 1 << 20,
            limit: (1 << 20) - 1
        })
    );
    assert_eq!(image.to_array_within(1 << 20).as_ref(), Ok(&pixels));
}

#[test]
fn an_uncompressed_image_is_not_copied() {
    let pixels = Array::from_elements(&[64, 64], vec![7_u32; 4096]).unwrap();
    let image = DetectorImage::new(1, 1, &pixels, Encoding::default());
    let message = StreamMessage::decode(&StreamMessage::from(image).encode()).unwrap();
    let array = message.as_image().unwrap().to_array().unwrap();
    assert_eq!(array.data().as_ptr(), pixels.data().as_ptr());
}

#[test]
fn one_packed_image_serves_for_many_frames() {
    let pixels = Array::from_elements(&[64, 64], vec![7_u32; 4096]).unwrap();
    let image = DetectorImage::new(1, 0, &pixels, "bs32-lz4<".parse().unwrap());
    let data = image.data().as_ptr();
    for frame in 0..3 {
        let message = StreamMessage::from(image.clone().with_series(2).with_frame(frame));
        assert_eq!(
            (message.header.series(), message.header.frame()),
            (Some(2), Some(frame))
        );
        assert_eq!(message.as_image().unwrap().data().as_ptr(), data);
        assert_eq!(message.header.text("hash"), image.hash());
    }
}

fn element_type() -> impl Strategy<Value = ElementType> {
    prop_oneof![
        Just(ElementType::UInt8),
        Just(ElementType::UInt16),
        Just(ElementType::UInt32),
        Just(ElementType::Int32),
        Just(ElementType::Float32),
        Just(ElementType::UInt64),
    ]
}

proptest! {
    #[test]
    fn images_round_trip(
        series: u64, frame: u64, element in element_type(), big: bool, shape in (0..20_usize, 0..20_usize),
        encoding in prop_oneof![Just("<"), Just("lz4<"), Just("bs16-lz4<"), Just("bs8<")], appendix: Option<Vec<u8>>,
        seed: u8,
    ) {
        let endianness = if big { Endianness::Big } else { Endianness::Little };
        let layout = Layout::new(element, endianness, &[shape.0, shape.1]).unwrap();
        let data: Vec<u8> = (0..layout.size()).map(|index| (index / 3) as u8 ^ seed).collect();
        let array = Array::new(layout, data).unwrap();
        let mut image = DetectorImage::new(series, frame, &array, encoding.parse().unwrap());
        if let Some(appendix) = &appendix {
            image = image.with_appendix(appendix.clone());
        }
        let sent = StreamMessage::from(image);
        let back = StreamMessage::decode(&sent.encode()).unwrap();
        prop_assert_eq!(&back.header, &sent.header);
        prop_assert_eq!(back.encode(), sent.encode());
        let image = back.as_image().unwrap();
        prop_assert_eq!((image.series(), image.frame()), (series, frame));
        prop_assert_eq!(image.appendix().map(|part| part.to_vec()), appendix);
        prop_assert_eq!(image.to_array().unwrap(), array);
    }

    #[test]
    fn headers_round_trip(
        series: u64, keys in proptest::collection::vec("[a-z_]{1,10}", 0..5), all: bool, appendix: Option<Vec<u8>>,
    ) {
        let config: serde_json::Map<_, _> = keys.into_iter().zip(1..).map(|(key, n)| (key, n.into())).collect();
        let table = Array::from_elements(&[2, 3], vec![0.5_f32; 6]).unwrap();
        let mut header = match all {
            true => DetectorHeader::all(series, config.clone(), Calibration::new(&table, &table, &table)),
            false => DetectorHeader::basic(series, config.clone()),
        };
        if let Some(appendix) = &appendix {
            header = header.with_appendix(appendix.clone());
        }
        let sent = StreamMessage::from(header);
        let back = StreamMessage::decode(&sent.encode()).unwrap();
        let Body::DetectorHeader(header) = &back.body else { panic!("{back:?}") };
        prop_assert_eq!(header.config(), Some(&config));
        prop_assert_eq!(header.appendix().map(|part| part.to_vec()), appendix);
        prop_assert_eq!(back.encode(), sent.encode());
    }

    #[test]
    fn arbitrary_parts_never_panic(
        htype in prop_oneof![Just("dimage-1.0"), Just("dheader-1.0"), Just("dseries_end-1.0")],
        detail in prop_oneof![Just("none"), Just("basic"), Just("all")],
        choices in proptest::collection::vec((0..10_usize, proptest::collection::vec(any::<u8>(), 0..40)), 0..10),
    ) {
        let first = format!(r#"{{"htype":"{htype}","series":1,"frame":2,"header_detail":"{detail}"}}"#);
        let known: Vec<&[u8]> = IMAGE[1..].iter().chain(&HEADER[1..]).copied().collect();
        let parts = choices.into_iter().map(|(choice, bytes)| match known.get(choice) {
            Some(part) => Frame::from(*part),
            None => Frame::from(bytes),
        });
        let message: Message = std::iter::once(Frame::from(first)).chain(parts).collect();
        if let Ok(decoded) = StreamMessage::decode(&message) {
            prop_assert_eq!(decoded.encode(), message);
            if let Some(image) = decoded.as_image() {
                let _ = image.to_array();
            }
        }
    }

    #[test]
    fn arbitrary_descriptions_and_data_never_panic(
        shape in proptest::collection::vec(0..70_000_u64, 0..4), element in element_type(),
        encoding in "(bs(8|16|32|64))?-?(lz4)?[<>]?", size in 0..60_u64, data: Vec<u8>,
    ) {
        let description = serde_json::json!({
            "htype": "dimage_d-1.0", "shape": shape, "type": element.name(), "encoding": encoding, "size": size,
        });
        let message: Message = [
            Frame::from(IMAGE[0]), Frame::from(description.to_string()), Frame::from(data), Frame::from(IMAGE[3]),
        ].into_iter().collect();
        if let Ok(decoded) = StreamMessage::decode(&message) {
            match decoded.as_image() {
                Some(image) => drop(image.to_array_within(1 << 20)),
                None => prop_assert!(decoded.is_unknown()),
            }
        }
    }
}
