//! A message on the screen: lines for people, or one line of JSON for programs.

use std::fmt::Write as _;

use serde_json::{Map, Value, json};

use super::describe::{ArrayItem, Description, Item};
use crate::cli::printable::printable;
use crate::cli::quantity;
use crate::transport::Message;

/// Bytes of a part that are shown, in lines of 16.
const SHOWN: usize = 64;

/// How much of a message is shown.
#[derive(Clone, Copy)]
pub(super) struct Detail {
    /// Headers over several lines.
    pub(super) pretty: bool,
    /// The first bytes of what is not understood.
    pub(super) verbose: bool,
}

/// Lines for people. What the sender chose steers no terminal.
pub(super) fn text(number: u64, message: &Message, description: &Description, detail: Detail) -> String {
    let mut text = format!(
        "Message {number}: {}, {} part{}, {}",
        description.htype.as_deref().unwrap_or("no header"),
        message.len(),
        if message.len() == 1 { "" } else { "s" },
        quantity::bytes(message.size() as f64),
    );
    if let Some(error) = &description.error {
        let _ = write!(text, " - malformed: {error}");
    }
    if let Some(unknown) = &description.unknown {
        let _ = write!(text, " - {unknown}");
    }
    text = printable(&text).into_owned();
    if description.htype.is_some() {
        text.push_str(&document("header", &description.header, detail));
    }
    for item in &description.items {
        match item {
            Item::Array(array) => line(&mut text, &array_line(array)),
            Item::Value {
                name,
                element,
                value,
                time,
                fault: _,
            } => {
                let value = match value {
                    Value::Null => "no value".to_owned(),
                    Value::String(number) if element != "string" => number.clone(),
                    value => value.to_string(),
                };
                let time = time.as_ref().map(|time| format!(" at {time} s"));
                line(
                    &mut text,
                    &format!("{name}: {element} {value}{}", time.unwrap_or_default()),
                );
            }
            Item::Document { name, fields } => text.push_str(&document(name, fields, detail)),
            Item::Bytes { name, bytes } => {
                line(
                    &mut text,
                    &format!("{name}: {} bytes", quantity::grouped(bytes.len() as u64)),
                );
                if detail.verbose {
                    text.push_str(&hexdump(bytes));
                }
            }
        }
    }
    text
}

fn line(text: &mut String, line: &str) {
    text.push_str("\n  ");
    text.push_str(&printable(line));
}

fn document(name: &str, fields: &Map<String, Value>, detail: Detail) -> String {
    let value = Value::Object(fields.clone());
    let mut text = String::new();
    if !detail.pretty {
        line(&mut text, &format!("{name}: {value}"));
        return text;
    }
    line(&mut text, &format!("{name}:"));
    for row in format!("{value:#}").lines() {
        line(&mut text, &format!("  {row}"));
    }
    text
}

fn array_line(array: &ArrayItem) -> String {
    let mut text = format!(
        "{}: {} {:?}, {}",
        array.name,
        array.element,
        array.shape,
        quantity::bytes(array.size as f64)
    );
    if let Some(encoding) = &array.encoding {
        let ratio = array.size as f64 / array.stored.max(1) as f64;
        let _ = write!(
            text,
            " as {} of {encoding} ({ratio:.1} to 1)",
            quantity::bytes(array.stored as f64)
        );
    }
    if let Some(extent) = &array.extent {
        if !extent.min.is_null() {
            let mean = match extent.mean.as_f64() {
                Some(mean) => format!("{mean:.6}"),
                None => number(&extent.mean),
            };
            let (min, max) = (number(&extent.min), number(&extent.max));
            let _ = write!(text, ", min {min} max {max} mean {mean}");
        }
        if extent.nan > 0 {
            let _ = write!(text, ", {} NaN", quantity::grouped(extent.nan));
        }
    }
    if let Some(time) = &array.time {
        let _ = write!(text, ", at {time} s");
    }
    if let Some(note) = &array.note {
        let _ = write!(text, ", {note}");
    }
    text
}

