//! Messages written by Python's cbor2, byte for byte.
//!
//! Made with cbor2 6.2.1, numpy 2.4.6 and bitshuffle 0.5.2: `cbor2.dumps(CBORTag(55799, message))` of a dict of
//! the fields checked below, with dates as `datetime`, arrays as `CBORTag(40, [shape, CBORTag(number, bytes)])`, and the
//! compressed one as `CBORTag(56500, ["bslz4", 2, pack(">QI", 160, 8192) + bitshuffle.compress_lz4(array)])`.
//! Dectris' published example decoders, in Python and in C, read what is written here.

use bytes::Bytes;
use flexbond_stream::stream2::{Axis, DateTime, Message, Rational};
use serde_json::json;

use crate::build::{image, start};

const START: &str = "\
d9d9f7b8216474797065657374617274697365726965735f6964182a707365726965735f756e697175655f69646e30314a42\
544553545345524945536861726d5f64617465c07820323032362d31312d30335430393a30383a30372e3235303030302b30\
313a30306d6265616d5f63656e7465725f78fb40908200000000006d6265616d5f63656e7465725f79fb4091b90000000000\
686368616e6e656c73826b7468726573686f6c645f316b7468726573686f6c645f326a636f756e745f74696d65fb3f8652bd\
3c361134781c636f756e74726174655f636f7272656374696f6e5f656e61626c6564f57821636f756e74726174655f636f72\
72656374696f6e5f6c6f6f6b75705f7461626c65d8465000000000010000000200000004000000746465746563746f725f64\
65736372697074696f6e764465637472697320454947455232205369203530304b766465746563746f725f73657269616c5f\
6e756d62657269452d30312d30303432746465746563746f725f7472616e736c6174696f6e83fb0000000000000000fb0000\
000000000000fbbfd3126e978d4fdf69666c61746669656c64a16b7468726573686f6c645f31d82882820203d85558180000\
803f0000003f000000400000803f0000803f0000803f71666c61746669656c645f656e61626c6564f46a6672616d655f7469\
6d65fb3f86872b020c49ba6a676f6e696f6d65746572a2656f6d656761a269696e6372656d656e74fb3fb999999999999a65\
7374617274fb40768000000000006974776f5f7468657461a269696e6372656d656e74fb0000000000000000657374617274\
fb40290000000000006b696d6167655f64747970656675696e7431366c696d6167655f73697a655f78036c696d6167655f73\
697a655f79026f696e636964656e745f656e65726779fb40c8ce000000000073696e636964656e745f776176656c656e6774\
68fb3fef3dd97f62b6ae706e756d6265725f6f665f696d616765730a6a706978656c5f6d61736ba26b7468726573686f6c64\
5f31d82882820203d84658180000000001000000000000000000000000000000000000806b7468726573686f6c645f32d828\
82820203d846581800000000000000000000000000000000000000000000000072706978656c5f6d61736b5f656e61626c65\
64f56c706978656c5f73697a655f78fb3f13a92a305532616c706978656c5f73697a655f79fb3f13a92a3055326170736174\
75726174696f6e5f76616c756519fffe6f73656e736f725f6d6174657269616c6253697073656e736f725f746869636b6e65\
7373fb3f3d7dbf487fcb92707468726573686f6c645f656e65726779a26b7468726573686f6c645f31fb40b8ce0000000000\
6b7468726573686f6c645f32fb40c194000000000069757365725f64617461a26673616d706c65686c79736f7a796d656372\
756e8401fb4004000000000000f6f578237669727475616c5f706978656c5f696e746572706f6c6174696f6e5f656e61626c\
6564f5";

const IMAGE: &str = "\
d9d9f7aa647479706565696d616765697365726965735f6964182a707365726965735f756e697175655f69646e30314a4254\
45535453455249455368696d6167655f696407697265616c5f74696d65821a000850e81a02faf0806b7365726965735f6461\
7465c07820323032362d31312d30335430393a30383a30372e3235303030302b30313a30306a73746172745f74696d65821a\
003abf101a02faf0806973746f705f74696d65821a00430ff81a02faf08069757365725f64617461820164f09f9299646461\
7461a26b7468726573686f6c645f31d8288282080ad845d9dcb4836562736c7a3402585100000000000000a0000020000000\
004115aa01001566010015b401002438c7020042c0073ff80400f00600f83f00ff07c0ff00f80000c0ffff070000ffff0001\
0033f8ffff0a000f0200335000000000006b7468726573686f6c645f32d82882820203d8454c0000030006001e0021002400";

const END: &str = "\
d9d9f7a3647479706563656e64697365726965735f6964182a707365726965735f756e697175655f69646e30314a42544553\
54534552494553";

/// The bytes of all samples.
pub(crate) fn all() -> [Bytes; 3] {
    [START, IMAGE, END].map(bytes)
}

