//! What a decoder makes of messages of all formats, one after the other.

use flexbond_stream::bsread::{Channel, DataHeader, Pulse, Sample, Timestamp};
use flexbond_stream::detector::{DetectorEnd, DetectorHeader, DetectorImage, SeriesEvent};
use flexbond_stream::stream2::{Channels, End, Event, Image, Message as Stream2, MultiDimArray, Start};
use flexbond_stream::{Array, Arrays, Body, DecodeError, Decoder, Encoding, Header, StreamMessage};
use flexbond_transport::{Frame, Message};
use proptest::prelude::*;

fn stream2(event: Event) -> Message {
    Message::from(Frame::from(Stream2::new(event).encode()))
}

fn stream2_image(series: u64, number: u64) -> Message {
    let mut image = Image::default();
    image.series_id = Some(series);
    image.image_id = Some(number);
    let pixels = MultiDimArray::from_elements(&[2, 3], vec![0_u16, 1, 2, 3, 4, 5]).unwrap();
    image.data = Some(Channels::from_iter([("threshold_1", pixels)]));
    stream2(Event::Image(image))
}

fn every_format() -> Vec<Message> {
    let pixels = Array::from_elements(&[8, 16], (0..128_u16).collect()).unwrap();
    let compressed = Arrays::from(pixels.clone()).compress("bs16-lz4<".parse().unwrap());
    let data_header = std::sync::Arc::new(DataHeader::new(vec![Channel::text("c")]));
    let now = Timestamp::default();
    let pulse = Pulse::new(1, now, &data_header, [Some(Sample::new("value", now))]).unwrap();
    vec![
        StreamMessage::raw(Header::new(""), ["a".into(), "".into()]).into(),
        StreamMessage::arrays(Header::new(""), Arrays::from(pixels.clone())).into(),
        StreamMessage::arrays(Header::new(""), compressed).into(),
        StreamMessage::from(DetectorHeader::basic(1, Default::default())).into(),
        StreamMessage::from(DetectorImage::new(1, 0, &pixels, Encoding::default())).into(),
        StreamMessage::from(DetectorEnd::new(1)).into(),
        StreamMessage::from(pulse).into(),
        stream2(Event::Start(Box::default())),
        stream2_image(1, 1),
        stream2(Event::End(End::default())),
        Message::from([r#"{ "htype" : "xspress3-1.0" }"#, "part"]),
    ]
}

#[test]
fn every_format_is_forwarded_byte_by_byte_and_alone_as_in_a_stream() {
    let mut decoder = Decoder::new();
    for message in every_format() {
        let decoded = decoder.decode(&message).unwrap();
        assert_eq!(decoded.encode(), message);
        assert_eq!(StreamMessage::decode(&message).unwrap().encode(), message);
        assert_eq!(decoded.is_unknown(), decoded.header.htype() == "xspress3-1.0");
    }
}

#[test]
fn stream_v2_is_recognized_by_its_bytes() {
    let mut decoder = Decoder::new();
    let mut start = Start::default();
    start.series_id = Some(5);
    for message in [stream2(Event::Start(Box::new(start))), stream2_image(5, 9)] {
        let decoded = decoder.decode(&message).unwrap();
        assert_eq!(decoded.header.series(), Some(5));
        assert!(decoded.parts().is_empty() && !decoded.is_unknown());
    }
    let other = Frame::from(&b"\xa1\x64type\x63new"[..]);
    let decoded = decoder.decode(&Message::from(other)).unwrap();
    assert!(decoded.is_unknown() && decoded.unknown_encoding().is_none());
    let decoded = decoder.decode(&stream2_image(5, 10)).unwrap();
    assert_eq!(
        (decoded.header.htype(), decoded.header.frame()),
        ("stream2-image", Some(10))
    );
    let Body::Stream2(message) = &decoded.body else {
        panic!("{decoded:?}")
    };
    let Event::Image(image) = message.event() else {
        panic!("{message:?}")
    };
    assert_eq!(image.channel("threshold_1").unwrap().shape(), [2, 3]);
    decoder.decode(&stream2_image(6, 0)).unwrap();
    let mut end = End::default();
    end.series_id = Some(6);
    decoder.decode(&stream2(Event::End(end))).unwrap();
    let events: Vec<_> = std::iter::from_fn(|| decoder.poll_series_event()).collect();
    assert_eq!(
        events,
        [
            SeriesEvent::Started { series: 5 },
            SeriesEvent::Aborted { series: 5, images: 2 },
            SeriesEvent::HeaderMissing { series: 6 },
            SeriesEvent::Ended {
                series: 6,
                images: 1,
                header: false
            },
        ]
    );
}

#[test]
fn stream_v2_is_understood_by_handlers_too() {
    let image = stream2_image(5, 9);
    let mut sizes = |header: &Header, parts: &[Frame]| {
        let sizes: Vec<usize> = parts.iter().map(|part| part.len()).collect();
        Ok::<_, std::io::Error>((header.frame(), sizes))
    };
    let expected = (Some(9), vec![image[0].len()]);
    let mut decoder = Decoder::new();
    let handled = decoder.decode_with(&image, &mut sizes).unwrap();
    assert_eq!(
        (handled.value, handled.message, handled.header.htype()),
        (expected.clone(), image.clone(), "stream2-image")
    );

    decoder.register("stream2-image", sizes);
    let decoded = decoder.decode(&image).unwrap();
    assert_eq!(decoded.custom(), Some(&expected));
    assert_eq!(decoded.header.series(), Some(5));
    assert_eq!(decoded.encode(), image, "forwarded without a header before it");
    assert!(decoder.unregister("stream2-image"));
    assert!(matches!(decoder.decode(&image).unwrap().body, Body::Stream2(_)));

    let broken: Message = [&image[0][..20]].into_iter().collect();
    assert!(matches!(
        decoder.decode_with(
            &broken,
            &mut |_: &Header, _: &[Frame]| Ok::<_, std::io::Error>(())
        ),
        Err(DecodeError::Stream2(_))
    ));
}

#[test]
fn stream_v2_that_is_cut_off_is_malformed_and_harms_nothing() {
    let whole = stream2_image(1, 0);
    let mut decoder = Decoder::new();
    for cut in 4..whole[0].len() {
        let part: Message = [&whole[0][..cut]].into_iter().collect();
        assert!(
            matches!(decoder.decode(&part), Err(DecodeError::Stream2(_))),
            "{cut}"
        );
    }
    decoder.decode(&whole).unwrap();
}

#[test]
fn series_are_followed_only_by_good_messages() {
    let mut decoder = Decoder::new();
    let image: Message = every_format().remove(4);
    let broken: Message = image.clone().into_frames().into_iter().take(2).collect();
    assert!(decoder.decode(&broken).is_err());
    assert_eq!(decoder.poll_series_event(), None);
    decoder.decode(&image).unwrap();
    assert_eq!(
        decoder.poll_series_event(),
        Some(SeriesEvent::HeaderMissing { series: 1 })
    );
}

#[test]
fn streams_and_messages_go_to_other_threads() {
    fn check<T: Send + Sync>() {}
    check::<flexbond_stream::Stream>();
    check::<Decoder>();
    check::<StreamMessage>();
    check::<flexbond_stream::ReceiveError>();
}

proptest! {
    #[test]
    fn a_bit_that_flips_never_panics_nor_poisons(which in 0..11_usize, part: prop::sample::Index, bit: prop::sample::Index) {
        let mut decoder = Decoder::new();
        let good = every_format().remove(which);
        let mut parts: Vec<Vec<u8>> = good.iter().map(|part| part.to_vec()).collect();
        let part = part.index(parts.len());
        if !parts[part].is_empty() {
            let bit = bit.index(parts[part].len() * 8);
            parts[part][bit / 8] ^= 1 << (bit % 8);
        }
        let flipped: Message = parts.into_iter().collect();
        if let Ok(decoded) = decoder.decode(&flipped) {
            prop_assert_eq!(decoded.encode(), flipped);
            if let Some(image) = decoded.as_image() {
                let _ = image.to_array_within(1 << 20);
            }
            if let Some(arrays) = decoded.as_arrays() {
                let _ = arrays.to_array_within(0, 1 << 20);
            }
            if let Some(pulse) = decoded.as_pulse() {
                for reading in pulse.iter() {
                    let _ = (reading.value_within(1 << 20), reading.timestamp());
                }
            }
        }
        prop_assert_eq!(decoder.decode(&good).unwrap().encode(), good);
    }
}

#[test]
fn a_message_of_stream_v2_with_other_parts_is_named_as_one() {
    let image = stream2_image(1, 2);
    let parts: Message = [image.frames(), &[Frame::from("appendix")]].concat().into();
    let errors = [
        Decoder::new().decode(&parts).unwrap_err(),
        StreamMessage::header_of(&parts).unwrap_err(),
    ];
    for error in errors {
        let DecodeError::Stream2(error) = error else {
            panic!("{error:?}")
        };
        assert_eq!(
            error.to_string(),
            "it has 2 parts, a message of stream V2 has one"
        );
    }
    let refused = Decoder::new().decode(&Message::from(["\u{a0}", "appendix"]));
    assert!(matches!(refused, Err(DecodeError::Header(_))), "{refused:?}");
}
