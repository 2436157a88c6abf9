//! Who makes the calls of a typed client, and what is the same in all of them.

use std::any::Any;
use std::time::Duration;

use bytes::Bytes;
use serde::Serialize;
use tower::{BoxError, Service};

use crate::client::{Client, DEFAULT_WINDOW};
use crate::envelope::{Codec, Metadata, MetadataError, Method};
use crate::error::CallError;
use crate::expansion::Called;
use crate::layers::Balanced;
use crate::request::{Items, Request, Response, Wants};

/// What can make calls: a [`Client`], or any layers of tower around one. It is cloned for each call.
///
/// Everything that fits is one; there is nothing to implement.
pub trait CallService: Service<Request, Response = Response, Error: Into<BoxError>> + Clone {}

impl<S> CallService for S
where
    S: Service<Request, Response = Response> + Clone,
    S::Error: Into<BoxError>,
{
}

/// Who makes the calls of a typed client, and what is the same in all of them.
///
/// The clients that [`service`](macro@crate::service) makes can be made of one.
///
/// ```
/// use std::time::Duration;
///
/// use flexbond_rpc::envelope::Codec;
/// use flexbond_rpc::typed::Caller;
/// use flexbond_rpc::{Client, Failure};
///
/// #[flexbond_rpc::service]
/// trait Clock {
///     /// Milliseconds since the server began.
///     async fn now(&self) -> Result<u64, Failure>;
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), flexbond_rpc::ClientError> {
/// let client = Client::connect("inproc://clock")?;
/// let caller = Caller::new(client).codec(Codec::Json).timeout(Duration::from_secs(2));
/// let clock = ClockClient::from(caller);
/// # drop(clock);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Caller<S> {
    service: S,
    /// How long the service may take to be ready, where no timeout is named.
    patience: Option<Duration>,
    codec: Codec,
    timeout: Option<Duration>,
    metadata: Metadata,
    window: u32,
}

impl<S: 'static> Caller<S> {
    /// Calls go by `service`: a [`Client`] or [`Balanced`], whose codec, window and timeout hold then, or layers around
    /// one, with postcard.
    #[must_use]
    pub fn new(service: S) -> Self {
        let any: &dyn Any = &service;
        let several = || any.downcast_ref::<Balanced>()?.clients().first();
        let client: Option<&Client> = any.downcast_ref().or_else(several);
        let options = client.map(Client::options);
        let codec = options.map_or(Codec::Postcard, |options| options.codec);
        let window = options.map_or(DEFAULT_WINDOW, |options| options.stream_window);
        Caller {
            patience: options.and_then(|options| options.timeout),
            service,
            codec,
            timeout: None,
            metadata: Metadata::new(),
            window,
        }
    }
}

impl<S> Caller<S> {
    /// The same with another codec. Answers come in the same.
    #[must_use]
    pub fn codec(mut self, codec: Codec) -> Self {
        self.codec = codec;
        self
    }

    /// The same with so long to wait for each answer, unless the method or the call says otherwise; for a stream, to
    /// its end.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// The same with an entry of metadata on each call.
    ///
    /// # Errors
    /// [`MetadataError`] when the name is not one, or there is too much.
    pub fn metadata(mut self, name: &str, value: impl Into<Bytes>) -> Result<Self, MetadataError> {
        self.metadata.insert(name, value)?;
        Ok(self)
    }

    /// The same with room for so many items of a streamed answer before the first is read.
    #[must_use]
    pub fn window(mut self, items: u32) -> Self {
        self.window = items;
        self
    }

    /// What makes the calls.
    #[must_use]
    pub fn service(&self) -> &S {
        &self.service
    }

    pub(crate) fn patience(&self) -> Option<Duration> {
        self.patience
    }

    pub(crate) fn codec_of_calls(&self) -> Codec {
        self.codec
    }

    pub(crate) fn window_of_streams(&self) -> u32 {
        self.window
    }

    /// The request of a call; `items` are arguments behind those of the body.
    // Inlined, as all on the way of a request into its call: it is large to be moved.
    #[inline]
    pub(crate) fn request<A: Serialize + ?Sized>(
        &self,
        called: &Called,
        arguments: &A,
        wants: Wants,
        items: Option<Items>,
    ) -> Result<Request, CallError> {
        let method = Method::new(called.method)?;
        let encoded = self.codec.encode(arguments);
        let arguments = encoded.map_err(CallError::Arguments)?;
        let mut request = Request::new(method, self.codec, arguments);
        request.timeout = called.timeout.or(self.timeout);
        request.metadata = self.metadata.clone();
        request.idempotent = called.idempotent;
        request.wants = wants;
        request.items = items;
        Ok(request)
    }
}
