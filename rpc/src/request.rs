//! What services take and give, on both sides of the wire.

use std::fmt;
use std::pin::Pin;
use std::task::{Context as TaskContext, Poll};
use std::time::Duration;

use flexbond_transport::Frame;
use futures_core::Stream;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::codec::{CodecError, Encoded};
use crate::envelope::{Codec, Metadata, Method};
use crate::error::CallError;
use crate::server::Context;

/// A call: what a [`Client`](crate::Client) sends and a server's service gets. Layers of tower see the same type on
/// both sides.
#[derive(Debug)]
#[non_exhaustive]
pub struct Request {
    /// What is called.
    pub method: Method,
    /// The encoding of body and items, and of the answer.
    pub codec: Codec,
    /// The arguments.
    pub body: Frame,
    /// Large data that the arguments refer to.
    pub buffers: Vec<Frame>,
    /// What the call carries besides.
    pub metadata: Metadata,
    /// How long the caller waits for all of the answer: on the client none for the client's default
    /// ([`Options::timeout`](crate::client::Options::timeout)), and with zero the call is over before it begins; on the
    /// server, what is left.
    pub timeout: Option<Duration>,
    /// What the caller wants.
    pub wants: Wants,
    /// Whether the call may run twice without harm.
    pub idempotent: bool,
    /// Arguments as a stream, after those of the body.
    pub items: Option<Items>,
    /// Who calls; on the server only.
    pub context: Option<Context>,
}

/// What a caller wants back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Wants {
    /// One answer.
    #[default]
    Answer,
    /// A stream of items, of which so many may come before the caller has read any.
    Stream(u32),
    /// Nothing: the call is done when it is sent.
    Nothing,
}

/// The answer to a call.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct Response {
    /// The encoding of body and items.
    pub codec: Codec,
    /// The result.
    pub body: Frame,
    /// Large data that the result refers to.
    pub buffers: Vec<Frame>,
    /// What the answer carries besides.
    pub metadata: Metadata,
    /// The answer as a stream, in place of the body.
    pub items: Option<Items>,
}

/// One value of a stream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Item {
    /// The encoding of the body.
    pub codec: Codec,
    /// The value.
    pub body: Frame,
    /// Large data that the value refers to.
    pub buffers: Vec<Frame>,
}

/// A stream of values; after an error nothing follows.
pub struct Items(Pin<Box<dyn Stream<Item = Result<Item, CallError>> + Send>>);

impl Request {
    /// A call of `method` that waits for one answer, with arguments that are encoded already.
    #[must_use]
    pub fn new(method: Method, codec: Codec, arguments: Encoded) -> Self {
        Request {
            method,
            codec,
            body: arguments.body,
            buffers: arguments.buffers,
            metadata: Metadata::new(),
            timeout: None,
            wants: Wants::Answer,
            idempotent: false,
            items: None,
            context: None,
        }
    }

    /// The arguments.
    ///
    /// # Errors
    /// [`CodecError`] when they are not those of a `T`.
    pub fn arguments<T: DeserializeOwned>(&self) -> Result<T, CodecError> {
        self.codec.decode(&self.body, self.buffers.clone())
    }

    /// The same call again; none with arguments as a stream, which can be read once only.
    #[must_use]
    pub fn try_clone(&self) -> Option<Self> {
        if self.items.is_some() {
            return None;
        }
        Some(Request {
            method: self.method.clone(),
            body: self.body.clone(),
            buffers: self.buffers.clone(),
            metadata: self.metadata.clone(),
            context: self.context.clone(),
            items: None,
            ..*self
        })
    }

    /// Takes off what it has waited for from its time, of which there was `limit`. Where that is a default for each sign
    /// of life, all of it is there for the first.
    pub(crate) fn waited(&mut self, limit: Duration, waited: Duration) {
        let is_stream = self.items.is_some() || matches!(self.wants, Wants::Stream(_));
        if self.timeout.is_some() || !is_stream {
            self.timeout = Some(limit.saturating_sub(waited));
        }
    }

    /// The bytes of body and buffers together.
    #[must_use]
    pub fn size(&self) -> usize {
        self.body.len() + self.buffers.iter().map(|buffer| buffer.len()).sum::<usize>()
    }
}

impl Response {
    /// An answer with a value, in the codec of the call.
    ///
    /// # Errors
    /// [`CodecError`] when the value cannot be written.
    pub fn with_value<T: Serialize + ?Sized>(codec: Codec, value: &T) -> Result<Self, CodecError> {
        Ok(Self::from_encoded(codec, codec.encode(value)?))
    }

    /// An answer that is encoded already.
    #[must_use]
    pub fn from_encoded(codec: Codec, result: Encoded) -> Self {
        Response {
            codec,
            body: result.body,
            buffers: result.buffers,
            ..Response::default()
        }
    }

    /// An answer as a stream.
    #[must_use]
    pub fn from_items(codec: Codec, items: Items) -> Self {
        Response {
            codec,
            items: Some(items),
            ..Response::default()
        }
    }

    /// The result.
    ///
    /// # Errors
    /// [`CallError`] when it is a stream or not a `T`.
    pub fn value<T: DeserializeOwned>(self) -> Result<T, CallError> {
        if self.items.is_some() {
            return Err(CallError::Shape { stream: true });
        }
        self.codec
            .decode(&self.body, self.buffers)
            .map_err(CallError::Answer)
    }
}

impl Item {
    /// A value of a stream.
    ///
    /// # Errors
    /// [`CodecError`] when the value cannot be written.
    pub fn with_value<T: Serialize + ?Sized>(codec: Codec, value: &T) -> Result<Self, CodecError> {
        let Encoded { body, buffers } = codec.encode(value)?;
        Ok(Item { codec, body, buffers })
    }

    /// The value.
    ///
    /// # Errors
    /// [`CodecError`] when it is not a `T`.
    pub fn value<T: DeserializeOwned>(self) -> Result<T, CodecError> {
        self.codec.decode(&self.body, self.buffers)
    }
}

impl Items {
    /// Items that a stream gives.
    #[must_use]
    pub fn new(stream: impl Stream<Item = Result<Item, CallError>> + Send + 'static) -> Self {
        Items(Box::pin(stream))
    }
}

impl Stream for Items {
    type Item = Result<Item, CallError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<Option<Self::Item>> {
        self.0.as_mut().poll_next(cx)
    }
}

impl fmt::Debug for Items {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Items")
    }
}
