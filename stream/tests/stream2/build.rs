//! Messages written by hand, byte by byte where that matters.

use bytes::Bytes;
use flexbond_stream::stream2::{DecodeError, Event, Image, Message, MultiDimArray, Start};
use minicbor::data::Tag;

pub(crate) type Encoder = minicbor::Encoder<Vec<u8>>;

/// What `write` makes.
pub(crate) fn cbor(write: impl FnOnce(&mut Encoder)) -> Bytes {
    let mut encoder = Encoder::new(Vec::new());
    write(&mut encoder);
    encoder.into_writer().into()
}

/// A message of a type with one more field.
pub(crate) fn with_field(kind: &str, field: &str, write: impl FnOnce(&mut Encoder)) -> Bytes {
    cbor(|e| {
        e.map(2).unwrap().str("type").unwrap().str(kind).unwrap();
        e.str(field).unwrap();
        write(e);
    })
}

/// An image with one channel named `c`.
pub(crate) fn with_channel(write: impl FnOnce(&mut Encoder)) -> Bytes {
    with_field("image", "data", |e| {
        e.map(1).unwrap().str("c").unwrap();
        write(e);
    })
}

/// Starts an array: its tag, its dimensions, and the tag of its elements; the bytes are to follow.
pub(crate) fn array_of<'a>(e: &'a mut Encoder, tag: u64, shape: &[u64], number: u64) -> &'a mut Encoder {
    e.tag(Tag::new(tag)).unwrap().array(2).unwrap();
    e.array(shape.len() as u64).unwrap();
    for &extent in shape {
        e.u64(extent).unwrap();
    }
    e.tag(Tag::new(number)).unwrap()
}

/// The channel `c` of the image that `write` makes.
pub(crate) fn channel(write: impl FnOnce(&mut Encoder)) -> Result<MultiDimArray, DecodeError> {
    let Event::Image(image) = Message::decode(with_channel(write))?.into_event() else {
        panic!("an image was written");
    };
    Ok(image.channel("c").expect("the channel was written").clone())
}

pub(crate) fn start(message: &Message) -> &Start {
    match message.event() {
        Event::Start(start) => start,
        other => panic!("not a start: {other:?}"),
    }
}

pub(crate) fn image(message: &Message) -> &Image {
    match message.event() {
        Event::Image(image) => image,
        other => panic!("not an image: {other:?}"),
    }
}
