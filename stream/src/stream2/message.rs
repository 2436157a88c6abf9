//! A whole message, with the bytes that it travels as.

use std::fmt;

use bytes::Bytes;
use flexbond_transport::Frame;

use super::fields::Fields;
use super::record::{Present, size, write};
use super::writer::to_bytes;
use super::{DecodeError, End, Image, Item, Start};

/// A message of stream V2: what it says, and the bytes that say it.
///
/// The two belong together and do not change. To change a message, take [`into_event`](Self::into_event), and make a
/// new one of that.
#[derive(Clone, PartialEq)]
pub struct Message {
    event: Event,
    encoded: Bytes,
}

/// What a message says.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Event {
    /// A series starts.
    Start(Box<Start>),
    /// An image of a series.
    Image(Image),
    /// A series is over.
    End(End),
    /// A message of another `type`.
    Other(Other),
}

/// A message of a type that is not known here.
#[derive(Clone, Debug, PartialEq)]
pub struct Other {
    /// The type.
    pub kind: String,
    /// All other fields, in order.
    pub fields: Vec<(String, Item)>,
}

/// Whether the first part of a message is one of stream V2, from its first bytes: CBOR that describes itself as such, or
/// a CBOR map. No JSON text begins like these.
#[must_use]
pub fn is_stream2(first_part: &[u8]) -> bool {
    matches!(
        first_part,
        [0xd9, 0xd9, 0xf7, ..]
            | [0xda, 0, 0, 0xd9, 0xf7, ..]
            | [0xdb, 0, 0, 0, 0, 0, 0, 0xd9, 0xf7, ..]
            | [0xa0..=0xbb | 0xbf, ..]
    )
}

/// The part of a message of stream V2, as its first bytes say; `None` when they do not.
pub(crate) fn only_part(parts: &[Frame]) -> Result<Option<&Frame>, DecodeError> {
    match parts {
        [part] if is_stream2(part) => Ok(Some(part)),
        [first, ..] if is_stream2(first) => Err(DecodeError::Parts(parts.len())),
        _ => Ok(None),
    }
}

impl Message {
    /// Reads a message from its single part, a [`Frame`] or [`Bytes`].
    ///
    /// Arrays and user data are slices of the part, and keep it in memory as long as they live; nothing is decompressed.
    ///
    /// # Errors
    /// [`DecodeError`].
    pub fn decode(part: impl Into<Bytes>) -> Result<Self, DecodeError> {
        let encoded = part.into();
        let mut fields = Fields::read(&encoded)?;
        let kind: String = fields.take("type")?.ok_or(DecodeError::NoType)?;
        let event = match kind.as_str() {
            "start" => Event::Start(Box::new(Start::read(fields)?)),
            "image" => Event::Image(Image::read_strict(fields)?),
            "end" => Event::End(End::read(fields)?),
            _ => Event::Other(Other {
                kind,
                fields: fields.rest(),
            }),
        };
        Ok(Message { event, encoded })
    }

    /// A message that says `event`, encoded as the detectors do it: self-described, the type first. The arrays are
    /// copied into it, once.
    #[must_use]
    pub fn new(event: Event) -> Self {
        let (present, other) = event.parts();
        let encoded = to_bytes(size(&present, other), |encoder| {
            write(event.kind(), &present, other, encoder)
        });
        Message { event, encoded }
    }

    /// What the message says.
    #[must_use]
    pub fn event(&self) -> &Event {
        &self.event
    }

    /// What the message says, without its bytes.
    #[must_use]
    pub fn into_event(self) -> Event {
        self.event
    }

    /// The message as it travels: the bytes that were received, or those made by [`Message::new`]. They are shared, not
    /// copied.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        self.encoded.clone()
    }

    /// The number of the series, where it is said.
    #[must_use]
    pub fn series_id(&self) -> Option<u64> {
        match &self.event {
            Event::Start(start) => start.series_id,
            Event::Image(image) => image.series_id,
            Event::End(end) => end.series_id,
            Event::Other(_) => None,
        }
    }

    /// The number of the image, of an image.
    #[must_use]
    pub fn image_id(&self) -> Option<u64> {
        match &self.event {
            Event::Image(image) => image.image_id,
            _ => None,
        }
    }
}

impl Event {
    /// The type as it travels: `start`, `image`, `end`, or another one.
    #[must_use]
    pub fn kind(&self) -> &str {
        match self {
            Event::Start(_) => "start",
            Event::Image(_) => "image",
            Event::End(_) => "end",
            Event::Other(other) => &other.kind,
        }
    }

    /// The fields that are known, and the others.
    pub(super) fn parts(&self) -> (Present<'_>, &[(String, Item)]) {
        match self {
            Event::Start(start) => (start.present(), &start.other),
            Event::Image(image) => (image.present(), &image.other),
            Event::End(end) => (end.present(), &end.other),
            Event::Other(other) => (Present::new(), &other.fields),
        }
    }
}

/// Shows what the message says, and how long it is.
impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Message")
            .field("event", &self.event)
            .field("size", &self.encoded.len())
            .finish()
    }
}

impl From<Event> for Message {
    fn from(event: Event) -> Self {
        Message::new(event)
    }
}
