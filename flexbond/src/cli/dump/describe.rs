//! What a message says, as far as it is understood: its header, its arrays and values, and what is neither.

use serde_json::{Map, Value, json};

use super::extent::{Extent, float};
use crate::cli::failure::explain;
use crate::stream::bsread::{Channel, Pulse, Reading, Value as Measured};
use crate::stream::detector::DetectorImage;
use crate::stream::stream2::{Channels, Event, MultiDimArray};
use crate::stream::{Array, Arrays, Body, DecodeError, Decoder, Encoding, Header, Layout};
use crate::transport::{Frame, Message};

/// What a message says.
pub(super) struct Description {
    /// `None` when the message has no header.
    pub(super) htype: Option<String>,
    pub(super) header: Map<String, Value>,
    pub(super) items: Vec<Item>,
    /// Why it is not understood.
    pub(super) error: Option<String>,
    /// In what way its arrays are packed, where that is not known here; all else is understood.
    pub(super) unknown: Option<String>,
}

/// Something beside the header.
pub(super) enum Item {
    Array(Box<ArrayItem>),
    /// A value of a channel.
    Value {
        name: String,
        element: String,
        /// `null` where there is none for this pulse.
        value: Value,
        time: Option<String>,
        /// Why it cannot be read.
        fault: Option<String>,
    },
    /// A part that is JSON itself.
    Document {
        name: String,
        fields: Map<String, Value>,
    },
    /// A part that is no more than bytes here.
    Bytes {
        name: String,
        bytes: Frame,
    },
}

/// An array, and what is in it.
pub(super) struct ArrayItem {
    pub(super) name: String,
    pub(super) element: String,
    pub(super) shape: Vec<usize>,
    pub(super) size: usize,
    /// Bytes as they travel.
    pub(super) stored: usize,
    /// How they are packed; `None` when they are not.
    pub(super) encoding: Option<String>,
    pub(super) extent: Option<Extent>,
    /// When it was measured, in seconds since 1970.
    pub(super) time: Option<String>,
    /// That it has no data, or why these cannot be read, or why they have no range.
    pub(super) note: Option<String>,
    /// Whether they cannot.
    pub(super) unreadable: bool,
}

impl Item {
    pub(super) fn is_unreadable(&self) -> bool {
        match self {
            Item::Array(array) => array.unreadable,
            Item::Value { fault, .. } => fault.is_some(),
            Item::Document { .. } | Item::Bytes { .. } => false,
        }
    }
}

/// Understands a message.
pub(super) fn describe(decoder: &mut Decoder, message: &Message) -> Description {
    match decoder.decode(message) {
        Ok(decoded) => Description {
            htype: Some(decoded.header.htype().to_owned()),
            header: decoded.header.fields().clone(),
            items: items(&decoded.body),
            error: None,
            unknown: decoded.unknown_encoding().map(|encoding| encoding.to_string()),
        },
        Err(error) => malformed(&error, message),
    }
}

/// The header may be good where the rest is not.
fn malformed(error: &DecodeError, message: &Message) -> Description {
    let header = crate::stream::StreamMessage::header_of(message).ok();
    let skip = usize::from(header.is_some());
    Description {
        htype: header.as_ref().map(|header| header.htype().to_owned()),
        header: header.map(|header| header.fields().clone()).unwrap_or_default(),
        items: (skip..)
            .zip(message.frames().iter().skip(skip))
            .map(|(number, part)| bytes(format!("part {number}"), part))
            .collect(),
        error: Some(explain(error)),
        unknown: None,
    }
}

fn items(body: &Body) -> Vec<Item> {
    match body {
        Body::Arrays(arrays) => (0..arrays.len()).map(|index| buffer(arrays, index)).collect(),
        Body::DetectorHeader(header) => {
            let mut items = Vec::new();
            if let Some(config) = header.config() {
                items.push(document("configuration", config));
            }
            if let Some(calibration) = header.calibration() {
                for (name, table) in [
                    ("flatfield", &calibration.flatfield),
                    ("pixel mask", &calibration.pixel_mask),
                    ("count-rate table", &calibration.countrate_table),
                ] {
                    let loaded = table.to_array().map_err(|error| explain(&error));
                    items.push(array(
                        name.to_owned(),
                        table.layout(),
                        table.data().len(),
                        None,
                        loaded.map(Some),
                    ));
                }
            }
            items.extend(header.appendix().map(appendix));
            items
        }
        Body::DetectorImage(image) => {
            let loaded = image.to_array().map_err(|error| explain(&error));
            let mut items = vec![
                document("description", image.description().fields()),
                array(
                    "image".to_owned(),
                    image.layout(),
                    image.data().len(),
                    Some(image.encoding()),
                    loaded.map(Some),
                ),
                configuration(image),
            ];
            items.extend(image.appendix().map(appendix));
            items
        }
        Body::Bsread(pulse) => readings(pulse),
        Body::Stream2(message) => match message.event() {
            Event::Image(image) => image
                .data
                .iter()
                .flat_map(Channels::iter)
                .map(|(name, array)| channel(name, array))
                .collect(),
            Event::Start(start) => [("flatfield", &start.flatfield), ("pixel mask", &start.pixel_mask)]
                .into_iter()
                .flat_map(|(name, channels)| channels.iter().map(move |channels| (name, channels)))
                .flat_map(|(name, channels)| {
                    channels
                        .iter()
                        .map(move |(threshold, array)| channel(&format!("{name} {threshold}"), array))
                })
                .collect(),
            // Their summary is all there is.
            _ => Vec::new(),
        },
        Body::Raw(parts) | Body::Unknown(parts) => parts_of(parts),
        // The series' end, and whatever is added to the formats.
        Body::DetectorEnd(end) => parts_of(end.parts()),
        _ => Vec::new(),
    }
}

