//! What mflow does wrong and a stream here must not: handlers that cannot be registered, messages that fall apart or lose
//! parts, a bad message that harms the next one, counts that include what was never understood, types that vanish, and
//! series that wedge the receiver.
#![cfg(feature = "inproc")]

use flexbond_stream::detector::{
    Calibration, DetectorEnd, DetectorHeader, DetectorImage, HeaderDetail, SeriesEvent, Times,
};
use flexbond_stream::{
    Array, Attach, Body, ConnectOptions, DecodeError, Header, Mode, ReceiveError, Stream, StreamMessage,
};
use flexbond_transport::{Frame, Message};

async fn pair(name: &str) -> (Stream, Stream) {
    let address = format!("inproc://faults-{name}");
    let options = ConnectOptions::new().mode(Mode::Push).attach(Attach::Bind);
    let sender = Stream::connect(&*address, options).await.unwrap();
    let receiver = Stream::connect(&*address, ConnectOptions::new()).await.unwrap();
    (sender, receiver)
}

fn good(frame: u64) -> StreamMessage {
    StreamMessage::raw(Header::new("raw-1.0").with("frame", frame), ["data".into()])
}

fn image(series: u64, frame: u64) -> StreamMessage {
    let pixels = Array::from_elements(&[4, 3], (0..12_u32).collect()).unwrap();
    let times = Times {
        start: 10,
        stop: 30,
        real: 20,
    };
    DetectorImage::new(series, frame, &pixels, "bs32-lz4<".parse().unwrap())
        .with_times(times)
        .into()
}

#[tokio::test]
async fn fault_02_handlers_are_registered_on_a_stream() {
    let (mut sender, mut receiver) = pair("2").await;
    let mut calls = 0;
    receiver.register("sum-1.0", move |header: &Header, parts: &[Frame]| {
        calls += 1;
        let bytes = parts
            .iter()
            .flat_map(|part| part.iter())
            .map(|&byte| u64::from(byte));
        // A header that lies is refused.
        match header.number("parts") == Some(parts.len() as u64) {
            true => Ok((calls, bytes.sum::<u64>())),
            false => Err(std::io::Error::other("the number of parts is wrong")),
        }
    });
    let header = Header::new("sum-1.0").with("parts", 2).with("frame", 1);
    let sent = Message::from([header.to_frame(), vec![1, 2].into(), vec![3].into()]);
    sender.send(sent.clone()).await.unwrap();
    let message = receiver.receive().await.unwrap();
    assert_eq!(message.custom::<(i32, u64)>(), Some(&(1, 6)));
    assert!(message.custom::<String>().is_none() && !message.is_unknown());
    assert_eq!(message.encode(), sent, "forwarding changes nothing");

    // An error of the handler is that message's alone.
    sender
        .send(Message::from([header.to_frame(), vec![1].into()]))
        .await
        .unwrap();
    sender.send(sent.clone()).await.unwrap();
    match receiver.receive().await {
        Err(ReceiveError::Malformed {
            error: DecodeError::Handler(error),
            message,
        }) => {
            assert_eq!((error.htype(), message.len()), ("sum-1.0", 2));
            assert!(
                std::error::Error::source(&error)
                    .unwrap()
                    .to_string()
                    .contains("is wrong")
            );
        }
        other => panic!("{other:?}"),
    }
    let message = receiver.receive().await.unwrap();
    assert_eq!(message.custom::<(i32, u64)>(), Some(&(3, 6)));
    let totals = receiver.statistics().totals();
    assert_eq!((totals.messages, totals.malformed, totals.unknown), (2, 1, 0));

    // One call may have a handler of its own, whatever the type.
    let mut length = |_: &Header, parts: &[Frame]| Ok::<_, std::io::Error>(parts.len());
    sender.send(sent.clone()).await.unwrap();
    let handled = receiver.receive_with(&mut length).await.unwrap();
    assert_eq!(
        (handled.value, handled.message, handled.header.frame()),
        (2, sent.clone(), Some(1))
    );
    sender.send("no header").await.unwrap();
    assert!(receiver.receive_with(&mut length).await.is_err());
    assert!(receiver.try_receive_with(&mut length).is_err());

    assert!(receiver.unregister("sum-1.0") && !receiver.unregister("sum-1.0"));
    sender.send(sent).await.unwrap();
    assert!(receiver.receive().await.unwrap().is_unknown());
    let totals = receiver.statistics().totals();
    assert_eq!((totals.messages, totals.malformed, totals.unknown), (4, 2, 1));
}

