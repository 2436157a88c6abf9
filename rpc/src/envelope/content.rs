//! The whole envelope: header, method, body, metadata and buffers, to and from a message.

use std::time::Duration;

use flexbond_transport::{Frame, Message};

use super::{Codec, DecodeError, EncodeError, Flags, Header, Kind, Metadata, Method};

/// The most raw buffers that one envelope carries.
pub const MAX_BUFFERS: usize = 1024;

/// What is sent in one frame at most; above, the copy that this needs costs more than the frames that it saves.
const COMPACT: usize = 4 << 10;

/// One message of a remote call: a [`Header`], the method's name, a body, metadata, and raw buffers.
///
/// Neither large bodies (above 4 KiB) nor buffers are copied when it is encoded or decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Envelope {
    /// What the message is, and to which call it belongs.
    pub header: Header,
    /// What is called; in requests and one-way calls, and only there.
    pub method: Option<Method>,
    /// Arguments, result or error, in the header's codec.
    pub body: Frame,
    /// What the call carries besides. The header's flag is seen to by `encode` and `decode`.
    pub metadata: Metadata,
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

    /// Item `number`, counted from zero, of a streamed answer or of streamed arguments.
    #[must_use]
    pub fn stream_item(call: u64, number: u32, body: impl Into<Frame>) -> Self {
        Self::with_kind(Kind::StreamItem, call, None, body.into()).with_count(number)
    }

    /// The end of a stream of `items` items.
    #[must_use]
    pub fn stream_end(call: u64, items: u32) -> Self {
        Self::with_kind(Kind::StreamEnd, call, None, Frame::new()).with_count(items)
    }

    /// Leave for `items` more items of a stream.
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

    /// The server takes no more calls; those under way end.
    #[must_use]
    pub fn draining() -> Self {
        Self::with_kind(Kind::Draining, 0, None, Frame::new())
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

    /// The same with metadata.
    #[must_use]
    pub fn with_metadata(mut self, metadata: Metadata) -> Self {
        self.metadata = metadata;
        self
    }

    /// The same with one more buffer.
    #[must_use]
    pub fn with_buffer(mut self, buffer: impl Into<Frame>) -> Self {
        self.buffers.push(buffer.into());
        self
    }

    /// The same with the number whose meaning depends on the kind.
    #[must_use]
    pub fn with_count(mut self, count: u32) -> Self {
        self.header.count = count;
        self
    }

    fn with_kind(kind: Kind, call: u64, method: Option<Method>, body: Frame) -> Self {
        Envelope {
            header: Header::new(kind, call),
            method,
            body,
            metadata: Metadata::new(),
            buffers: Vec::new(),
        }
    }

    /// The bytes of body and buffers together: what limits are about.
    #[must_use]
    pub fn size(&self) -> usize {
        self.body.len() + self.buffers.iter().map(|buffer| buffer.len()).sum::<usize>()
    }

    /// Whether it can be encoded.
    ///
    /// # Errors
    /// Those of [`encode`](Self::encode).
    pub fn check(&self) -> Result<(), EncodeError> {
        let kind = self.header.kind;
        match (&self.method, kind.has_method()) {
            (Some(_), true) | (None, false) => {}
            (None, true) => return Err(EncodeError::NoMethod { kind }),
            (Some(_), false) => return Err(EncodeError::UnexpectedMethod { kind }),
        }
        let count = self.buffers.len();
        if count > MAX_BUFFERS {
            return Err(EncodeError::TooManyBuffers { count });
        }
        self.header.codec.number().map(drop)
    }

    /// The message to send: in one frame where that is quicker. Large bodies and buffers are shared with it, not
    /// copied.
    ///
    /// # Errors
    /// [`EncodeError`] when the method is missing or out of place, there are too many buffers, or the codec's number
    /// is reserved.
    pub fn encode(&self) -> Result<Message, EncodeError> {
        self.check()?;
        let empty = Frame::new();
        let method = self.method.as_ref().map_or(&empty, Method::frame);
        let count = self.buffers.len();
        let mut header = self.header;
        header.flags = header.flags.with(Flags::METADATA, !self.metadata.is_empty());
        let header = header.encode()?;
        if self.metadata.is_empty() && count == 0 && self.body.len() <= COMPACT {
            return Ok(Message::from(compact(&header, method, &self.body)));
        }
        let mut frames = Vec::with_capacity(4 + count);
        frames.push(Frame::from(&header));
        frames.push(method.clone());
        frames.push(self.body.clone());
        if !self.metadata.is_empty() {
            frames.push(self.metadata.to_frame());
        }
        frames.extend_from_slice(&self.buffers);
        Ok(Message::from(frames))
    }

    /// Reads a received message. Large bodies and buffers are moved out of it, not copied.
    ///
    /// # Errors
    /// [`DecodeError`]. [`Header::decode`] of the first 24 bytes of the first frame may still tell which call was
    /// meant.
    pub fn decode(mut message: Message) -> Result<Self, DecodeError> {
        if let [frame] = message.frames()
            && let Some((header, rest)) = frame.split_first_chunk::<{ Header::LEN }>()
            && !rest.is_empty()
        {
            // The usual case apart: nothing is moved that need not be.
            let header = Header::decode(header)?;
            if !header.flags.contains(Flags::METADATA) {
                return split(header, frame);
            }
        }
        let count = message.len();
        let Some(first) = message.pop_front() else {
            return Err(DecodeError::TooFewFrames { count });
        };
        let len = first.len();
        let header = match first.split_first_chunk::<{ Header::LEN }>() {
            Some((header, _)) => Header::decode(header)?,
            None => return Err(DecodeError::HeaderLength { len }),
        };
        let (method, body) = if len > Header::LEN {
            let Envelope { method, body, .. } = split(header, &first)?;
            (method, body)
        } else {
            match (message.pop_front(), message.pop_front()) {
                (Some(method), Some(body)) => (named(header.kind, &method)?, body),
                _ => return Err(DecodeError::TooFewFrames { count }),
            }
        };
        let metadata = if header.flags.contains(Flags::METADATA) {
            let Some(frame) = message.pop_front() else {
                return Err(DecodeError::TooFewFrames { count });
            };
            Metadata::decode(frame).map_err(|source| DecodeError::Metadata { source })?
        } else {
            Metadata::new()
        };
        let mut header = header;
        header.flags = header.flags.with(Flags::METADATA, false);
        let count = message.len();
        if count > MAX_BUFFERS {
            return Err(DecodeError::TooManyBuffers { count });
        }
        Ok(Envelope {
            header,
            method,
            body,
            metadata,
            buffers: match count {
                0 => Vec::new(),
                _ => message.into_frames(),
            },
        })
    }
}

