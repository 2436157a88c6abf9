//! Every format that Python mflow and bsread know, against these, in both directions. `cargo xtask interop` runs it.

mod python;

use std::sync::Arc;

use flexbond_stream::bsread::{Channel, Compression, DataHeader, Pulse, Sample, Timestamp, Value};
use flexbond_stream::detector::{Calibration, DetectorEnd, DetectorHeader, DetectorImage, Times};
use flexbond_stream::{
    Array, Arrays, Attach, Body, ConnectOptions, ElementType, Encoding, Endianness, Header, Mode, Stream,
    StreamMessage,
};
use flexbond_transport::Message;
use python::Python;
use serde_json::{Value as Json, json};

async fn pushing() -> Stream {
    let options = ConnectOptions::new().mode(Mode::Push).attach(Attach::Bind);
    Stream::connect("tcp://127.0.0.1:0", options).await.unwrap()
}

fn config() -> serde_json::Map<String, Json> {
    let Json::Object(config) = json!({"description": "Dectris EIGER 1M", "count_time": 0.25, "nimages": 3})
    else {
        unreachable!("written as an object")
    };
    config
}

fn calibration() -> Calibration {
    Calibration::new(
        &Array::from_elements(&[2, 3], vec![1.5_f32; 6]).unwrap(),
        &Array::from_elements(&[2, 3], vec![8_u32; 6]).unwrap(),
        &Array::from_elements(&[5, 2], vec![0.25_f32; 10]).unwrap(),
    )
}

fn image(encoding: &str) -> DetectorImage {
    let pixels = Array::from_elements(&[64, 128], (0..8192_u16).collect()).unwrap();
    DetectorImage::new(4, 17, &pixels, encoding.parse().unwrap()).with_times(Times {
        start: 5,
        stop: 9,
        real: 4,
    })
}