fn bytes(hex: &str) -> Bytes {
    let digits: Vec<u8> = hex
        .chars()
        .map(|digit| digit.to_digit(16).unwrap() as u8)
        .collect();
    digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

#[test]
fn a_start_message_is_understood() {
    let message = Message::decode(bytes(START)).unwrap();
    let start = start(&message);
    assert_eq!(start.series_id, Some(42));
    assert_eq!(start.series_unique_id.as_deref(), Some("01JBTESTSERIES"));
    assert_eq!(
        start.arm_date,
        Some(DateTime::new("2026-11-03T09:08:07.250000+01:00"))
    );
    assert_eq!(
        (start.beam_center_x, start.beam_center_y),
        (Some(1056.5), Some(1134.25))
    );
    assert_eq!(start.channels.as_deref().unwrap(), ["threshold_1", "threshold_2"]);
    assert_eq!((start.count_time, start.frame_time), (Some(0.0109), Some(0.011)));
    assert_eq!(start.countrate_correction_enabled, Some(true));
    let table = start.countrate_correction_lookup_table.as_ref().unwrap();
    assert_eq!(table.number_type().name(), "uint32");
    assert_eq!(table.to_f64().unwrap(), [0.0, 1.0, 2.0, 4.0]);
    assert_eq!(
        start.detector_description.as_deref(),
        Some("Dectris EIGER2 Si 500K")
    );
    assert_eq!(start.detector_serial_number.as_deref(), Some("E-01-0042"));
    assert_eq!(start.detector_translation.as_deref().unwrap(), [0.0, 0.0, -0.298]);
    let flat = start.flatfield.as_ref().unwrap().get("threshold_1").unwrap();
    assert_eq!(
        flat.to_arrays()
            .unwrap()
            .get(0)
            .unwrap()
            .to_slice::<f32>()
            .unwrap()[..3],
        [1.0, 0.5, 2.0]
    );
    assert_eq!(start.flatfield_enabled, Some(false));
    let axes = start.goniometer.as_ref().unwrap();
    assert_eq!(axes.get("omega"), Some(&Axis::new(360.0, 0.1)));
    assert_eq!(axes.get("two_theta"), Some(&Axis::new(12.5, 0.0)));
    assert_eq!(start.image_dtype.as_deref(), Some("uint16"));
    assert_eq!((start.image_size_x, start.image_size_y), (Some(3), Some(2)));
    assert_eq!(start.incident_energy, Some(12_700.0));
    assert_eq!(start.incident_wavelength, Some(0.9763));
    assert_eq!(start.number_of_images, Some(10));
    let masks = start.pixel_mask.as_ref().unwrap();
    assert_eq!(masks.len(), 2);
    let mask = masks.get("threshold_1").unwrap();
    assert_eq!(
        (mask.shape(), mask.to_f64().unwrap()[5]),
        (&[2, 3][..], 2_147_483_648.0)
    );
    assert_eq!(start.pixel_mask_enabled, Some(true));
    assert_eq!(
        (start.pixel_size_x, start.pixel_size_y),
        (Some(7.5e-5), Some(7.5e-5))
    );
    assert_eq!(start.saturation_value, Some(65_534));
    assert_eq!(start.sensor_material.as_deref(), Some("Si"));
    assert_eq!(start.sensor_thickness, Some(4.5e-4));
    assert_eq!(
        start.threshold_energy.as_ref().unwrap().get("threshold_2"),
        Some(&9000.0)
    );
    assert_eq!(
        start.user_data.as_ref().unwrap().to_json().unwrap(),
        json!({"sample": "lysozyme", "run": [1, 2.5, null, true]})
    );
    assert_eq!(start.virtual_pixel_interpolation_enabled, Some(true));
    assert!(start.other.is_empty());
    let header = message.header();
    assert_eq!(
        (header.htype(), header.number("series")),
        ("stream2-start", Some(42))
    );
    assert_eq!(header.get("number_of_images"), Some(&json!(10)));
}

#[test]
fn an_image_is_understood() {
    let message = Message::decode(bytes(IMAGE)).unwrap();
    assert_eq!((message.series_id(), message.image_id()), (Some(42), Some(7)));
    let image = image(&message);
    assert_eq!(image.real_time, Some(Rational::new(545_000, 50_000_000)));
    assert_eq!(image.start_time.unwrap().seconds(), Some(0.077));
    assert_eq!(image.stop_time, Some(Rational::new(4_395_000, 50_000_000)));
    assert_eq!(
        image.series_date,
        Some(DateTime::new("2026-11-03T09:08:07.250000+01:00"))
    );
    assert_eq!(
        image.user_data.as_ref().unwrap().to_json().unwrap(),
        json!([1, "💙"])
    );
    assert!(image.other.is_empty());
    let plain = image.channel("threshold_2").unwrap();
    assert_eq!(plain.to_f64().unwrap(), [0.0, 3.0, 6.0, 30.0, 33.0, 36.0]);
    let header = message.header();
    assert_eq!((header.htype(), header.frame()), ("stream2-image", Some(7)));
    assert_eq!(header.get("data").unwrap()["threshold_1"]["compression"], "bslz4");
}

#[test]
fn the_pixels_of_bitshuffle_are_read() {
    let message = Message::decode(bytes(IMAGE)).unwrap();
    let array = image(&message).channel("threshold_1").unwrap();
    assert_eq!(
        (array.shape(), array.stored().compression()),
        (&[8, 10][..], Some("bslz4"))
    );
    let arrays = array.to_arrays().unwrap();
    let expected: Vec<u16> = (0..80).map(|i| i * 3 % 251).collect();
    assert_eq!(
        arrays.get(0).unwrap().to_slice::<u16>().unwrap().as_ref(),
        expected
    );
}

#[test]
fn an_end_is_understood() {
    let message = Message::decode(bytes(END)).unwrap();
    assert_eq!(message.series_id(), Some(42));
    assert_eq!(
        message.header().to_string(),
        r#"{"htype":"stream2-end","series":42,"series_unique_id":"01JBTESTSERIES"}"#
    );
}

#[test]
fn what_is_written_is_what_cbor2_writes() {
    for sample in all() {
        let event = Message::decode(sample.clone()).unwrap().into_event();
        assert_eq!(Message::new(event).encode(), sample);
    }
}