/// Header, length of the method's name, name and body in one frame.
fn compact(header: &[u8; Header::LEN], method: &[u8], body: &[u8]) -> Frame {
    let len = Header::LEN + 1 + method.len() + body.len();
    let fill = |bytes: &mut [u8]| {
        bytes[..Header::LEN].copy_from_slice(header);
        // At most `Method::MAX_LEN`, which a byte can say.
        bytes[Header::LEN] = method.len() as u8;
        let rest = &mut bytes[Header::LEN + 1..];
        rest[..method.len()].copy_from_slice(method);
        rest[method.len()..].copy_from_slice(body);
    };
    if len <= Frame::INLINE {
        let mut storage = [0; Frame::INLINE];
        fill(&mut storage[..len]);
        return Frame::from_inline(&storage, len);
    }
    let mut bytes = vec![0; len];
    fill(&mut bytes);
    Frame::from(bytes)
}

/// What a frame holds behind the header, method and body, as an envelope.
#[inline]
fn split(header: Header, frame: &Frame) -> Result<Envelope, DecodeError> {
    let rest = &frame[Header::LEN..];
    let (&len, rest) = rest.split_first().unwrap_or((&0, rest));
    let len = usize::from(len);
    let Some((method, body)) = rest.split_at_checked(len) else {
        return Err(DecodeError::Truncated);
    };
    Ok(Envelope {
        header,
        method: named(header.kind, method)?,
        body: match frame.as_shared() {
            Some(shared) if body.len() > Frame::INLINE => {
                Frame::from_shared(shared.slice(frame.len() - body.len()..))
            }
            _ => Frame::copy_from_slice(body),
        },
        metadata: Metadata::new(),
        buffers: Vec::new(),
    })
}

/// The name of what is called, where there is to be one.
#[inline]
fn named(kind: Kind, name: &[u8]) -> Result<Option<Method>, DecodeError> {
    if kind.has_method() {
        let method = Method::of_bytes(name).map_err(|source| DecodeError::Method { source })?;
        return Ok(Some(method));
    }
    match name.is_empty() {
        true => Ok(None),
        false => Err(DecodeError::UnexpectedMethod { kind }),
    }
}
