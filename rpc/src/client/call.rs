//! Calls with values: arguments written, answers read.

use std::fmt;
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use futures_core::Stream;
use futures_util::StreamExt;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tower::{BoxError, Service, ServiceExt};

use super::client::Client;
use crate::envelope::{Codec, Metadata, MetadataError, Method};
use crate::error::CallError;
use crate::request::{Item, Items, Request, Response, Wants};

/// Items of a streamed answer that may come before the caller has read any, where nobody says otherwise.
const WINDOW: u32 = 64;

/// A call that is being put together: of one method, by any service of [`Request`]s.
#[derive(Clone, Debug)]
#[must_use = "a call is made by one of its async methods"]
pub struct Call<S> {
    service: S,
    method: String,
    codec: Codec,
    timeout: Option<Duration>,
    metadata: Metadata,
    idempotent: bool,
    window: u32,
}

impl<S> Call<S> {
    /// A call by `service`, which may be a [`Client`] or layers around it.
    pub fn new(service: S, method: impl Into<String>) -> Self {
        Call {
            service,
            method: method.into(),
            codec: Codec::Postcard,
            timeout: None,
            metadata: Metadata::new(),
            idempotent: false,
            window: WINDOW,
        }
    }

    /// The same with another codec. Its answer comes in the same.
    pub fn codec(mut self, codec: Codec) -> Self {
        self.codec = codec;
        self
    }

    /// The same with so long to wait, from call to answer; of a stream, to its end.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// The same with an entry of metadata.
    ///
    /// # Errors
    /// [`MetadataError`] when the name is not one, or there is too much.
    pub fn metadata(mut self, name: &str, value: impl Into<Bytes>) -> Result<Self, MetadataError> {
        self.metadata.insert(name, value)?;
        Ok(self)
    }

    /// The same, and says that the call may run twice without harm: retries rely on it.
    pub fn idempotent(mut self) -> Self {
        self.idempotent = true;
        self
    }

    /// The same with room for so many items of a streamed answer before the first is read.
    pub fn window(mut self, items: u32) -> Self {
        self.window = items;
        self
    }

    fn request<A: Serialize + ?Sized>(&self, arguments: &A, wants: Wants) -> Result<Request, CallError> {
        let method = Method::new(self.method.as_str())?;
        let arguments = self.codec.encode(arguments).map_err(CallError::Arguments)?;
        let mut request = Request::new(method, self.codec, arguments);
        request.timeout = self.timeout;
        request.metadata = self.metadata.clone();
        request.idempotent = self.idempotent;
        request.wants = wants;
        Ok(request)
    }
}

impl<S> Call<S>
where
    S: Service<Request, Response = Response>,
    S::Error: Into<BoxError>,
{
    async fn make(self, request: Request) -> Result<Response, CallError> {
        let answered = self.service.oneshot(request).await;
        answered.map_err(|error| CallError::from_boxed(error.into()))
    }

    /// Calls with these arguments, and reads the answer.
    ///
    /// # Errors
    /// [`CallError`]; [`CallError::may_have_run`] says whether a retry is sound.
    ///
    /// # Cancel safety
    /// When the future is dropped, the call is cancelled, here and on the server.
    pub async fn value<A, R>(self, arguments: &A) -> Result<R, CallError>
    where
        A: Serialize + ?Sized,
        R: DeserializeOwned,
    {
        let request = self.request(arguments, Wants::Answer)?;
        self.make(request).await?.value()
    }

    /// Calls with these arguments, without waiting for any answer. Done when the call was handed to the connection:
    /// whether it ran is not known.
    ///
    /// # Errors
    /// [`CallError`]; the call was not sent.
    ///
    /// # Cancel safety
    /// When the future is dropped before it is ready, nothing was sent.
    pub async fn one_way<A: Serialize + ?Sized>(self, arguments: &A) -> Result<(), CallError> {
        let request = self.request(arguments, Wants::Nothing)?;
        self.make(request).await.map(drop)
    }

    /// Calls with these arguments, and reads the answer as a stream; ready when its first item or its end is there.
    /// Dropping the stream ends it on the server, too.
    ///
    /// # Errors
    /// [`CallError`]; what fails after the first item is an item of the stream.
    ///
    /// # Cancel safety
    /// When the future is dropped, the call is cancelled, here and on the server.
    pub async fn stream<A, T>(self, arguments: &A) -> Result<Values<T>, CallError>
    where
        A: Serialize + ?Sized,
        T: DeserializeOwned,
    {
        let request = self.request(arguments, Wants::Stream(self.window))?;
        Ok(Values::new(self.make(request).await?))
    }

    /// Calls with these arguments and a stream of values behind them, which is read as the server takes it.
    ///
    /// # Errors
    /// [`CallError`]; [`CallError::may_have_run`] says whether a retry is sound.
    ///
    /// # Cancel safety
    /// When the future is dropped, the call is cancelled, here and on the server.
    pub async fn upload<A, T, R>(
        self,
        arguments: &A,
        values: impl Stream<Item = T> + Send + 'static,
    ) -> Result<R, CallError>
    where
        A: Serialize + ?Sized,
        T: Serialize,
        R: DeserializeOwned,
    {
        let mut request = self.request(arguments, Wants::Answer)?;
        request.items = Some(written(self.codec, values));
        self.make(request).await?.value()
    }

    /// Calls with these arguments and a stream of values behind them, and reads the answer as a stream.
    ///
    /// # Errors
    /// [`CallError`]; what fails after the first item is an item of the stream.
    ///
    /// # Cancel safety
    /// When the future is dropped, the call is cancelled, here and on the server.
    pub async fn converse<A, T, U>(
        self,
        arguments: &A,
        values: impl Stream<Item = T> + Send + 'static,
    ) -> Result<Values<U>, CallError>
    where
        A: Serialize + ?Sized,
        T: Serialize,
        U: DeserializeOwned,
    {
        let mut request = self.request(arguments, Wants::Stream(self.window))?;
        request.items = Some(written(self.codec, values));
        Ok(Values::new(self.make(request).await?))
    }
}