#[tokio::test]
async fn fault_02_a_handler_takes_the_place_of_a_built_in_format() {
    let (mut sender, mut receiver) = pair("2-built-in").await;
    receiver.register("raw-1.0", |_: &Header, parts: &[Frame]| {
        Ok::<_, std::io::Error>(parts.concat())
    });
    sender.send(good(0)).await.unwrap();
    let message = receiver.receive().await.unwrap();
    assert_eq!(message.custom::<Vec<u8>>().unwrap(), b"data");
    receiver.unregister("raw-1.0");
    sender.send(good(1)).await.unwrap();
    assert!(matches!(receiver.receive().await.unwrap().body, Body::Raw(_)));
}

#[tokio::test]
async fn a_series_is_followed_whoever_understands_its_messages() {
    let (mut sender, mut receiver) = pair("2-series").await;
    let messages: [StreamMessage; 3] = [
        DetectorHeader::basic(5, Default::default()).into(),
        image(5, 0),
        DetectorEnd::new(5).into(),
    ];
    let start = |series| SeriesEvent::Started { series };
    let end = SeriesEvent::Ended {
        series: 5,
        images: 1,
        header: true,
    };
    for handled in 0..3 {
        let htype = messages[handled].header.htype().to_owned();
        receiver.register(htype.clone(), |_: &Header, parts: &[Frame]| {
            Ok::<_, std::io::Error>(parts.len())
        });
        for message in &messages {
            sender.send(message).await.unwrap();
            receiver.receive().await.unwrap();
        }
        let events: Vec<_> = std::iter::from_fn(|| receiver.poll_series_event()).collect();
        assert_eq!(events, [start(5), end], "{htype}");
        receiver.unregister(&htype);
    }
}

#[tokio::test]
async fn fault_04_a_raw_message_arrives_whole() {
    let (mut sender, mut receiver) = pair("4").await;
    for parts in 0..20 {
        let payload = (0..parts).map(|part| Frame::from(vec![part; usize::from(part) * 10]));
        let message = StreamMessage::raw(Header::new("raw-1.0").with("frame", parts), payload);
        sender.send(message.clone()).await.unwrap();
        let received = receiver.receive().await.unwrap();
        assert_eq!(received.parts(), message.parts());
        let bare: Message = (0..=parts).map(|part| vec![part; 3]).collect();
        sender.send(bare.clone()).await.unwrap();
        assert_eq!(receiver.receive_raw().await.unwrap(), bare);
    }
}