fn parts_of(parts: &[Frame]) -> Vec<Item> {
    (1..)
        .zip(parts)
        .map(|(number, part)| bytes(format!("part {number}"), part))
        .collect()
}

fn bytes(name: String, part: &Frame) -> Item {
    Item::Bytes {
        name,
        bytes: part.clone(),
    }
}

/// Users append what they like; mostly it is JSON.
fn appendix(part: &Frame) -> Item {
    let name = "appendix".to_owned();
    match serde_json::from_slice(part) {
        Ok(Value::Object(fields)) => Item::Document { name, fields },
        _ => bytes(name, part),
    }
}

/// What some emulators send is no JSON; it is shown as it came then.
fn configuration(image: &DetectorImage) -> Item {
    let name = "configuration";
    match image.parts().get(2) {
        Some(part) if Header::parse(part).is_err() => bytes(format!("{name} (no JSON)"), part),
        _ => document(name, image.config().fields()),
    }
}

fn document(name: &str, fields: &Map<String, Value>) -> Item {
    Item::Document {
        name: name.to_owned(),
        fields: fields.clone(),
    }
}

fn buffer(arrays: &Arrays, index: usize) -> Item {
    let name = match arrays.len() {
        1 => "array".to_owned(),
        _ => format!("array {index}"),
    };
    let stored = arrays.buffers()[index].len();
    let loaded = arrays.to_array(index).map_err(|error| explain(&error));
    array(name, arrays.layout(), stored, arrays.encoding(), loaded)
}

fn array(
    name: String,
    layout: &Layout,
    stored: usize,
    encoding: Option<Encoding>,
    loaded: Result<Option<Array>, String>,
) -> Item {
    let unreadable = loaded.is_err();
    let (extent, note) = match loaded {
        Ok(Some(array)) => Extent::or_reason(&array),
        Ok(None) => (None, Some("no data".to_owned())),
        Err(error) => (None, Some(error)),
    };
    Item::Array(Box::new(ArrayItem {
        name,
        element: layout.element().name().to_owned(),
        shape: layout.shape().to_vec(),
        size: layout.size(),
        stored,
        encoding: encoding
            .filter(|encoding| encoding.is_compressed())
            .map(|encoding| encoding.to_string()),
        extent,
        time: None,
        note,
        unreadable,
    }))
}

fn channel(name: &str, array: &MultiDimArray) -> Item {
    let loaded = array
        .to_arrays()
        .map_err(|error| explain(&error))
        .and_then(|arrays| arrays.to_array(0).map_err(|error| explain(&error)));
    let (extent, note) = match &loaded {
        Ok(array) => array.as_ref().map(Extent::or_reason).unwrap_or_default(),
        Err(error) => (None, Some(error.clone())),
    };
    Item::Array(Box::new(ArrayItem {
        name: name.to_owned(),
        element: array.number_type().name().to_owned(),
        shape: array.shape().to_vec(),
        size: array.size(),
        stored: array.stored().stored().len(),
        encoding: array.stored().compression().map(str::to_owned),
        extent,
        time: None,
        note,
        unreadable: loaded.is_err(),
    }))
}

fn readings(pulse: &Pulse) -> Vec<Item> {
    pulse.iter().map(|reading| measured(&reading)).collect()
}

fn measured(reading: &Reading<'_>) -> Item {
    let channel = reading.channel();
    let name = channel.name().to_owned();
    let time = reading.timestamp().ok().flatten();
    let time = time.map(|time| format!("{}.{:09}", time.seconds, time.nanoseconds));
    let element = channel
        .channel_type()
        .map_or("unknown", |channel_type| channel_type.name())
        .to_owned();
    let value = match reading.value() {
        Ok(Some(Measured::Array(loaded))) => {
            let layout = loaded.layout().clone();
            return Item::Array(Box::new(ArrayItem {
                name,
                element,
                shape: layout.shape().to_vec(),
                size: layout.size(),
                stored: reading.data().len(),
                encoding: packing(channel),
                extent: Extent::of(&loaded),
                time,
                note: None,
                unreadable: false,
            }));
        }
        Ok(Some(Measured::Bool(value))) => Ok(value.into()),
        Ok(Some(Measured::Int(value))) => Ok(value.into()),
        Ok(Some(Measured::UInt(value))) => Ok(value.into()),
        Ok(Some(Measured::Float(value))) => Ok(float(value)),
        Ok(Some(Measured::Text(value))) => Ok(value.into()),
        Ok(_) => Ok(Value::Null),
        Err(error) => Err(explain(&error)),
    };
    let (value, fault) = match value {
        Ok(value) => (value, None),
        Err(fault) => (json!({ "error": fault }), Some(fault)),
    };
    Item::Value {
        name,
        element,
        value,
        time,
        fault,
    }
}

/// How the values of a channel are compressed, where they are.
fn packing(channel: &Channel) -> Option<String> {
    let name = channel.fields().get("compression")?.as_str()?;
    (!name.is_empty() && !name.eq_ignore_ascii_case("none")).then(|| name.to_owned())
}
