//! Round trips of anything, and bytes that mean nothing.

use bytes::Bytes;
use flexbond_stream::stream2::{
    Axis, Channels, DateTime, Event, Image, Item, Message, MultiDimArray, Other, Rational, Start, is_stream2,
};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use serde_json::Value;

use crate::samples;

fn json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        (-1e9..1e9).prop_map(Value::from),
        ".{0,20}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 40, 6, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..6).prop_map(Value::from),
            vec((".{0,8}", inner), 0..6).prop_map(|entries| entries.into_iter().collect()),
        ]
    })
}

/// Data that are there: null is the same as absent.
fn item() -> impl Strategy<Value = Item> {
    json()
        .prop_filter("null is the same as absent", |value| !value.is_null())
        .prop_map(|value| Item::from_json(&value).unwrap())
}

fn array() -> impl Strategy<Value = MultiDimArray> {
    (0_usize..6, 0_usize..6).prop_flat_map(|(rows, columns)| {
        let shape = [rows, columns];
        prop_oneof![
            vec(any::<u8>(), rows * columns)
                .prop_map(move |e| MultiDimArray::from_elements(&shape, e).unwrap()),
            vec(any::<u16>(), rows * columns)
                .prop_map(move |e| MultiDimArray::from_elements(&shape, e).unwrap()),
            vec(any::<i64>(), rows * columns)
                .prop_map(move |e| MultiDimArray::from_elements(&shape, e).unwrap()),
        ]
    })
}

fn image() -> impl Strategy<Value = Image> {
    let time = || option::of((any::<u64>(), any::<u64>()).prop_map(|(n, d)| Rational::new(n, d)));
    (
        option::of(any::<u64>()),
        option::of(any::<u64>()),
        option::of(".{0,40}"),
        time(),
        time(),
        option::of(".{0,30}"),
        option::of(item()),
        option::of(vec(("[a-z_0-9]{1,12}", array()), 0..4)),
    )
        .prop_map(|(series, id, unique, real, start, date, user, data)| {
            let mut image = Image::default();
            image.series_id = series;
            image.image_id = id;
            image.series_unique_id = unique;
            image.real_time = real;
            image.start_time = start;
            image.series_date = date.map(DateTime::new);
            image.user_data = user;
            image.data = data.map(Channels::from_iter);
            image
        })
}

fn start() -> impl Strategy<Value = Start> {
    (
        option::of(any::<u64>()),
        option::of(-1e6..1e6_f64),
        option::of(any::<bool>()),
        option::of(vec(".{0,12}", 0..5)),
        option::of(vec(-10.0..10.0_f64, 3)),
        option::of(vec(("[a-z]{1,8}", (0.0..360.0_f64, -1.0..1.0_f64)), 0..4)),
        option::of(vec(("[a-z]{1,8}", array()), 0..3)),
        vec(("x[a-z]{1,8}", item()), 0..3),
    )
        .prop_map(
            |(images, center, mask, channels, translation, axes, flat, other)| {
                let mut start = Start::default();
                start.number_of_images = images;
                start.beam_center_x = center;
                start.pixel_mask_enabled = mask;
                start.channels = channels;
                start.detector_translation = translation;
                let axes =
                    axes.map(|axes| axes.into_iter().map(|(name, (at, by))| (name, Axis::new(at, by))));
                start.goniometer = axes.map(Channels::from_iter);
                start.flatfield = flat.map(Channels::from_iter);
                for field in other {
                    if start.other.iter().all(|known| known.0 != field.0) {
                        start.other.push(field);
                    }
                }
                start
            },
        )
}