#[tokio::test]
async fn fault_05_detector_headers_of_every_detail_and_appendices_arrive() {
    let (mut sender, mut receiver) = pair("5").await;
    let mut config = serde_json::Map::new();
    config.insert("x_pixels_in_detector".to_owned(), 3.into());
    config.insert("detector_number".to_owned(), "E-08-0102".into());
    let calibration = Calibration::new(
        &Array::from_elements(&[4, 3], vec![1.5_f32; 12]).unwrap(),
        &Array::from_elements(&[4, 3], vec![2_u32; 12]).unwrap(),
        &Array::from_elements(&[2, 5], vec![0.5_f32; 10]).unwrap(),
    );
    let headers = [
        DetectorHeader::none(1),
        DetectorHeader::basic(2, config.clone()),
        DetectorHeader::all(3, config.clone(), calibration),
    ];
    let details = [HeaderDetail::None, HeaderDetail::Basic, HeaderDetail::All];
    for (header, detail) in headers.into_iter().zip(details) {
        for appendix in [None, Some("{\"sample\":12}"), Some("")] {
            let header = match appendix {
                Some(appendix) => header.clone().with_appendix("replaced").with_appendix(appendix),
                None => header.clone(),
            };
            sender.send(StreamMessage::from(header.clone())).await.unwrap();
            let message = receiver.receive().await.unwrap();
            let Body::DetectorHeader(back) = &message.body else {
                panic!("{message:?}")
            };
            assert_eq!((back.detail(), back.series()), (detail, header.series()));
            assert_eq!(back.appendix().map(|part| part.to_str().unwrap()), appendix);
            assert_eq!(back.config(), (detail != HeaderDetail::None).then_some(&config));
            assert_eq!(back.parts(), header.parts());
            assert_eq!(back.calibration().is_some(), detail == HeaderDetail::All);
            if let Some(calibration) = back.calibration() {
                assert_eq!(
                    calibration
                        .flatfield
                        .to_array()
                        .unwrap()
                        .view()
                        .to_slice::<f32>()
                        .unwrap()
                        .as_ref(),
                    [1.5; 12]
                );
                assert_eq!(
                    calibration.pixel_mask.to_array().unwrap().layout().shape(),
                    [4, 3]
                );
                assert_eq!(calibration.countrate_table.layout().shape(), [2, 5]);
            }
        }
    }
    let StreamMessage {
        body: Body::DetectorImage(plain),
        ..
    } = image(3, 0)
    else {
        panic!("not an image")
    };
    for appendix in [None, Some("scan 5"), Some("")] {
        let sent = match appendix {
            Some(appendix) => plain.as_ref().clone().with_appendix(appendix),
            None => plain.as_ref().clone(),
        };
        sender.send(StreamMessage::from(sent)).await.unwrap();
        let message = receiver.receive().await.unwrap();
        let back = message.as_image().unwrap();
        assert_eq!(back.appendix().map(|part| part.to_str().unwrap()), appendix);
        assert_eq!(back.times(), plain.times());
        assert_eq!(back.to_array().unwrap().view().to_slice::<u32>().unwrap()[11], 11);
    }
}

