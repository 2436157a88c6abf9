//! The whole envelope: header, method, body and buffers, to and from a message.

use std::time::Duration;

use flexbond_transport::{Frame, Message};

use super::{Codec, DecodeError, EncodeError, Flags, Header, Kind, Method};

/// The most raw buffers that one envelope carries.
pub const MAX_BUFFERS: usize = 1024;

/// One message of a remote call: a [`Header`], the method's name, a body, and raw buffers.
///
/// Encoding and decoding copy neither body nor buffers.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Envelope {
    /// What the message is, and to which call it belongs.
    pub header: Header,
    /// What is called; in requests and one-way calls, and only there.
    pub method: Option<Method>,
    /// Arguments, result or error, in the header's codec.
    pub body: Frame,
    /// Large data beside the body, at most [`MAX_BUFFERS`].
    pub buffers: Vec<Frame>,
}

impl Envelope {
    /// A call of `method` that wants an answer.
    #[must_use]
    pub fn request(call: u64, method: Method, body: impl Into<Frame>) -> Self {
        Self::with_kind(Kind::Request, call, Some(method), body.into())
    }

    /// A call of `method` that wants no answer.
    #[must_use]
    pub fn one_way(call: u64, method: Method, body: impl Into<Frame>) -> Self {
        Self::with_kind(Kind::OneWay, call, Some(method), body.into())
    }

    /// The answer to a call.
    #[must_use]
    pub fn response(call: u64, body: impl Into<Frame>) -> Self {
        Self::with_kind(Kind::Response, call, None, body.into())
    }

    /// The answer to a call that failed.
    #[must_use]
    pub fn error(call: u64, body: impl Into<Frame>) -> Self {
        Self::with_kind(Kind::Error, call, None, body.into())
    }

    /// Item `number`, counted from zero, of a streamed answer.
    #[must_use]
    pub fn stream_item(call: u64, number: u32, body: impl Into<Frame>) -> Self {
        Self::with_kind(Kind::StreamItem, call, None, body.into()).with_count(number)
    }

    /// The end of a streamed answer of `items` items.
    #[must_use]
    pub fn stream_end(call: u64, items: u32) -> Self {
        Self::with_kind(Kind::StreamEnd, call, None, Frame::new()).with_count(items)
    }

    /// Leave for `items` more items of a streamed answer.
    #[must_use]
    pub fn credit(call: u64, items: u32) -> Self {
        Self::with_kind(Kind::Credit, call, None, Frame::new()).with_count(items)
    }

    /// The caller no longer waits.
    #[must_use]
    pub fn cancel(call: u64) -> Self {
        Self::with_kind(Kind::Cancel, call, None, Frame::new())
    }

    /// Asks whether the other side takes calls.
    #[must_use]
    pub fn ping(call: u64) -> Self {
        Self::with_kind(Kind::Ping, call, None, Frame::new())
    }

    /// The answer to a ping.
    #[must_use]
    pub fn pong(call: u64) -> Self {
        Self::with_kind(Kind::Pong, call, None, Frame::new())
    }

    /// The same with the remaining time of the caller.
    #[must_use]
    pub fn with_deadline(mut self, left: Duration) -> Self {
        self.header.deadline = Some(left);
        self
    }

    /// The same with the body's encoding.
    #[must_use]
    pub fn with_codec(mut self, codec: Codec) -> Self {
        self.header.codec = codec;
        self
    }

    /// The same with flags.
    #[must_use]
    pub fn with_flags(mut self, flags: Flags) -> Self {
        self.header.flags = flags;
        self
    }

    /// The same with one more buffer.
    #[must_use]
    pub fn with_buffer(mut self, buffer: impl Into<Frame>) -> Self {
        self.buffers.push(buffer.into());
        self
    }

    fn with_kind(kind: Kind, call: u64, method: Option<Method>, body: Frame) -> Self {
        Envelope {
            header: Header::new(kind, call),
            method,
            body,
            buffers: Vec::new(),
        }
    }

    fn with_count(mut self, count: u32) -> Self {
        self.header.count = count;
        self
    }

    /// The message to send. Body and buffers are shared with it, not copied.
    ///
    /// # Errors
    /// [`EncodeError`] when the method is missing or out of place, there are too many buffers, or the codec's number
    /// is reserved.
    pub fn encode(&self) -> Result<Message, EncodeError> {
        let kind = self.header.kind;
        let method = match (&self.method, kind.has_method()) {
            (Some(method), true) => method.frame().clone(),
            (None, false) => Frame::new(),
            (None, true) => return Err(EncodeError::NoMethod { kind }),
            (Some(_), false) => return Err(EncodeError::UnexpectedMethod { kind }),
        };
        let count = self.buffers.len();
        if count > MAX_BUFFERS {
            return Err(EncodeError::TooManyBuffers { count });
        }
        let mut frames = Vec::with_capacity(3 + count);
        frames.push(Frame::from(&self.header.encode()?));
        frames.push(method);
        frames.push(self.body.clone());
        frames.extend_from_slice(&self.buffers);
        Ok(Message::from(frames))
    }

    /// Reads a received message. Body and buffers are moved out of it, not copied.
    ///
    /// # Errors
    /// [`DecodeError`]. [`Header::decode`] of the first frame may still tell which call was meant.
    pub fn decode(message: Message) -> Result<Self, DecodeError> {
        let count = message.len();
        if count > 3 + MAX_BUFFERS {
            return Err(DecodeError::TooManyBuffers { count: count - 3 });
        }
        let mut frames = message.into_frames().into_iter();
        let (Some(header), Some(method), Some(body)) = (frames.next(), frames.next(), frames.next()) else {
            return Err(DecodeError::TooFewFrames { count });
        };
        let header = Header::decode(&header)?;
        let kind = header.kind;
        let method = if kind.has_method() {
            Some(Method::new(method).map_err(|source| DecodeError::Method { source })?)
        } else if method.is_empty() {
            None
        } else {
            return Err(DecodeError::UnexpectedMethod { kind });
        };
        Ok(Envelope {
            header,
            method,
            body,
            buffers: frames.collect(),
        })
    }
}