/// What each message is, and what mflow must make of its parts after the header.
fn mflow_messages() -> Vec<(StreamMessage, Json)> {
    let hex = |message: &StreamMessage, part: usize| {
        let bytes = &message.parts()[part - 2];
        json!({"bytes": bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>()})
    };
    let parsed = |message: &StreamMessage, part: usize| -> Json {
        serde_json::from_slice(&message.parts()[part - 2]).unwrap()
    };
    let arrays = vec![1_u16, 2, 3, 4, 5, 60_000];
    // mflow sends each part of a raw message as a message of its own.
    let raw = Header::new("raw-1.0").with("frame", 1).with("stay", true);
    let single = Header::new("raw-1.0").with("frame", 3);
    let array = Header::new("array-1.0").with("frame", 2).with("source", "camera");
    let array_body = Array::from_elements(&[2, 3], arrays.clone()).unwrap();
    let mut messages = vec![
        (
            StreamMessage::raw(raw, ["some".into(), "parts".into()]),
            json!({"data": [{"bytes": "736f6d65"}, {"bytes": "7061727473"}]}),
        ),
        (
            StreamMessage::arrays(array, array_body.into()),
            json!({"data": [{"dtype": "uint16", "shape": [2, 3], "values": arrays}]}),
        ),
        (
            StreamMessage::raw(single, ["one".into()]),
            json!({"data": [{"bytes": "6f6e65"}]}),
        ),
        (DetectorEnd::new(4).into(), json!({})),
    ];
    let basic = StreamMessage::from(DetectorHeader::basic(4, config()));
    messages.push((basic, json!({"part_2": config()})));
    for appendix in [None, Some(r#"{"sample":12}"#)] {
        let header = DetectorHeader::all(4, config(), calibration());
        let header = StreamMessage::from(match appendix {
            Some(appendix) => header.with_appendix(appendix),
            None => header,
        });
        let mut expected = json!({
            "part_2": config(),
            "part_3": parsed(&header, 3), "part_4_raw": hex(&header, 4),
            "part_5": parsed(&header, 5), "part_6_raw": hex(&header, 6),
            "part_7": parsed(&header, 7), "part_8_raw": hex(&header, 8),
        });
        if appendix.is_some() {
            expected["appendix"] = json!({"sample": 12});
        }
        messages.push((header, expected));
    }
    for encoding in ["<", "lz4<", "bs16-lz4<"] {
        let image = StreamMessage::from(image(encoding));
        let expected = json!({
            "part_2": parsed(&image, 2), "part_3_raw": hex(&image, 3), "part_4": parsed(&image, 4),
        });
        messages.push((image, expected));
    }
    // mflow reads these two and does not forward them whole.
    let stay = |mut message: StreamMessage| {
        message.header.set("stay", true);
        message
    };
    messages.push((stay(DetectorHeader::none(4).into()), json!({})));
    let image = stay(image("<").with_appendix(r#"{"scan":5}"#).into());
    let expected = json!({
        "part_2": parsed(&image, 2), "part_3_raw": hex(&image, 3), "part_4": parsed(&image, 4),
        "appendix": {"scan": 5},
    });
    messages.push((image, expected));
    messages
}

#[tokio::test(flavor = "multi_thread")]
async fn mflow_understands_what_is_sent_and_what_it_sends_is_understood() {
    let mut sender = pushing().await;
    let messages = mflow_messages();
    let count = messages.len().to_string();
    let mut peer = Python::start(
        include_str!("mflow_peer.py"),
        &[&sender.endpoint().to_string(), &count],
    );
    let mut receiver = Stream::connect(peer.line().as_str(), ConnectOptions::new())
        .await
        .unwrap();
    for (message, mut expected) in messages {
        sender.send(&message).await.unwrap();
        expected["header"] = Json::Object(message.header.fields().clone());
        let seen: Json = serde_json::from_str(&peer.line()).unwrap();
        assert_eq!(seen, expected);
        if message.header.get("stay").is_some() {
            continue;
        }
        let back = receiver.receive().await.unwrap();
        assert_eq!(back.header, message.header);
        assert_eq!(
            std::mem::discriminant(&back.body),
            std::mem::discriminant(&message.body)
        );
        // mflow writes JSON anew, so bytes may differ where meaning does not.
        assert_eq!(back.parts().len(), message.parts().len());
        for (ours, theirs) in message.parts().iter().zip(back.parts()) {
            let json = |part: &[u8]| serde_json::from_slice::<Json>(part).ok();
            match json(ours) {
                Some(meaning) => assert_eq!(json(theirs), Some(meaning)),
                None => assert_eq!(ours, theirs),
            }
        }
        match (&back.body, &message.body) {
            (Body::DetectorImage(back), Body::DetectorImage(sent)) => {
                assert_eq!(back.to_array().unwrap(), sent.to_array().unwrap());
                assert_eq!(back.times(), sent.times());
            }
            (Body::Arrays(back), Body::Arrays(sent)) => {
                assert_eq!(back.to_array(0).unwrap(), sent.to_array(0).unwrap());
            }
            (Body::DetectorHeader(back), Body::DetectorHeader(sent)) => {
                assert_eq!(
                    (back.detail(), back.config(), back.appendix().is_some()),
                    (sent.detail(), sent.config(), sent.appendix().is_some())
                );
            }
            _ => {}
        }
    }
    assert_eq!(receiver.statistics().totals().malformed, 0);
    peer.end();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_other_libraries_compress_is_unpacked_and_the_other_way_round() {
    let mut receiver = Stream::connect("tcp://127.0.0.1:0", ConnectOptions::new().attach(Attach::Bind))
        .await
        .unwrap();
    let mut peer = Python::start(include_str!("compress.py"), &[&receiver.endpoint().to_string()]);
    for element in ["uint8", "uint16", "uint32"] {
        for (rows, columns) in [(64, 128), (514, 1030), (3, 5), (1, 7)] {
            for framing in ["lz4", "bslz4", "bare"] {
                let message = receiver.receive().await.unwrap();
                let image = message.as_image().unwrap();
                let array = image.to_array().unwrap();
                let what = format!("{element} {rows}x{columns} {framing}");
                assert_eq!(array.layout().shape(), [rows, columns], "{what}");
                assert_eq!(array.layout().element().name(), element, "{what}");
                // What the peer says of the pixels, and of those that it unpacks from our packing.
                let bytes: Vec<u8> = array.data().to_vec();
                let sum: u64 = bytes
                    .iter()
                    .zip(1..)
                    .map(|(&byte, n)| u64::from(byte) * (n % 65_521))
                    .sum();
                assert_eq!(peer.line(), format!("{what} {sum}"));
                let again = DetectorImage::new(1, 1, &array, image.encoding());
                let hex: String = again.data().iter().map(|byte| format!("{byte:02x}")).collect();
                peer.write(&hex);
                assert_eq!(peer.line(), format!("{what} {sum}"), "packed here");
            }
        }
    }
    peer.end();
}

#[tokio::test(flavor = "multi_thread")]
async fn bsread_understands_what_is_sent() {
    let time = Timestamp {
        seconds: 1_700_000_000,
        nanoseconds: 42,
    };
    let mut count = 0;
    let mut sender = pushing().await;
    let port = sender
        .endpoint()
        .to_string()
        .rsplit(':')
        .next()
        .unwrap()
        .to_owned();
    let mut peer = Python::start(include_str!("bsread_receive.py"), &[&port, "36"]);
    let compressions = [Compression::None, Compression::Lz4, Compression::BitshuffleLz4];
    for header_compression in compressions {
        for compression in compressions {
            for endianness in [Endianness::Little, Endianness::Big] {
                let channel = |name: &str, element| {
                    Channel::number(name, element)
                        .endianness(endianness)
                        .compression(compression)
                };
                let channels = vec![
                    channel("float", ElementType::Float64),
                    channel("int", ElementType::Int16),
                    // Of such a length that no other order of its bytes makes sense.
                    channel("picture", ElementType::UInt16).shape(&[129, 65]),
                    Channel::text("text").endianness(endianness),
                    Channel::number("flag", ElementType::Bool),
                    channel("none", ElementType::Float32),
                ];
                let data_header = Arc::new(DataHeader::compressed(channels, header_compression));
                let picture = Array::from_elements(&[65, 129], (0..8385_u16).collect()).unwrap();
                for pulse in 0..2_u64 {
                    let samples = [
                        Some(Sample::new(pulse as f64 + 0.5, time)),
                        Some(Sample::new(-7, time)),
                        Some(Sample::new(picture.clone(), time)),
                        Some(Sample::new("größe", time)),
                        Some(Sample::new(true, time)),
                        None,
                    ];
                    let message = Pulse::new(pulse, time, &data_header, samples).unwrap();
                    sender.send(StreamMessage::from(message)).await.unwrap();
                    count += 1;
                    let what = format!("{header_compression:?} {compression:?} {endianness:?}");
                    let seen: Json = serde_json::from_str(&peer.line()).unwrap();
                    assert_eq!(seen["pulse_id"], pulse, "{what}");
                    assert_eq!(seen["time"], json!([1_700_000_000, 42]), "{what}");
                    let value = |name: &str| seen["values"][name].clone();
                    assert_eq!(
                        value("float"),
                        json!([pulse as f64 + 0.5, 1_700_000_000, 42]),
                        "{what}"
                    );
                    assert_eq!(value("int"), json!([-7, 1_700_000_000, 42]), "{what}");
                    assert_eq!(value("text")[0], "größe", "{what}");
                    assert_eq!(value("flag")[0], true, "{what}");
                    assert_eq!(value("none")[0], Json::Null, "{what}");
                    let pixels: Vec<u16> = (0..8385).collect();
                    assert_eq!(
                        value("picture")[0],
                        json!({"dtype": "uint16", "shape": [65, 129], "values": pixels}),
                        "{what}"
                    );
                }
            }
        }
    }
    assert_eq!(count, 36, "as many as the peer waits for");
    peer.end();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_bsread_sends_is_understood() {
    for header_compression in ["-", "none", "lz4", "bitshuffle_lz4"] {
        for data_compression in ["-", "lz4", "bitshuffle_lz4"] {
            let what = format!("header {header_compression}, data {data_compression}");
            let mut peer = Python::start(
                include_str!("bsread_send.py"),
                &["5", header_compression, data_compression],
            );
            let mut receiver = Stream::connect(peer.line().as_str(), ConnectOptions::new())
                .await
                .unwrap();
            for id in 0..5_u64 {
                let message = receiver.receive().await.unwrap();
                let pulse = message.as_pulse().unwrap();
                assert_eq!(pulse.pulse_id(), Some(1000 + id), "{what}");
                assert!(pulse.hash_fits(), "{what}");
                let time = Timestamp {
                    seconds: 1_700_000_000,
                    nanoseconds: id as i64,
                };
                assert_eq!(pulse.timestamp(), Some(time));
                check_values(pulse, id, time, &what);
                forwarded(&message);
            }
            let counters = receiver.decoder().counters();
            assert_eq!(
                (counters.data_headers, counters.hash_mismatches),
                (1, 0),
                "{what}"
            );
            peer.end();
        }
    }
}

fn check_values(pulse: &Pulse, id: u64, time: Timestamp, what: &str) {
    for element in ElementType::all().filter(|element| {
        !matches!(
            element,
            ElementType::Bool | ElementType::Float16 | ElementType::Complex64 | ElementType::Complex128
        )
    }) {
        let name = element.name();
        let reading = pulse.get(name).unwrap();
        let expected = match name.as_bytes()[0] {
            b'i' => Value::Int(id as i64),
            b'u' => Value::UInt(id),
            _ => Value::Float(id as f64),
        };
        assert_eq!(reading.value(), Ok(Some(expected)), "{what}: {name}");
        assert_eq!(reading.timestamp(), Ok(Some(time)), "{what}: {name}");
        let Ok(Some(Value::Array(array))) = pulse.get(&format!("{name}-array")).unwrap().value() else {
            panic!("{what}: {name}-array")
        };
        assert_eq!(
            (array.layout().element(), array.layout().shape()),
            (element, &[2, 3][..])
        );
    }
    assert_eq!(
        pulse.get("string").unwrap().value(),
        Ok(Some(Value::Text(format!("größe {id}")))),
        "{what}"
    );
    assert_eq!(
        pulse.get("bool").unwrap().value(),
        Ok(Some(Value::Bool(id % 2 == 1))),
        "{what}"
    );
    assert_eq!(pulse.get("none").unwrap().value(), Ok(None), "{what}");
    let Ok(Some(Value::Array(picture))) = pulse.get("picture").unwrap().value() else {
        panic!("{what}: no picture")
    };
    assert_eq!(picture.layout().shape(), [64, 128]);
    let pixels: Vec<u16> = (0..8192).map(|pixel| pixel + id as u16).collect();
    assert_eq!(
        picture.view().to_slice::<u16>().unwrap().as_ref(),
        pixels,
        "{what}"
    );
}

/// What is forwarded is what came.
fn forwarded(message: &StreamMessage) {
    let again = StreamMessage::decode(&message.encode()).unwrap();
    assert_eq!(Message::from(&again), message.encode());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_compressed_array_goes_through_mflow_unchanged() {
    // mflow does not unpack arrays: it must be told to leave them as they are, and then loses nothing.
    let pixels = Array::from_elements(&[64, 128], (0..8192_u16).collect()).unwrap();
    let arrays = Arrays::from(pixels.clone()).compress("bs16-lz4<".parse::<Encoding>().unwrap());
    let message = StreamMessage::arrays(Header::new("").with("frame", 1), arrays);
    let as_raw = StreamMessage::raw(message.header.clone(), message.parts().to_vec());
    let mut sender = pushing().await;
    let endpoint = sender.endpoint().to_string();
    let mut peer = Python::start(include_str!("mflow_peer.py"), &[&endpoint, "1"]);
    let mut receiver = Stream::connect(peer.line().as_str(), ConnectOptions::new())
        .await
        .unwrap();
    sender.send(as_raw).await.unwrap();
    peer.line();
    let mut back = receiver.receive().await.unwrap();
    back.header.set("htype", "array-1.0");
    let back = StreamMessage::decode(&back.encode()).unwrap();
    assert_eq!(back.as_arrays().unwrap().to_array(0).unwrap(), Some(pixels));
    peer.end();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_python_alone_calls_json_and_types_comes_through() {
    let header = r#"{"htype": "array-1.0", "type": "<u2", "shape": [2], "frame": 1, "temperature": NaN}"#;
    let mut sender = pushing().await;
    let endpoint = sender.endpoint().to_string();
    let mut peer = Python::start(include_str!("mflow_peer.py"), &[&endpoint, "1"]);
    let mut receiver = Stream::connect(peer.line().as_str(), ConnectOptions::new())
        .await
        .unwrap();
    let message: Message = [header.as_bytes(), b"\x01\x00\x00\x01"].into_iter().collect();
    sender.send(message).await.unwrap();
    assert!(peer.line().contains("NaN"));
    let back = receiver.receive().await.unwrap();
    assert_eq!(back.header.get("temperature"), Some(&Json::Null));
    let array = back.as_arrays().unwrap().to_array(0).unwrap().unwrap();
    assert_eq!(array.view().to_slice::<u16>().unwrap().as_ref(), [1, 256]);
    peer.end();
}
