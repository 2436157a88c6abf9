//! One message of a stream: its header, and what the header's `htype` makes of the other parts.

use flexbond_transport::{Frame, Message};
use thiserror::Error;

use crate::{ArrayError, Arrays, Header, HeaderError};

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
    /// `array-1.0`, not compressed.
    Arrays(Arrays),
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
    #[error("array-1.0: {0}")]
    Array(#[from] ArrayError),
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

    /// An `array-1.0` message. `header` may have any fields; `htype`, `type`, `shape` and `endianness` are set
    /// from the arrays.
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
        arrays.layout().describe(&mut header);
        StreamMessage {
            header,
            body: Body::Arrays(arrays),
        }
    }

    /// Understands a message. Parts are shared, not copied.
    ///
    /// # Errors
    /// [`DecodeError`] when the header, or an `array-1.0` body, is malformed.
    pub fn decode(message: &Message) -> Result<Self, DecodeError> {
        let (first, rest) = message.frames().split_first().ok_or(HeaderError::Missing)?;
        let header = Header::parse(first)?;
        let parts = rest.to_vec();
        let body = match header.htype() {
            Self::RAW => Body::Raw(parts),
            Self::ARRAY if header.encoding().is_none() => {
                Body::Arrays(Arrays::new(crate::Layout::from_header(&header)?, parts)?)
            }
            _ => Body::Unknown(parts),
        };
        Ok(StreamMessage { header, body })
    }

    /// The message as it travels. Parts are shared, not copied.
    #[must_use]
    pub fn encode(&self) -> Message {
        let mut frames = Vec::with_capacity(1 + self.parts().len());
        frames.push(self.header.to_frame());
        frames.extend_from_slice(self.parts());
        Message::from(frames)
    }

    /// All parts after the header, whatever they are.
    #[must_use]
    pub fn parts(&self) -> &[Frame] {
        match &self.body {
            Body::Raw(parts) | Body::Unknown(parts) => parts,
            Body::Arrays(arrays) => arrays.buffers(),
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

    /// Whether the `htype` or the encoding is not known here.
    #[must_use]
    pub fn is_unknown(&self) -> bool {
        matches!(self.body, Body::Unknown(_))
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
    }

    #[test]
    fn what_is_not_known_is_delivered_as_it_came() {
        for header in [
            &br#"{"htype":"bsr_m-1.1","pulse_id":5}"#[..],
            br#"{"htype":"array-1.0","type":"int8","shape":[9],"encoding":"bs16-lz4<"}"#,
        ] {
            let message = decode(&[header, b"payload"]).unwrap();
            assert!(message.is_unknown());
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