fn written<T: Serialize>(codec: Codec, values: impl Stream<Item = T> + Send + 'static) -> Items {
    Items::new(values.map(move |value| Item::with_value(codec, &value).map_err(CallError::Arguments)))
}

/// The values of a streamed answer, in order; after an error nothing follows. Dropping it ends the stream on the
/// server, too.
pub struct Values<T> {
    items: Option<Items>,
    values: PhantomData<fn() -> T>,
}

impl<T: DeserializeOwned> Values<T> {
    fn new(response: Response) -> Self {
        Values {
            items: response.items,
            values: PhantomData,
        }
    }

    /// The next value; none at the end.
    ///
    /// # Cancel safety
    /// No value is lost when the future is dropped.
    pub async fn next(&mut self) -> Option<Result<T, CallError>> {
        StreamExt::next(self).await
    }
}

impl<T: DeserializeOwned> Stream for Values<T> {
    type Item = Result<T, CallError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let Some(items) = &mut self.items else {
            return Poll::Ready(None);
        };
        let Some(item) = ready!(items.poll_next_unpin(cx)) else {
            self.items = None;
            return Poll::Ready(None);
        };
        let value = item.and_then(|item| item.value().map_err(CallError::Answer));
        if value.is_err() {
            self.items = None;
        }
        Poll::Ready(Some(value))
    }
}

impl<T> fmt::Debug for Values<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Values")
    }
}

impl Client {
    /// A call of `method`, to be put together: with the client's codec, and its timeout unless another is named.
    pub fn method(&self, method: impl Into<String>) -> Call<Client> {
        Call::new(self.clone(), method)
            .codec(self.options().codec)
            .window(self.options().stream_window)
    }

    /// Calls `method` with these arguments, and reads the answer. For more say in it see [`method`](Self::method).
    ///
    /// # Errors
    /// [`CallError`]; [`CallError::may_have_run`] says whether a retry is sound.
    ///
    /// # Cancel safety
    /// When the future is dropped, the call is cancelled, here and on the server.
    pub async fn call<A, R>(&self, method: &str, arguments: &A) -> Result<R, CallError>
    where
        A: Serialize + ?Sized,
        R: DeserializeOwned,
    {
        // The usual case apart: its future holds no request and no client, and is a fraction of the other's size.
        let begun = self.begin_if_room(|| {
            let codec = self.options().codec;
            let arguments = codec.encode(arguments).map_err(CallError::Arguments)?;
            Ok(Request::new(Method::new(method)?, codec, arguments))
        });
        match begun {
            Some(calling) => calling?.await?.value(),
            None => Box::pin(self.method(method).value(arguments)).await,
        }
    }

    /// Makes these calls at once, and gives their answers in the same order. All are sent before the first answer is
    /// waited for, and one that fails does not concern the others.
    ///
    /// # Cancel safety
    /// When the future is dropped, the calls are cancelled, here and on the server.
    pub async fn batch(
        &self,
        requests: impl IntoIterator<Item = Request>,
    ) -> Vec<Result<Response, CallError>> {
        let calls = requests.into_iter().map(|request| self.request(request));
        futures_util::future::join_all(calls).await
    }
}