/// The same item in another of its forms: lists and maps of indefinite length, texts and bytes in pieces, every number
/// in eight bytes.
fn rewrite(value: &Value, out: &mut Vec<u8>) {
    fn head(major: u8, value: u64, out: &mut Vec<u8>) {
        out.push(major << 5 | 0x1b);
        out.extend_from_slice(&value.to_be_bytes());
    }
    match value {
        Value::Null => out.push(0xf7),
        Value::Bool(value) => out.push(0xf4 + u8::from(*value)),
        Value::Number(number) => match (number.as_u64(), number.as_i64()) {
            (Some(value), _) => head(0, value, out),
            (_, Some(value)) => head(1, !value as u64, out),
            _ => {
                out.push(0xfb);
                out.extend_from_slice(&number.as_f64().unwrap().to_be_bytes());
            }
        },
        Value::String(text) => {
            out.push(0x7f);
            for piece in text.chars() {
                let piece = piece.to_string();
                head(3, piece.len() as u64, out);
                out.extend_from_slice(piece.as_bytes());
            }
            out.push(0xff);
        }
        Value::Array(list) => {
            out.push(0x9f);
            list.iter().for_each(|value| rewrite(value, out));
            out.push(0xff);
        }
        Value::Object(map) => {
            out.push(0xbf);
            for (key, value) in map {
                rewrite(&Value::from(key.as_str()), out);
                rewrite(value, out);
            }
            out.push(0xff);
        }
    }
}

/// Reads a message as far as anything can be read of it.
fn look_at(bytes: Vec<u8>) {
    let _ = is_stream2(&bytes);
    if let Ok(message) = Message::decode(bytes) {
        let _ = message.header();
        // Compared as bytes, since not every number is equal to itself.
        let again = Message::new(message.into_event()).encode();
        let message = Message::decode(again.clone()).unwrap();
        assert_eq!(Message::new(message.event().clone()).encode(), again);
        if let Event::Image(image) = message.event() {
            for (_, array) in image.data.iter().flat_map(Channels::iter) {
                let _ = (array.data_within(1 << 16), array.to_arrays().is_ok());
            }
        }
    }
}

proptest! {
    #[test]
    fn images_round_trip(image in image()) {
        let encoded = Message::new(Event::Image(image.clone())).encode();
        prop_assert!(is_stream2(&encoded));
        let message = Message::decode(encoded.clone()).unwrap();
        prop_assert_eq!(message.event(), &Event::Image(image));
        prop_assert_eq!(message.encode(), encoded);
    }

    #[test]
    fn starts_round_trip(start in start()) {
        let encoded = Message::new(Event::Start(Box::new(start.clone()))).encode();
        prop_assert_eq!(Message::decode(encoded).unwrap().into_event(), Event::Start(Box::new(start)));
    }

    #[test]
    fn items_round_trip_through_json(value in json()) {
        let item = Item::from_json(&value).unwrap();
        prop_assert_eq!(item.to_json().unwrap(), value.clone());
        prop_assert_eq!(Item::decode(item.bytes().clone()).unwrap(), item);
        let mut other = Vec::new();
        rewrite(&value, &mut other);
        prop_assert_eq!(Item::decode(other).unwrap().to_json().unwrap(), value);
    }

    #[test]
    fn other_messages_round_trip(kind in "[a-z]{1,3}x", fields in vec(("[a-z]{1,9}", item()), 0..4)) {
        let mut seen: Vec<(String, Item)> = Vec::new();
        for field in fields {
            if field.0 != "type" && seen.iter().all(|known| known.0 != field.0) {
                seen.push(field);
            }
        }
        let event = Event::Other(Other { kind, fields: seen });
        let message = Message::decode(Message::new(event.clone()).encode()).unwrap();
        prop_assert_eq!(message.into_event(), event);
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes: Vec<u8>) {
        look_at([b"\xd9\xd9\xf7".to_vec(), bytes.clone()].concat());
        look_at([b"\xa2\x64type\x65image\x64data".to_vec(), bytes.clone()].concat());
        let _ = Item::decode(bytes.clone()).map(|item| item.to_json());
        look_at(bytes);
    }

    #[test]
    fn changed_bytes_never_panic(
        sample in 0_usize..3, changes in vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let mut bytes = samples::all()[sample].to_vec();
        for (index, value) in changes {
            let at = index.index(bytes.len());
            bytes[at] = value;
        }
        look_at(bytes);
    }
}

#[test]
fn messages_are_refused_when_they_are_cut_off_anywhere() {
    for sample in samples::all() {
        for len in 0..sample.len() {
            assert!(
                Message::decode(sample.slice(..len)).is_err(),
                "{len} of {}",
                sample.len()
            );
        }
        let longer = Bytes::from([&sample[..], b"\0"].concat());
        assert!(Message::decode(longer).is_err());
    }
}