#[tokio::test]
async fn fault_06_a_bad_header_does_not_poison_the_next_receive() {
    let (mut sender, mut receiver) = pair("6").await;
    let bad: [&[&str]; 5] = [
        &["this is not JSON", "part", "part"],
        &["{}"],
        &[""],
        &[r#"{"htype":"array-1.0","type":"float32","shape":[2]}"#, "short"],
        &[r#"{"htype":"array-1.0"}"#],
    ];
    for (frame, parts) in bad.iter().enumerate() {
        let message: Message = parts.iter().copied().collect();
        sender.send(message.clone()).await.unwrap();
        sender.send(good(frame as u64)).await.unwrap();
        match receiver.receive().await {
            Err(ReceiveError::Malformed { message: back, .. }) => {
                assert_eq!(back, message, "handed over whole");
            }
            other => panic!("{parts:?}: {other:?}"),
        }
        let next = receiver.receive().await.unwrap();
        assert_eq!(next.header.frame(), Some(frame as u64));
        assert_eq!(next.parts(), ["data"]);
    }
}

#[tokio::test]
async fn fault_07_malformed_messages_stay_out_of_the_statistics() {
    let (mut sender, mut receiver) = pair("7").await;
    let size = Message::from(good(0)).size() as u64;
    for frame in 0..3 {
        sender.send("garbage").await.unwrap();
        // A header that is fine with parts that are not: its frame number must not count either.
        let header = Header::new("array-1.0")
            .with("frame", 1_000)
            .with("type", "int16")
            .with("shape", vec![5]);
        sender
            .send(Message::from([header.to_frame(), "odd".into()]))
            .await
            .unwrap();
        sender.send(good(frame)).await.unwrap();
        assert!(receiver.receive().await.is_err());
        assert!(receiver.receive().await.is_err());
        assert!(receiver.receive().await.is_ok());
    }
    let totals = receiver.statistics().totals();
    assert_eq!(
        (totals.messages, totals.bytes, totals.malformed),
        (3, 3 * size, 6)
    );
    assert_eq!((totals.lost_frames, totals.restarts, totals.unknown), (0, 0, 0));
}

#[tokio::test]
async fn fault_09_an_unknown_htype_is_delivered_raw_and_counted() {
    let (mut sender, mut receiver) = pair("9").await;
    let header = Header::new("xspress3-1.0").with("series", 1).with("frame", 4);
    let sent = Message::from([header.to_frame(), "".into(), "blob".into()]);
    sender.send(sent.clone()).await.unwrap();
    let message = receiver.receive().await.unwrap();
    assert!(matches!(&message.body, Body::Unknown(parts) if parts.len() == 2));
    assert_eq!(message.encode(), sent, "forwarding changes nothing");
    let totals = receiver.statistics().totals();
    assert_eq!((totals.messages, totals.unknown, totals.malformed), (1, 1, 0));
}

#[tokio::test]
async fn a_gap_in_the_frames_is_seen() {
    let (mut sender, mut receiver) = pair("gap").await;
    for frame in [0, 1, 4, 5] {
        sender.send(good(frame)).await.unwrap();
        receiver.receive().await.unwrap();
    }
    assert_eq!(receiver.statistics().totals().lost_frames, 2);
    assert_eq!(sender.statistics().totals().messages, 4);
}

#[tokio::test]
async fn fault_15_an_aborted_series_does_not_wedge_the_receiver() {
    let (mut sender, mut receiver) = pair("15").await;
    let sent: Vec<Message> = vec![
        StreamMessage::from(DetectorHeader::none(4)).into(),
        image(4, 0).into(),
        image(4, 1).into(),
        // Aborted: a part of an image is all that comes, then the next series.
        Message::from([image(4, 2).header.to_frame()]),
        StreamMessage::from(DetectorHeader::none(5)).into(),
        image(5, 0).into(),
        StreamMessage::from(DetectorEnd::new(5)).into(),
        StreamMessage::from(DetectorEnd::new(6)).into(),
        StreamMessage::from(DetectorHeader::none(7)).into(),
    ];
    let mut good = 0;
    for message in sent {
        sender.send(message).await.unwrap();
        good += usize::from(receiver.receive().await.is_ok());
    }
    assert_eq!(good, 8, "all but the part of an image");
    let events: Vec<SeriesEvent> = std::iter::from_fn(|| receiver.poll_series_event()).collect();
    assert_eq!(
        events,
        [
            SeriesEvent::Started { series: 4 },
            SeriesEvent::Aborted { series: 4, images: 2 },
            SeriesEvent::Started { series: 5 },
            SeriesEvent::Ended {
                series: 5,
                images: 1,
                header: true
            },
            SeriesEvent::EndWithoutStart { series: 6 },
            SeriesEvent::Started { series: 7 },
        ]
    );
    assert_eq!(receiver.decoder().series().current(), Some(7));
    assert_eq!(receiver.statistics().totals().malformed, 1);
}

#[tokio::test]
async fn fault_16_connecting_after_arm_is_told_and_the_images_come() {
    let (mut sender, mut receiver) = pair("16").await;
    for frame in 100..103 {
        sender.send(image(9, frame)).await.unwrap();
        let message = receiver.receive().await.unwrap();
        assert_eq!(message.as_image().unwrap().frame(), frame);
        assert_eq!(
            message.as_image().unwrap().to_array().unwrap().layout().shape(),
            [4, 3]
        );
    }
    assert_eq!(
        receiver.poll_series_event(),
        Some(SeriesEvent::HeaderMissing { series: 9 })
    );
    assert_eq!(receiver.poll_series_event(), None, "told once");
    assert!(!receiver.decoder().series().has_header());
}

#[tokio::test]
async fn events_that_nobody_takes_are_bounded() {
    let (mut sender, mut receiver) = pair("events").await;
    for series in 0..100 {
        sender
            .send(StreamMessage::from(DetectorHeader::none(series)))
            .await
            .unwrap();
        receiver.receive().await.unwrap();
    }
    let events = std::iter::from_fn(|| receiver.poll_series_event()).count();
    assert_eq!(events, flexbond_stream::Decoder::MAX_EVENTS);
    // One for the first header, two for each that follows.
    assert_eq!(receiver.decoder().counters().dropped_events, 199 - events as u64);
}