/// One that JSON does not have is text.
fn number(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// The first bytes, as numbers and as text.
fn hexdump(bytes: &[u8]) -> String {
    let mut text = String::new();
    for (row, bytes) in bytes[..bytes.len().min(SHOWN)].chunks(16).enumerate() {
        let _ = write!(text, "\n    {:04x} ", row * 16);
        for column in 0..16 {
            match bytes.get(column) {
                Some(byte) => {
                    let _ = write!(text, " {byte:02x}");
                }
                None => text.push_str("   "),
            }
        }
        text.push_str("  ");
        text.extend(bytes.iter().map(|&byte| match byte {
            b' '..=b'~' => char::from(byte),
            _ => '.',
        }));
    }
    if bytes.len() > SHOWN {
        text.push_str("\n    ...");
    }
    text
}

/// One line for programs.
pub(super) fn json(number: u64, message: &Message, description: &Description, verbose: bool) -> Value {
    let items: Vec<Value> = description
        .items
        .iter()
        .map(|item| item_json(item, verbose))
        .collect();
    let parts: Vec<usize> = message.iter().map(|part| part.len()).collect();
    json!({
        "message": number,
        "bytes": message.size(),
        "parts": parts,
        "htype": description.htype,
        "header": description.header,
        "data": items,
        "malformed": description.error,
        "undecodable": description.unknown,
    })
}

fn item_json(item: &Item, verbose: bool) -> Value {
    match item {
        Item::Array(array) => json!({
            "kind": "array",
            "name": array.name,
            "type": array.element,
            "shape": array.shape,
            "bytes": array.size,
            "stored_bytes": array.stored,
            "encoding": array.encoding,
            "min": array.extent.as_ref().map(|extent| &extent.min),
            "max": array.extent.as_ref().map(|extent| &extent.max),
            "mean": array.extent.as_ref().map(|extent| &extent.mean),
            "nan": array.extent.as_ref().map(|extent| extent.nan),
            "time": array.time,
            "note": array.note,
        }),
        Item::Value {
            name,
            element,
            value,
            time,
            fault: _,
        } => json!({ "kind": "value", "name": name, "type": element, "value": value, "time": time }),
        Item::Document { name, fields } => json!({ "kind": "json", "name": name, "value": fields }),
        Item::Bytes { name, bytes } => {
            let mut object = json!({ "kind": "bytes", "name": name, "bytes": bytes.len() });
            if verbose {
                object["first"] = hex::encode(&bytes[..bytes.len().min(SHOWN)]).into();
            }
            object
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::describe::describe;
    use super::*;
    use crate::stream::bsread::{Channel, Compression, DataHeader, Pulse, Sample, Timestamp};
    use crate::stream::detector::DetectorImage;
    use crate::stream::{Array, Decoder, ElementType, StreamMessage};
    use crate::transport::Frame;

    const SHORT: Detail = Detail {
        pretty: false,
        verbose: false,
    };

    fn shown(message: &Message, detail: Detail) -> String {
        text(3, message, &describe(&mut Decoder::new(), message), detail)
    }

    #[test]
    fn images_are_summarized() {
        let array = Array::from_elements(&[2, 3], vec![7_u16, 1, 2, 3, 4, 5]).unwrap();
        let image = DetectorImage::new(4, 9, &array, "bs16-lz4<".parse().unwrap());
        let message = StreamMessage::from(image).encode();
        let text = shown(&message, SHORT);
        assert!(text.starts_with("Message 3: dimage-1.0, 4 parts, "), "{text}");
        assert!(text.contains("image: uint16 [2, 3], 12 B as "), "{text}");
        assert!(text.contains("min 1 max 7 mean 3.666667"), "{text}");
        let value = json(3, &message, &describe(&mut Decoder::new(), &message), false);
        assert_eq!(value["header"]["frame"], 9);
        assert_eq!(value["data"][1]["max"], 7);
        assert_eq!(value["malformed"], Value::Null);
    }

    #[test]
    fn arrays_of_channels_have_a_time_and_say_how_they_are_packed() {
        let channel = Channel::number("wave", ElementType::UInt16).shape(&[100]);
        let channel = channel.compression(Compression::BitshuffleLz4);
        let time = Timestamp {
            seconds: 1_795_448_328,
            nanoseconds: 788_000_000,
        };
        let array = Array::from_elements(&[100], vec![7_u16; 100]).unwrap();
        let header = Arc::new(DataHeader::new(vec![channel]));
        let pulse = Pulse::new(7, time, &header, [Some(Sample::new(array, time))]).unwrap();
        let message = StreamMessage::from(pulse).encode();
        let text = shown(&message, SHORT);
        for said in [
            "wave: uint16 [100], 200 B as ",
            " of bitshuffle_lz4 (",
            ", at 1795448328.788000000 s",
        ] {
            assert!(text.contains(said), "{said}: {text}");
        }
        let value = json(3, &message, &describe(&mut Decoder::new(), &message), false);
        assert_eq!(value["data"][0]["encoding"], "bitshuffle_lz4");
        assert_eq!(value["data"][0]["time"], "1795448328.788000000");
    }

    #[test]
    fn what_cannot_be_read_is_counted_apart_from_what_is_malformed() {
        let array = Array::from_elements(&[2, 3], vec![7_u16, 1, 2, 3, 4, 5]).unwrap();
        let image = DetectorImage::new(4, 9, &array, "bs16-lz4<".parse().unwrap());
        let mut parts = StreamMessage::from(image).encode().into_frames();
        let good = describe(&mut Decoder::new(), &Message::from(parts.clone()));
        assert!(!good.items.iter().any(Item::is_unreadable));
        parts[2] = Frame::from(&parts[2][..parts[2].len() - 1]);
        // The size that is said would be wrong as well.
        parts[1] = r#"{"htype":"dimage_d-1.0","shape":[3,2],"type":"uint16","encoding":"bs16-lz4<"}"#.into();
        let cut = describe(&mut Decoder::new(), &Message::from(parts.clone()));
        assert!(cut.error.is_none() && cut.items.iter().any(Item::is_unreadable));
        parts[1] = r#"{"htype":"dimage_d-1.0","shape":[3,2],"type":"uint16","encoding":"adsc"}"#.into();
        let message = Message::from(parts.clone());
        let odd = describe(&mut Decoder::new(), &message);
        assert!(odd.error.is_none() && odd.unknown.is_some());
        assert!(shown(&message, SHORT).contains(" - unknown encoding \"adsc\""));
        // Times that are no JSON cost nothing but themselves.
        parts[3] = r#"{"htype":"dconfig-1.0","real_time":%f}"#.into();
        parts[1] = r#"{"htype":"dimage_d-1.0","shape":[3,2],"type":"uint8","encoding":"<"}"#.into();
        parts[2] = "abcdef".into();
        let text = shown(&Message::from(parts), SHORT);
        assert!(
            text.contains("min 97 max 102") && text.contains("configuration (no JSON): 38 bytes"),
            "{text}"
        );
    }

    #[test]
    fn what_is_no_number_is_not_taken_for_no_value() {
        let channels = ["nan", "inf", "none"].map(|name| Channel::number(name, ElementType::Float64));
        let time = Timestamp::default();
        let sample = |value: f64| Some(Sample::new(value, time));
        let samples = [sample(f64::NAN), sample(f64::INFINITY), None];
        let pulse = Pulse::new(7, time, &Arc::new(DataHeader::new(channels.to_vec())), samples).unwrap();
        let message = StreamMessage::from(pulse).encode();
        let text = shown(&message, SHORT);
        for line in [
            "nan: float64 NaN at ",
            "inf: float64 inf at ",
            "none: float64 no value",
        ] {
            assert!(text.contains(line), "{line}: {text}");
        }
        let value = json(3, &message, &describe(&mut Decoder::new(), &message), false);
        let values: Vec<&Value> = (0..3).map(|item| &value["data"][item]["value"]).collect();
        assert_eq!(values, [&Value::from("NaN"), &"inf".into(), &Value::Null]);
    }

    #[test]
    fn what_is_not_understood_is_shown_as_bytes_and_steers_nothing() {
        let message = Message::from([
            &br#"{"htype":"other-1.0","text":"\u009b2J"}"#[..],
            b"abc\x1b[2Jdefghijklmnop",
        ]);
        let text = shown(&message, SHORT);
        assert!(
            text.ends_with("part 1: 20 bytes") && !text.contains('\u{9b}'),
            "{text}"
        );
        let detail = Detail {
            pretty: true,
            verbose: true,
        };
        let text = shown(&message, detail);
        assert!(text.contains("0000  61 62 63 1b 5b 32 4a"), "{text}");
        assert!(text.contains("abc.[2Jdefghijkl"), "{text}");
        assert!(text.contains("\n      \"htype\": \"other-1.0\""), "{text}");
        let text = shown(&Message::from("no header"), SHORT);
        assert!(
            text.contains("no header, 1 part") && text.contains("malformed: "),
            "{text}"
        );
    }
}
