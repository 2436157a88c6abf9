//! One message of a stream: its header, and what the header's `htype` makes of the other parts.

use std::any::Any;

use flexbond_transport::{Frame, Message};
use thiserror::Error;

#[cfg(feature = "multicast")]
use crate::FramingError;
use crate::bsread::{BsreadError, Pulse};
use crate::detector::{DetectorEnd, DetectorError, DetectorHeader, DetectorImage};
use crate::{
    ArrayError, Arrays, Custom, Decoder, HandlerError, Header, HeaderError, UnknownEncoding, stream2,
};

/// One message of a stream.
#[derive(Clone, Debug)]
pub struct StreamMessage {
    /// The first part.
    pub header: Header,
    /// All other parts.
    pub body: Body,
}

/// The parts after the header, as far as they are understood.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Body {
    /// `raw-1.0`: any parts.
    Raw(Vec<Frame>),
    /// `array-1.0`, compressed or not.
    Arrays(Arrays),
    /// `dheader-1.0`: a detector's series begins.
    DetectorHeader(Box<DetectorHeader>),
    /// `dimage-1.0`: one image of a detector.
    DetectorImage(Box<DetectorImage>),
    /// `dseries_end-1.0`: a detector's series is over.
    DetectorEnd(DetectorEnd),
    /// `bsr_m-1.1` and `bsr_m-1.0`: the values of one pulse.
    Bsread(Pulse),
    /// A message of Dectris stream V2: a single part, which is CBOR and no JSON header. The header beside it is a
    /// [summary](stream2::Message::header), and does not travel.
    Stream2(Box<stream2::Message>),
    /// Whatever a [handler](crate::Handler) of the user's made of the parts.
    Custom(Custom),
    /// Another `htype`, or an `encoding` that is not known here: the parts as they came.
    Unknown(Vec<Frame>),
}

/// Why a message is malformed. Nothing else is affected: the next message is read as if this one had not been.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// The first part is no header.
    #[error(transparent)]
    Header(#[from] HeaderError),
    /// The header says `array-1.0`, and it or the parts do not describe arrays.
    #[error("not a valid array-1.0")]
    Array(#[from] ArrayError),
    /// A detector's message lacks a part, or one of them is not what it should be.
    #[error("not a valid detector message")]
    Detector(#[from] DetectorError),
    /// A bsread message lacks a part, or its data header is not one.
    #[error("not a valid bsread message")]
    Bsread(#[from] BsreadError),
    /// The part begins like one of Dectris stream V2, and is not one.
    #[error("not a valid message of stream V2")]
    Stream2(#[from] stream2::DecodeError),
    /// What came to a `udp://` address is no message, or not all of one.
    #[cfg(feature = "multicast")]
    #[error("session: {0}")]
    Framing(#[from] FramingError),
    /// A user's handler refused the message.
    #[error(transparent)]
    Handler(#[from] HandlerError),
}

impl StreamMessage {
    /// The `htype` of messages with any parts.
    pub const RAW: &str = "raw-1.0";
    /// The `htype` of arrays.
    pub const ARRAY: &str = "array-1.0";

    /// A `raw-1.0` message. `header` may have any fields; its `htype` becomes `raw-1.0`.
    #[must_use]
    pub fn raw(mut header: Header, parts: impl IntoIterator<Item = Frame>) -> Self {
        header.set("htype", Self::RAW);
        StreamMessage {
            header,
            body: Body::Raw(parts.into_iter().collect()),
        }
    }

    /// An `array-1.0` message. `header` may have any fields; `htype`, `type`, `shape`, `endianness`
    /// and, where they are compressed, `encoding` are set from the arrays.
    ///
    /// ```
    /// use flexbond_stream::{Arrays, ElementType, Endianness, Header, Layout, StreamMessage, bytes_of};
    ///
    /// let layout = Layout::new(ElementType::Float64, Endianness::NATIVE, &[2, 3])?;
    /// let image = Arrays::new(layout, vec![bytes_of(vec![0.5_f64; 6]).into()])?;
    /// let message = StreamMessage::arrays(Header::new("array-1.0").with("frame", 1), image);
    /// assert_eq!(message.header.text("type"), Some("float64"));
    /// # Ok::<(), flexbond_stream::ArrayError>(())
    /// ```
    #[must_use]
    pub fn arrays(mut header: Header, arrays: Arrays) -> Self {
        header.set("htype", Self::ARRAY);
        arrays.describe(&mut header);
        StreamMessage {
            header,
            body: Body::Arrays(arrays),
        }
    }

    /// The header of a message, of which nothing else is looked at; of one of Dectris' stream V2 a
    /// [summary](stream2::Message::header).
    ///
    /// # Errors
    /// [`DecodeError`] when there is none.
    pub fn header_of(message: &Message) -> Result<Header, DecodeError> {
        if let Some(part) = stream2::only_part(message.frames())? {
            return Ok(stream2::Message::decode(part.clone())?.header());
        }
        let first = message.frames().first().ok_or(HeaderError::Missing)?;
        Ok(Header::parse(first)?)
    }

    /// Understands a message by itself. Parts are shared, not copied.
    ///
    /// A [`Decoder`] does the same for the messages of a stream: it does not parse again what bsread repeats with each
    /// message, and it knows handlers of the user's.
    ///
    /// # Errors
    /// [`DecodeError`] when the header or the parts are malformed.
    pub fn decode(message: &Message) -> Result<Self, DecodeError> {
        Decoder::new().decode(message)
    }

    /// The message as it travels. Parts are shared, not copied; a message that was received and left as it is goes on
    /// byte by byte as it came.
    #[must_use]
    pub fn encode(&self) -> Message {
        match &self.body {
            Body::Stream2(message) => return Message::from(Frame::from(message.encode())),
            Body::Custom(custom) if custom.is_whole() => return Message::from(custom.parts().to_vec()),
            _ => {}
        }
        let mut frames = Vec::with_capacity(1 + self.parts().len());
        frames.push(self.header.to_frame());
        frames.extend_from_slice(self.parts());
        Message::from(frames)
    }

    /// All parts after the header, whatever they are; none of a message of stream V2, which is one part and no header
    /// (where a handler understood it, that part).
    #[must_use]
    pub fn parts(&self) -> &[Frame] {
        match &self.body {
            Body::Raw(parts) | Body::Unknown(parts) => parts,
            Body::Arrays(arrays) => arrays.buffers(),
            Body::DetectorHeader(header) => header.parts(),
            Body::DetectorImage(image) => image.parts(),
            Body::DetectorEnd(end) => end.parts(),
            Body::Bsread(pulse) => pulse.parts(),
            Body::Stream2(_) => &[],
            Body::Custom(custom) => custom.parts(),
        }
    }

    /// The arrays of an `array-1.0` message.
    #[must_use]
    pub fn as_arrays(&self) -> Option<&Arrays> {
        match &self.body {
            Body::Arrays(arrays) => Some(arrays),
            _ => None,
        }
    }

    /// The image of a `dimage-1.0` message.
    #[must_use]
    pub fn as_image(&self) -> Option<&DetectorImage> {
        match &self.body {
            Body::DetectorImage(image) => Some(image),
            _ => None,
        }
    }

    /// The values of a bsread message.
    #[must_use]
    pub fn as_pulse(&self) -> Option<&Pulse> {
        match &self.body {
            Body::Bsread(pulse) => Some(pulse),
            _ => None,
        }
    }

    /// What a user's handler made of the parts, if it is a `V`.
    #[must_use]
    pub fn custom<V: Any>(&self) -> Option<&V> {
        match &self.body {
            Body::Custom(custom) => custom.downcast_ref(),
            _ => None,
        }
    }

    /// Whether the `htype` or the encoding is not known here, or the `type` of a message of stream V2.
    #[must_use]
    pub fn is_unknown(&self) -> bool {
        match &self.body {
            Body::Unknown(_) => true,
            Body::Stream2(message) => matches!(message.event(), stream2::Event::Other(_)),
            _ => false,
        }
    }

    /// The encoding that is not known here, where the `htype` is: the message is delivered as it came, and its data
    /// cannot be unpacked.
    #[must_use]
    pub fn unknown_encoding(&self) -> Option<UnknownEncoding> {
        let Body::Unknown(parts) = &self.body else {
            return None;
        };
        let description;
        let encoding = match self.header.htype() {
            Self::ARRAY => self.header.get("encoding"),
            DetectorImage::HTYPE => {
                description = Header::from_frame(parts.first()?).ok()?;
                description.get("encoding")
            }
            _ => None,
        }?;
        let text = encoding
            .as_str()
            .map_or_else(|| encoding.to_string(), str::to_owned);
        Some(UnknownEncoding(text))
    }
}

impl From<&StreamMessage> for Message {
    fn from(message: &StreamMessage) -> Self {
        message.encode()
    }
}

impl From<StreamMessage> for Message {
    fn from(message: StreamMessage) -> Self {
        message.encode()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ElementType, Endianness, Layout};

    fn decode(parts: &[&[u8]]) -> Result<StreamMessage, DecodeError> {
        StreamMessage::decode(&parts.iter().copied().collect())
    }

    #[test]
    fn raw_messages_keep_every_part() {
        for parts in [&[][..], &[&b""[..]], &[b"a", b"", b"c"]] {
            let message = StreamMessage::raw(Header::new("raw-1.0"), parts.iter().map(|&part| part.into()));
            let back = StreamMessage::decode(&message.encode()).unwrap();
            assert!(matches!(back.body, Body::Raw(_)));
            assert_eq!(back.parts(), message.parts());
            assert_eq!(back.header, message.header);
        }
    }

    #[test]
    fn arrays_come_back_as_they_went() {
        let layout = Layout::new(ElementType::UInt16, Endianness::Big, &[2, 2]).unwrap();
        let buffers = vec![Frame::from(vec![0, 1, 0, 2, 0, 3, 0, 4]), Frame::new()];
        let message = StreamMessage::arrays(
            Header::new("").with("frame", 3).with("mine", true),
            Arrays::new(layout.clone(), buffers).unwrap(),
        );
        let back = StreamMessage::decode(&message.encode()).unwrap();
        let arrays = back.as_arrays().unwrap();
        assert_eq!(arrays.layout(), &layout);
        assert_eq!(
            arrays.get(0).unwrap().to_slice::<u16>().unwrap().as_ref(),
            [1, 2, 3, 4]
        );
        assert!(arrays.get(1).is_none());
        assert_eq!(back.header.get("mine"), Some(&true.into()));
        assert_eq!(
            back.header.text("type"),
            Some(">u2"),
            "mflow believes the type alone"
        );
    }

    #[test]
    fn what_is_not_known_is_delivered_as_it_came() {
        for header in [
            &br#"{ "htype": "xspress3-1.0",  "frame":5 }"#[..],
            br#"{"htype":"array-1.0","type":"int8","shape":[9],"encoding":"jpeg"}"#,
            br#"{"htype":"array-1.0","type":"int8","shape":[9],"encoding":["lz4<"]}"#,
        ] {
            let message = decode(&[header, b"payload"]).unwrap();
            assert!(message.is_unknown());
            assert_eq!(
                message.unknown_encoding().is_some(),
                message.header.htype() == StreamMessage::ARRAY
            );
            assert_eq!(message.parts(), [Frame::from("payload")]);
            assert_eq!(&message.encode()[0], header);
        }
    }

    #[test]
    fn malformed_messages_are_errors() {
        assert!(matches!(
            decode(&[]),
            Err(DecodeError::Header(HeaderError::Missing))
        ));
        assert!(matches!(
            decode(&[b"x"]),
            Err(DecodeError::Header(HeaderError::Json(_)))
        ));
        let short = decode(&[br#"{"htype":"array-1.0","type":"int16","shape":[2]}"#, b"abc"]);
        assert!(matches!(
            short,
            Err(DecodeError::Array(ArrayError::Length {
                expected: 4,
                actual: 3,
                ..
            }))
        ));
    }

    proptest::proptest! {
        #[test]
        fn arbitrary_parts_never_panic(parts: Vec<Vec<u8>>) {
            let _ = StreamMessage::decode(&parts.into_iter().collect());
        }

        #[test]
        fn arbitrary_array_headers_never_panic(
            shape: Vec<u64>, element in "[a-z]{1,5}(8|16|32|64)?", buffers: Vec<Vec<u8>>,
        ) {
            let header = Header::new("array-1.0").with("type", element).with("shape", shape);
            let parts = std::iter::once(header.to_frame()).chain(buffers.into_iter().map(Frame::from));
            let _ = StreamMessage::decode(&parts.collect());
        }
    }
}
